//! Tools: what a model may ask for. It says what there is and reads what a model hands in; when a tool runs is
//! decided by the agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;

use crate::agent::Spec;
use crate::bindings::EffectPort;
use crate::export::About;
use crate::failure::{Failure, code};
use crate::model::{ToolSpec, is_name, told};
use crate::{FnCtx, Form, Operation, Value, runtime, schema};

/// A tool that [`#[tool]`](macro@crate::tool) made.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool of Trackway",
    note = "write `#[tool]` above its definition"
)]
pub trait Tool: Sized + 'static {
    /// What it takes; `()` if it takes nothing.
    type Input: Value;
    /// What it gives.
    type Output: Value;
    /// Its name, for the model.
    const NAME: &'static str;
    #[doc(hidden)]
    const ABOUT: About;
    #[doc(hidden)]
    const NEEDS_APPROVAL: bool;
    #[doc(hidden)]
    fn run(ctx: FnCtx, input: Self::Input) -> impl Future<Output = Result<Self::Output, Failure>>;
}

/// A call of a tool, as its own name makes it: handed to an agent without its input, or made here and now, by
/// awaiting it or in a test.
#[must_use = "pass the tool to `Agent::tool`, or await it"]
pub struct Invocation<T: Tool> {
    input: T::Input,
}

impl<T: Tool> Invocation<T> {
    #[doc(hidden)]
    pub fn new(input: T::Input) -> Invocation<T> {
        Invocation { input }
    }

    /// Runs the code here and now: for tests. One that uses HTTP or models needs
    /// [`Host::call_tool`](crate::testing::Host::call_tool).
    ///
    /// # Errors
    ///
    /// The failure of the tool.
    pub fn run(self) -> Result<T::Output, Failure> {
        runtime::block_on(&EffectPort, T::run(FnCtx::from_context(""), self.input))
    }
}

impl<T: Tool> IntoFuture for Invocation<T> {
    type Output = Result<T::Output, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(T::run(FnCtx::from_context(""), self.input))
    }
}

impl<T: Tool> fmt::Debug for Invocation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").field("tool", &T::NAME).finish()
    }
}

/// What an agent takes as a tool: the name of one that [`#[tool]`](macro@crate::tool) made, or an [`AgentTool`]. `K`
/// only tells the two apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool of Trackway",
    label = "not a tool",
    note = "write `#[tool]` above its definition"
)]
pub trait IntoTool<K>: Sized {
    #[doc(hidden)]
    fn into_tool(self) -> AgentTool;

    /// A person is asked before each call, with its arguments; the attempt waits for the answer, for days if need be, at no
    /// cost. A call that is refused is told to the model as an error.
    fn needs_approval(self) -> AgentTool {
        AgentTool { asks: Some(asks()), ..self.into_tool() }
    }

    /// A failure of this tool ends the agent; it is told to the model otherwise.
    fn fatal(self) -> AgentTool {
        AgentTool { is_fatal: true, ..self.into_tool() }
    }

    /// Another name for the model.
    fn named(self, name: impl Into<String>) -> AgentTool {
        AgentTool { name: name.into(), ..self.into_tool() }
    }

    /// Another description for the model.
    fn described(self, description: impl Into<String>) -> AgentTool {
        AgentTool { description: description.into(), ..self.into_tool() }
    }
}

impl<T: Tool, F: FnOnce(T::Input) -> Invocation<T>> IntoTool<T> for F {
    fn into_tool(self) -> AgentTool {
        AgentTool::of::<T>()
    }
}

/// Tells [`IntoTool`] that it is one already.
#[derive(Debug)]
pub struct Ready;

impl IntoTool<Ready> for AgentTool {
    fn into_tool(self) -> AgentTool {
        self
    }
}

/// A tool as an agent has it.
#[derive(Clone)]
pub struct AgentTool {
    pub(crate) name: String,
    description: String,
    shape: Shape,
    pub(crate) act: Act,
    /// Handed in, so that a component which needs no approvals imports no questions.
    pub(crate) asks: Option<Asks>,
    pub(crate) is_fatal: bool,
}

/// Asks a person about a call.
pub(crate) type Asks = fn(&FnCtx, Form) -> Operation<Decision>;

/// What they answer.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Decision {
    pub approve: bool,
    #[serde(default)]
    pub why: Option<String>,
}

pub(crate) fn asks() -> Asks {
    |ctx, form| ctx.ask(form)
}

#[derive(Clone)]
pub(crate) enum Act {
    Run(Rc<Prepare>),
    HandOff(Rc<Spec>),
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Json, Failure>>>>;

/// A call whose arguments were read.
pub(crate) type Prepared = Box<dyn FnOnce(FnCtx) -> Running>;

/// Reads the arguments, or says what is wrong with them.
pub(crate) type Prepare = dyn Fn(&Json) -> Result<Prepared, String>;

impl AgentTool {
    /// A tool that no `#[tool]` made: one whose name or schema are known only when it runs. `input` is the JSON Schema of its
    /// arguments, an object; what does not fit never reaches `run`.
    pub fn new<F, R>(name: impl Into<String>, description: impl Into<String>, input: Json, run: F) -> AgentTool
    where
        F: Fn(FnCtx, Json) -> R + 'static,
        R: Future<Output = Result<Json, Failure>> + 'static,
    {
        let run = Rc::new(run);
        let prepare = move |input: &Json| -> Result<Prepared, String> {
            let (run, input) = (run.clone(), input.clone());
            Ok(Box::new(move |ctx| Box::pin(run(ctx, input)) as Running))
        };
        AgentTool::with(name.into(), description.into(), Shape::of(Some(input)), Act::Run(Rc::new(prepare)))
    }

