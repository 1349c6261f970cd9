//! One call of a language model. The host sends it, with the operator's key, and journals the answer: a function that
//! is taken up after a crash gets it again without asking, and nobody pays twice.

use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::fmt;
use std::future::IntoFuture;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use crate::agent::Meter;
use crate::failure::{Failure, code, place};
use crate::message::{Conversation, FinishReason, Message, Role, ToolCall, Usage, Usd, note};
use crate::operation::{EffectOptions, Operation, Request};
use crate::prompt::{Prompt, PromptFile};
use crate::retry::millis;
use crate::tool::IntoTool;
use crate::{FnCtx, Value, bindings, schema};

mod name;

pub(crate) use name::{NAME_MAX_CHARS, clean_name, is_name};

/// What a model is asked; the fields of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelRequest {
    /// `provider/model`.
    pub model: String,
    /// All that was said so far, instructions included.
    pub messages: Vec<Message>,
    /// What it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// Whether it may, must or must not call any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// What its answer has to look like; any text if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSpec>,
    /// It is cut off after so many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// How much is left to chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The same, by the likeliest tokens that make up so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// It stops where it would say one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Where the provider has it: the same seed, much the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// What it does, and when to use it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The JSON Schema of its arguments: an object.
    pub input: Json,
}

/// Whether a model calls tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// It must not.
    None,
    /// It has to call one.
    Required,
    /// It has to call this one.
    #[serde(untagged)]
    Tool {
        /// The name of the tool.
        name: String,
    },
}

/// What an answer has to look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// For the model.
    pub name: String,
    /// The JSON Schema.
    pub schema: Json,
}

/// What a model answered. `T` is what [`ModelCall::output`] asked for; `()` if it was not called.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ModelAnswer<T = ()> {
    /// Whom the host asked.
    pub provider: String,
    /// The model that answered, as the provider calls it.
    pub model: String,
    /// What the provider calls the answer.
    pub id: String,
    /// What it says.
    pub content: Option<String>,
    /// What it wants to be called.
    pub tool_calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish_reason: FinishReason,
    /// How many tokens that took.
    pub usage: Usage,
    /// What that cost; none where the host does not know the price.
    pub cost: Option<Usd>,
    /// What it says, read as what was asked for.
    pub output: T,
    pub(crate) price: Option<Price>,
}

/// Per million tokens, in billionths of a dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Price {
    pub input: u64,
    pub output: u64,
}

/// The contract's.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    model: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    tool_calls: Vec<ToolCall>,
    #[serde(default)]
    finish_reason: FinishReason,
    #[serde(default)]
    usage: Usage,
    #[serde(default)]
    cost_nanousd: Option<u64>,
    #[serde(default)]
    price: Option<Price>,
}

impl FnCtx {
    /// Asks a language model, `provider/model`: the provider is a name that the operator of the host has set up, and
    /// the function has to be granted the model. In a tool it counts towards the budgets of the agents that the tool works
    /// for. See [`ModelCall`].
    #[track_caller]
    pub fn model(&self, model: impl Into<String>) -> ModelCall {
        let call = ModelCall::new(ModelRequest::new(model.into()), Location::caller());
        ModelCall { meter: self.meter(), ..call }
    }
}

impl ModelRequest {
    pub(crate) fn new(model: String) -> ModelRequest {
        ModelRequest {
            model,
            messages: Vec::new(),
            tools: Vec::new(),
            tool_choice: None,
            output: None,
            max_tokens: None,
            temperature: None,
            top_p: None,
            stop: Vec::new(),
            seed: None,
        }
    }

    /// What was said last.
    pub fn last_content(&self) -> &str {
        self.messages.last().and_then(|message| message.content.as_deref()).unwrap_or_default()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let tools = self.tools.iter().map(|tool| (tool.description.len() + tool.input.to_string().len()) as u64);
        self.messages.iter().map(Message::size_bytes).sum::<u64>() + tools.sum::<u64>()
    }
}

/// A call of a model to be; awaited, it gives a [`ModelAnswer`].
///
/// ```
/// use trackway_sdk::prelude::*;
/// use trackway_sdk::testing::{Host, ModelResponse};
///
/// #[value]
/// struct Verdict {
///     spam: bool,
///     why: String,
/// }
///
/// /// Whether a letter is worth reading.
/// #[agent(models = ["openai/gpt-4o-mini"])]
/// async fn judge(ctx: FnCtx, letter: String) -> Result<Verdict, Failure> {
///     let answer = ctx
///         .model("openai/gpt-4o-mini")
///         .system("Say whether a letter is spam.")
///         .user(&letter)
///         .output::<Verdict>()
///         .temperature(0.0)
///         .await?;
///     Ok(answer.output)
/// }
///
/// let spam = Verdict { spam: true, why: "nobody has won".into() };
/// let host = Host::new().on_model(move |_| ModelResponse::json(&spam));
/// assert!(host.call(judge("You have won!".into())).unwrap().spam);
/// ```
///
/// # Errors
///
/// `MODEL_RATE_LIMITED`, `MODEL_OVERLOADED`, `MODEL_TIMEOUT`, `MODEL_BROKEN` and `MODEL_CONNECT`, which another attempt may mend,
/// after what the host tried itself; `MODEL_CONTEXT_TOO_LONG`, `MODEL_REFUSED`, `MODEL_AUTH`, `MODEL_UNKNOWN` and `MODEL_FAILED`, which none
/// mends; `BAD_OUTPUT` where the answer is not what [`output`](ModelCall::output) asked for: another attempt asks again.
#[must_use = "a model is asked when the call is awaited"]
pub struct ModelCall<T = ()> {
    request: ModelRequest,
    options: EffectOptions,
    label: Option<String>,
    wrong: Option<Failure>,
    /// Of the agent in one of whose tools it is made.
    meter: Option<Rc<Meter>>,
    read: fn(&str) -> Result<ModelAnswer<T>, Failure>,
    at: &'static Location<'static>,
}

