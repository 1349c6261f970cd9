//! The rows beside the journals.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trackway_replay::{
    Digest, EffectId, EffectVerdict, Epoch, MessageId, Outcome, Position, QuestionId, RunId, StepId, Timestamp, Value,
    With,
};

use crate::{INBOX_MAX, INBOX_WORDS_MAX};

/// What somebody else has for a run, before the run's owner writes it into the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxItem {
    pub message: MessageId,
    pub arrived: Timestamp,
    pub body: InboxBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InboxBody {
    Cancel {
        reason: Arc<str>,
    },
    /// End the run at once, whatever it does and without asking it.
    Terminate {
        reason: Arc<str>,
    },
    /// Begin nothing and deliver nothing until further notice.
    Pause {
        reason: Arc<str>,
    },
    Resume,
    /// A run that a step of this one had started has ended.
    ChildEnded {
        step: StepId,
        run: RunId,
    },
    /// A person's word on a step that waits for one, or for its next attempt.
    Retry {
        step: StepId,
        with: Option<With>,
        verdict: Option<EffectVerdict>,
    },
    /// `from`: the run that sent it, if a run did. A large payload was put before.
    Signal {
        name: Arc<str>,
        payload: Value,
        from: Option<RunId>,
    },
    /// The answer to a question of the run; `request` names who asked for it to be taken.
    Answer {
        step: StepId,
        request: MessageId,
        answer: Value,
        by: Option<Arc<str>>,
    },
    /// What a promise of the run is settled with; `request` names who asked for it. A large value was put before.
    Promise {
        step: StepId,
        request: MessageId,
        outcome: Outcome,
    },
    /// Go on with other code, if it does all that is on record. `epoch`: of the process that asked, having
    /// seen that it does.
    Move {
        deployment: Arc<str>,
        component: Digest,
        epoch: Epoch,
    },
    /// A request to the workflow, which answers it. A large payload was put before.
    Update {
        name: Arc<str>,
        payload: Value,
    },
    /// As `Cancel`; the host ends the run so long after its first cancel.
    CancelWithin {
        reason: Arc<str>,
        grace_ms: u64,
    },
    /// As `Update`; from `due` on it is too late to take it.
    UpdateWithin {
        name: Arc<str>,
        payload: Value,
        due: Timestamp,
    },
    /// As `Answer`, to a question that an attempt of the step asks as that effect.
    AnswerInAttempt {
        step: StepId,
        attempt: u32,
        effect: EffectId,
        request: MessageId,
        answer: Value,
        by: Option<Arc<str>>,
    },
}

/// With what an item shares the room of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Messages,
    Words,
    /// What the run itself asked for: as much as it asked for.
    Own,
}

/// Who puts an item into an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Outside,
    /// It stands with a frame, so it cannot be refused.
    Frame,
}

impl Share {
    /// Whether one more item of it has room beside those.
    pub fn has_room(self, sender: Sender, waiting: impl Iterator<Item = Share>) -> bool {
        let max = match (sender, self) {
            (Sender::Outside, Share::Messages) => INBOX_MAX,
            (Sender::Outside, Share::Words) => INBOX_WORDS_MAX,
            (Sender::Frame, _) | (_, Share::Own) => return true,
        };
        waiting.filter(|share| *share == self).count() < max
    }
}

impl InboxBody {
    pub(crate) fn share(&self) -> Share {
        match self {
            InboxBody::Signal { .. }
            | InboxBody::Update { .. }
            | InboxBody::UpdateWithin { .. }
            | InboxBody::Answer { .. }
            | InboxBody::AnswerInAttempt { .. }
            | InboxBody::Promise { .. } => Share::Messages,
            InboxBody::Cancel { .. }
            | InboxBody::CancelWithin { .. }
            | InboxBody::Terminate { .. }
            | InboxBody::Pause { .. }
            | InboxBody::Resume
            | InboxBody::Retry { .. }
            | InboxBody::Move { .. } => Share::Words,
            InboxBody::ChildEnded { .. } => Share::Own,
        }
    }

    /// Whether it counts to [`INBOX_MAX`].
    pub fn is_message(&self) -> bool {
        self.share() == Share::Messages
    }

