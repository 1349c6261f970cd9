//! What a list of runs shows of each: the run's state, folded from its entries.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{Digest, End, Failure, RunId, Spending, Timestamp};

/// The state of a run, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Started, not claimed yet.
    Queued,
    Running,
    /// Nothing to do before a timer of the workflow is due.
    Sleeping,
    /// Nothing to do before something else happens; [`Head::waiting`] says what.
    Waiting,
    /// The journal and the code do not agree, or recalling it failed again and again. Nothing is lost.
    Stuck,
    Succeeded,
    Failed,
    Cancelled,
    /// Somebody holds it: nothing happens before it is resumed.
    Paused,
}

/// For what a waiting run waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Waiting {
    /// For the next attempt of a function.
    Retry,
    /// For the end of a run that it started.
    Child,
    /// For a signal.
    Signal,
    /// For a person to answer a question.
    Person,
    /// For somebody to settle a promise.
    Promise,
    /// For an update.
    Update,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub run: RunId,
    pub workflow: Arc<str>,
    pub deployment: Arc<str>,
    pub component: Digest,
    pub status: Status,
    pub waiting: Option<Waiting>,
    /// When it goes on by itself, where it sleeps or waits for a retry.
    pub due: Option<Timestamp>,
    pub started: Timestamp,
    /// Time of the entry that changed the status last.
    pub changed: Timestamp,
    pub finished: Option<Timestamp>,
    /// Code of the failure, or of what it is stuck on.
    pub code: Option<Arc<str>>,
    /// One line for people beside the code.
    pub message: Option<Arc<str>>,
    /// Steps asked for so far.
    pub steps: u32,
    /// The lowest frame format that can read the run.
    pub format: u8,
    /// The lowest rules version that can replay it.
    pub rules: u32,
    /// Since the run began, and by itself: what a restarted run keeps of another one was paid for there.
    #[serde(deserialize_with = "Spending::or_nothing")]
    pub spending: Spending,
}

impl Head {
    /// The head of a run that was ended from outside at `time`, where its journal cannot be folded.
    pub fn ended(self, end: &End, time: Timestamp) -> Head {
        let (status, code, message) = told(end);
        let finished = Some(time);
        Head { status, waiting: None, due: None, changed: time, finished, code, message, ..self }
    }
}

/// Status, code and the line for people of a run that has ended.
pub(crate) fn told(end: &End) -> (Status, Option<Arc<str>>, Option<Arc<str>>) {
    match end {
        End::Succeeded(_) => (Status::Succeeded, None, None),
        End::Failed(failure) => {
            let failure = Failure::from_value(failure);
            (Status::Failed, Some(failure.code.into()), Some(failure.message.into()))
        }
        End::Cancelled { reason } => (Status::Cancelled, None, Some(reason.clone())),
        End::Terminated { reason } => (Status::Cancelled, Some(TERMINATED.into()), Some(reason.clone())),
    }
}

/// Tells in a list a run that was ended at once from one whose workflow was asked.
const TERMINATED: &str = "TERMINATED";

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Sleeping => "sleeping",
            Status::Waiting => "waiting",
            Status::Stuck => "stuck",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Paused => "paused",
        }
    }

    pub fn has_ended(self) -> bool {
        matches!(self, Status::Succeeded | Status::Failed | Status::Cancelled)
    }
}