impl ModelCall {
    pub(crate) fn new(request: ModelRequest, at: &'static Location<'static>) -> ModelCall {
        let options = EffectOptions::default();
        ModelCall { request, options, label: None, wrong: None, meter: None, read: read_answer, at }
    }

    pub(crate) fn options(mut self, timeout_ms: Option<u64>, deltas: Option<String>, prompts: Vec<PromptFile>) -> Self {
        self.options = EffectOptions { timeout_ms, deltas, prompts, ..EffectOptions::default() };
        self
    }
}

impl<T> ModelCall<T> {
    /// How the model is to behave.
    pub fn system(self, prompt: impl Into<Prompt>) -> ModelCall<T> {
        self.say(Role::System, prompt.into())
    }

    /// What it is asked.
    pub fn user(self, prompt: impl Into<Prompt>) -> ModelCall<T> {
        self.say(Role::User, prompt.into())
    }

    /// Adds a message of any kind.
    pub fn message(mut self, message: Message) -> ModelCall<T> {
        self.request.messages.push(message);
        self
    }

    /// Adds all that was said before.
    pub fn messages(mut self, messages: impl Into<Conversation>) -> ModelCall<T> {
        let Conversation { messages, prompts } = messages.into();
        self.request.messages.extend(messages);
        prompts.into_iter().for_each(|file| note(&mut self.options.prompts, Some(file)));
        self
    }

    fn say(mut self, role: Role, prompt: Prompt) -> ModelCall<T> {
        let mut said = Conversation::new();
        said.say(role, prompt);
        self = self.messages(said);
        self
    }

    /// Lets the model ask for a call of this tool; nothing calls it by itself. [`Agent`](crate::Agent) does.
    pub fn tool<K>(mut self, tool: impl IntoTool<K>) -> ModelCall<T> {
        match tool.into_tool().spec() {
            Ok(spec) => self.request.tools.push(spec),
            Err(failure) => self.wrong = self.wrong.or(Some(failure)),
        }
        self
    }

    /// Whether it may, must or must not call tools; it may if nothing is said.
    pub fn tool_choice(mut self, choice: ToolChoice) -> ModelCall<T> {
        self.request.tool_choice = Some(choice);
        self
    }

    /// Asks for a `U`, which the answer brings as its `output`. Providers that can are held to the schema; what comes is
    /// checked in any case.
    pub fn output<U: Value>(mut self) -> ModelCall<U> {
        self.request.output = Some(OutputSpec::of::<U>());
        ModelCall {
            request: self.request,
            options: self.options,
            label: self.label,
            wrong: self.wrong,
            meter: self.meter,
            read: |text| read_answer(text)?.read_output(),
            at: self.at,
        }
    }

    /// The answer is cut off after so many tokens.
    pub fn max_tokens(mut self, tokens: u64) -> ModelCall<T> {
        self.request.max_tokens = Some(tokens);
        self
    }

    /// How much is left to chance; 0: little.
    pub fn temperature(mut self, temperature: f64) -> ModelCall<T> {
        self.request.temperature = Some(temperature);
        self
    }

    /// The same, by the likeliest tokens that make up so much of all; 0 to 1.
    pub fn top_p(mut self, part: f64) -> ModelCall<T> {
        self.request.top_p = Some(part);
        self
    }

    /// It stops where it would say this.
    pub fn stop(mut self, text: impl Into<String>) -> ModelCall<T> {
        self.request.stop.push(text.into());
        self
    }

    /// Where the provider has it: the same seed, much the same answer.
    pub fn seed(mut self, seed: i64) -> ModelCall<T> {
        self.request.seed = Some(seed);
        self
    }

    /// Passes the answer on as it comes, piece by piece, to whoever follows the run: as deltas `{"text": ".."}` of that
    /// name.
    pub fn stream_to(mut self, event: impl Into<String>) -> ModelCall<T> {
        self.options.deltas = Some(event.into());
        self
    }

    /// For the whole call, the host's own tries included; 5 minutes unless told, at most an hour.
    pub fn timeout(mut self, timeout: Duration) -> ModelCall<T> {
        self.options.timeout_ms = Some(millis(timeout));
        self
    }

