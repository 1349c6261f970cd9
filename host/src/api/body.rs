//! Reading what a client sends: with a limit, with patience that ends, and with errors that say
//! what is wrong. It never holds more than the limit in memory.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{Answer, Refusal};
use crate::{Code, Error};

/// How often is looked at what came of a body. A sender that is silent for so long has gone.
const PACE_WINDOW: Duration = Duration::from_secs(10);
/// What must come within each window: a modem's worth, and that of the slowest line that somebody uploads on.
const BODY_BYTES_MIN: usize = 10 << 10;
const UPLOAD_BYTES_MIN: usize = 160 << 10;
/// However it comes, it has come by then: the largest upload on a line of two Mbit/s.
const BODY_FOR_MAX: Duration = Duration::from_secs(300);
/// What is read and thrown away after a refusal, so that the client gets to read the answer
/// instead of a broken connection. A client that sends more is cut off.
const DISCARD_MAX_BYTES: usize = 256 << 20;
const DISCARD_FOR: Duration = Duration::from_secs(20);
/// What is set aside for a body on its word alone; the rest when it comes.
const RESERVE_MAX_BYTES: usize = 1 << 20;
/// Bodies that hold a few fields.
pub const SMALL_MAX_BYTES: usize = 64 << 10;

/// How much of a body is read, and what going over it is called.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub max_bytes: usize,
    pub code: Code,
}

impl Limit {
    pub const SMALL: Limit = Limit { max_bytes: SMALL_MAX_BYTES, code: Code::RequestTooLarge };

    pub(super) fn refuse(self) -> Refusal {
        Refusal::new(self.code, format!("the body is larger than {} bytes", self.max_bytes))
    }
}

/// How fast a body has to come, so that nobody holds a place and memory by sending next to nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    bytes_min: usize,
    ends: Instant,
    window_ends: Instant,
    in_window: usize,
}

impl Pace {
    fn of_bodies(now: Instant) -> Pace {
        Pace { bytes_min: BODY_BYTES_MIN, ends: now + BODY_FOR_MAX, window_ends: now + PACE_WINDOW, in_window: 0 }
    }

    pub fn of_uploads(now: Instant) -> Pace {
        Pace { bytes_min: UPLOAD_BYTES_MIN, ..Pace::of_bodies(now) }
    }

    /// The next piece has come by then, or none is waited for any more.
    pub fn until(&self) -> Instant {
        self.ends.min(self.window_ends + PACE_WINDOW)
    }

    /// `Err` where too little came in the window that is over.
    pub fn took(&mut self, bytes: usize, now: Instant) -> Result<(), ()> {
        self.in_window = self.in_window.saturating_add(bytes);
        if now >= self.ends {
            return Err(());
        }
        if now < self.window_ends {
            return Ok(());
        }
        let enough = self.in_window >= self.bytes_min;
        (self.window_ends, self.in_window) = (now + PACE_WINDOW, 0);
        if enough { Ok(()) } else { Err(()) }
    }
}

/// The size of a body, where it is said beforehand.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
}

