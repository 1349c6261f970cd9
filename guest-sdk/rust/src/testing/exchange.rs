//! The HTTP that a test sees and answers. It must know nothing of the host that carries it.

use serde::Deserialize;
use serde_json::json;

use crate::Failure;

/// A request that a function sent.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct HttpRequest {
    /// Which one it is of all that this host has seen, from 1.
    #[serde(default)]
    pub number: u32,
    /// As `GET`.
    pub method: String,
    /// Where to.
    pub url: String,
    /// In the order in which they were added.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body, if it is text.
    #[serde(default)]
    pub body: Option<String>,
}

/// What a test answers to it.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub(super) outcome: Result<serde_json::Value, Failure>,
}

impl HttpResponse {
    /// An answer with that status and text.
    pub fn new(status: u16, body: impl Into<String>) -> HttpResponse {
        let output = json!({ "status": status, "headers": [], "body": body.into(), "tries": [] });
        HttpResponse { outcome: Ok(output) }
    }

    /// No answer, as when there is no connection: `HttpResponse::broken("HTTP_CONNECT", "refused")`.
    pub fn broken(code: &str, message: &str) -> HttpResponse {
        HttpResponse { outcome: Err(Failure::new(code, message)) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> HttpResponse {
        if let Some(headers) = self.outcome.as_mut().ok().and_then(|output| output["headers"].as_array_mut()) {
            headers.push(json!([name.to_ascii_lowercase(), value]));
        }
        self
    }
}
