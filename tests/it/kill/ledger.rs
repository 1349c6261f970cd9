//! What the test did and saw while it was killing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trackway::api::model;
use trackway_replay::RunId;

/// An answer that the world gave so long before is in the host's hands: both are on this machine.
pub const TAKEN_IN_AFTER: Duration = Duration::from_millis(20);

/// When to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    EffectOpen,
    FrameUnflushed,
    Recall,
    Any,
}

#[derive(Debug)]
pub struct Kill {
    /// Of the process that was killed. Each has its own, higher than the one before.
    pub epoch: u64,
    pub at: Instant,
    /// How many requests the world had got by then.
    pub asked: usize,
    /// The run that was still being recalled, as far as one knows from outside.
    pub recalling: Option<RunId>,
}

/// What a run is to do, and so how it must end.
#[derive(Debug, Clone)]
pub enum Work {
    Orders { buyer: String, batches: u64, orders: u64 },
    Headlines,
}

/// A run as it was seen last.
#[derive(Debug)]
pub struct Seen {
    pub work: Work,
    pub run: model::Run,
    pub journal: Vec<model::Entry>,
    /// Known of runs that have ended.
    pub replays_identical: Option<bool>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub kills: Vec<Kill>,
    pub runs: BTreeMap<RunId, Work>,
    /// What the server had said of a run, the last time before a kill.
    pub said: BTreeMap<RunId, Vec<model::Entry>>,
    pub seen: BTreeMap<RunId, Seen>,
    /// What `headlines` answers when nobody is killed.
    pub headlines: Option<String>,
}

impl Ledger {
    pub fn started(&mut self, run: RunId, work: Work) {
        self.runs.insert(run, work);
    }

    pub fn acknowledged(&mut self, run: RunId, entries: Vec<model::Entry>) {
        self.said.insert(run, entries);
    }

    pub fn seen(&mut self, seen: Seen) {
        self.seen.insert(seen.run.id, seen);
    }
}
