//! Agents: a model that is asked again and again until it has done what it was told, with tools that it may call. What is
//! set up here is run by `run`; all that reaches the world are calls of models, and what the tools do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::failure::Failure;
use crate::message::{Conversation, FinishReason, Message, ToolCall, Usage, Usd};
use crate::model::{ModelAnswer, ModelRequest, OutputSpec, read_structured};
use crate::prompt::Prompt;
use crate::retry::millis;
use crate::tool::{Act, AgentTool, Asks, IntoTool, Prepared, Running, Shape, asks};
use crate::{FnCtx, Value};

mod budget;
mod calls;
mod run;

pub use budget::Budget;
pub(crate) use budget::Meter;

/// Enough for most work; one that needs more is told so.
const ITERATIONS_DEFAULT: u32 = 20;

/// A model with instructions and tools, which is asked until it has an answer.
///
/// ```
/// use trackway_sdk::prelude::*;
/// use trackway_sdk::testing::{Host, ModelResponse};
///
/// /// Says what the weather is like in a city.
/// #[tool]
/// async fn weather(city: String) -> Result<String, Failure> {
///     http::get(format!("https://weather.example.com/{city}")).send().await?.error_for_status()?.text()
/// }
///
/// #[value]
/// struct Advice {
///     umbrella: bool,
/// }
///
/// #[agent(models = ["openai/gpt-4o-mini"], hosts = ["weather.example.com"])]
/// async fn advise(ctx: FnCtx, question: String) -> Result<Advice, Failure> {
///     let agent = Agent::new("adviser")
///         .model("openai/gpt-4o-mini")
///         .instructions("Look at the weather before you answer.")
///         .tool(weather)
///         .budget(Budget::new().tokens(20_000).cost_usd(0.05))
///         .output::<Advice>();
///     Ok(agent.run(&ctx, question).await?.output)
/// }
///
/// export!(advise, weather);
/// # fn main() {
/// # use trackway_sdk::testing::HttpResponse;
/// let host = Host::new()
///     .on_http(|_| HttpResponse::new(200, "rain"))
///     .on_model(|request| match request.number {
///         1 => ModelResponse::tool_call("weather", &serde_json::json!({ "input": "Oslo" })),
///         _ => ModelResponse::json(&serde_json::json!({ "umbrella": request.last_content() == "rain" })),
///     });
/// assert!(host.call(advise("What do I need in Oslo?".into())).unwrap().umbrella);
/// # }
/// ```
///
/// All calls of models and all that tools do is journaled as it happens, so a function that is taken up after a crash goes
/// on with the next call, and nothing is paid twice. Write [`#[agent]`](macro@crate::agent) above it, so that an attempt
/// which fails is gone on with as well.
#[must_use = "an agent does nothing until it is run: `agent.run(&ctx, question).await`"]
pub struct Agent<T = String> {
    spec: Spec,
    read: fn(&str) -> Result<T, String>,
    write: fn(&T) -> Result<Json, Failure>,
}

/// All of an agent but the type of its output.
#[derive(Clone)]
pub(crate) struct Spec {
    name: String,
    description: String,
    model: Option<String>,
    instructions: Option<Prompt>,
    tools: Vec<AgentTool>,
    output: Option<OutputSpec>,
    max_iterations: u32,
    budget: Budget,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    timeout_ms: Option<u64>,
    stream_to: Option<String>,
    hooks: Hooks,
}

type ModelHook = Rc<dyn Fn(&mut ModelRequest) -> Result<(), Failure>>;
type AnswerHook = Rc<dyn Fn(&mut ModelAnswer) -> Result<(), Failure>>;
type CallHook = Rc<dyn Fn(&mut ToolCall) -> Result<(), Failure>>;
type OutcomeHook = Rc<dyn Fn(&ToolCall, &mut Result<Json, Failure>) -> Result<(), Failure>>;
/// Whether a person is asked about a call, and how.
type Approval = (Rc<dyn Fn(&ToolCall) -> bool>, Asks);

#[derive(Clone, Default)]
struct Hooks {
    before_model: Vec<ModelHook>,
    after_model: Vec<AnswerHook>,
    before_tool: Vec<CallHook>,
    after_tool: Vec<OutcomeHook>,
    approve: Vec<Approval>,
}

/// What an agent came to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct AgentAnswer<T = String> {
    /// What it was asked for.
    pub output: T,
    /// All that was said, instructions left out: give them back to go on with the conversation.
    pub messages: Vec<Message>,
    /// What it took, with all that its tools asked models.
    pub usage: Usage,
    /// What that cost; none where the price of a model is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// How often the model was asked.
    pub iterations: u32,
    /// Who answered: itself, or whom it handed the conversation to.
    pub agent: String,
    /// Why the model stopped in the end: `Length` where the answer was cut off.
    pub finish_reason: FinishReason,
}

