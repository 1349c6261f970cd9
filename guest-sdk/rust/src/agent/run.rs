//! The loop of an agent: ask the model, make the calls that it wants, give back what they came to, until there is an answer. It
//! ends by itself: after so many iterations, or when the budget is used up.

use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::panic::Location;
use std::rc::Rc;

use super::budget::tokens_of;
use super::{Meter, Spec};
use crate::FnCtx;
use crate::failure::{Failure, code};
use crate::message::{Conversation, FinishReason, Message, Role, Usage, Usd, note};
use crate::model::{ModelAnswer, ModelCall, ModelRequest, clean_name, is_name, refused};
use crate::span::Span;

/// Providers make shorter ones.
const CALL_ID_MAX_BYTES: usize = 256;

/// What a run of an agent came to, whatever its type.
pub(crate) struct Ended {
    pub text: String,
    pub messages: Vec<Message>,
    pub usage: Usage,
    pub cost: Option<Usd>,
    pub iterations: u32,
    pub agent: String,
    pub finish_reason: FinishReason,
}

/// A run of an agent, and of those that take over from it.
pub(super) struct Run {
    pub ctx: FnCtx,
    /// The one that was run; its output and its limits hold.
    root: Rc<Spec>,
    pub said: Conversation,
    meter: Rc<Meter>,
    iterations: u32,
    was_mended: bool,
    /// How many tokens the last request had, and how many bytes.
    known: Option<(u64, u64)>,
    pub at: &'static Location<'static>,
}

/// What became of a conversation while one agent had it.
enum Leg {
    Ended { text: String, finish_reason: FinishReason },
    HandedOff(Rc<Spec>),
}

/// Whether a text is what the agent was asked for.
pub(super) type Fits<'a> = &'a dyn Fn(&str) -> Result<(), String>;

pub(super) async fn run(
    root: Rc<Spec>,
    ctx: FnCtx,
    said: Conversation,
    fits: Fits<'_>,
    at: &'static Location<'static>,
) -> Result<Ended, Failure> {
    let meter = Meter::begin(&root.name, root.budget, ctx.meter())?;
    let ctx = ctx.metered(meter.clone());
    let mut input = said.messages.last().map_or(Json::Null, |message| json!(message.content));
    let mut run = Run { ctx, root: root.clone(), said, meter, iterations: 0, was_mended: false, known: None, at };
    let mut active = root;
    loop {
        active.check()?;
        let span = Span::begin("agent", &active.name, &input.to_string(), at);
        let leg = span.around(run.leg(&active, fits)).await;
        match leg {
            Ok(Leg::Ended { text, finish_reason }) => {
                // Of structured output the JSON, of text the text as JSON.
                let shown = if run.root.output.is_some() { parsed(&text) } else { None };
                span.end(Ok(&shown.unwrap_or_else(|| Json::from(text.as_str())).to_string()));
                let (usage, cost) = run.meter.used();
                let (messages, iterations, agent) = (run.said.messages, run.iterations, active.name.clone());
                return Ok(Ended { text, messages, usage, cost, iterations, agent, finish_reason });
            }
            Ok(Leg::HandedOff(next)) => {
                span.end(Ok(&json!({ "handed_off_to": next.name }).to_string()));
                input = json!({ "handed_off_by": active.name });
                active = next;
            }
            Err(failure) => {
                span.end(Err(&failure));
                return Err(failure);
            }
        }
    }
}

/// As it is told to the model again: providers refuse names that could be those of no tool.
fn said(answer: &ModelAnswer) -> Message {
    let mut message = answer.message();
    for call in &mut message.tool_calls {
        if !is_name(&call.name) {
            call.name = clean_name(&call.name, "unknown");
        }
    }
    message
}

fn parsed(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok()
}

/// Another attempt asks the model again.
pub(super) fn does_not_fit(why: String) -> Failure {
    Failure { at: None, ..Failure::new(code::BAD_OUTPUT, format!("the agent's answer does not fit: {why}")) }
}

impl Run {
    async fn leg(&mut self, active: &Spec, fits: Fits<'_>) -> Result<Leg, Failure> {
        loop {
            let answer = self.ask(active).await?;
            // Providers take no message that says nothing.
            if !(answer.text().trim().is_empty() && answer.tool_calls.is_empty()) {
                self.said.messages.push(said(&answer));
            }
            if answer.finish_reason == FinishReason::Refused {
                return Err(refused(answer.text()));
            }
            if !answer.tool_calls.is_empty() {
                if let Some(next) = self.call_tools(active, &answer).await? {
                    return Ok(Leg::HandedOff(next));
                }
                continue;
            }
            match fits(answer.text()) {
                Ok(()) => {
                    let ModelAnswer { content, finish_reason, .. } = answer;
                    return Ok(Leg::Ended { text: content.unwrap_or_default(), finish_reason });
                }
                Err(why) if self.was_mended => return Err(does_not_fit(why)),
                Err(why) => {
                    self.was_mended = true;
                    let again = match self.root.output {
                        Some(_) => "Answer again, with nothing but JSON that fits the schema.",
                        None => "Answer again.",
                    };
                    self.said.messages.push(Message::user(format!("Your answer does not fit: {why}. {again}")));
                }
            }
        }
    }

