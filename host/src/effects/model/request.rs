//! What a guest asks a model, read from JSON text and checked against the contract. Pure; whether the model may be
//! used is the gate's to say, and whether it can do this the provider's.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, code};

use super::image::{IMAGES_MAX, Image, Written};
use super::name::ModelName;
use crate::effects::fields::{Fields, key, label, span, string, timeout};

/// As of HTTP: what is sent in one request.
const REQUEST_MAX_BYTES: usize = 8 << 20;
/// A conversation that is longer does not fit any model.
const MESSAGES_MAX: usize = 10_000;
/// What common providers take.
const TOOLS_MAX: usize = 128;
const TOOL_NAME_MAX_BYTES: usize = 64;
const STOP_MAX: usize = 16;
const STOP_MAX_BYTES: usize = 1 << 10;
/// Of an event, as of `delta`.
const EVENT_MAX_BYTES: usize = 128;
/// Of one call, so that they fit the options.
const PROMPTS_MAX: usize = 8;
/// A digest and some more.
const VERSION_MAX_BYTES: usize = 64;
/// A model that thinks for long.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(300);
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// A request that has been read and checked against the contract.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    pub(super) model: ModelName,
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: ToolChoice,
    pub(super) output: Option<OutputFormat>,
    pub(super) max_tokens: Option<u32>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) stop: Vec<String>,
    pub(super) seed: Option<i64>,
    pub(super) timeout: Duration,
    key: Option<Arc<str>>,
    deltas: Option<Arc<str>>,
    span: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub role: Role,
    pub content: Option<String>,
    /// Shown before it.
    pub(super) images: Vec<Image>,
    pub tool_calls: Vec<ToolCall>,
    pub tool_call_id: Option<String>,
    pub is_error: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON as the model wrote it, or what it wrote instead.
    pub arguments: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// A JSON Schema.
    pub input: Box<RawValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFormat {
    pub name: String,
    /// A JSON Schema.
    pub schema: Box<RawValue>,
}

impl ModelRequest {
    /// Reads the two texts of `effect.model`. Fails with `BAD_REQUEST`, `BAD_OPTIONS` or `TOO_LARGE`, none of them
    /// retryable, naming the field.
    pub fn parse(request: &str, options: &str) -> Result<ModelRequest, Failure> {
        if request.len() > REQUEST_MAX_BYTES {
            let message = format!("the request has {} bytes; at most {REQUEST_MAX_BYTES} are sent", request.len());
            return Err(Failure::permanent(code::TOO_LARGE, message));
        }
        let mut fields = Fields::read("request", code::BAD_REQUEST, request)?;
        let missing = |fields: &Fields, name| fields.bad(name, "is missing");
        let model = fields.take("model", |value| ModelName::parse(&string(value)?))?;
        let model = model.ok_or_else(|| missing(&fields, "model"))?;
        let messages = fields.take("messages", messages)?.ok_or_else(|| missing(&fields, "messages"))?;
        let raw: Raw = serde_json::from_str(request)
            .map_err(|error| Failure::permanent(code::BAD_REQUEST, format!("`request` cannot be read: {error}")))?;
        let tools = fields.take("tools", |_| tools(raw.tools.unwrap_or_default()))?.unwrap_or_default();
        let tool_choice = fields.take("tool_choice", |value| tool_choice(value, &tools))?.unwrap_or_default();
        let output = fields.take("output", |_| raw.output.as_deref().map(output).transpose())?.flatten();
        let max_tokens = fields.take("max_tokens", |value| whole(value, 1, u32::MAX.into()))?;
        let temperature = fields.take("temperature", |value| number(value, 2.0))?;
        let top_p = fields.take("top_p", |value| number(value, 1.0))?;
        let stop = fields.take("stop", stop)?.unwrap_or_default();
        let seed = fields.take("seed", |value| value.as_i64().ok_or_else(|| "must be a whole number".to_owned()))?;
        fields.end()?;
        let ModelOptions { timeout, key, deltas, span } = ModelOptions::parse(options)?;
        let max_tokens = max_tokens.and_then(|tokens| u32::try_from(tokens).ok());
        Ok(ModelRequest {
            model,
            messages,
            tools,
            tool_choice,
            output,
            max_tokens,
            temperature,
            top_p,
            stop,
            seed,
            timeout,
            key,
            deltas,
            span,
        })
    }