    /// What it brings, if it brings a value.
    pub fn value(&self) -> Option<&Value> {
        match self {
            InboxBody::Signal { payload, .. }
            | InboxBody::Update { payload, .. }
            | InboxBody::UpdateWithin { payload, .. } => Some(payload),
            InboxBody::Answer { answer, .. } | InboxBody::AnswerInAttempt { answer, .. } => Some(answer),
            InboxBody::Promise { outcome: Outcome::Succeeded(value) | Outcome::Failed(value), .. } => Some(value),
            InboxBody::Cancel { .. }
            | InboxBody::CancelWithin { .. }
            | InboxBody::Terminate { .. }
            | InboxBody::Pause { .. }
            | InboxBody::Resume
            | InboxBody::ChildEnded { .. }
            | InboxBody::Retry { .. }
            | InboxBody::Move { .. } => None,
        }
    }

    /// By what a message that is sent again under its id is told from another one, where that matters. Of the
    /// other kinds the first one counts, whatever the second one says.
    pub fn identity(&self) -> Option<Digest> {
        let (kind, name, payload) = match self {
            InboxBody::Signal { name, payload, .. } => (b"signal".as_slice(), name, payload),
            InboxBody::Update { name, payload } | InboxBody::UpdateWithin { name, payload, .. } => {
                (b"update".as_slice(), name, payload)
            }
            InboxBody::Cancel { .. }
            | InboxBody::CancelWithin { .. }
            | InboxBody::Terminate { .. }
            | InboxBody::Pause { .. }
            | InboxBody::Resume
            | InboxBody::ChildEnded { .. }
            | InboxBody::Retry { .. }
            | InboxBody::Answer { .. }
            | InboxBody::AnswerInAttempt { .. }
            | InboxBody::Promise { .. }
            | InboxBody::Move { .. } => return None,
        };
        let payload = match payload {
            Value::Inline(text) => Digest::of(text.as_bytes()),
            Value::Stored { digest, .. } => *digest,
        };
        Some(Digest::of_parts(&[kind, name.as_bytes(), &payload.0]))
    }
}

/// A place in a journal that is found by its name, also when the run is not in hand or has ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Landmark {
    /// What the run published last under that key.
    State(Arc<str>),
    /// Its answer to that update.
    Reply(MessageId),
    /// Up to here, and here too, what the run used stands in the sums of its tenant. Nothing in the journal says so.
    Metered,
}

/// A question of a run that nobody has answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenQuestion {
    pub run: RunId,
    pub question: QuestionId,
    /// Of the entry that asks it.
    pub asked: Position,
}

/// Where in a run a log line stands: the same place on every replay, so a line is stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogKey {
    /// Of a workflow: how many commands came before. Of a function: the number of its step.
    pub step: u32,
    /// 0 for the workflow itself.
    pub attempt: u32,
    /// Effects of the attempt before it; 0 for the workflow itself.
    pub effect: u32,
    /// How many lines since.
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub key: LogKey,
    pub time: Timestamp,
    pub level: Arc<str>,
    pub message: Arc<str>,
    /// A JSON object, or empty.
    pub fields: Arc<str>,
}

/// The idempotency key under which a run was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartKey {
    pub key: Arc<str>,
    pub run: RunId,
    /// Of the whole start request: the same key with another request is a conflict.
    pub request: Digest,
}

/// What is known of a component beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRecord {
    pub digest: Digest,
    pub size_bytes: u64,
    pub uploaded: Timestamp,
    /// JSON, as `describe` returned it.
    pub manifest: Arc<str>,
    /// It imports nothing but `step`.
    pub pure: bool,
}

/// A named pointer of a tenant to a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub name: Arc<str>,
    /// Grows by one with each write.
    pub revision: u64,
    /// The version that new runs use.
    pub current: u32,
    /// Every component that the name has pointed to, numbered from 1.
    pub versions: Vec<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub version: u32,
    pub component: Digest,
    pub deployed: Timestamp,
    /// What its functions may reach: patterns of hosts and of models, as the host writes both in one list.
    pub allow: Vec<Arc<str>>,
}
