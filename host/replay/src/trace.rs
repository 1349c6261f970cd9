//! The journal read aloud: rows for people and tools, the same for command line, API and every
//! other view. A pure function of the entries; it works on any beginning of a journal, keeps no
//! record of its own, and never fails: an entry that makes no sense is listed as such.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Digest, EntityVerb, Entry, Epoch, Failure, Finish, Position, RunId, SpanKind, Spending, Status, StepId, Timestamp,
    Usage, Value,
};

mod fold;
mod mail;
mod read;
mod row;
#[cfg(test)]
mod tests;

/// Texts of stored values, brought by the caller, so that this stays pure.
pub type Payloads = BTreeMap<Digest, Arc<str>>;

/// Projects the entries of one run, from its first on.
pub fn trace(entries: &[Entry]) -> Trace {
    trace_with(entries, &Payloads::new())
}

/// As [`trace`], reading method, URL, status and tries of HTTP effects also from stored values.
pub fn trace_with(entries: &[Entry], payloads: &Payloads) -> Trace {
    fold::fold(entries, payloads)
}

/// The stored values that make a trace of these entries say more, without repetition.
pub fn payloads_wanted(entries: &[Entry]) -> Vec<Digest> {
    fold::payloads_wanted(entries)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Absent only where the beginning of the journal is missing.
    pub run: Option<RunHeader>,
    /// Parents before children; steps in the order in which they were asked for.
    pub rows: Vec<Row>,
    /// Each stretch from a claim to the next.
    pub activations: Vec<Activation>,
    pub totals: Totals,
    /// Entries that fit nowhere; a sound journal has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unplaced: Vec<Position>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    pub id: RunId,
    pub workflow: Arc<str>,
    pub deployment: Arc<str>,
    /// The code that the run is pinned to.
    pub component: Digest,
    /// As far as the journal tells: that a run is stuck stands in its head, not here.
    pub status: Status,
    #[serde(rename = "started_us")]
    pub started: Timestamp,
    #[serde(rename = "finished_us")]
    pub finished: Option<Timestamp>,
    /// From the start to the end, or to the last entry so far.
    pub duration_us: u64,
    pub input: Shown,
    pub output: Option<Shown>,
    pub failure: Option<Failure>,
    /// Why it was cancelled or terminated.
    pub reason: Option<Arc<str>>,
    /// When the host ends it, where it was started so.
    #[serde(default, rename = "deadline_us", skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Where it comes from, if it was restarted from a step of another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked: Option<ForkedFrom>,
    /// Which step of which run started it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<StartedBy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedBy {
    pub run: RunId,
    pub step: StepId,
}

/// The rows before this step are those of the other run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedFrom {
    pub run: RunId,
    pub step: StepId,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `3` is a step, `3.1` its first attempt, `3.1.2` the second effect or span of that; `cancel` the
    /// run's cancel, `pause-1` its first pause, `patch-1` its first patch, `move-1` its first move,
    /// `continue-1` where its workflow began anew first, `publish-9`, `reply-9` and `event-9` what it told with entry
    /// 9, `3.1.event-9` what that attempt told. The same in every view and as the journal grows.
    pub id: String,
    /// Id of the row above: of an effect its attempt, or the span that it belongs to.
    pub parent: Option<String>,
    pub what: What,
    pub status: RowStatus,
    /// Given by the guest in its options.
    pub label: Option<String>,
    /// The source place that asked for it.
    pub at: Option<Arc<str>>,
    #[serde(rename = "started_us")]
    pub started: Timestamp,
    #[serde(rename = "ended_us")]
    pub ended: Option<Timestamp>,
    /// How long it was ready before somebody began with it.
    pub queue_us: Option<u64>,
    /// From start to end; absent while it is open.
    pub duration_us: Option<u64>,
    pub input: Option<Shown>,
    pub output: Option<Shown>,
    pub failure: Option<Failure>,
    /// When the workflow asked to cancel the step.
    #[serde(rename = "cancel_asked_us")]
    pub cancel_asked: Option<Timestamp>,
    /// The entries that tell of this row itself, in order.
    pub positions: Vec<Position>,
    /// The entry that ended it.
    pub closed: Option<Position>,
}