    pub fn model(&self) -> &ModelName {
        &self.model
    }

    /// The conversation so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The author's own idempotency key, which is sent instead of a derived one.
    pub fn author_key(&self) -> Option<Arc<str>> {
        self.key.clone()
    }

    /// The span of the attempt that it belongs to.
    pub fn span(&self) -> Option<u32> {
        self.span
    }

    /// The event under which the text is passed on as it comes, if it is.
    pub fn deltas(&self) -> Option<Arc<str>> {
        self.deltas.clone()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMessage {
    role: Role,
    content: Option<String>,
    #[serde(default)]
    images: Vec<Written>,
    #[serde(default)]
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
    is_error: Option<bool>,
}

/// What is passed on as it was written: the order of the fields in a schema is the one in which a model answers.
#[derive(Deserialize)]
struct Raw {
    tools: Option<Vec<Box<RawValue>>>,
    output: Option<Box<RawValue>>,
}

struct ModelOptions {
    timeout: Duration,
    key: Option<Arc<str>>,
    deltas: Option<Arc<str>>,
    span: Option<u32>,
}

impl ModelOptions {
    fn parse(text: &str) -> Result<ModelOptions, Failure> {
        let mut fields = Fields::options(text)?;
        fields.take("label", label)?;
        // It stands in the journal with the options, for the trace.
        fields.take("prompts", prompts)?;
        let span = fields.take("span", span)?;
        let timeout = fields.take("timeout_ms", |value| timeout(value, TIMEOUT_MAX))?.unwrap_or(TIMEOUT_DEFAULT);
        let key = fields.take("idempotency_key", |value| key(&string(value)?))?;
        let deltas = fields.take("deltas", |value| event(&string(value)?))?;
        fields.end()?;
        Ok(ModelOptions { timeout, key, deltas, span })
    }
}

fn messages(value: Value) -> Result<Vec<Message>, String> {
    let Value::Array(list) = value else { return Err("must be an array of messages".to_owned()) };
    if !(1..=MESSAGES_MAX).contains(&list.len()) {
        return Err(format!("has {} messages; it must have 1 to {MESSAGES_MAX}", list.len()));
    }
    let message = |(place, value): (usize, Value)| message(value).map_err(|why| format!("at {place} {why}"));
    let messages: Vec<Message> = list.into_iter().enumerate().map(message).collect::<Result<_, _>>()?;
    match messages.iter().map(|message| message.images.len()).sum::<usize>() > IMAGES_MAX {
        true => Err(format!("has more than {IMAGES_MAX} images")),
        false => Ok(messages),
    }
}

fn message(value: Value) -> Result<Message, String> {
    let written: WrittenMessage = object(&value.to_string())?;
    let WrittenMessage { role, content, images, tool_calls, tool_call_id, is_error } = written;
    if role != Role::User && !images.is_empty() {
        return Err("has `images`, which only the user has".to_owned());
    }
    let image = |(place, image): (usize, Written)| {
        Image::try_from(image).map_err(|why| format!("has an image at {place} that {why}"))
    };
    let images = images.into_iter().enumerate().map(image).collect::<Result<_, _>>()?;
    let message = Message { role, content, images, tool_calls, tool_call_id, is_error };
    let Message { role, content, tool_calls, tool_call_id, is_error, images: _ } = &message;
    if *role != Role::Assistant && !tool_calls.is_empty() {
        return Err("has `tool_calls`, which only the assistant has".to_owned());
    }
    if *role != Role::Tool && (tool_call_id.is_some() || is_error.is_some()) {
        return Err("has `tool_call_id` or `is_error`, which only a tool has".to_owned());
    }
    match role {
        Role::Assistant if content.is_none() && tool_calls.is_empty() => {
            Err("has neither `content` nor `tool_calls`".to_owned())
        }
        Role::Tool if tool_call_id.is_none() => Err("has no `tool_call_id`".to_owned()),
        Role::System | Role::User | Role::Tool if content.is_none() => Err("has no `content`".to_owned()),
        Role::System | Role::User | Role::Assistant | Role::Tool => Ok(message),
    }
}

fn tools(list: Vec<Box<RawValue>>) -> Result<Vec<Tool>, String> {
    if list.len() > TOOLS_MAX {
        return Err(format!("has {} tools; at most {TOOLS_MAX} are sent", list.len()));
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
    for (place, value) in list.into_iter().enumerate() {
        let at = |why: String| format!("at {place} {why}");
        let tool: Tool = object(value.get()).map_err(at)?;
        tool_name(&tool.name).and_then(|()| schema(&tool.input)).map_err(at)?;
        if tools.iter().any(|other| other.name == tool.name) {
            return Err(at(format!("is a second tool with the name `{}`", tool.name)));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn tool_choice(value: Value, tools: &[Tool]) -> Result<ToolChoice, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        name: String,
    }
    let choice = match value {
        Value::String(word) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" if tools.is_empty() => return Err("is `required`, but there are no `tools`".to_owned()),
            "required" => ToolChoice::Required,
            _ => return Err("must be `auto`, `none`, `required` or an object with `name`".to_owned()),
        },
        value => ToolChoice::Named(object::<Named>(&value.to_string())?.name),
    };
    match &choice {
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err("names a tool that is not among `tools`".to_owned())
        }
        _ => Ok(choice),
    }
}

fn output(value: &RawValue) -> Result<OutputFormat, String> {
    let output: OutputFormat = object(value.get())?;
    tool_name(&output.name)?;
    schema(&output.schema)?;
    Ok(output)
}

fn stop(value: Value) -> Result<Vec<String>, String> {
    let stop: Vec<String> = serde_json::from_value(value).map_err(|_| "must be an array of strings".to_owned())?;
    if stop.len() > STOP_MAX || stop.iter().any(|text| text.is_empty() || text.len() > STOP_MAX_BYTES) {
        return Err(format!("may have {STOP_MAX} texts of 1 to {STOP_MAX_BYTES} bytes"));
    }
    Ok(stop)
}

/// serde would also take an array of the fields.
fn object<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err("must be an object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| {
        let told = error.to_string();
        // The place is that of this piece of the text.
        told.split(" at line ").next().unwrap_or(&told).to_owned()
    })
}

