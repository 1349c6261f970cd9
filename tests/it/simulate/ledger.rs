//! What happened in a simulation and what was promised in it: the history in order, and what the
//! verdict is given by. It must never change what happens.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use trackway_replay::{
    Digest, Entry, Epoch, FrameId, MessageId, Position, QuestionName, RunId, Status, StepId, Timestamp,
};
use trackway_storage::{LogKey, LogLine, RunKey, StoredFrame};

use super::listener::Heard;

/// What a simulation holds the host to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Positions are contiguous, epochs and times never go back, each entry makes sense.
    OneOrder,
    OneOwnerPerEpoch,
    /// What was said to be durable is there.
    Acknowledged,
    /// What was refused for good did not happen.
    Refused,
    /// No effect begins before its cause is durable.
    CauseFirst,
    /// Nothing is done again after its answer was durable.
    NotTwice,
    /// Nobody saw what the final journal does not hold.
    NothingLeaks,
    /// Every journal replays to itself.
    Replays,
    /// Every run ends.
    Ends,
    /// A run without races ends as an undisturbed one.
    SameEnd,
    /// What came in time counts before the timer; no timer is early.
    InTime,
    /// What a run tells and keeps is heard once each, in order and without a gap, over lost connections too.
    Heard,
    /// A run that is started anew from a step keeps all that was before it, and nothing else.
    Restarted,
    /// Nothing is left of a removed run, and nothing else is gone.
    Removed,
    /// A run that somebody holds begins nothing and is given nothing.
    Held,
    /// Attempts are told what those before them said last.
    Progress,
    /// What calls of models took is on record once each, as their answers say, and sums of it are right.
    Spent,
    /// What an attempt does stands in its trace within what it was at then.
    Nested,
    /// A question of a function has one answer, the one that somebody was told counts.
    Answered,
    /// Heads, payloads and inbox fit the journal.
    RowsFit,
}

#[derive(Debug, Clone)]
pub struct Broken {
    pub promise: Promise,
    pub what: String,
}

/// A start, and what its client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Started(RunId),
    RefusedForGood,
}

#[derive(Debug, Clone)]
pub struct Cancelled {
    pub run: RunKey,
    pub message: MessageId,
    pub arrived: Timestamp,
    pub acknowledged: Duration,
}

/// All of a run that has ended.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    pub frames: Vec<StoredFrame>,
    pub payloads: BTreeMap<Digest, Bytes>,
    pub lines: Vec<LogLine>,
}

/// A run that was started anew, and the new one.
#[derive(Debug, Clone)]
pub struct Restarted {
    pub from: RunKey,
    /// Everything before it is kept.
    pub step: Option<StepId>,
    pub run: RunKey,
}

/// A frame that a worker was told is durable.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    pub run: RunKey,
    pub position: Position,
    pub id: FrameId,
    pub process: Epoch,
}

#[derive(Default)]
pub struct Records {
    pub history: Vec<String>,
    pub broken: Vec<Broken>,
    /// By the tag of the plan.
    pub starts: BTreeMap<String, Vec<Told>>,
    /// What somebody asked to be removed, as it stood before.
    pub removing: BTreeMap<RunKey, Archive>,
    /// What somebody was told is removed.
    pub removed: BTreeSet<RunKey>,
    pub restarted: Vec<Restarted>,
    pub cancels: Vec<Cancelled>,
    /// Signals of which somebody was told that they arrived.
    pub signals: Vec<(RunKey, MessageId)>,
    /// Updates of which somebody got the answer.
    pub replied: Vec<(RunKey, MessageId)>,
    /// Questions of functions, and who was told that their answer counts.
    pub answers: Vec<(RunKey, QuestionName, String)>,
    /// Promises of which somebody was told that they are settled.
    pub settled: Vec<(RunKey, StepId)>,
    /// Steps that waited for a person since that entry, of which somebody was told that they are tried again.
    pub retried: Vec<(RunKey, StepId, Position)>,
    /// What was heard by those who followed what runs tell.
    pub heard: Vec<(RunKey, Heard)>,
    pub frames: Vec<Acknowledged>,
    /// Entries that clients read, by their place.
    pub seen: BTreeMap<(RunKey, Position), Entry>,
    /// What clients read of what runs publish, by the place where it stands.
    pub states_seen: BTreeSet<(RunKey, Position, Arc<str>)>,
    /// Log lines that clients read.
    pub lines_seen: BTreeMap<(RunKey, LogKey), Arc<str>>,
    /// Tokens in the traces that clients read.
    pub shown: BTreeSet<(RunKey, String)>,
    /// Ends that clients read.
    pub ends_seen: BTreeMap<RunKey, Status>,
    /// When everything began to go well.
    pub calm_since: Option<Duration>,
}

pub struct Ledger {
    begun: Instant,
    records: Mutex<Records>,
}

impl Ledger {
    pub fn new() -> Ledger {
        Ledger { begun: Instant::now(), records: Mutex::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run may be gone because somebody asked for that.
    pub fn is_removing(&self, run: RunKey) -> bool {
        self.lock().removing.contains_key(&run)
    }

    /// Virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn note(&self, line: impl AsRef<str>) {
        let line = format!("{:>10.3} {}", self.now().as_secs_f64() * 1e3, line.as_ref());
        self.lock().history.push(line);
    }

    pub fn broken(&self, promise: Promise, what: String) {
        self.note(format!("BROKEN {promise:?}: {what}"));
        self.lock().broken.push(Broken { promise, what });
    }

    /// Of the whole history: equal histories have equal digests.
    pub fn digest(&self) -> Digest {
        let records = self.lock();
        Digest::of(records.history.join("\n").as_bytes())
    }
}
