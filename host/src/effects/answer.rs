//! What a guest gets to see of an answer. Pure; the fields are listed in `wit/README.md`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Serialize;
use trackway_replay::{Failure, Value, code};

/// An answer as it arrived.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A try that was not the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Try {
    Error(String),
    Status(u16),
}

#[derive(Serialize)]
struct Output<'a> {
    status: u16,
    headers: Vec<(&'a str, std::borrow::Cow<'a, str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    tries: &'a [Try],
}

/// Fails with `TOO_LARGE` when the text is over the limit of a value, as bytes that have to be escaped
/// can make it.
pub(super) fn to_json(answer: &Answer, tries: &[Try]) -> Result<String, Failure> {
    let text = std::str::from_utf8(&answer.body).ok();
    let output = Output {
        status: answer.status.as_u16(),
        // A value that is not UTF-8 shows its strange bytes as U+FFFD.
        headers: answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect(),
        body: text,
        body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&answer.body)),
        tries,
    };
    let json = serde_json::to_string(&output).expect("the output holds only text and numbers");
    if json.len() > Value::MAX_BYTES {
        let message =
            format!("the answer takes {} bytes as JSON; a value has at most {}", json.len(), Value::MAX_BYTES);
        return Err(Failure::permanent(code::TOO_LARGE, message));
    }
    Ok(json)
}

/// Tells in `details` of a failure what had been tried before.
pub(super) fn with_tries(mut failure: Failure, tries: &[Try]) -> Failure {
    if !tries.is_empty() {
        failure.details = serde_json::value::to_raw_value(&serde_json::json!({ "tries": tries })).ok();
    }
    failure
}
