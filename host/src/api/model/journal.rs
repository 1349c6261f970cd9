//! A journal as JSON, for tools and tests. Each entry is one flat object: what its kind does not
//! have is left out.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trackway_replay::{Digest, RunId};
use utoipa::ToSchema;

use super::{Spending, Time, present};

/// `GET /v1/runs/{id}/journal`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JournalPage {
    pub entries: Vec<Entry>,
    /// The position to ask for next; absent where this is all for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A value that stands beside the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stored {
    #[schema(value_type = String)]
    pub digest: Digest,
    pub size_bytes: u64,
}

/// `GET /v1/runs/{id}/values/{digest}`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredValue {
    #[schema(value_type = String)]
    pub digest: Digest,
    #[schema(value_type = serde_json::Value)]
    pub value: Box<RawValue>,
}

macro_rules! entry {
    ($($(#[$attribute:meta])* $name:ident: $kind:ty,)*) => {
        /// One journal entry.
        #[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
        pub struct Entry {
            pub position: u64,
            pub epoch: u64,
            pub time: Time,
            /// `Started`, `Claimed`, `Asked`, `AttemptStarted`, `AttemptResumed`, `EffectAsked`,
            /// `EffectAnswered`, `Failed`, `Answered`, `Forgotten`, `StepCancelAsked`,
            /// `CancelReceived`, `Finished`, `Paused`, `Resumed`, `Forked`, `ChildOf`, `ChildStarted`,
            /// `ChildEnded`, `FailedKeeping`, `Parked`, `RetryReceived`, `Progressed`, `DeadlineSet`,
            /// `Signalled`, `Settled`, `Patched`, `Moved`, `StepTimed`, `Continued`, `GraceSet`,
            /// `Emitted`, `AttemptEmitted`, `ModelUsed`, `SpendingTaken`, `SpanBegun`, `SpanEnded`, `UpdateOffered`,
            /// `UpdateExpired`, `EffectSettled` or `FuelUsed`.
            pub kind: String,
            $(
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $(#[$attribute])*
                pub $name: Option<$kind>,
            )*
        }
    };
}

entry! {
    #[schema(value_type = Option<String>)]
    run: RunId,
    /// The run that this one was started by or restarted from, or that sent the signal.
    #[schema(value_type = Option<String>)]
    from: RunId,
    /// The run that a step started.
    #[schema(value_type = Option<String>)]
    child: RunId,
    workflow: String,
    deployment: String,
    #[schema(value_type = Option<String>)]
    component: Digest,
    worker: String,
    engine: String,
    /// Version of the rules that the run began under.
    rules: u32,
    step: u32,
    attempt: u32,
    /// An effect or a span of the attempt.
    effect: u32,
    /// `agent` or `tool`.
    span_kind: String,
    /// What was asked for: `call`, `sleep`, `start-run`, `receive`, `ask-person`, `promise`, `entity-get`,
    /// `entity-set`, `entity-delete`, `http` or `model`.
    operation: String,
    function: String,
    /// Of a run, a call or a span; of an entity, what it is set to.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    input: Box<RawValue>,
    /// Instead of `input`, where it stands beside the journal.
    input_stored: Stored,
    /// Of HTTP or of a model.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    request: Box<RawValue>,
    request_stored: Stored,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    options: Box<RawValue>,
    duration_ms: u64,
    /// `succeeded`, `failed`, `cancelled` or `terminated`.
    outcome: String,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    output: Box<RawValue>,
    output_stored: Stored,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    failure: Box<RawValue>,
    reason: String,
    /// When the next attempt starts.
    next_at: Time,
    /// How many answers a failed attempt had got; `effect` is the one that is asked for again.
    kept_answers: u32,
    /// What a person said of unclear effects: `repeat`, `fail` or `answer`.
    verdict: String,
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    progress: Box<RawValue>,
    /// When the host ends the run.
    deadline_at: Time,
    /// From the cancel to the moment at which the host ends the run.
    grace_ms: u64,
    /// When the step fails unless an attempt of it has begun.
    start_by: Time,
    /// When the step fails unless it is answered.
    close_by: Time,
    /// The clock of the guest when it asked.
    now: Time,
    /// The idempotency key under which an effect is sent; of an entity, its own.
    key: String,
    /// Source place.
    at: String,
    /// Digest of the request.
    #[schema(value_type = Option<String>)]
    digest: Digest,
    /// Of the guest, before this command or end.
    deliveries: u32,
    /// Used since the last delivery.
    fuel: u64,
    /// Commands in all.
    commands: u64,
    /// Of a signal, a promise, a patch, an entity, an event or a span.
    name: String,
    /// What a signal brought, or an event tells.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Box<RawValue>,
    payload_stored: Stored,
    /// Of a question.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    form: Box<RawValue>,
    /// Who answered it.
    by: String,
    /// Of an inbox item, 32 hexadecimal digits.
    message: String,
    /// Inbox items that nobody read.
    unread: Vec<String>,
    /// That was asked for, with its provider; of one that answered, as its provider calls it.
    model: String,
    provider: String,
    /// Why the model stopped.
    finish_reason: String,
    /// What a call of a model used, or all of them so far.
    spending: Spending,
}
