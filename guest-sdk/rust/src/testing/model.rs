//! The models that a test sees and answers for. It must know nothing of the agents that ask.

use serde::Serialize;
use serde_json::{Value as Json, json};
use std::ops::Deref;
use std::time::Duration;

use super::Instance;
use crate::failure::{Failure, code};
use crate::message::{FinishReason, Usage, Usd};
use crate::model::ModelRequest;
use crate::retry::millis;

/// A call of a model that a function made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AskedModel {
    /// Which one it is of all that this host has seen, from 1.
    pub number: u32,
    /// What was asked; its fields are those of this, too.
    pub request: ModelRequest,
    /// What was said beside it.
    pub options: Json,
}

impl Deref for AskedModel {
    type Target = ModelRequest;

    fn deref(&self) -> &ModelRequest {
        &self.request
    }
}

/// What a test answers to it.
#[derive(Debug, Clone)]
pub struct ModelResponse {
    outcome: Result<Json, Failure>,
    after_ms: u64,
}

impl ModelResponse {
    fn new(content: Option<String>, finish_reason: FinishReason) -> ModelResponse {
        let output = json!({
            "provider": "test", "model": "test", "id": "test", "content": content, "tool_calls": [],
            "finish_reason": finish_reason, "usage": Usage::default(), "cost_nanousd": 0, "tries": [],
        });
        ModelResponse { outcome: Ok(output), after_ms: 0 }
    }

    /// An answer with that text.
    pub fn text(content: impl Into<String>) -> ModelResponse {
        ModelResponse::new(Some(content.into()), FinishReason::Stop)
    }

    /// An answer with that value as JSON.
    ///
    /// # Panics
    ///
    /// Where it cannot be JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> ModelResponse {
        ModelResponse::text(serde_json::to_string(value).expect("the answer can be written as JSON"))
    }

    /// An answer that wants this tool to be called, with these arguments.
    ///
    /// # Panics
    ///
    /// Where the arguments cannot be JSON.
    pub fn tool_call(name: &str, arguments: &(impl Serialize + ?Sized)) -> ModelResponse {
        ModelResponse::new(None, FinishReason::ToolCalls).and_tool_call(name, arguments)
    }

    /// One that wants this tool to be called as well.
    ///
    /// # Panics
    ///
    /// Where the arguments cannot be JSON.
    pub fn and_tool_call(self, name: &str, arguments: &(impl Serialize + ?Sized)) -> ModelResponse {
        let arguments = serde_json::to_string(arguments).expect("the arguments can be written as JSON");
        self.and_raw_tool_call(name, arguments)
    }

    /// One that wants this tool to be called as well, whose arguments are perhaps no JSON.
    pub fn and_raw_tool_call(mut self, name: &str, arguments: impl Into<String>) -> ModelResponse {
        if let Some(calls) = self.outcome.as_mut().ok().and_then(|output| output["tool_calls"].as_array_mut()) {
            let id = format!("call_{}", calls.len() + 1);
            calls.push(json!({ "id": id, "name": name, "arguments": arguments.into() }));
        }
        self
    }

    /// No answer: `ModelResponse::failed(Failure::new("MODEL_RATE_LIMITED", "later"))`.
    pub fn failed(failure: Failure) -> ModelResponse {
        ModelResponse { outcome: Err(failure), after_ms: 0 }
    }

    /// Why it stopped.
    pub fn finish(self, reason: FinishReason) -> ModelResponse {
        self.with("finish_reason", json!(reason))
    }

    /// How many tokens it took.
    pub fn usage(self, input_tokens: u64, output_tokens: u64) -> ModelResponse {
        self.with("usage", json!(Usage { input_tokens, output_tokens, ..Usage::default() }))
    }

    /// What it cost; none: nobody knows.
    pub fn cost(self, cost: Option<Usd>) -> ModelResponse {
        self.with("cost_nanousd", json!(cost))
    }

    /// What a million tokens cost, given and said.
    pub fn price(self, input: Usd, output: Usd) -> ModelResponse {
        self.with("price", json!({ "input": input, "output": output }))
    }

    /// It comes after so much virtual time, or not in time.
    pub fn after(self, wait: Duration) -> ModelResponse {
        ModelResponse { after_ms: millis(wait), ..self }
    }

    fn with(mut self, field: &str, value: Json) -> ModelResponse {
        if let Ok(output) = &mut self.outcome {
            output[field] = value;
        }
        self
    }
}

impl Instance {
    pub(super) fn ask_model(&self, request: &str, options: &str) -> u32 {
        let number = self.shared.models.get() + 1;
        self.shared.models.set(number);
        let said: Json = serde_json::from_str(options).unwrap_or_default();
        let response = match (serde_json::from_str::<ModelRequest>(request), &self.shared.model) {
            (Err(error), _) => ModelResponse::failed(Failure::permanent(code::BAD_REQUEST, error)),
            (Ok(_), None) => {
                let message = "this test answers for no models: see `on_model`";
                ModelResponse::failed(Failure::permanent(code::MODEL_UNKNOWN, message))
            }
            (Ok(request), Some(answer)) => {
                self.note(options, format!("model {}", request.model));
                answer(&AskedModel { number, request, options: said.clone() })
            }
        };
        let ModelResponse { outcome, after_ms } = response;
        if let Some(timeout_ms) = said["timeout_ms"].as_u64().filter(|timeout_ms| *timeout_ms < after_ms) {
            let failure = Failure::new(code::MODEL_TIMEOUT, "the model did not answer in time");
            return self.answer(Err(failure.to_text()), timeout_ms);
        }
        self.answer(outcome.map(|output| output.to_string()).map_err(|failure| failure.to_text()), after_ms)
    }
}
