//! The protocol of chat completions, as OpenAI and most others speak it. Pure: what is sent, and what comes of what
//! is sent back. Where servers differ, the least that all understand is sent.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use trackway_replay::{Finish, Usage};

use super::answer::{Draft, Said, count, object, text, told};
use super::errors::Wrong;
use super::providers::Dialect;
use super::request::{Message, ModelRequest, Role, ToolChoice};

pub(super) const PATH: &str = "chat/completions";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Sent<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    random_seed: Option<i64>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Sent<'a> {
    role: &'static str,
    content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

/// Servers that know no pictures know no list either.
#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: Address },
}

#[derive(Serialize)]
struct Address {
    url: String,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Called<'a>,
}

#[derive(Serialize)]
struct Called<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Choice<'a> {
    Word(&'static str),
    Named {
        #[serde(rename = "type")]
        kind: &'static str,
        function: Name<'a>,
    },
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Format<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: Schema<'a>,
}

#[derive(Serialize)]
struct Schema<'a> {
    name: &'a str,
    schema: &'a RawValue,
    strict: bool,
}

/// The body to send.
pub(super) fn body(request: &ModelRequest, dialect: Dialect) -> String {
    let is_mistral = dialect == Dialect::Mistral;
    let is_openai = dialect == Dialect::OpenAi;
    fn tool(tool: &super::Tool) -> Tool<'_> {
        let (name, description, parameters) = (tool.name.as_str(), tool.description.as_deref(), &*tool.input);
        Tool { kind: "function", function: Function { name, description, parameters } }
    }
    let body = Body {
        model: &request.model.model,
        messages: request.messages.iter().map(message).collect(),
        stream: true,
        // It tells what was used by itself, and refuses what it does not know.
        stream_options: (!is_mistral).then_some(StreamOptions { include_usage: true }),
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: match &request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::None if request.tools.is_empty() => None,
            ToolChoice::None => Some(Choice::Word("none")),
            ToolChoice::Required => Some(Choice::Word("required")),
            ToolChoice::Named(name) => Some(Choice::Named { kind: "function", function: Name { name } }),
        },
        response_format: request.output.as_ref().map(|output| {
            let strict = is_strict(&output.schema);
            let json_schema = Schema { name: &output.name, schema: &output.schema, strict };
            Format { kind: "json_schema", json_schema }
        }),
        max_completion_tokens: request.max_tokens.filter(|_| is_openai),
        max_tokens: request.max_tokens.filter(|_| !is_openai),
        temperature: request.temperature,
        top_p: request.top_p,
        stop: &request.stop,
        seed: request.seed.filter(|_| !is_mistral),
        random_seed: request.seed.filter(|_| is_mistral),
    };
    serde_json::to_string(&body).expect("the body holds only text, numbers and JSON")
}

fn message(message: &Message) -> Sent<'_> {
    let Message { role, content, images, tool_calls, tool_call_id, is_error: _ } = message;
    let role = match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        // That it is an error stands in no field of this protocol.
        Role::Tool => "tool",
    };
    fn call(call: &super::ToolCall) -> Call<'_> {
        Call { id: &call.id, kind: "function", function: Called { name: &call.name, arguments: &call.arguments } }
    }
    let text = content.as_deref();
    let content = if images.is_empty() {
        text.map(Content::Text)
    } else {
        let images = images.iter().map(|image| Part::ImageUrl { image_url: Address { url: image.address() } });
        let text = text.filter(|text| !text.is_empty()).map(|text| Part::Text { text });
        Some(Content::Parts(images.chain(text).collect()))
    };
    Sent { role, content, tool_calls: tool_calls.iter().map(call).collect(), tool_call_id: tool_call_id.as_deref() }
}

/// Whether every object in it has its fields named, all of them required and no others allowed: only those are taken
/// by providers that hold a model to a schema to the letter.
pub(super) fn is_strict(schema: &RawValue) -> bool {
    fn check(schema: &Value) -> bool {
        let Value::Object(fields) = schema else {
            return schema.as_array().is_none_or(|schemas| schemas.iter().all(check));
        };
        if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
            let required = fields.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let all_required = properties.keys().all(|name| required.iter().any(|field| field == name.as_str()));
            let no_others = fields.get("additionalProperties") == Some(&Value::Bool(false));
            if !all_required || !no_others || !properties.values().all(check) {
                return false;
            }
        } else if fields.get("type").is_some_and(|kind| kind == "object") {
            return false;
        }
        fields.iter().filter(|(name, _)| *name != "properties").all(|(_, inner)| check(inner))
    }
    serde_json::from_str(schema.get()).is_ok_and(|schema: Value| check(&schema))
}