impl Agent {
    /// An agent that answers with text. `name` is 1 to 64 of `A-Z a-z 0-9 _ -`, for trace and models.
    pub fn new(name: impl Into<String>) -> Agent {
        let spec = Spec {
            name: name.into(),
            description: String::new(),
            model: None,
            instructions: None,
            tools: Vec::new(),
            output: None,
            max_iterations: ITERATIONS_DEFAULT,
            budget: Budget::new(),
            max_tokens: None,
            temperature: None,
            timeout_ms: None,
            stream_to: None,
            hooks: Hooks::default(),
        };
        Agent { spec, read: read_text, write: |text| Ok(Json::from(text.as_str())) }
    }
}

fn read_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("the answer is empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn write_value<T: Value>(value: &T) -> Result<Json, Failure> {
    Ok(serde_json::from_str(&crate::json::write_output(value)?)?)
}

impl<T> Agent<T> {
    /// Whom to ask, as `provider/model`.
    pub fn model(mut self, model: impl Into<String>) -> Agent<T> {
        self.spec.model = Some(model.into());
        self
    }

    /// How it is to behave: stands before all that is said.
    pub fn instructions(mut self, prompt: impl Into<Prompt>) -> Agent<T> {
        self.spec.instructions = Some(prompt.into());
        self
    }

    /// What it is good for: read by agents that may hand a conversation over to it.
    pub fn description(mut self, description: impl Into<String>) -> Agent<T> {
        self.spec.description = description.into();
        self
    }

    /// Gives it a tool: the name of a function with `#[tool]`, or what [`as_tool`](Agent::as_tool) makes. All calls that the
    /// model asks for at once are made at once.
    pub fn tool<K>(mut self, tool: impl IntoTool<K>) -> Agent<T> {
        self.spec.tools.push(tool.into_tool());
        self
    }

    /// Gives it several at once, as those of an [`McpServer`](crate::McpServer).
    pub fn tools(mut self, tools: impl IntoIterator<Item = AgentTool>) -> Agent<T> {
        self.spec.tools.extend(tools);
        self
    }

    /// Lets it hand the conversation to `other`, who goes on with its own instructions, model, tools and hooks. The
    /// output, the budget and the iterations stay those of the agent that was run.
    pub fn hand_off_to<U>(mut self, other: Agent<U>) -> Agent<T> {
        self.spec.tools.push(AgentTool::hand_off(Rc::new(other.spec)));
        self
    }

    /// How often a model is asked at most, 20 unless told: the next time it fails with `ITERATIONS_EXCEEDED`.
    pub fn max_iterations(mut self, iterations: u32) -> Agent<T> {
        self.spec.max_iterations = iterations;
        self
    }

    /// What it may use up.
    pub fn budget(mut self, budget: Budget) -> Agent<T> {
        self.spec.budget = budget;
        self
    }

    /// Asks for a `U` in the end. Providers that can are held to the schema; what comes is checked in any case, and the model
    /// gets one chance to mend it.
    pub fn output<U: Value>(mut self) -> Agent<U> {
        self.spec.output = Some(OutputSpec::of::<U>());
        Agent { spec: self.spec, read: read_structured, write: write_value }
    }

    /// Each answer of the model is cut off after so many tokens.
    pub fn max_tokens(mut self, tokens: u64) -> Agent<T> {
        self.spec.max_tokens = Some(tokens);
        self
    }

    /// How much is left to chance; 0: little.
    pub fn temperature(mut self, temperature: f64) -> Agent<T> {
        self.spec.temperature = Some(temperature);
        self
    }

    /// For each call of the model; 5 minutes unless told.
    pub fn call_timeout(mut self, timeout: Duration) -> Agent<T> {
        self.spec.timeout_ms = Some(millis(timeout));
        self
    }

    /// Passes what the model says on as it comes, to whoever follows the run: as deltas `{"text": ".."}` of that name.
    pub fn stream_to(mut self, event: impl Into<String>) -> Agent<T> {
        self.spec.stream_to = Some(event.into());
        self
    }

    /// A person is asked before each call of a tool for which this says so, as for
    /// [`needs_approval`](IntoTool::needs_approval).
    pub fn approve(mut self, needed: impl Fn(&ToolCall) -> bool + 'static) -> Agent<T> {
        self.spec.hooks.approve.push((Rc::new(needed), asks()));
        self
    }

