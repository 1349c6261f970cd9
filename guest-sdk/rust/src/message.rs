//! What is said between people, models and tools, and what it took: plain values that cross like any other. Nothing
//! here asks for anything.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign};

use crate::failure::{Failure, code};
use crate::prompt::{Prompt, PromptFile};

/// A picture is about as many tokens for a model as this much text, however large its file is.
const IMAGE_COUNTS_BYTES: usize = 6_400;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever sets the model up.
    System,
    /// Whoever talks with it.
    User,
    /// The model.
    Assistant,
    /// A tool that the model called.
    Tool,
}

/// One message of a conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    #[serde(default)]
    pub content: Option<String>,
    /// Of the user: pictures, shown before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// What the model wants to be called, beside what it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool: which call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Of a tool: whether it went wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// A picture for a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Image {
    /// Sent along.
    Data {
        /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
        media_type: String,
        /// Base64 of at most 5 MiB.
        data: String,
    },
    /// Fetched by the provider. The host there has to be granted to the function.
    At {
        /// Absolute.
        url: String,
    },
}

impl Image {
    /// A picture that is sent along, with the conversation, each time: at most 5 MiB of `image/png`, `image/jpeg`, `image/gif` or
    /// `image/webp`.
    pub fn new(media_type: impl Into<String>, bytes: impl AsRef<[u8]>) -> Image {
        Image::Data { media_type: media_type.into(), data: BASE64.encode(bytes) }
    }

    /// A picture that the provider fetches. List its host in `#[agent(hosts = ["example.com"])]`: what its address tells, it tells there.
    pub fn at(url: impl Into<String>) -> Image {
        Image::At { url: url.into() }
    }
}

/// A tool that a model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolCall {
    /// Which call it is; the answer names it.
    pub id: String,
    /// The name of the tool, as the model wrote it: perhaps of none that there is.
    pub name: String,
    /// JSON text as the model wrote it: perhaps none at all.
    pub arguments: String,
}

impl Message {
    fn of(role: Role, content: String) -> Message {
        Message {
            role,
            content: Some(content),
            images: Vec::new(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            is_error: false,
        }
    }

    /// How the model is to behave.
    pub fn system(content: impl Into<String>) -> Message {
        Message::of(Role::System, content.into())
    }

    /// What it is asked.
    pub fn user(content: impl Into<String>) -> Message {
        Message::of(Role::User, content.into())
    }

    /// The same with one picture more: `Message::user("What is it?").image(Image::new("image/png", bytes))`. Only what the user says has
    /// any.
    #[must_use = "it gives a message with one picture more"]
    pub fn image(mut self, image: Image) -> Message {
        self.images.push(image);
        self
    }

    /// What it said before, or might have said.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::of(Role::Assistant, content.into())
    }

    /// What the call of a tool gave.
    pub fn tool(call_id: impl Into<String>, content: impl Into<String>) -> Message {
        Message { tool_call_id: Some(call_id.into()), ..Message::of(Role::Tool, content.into()) }
    }

    /// Why the call of a tool gave nothing.
    pub fn tool_error(call_id: impl Into<String>, content: impl Into<String>) -> Message {
        Message { is_error: true, ..Message::tool(call_id, content) }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let calls = self.tool_calls.iter().map(|call| call.name.len() + call.arguments.len());
        let images = IMAGE_COUNTS_BYTES * self.images.len();
        (self.content.as_deref().unwrap_or_default().len() + images + calls.sum::<usize>()) as u64
    }
}

impl ToolCall {
    /// The arguments, read.
    ///
    /// # Errors
    ///
    /// `BAD_INPUT` if they are not JSON, or no `T`.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        crate::json::read(&self.arguments, "arguments").map_err(|why| Failure::permanent(code::BAD_INPUT, why))
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// It was cut off: by `max_tokens`, or by the size of its context.
    Length,
    /// It wants tools to be called.
    ToolCalls,
    /// It would not answer.
    Refused,
    /// Something else.
    #[default]
    #[serde(other)]
    Other,
}

/// How many tokens a model used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Of all that it was given; the next two are parts of them.
    pub input_tokens: u64,
    /// Of what it said, with what it thought.
    pub output_tokens: u64,
    /// Of those that it was given, what the provider knew already.
    pub cached_tokens: u64,
    /// Of those that it was given, what the provider remembers for later.
    pub cache_write_tokens: u64,
}

impl Usage {
    /// Those given and those said.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        *self = *self + other;
    }
}

/// An amount of money in whole billionths of a US dollar, so that sums are exact. As JSON it is that number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Usd(u64);

const NANOS_PER_USD: u64 = 1_000_000_000;

impl Usd {
    /// So many billionths of a dollar.
    pub const fn from_nanos(nanos: u64) -> Usd {
        Usd(nanos)
    }

    /// So many dollars; nothing where the number is negative or none.
    pub fn from_dollars(dollars: f64) -> Usd {
        // A cast of floats saturates.
        Usd((dollars * NANOS_PER_USD as f64).round() as u64)
    }

    /// In billionths of a dollar.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// In dollars, rounded.
    pub fn as_dollars(self) -> f64 {
        self.0 as f64 / NANOS_PER_USD as f64
    }
}

impl Add for Usd {
    type Output = Usd;

    fn add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = format!("{:09}", self.0 % NANOS_PER_USD);
        // Cents are always shown.
        let (cents, rest) = nanos.split_at(2);
        write!(f, "${}.{cents}{}", self.0 / NANOS_PER_USD, rest.trim_end_matches('0'))
    }
}

impl JsonSchema for Usd {
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "description": "billionths of a US dollar", "type": "integer", "minimum": 0 })
    }
}

/// What an agent or a model is given: a question, or all that was said so far. Made of a `&str`, a `String`, a
/// [`Message`], a `Vec` of them or a [`Prompt`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    pub(crate) messages: Vec<Message>,
    pub(crate) prompts: Vec<PromptFile>,
}

impl Conversation {
    /// With nothing said.
    pub fn new() -> Conversation {
        Conversation::default()
    }

    /// The same, where the user says that too.
    #[must_use = "it gives a conversation with one message more"]
    pub fn user(mut self, prompt: impl Into<Prompt>) -> Conversation {
        self.say(Role::User, prompt.into());
        self
    }

    /// All that was said.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(crate) fn say(&mut self, role: Role, prompt: Prompt) {
        let (text, file) = prompt.into_parts();
        self.messages.push(Message::of(role, text));
        note(&mut self.prompts, file);
    }
}

/// The contract takes no more of them for one call.
const PROMPTS_MAX: usize = 8;

/// Each of them once.
pub(crate) fn note(prompts: &mut Vec<PromptFile>, file: Option<PromptFile>) {
    if let Some(file) = file
        && prompts.len() < PROMPTS_MAX
        && !prompts.contains(&file)
    {
        prompts.push(file);
    }
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Conversation {
        Conversation { messages, prompts: Vec::new() }
    }
}

impl From<Message> for Conversation {
    fn from(message: Message) -> Conversation {
        Conversation::from(vec![message])
    }
}

impl<P: Into<Prompt>> From<P> for Conversation {
    fn from(prompt: P) -> Conversation {
        Conversation::new().user(prompt)
    }
}

#[cfg(test)]
mod tests;
