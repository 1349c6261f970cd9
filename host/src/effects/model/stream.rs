//! One request to a provider and its answer, over a real connection, read as it comes. It never decides on further
//! tries.

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, code};
use url::Url;

use super::answer::Said;
use super::errors::{Told, Trouble, Wrong, of_status, shown};
use super::providers::{KeyState, Protocol, Provider};
use super::sse::Events;
use super::{anthropic, openai_chat, openai_responses};
use crate::effects::Clock;
use crate::effects::exchange::{causes, last_cause};
use crate::effects::request::KEY_HEADER;
use crate::effects::resolver::Denied;
use crate::effects::tries::retry_after;

/// An answer that is not streamed, with all that stands around the text.
const WHOLE_MAX_BYTES: usize = 16 << 20;
/// A streamed one: some hundred bytes for each token.
const STREAM_MAX_BYTES: usize = 256 << 20;
/// What a provider complains of is short.
const ERROR_MAX_BYTES: usize = 64 << 10;
/// For how long the end of a stream is waited for that has said all, so that its connection can be used again.
const LAST_BYTES: Duration = Duration::from_millis(20);
/// A piece that is passed on is no longer, so that it fits wherever a piece of a guest does, escaped.
const PIECE_MAX_BYTES: usize = 2 << 10;

/// What goes out, the same in every try.
pub(super) struct Sent {
    pub url: Url,
    pub body: Bytes,
    /// The idempotency key.
    pub key: Arc<str>,
}

/// How a try went wrong.
#[derive(Debug)]
pub(super) struct Broken {
    pub failure: Failure,
    /// What it was answered with, if that says it.
    pub status: Option<u16>,
    /// For how long the provider wants to be left alone.
    pub wait: Option<Duration>,
}

enum Reader {
    Chat(openai_chat::Reader),
    Responses(openai_responses::Reader),
    Messages(anthropic::Reader),
}

impl Reader {
    fn new(provider: &Provider) -> Reader {
        match provider.protocol {
            Protocol::OpenAiChat => Reader::Chat(openai_chat::Reader::new(provider.dialect)),
            Protocol::OpenAiResponses => Reader::Responses(openai_responses::Reader::default()),
            Protocol::Anthropic => Reader::Messages(anthropic::Reader::default()),
        }
    }

    fn event(&mut self, data: &str) -> Result<String, Wrong> {
        match self {
            Reader::Chat(reader) => reader.event(data),
            Reader::Responses(reader) => reader.event(data),
            Reader::Messages(reader) => reader.event(data),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Reader::Chat(reader) => reader.is_done(),
            Reader::Responses(reader) => reader.is_done(),
            Reader::Messages(reader) => reader.is_done(),
        }
    }

    fn whole(self, body: &str) -> Result<Said, Wrong> {
        match self {
            Reader::Chat(reader) => reader.whole(body),
            Reader::Responses(reader) => reader.whole(body),
            Reader::Messages(reader) => reader.whole(body),
        }
    }

    fn end(self) -> Result<Said, Wrong> {
        match self {
            Reader::Chat(reader) => reader.end(),
            Reader::Responses(reader) => reader.end(),
            Reader::Messages(reader) => reader.end(),
        }
    }
}

