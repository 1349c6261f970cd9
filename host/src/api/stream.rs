//! What the guests of a run tell those who follow it, as server-sent events. What stays has its place in the
//! journal as its id, so a client that comes back with its last id gets each of them once.

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::value::RawValue;
use std::convert::Infallible;
use trackway_replay::{Epoch, Position, RunId};

use super::events::KEEP_ALIVE;
use super::found::Found;
use super::model::{self, Problem};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::{Time, view};
use crate::Code;
use crate::host::{Heard, Streamed, Streamer};

/// Where a stream stands.
struct Streaming {
    api: Api,
    run: RunId,
    /// Gone after the last event.
    streamer: Option<Streamer>,
}

/// What the run tells: `event` for what stays, `delta` for what does not, `reset` where the deltas of an
/// attempt count no more, and `end` as the last one, when the run has ended or is stuck.
#[utoipa::path(
    get,
    operation_id = "stream_run",
    path = "/v1/runs/{id}/stream",
    tag = "runs",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event."),
    ),
    responses(
        (status = 200, body = super::model::Streamed, content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and the last event had been sent."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn stream(api: Api, Found(head): Found, headers: HeaderMap) -> Answer<Response> {
    let heard = last_event(&headers)?;
    let streamer = api.host.stream(head.run, heard).await?;
    if heard != Heard::Nothing && streamer.is_over().await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let streaming = Streaming { api, run: head.run, streamer: Some(streamer) };
    Ok(Sse::new(events(streaming)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn last_event(headers: &HeaderMap) -> Answer<Heard> {
    let Some(id) = headers.get("last-event-id") else { return Ok(Heard::Nothing) };
    let heard = id.to_str().ok().and_then(heard_of);
    heard.ok_or_else(|| Refusal::new(Code::BadRequest, "Last-Event-ID is not the id of an event"))
}

/// `7` is the entry at 7; `7.3.41` the delta at place 41 of the process of epoch 3, heard after 7 entries.
fn heard_of(id: &str) -> Option<Heard> {
    let mut numbers = id.split('.').map(|number| number.parse::<u64>().ok());
    let first = Position(numbers.next()??);
    let heard = match (numbers.next(), numbers.next()) {
        (None, None) => Heard::Entry(first),
        (Some(epoch), Some(place)) => Heard::Delta { at: first, epoch: Epoch(epoch?), place: place? },
        (Some(_), None) | (None, Some(_)) => return None,
    };
    numbers.next().is_none().then_some(heard)
}

fn id_of(heard: Heard) -> Option<String> {
    match heard {
        Heard::Nothing => None,
        Heard::Entry(position) => Some(position.to_string()),
        Heard::Delta { at, epoch, place } => Some(format!("{at}.{}.{place}", epoch.0)),
    }
}

fn events(streaming: Streaming) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(streaming, |mut streaming| async move {
        let event = streaming.next().await?;
        Some((Ok(event), streaming))
    })
}

impl Streaming {
    async fn next(&mut self) -> Option<Event> {
        let api = self.api.clone();
        let streamed = tokio::select! {
            streamed = self.streamer.as_mut()?.next() => streamed,
            // The client comes back and goes on where it was.
            () = api.stopped() => return None,
        };
        let event = match streamed {
            Ok(None) => return None,
            Ok(Some(streamed)) => self.event(streamed).await,
            Err(error) => Err(Refusal::from(error)),
        };
        Some(event.unwrap_or_else(|refusal| {
            self.streamer = None;
            let problem = serde_json::to_string(&refusal.problem()).expect("a problem holds only text and numbers");
            Event::default().event("problem").data(problem)
        }))
    }

    async fn event(&mut self, streamed: Streamed) -> Answer<Event> {
        match streamed {
            Streamed::Event(event) => {
                let (step, attempt) = event.by.map(|(step, attempt)| (step.0, attempt)).unzip();
                let told = model::StreamEvent {
                    position: event.position.0,
                    time: Time(event.time),
                    name: event.name.to_string(),
                    step,
                    attempt,
                    data: json(&event.data)?,
                };
                written("event", Some(Heard::Entry(event.position)), &told)
            }
            Streamed::Delta { heard, delta } => {
                let (step, attempt, number) = (delta.step.0, delta.attempt, delta.number);
                let data = json(&delta.data)?;
                let told = model::StreamDelta { name: delta.name.to_string(), step, attempt, number, data };
                written("delta", Some(heard), &told)
            }
            Streamed::Reset { heard, step, attempt, next } => {
                written("reset", heard, &model::StreamReset { step: step.0, attempt, next })
            }
            Streamed::End { heard } => {
                self.streamer = None;
                let run = view::detail(&self.api.host.detail(self.run).await?);
                written("end", heard, &model::StreamEnd { run })
            }
        }
    }
}

fn json(text: &str) -> Answer<Box<RawValue>> {
    RawValue::from_string(text.to_owned())
        .map_err(|error| Refusal::new(Code::DataDamaged, format!("what a run told is not JSON: {error}")))
}

fn written(name: &str, heard: Option<Heard>, told: &impl Serialize) -> Answer<Event> {
    let data = serde_json::to_string(told)
        .map_err(|error| Refusal::new(Code::Internal, format!("an event could not be written: {error}")))?;
    let event = Event::default().event(name).data(data);
    Ok(match heard.and_then(id_of) {
        Some(id) => event.id(id),
        None => event,
    })
}
