//! The protocol of messages, as Anthropic speaks it. Pure: what is sent, and what comes of what is sent back.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use trackway_replay::{Finish, Usage};

use super::answer::{Draft, Said, count, object, text, told};
use super::errors::Wrong;
use super::image::Source;
use super::request::{Message, ModelRequest, Role, ToolChoice};

pub(super) const PATH: &str = "messages";
/// The protocol wants a version, and has had only this one.
pub(super) const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
/// The protocol wants a number: one that every model takes.
const MAX_TOKENS_DEFAULT: u32 = 4_096;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    system: String,
    messages: Vec<Turn<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop_sequences: &'a [String],
}

/// What one side says; results of tools are said by the user.
#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: &'a str,
    },
    Image {
        source: Source<'a>,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Value,
    },
    ToolResult {
        tool_use_id: &'a str,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: &'a RawValue,
}

#[derive(Serialize)]
struct Choice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: &'a RawValue,
}

/// The body to send. The protocol has no seed.
pub(super) fn body(request: &ModelRequest) -> String {
    let choice = |kind, name| Some(Choice { kind, name });
    let body = Body {
        model: &request.model.model,
        max_tokens: request.max_tokens.unwrap_or(MAX_TOKENS_DEFAULT),
        system: system(&request.messages),
        messages: turns(&request.messages),
        stream: true,
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: match &request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None if request.tools.is_empty() => None,
            ToolChoice::None => choice("none", None),
            ToolChoice::Required => choice("any", None),
            ToolChoice::Named(name) => choice("tool", Some(name.as_str())),
        },
        output_config: request
            .output
            .as_ref()
            .map(|output| OutputConfig { format: Format { kind: "json_schema", schema: &output.schema } }),
        temperature: request.temperature,
        top_p: request.top_p,
        stop_sequences: &request.stop,
    };
    serde_json::to_string(&body).expect("the body holds only text, numbers and JSON")
}

fn tool(tool: &super::Tool) -> Tool<'_> {
    Tool { name: &tool.name, description: tool.description.as_deref(), input_schema: &tool.input }
}

/// It stands apart from what is said.
fn system(messages: &[Message]) -> String {
    let texts = messages.iter().filter(|message| message.role == Role::System);
    let texts: Vec<&str> = texts.filter_map(|message| message.content.as_deref()).collect();
    texts.join("\n\n")
}

/// Both sides take turns, so what one of them says in a row is one turn.
fn turns(messages: &[Message]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for message in messages {
        let (role, blocks) = match message.role {
            Role::System => continue,
            Role::User => ("user", said_by_user(message)),
            Role::Tool => ("user", vec![result(message)]),
            Role::Assistant => {
                // An empty text is refused.
                let said = message.content.as_deref().filter(|text| !text.is_empty()).map(|text| Block::Text { text });
                ("assistant", said.into_iter().chain(message.tool_calls.iter().map(tool_use)).collect())
            }
        };
        match turns.last_mut().filter(|turn| turn.role == role) {
            Some(turn) => turn.content.extend(blocks),
            None => turns.push(Turn { role, content: blocks }),
        }
    }
    turns
}

fn said_by_user(message: &Message) -> Vec<Block<'_>> {
    let images = message.images.iter().map(|image| Block::Image { source: image.source() });
    let text = message.content.as_deref().unwrap_or_default();
    // An empty text is refused, but beside a picture it need not be there.
    let text = (!text.is_empty() || message.images.is_empty()).then_some(Block::Text { text });
    images.chain(text).collect()
}

fn result(message: &Message) -> Block<'_> {
    Block::ToolResult {
        tool_use_id: message.tool_call_id.as_deref().unwrap_or_default(),
        content: message.content.as_deref().unwrap_or_default(),
        is_error: message.is_error.unwrap_or(false),
    }
}

fn tool_use(call: &super::ToolCall) -> Block<'_> {
    let input = match serde_json::from_str(&call.arguments) {
        Ok(input @ Value::Object(_)) => input,
        // The protocol takes nothing but an object, and the model is to see what it wrote.
        _ => json!({ "arguments": call.arguments }),
    };
    Block::ToolUse { id: &call.id, name: &call.name, input }
}