    fn of<T: Tool>() -> AgentTool {
        let takes_input = T::ABOUT.takes_input;
        let prepare = move |input: &Json| -> Result<Prepared, String> {
            let text = if takes_input { input.to_string() } else { "null".to_owned() };
            let input = crate::json::read_as::<T::Input>(&text, ROOT)?;
            Ok(Box::new(move |ctx| {
                let running = async move {
                    let output = crate::json::write_output(&T::run(ctx, input).await?)?;
                    Ok(serde_json::from_str::<Json>(&output)?)
                };
                Box::pin(running) as Running
            }))
        };
        let shape = Shape::of(takes_input.then(|| told(T::Input::input_schema())));
        AgentTool {
            asks: if T::NEEDS_APPROVAL { Some(asks()) } else { None },
            ..AgentTool::with(T::NAME.to_owned(), T::ABOUT.doc.to_owned(), shape, Act::Run(Rc::new(prepare)))
        }
    }

    /// Hands the conversation to another agent.
    pub(crate) fn hand_off(spec: Rc<Spec>) -> AgentTool {
        let name = format!("hand_off_to_{}", spec.name());
        let name = name.chars().take(crate::model::NAME_MAX_CHARS).collect();
        let description =
            format!("Hands the conversation to `{}`, who goes on with it. {}", spec.name(), spec.description());
        AgentTool::with(name, description.trim_end().to_owned(), Shape::of(None), Act::HandOff(spec))
    }

    pub(crate) fn with(name: String, description: String, shape: Shape, act: Act) -> AgentTool {
        AgentTool { name, description, shape, act, asks: None, is_fatal: false }
    }

    /// What the model is told of it.
    pub(crate) fn spec(&self) -> Result<ToolSpec, Failure> {
        if !is_name(&self.name) {
            let message = format!("the name of a tool is 1 to 64 of `A-Z a-z 0-9 _ -`: `{}` is none", self.name);
            return Err(Failure::permanent(code::BAD_REQUEST, message));
        }
        let (name, description) = (self.name.clone(), self.description.clone());
        Ok(ToolSpec { name, description, input: self.shape.schema.clone() })
    }

    /// What the model handed in, if it fits.
    pub(crate) fn read(&self, arguments: &str) -> Result<Json, String> {
        self.shape.read(arguments)
    }
}

impl fmt::Debug for AgentTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentTool").field("name", &self.name).field("needs_approval", &self.asks.is_some()).finish()
    }
}

/// What the whole of it is called where something in it is wrong.
const ROOT: &str = "arguments";

/// The field of an input that is no object: models hand in objects only.
const ONLY: &str = "input";

/// What the arguments of a tool look like.
#[derive(Clone)]
pub(crate) struct Shape {
    /// Always of an object.
    schema: Json,
    is_wrapped: bool,
}

impl Shape {
    /// None: there is no input.
    pub fn of(input: Option<Json>) -> Shape {
        match input {
            None => Shape { schema: json!({ "type": "object", "properties": {} }), is_wrapped: false },
            Some(schema) if schema.get("type").is_some_and(|kind| kind == "object") => {
                Shape { schema, is_wrapped: false }
            }
            Some(schema) => Shape { schema: wrapped(schema), is_wrapped: true },
        }
    }

    fn read(&self, arguments: &str) -> Result<Json, String> {
        // What some models write for no arguments at all.
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let mut value: Json = crate::json::read(arguments, ROOT)?;
        schema::check(&self.schema, &value, ROOT)?;
        Ok(if self.is_wrapped { value[ONLY].take() } else { value })
    }
}

fn wrapped(mut inner: Json) -> Json {
    let definitions = inner.as_object_mut().and_then(|words| words.remove("$defs"));
    root_moved(&mut inner);
    let mut schema = json!({
        "type": "object",
        "properties": { ONLY: inner },
        "required": [ONLY],
        "additionalProperties": false,
    });
    if let Some(definitions) = definitions {
        schema["$defs"] = definitions;
        root_moved(&mut schema["$defs"]);
    }
    schema
}

/// What refers to the whole refers to the field now. Schemas of Rust types are not deeper than the types are.
fn root_moved(schema: &mut Json) {
    match schema {
        Json::Object(words) => {
            for (word, inner) in words {
                match inner {
                    Json::String(target) if word == "$ref" && target == "#" => *target = format!("#/properties/{ONLY}"),
                    inner => root_moved(inner),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(root_moved),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