/// Asks once. `tell` gets each piece of text as soon as it is there.
pub(super) async fn ask(
    client: &Client,
    provider: &Provider,
    sent: &Sent,
    clock: &dyn Clock,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Said, Broken> {
    let asking = Asking { provider };
    let response = client.execute(asking.request(sent)).await.map_err(|error| asking.broken(&error))?;
    let status = response.status();
    if !status.is_success() {
        return Err(asking.refused(response, clock).await);
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let said = match kind.as_str() {
        // Some say nothing of what they send.
        "text/event-stream" | "" => asking.stream(response, clock, tell).await,
        kind if kind == "application/json" || kind.ends_with("+json") => asking.whole(response, tell).await,
        kind => Err(Wrong::Garbage(format!("it answered with {} instead of events", shown(kind, asking.key()))).into()),
    };
    said.map_err(|halted| match halted {
        Halted::Wrong(wrong) => asking.wrong(wrong),
        Halted::Transport(error) => asking.broken(&error),
    })
}

/// Why reading came to its end too early.
enum Halted {
    Wrong(Wrong),
    Transport(reqwest::Error),
}

impl From<Wrong> for Halted {
    fn from(wrong: Wrong) -> Halted {
        Halted::Wrong(wrong)
    }
}

struct Asking<'a> {
    provider: &'a Provider,
}

impl Asking<'_> {
    fn request(&self, sent: &Sent) -> Request {
        let mut request = Request::new(Method::POST, sent.url.clone());
        *request.headers_mut() = self.headers(sent);
        *request.body_mut() = Some(sent.body.clone().into());
        request
    }

    fn headers(&self, sent: &Sent) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        if let Ok(key) = HeaderValue::from_str(&sent.key) {
            headers.insert(KEY_HEADER, key);
        }
        let is_anthropic = self.provider.protocol == Protocol::Anthropic;
        if is_anthropic {
            let (name, version) = anthropic::VERSION;
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(version));
        }
        if let KeyState::There(key) = &self.provider.key {
            let own = self.provider.key_header.as_deref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            let (name, value) = match (own, is_anthropic) {
                (Some(name), _) => (name, key.expose().to_owned()),
                (None, true) => (HeaderName::from_static("x-api-key"), key.expose().to_owned()),
                (None, false) => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            };
            if let Ok(mut value) = HeaderValue::from_str(&value) {
                // Keeps it out of anything that prints a request.
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        headers
    }

    async fn stream(
        &self,
        mut response: Response,
        clock: &dyn Clock,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Said, Halted> {
        let mut reader = Reader::new(self.provider);
        let mut events = Events::default();
        let mut size_bytes = 0;
        while let Some(chunk) = response.chunk().await.map_err(Halted::Transport)? {
            size_bytes += chunk.len();
            if size_bytes > STREAM_MAX_BYTES {
                return Err(Wrong::TooLarge(format!("the answer takes more than {STREAM_MAX_BYTES} bytes")).into());
            }
            events.push(&chunk);
            let mut text = String::new();
            let mut wrong = None;
            while !reader.is_done() && wrong.is_none() {
                match events.next() {
                    Ok(Some(event)) => match reader.event(&event.data) {
                        Ok(piece) => text.push_str(&piece),
                        Err(error) => wrong = Some(error),
                    },
                    Ok(None) => break,
                    Err(error) => wrong = Some(error),
                }
            }
            pieces(&text).for_each(tell);
            if let Some(wrong) = wrong {
                return Err(wrong.into());
            }
            if reader.is_done() {
                tokio::select! {
                    _ = response.chunk() => {}
                    () = clock.wait(LAST_BYTES) => {}
                }
                break;
            }
        }
        Ok(reader.end()?)
    }

    async fn whole(&self, response: Response, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<Said, Halted> {
        let body = read(response, WHOLE_MAX_BYTES).await.map_err(Halted::Transport)?;
        let Some(body) = body else {
            return Err(Wrong::TooLarge(format!("the answer takes more than {WHOLE_MAX_BYTES} bytes")).into());
        };
        let text = std::str::from_utf8(&body).map_err(|_| Wrong::Garbage("it sent what is no text".to_owned()))?;
        let said = Reader::new(self.provider).whole(text)?;
        pieces(said.content.as_deref().unwrap_or_default()).for_each(tell);
        Ok(said)
    }

    /// An answer whose status says that it is none.
    async fn refused(&self, response: Response, clock: &dyn Clock) -> Broken {
        let status = response.status();
        let wait = retry_after_ms(response.headers()).or_else(|| retry_after(response.headers(), clock.now()));
        let body = read(response, ERROR_MAX_BYTES).await.ok().flatten().unwrap_or_default();
        let told = Told::of_body(&String::from_utf8_lossy(&body));
        let trouble = if status.is_redirection() { Trouble::Failed } else { of_status(status, &told) };
        let mut failure = self.told(trouble, &format!("answered {status}"), &told);
        let wait = wait.filter(|_| failure.retryable);
        failure.retry_after_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Broken { failure, status: Some(status.as_u16()), wait }
    }

    fn wrong(&self, wrong: Wrong) -> Broken {
        let name = &self.provider.name;
        let failure = match wrong {
            Wrong::Garbage(why) => Trouble::Broken.failure(format!("`{name}`: {why}")),
            Wrong::TooLarge(why) => Failure::permanent(code::TOO_LARGE, format!("`{name}`: {why}")),
            Wrong::Told(told) => {
                let trouble = told.trouble().unwrap_or(Trouble::Broken);
                self.told(trouble, "broke its answer off", &told)
            }
        };
        Broken { failure, status: None, wait: None }
    }

    /// What providers say of a key may have a piece of it.
    fn told(&self, trouble: Trouble, what: &str, told: &Told) -> Failure {
        let name = &self.provider.name;
        let words = shown(&told.message, self.key());
        match trouble {
            Trouble::Auth => trouble.failure(format!("`{name}` {what}: it does not take the host's key for this")),
            _ if words.is_empty() => trouble.failure(format!("`{name}` {what}")),
            _ => trouble.failure(format!("`{name}` {what}: {words}")),
        }
    }

    fn key(&self) -> Option<&str> {
        match &self.provider.key {
            KeyState::There(key) => Some(key.expose()),
            KeyState::NotNeeded | KeyState::Missing { .. } => None,
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Broken {
        let name = &self.provider.name;
        let failure = match causes(error).find_map(|cause| cause.downcast_ref::<Denied>()) {
            Some(denied) => Trouble::Failed.failure(format!("`{name}`: {denied}")),
            None if error.is_builder() => Trouble::Failed.failure(format!("`{name}` cannot be asked this")),
            None if error.is_connect() => {
                Trouble::Connect.failure(format!("`{name}` cannot be reached: {}", last_cause(error)))
            }
            None => Trouble::Broken.failure(format!("`{name}` broke the exchange off: {}", last_cause(error))),
        };
        Broken { failure, status: None, wait: None }
    }
}

/// `None`: there is more.
async fn read(mut response: Response, max_bytes: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

/// Finer than what HTTP has for it; some providers send both.
fn retry_after_ms(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after-ms")?.to_str().ok()?.trim().parse().ok().map(Duration::from_millis)
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (0..=rest.len().min(PIECE_MAX_BYTES)).rev().find(|end| rest.is_char_boundary(*end))?;
        let (piece, left) = rest.split_at(end);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests;