/// What a row stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    Call {
        function: Arc<str>,
        /// When the next attempt starts, between two attempts.
        #[serde(rename = "retry_at_us")]
        retry_at: Option<Timestamp>,
        /// When it fails unless an attempt has begun.
        #[serde(default, rename = "start_by_us", skip_serializing_if = "Option::is_none")]
        start_by: Option<Timestamp>,
        /// When it fails unless it is answered.
        #[serde(default, rename = "close_by_us", skip_serializing_if = "Option::is_none")]
        close_by: Option<Timestamp>,
    },
    /// A sleep of the workflow, or of a function where it is below an attempt.
    Sleep {
        duration_ms: u64,
        #[serde(rename = "due_us")]
        due: Timestamp,
    },
    /// Another run that the workflow started.
    Run {
        workflow: Arc<str>,
        /// Once it stands.
        run: Option<RunId>,
        deployment: Option<Arc<str>>,
    },
    Attempt {
        number: u32,
        worker: Option<Arc<str>>,
        /// Each time the attempt went on after a crash instead of starting anew.
        resumed: Vec<Resumed>,
        /// When the next attempt was planned for, where this one failed and is not the last.
        #[serde(rename = "next_at_us")]
        next_at: Option<Timestamp>,
        /// The attempt whose answered effects it recalled instead of doing them again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        continues: Option<u32>,
        /// The deployment whose code it ran, where a person chose another one than the run's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<Arc<str>>,
        /// What the function told last of how far it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<Shown>,
    },
    Http(Http),
    Model(Box<Model>),
    /// Waits for a signal; its output is what the signal brought.
    Receive {
        signal: Arc<str>,
        /// The run that sent it, if a run did.
        from: Option<RunId>,
    },
    /// A question to a person; its input is the form, its output the answer.
    Question {
        title: String,
        /// Who answered, as far as they said.
        by: Option<Arc<str>>,
    },
    /// Something that is settled from outside; its output is what it was resolved with.
    Promise {
        name: Arc<str>,
        /// By which it is settled.
        token: String,
    },
    /// Reads or writes an entity; the input of a write is the value.
    Entity {
        verb: EntityVerb,
        entity: Arc<str>,
        key: Arc<str>,
    },
    /// Waits for an update; its output is what that brought.
    Accept {
        update: Arc<str>,
    },
    /// The workflow shows its output under a key.
    Publish {
        key: Arc<str>,
    },
    /// The workflow answers the update that a step took.
    Reply {
        step: StepId,
    },
    /// An update that no step has taken.
    Update {
        name: Arc<str>,
    },
    /// A signal that no step has taken.
    Signal {
        name: Arc<str>,
        from: Option<RunId>,
    },
    /// The run was asked to cancel.
    Cancel {
        reason: Arc<str>,
        /// From then to the moment at which the host ends the run, where somebody said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_ms: Option<u64>,
    },
    /// The workflow asked whether it may do as its newer code does, and may.
    Patch {
        patch: Arc<str>,
    },
    /// The workflow, or the attempt above it, told something to those who follow the run; the input is what.
    Event {
        name: Arc<str>,
    },
    /// Something that an attempt was at, as one: an agent, or a tool. Its effects hang below it, and so do further
    /// spans. One that never ended in its attempt is `aborted`.
    Span {
        kind: SpanKind,
        name: Arc<str>,
    },
    /// Somebody moved the run to other code, which does all that was on record.
    Move {
        deployment: Arc<str>,
        component: Digest,
    },
    /// The workflow began anew in the same run; its input is what it was given.
    Continue,
    /// Somebody held the run, from the row's start to its end.
    Pause {
        reason: Arc<str>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    #[serde(rename = "time_us")]
    pub time: Timestamp,
    pub worker: Option<Arc<str>>,
    pub position: Position,
}

/// One HTTP exchange. What stands beside the journal and was not brought is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Http {
    pub method: Option<String>,
    pub url: Option<String>,
    pub status: Option<u16>,
    /// Each try but the last.
    pub tries: Vec<Try>,
    pub idempotency_key: Option<Arc<str>>,
    /// How often the host died while the answer was open. Each time the request may have been sent
    /// once more, with the same key.
    pub interrupted: u32,
}

