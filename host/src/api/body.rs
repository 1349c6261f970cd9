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
use tokio::time::timeout;

use super::problem::{Answer, Refusal};
use crate::{Code, Error};

/// A sender that is silent for so long has gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
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

    fn refuse(self) -> Refusal {
        Refusal::new(self.code, format!("the body is larger than {} bytes", self.max_bytes))
    }
}

/// Reads a whole body. One that says beforehand that it is too large is not read at all.
pub async fn read(headers: &HeaderMap, body: Body, limit: Limit) -> Answer<Bytes> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut stream = body.into_data_stream();
    if announced.is_some_and(|length| length > limit.max_bytes as u64) {
        tokio::spawn(discard(stream));
        return Err(limit.refuse());
    }
    let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut bytes = BytesMut::with_capacity(announced.min(RESERVE_MAX_BYTES));
    loop {
        let chunk = timeout(SILENCE_MAX, stream.next()).await;
        let chunk = chunk.map_err(|_| Refusal::new(Code::BadRequest, "the body stopped coming"))?;
        let Some(chunk) = chunk else { return Ok(bytes.freeze()) };
        let chunk = chunk.map_err(|error| Refusal::new(Code::BadRequest, format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > limit.max_bytes {
            tokio::spawn(discard(stream));
            return Err(limit.refuse());
        }
        bytes.extend_from_slice(&chunk);
    }
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

/// A request of a few fields and its idempotency key. No body at all means the default.
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
        let body = if bytes.is_empty() { T::default() } else { json(&bytes, Code::BadRequest)? };
        Ok(Asked { key, body })
    }
}
