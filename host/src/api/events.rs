//! A run as it grows, as server-sent events. Each event is a pure function of two positions of the
//! journal, so a client that comes back with its last one misses nothing and sees nothing twice.

use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use trackway_replay::Position;
use trackway_replay::trace::Row;

use super::found::Found;
use super::model::{Problem, RunEvent};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;
use crate::host::{Follower, Growth, Held, is_settled};

/// Shorter than what proxies and clients take for dead.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A follower of a long journal rests this many times as long as an event took to make, so that
/// it never takes more than a fifth of a core.
const REST_FACTOR: u32 = 4;

/// A look for which there was no room is made again after this long.
const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// Where a stream stands. Between two events it has nothing of the run in memory.
struct Following {
    api: Api,
    follower: Follower,
    sent: Sent,
    /// What the first event is made of: a look that fails is answered as such.
    first: Option<Growth>,
    /// For the event that is on its way out.
    held: Option<Held>,
    rest: Duration,
}

#[derive(Clone, Copy)]
enum Sent {
    /// Up to here.
    Until(Position),
    Everything,
}

/// Follows a run: an event `progress` for what became durable, and `end` as the last one, when the
/// run has ended or is stuck. Each carries the rows of the trace that are new or changed.
#[utoipa::path(
    get,
    operation_id = "follow_run",
    path = "/v1/runs/{id}/events",
    tag = "runs",
    params(
        ("id" = String, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "Go on after this event."),
    ),
    responses(
        (status = 200, body = super::model::RunEvent, content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and the last event had been sent."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Others look at so much \
            that there is no memory for this."),
    )
)]
pub async fn events(api: Api, Found(head): Found, headers: HeaderMap) -> Answer<Response> {
    let last = last_event(&headers)?;
    let mut follower = api.host.follow(head.run).await?;
    let now = follower.now(last).await?;
    if last > now.position {
        let why = format!("run {} has {} entries; there was no event {last}", head.run, now.position);
        return Err(Refusal::new(Code::BadRequest, why));
    }
    if last == now.position && now.head.status.has_ended() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = Some(now).filter(|now| now.position > last || is_settled(&now.head));
    let following = Following { api, follower, sent: Sent::Until(last), first, held: None, rest: Duration::ZERO };
    Ok(Sse::new(stream(following)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

fn last_event(headers: &HeaderMap) -> Answer<Position> {
    let Some(id) = headers.get("last-event-id") else { return Ok(Position::FIRST) };
    let position = id.to_str().ok().and_then(|id| id.parse().ok()).map(Position);
    position.ok_or_else(|| Refusal::new(Code::BadRequest, "Last-Event-ID is not the id of an event"))
}

fn stream(following: Following) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    })
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        // What it was held for has gone out.
        self.held = None;
        let api = self.api.clone();
        let Sent::Until(seen) = self.sent else { return None };
        let rest = self.rest;
        let growth = async {
            tokio::time::sleep(rest).await;
            self.growth(seen).await
        };
        let growth = tokio::select! {
            growth = growth => growth,
            // The client comes back and goes on where it was.
            () = api.stopped() => return None,
        };
        let event = match growth {
            Ok((growth, began)) => {
                let event = self.event(growth).await;
                self.rest = began.elapsed() * REST_FACTOR;
                event
            }
            Err(error) => Err(Refusal::from(error)),
        };
        Some(event.unwrap_or_else(|refusal| {
            self.sent = Sent::Everything;
            let problem = serde_json::to_string(&refusal.problem()).expect("a problem holds only text and numbers");
            Event::default().event("problem").data(problem)
        }))
    }

    /// What the next event is made of, and since when it is being made.
    async fn growth(&mut self, seen: Position) -> crate::Result<(Growth, Instant)> {
        if let Some(first) = self.first.take() {
            return Ok((first, Instant::now()));
        }
        loop {
            self.follower.after(seen).await?;
            let began = Instant::now();
            match self.follower.now(seen).await {
                Err(error) if error.code == Code::Overloaded => tokio::time::sleep(ROOM_AGAIN).await,
                growth => return growth.map(|growth| (growth, began)),
            }
        }
    }

    async fn event(&mut self, growth: Growth) -> Answer<Event> {
        let Growth { position, head, seen, trace, mut held } = growth;
        let before: BTreeMap<&str, &Row> = seen.rows.iter().map(|row| (row.id.as_str(), row)).collect();
        let changed = trace.rows.into_iter().filter(|row| before.get(row.id.as_str()) != Some(&row)).collect();
        let settled = is_settled(&head);
        let run = match settled {
            true => view::detail(&self.api.host.detail(head.run).await?),
            false => view::run(&head),
        };
        let event = RunEvent { position: position.0, run, rows: changed };
        let data = serde_json::to_string(&event)
            .map_err(|error| Refusal::new(Code::Internal, format!("an event could not be written: {error}")))?;
        held.keep(data.len());
        self.held = Some(held);
        self.sent = if settled { Sent::Everything } else { Sent::Until(position) };
        let name = if settled { "end" } else { "progress" };
        Ok(Event::default().id(position.to_string()).event(name).data(data))
    }
}
