//! What stands in the store in memory, past all faults: for those who judge a simulation. It changes nothing
//! but by [`MemoryStorage::crash_back_to`].

use bytes::Bytes;
use std::collections::BTreeMap;
use trackway_replay::{Digest, Head, Position};

use super::MemoryStorage;
use super::state::State;
use crate::{InboxItem, LogLine, RunKey, StoredFrame};

/// What the store held at some moment. See [`MemoryStorage::crash_back_to`].
#[derive(Clone)]
pub struct Snapshot(State);

impl MemoryStorage {
    /// Remembers what the store holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.shared.lock().state.clone())
    }

    /// All processes end, and the store holds again what it held at `snapshot`: what a disk does that
    /// said that it had synced and had not.
    pub fn crash_back_to(&self, snapshot: Snapshot) {
        let mut inner = self.shared.lock();
        inner.late.clear();
        inner.in_flight.clear();
        inner.doors.close_all();
        inner.state = snapshot.0;
        drop(inner);
        self.shared.watches.all();
    }

    /// What stands now, past all faults: for those who judge.
    pub fn standing(&self, run: RunKey) -> Vec<StoredFrame> {
        self.shared.lock().state.frames(run, Position::FIRST, usize::MAX)
    }

    /// The head that stands now.
    pub fn standing_head(&self, run: RunKey) -> Option<Head> {
        self.shared.lock().state.runs.get(&run).and_then(|run| run.head.clone())
    }

    /// The items that nobody has read yet.
    pub fn standing_inbox(&self, run: RunKey) -> Vec<InboxItem> {
        self.shared.lock().state.runs.get(&run).map_or_else(Vec::new, |run| run.inbox.to_vec())
    }

    /// What stands beside the journal of a run.
    pub fn standing_payloads(&self, run: RunKey) -> BTreeMap<Digest, Bytes> {
        let inner = self.shared.lock();
        let of_run = inner.state.payloads.iter().filter(|((of, _), _)| *of == run);
        of_run.map(|((_, digest), bytes)| (*digest, bytes.clone())).collect()
    }

    pub fn standing_logs(&self, run: RunKey) -> Vec<LogLine> {
        let inner = self.shared.lock();
        inner.state.runs.get(&run).map_or_else(Vec::new, |run| run.logs.values().cloned().collect())
    }

    /// Every run that stands now.
    pub fn standing_runs(&self) -> Vec<RunKey> {
        self.shared.lock().state.runs.keys().copied().collect()
    }

    /// Whether no other process has opened the store since.
    pub fn is_newest(&self) -> bool {
        self.shared.lock().doors.is_newest(self.epoch)
    }
}
