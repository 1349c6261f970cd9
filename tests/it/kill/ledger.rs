//! What the test did and saw while it was killing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use trackway::api::model;
use trackway_replay::{RunId, Status};

use crate::server::Server;

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
    Orders {
        buyer: String,
        batches: u64,
        orders: u64,
    },
    Headlines,
    /// Nothing outside: the end is known before.
    Alone(Ending),
    /// It was to be cancelled while it slept.
    Napping(Cancel),
}

#[derive(Debug, Clone)]
pub enum Ending {
    /// With this output.
    Succeeds(String),
    /// With this code.
    Fails(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    Acknowledged,
    /// Nobody knows whether the host got it.
    Unknown,
}

/// A run that had ended was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, and stays so.
    Acknowledged,
    /// Nobody knows whether the host got it: it is gone, or stands as it was.
    Unknown,
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
    pub removals: BTreeMap<RunId, Removal>,
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

    /// Whether nothing of it is there, as somebody wanted it.
    pub fn is_removed(&self, run: RunId) -> bool {
        self.removals.contains_key(&run) && !self.seen.contains_key(&run)
    }

    /// Of what nobody was told, the host that came next says what became of it, and it stays so.
    pub fn settle_removals(&mut self) {
        let seen = &self.seen;
        self.removals.retain(|run, removal| *removal == Removal::Acknowledged || !seen.contains_key(run));
        self.removals.values_mut().for_each(|removal| *removal = Removal::Acknowledged);
    }

    /// Waits until every run has ended or is stuck.
    pub async fn let_all_end(&self, server: &Server) {
        for run in self.runs.keys() {
            while let Some(found) = server.find(*run).await {
                if found.finished_at.is_some() || found.status == Status::Stuck {
                    break;
                }
                server.wait(*run).await;
            }
        }
    }

    /// Reads all runs that have not been seen at their end.
    pub async fn read_journals(&mut self, server: &Server) {
        for run in self.unsettled() {
            self.seen.remove(&run);
            let Some(found) = server.find(run).await else { continue };
            let journal = server.journal(run).await;
            let replays_identical = match found.status {
                Status::Succeeded | Status::Failed => Some(server.replay(run).await.identical),
                _ => None,
            };
            let work = self.runs[&run].clone();
            self.seen.insert(run, Seen { work, run: found, journal, replays_identical });
        }
    }

    /// Runs that have not been seen at their end.
    pub fn unsettled(&self) -> Vec<RunId> {
        let has_ended = |run: &RunId| self.seen.get(run).is_some_and(|seen| seen.run.finished_at.is_some());
        self.runs.keys().filter(|run| !has_ended(run)).copied().collect()
    }
}