    /// A word for people, shown in the trace; up to 256 bytes.
    pub fn label(mut self, label: impl Into<String>) -> ModelCall<T> {
        self.label = Some(label.into());
        self
    }

    /// Makes an operation of it: for [`start`](Operation::start), or to cancel it.
    pub fn send(self) -> Operation<ModelAnswer<T>> {
        let ModelCall { mut request, mut options, label, wrong, meter, read, at } = self;
        let permit = match (wrong, &meter) {
            (Some(failure), _) => Err(failure),
            (None, None) => Ok(None),
            (None, Some(meter)) => meter.permit_alone(&mut request).map(Some),
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(failure) => return Operation::new(Err(Failure { at: Some(place(at)), ..failure }), read, at),
        };
        if let Some(permit) = &permit {
            options.timeout_ms = permit.timeout_ms(options.timeout_ms);
        }
        let text = serde_json::to_string(&request).expect("a request is text and numbers");
        let mut operation =
            Operation::new(Ok(Request::Effect { ask: bindings::model, request: text, options }), read, at);
        if let Some(permit) = permit {
            operation = operation.told_to(Box::new(move |text| {
                // What is no answer fails where it is read.
                if let Ok(answer) = read_answer(text) {
                    permit.took(&request.model, &answer);
                }
            }));
        }
        match label {
            Some(label) => operation.label(label),
            None => operation,
        }
    }
}

impl<T> IntoFuture for ModelCall<T> {
    type Output = Result<ModelAnswer<T>, Failure>;
    type IntoFuture = Operation<ModelAnswer<T>>;

    fn into_future(self) -> Operation<ModelAnswer<T>> {
        self.send()
    }
}

impl<T> fmt::Debug for ModelCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelCall").field("request", &self.request).field("at", &place(self.at)).finish()
    }
}

impl<T> ModelAnswer<T> {
    /// What it says; nothing if it only calls tools.
    pub fn text(&self) -> &str {
        self.content.as_deref().unwrap_or_default()
    }

    /// The answer as a message, to go on with.
    pub fn message(&self) -> Message {
        Message {
            role: Role::Assistant,
            content: self.content.clone(),
            tool_calls: self.tool_calls.clone(),
            tool_call_id: None,
            images: Vec::new(),
            is_error: false,
        }
    }
}

impl ModelAnswer {
    fn read_output<T: Value>(self) -> Result<ModelAnswer<T>, Failure> {
        let ModelAnswer { provider, model, id, content, tool_calls, finish_reason, usage, cost, output: (), price } =
            self;
        let text = content.as_deref().unwrap_or_default();
        let output = match finish_reason {
            FinishReason::Refused => return Err(refused(text)),
            FinishReason::Length => Err("it was cut off: see `max_tokens`".to_owned()),
            FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Other => read_structured::<T>(text),
        };
        let output =
            output.map_err(|why| Failure::new(code::BAD_OUTPUT, format!("the model's answer does not fit: {why}")))?;
        Ok(ModelAnswer { provider, model, id, content, tool_calls, finish_reason, usage, cost, output, price })
    }
}

pub(crate) fn refused(text: &str) -> Failure {
    let text: String = text.chars().take(REFUSAL_MAX_CHARS).collect();
    Failure::permanent(
        code::MODEL_REFUSED,
        format!("the model would not answer: {}", text.trim()).trim_end_matches([':', ' ']),
    )
}

/// More of what a model says about why it says nothing helps nobody.
const REFUSAL_MAX_CHARS: usize = 500;

impl OutputSpec {
    pub(crate) fn of<T: Value>() -> OutputSpec {
        let schema = told(T::input_schema());
        let title = schema.get("title").and_then(Json::as_str).unwrap_or_default();
        OutputSpec { name: clean_name(title, "output"), schema }
    }
}

/// A schema as models are told it.
pub(crate) fn told(schema: Schema) -> Json {
    let mut schema = Json::from(schema);
    if let Some(words) = schema.as_object_mut() {
        words.remove("$schema");
    }
    schema
}

fn read_answer(text: &str) -> Result<ModelAnswer, Failure> {
    let Said { provider, model, id, content, tool_calls, finish_reason, usage, cost_nanousd, price } =
        crate::json::read(text, "answer").map_err(|why| Failure::new(code::MODEL_BROKEN, why))?;
    let cost = cost_nanousd.map(Usd::from_nanos);
    Ok(ModelAnswer { provider, model, id, content, tool_calls, finish_reason, usage, cost, output: (), price })
}

/// What a model wrote as a `T`: it has to fit the schema, and the type.
pub(crate) fn read_structured<T: Value>(text: &str) -> Result<T, String> {
    let value: Json = crate::json::read(unfenced(text), "answer")?;
    schema::check(&told(T::input_schema()), &value, "answer")?;
    let text = value.to_string();
    crate::json::read_as::<T>(&text, "answer")
}

/// Models that nothing holds to a schema like to put their JSON into a block of code.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

#[cfg(test)]
mod tests;
