//! What a row takes from a value of the journal, and how rows are counted. It never fails: what cannot
//! be read is left out.

use serde::Deserialize;

use super::{Http, Model, Payloads, PromptUsed, Row, RowStatus, Totals, Try, What};
use crate::{EffectId, Form, Timestamp, Value};

impl Totals {
    pub(super) fn count_step(&mut self, row: &Row) {
        self.steps += 1;
        let counter = match row.status {
            RowStatus::Succeeded => &mut self.steps_succeeded,
            RowStatus::Failed => &mut self.steps_failed,
            RowStatus::Cancelled | RowStatus::Aborted => &mut self.steps_cancelled,
            RowStatus::Forgotten => &mut self.steps_forgotten,
            RowStatus::Queued | RowStatus::Running | RowStatus::Waiting | RowStatus::Retrying | RowStatus::Parked => {
                &mut self.steps_open
            }
        };
        *counter += 1;
    }

    pub(super) fn count_attempt(&mut self, row: &Row) {
        self.attempts += 1;
        self.attempts_failed += u32::from(row.status == RowStatus::Failed);
        if let What::Attempt { resumed, .. } = &row.what {
            self.attempts_resumed += u32::from(!resumed.is_empty());
        }
    }

    pub(super) fn count_effect(&mut self, row: &Row) {
        self.effects += 1;
        self.effects_answered += u32::from(row.output.is_some() || row.failure.is_some());
        let interrupted = match &row.what {
            What::Http(http) => http.interrupted,
            What::Model(model) => model.interrupted,
            _ => 0,
        };
        self.effects_interrupted += u32::from(interrupted > 0);
    }
}

pub(super) fn micros(from: Timestamp, to: Timestamp) -> u64 {
    to.0.saturating_sub(from.0)
}

pub(super) fn sleep(duration_ms: u64, now: Timestamp) -> What {
    What::Sleep { duration_ms, due: now + std::time::Duration::from_millis(duration_ms) }
}

pub(super) fn question(form: &Value) -> What {
    let title = match form {
        Value::Inline(text) => Form::read(text).map(|form| form.title).unwrap_or_default(),
        Value::Stored { .. } => String::new(),
    };
    What::Question { title, by: None }
}

pub(super) fn label(options: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Options {
        label: Option<String>,
    }
    serde_json::from_str::<Options>(options).ok()?.label
}

/// The span that an effect says it belongs to.
pub(super) fn span(options: &str) -> Option<EffectId> {
    #[derive(Deserialize)]
    struct Options {
        span: Option<u32>,
    }
    serde_json::from_str::<Options>(options).ok()?.span.map(EffectId)
}

pub(super) fn prompts(options: &str) -> Vec<PromptUsed> {
    #[derive(Deserialize)]
    struct Options {
        #[serde(default)]
        prompts: Vec<PromptUsed>,
    }
    serde_json::from_str::<Options>(options).map(|options| options.prompts).unwrap_or_default()
}

pub(super) fn read_request(http: &mut Http, request: &Value, payloads: &Payloads) {
    #[derive(Deserialize)]
    struct Request {
        method: Option<String>,
        url: Option<String>,
    }
    if let Some(request) = read::<Request>(request, payloads) {
        http.method = Some(request.method.unwrap_or_else(|| "GET".to_owned()));
        http.url = request.url;
    }
}

pub(super) fn read_answer(http: &mut Http, answer: &Value, payloads: &Payloads) {
    #[derive(Deserialize)]
    struct Answer {
        status: Option<u16>,
        #[serde(default)]
        tries: Vec<Try>,
    }
    if let Some(answer) = read::<Answer>(answer, payloads) {
        http.status = answer.status;
        http.tries = answer.tries;
    }
}

pub(super) fn read_model_answer(model: &mut Model, answer: &Value, payloads: &Payloads) {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        tries: Vec<Try>,
    }
    if let Some(answer) = read::<Answer>(answer, payloads) {
        model.tries = answer.tries;
    }
}

fn read<'de, T: Deserialize<'de>>(value: &'de Value, payloads: &'de Payloads) -> Option<T> {
    let text = match value {
        Value::Inline(text) => text,
        Value::Stored { digest, .. } => payloads.get(digest)?,
    };
    serde_json::from_str(text).ok()
}