fn tool_name(name: &str) -> Result<(), String> {
    let is_name = (1..=TOOL_NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match is_name {
        true => Ok(()),
        false => Err(format!("must have a `name` of 1 to {TOOL_NAME_MAX_BYTES} of A-Z a-z 0-9 _ -")),
    }
}

fn schema(schema: &RawValue) -> Result<(), String> {
    match schema.get().trim_start().starts_with('{') {
        true => Ok(()),
        false => Err("must have a JSON Schema that is an object".to_owned()),
    }
}

/// Which prompts of the component it was made from.
fn prompts(value: Value) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Prompt {
        name: String,
        version: String,
    }
    let wrong = || format!("must be an array of at most {PROMPTS_MAX} objects with `name` and `version`");
    let prompts: Vec<Prompt> = serde_json::from_value(value).map_err(|_| wrong())?;
    let fits = |text: &str, bytes_max: usize| (1..=bytes_max).contains(&text.len());
    let is_named = |prompt: &Prompt| fits(&prompt.name, EVENT_MAX_BYTES) && fits(&prompt.version, VERSION_MAX_BYTES);
    if prompts.len() <= PROMPTS_MAX && prompts.iter().all(is_named) { Ok(()) } else { Err(wrong()) }
}

fn whole(value: Value, least: u64, most: u64) -> Result<u64, String> {
    let number = value.as_u64().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

fn number(value: Value, most: f64) -> Result<f64, String> {
    let number = value.as_f64().filter(|number| (0.0..=most).contains(number));
    number.ok_or_else(|| format!("must be a number from 0 to {most}"))
}

/// As an event that a function tells itself.
fn event(name: &str) -> Result<Arc<str>, String> {
    let is_name = (1..=EVENT_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_name { Ok(name.into()) } else { Err(format!("must be 1 to {EVENT_MAX_BYTES} of A-Z a-z 0-9 _ - .")) }
}

#[cfg(test)]
mod tests;