/// One call of a model. What was used is there once it was answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// As the function asked for it: provider and model.
    pub model: Arc<str>,
    /// The model that answered, as its provider calls it.
    pub answered_by: Option<Arc<str>>,
    pub finish: Option<Finish>,
    pub usage: Option<Usage>,
    /// Absent where nobody knows the price.
    pub cost_nanousd: Option<u64>,
    /// Each try but the last.
    pub tries: Vec<Try>,
    /// From which texts of the component its messages were made, as the guest says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptUsed>,
    pub idempotency_key: Option<Arc<str>>,
    /// As of HTTP.
    pub interrupted: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptUsed {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Try {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStatus {
    /// Asked for, not begun.
    Queued,
    Running,
    /// For something that somebody else does.
    Waiting,
    /// An attempt failed; the next one has not begun.
    Retrying,
    /// It waits for a person to say how it goes on.
    Parked,
    Succeeded,
    Failed,
    Cancelled,
    /// The workflow does not want the answer any more.
    Forgotten,
    /// What it belonged to ended first.
    Aborted,
}

/// A value as a trace shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// Exactly the text of the journal.
    Json(Box<RawValue>),
    /// Beside the journal.
    Payload { digest: Digest, size_bytes: u64 },
}

/// From a claim on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    pub worker: Arc<str>,
    pub epoch: Epoch,
    #[serde(rename = "claimed_us")]
    pub claimed: Timestamp,
    pub position: Position,
    /// The owner before was another process: this claim followed a crash or a stop.
    pub restart: bool,
    /// Steps that had their answer already: none of them is done again.
    pub steps_recalled: u32,
    /// Answered effects of attempts that go on: none of them is done again.
    pub effects_recalled: u32,
    /// Requests without an answer: only these may be done twice.
    pub effects_open: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub entries: u64,
    pub steps: u32,
    pub steps_succeeded: u32,
    pub steps_failed: u32,
    pub steps_cancelled: u32,
    pub steps_forgotten: u32,
    pub steps_open: u32,
    pub attempts: u32,
    pub attempts_failed: u32,
    pub attempts_resumed: u32,
    pub effects: u32,
    pub effects_answered: u32,
    pub effects_interrupted: u32,
    pub restarts: u32,
    /// Of the run itself: what it keeps of another run was paid for there.
    #[serde(default)]
    pub spending: Spending,
}

/// What one activation found done, and what it found open.
#[derive(Debug, Clone, Default)]
pub struct Recalled<'a> {
    /// Steps that had their answer.
    pub steps: Vec<&'a Row>,
    /// Effects that had their answer, in attempts that were still going.
    pub effects: Vec<&'a Row>,
    /// Requests whose answer was open.
    pub open: Vec<&'a Row>,
}

impl Trace {
    /// What was not repeated after the claim of `activation`, and what may have been.
    pub fn recalled(&self, activation: &Activation) -> Recalled<'_> {
        let claim = activation.position;
        let before = |position: Option<Position>| position.is_some_and(|position| position < claim);
        let mut recalled = Recalled::default();
        // Parents stand before their children, so the attempt of an effect is the last one seen.
        let mut attempt_goes_on = false;
        for row in &self.rows {
            let began_before = before(row.positions.first().copied());
            match (&row.what, &row.parent) {
                (
                    What::Call { .. }
                    | What::Sleep { .. }
                    | What::Run { .. }
                    | What::Receive { .. }
                    | What::Question { .. }
                    | What::Promise { .. }
                    | What::Entity { .. }
                    | What::Accept { .. },
                    None,
                ) if before(row.closed) => recalled.steps.push(row),
                (What::Attempt { .. }, _) => attempt_goes_on = began_before && !before(row.closed),
                (What::Http(_) | What::Model(_) | What::Sleep { .. } | What::Question { .. }, Some(_))
                    if attempt_goes_on && before(row.closed) =>
                {
                    recalled.effects.push(row);
                }
                (What::Http(_) | What::Model(_), Some(_)) if attempt_goes_on && began_before => recalled.open.push(row),
                (
                    What::Call { .. }
                    | What::Sleep { .. }
                    | What::Run { .. }
                    | What::Receive { .. }
                    | What::Question { .. }
                    | What::Promise { .. }
                    | What::Entity { .. }
                    | What::Accept { .. }
                    | What::Publish { .. }
                    | What::Reply { .. }
                    | What::Update { .. }
                    | What::Http(_)
                    | What::Model(_)
                    | What::Signal { .. }
                    | What::Cancel { .. }
                    | What::Patch { .. }
                    | What::Event { .. }
                    | What::Span { .. }
                    | What::Move { .. }
                    | What::Continue
                    | What::Pause { .. },
                    _,
                ) => {}
            }
        }
        recalled
    }

    /// The rows of one step: itself, its attempts and their effects.
    pub fn step(&self, step: StepId) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.step() == Some(step))
    }
}