    /// Sees each request before it is sent, and may change it; a failure ends the agent. A closure must do the same whenever it
    /// sees the same, as all code of a function that is resumed.
    pub fn before_model(mut self, hook: impl Fn(&mut ModelRequest) -> Result<(), Failure> + 'static) -> Agent<T> {
        self.spec.hooks.before_model.push(Rc::new(hook));
        self
    }

    /// Sees each answer, and may change it; a failure ends the agent.
    pub fn after_model(mut self, hook: impl Fn(&mut ModelAnswer) -> Result<(), Failure> + 'static) -> Agent<T> {
        self.spec.hooks.after_model.push(Rc::new(hook));
        self
    }

    /// Sees each call of a tool whose arguments fit, and may change those; a failure stands for the call: it is told to the
    /// model, or ends the agent if it is [`fatal`](Failure::fatal).
    pub fn before_tool(mut self, hook: impl Fn(&mut ToolCall) -> Result<(), Failure> + 'static) -> Agent<T> {
        self.spec.hooks.before_tool.push(Rc::new(hook));
        self
    }

    /// Sees what each call of a tool came to, and may change it; a failure stands for it.
    pub fn after_tool(
        mut self,
        hook: impl Fn(&ToolCall, &mut Result<Json, Failure>) -> Result<(), Failure> + 'static,
    ) -> Agent<T> {
        self.spec.hooks.after_tool.push(Rc::new(hook));
        self
    }

    /// Runs it until it has an answer. `input` is a question, or all that was said so far.
    ///
    /// # Errors
    ///
    /// `ITERATIONS_EXCEEDED` and `BUDGET_EXCEEDED`, with what was used in `details`; `BAD_OUTPUT` if the answer does not fit, also when
    /// it was mended; `BAD_REQUEST` if it has no model, or names that are none; those of the [model](crate::ModelCall), of its hooks,
    /// and of tools that are [fatal](IntoTool::fatal).
    #[track_caller]
    pub fn run(&self, ctx: &FnCtx, input: impl Into<Conversation>) -> AgentRun<T>
    where
        T: 'static,
    {
        let at = Location::caller();
        let (spec, ctx, input, read) = (Rc::new(self.spec.clone()), ctx.clone(), input.into(), self.read);
        AgentRun(Box::pin(async move {
            let ended = run::run(spec, ctx, input, &|text| read(text).map(drop), at).await?;
            let output = read(&ended.text).map_err(run::does_not_fit)?;
            let run::Ended { messages, usage, cost, iterations, agent, finish_reason, .. } = ended;
            Ok(AgentAnswer { output, messages, usage, cost, iterations, agent, finish_reason })
        }))
    }

    /// Makes a tool of it, for another agent: what it does is charged to that one's budget too. It gets what to do as
    /// text, and nothing else of the conversation.
    #[track_caller]
    pub fn as_tool(self, description: impl Into<String>) -> AgentTool
    where
        T: 'static,
    {
        let at = Location::caller();
        let shape = Shape::of(Some(json!({
            "type": "object",
            "properties": { "input": { "type": "string", "description": "what to do, with all that has to be known for it" } },
            "required": ["input"],
        })));
        let name = self.spec.name.clone();
        let (spec, read, write) = (Rc::new(self.spec), self.read, self.write);
        let prepare = move |input: &Json| -> Result<Prepared, String> {
            let task = input["input"].as_str().unwrap_or_default().to_owned();
            let spec = spec.clone();
            Ok(Box::new(move |ctx| {
                let running = async move {
                    let ended = run::run(spec, ctx, task.into(), &|text| read(text).map(drop), at).await?;
                    write(&read(&ended.text).map_err(run::does_not_fit)?)
                };
                Box::pin(running) as Running
            }))
        };
        AgentTool::with(name, description.into(), shape, Act::Run(Rc::new(prepare)))
    }
}

/// An agent at work; starts when it is awaited.
#[must_use = "an agent does nothing until it is awaited"]
pub struct AgentRun<T>(Pin<Box<dyn Future<Output = Result<AgentAnswer<T>, Failure>>>>);

impl<T> Future for AgentRun<T> {
    type Output = Result<AgentAnswer<T>, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for AgentRun<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRun").finish_non_exhaustive()
    }
}

impl<T> Clone for Agent<T> {
    fn clone(&self) -> Agent<T> {
        Agent { spec: self.spec.clone(), read: self.read, write: self.write }
    }
}

impl<T> fmt::Debug for Agent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spec { name, model, tools, .. } = &self.spec;
        f.debug_struct("Agent").field("name", name).field("model", model).field("tools", tools).finish()
    }
}

impl Spec {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }
}

#[cfg(test)]
mod tests;
