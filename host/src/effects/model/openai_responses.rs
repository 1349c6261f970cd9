//! The protocol of responses, as OpenAI speaks it. Pure: what is sent, and what comes of what is sent back. Nothing
//! is kept with the provider: the whole conversation goes along each time.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use trackway_replay::{Failure, Finish, Usage, code};

use super::answer::{Draft, Said, count, object, text, told};
use super::errors::Wrong;
use super::openai_chat::is_strict;
use super::request::{Message, ModelRequest, Role, ToolChoice};

pub(super) const PATH: &str = "responses";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: Vec<Item<'a>>,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Item<'a> {
    Message { role: &'static str, content: Content<'a> },
    FunctionCall { call_id: &'a str, name: &'a str, arguments: &'a str },
    FunctionCallOutput { call_id: &'a str, output: &'a str },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    InputText { text: &'a str },
    InputImage { image_url: String },
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a RawValue,
    strict: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
    },
}

#[derive(Serialize)]
struct Text<'a> {
    format: Format<'a>,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    schema: &'a RawValue,
    strict: bool,
}

/// The body to send. Fails where the protocol has no place for what is asked.
pub(super) fn body(request: &ModelRequest) -> Result<String, Failure> {
    if !request.stop.is_empty() {
        let message = "`stop` in `request` cannot be asked of a provider that speaks `openai-responses`";
        return Err(Failure::permanent(code::BAD_REQUEST, message));
    }
    let body = Body {
        model: &request.model.model,
        input: request.messages.iter().flat_map(items).collect(),
        stream: true,
        store: false,
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: match &request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None if request.tools.is_empty() => None,
            ToolChoice::None => Some(Choice::Word("none")),
            ToolChoice::Required => Some(Choice::Word("required")),
            ToolChoice::Named(name) => Some(Choice::Named { kind: "function", name }),
        },
        text: request.output.as_ref().map(|output| {
            let strict = is_strict(&output.schema);
            Text { format: Format { kind: "json_schema", name: &output.name, schema: &output.schema, strict } }
        }),
        max_output_tokens: request.max_tokens,
        temperature: request.temperature,
        top_p: request.top_p,
    };
    Ok(serde_json::to_string(&body).expect("the body holds only text, numbers and JSON"))
}

fn tool(tool: &super::Tool) -> Tool<'_> {
    let (name, description, parameters) = (tool.name.as_str(), tool.description.as_deref(), &*tool.input);
    Tool { kind: "function", name, description, parameters, strict: false }
}

fn items(message: &Message) -> Vec<Item<'_>> {
    let Message { role, content, images, tool_calls, tool_call_id, is_error: _ } = message;
    let content = content.as_deref();
    match role {
        Role::System => vec![Item::Message { role: "system", content: Content::Text(content.unwrap_or_default()) }],
        Role::User if images.is_empty() => {
            vec![Item::Message { role: "user", content: Content::Text(content.unwrap_or_default()) }]
        }
        Role::User => {
            let images = images.iter().map(|image| Part::InputImage { image_url: image.address() });
            let text = content.filter(|text| !text.is_empty()).map(|text| Part::InputText { text });
            vec![Item::Message { role: "user", content: Content::Parts(images.chain(text).collect()) }]
        }
        Role::Tool => {
            let (call_id, output) = (tool_call_id.as_deref().unwrap_or_default(), content.unwrap_or_default());
            vec![Item::FunctionCallOutput { call_id, output }]
        }
        Role::Assistant => {
            let said = content.map(|text| Item::Message { role: "assistant", content: Content::Text(text) });
            said.into_iter().chain(tool_calls.iter().map(called)).collect()
        }
    }
}

fn called(call: &super::ToolCall) -> Item<'_> {
    Item::FunctionCall { call_id: &call.id, name: &call.name, arguments: &call.arguments }
}

/// An answer as it comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    draft: Draft,
}