    /// One call of the model.
    async fn ask(&mut self, active: &Spec) -> Result<ModelAnswer, Failure> {
        if self.iterations >= self.root.max_iterations {
            return Err(self.too_often());
        }
        self.iterations += 1;
        let mut request = active.request(&self.root, &self.said)?;
        for hook in &active.hooks.before_model {
            hook(&mut request)?;
        }
        let size_bytes = request.size_bytes();
        let input_tokens = self.estimate(size_bytes);
        let permit = self.meter.permit(&mut request, input_tokens)?;
        let timeout_ms = permit.timeout_ms(active.timeout_ms);
        let mut prompts = self.said.prompts.clone();
        note(&mut prompts, active.instructions.as_ref().and_then(crate::Prompt::file));
        let model = request.model.clone();
        let call = ModelCall::new(request, self.at).options(timeout_ms, active.stream_to.clone(), prompts);
        let outcome = call.await;
        if outcome.as_ref().is_err_and(|failure| failure.code == code::MODEL_TIMEOUT) {
            self.meter.out_of_time()?;
        }
        let mut answer = outcome?;
        self.tell_apart(&mut answer);
        permit.took(&model, &answer);
        // Not every provider tells.
        let given_tokens = if answer.usage.input_tokens == 0 { input_tokens } else { answer.usage.input_tokens };
        self.known = Some((given_tokens, size_bytes));
        if answer.finish_reason == FinishReason::Length
            && let Some(failure) = &permit.lowered
        {
            return Err(failure.clone());
        }
        for hook in &active.hooks.after_model {
            hook(&mut answer)?;
        }
        Ok(answer)
    }

    /// Gives calls that the model did not tell apart ids of their own: providers want them to be.
    fn tell_apart(&self, answer: &mut ModelAnswer) {
        let said = self.said.messages.iter().flat_map(|message| &message.tool_calls);
        let mut known: BTreeSet<String> = said.map(|call| call.id.clone()).collect();
        for (place, call) in answer.tool_calls.iter_mut().enumerate() {
            let mut tried = 0;
            while call.id.is_empty() || call.id.len() > CALL_ID_MAX_BYTES || known.contains(&call.id) {
                call.id = format!("call_{}_{place}_{tried}", self.iterations);
                tried += 1;
            }
            known.insert(call.id.clone());
        }
    }

    /// How many tokens a request has: as many as the last one, and what has come to it since.
    fn estimate(&self, size_bytes: u64) -> u64 {
        let (known_tokens, known_bytes) = self.known.unwrap_or_default();
        known_tokens.saturating_add(tokens_of(size_bytes.saturating_sub(known_bytes)))
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    fn too_often(&self) -> Failure {
        let (usage, cost) = self.meter().used();
        let (name, times) = (&self.root.name, self.iterations);
        let message = format!("agent `{name}` asked its model {times} times and had no answer");
        let details = json!({ "agent": name, "iterations": times, "usage": usage, "cost_nanousd": cost });
        Failure { at: None, ..Failure::permanent(code::ITERATIONS_EXCEEDED, message) }.with_details(details)
    }
}

impl Spec {
    /// What would only be refused later, or taken for something else.
    fn check(&self) -> Result<(), Failure> {
        let bad = |message: String| Err(Failure { at: None, ..Failure::permanent(code::BAD_REQUEST, message) });
        if !is_name(&self.name) {
            return bad(format!("the name of an agent is 1 to 64 of `A-Z a-z 0-9 _ -`: `{}` is none", self.name));
        }
        if self.model.is_none() {
            return bad(format!("agent `{}` has no model: say `.model(\"provider/model\")`", self.name));
        }
        for (place, tool) in self.tools.iter().enumerate() {
            if self.tools[..place].iter().any(|other| other.name == tool.name) {
                return bad(format!(
                    "agent `{}` has two tools of the name `{}`: see `.named(..)`",
                    self.name, tool.name
                ));
            }
        }
        Ok(())
    }

    fn request(&self, root: &Spec, said: &Conversation) -> Result<ModelRequest, Failure> {
        let mut request = ModelRequest::new(self.model.clone().unwrap_or_default());
        if let Some(instructions) = &self.instructions {
            request.messages.push(Message::system(instructions.text()));
        }
        request.messages.extend(said.messages.iter().cloned());
        request.tools = self.tools.iter().map(|tool| tool.spec()).collect::<Result<_, _>>()?;
        request.output = root.output.clone();
        request.max_tokens = self.max_tokens;
        request.temperature = self.temperature;
        debug_assert!(
            request.messages.iter().all(|message| message.role != Role::Tool || message.tool_call_id.is_some())
        );
        Ok(request)
    }
}
