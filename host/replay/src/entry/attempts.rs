//! Entries of attempts: how each begins and ends, and what it does in between. It never says what they add up to.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::Proof;
use crate::{Digest, EffectId, EffectRequest, Finish, MessageId, Outcome, StepId, Timestamp, Usage, Value};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStarted {
    pub step: StepId,
    /// From 1.
    pub attempt: u32,
}

/// After a crash: the attempt is recalled effect by effect and goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptResumed {
    pub step: StepId,
    pub attempt: u32,
}

/// A function is about to touch the world. Durable before it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectAsked {
    pub step: StepId,
    pub attempt: u32,
    pub effect: EffectId,
    pub request: EffectRequest,
    pub proof: Proof,
    /// On the function's clock: the time of its last delivery.
    pub now: Timestamp,
    /// The idempotency key under which it is sent, where it has one.
    pub key: Option<Arc<str>>,
    pub at: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectAnswered {
    pub step: StepId,
    pub attempt: u32,
    pub effect: EffectId,
    pub outcome: Outcome,
}

/// What can be told of the answer of a model without reading it. In the frame of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUsed {
    pub step: StepId,
    pub attempt: u32,
    pub effect: EffectId,
    /// As the operator calls it.
    pub provider: Arc<str>,
    /// As the provider calls it.
    pub model: Arc<str>,
    pub finish: Finish,
    pub usage: Usage,
    /// Absent where nobody knows the price.
    pub cost_nanousd: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailed {
    pub step: StepId,
    pub attempt: u32,
    /// The text of a [`crate::Failure`].
    pub failure: Value,
    /// When the next attempt starts.
    pub next_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailedKeeping {
    pub step: StepId,
    pub attempt: u32,
    /// The text of a [`crate::Failure`].
    pub failure: Value,
    pub next_at: Timestamp,
    pub kept: Kept,
}

/// How much of a failed attempt the next one recalls instead of doing it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How many answers the function had got.
    pub answers: u32,
    /// Whose was the last one: it is asked for again, and what came after it is not kept. `None`: the
    /// host broke the attempt off, so all that was asked for is kept.
    pub last: Option<EffectId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptParked {
    pub step: StepId,
    pub attempt: u32,
    /// The text of a [`crate::Failure`].
    pub failure: Value,
    pub park: Park,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Park {
    /// No attempt is left, or none would help. One that a person asks for begins anew.
    Exhausted,
    /// The same; one that a person asks for goes on with what this one had done.
    ExhaustedKeeping(Kept),
    /// The attempt was broken off, and nobody knows whether this effect was carried out.
    Unclear(EffectId),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryReceived {
    pub message: MessageId,
    pub step: StepId,
    /// The code of the attempts from here on, instead of the run's own.
    pub with: Option<With>,
    /// What is to be done about effects that are unclear.
    pub verdict: Option<EffectVerdict>,
}

/// Another component, and the deployment whose grants go with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct With {
    pub deployment: Arc<str>,
    pub component: Digest,
}

/// What a person knows about an effect that was asked and not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectVerdict {
    /// Ask again, under the same idempotency key.
    Repeat,
    /// Answer it as a failure with code `AMBIGUOUS`.
    Fail,
    /// This is its answer.
    Answer(Value),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progressed {
    pub step: StepId,
    pub attempt: u32,
    /// JSON of the function's own.
    pub progress: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEmitted {
    pub step: StepId,
    pub attempt: u32,
    pub name: Arc<str>,
    pub data: Value,
    pub proof: Proof,
    pub at: Option<Arc<str>>,
}

/// From here to its end the attempt is at something that people want to see as one: its effects say that they
/// belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanBegun {
    pub step: StepId,
    pub attempt: u32,
    /// Counted with the effects of the attempt.
    pub span: EffectId,
    pub kind: SpanKind,
    pub name: Arc<str>,
    pub input: Value,
    pub options: Arc<str>,
    pub proof: Proof,
    pub at: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    Agent,
    Tool,
}

impl SpanKind {
    /// As the contract calls it.
    pub fn word(self) -> &'static str {
        match self {
            SpanKind::Agent => "agent",
            SpanKind::Tool => "tool",
        }
    }
}

/// The answer of an effect that came from outside: a question that an attempt asked has its outcome, or its time
/// is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectSettled {
    pub step: StepId,
    pub attempt: u32,
    pub effect: EffectId,
    /// The request that settled it; absent where its time was over.
    pub request: Option<MessageId>,
    pub outcome: Outcome,
    /// Who answered, as far as they said.
    pub by: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanEnded {
    pub step: StepId,
    pub attempt: u32,
    pub span: EffectId,
    pub outcome: Outcome,
    pub proof: Proof,
    pub at: Option<Arc<str>>,
}

/// What a guest computed before it waited or came to its end, beside what stands in its proofs. Little of it is not worth
/// an entry: see [`crate::NOTED_FUEL_MIN`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FuelUsed {
    /// Whose it is, right before what ends the attempt; `None`: the workflow's.
    pub attempt: Option<(StepId, u32)>,
    pub fuel: u64,
}