/// An answer as it comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    draft: Draft,
    finish: Option<Finish>,
    usage: Usage,
    has_usage: bool,
}

impl Reader {
    /// Gives the new text.
    pub fn event(&mut self, data: &str) -> Result<String, Wrong> {
        let event = object(data)?;
        let place = count(&event, "/index");
        match text(&event, "/type").unwrap_or_default() {
            "message_start" => {
                self.draft.named(text(&event, "/message/id"), text(&event, "/message/model"));
                self.used(&event["message"]);
            }
            "content_block_start" => {
                let block = &event["content_block"];
                match text(block, "/type") {
                    Some("tool_use") => self.draft.call(place, text(block, "/id"), text(block, "/name"))?,
                    Some("text") => return self.said(text(block, "/text")),
                    _ => {}
                }
            }
            "content_block_delta" => match text(&event, "/delta/type") {
                Some("text_delta") => return self.said(text(&event, "/delta/text")),
                Some("input_json_delta") => {
                    self.draft.arguments(place, text(&event, "/delta/partial_json").unwrap_or_default())?;
                }
                // What it thinks stays with it.
                _ => {}
            },
            "message_delta" => {
                self.finish = text(&event, "/delta/stop_reason").map(finish).or(self.finish);
                self.used(&event);
            }
            "message_stop" => {
                self.draft.finish = Some(self.finish.unwrap_or(Finish::Other));
                self.draft.is_done = true;
            }
            "error" => return Err(told(&event["error"])),
            _ => {}
        }
        Ok(String::new())
    }

    /// A body that is the whole answer.
    pub fn whole(mut self, body: &str) -> Result<Said, Wrong> {
        let answer = object(body)?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(told(error));
        }
        let Some(blocks) = answer.get("content").and_then(Value::as_array) else {
            return Err(Wrong::Garbage("it sent an answer without any content".to_owned()));
        };
        self.draft.named(text(&answer, "/id"), text(&answer, "/model"));
        for (place, block) in (0..).zip(blocks) {
            match text(block, "/type") {
                Some("text") => drop(self.said(text(block, "/text"))?),
                Some("tool_use") => {
                    self.draft.call(place, text(block, "/id"), text(block, "/name"))?;
                    self.draft.arguments(place, &block["input"].to_string())?;
                }
                _ => {}
            }
        }
        self.used(&answer);
        self.draft.finish = Some(text(&answer, "/stop_reason").map_or(Finish::Other, finish));
        self.end()
    }

    pub fn is_done(&self) -> bool {
        self.draft.is_done
    }

    pub fn end(mut self) -> Result<Said, Wrong> {
        self.draft.usage = self.has_usage.then_some(self.usage);
        self.draft.end()
    }

    fn said(&mut self, piece: Option<&str>) -> Result<String, Wrong> {
        let piece = piece.unwrap_or_default();
        self.draft.text(piece)?;
        Ok(piece.to_owned())
    }

    /// It tells what was sent at first and what was said at last, each as a sum so far; apart, what was read from and
    /// written to its cache.
    fn used(&mut self, told: &Value) {
        let Some(usage) = told.get("usage").filter(|usage| usage.is_object()) else { return };
        self.has_usage = true;
        if usage.get("input_tokens").is_some_and(|tokens| !tokens.is_null()) {
            let cached = count(usage, "/cache_read_input_tokens");
            let written = count(usage, "/cache_creation_input_tokens");
            let all = count(usage, "/input_tokens").saturating_add(cached).saturating_add(written);
            self.usage = Usage { input_tokens: all, cached_tokens: cached, cache_write_tokens: written, ..self.usage };
        }
        self.usage.output_tokens = self.usage.output_tokens.max(count(usage, "/output_tokens"));
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "end_turn" | "stop_sequence" => Finish::Stop,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Refused,
        _ => Finish::Other,
    }
}

#[cfg(test)]
mod tests;