impl Row {
    /// The step that the row is or belongs to.
    pub fn step(&self) -> Option<StepId> {
        self.id.split('.').next()?.parse().ok().map(StepId)
    }

    /// 0 for a step, 1 for an attempt, 2 for an effect or a span.
    pub fn depth(&self) -> usize {
        self.id.bytes().filter(|byte| *byte == b'.').count()
    }

    /// What it is, in few words.
    pub fn title(&self) -> String {
        match &self.what {
            What::Call { function, .. } => function.to_string(),
            What::Sleep { duration_ms, .. } => format!("sleep {duration_ms} ms"),
            What::Run { workflow, .. } => format!("run {workflow}"),
            What::Attempt { number, .. } => format!("attempt {number}"),
            What::Http(http) => {
                let method = http.method.as_deref().unwrap_or("HTTP");
                format!("{method} {}", http.url.as_deref().unwrap_or("(request beside the journal)"))
            }
            What::Model(model) => format!("model {}", model.model),
            What::Receive { signal, .. } => format!("signal {signal}"),
            What::Question { title, .. } => format!("question: {title}"),
            What::Promise { name, .. } => format!("promise {name}"),
            What::Entity { verb, entity, key } => format!("{} {entity}/{key}", verb.word()),
            What::Accept { update } => format!("update {update}"),
            What::Publish { key } => format!("publish {key}"),
            What::Reply { step } => format!("reply to the update of {step}"),
            What::Update { name } => format!("update {name}, not taken"),
            What::Signal { name, .. } => format!("signal {name}, not taken"),
            What::Cancel { .. } => "cancel".to_owned(),
            What::Continue => "continued".to_owned(),
            What::Move { deployment, .. } => format!("moved to {deployment}"),
            What::Patch { patch } => format!("patched {patch}"),
            What::Event { name } => format!("event {name}"),
            What::Span { kind, name } => format!("{} {name}", kind.word()),
            What::Pause { .. } => "pause".to_owned(),
        }
    }
}

impl RowStatus {
    pub fn name(self) -> &'static str {
        match self {
            RowStatus::Queued => "queued",
            RowStatus::Running => "running",
            RowStatus::Waiting => "waiting",
            RowStatus::Retrying => "retrying",
            RowStatus::Parked => "parked",
            RowStatus::Succeeded => "succeeded",
            RowStatus::Failed => "failed",
            RowStatus::Cancelled => "cancelled",
            RowStatus::Forgotten => "forgotten",
            RowStatus::Aborted => "aborted",
        }
    }

    pub fn has_ended(self) -> bool {
        !matches!(
            self,
            RowStatus::Queued | RowStatus::Running | RowStatus::Waiting | RowStatus::Retrying | RowStatus::Parked
        )
    }
}

impl Shown {
    pub fn of(value: &Value) -> Shown {
        match value {
            Value::Inline(text) => Shown::Json(raw(text)),
            Value::Stored { digest, size_bytes } => Shown::Payload { digest: *digest, size_bytes: *size_bytes },
        }
    }
}

/// Text that is not JSON is shown as a JSON string, so that a trace is always valid JSON.
fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned())
        .or_else(|_| serde_json::value::to_raw_value(text))
        .expect("a string can always be written as JSON")
}

impl PartialEq for Shown {
    fn eq(&self, other: &Shown) -> bool {
        match (self, other) {
            (Shown::Json(mine), Shown::Json(theirs)) => mine.get() == theirs.get(),
            (
                Shown::Payload { digest, size_bytes },
                Shown::Payload { digest: other_digest, size_bytes: other_size },
            ) => digest == other_digest && size_bytes == other_size,
            (Shown::Json(_), Shown::Payload { .. }) | (Shown::Payload { .. }, Shown::Json(_)) => false,
        }
    }
}