/// Reads a whole body. One that says beforehand that it is too large is not read at all.
pub async fn read(headers: &HeaderMap, body: Body, limit: Limit) -> Answer<Bytes> {
    let announced = announced(headers);
    let mut stream = body.into_data_stream();
    if announced.is_some_and(|length| length > limit.max_bytes as u64) {
        discard_later(stream);
        return Err(limit.refuse());
    }
    let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut bytes = BytesMut::with_capacity(announced.min(RESERVE_MAX_BYTES));
    let mut pace = Pace::of_bodies(Instant::now());
    loop {
        let chunk = timeout_at(pace.until(), stream.next()).await;
        let chunk = chunk.map_err(|_| Refusal::new(Code::BadRequest, "the body stopped coming"))?;
        let Some(chunk) = chunk else { return Ok(bytes.freeze()) };
        let chunk = chunk.map_err(|error| Refusal::new(Code::BadRequest, format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > limit.max_bytes {
            discard_later(stream);
            return Err(limit.refuse());
        }
        pace.took(chunk.len(), Instant::now())
            .map_err(|()| Refusal::new(Code::BadRequest, "the body comes too slowly"))?;
        bytes.extend_from_slice(&chunk);
    }
}

pub(super) fn discard_later(stream: axum::body::BodyDataStream) {
    tokio::spawn(discard(stream));
}

async fn discard(mut stream: axum::body::BodyDataStream) {
    let mut left = DISCARD_MAX_BYTES;
    let discarding = async {
        while let Some(Ok(chunk)) = stream.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    timeout(DISCARD_FOR, discarding).await.unwrap_or_default();
}

/// Reads a body as JSON. What is not JSON at all is refused as `not_json`.
pub fn json<T: DeserializeOwned>(bytes: &[u8], not_json: Code) -> Answer<T> {
    // Or it would be taken for the fields of an object, in the order in which they happen to be declared.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Refusal::new(Code::BadRequest, "the body cannot be read: it is a list, and has to be an object"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let code = if error.is_data() { Code::BadRequest } else { not_json };
        Refusal::new(code, format!("the body cannot be read: {error}"))
    })
}

/// A body that is one JSON value, as it came; `null` where there is none.
pub fn value(bytes: &[u8]) -> Answer<Arc<str>> {
    if bytes.is_empty() {
        return Ok(Arc::from("null"));
    }
    let text = std::str::from_utf8(bytes);
    text.map(Arc::from)
        .map_err(|error| Refusal::new(Code::InputNotJson, format!("the body is not UTF-8 text: {error}")))
}

/// The header under which a request may be sent again without being done again.
pub fn idempotency_key(headers: &HeaderMap) -> Answer<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().map_err(|_| Refusal::new(Code::BadRequest, "Idempotency-Key must be printable ASCII"))?;
    Ok(Some(key.to_owned()))
}

/// What stands behind the question mark. A name or value that is not known is an error.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Params<T>> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => Err(Error::new(Code::BadRequest, rejection.body_text()).into()),
        }
    }
}

/// A request of a few fields and its idempotency key. No body at all, or `null`, means the default.
pub struct Asked<T> {
    pub key: Option<String>,
    pub body: T,
}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Answer<Asked<T>> {
        let (parts, body) = request.into_parts();
        let key = idempotency_key(&parts.headers)?;
        let bytes = read(&parts.headers, body, Limit::SMALL).await?;
        let given = if bytes.is_empty() { None } else { json::<Option<T>>(&bytes, Code::BadRequest)? };
        let body = given.unwrap_or_default();
        Ok(Asked { key, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_trickles_is_given_up_and_a_slow_one_is_not() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let sends = |bytes_a_second: usize, seconds: u32| {
            let mut pace = Pace::of_uploads(begun);
            (1..=seconds).try_for_each(|nth| pace.took(bytes_a_second, begun + second * nth))
        };
        assert!(sends(20 << 10, 120).is_ok());
        assert!(sends(1, 9).is_ok());
        assert!(sends(1, 11).is_err());
        // However fast it came before: each window counts for itself.
        let mut pace = Pace::of_uploads(begun);
        pace.took(60 << 20, begun + second).expect("fast");
        pace.took(0, begun + second * 10).expect("the first window had enough");
        assert!(pace.took(1, begun + second * 21).is_err());
    }

    #[test]
    fn nothing_is_waited_for_without_an_end() {
        let begun = Instant::now();
        let mut pace = Pace::of_bodies(begun);
        assert!(pace.until() <= begun + PACE_WINDOW * 2);
        for nth in 1..30 {
            pace.took(1 << 20, begun + PACE_WINDOW * nth).expect("fast enough");
        }
        assert!(pace.until() <= begun + BODY_FOR_MAX);
        assert!(pace.took(1 << 20, begun + BODY_FOR_MAX).is_err());
    }
}
