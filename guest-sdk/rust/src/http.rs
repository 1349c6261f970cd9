//! HTTP for functions. The host sends it, journals it, and asks the operator's grant first: list the
//! hosts in `#[function(hosts = ["example.com"])]`. In a workflow it ends the run with advice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::panic::Location;
use std::time::Duration;

use crate::failure::{Failure, code, place};
use crate::operation::{EffectOptions, Operation, Request};

/// More of an answer than this in a message would hide what matters.
const EXCERPT_MAX_CHARS: usize = 200;

/// A GET request.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// #[function(retries = 5, backoff = "200ms", hosts = ["example.com"])]
/// async fn fetch(url: String) -> Result<String, Failure> {
///     http::get(url).send().await?.error_for_status()?.text()
/// }
/// ```
pub fn get(url: impl Into<String>) -> RequestBuilder {
    request("GET", url)
}

/// A HEAD request.
pub fn head(url: impl Into<String>) -> RequestBuilder {
    request("HEAD", url)
}

/// A POST request.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// #[value]
/// struct Order { item: String, count: u32 }
///
/// #[function(hosts = ["shop.example.com"])]
/// async fn place_order(order: Order) -> Result<String, Failure> {
///     let answer = http::post("https://shop.example.com/orders").json(&order).send().await?;
///     answer.error_for_status()?.text()
/// }
/// ```
pub fn post(url: impl Into<String>) -> RequestBuilder {
    request("POST", url)
}

/// A PUT request.
pub fn put(url: impl Into<String>) -> RequestBuilder {
    request("PUT", url)
}

/// A PATCH request.
pub fn patch(url: impl Into<String>) -> RequestBuilder {
    request("PATCH", url)
}

/// A DELETE request.
pub fn delete(url: impl Into<String>) -> RequestBuilder {
    request("DELETE", url)
}

/// A request with any method but `CONNECT` and `TRACE`.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> RequestBuilder {
    RequestBuilder {
        message: Message { method: method.into(), url: url.into(), headers: Vec::new(), body: None, body_base64: None },
        timeout_ms: None,
        tries: None,
        idempotency_key: None,
        wrong: None,
    }
}

/// A request to be, sent by [`send`](RequestBuilder::send).
#[derive(Debug)]
#[must_use = "a request is sent by `.send().await`"]
pub struct RequestBuilder {
    message: Message,
    timeout_ms: Option<u64>,
    tries: Option<u32>,
    idempotency_key: Option<String>,
    wrong: Option<String>,
}

#[derive(Debug, Serialize)]
struct Message {
    method: String,
    url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl RequestBuilder {
    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Display) -> RequestBuilder {
        self.message.headers.push((name.into(), value.to_string()));
        self
    }

    /// Sends `Authorization: Bearer` with this token.
    pub fn bearer_auth(self, token: impl Display) -> RequestBuilder {
        self.header("authorization", format_args!("Bearer {token}"))
    }

    /// Sends text.
    pub fn body(mut self, text: impl Into<String>) -> RequestBuilder {
        self.message.body = Some(text.into());
        self.message.body_base64 = None;
        self
    }

    /// Sends bytes.
    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> RequestBuilder {
        self.message.body_base64 = Some(BASE64.encode(bytes));
        self.message.body = None;
        self
    }

    /// Sends `value` as JSON, with `content-type: application/json`.
    pub fn json(mut self, value: &impl Serialize) -> RequestBuilder {
        match serde_json::to_string(value) {
            Ok(text) => self.header("content-type", "application/json").body(text),
            Err(error) => {
                self.wrong = Some(format!("the body cannot be written as JSON: {error}"));
                self
            }
        }
    }

    /// For the whole exchange, the host's own tries included; 30 s unless told, at most 10 minutes.
    pub fn timeout(mut self, timeout: Duration) -> RequestBuilder {
        self.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// How often the host sends it at most, 1 to 3: it tries again what breaks off, or is answered with 429, 502, 503 or 504.
    /// Say 1 where a request that comes twice does harm, and the server heeds no idempotency key. After a crash it may still come
    /// twice: see [`ambiguous`](macro@crate::function).
    pub fn tries(mut self, tries: u32) -> RequestBuilder {
        self.tries = Some(tries);
        self
    }

    /// Instead of the idempotency key that the host derives for methods that change something.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> RequestBuilder {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sends it. Any status is a success: see [`Response::error_for_status`].
    ///
    /// # Errors
    ///
    /// `EGRESS_DENIED` outside of the grant, `HTTP_CONNECT`, `HTTP_TIMEOUT` or `HTTP_BROKEN` when no
    /// answer could be had, `BAD_REQUEST` or `TOO_LARGE` for what the contract does not allow.
    #[track_caller]
    pub fn send(self) -> Operation<Response> {
        let at = Location::caller();
        let request = match self.wrong {
            Some(message) => Err(Failure { at: Some(place(at)), ..Failure::permanent("BAD_REQUEST", message) }),
            None => Ok(Request::Effect {
                ask: crate::bindings::http,
                request: serde_json::to_string(&self.message).expect("a request holds only text"),
                options: EffectOptions {
                    timeout_ms: self.timeout_ms,
                    tries: self.tries,
                    idempotency_key: self.idempotency_key,
                    ..EffectOptions::default()
                },
            }),
        };
        Operation::new(request, |text| Ok(serde_json::from_str(text)?), at)
    }
}

/// The answer to a request.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
}

impl Response {
    /// The status, as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All headers, names in lower case, in the order in which they came.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Itself, unless the status is 400 or more.
    ///
    /// # Errors
    ///
    /// `HTTP_STATUS` with the status in `details`. Permanent for what the same request would meet
    /// again: 400 to 499, but for 408, 425 and 429. With the seconds of a `retry-after` header as its
    /// [`retry_after_ms`](Failure::retry_after_ms).
    #[track_caller]
    pub fn error_for_status(self) -> Result<Response, Failure> {
        if self.status < 400 {
            return Ok(self);
        }
        let excerpt: String = self.body.as_deref().unwrap_or_default().chars().take(EXCERPT_MAX_CHARS).collect();
        let message = format!("the server answered with status {}: {}", self.status, excerpt.trim());
        let retryable = self.status >= 500 || matches!(self.status, 408 | 425 | 429);
        let failure = Failure::new(code::HTTP_STATUS, message.trim_end_matches([':', ' ']));
        let retry_after_ms = self.header("retry-after").and_then(|wait| wait.trim().parse::<u64>().ok());
        let retry_after_ms = retry_after_ms.map(|seconds| seconds.saturating_mul(1_000));
        Err(Failure { retryable, retry_after_ms, ..failure }.with_details(serde_json::json!({ "status": self.status })))
    }

    /// The body as text.
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(self) -> Result<String, Failure> {
        match (self.body, self.body_base64) {
            (Some(text), _) => Ok(text),
            (None, None) => Ok(String::new()),
            (None, Some(_)) => Err(Failure::permanent(code::FAILED, "the body is not UTF-8: read it by `.bytes()`")),
        }
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or not of that shape.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let text = self.text()?;
        crate::json::read(&text, "the body").map_err(|message| Failure::new(code::FAILED, message))
    }

    /// The body as it came.
    ///
    /// # Errors
    ///
    /// Only if the host did not keep to the contract.
    #[track_caller]
    pub fn bytes(self) -> Result<Vec<u8>, Failure> {
        match (self.body, self.body_base64) {
            (Some(text), _) => Ok(text.into_bytes()),
            (None, Some(text)) => Ok(BASE64.decode(text)?),
            (None, None) => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests;