/// An answer as it comes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    draft: Draft,
    /// Where the calls of each number stand.
    places: BTreeMap<u64, u64>,
    dialect: Dialect,
}

impl Reader {
    pub fn new(dialect: Dialect) -> Reader {
        Reader { dialect, ..Reader::default() }
    }

    /// Gives the new text. `[DONE]` comes after the answer has said why it ends.
    pub fn event(&mut self, data: &str) -> Result<String, Wrong> {
        if data.trim() == "[DONE]" {
            self.draft.is_done = true;
            return Ok(String::new());
        }
        self.take(&object(data)?, "delta")
    }

    /// A body that is the whole answer.
    pub fn whole(mut self, body: &str) -> Result<Said, Wrong> {
        let answer = object(body)?;
        self.take(&answer, "message")?;
        if answer.pointer("/choices/0").is_none() {
            return Err(Wrong::Garbage("it sent an answer without any choice".to_owned()));
        }
        self.draft.finish.get_or_insert(Finish::Stop);
        self.draft.end()
    }

    pub fn is_done(&self) -> bool {
        self.draft.is_done
    }

    pub fn end(self) -> Result<Said, Wrong> {
        self.draft.end()
    }

    fn take(&mut self, chunk: &Value, said: &str) -> Result<String, Wrong> {
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            return Err(told(error));
        }
        self.draft.named(text(chunk, "/id"), text(chunk, "/model"));
        self.used(chunk);
        let Some(choice) = chunk.pointer("/choices/0") else { return Ok(String::new()) };
        let mut piece = String::new();
        if let Some(said) = choice.get(said) {
            if let Some(content) = text(said, "/content").filter(|content| !content.is_empty()) {
                self.draft.text(content)?;
                content.clone_into(&mut piece);
            }
            if let Some(refusal) = text(said, "/refusal") {
                self.draft.refusal(refusal)?;
            }
            for call in said.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                self.call(call)?;
            }
        }
        // Some servers write none as an empty text.
        if let Some(reason) = text(choice, "/finish_reason").filter(|reason| !reason.is_empty()) {
            self.draft.finish = Some(finish(reason)?);
        }
        Ok(piece)
    }

    /// A piece of a call: the first one names it. Some servers count none of them, or give all the same number.
    fn call(&mut self, call: &Value) -> Result<(), Wrong> {
        let id = text(call, "/id").filter(|id| !id.is_empty());
        let number = call.get("index").and_then(Value::as_u64);
        let known = match number {
            Some(number) => self.places.get(&number).copied(),
            None => self.draft.last_place(),
        };
        let same = known.filter(|place| id.is_none_or(|id| self.draft.id_of(*place) == Some(id)));
        let place = same.unwrap_or_else(|| self.draft.next_place());
        if let Some(number) = number {
            self.places.insert(number, place);
        }
        self.draft.call(place, id, text(call, "/function/name"))?;
        match call.pointer("/function/arguments") {
            Some(Value::String(piece)) => self.draft.arguments(place, piece),
            // As an object already.
            Some(arguments @ Value::Object(_)) => self.draft.arguments(place, &arguments.to_string()),
            _ => Ok(()),
        }
    }

    /// The last that is told counts.
    fn used(&mut self, chunk: &Value) {
        let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) else { return };
        let cached_tokens = count(usage, "/prompt_tokens_details/cached_tokens");
        self.draft.usage = Some(Usage {
            input_tokens: count(usage, "/prompt_tokens"),
            output_tokens: count(usage, "/completion_tokens"),
            cached_tokens: cached_tokens.max(count(usage, "/prompt_cache_hit_tokens")),
            cache_write_tokens: 0,
        });
        if self.dialect == Dialect::OpenRouter {
            self.draft.cost_nanousd = usage.get("cost").and_then(Value::as_f64).and_then(super::prices::nanos_of_usd);
        }
    }
}

fn finish(reason: &str) -> Result<Finish, Wrong> {
    Ok(match reason {
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::ToolCalls,
        "content_filter" => Finish::Refused,
        // Its cause has been told, or will not be.
        "error" => return Err(Wrong::Garbage("it broke the answer off with an error".to_owned())),
        _ => Finish::Other,
    })
}

#[cfg(test)]
mod tests;