impl Reader {
    /// Gives the new text.
    pub fn event(&mut self, data: &str) -> Result<String, Wrong> {
        if data.trim() == "[DONE]" {
            return Ok(String::new());
        }
        let event = object(data)?;
        let place = count(&event, "/output_index");
        match text(&event, "/type").unwrap_or_default() {
            "response.output_text.delta" => {
                let piece = text(&event, "/delta").unwrap_or_default();
                self.draft.text(piece)?;
                return Ok(piece.to_owned());
            }
            "response.refusal.delta" => self.draft.refusal(text(&event, "/delta").unwrap_or_default())?,
            "response.output_item.added" => self.item(place, &event["item"], Piece::First)?,
            "response.function_call_arguments.delta" => {
                self.draft.arguments(place, text(&event, "/delta").unwrap_or_default())?;
            }
            "response.output_item.done" => self.item(place, &event["item"], Piece::Whole)?,
            "response.created" | "response.in_progress" => {
                self.draft.named(text(&event, "/response/id"), text(&event, "/response/model"));
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.response(&event["response"])?;
                self.draft.is_done = true;
            }
            "error" => return Err(told(event.get("error").filter(|error| error.is_object()).unwrap_or(&event))),
            // What it thinks, and what is told again in whole.
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
        if !answer["output"].is_array() {
            return Err(Wrong::Garbage("it sent an answer without any output".to_owned()));
        }
        self.response(&answer)?;
        self.draft.end()
    }

    pub fn is_done(&self) -> bool {
        self.draft.is_done
    }

    pub fn end(self) -> Result<Said, Wrong> {
        self.draft.end()
    }

    /// The end: all of it again, and what was used.
    fn response(&mut self, response: &Value) -> Result<(), Wrong> {
        if let Some(error) = response.get("error").filter(|error| !error.is_null()) {
            return Err(told(error));
        }
        self.draft.named(text(response, "/id"), text(response, "/model"));
        if self.draft.has_said_nothing() {
            let items = response.get("output").and_then(Value::as_array);
            for (place, item) in (0..).zip(items.into_iter().flatten()) {
                self.item(place, item, Piece::Whole)?;
                for part in item.get("content").and_then(Value::as_array).into_iter().flatten() {
                    match text(part, "/type") {
                        Some("output_text") => self.draft.text(text(part, "/text").unwrap_or_default())?,
                        Some("refusal") => self.draft.refusal(text(part, "/refusal").unwrap_or_default())?,
                        _ => {}
                    }
                }
            }
        }
        if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
            self.draft.usage = Some(Usage {
                input_tokens: count(usage, "/input_tokens"),
                output_tokens: count(usage, "/output_tokens"),
                cached_tokens: count(usage, "/input_tokens_details/cached_tokens"),
                cache_write_tokens: 0,
            });
        }
        self.draft.finish = Some(match (text(response, "/status"), text(response, "/incomplete_details/reason")) {
            (_, Some("max_output_tokens")) => Finish::Length,
            (_, Some("content_filter")) => Finish::Refused,
            (Some("completed"), _) => Finish::Stop,
            (Some("failed" | "cancelled"), _) => {
                return Err(Wrong::Garbage("it broke the answer off without saying why".to_owned()));
            }
            _ => Finish::Other,
        });
        Ok(())
    }

    fn item(&mut self, place: u64, item: &Value, piece: Piece) -> Result<(), Wrong> {
        if text(item, "/type") != Some("function_call") {
            return Ok(());
        }
        self.draft.call(place, text(item, "/call_id"), text(item, "/name"))?;
        let arguments = text(item, "/arguments").unwrap_or_default();
        match piece {
            Piece::Whole if self.draft.arguments_of(place).is_empty() => self.draft.arguments(place, arguments),
            Piece::Whole | Piece::First => Ok(()),
        }
    }
}

/// How much of an item stands in an event.
#[derive(Clone, Copy)]
enum Piece {
    First,
    Whole,
}

#[cfg(test)]
mod tests;
