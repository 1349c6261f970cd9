//! What others tell a run while it runs, and what it asks of them. Shapes only.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trackway_replay::{EffectId, QuestionName, RunId, StepId};
use utoipa::ToSchema;

use crate::api::time::Time;

/// `POST /v1/runs/{id}/signals/{name}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sent {
    #[schema(value_type = String)]
    pub run: RunId,
    /// Under which it stands in the journal once the run has read it, 32 hexadecimal digits.
    pub message: String,
}

/// `POST /v1/runs/{id}/updates/{name}`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Update {
    #[schema(value_type = String)]
    pub run: RunId,
    /// Under which it stands in the journal once the run has read it, 32 hexadecimal digits.
    pub message: String,
    /// `succeeded`, `failed` where the workflow refuses it, or `open` while it has not answered.
    pub outcome: String,
    /// What the workflow answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Box<RawValue>>,
    /// Why it refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub failure: Option<Box<RawValue>>,
}

/// `GET /v1/runs/{id}/state`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct States {
    #[schema(value_type = String)]
    pub run: RunId,
    /// In the order of the keys.
    pub state: Vec<State>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What a run published last under a key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct State {
    pub key: String,
    #[schema(value_type = serde_json::Value)]
    pub value: Box<RawValue>,
    pub published_at: Time,
    /// Of the entry in the journal: a later value has a higher one.
    pub position: u64,
}

/// `GET /v1/questions`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Questions {
    /// The newest run first, and in it the newest question.
    pub questions: Vec<Question>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A question that a run asks a person.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Question {
    #[schema(value_type = String)]
    pub run: RunId,
    pub workflow: String,
    pub step: u32,
    /// Of the step's attempt, where its function asks and not the workflow. Its name is then `STEP.EFFECT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<u32>,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    pub asked_at: Time,
    /// When it is too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    /// As whoever asks gave it.
    #[schema(value_type = serde_json::Value)]
    pub form: trackway_replay::Form,
    /// `answered` or `expired`; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<String>,
    /// Who answered, as far as they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Question {
    /// By which it is answered, beside the run.
    pub fn name(&self) -> QuestionName {
        QuestionName { step: StepId(self.step), effect: self.effect.map(EffectId) }
    }
}

/// `POST /v1/questions/{id}/{question}/answer`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// An object with a value for each field of the form.
    #[schema(value_type = serde_json::Value)]
    pub answer: Box<RawValue>,
    /// Who answers, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `GET /v1/promises/{token}`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Promise {
    #[schema(value_type = String)]
    pub run: RunId,
    pub step: u32,
    pub name: String,
    pub made_at: Time,
    /// When it is too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    /// `open`, `resolved`, `rejected`, `expired`, `given up` (nobody waits for it any more) or `run ended`. One that was
    /// just settled is `open` until the run has read its inbox.
    pub standing: String,
}

/// `POST /v1/promises/{token}/reject`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// 1 to 64 of `A-Z 0-9 _`; `REJECTED` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default)]
    pub message: String,
    /// For programs; left out above 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub details: Option<Box<RawValue>>,
}
