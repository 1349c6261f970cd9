//! What functions tell right now and nobody keeps: the last of it, in memory, for those who follow a run. Telling
//! never waits for a reader; whoever is slow or comes late learns that something is missing. It never
//! decides what may be seen: that is for whoever knows what is durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use trackway_replay::{Position, StepId};
use trackway_storage::RunKey;

/// Of one run: some minutes of what a model says.
const RUN_MAX_BYTES: usize = 1 << 20;
/// Of all runs together; those that told nothing for the longest time make room.
const ALL_MAX_BYTES: usize = 64 << 20;
/// What one takes beside its text.
const DELTA_OVERHEAD_BYTES: usize = 160;

/// A piece of what a function is about to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    pub step: StepId,
    pub attempt: u32,
    /// In its attempt, from 1.
    pub number: u32,
    /// How many entries the journal had when it was told: not to be seen before those are durable.
    pub cause: Position,
    pub name: Arc<str>,
    /// JSON text.
    pub data: Arc<str>,
}

/// With its place among all that this process was told.
pub type Placed = (u64, Arc<Delta>);

/// What somebody gets who asks for what came after a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct After {
    pub deltas: Vec<Placed>,
    /// Something between is gone.
    pub is_missing: bool,
}

#[derive(Default)]
pub struct Deltas {
    hub: Mutex<Hub>,
}

#[derive(Default)]
struct Hub {
    runs: BTreeMap<RunKey, Told>,
    size_bytes: usize,
    /// The place that was given last.
    last: u64,
    /// Runs by the place of what they told last.
    order: BTreeMap<u64, RunKey>,
    /// What runs told up to here that are not held at all may be gone.
    gone: u64,
    watched: BTreeMap<RunKey, Watched>,
}

#[derive(Default)]
struct Told {
    held: VecDeque<Placed>,
    size_bytes: usize,
    newest: u64,
    /// The last place that made room.
    gone: u64,
}

struct Watched {
    by: usize,
    news: Arc<Notify>,
}

impl Delta {
    fn size_bytes(&self) -> usize {
        self.name.len() + self.data.len() + DELTA_OVERHEAD_BYTES
    }
}

impl Deltas {
    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tell(&self, run: RunKey, delta: Delta) {
        let mut hub = self.lock();
        hub.tell(run, delta);
        if let Some(watched) = hub.watched.get(&run) {
            watched.news.notify_waiters();
        }
    }

    /// What was told after the entries up to `durable`, which are all that this process got to write, belongs to
    /// a history that nobody sees.
    pub fn cut(&self, run: RunKey, durable: Position) {
        self.lock().cut(run, durable);
    }

    /// What `run` told after the place `seen`, up to `count` pieces whose cause is within.
    pub fn after(&self, run: RunKey, seen: u64, (from, to): (Position, Position), count: usize) -> After {
        let hub = self.lock();
        let Some(told) = hub.runs.get(&run) else {
            return After { deltas: Vec::new(), is_missing: false };
        };
        let begin = told.held.partition_point(|(place, _)| *place <= seen);
        let within = told.held.iter().skip(begin).filter(|(_, delta)| (from..=to).contains(&delta.cause));
        After { deltas: within.take(count).cloned().collect(), is_missing: seen < told.gone }
    }

    /// To be told of what a run tells.
    pub fn watch(self: &Arc<Self>, run: RunKey) -> Watch {
        let mut hub = self.lock();
        let watched = hub.watched.entry(run).or_insert_with(|| Watched { by: 0, news: Arc::default() });
        watched.by += 1;
        Watch { deltas: Arc::clone(self), run, news: watched.news.clone() }
    }
}

impl Hub {
    fn tell(&mut self, run: RunKey, delta: Delta) {
        self.last += 1;
        let place = self.last;
        let gone = self.gone;
        let told = self.runs.entry(run).or_insert_with(|| Told { gone, ..Told::default() });
        self.order.remove(&told.newest);
        self.order.insert(place, run);
        told.newest = place;
        told.size_bytes += delta.size_bytes();
        self.size_bytes += delta.size_bytes();
        told.held.push_back((place, Arc::new(delta)));
        while told.size_bytes > RUN_MAX_BYTES
            && let Some((place, delta)) = told.held.pop_front()
        {
            told.gone = place;
            told.size_bytes -= delta.size_bytes();
            self.size_bytes -= delta.size_bytes();
        }
        while self.size_bytes > ALL_MAX_BYTES
            && let Some((newest, run)) = self.order.pop_first()
        {
            self.gone = newest;
            self.size_bytes -= self.runs.remove(&run).map_or(0, |told| told.size_bytes);
        }
    }

    fn cut(&mut self, run: RunKey, durable: Position) {
        let Some(told) = self.runs.get_mut(&run) else { return };
        let before = told.size_bytes;
        told.held.retain(|(_, delta)| delta.cause <= durable);
        told.size_bytes = told.held.iter().map(|(_, delta)| delta.size_bytes()).sum();
        self.size_bytes -= before - told.size_bytes;
    }
}

/// Somebody follows a run.
pub struct Watch {
    deltas: Arc<Deltas>,
    run: RunKey,
    news: Arc<Notify>,
}

impl Watch {
    /// Resolves after what is told from this call on.
    pub fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }

    pub fn after(&self, seen: u64, within: (Position, Position), count: usize) -> After {
        self.deltas.after(self.run, seen, within, count)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut hub = self.deltas.lock();
        if let Some(watched) = hub.watched.get_mut(&self.run) {
            watched.by -= 1;
            if watched.by == 0 {
                hub.watched.remove(&self.run);
            }
        }
    }
}

#[cfg(test)]
mod tests;
