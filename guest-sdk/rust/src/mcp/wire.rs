//! JSON-RPC in answers of HTTP, plain or as a stream of events that is read whole. It must take any text for what it is: no
//! server can make it panic.

use serde::Deserialize;
use serde_json::Value as Json;
use std::fmt::Display;

use crate::failure::{Failure, code};
use crate::http::Response;
use crate::schema;

/// A quarter of a million characters are as much as most models can read.
const RESULT_MAX_BYTES: usize = 256 * 1024;

/// More of what somebody else wrote would hide what matters.
const MESSAGE_MAX_BYTES: usize = 8 * 1024;

/// What a call of a tool came to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(default)]
    content: Vec<Json>,
    #[serde(default)]
    structured_content: Option<Json>,
    #[serde(default)]
    is_error: bool,
}

/// A server that does not keep to the protocol.
pub(super) fn broken(server: &str, why: impl Display) -> Failure {
    Failure { at: None, ..Failure::new(code::MCP_BROKEN, format!("the MCP server {server}: {why}")) }
}

/// What somebody else wrote, not too much of it.
pub(super) fn message_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(MESSAGE_MAX_BYTES)]
}

/// The result that `response` holds for the request `id`.
pub(super) fn answer(server: &str, response: Response, id: u64) -> Result<Json, Failure> {
    let response = response.error_for_status().map_err(|failure| Failure { at: None, ..failure })?;
    let is_stream = response.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let text = response.text().map_err(|_| broken(server, "its answer is not UTF-8"))?;
    let said = if is_stream { events(&text) } else { vec![text] };
    for text in said {
        let message = match serde_json::from_str::<Json>(&text) {
            Ok(message) => message,
            // What else stands in a stream is not for us.
            Err(_) if is_stream => continue,
            Err(error) => return Err(broken(server, format_args!("its answer is not JSON: {error}"))),
        };
        if let Some(outcome) = outcome_of(server, message, id) {
            return outcome;
        }
    }
    Err(broken(server, "there is no answer in what it sent"))
}

/// None for what is not the answer: servers tell how far they are, and ask for things that were not offered to them.
fn outcome_of(server: &str, mut message: Json, id: u64) -> Option<Result<Json, Failure>> {
    let fields = message.as_object_mut()?;
    let said_id = fields.get("id").unwrap_or(&Json::Null);
    if let Some(error) = fields.get("error").filter(|_| said_id.is_null() || *said_id == id) {
        let text = message_of(error["message"].as_str().unwrap_or("no message"));
        let message = format!("the MCP server {server} refuses: {text} ({})", error["code"].as_i64().unwrap_or(0));
        return Some(Err(Failure { at: None, ..Failure::permanent(code::MCP_ERROR, message) }));
    }
    if *said_id != id || fields.contains_key("method") {
        return None;
    }
    fields.remove("result").map(Ok)
}

/// The data of each event. A stream that ends in the middle of one is taken as if it had ended behind it: JSON is whole or it is
/// none.
fn events(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (mut events, mut lines) = (Vec::new(), Vec::new());
    for line in text.split(['\n', '\r']).chain([""]) {
        if let Some(data) = line.strip_prefix("data:") {
            lines.push(data.strip_prefix(' ').unwrap_or(data));
        } else if line.is_empty() && !lines.is_empty() {
            events.push(lines.join("\n"));
            lines.clear();
        }
    }
    events
}

/// What the model is told of a result; an error of the tool is a failure.
pub(super) fn told(server: &str, result: Json, output_schema: Option<&Json>) -> Result<Json, Failure> {
    let outcome: Outcome = serde_json::from_value(result)
        .map_err(|error| broken(server, format_args!("what its tool gave is no result: {error}")))?;
    let parts: Vec<String> = outcome.content.iter().map(part).collect();
    let text = parts.join("\n");
    if outcome.is_error {
        let message = if text.is_empty() { "the tool failed" } else { message_of(&text) };
        return Err(Failure { at: None, ..Failure::permanent(code::MCP_ERROR, message) });
    }
    if let Some(schema) = output_schema {
        let output = outcome.structured_content.as_ref().unwrap_or(&Json::Null);
        schema::check(schema, output, "output")
            .map_err(|why| Failure { at: None, ..Failure::permanent(code::BAD_OUTPUT, why) })?;
    }
    let (told, bytes) = match outcome.structured_content {
        // The text is to say the same, for models.
        Some(output) if text.is_empty() => {
            let bytes = output.to_string().len();
            (output, bytes)
        }
        Some(_) | None => {
            let bytes = text.len();
            (Json::String(text), bytes)
        }
    };
    if bytes > RESULT_MAX_BYTES {
        let message = format!("the result has {bytes} bytes: more than {RESULT_MAX_BYTES}, ask for less");
        return Err(Failure { at: None, ..Failure::permanent(code::TOO_LARGE, message) });
    }
    Ok(told)
}

/// Models are told text only.
fn part(part: &Json) -> String {
    let word = |name: &str| part[name].as_str().unwrap_or("?");
    match word("type") {
        "text" => part["text"].as_str().unwrap_or_default().to_owned(),
        "resource" => match part["resource"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("[{} is not text, and left out]", part["resource"]["uri"].as_str().unwrap_or("?")),
        },
        "resource_link" => format!("[{}: {}]", word("name"), word("uri")),
        kind => format!("[{kind} {} is not text, and left out]", word("mimeType")),
    }
}
