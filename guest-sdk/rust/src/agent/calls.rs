//! The calls of tools that a model asks for in one answer. What names no tool, does not fit or was refused is answered and
//! never made.

use serde_json::{Value as Json, json};
use std::rc::Rc;

use super::Spec;
use super::run::Run;
use crate::Form;
use crate::failure::{Failure, code};
use crate::join::try_join_all_limit;
use crate::message::{FinishReason, Message, ToolCall};
use crate::model::ModelAnswer;
use crate::span::Span;
use crate::tool::{Act, AgentTool, Asks, Prepare};

/// A model that wants more at once has lost its way; the contract's effects of an attempt are limited too.
const CALLS_MAX: usize = 64;

/// As many as a browser opens to one place, and some.
const AT_ONCE_MAX: usize = 16;

/// A form has room for more, but nobody reads so much before a decision.
const SHOWN_MAX_BYTES: usize = 16 * 1024;

/// What is wrong with arguments may have all of them in it, and is read by the model again with each further call.
const MISFIT_MAX_BYTES: usize = 2 * 1024;

/// A call that a model asked for.
enum Wanted<'a> {
    Make { tool: &'a AgentTool, prepare: &'a Prepare, call: &'a ToolCall },
    Told(Message),
}

impl Run {
    /// Makes all calls of one answer, at once, and tells the model what came of them; gives whom the conversation is handed
    /// to.
    pub(super) async fn call_tools(
        &mut self,
        active: &Spec,
        answer: &ModelAnswer,
    ) -> Result<Option<Rc<Spec>>, Failure> {
        let (mut next, was_cut) = (None, answer.finish_reason == FinishReason::Length);
        let calls = answer.tool_calls.iter().enumerate();
        let wanted: Vec<Wanted<'_>> = calls
            .map(|(place, call)| match was_cut && call.arguments.trim().is_empty() {
                // A tool that needs none would be called without what it was to get.
                true => Wanted::Told(told(call, &misfit("the answer was cut off before them".to_owned()))),
                false => active.wanted(place, call, &mut next),
            })
            .collect();
        let run = &*self;
        let made = wanted.into_iter().map(async |wanted| match wanted {
            Wanted::Told(message) => Ok(message),
            Wanted::Make { tool, prepare, call } => run.make(active, tool, prepare, call).await,
        });
        // The first that is fatal drops the others, which stops them.
        let told = try_join_all_limit(AT_ONCE_MAX, made).await?;
        self.said.messages.extend(told);
        Ok(next)
    }

    async fn make(
        &self,
        active: &Spec,
        tool: &AgentTool,
        prepare: &Prepare,
        call: &ToolCall,
    ) -> Result<Message, Failure> {
        let input = tool.read(&call.arguments);
        let shown = input.clone().unwrap_or_else(|_| Json::from(call.arguments.as_str()));
        let span = Span::begin("tool", &tool.name, &shown.to_string(), self.at);
        let outcome = span.around(self.outcome(active, (tool, prepare), call.clone(), input)).await;
        let text = match &outcome {
            Ok(output) => output.to_string(),
            Err(failure) => {
                span.end(Err(failure));
                return if failure.is_fatal() { Err(failure.clone()) } else { Ok(told(call, failure)) };
            }
        };
        span.end(Ok(&text));
        let content = match outcome {
            // A text is said as it is.
            Ok(Json::String(said)) => said,
            Ok(_) | Err(_) => text,
        };
        Ok(Message::tool(call.id.as_str(), content))
    }

    async fn outcome(
        &self,
        active: &Spec,
        (tool, prepare): (&AgentTool, &Prepare),
        mut call: ToolCall,
        input: Result<Json, String>,
    ) -> Result<Json, Failure> {
        let mut input = input.map_err(misfit)?;
        let written = call.arguments.clone();
        for hook in &active.hooks.before_tool {
            hook(&mut call)?;
        }
        if call.arguments != written {
            input = tool.read(&call.arguments).map_err(misfit)?;
        }
        // Read before anybody is asked: there is nothing to approve about a call that cannot be made.
        let prepared = prepare(&input).map_err(misfit)?;
        let needed = active.hooks.approve.iter().find(|(needed, _)| needed(&call)).map(|(_, asks)| *asks);
        if let Some(asks) = tool.asks.or(needed) {
            self.ask_person(asks, active, tool, &input).await?;
        }
        let mut outcome = prepared(self.ctx.clone()).await.map_err(|failure| match tool.is_fatal {
            true => failure.fatal(),
            false => failure,
        });
        for hook in &active.hooks.after_tool {
            hook(&call, &mut outcome)?;
        }
        outcome
    }

    /// Waits until somebody has allowed it.
    async fn ask_person(&self, asks: Asks, active: &Spec, tool: &AgentTool, input: &Json) -> Result<(), Failure> {
        let shown = format!("{input:#}");
        if shown.len() > SHOWN_MAX_BYTES {
            let message = format!("the arguments have {} bytes: more than a person can be shown", shown.len());
            return Err(Failure::permanent(code::REFUSED, message));
        }
        let form = Form::new(format!("May agent {} call {}?", active.name, tool.name))
            .doc(shown)
            .approval("approve")
            .text("why")
            .optional();
        let decision = asks(&self.ctx, form).await?;
        if decision.approve {
            return Ok(());
        }
        let why = decision.why.filter(|why| !why.is_empty()).map(|why| format!(": {why}")).unwrap_or_default();
        Err(Failure::permanent(code::REFUSED, format!("a person did not allow this call{why}")))
    }
}

fn misfit(mut why: String) -> Failure {
    why.truncate(why.floor_char_boundary(MISFIT_MAX_BYTES));
    Failure { at: None, ..Failure::permanent(code::BAD_INPUT, why) }
}

fn told(call: &ToolCall, failure: &Failure) -> Message {
    Message::tool_error(call.id.as_str(), failure.to_string())
}

impl Spec {
    /// What is done about the call in that place of an answer.
    fn wanted<'a>(&'a self, place: usize, call: &'a ToolCall, next: &mut Option<Rc<Spec>>) -> Wanted<'a> {
        let error = |message: String| Wanted::Told(Message::tool_error(call.id.as_str(), message));
        if place >= CALLS_MAX {
            return error(format!("{code}: at most {CALLS_MAX} calls in one answer", code = code::TOO_MANY));
        }
        let Some(tool) = self.tools.iter().find(|tool| tool.name == call.name) else {
            let names: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
            let there = if names.is_empty() { "no tools".to_owned() } else { names.join(", ") };
            return error(format!("{}: there is no tool of that name; there are: {there}", code::UNKNOWN_TOOL));
        };
        match &tool.act {
            Act::Run(prepare) => Wanted::Make { tool, prepare: &**prepare, call },
            Act::HandOff(spec) => match next {
                Some(taken) => error(format!("the conversation was handed to `{}` already", taken.name)),
                None => {
                    *next = Some(spec.clone());
                    let message = json!({ "handed_off_to": spec.name }).to_string();
                    Wanted::Told(Message::tool(call.id.as_str(), message))
                }
            },
        }
    }
}
