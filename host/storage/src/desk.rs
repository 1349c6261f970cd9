//! Which runs are ready and which are owned, in the memory of one process. Both stores keep their
//! claims here; the marks that survive a crash are theirs. It holds nothing for a parked run.
//!
//! A run whose timer is due is ready like any other. Of those that are ready, tenants have them claimed in turn, each its
//! own in the order in which they became so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use trackway_fair::{Queue, Weights};
use trackway_replay::{TenantId, Timestamp};

use crate::{Claims, RunKey, StorageError};

#[cfg(test)]
mod tests;

/// Timers that one claim reads: nobody is told anything meanwhile.
const TIMERS_READ_MAX: usize = 512;

pub(crate) struct Desk {
    state: Mutex<State>,
    weights: Weights,
    /// Counts what a claim could find.
    news: watch::Sender<u64>,
    /// The news that the last claim took in.
    claimed: AtomicU64,
}

#[derive(Default)]
struct State {
    /// May hold runs that are no longer in `queued`: they ended, or are owned.
    ready: Queue<TenantId, RunKey>,
    queued: BTreeSet<RunKey>,
    /// Timers up to this one were read when they were due. Whoever parks a run with an earlier one makes it ready.
    read: Option<(Timestamp, RunKey)>,
    owned: BTreeMap<RunKey, Inbox>,
    knocks: Vec<RunKey>,
    next_due: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inbox {
    Quiet,
    Knocked,
}

impl Desk {
    pub fn new(ready: impl IntoIterator<Item = RunKey>, weights: Weights) -> Desk {
        let mut state = State::default();
        ready.into_iter().for_each(|run| state.enqueue(run, &weights));
        // The first claim after an opening may always find something.
        Desk { state: Mutex::new(state), weights, news: watch::Sender::new(1), claimed: AtomicU64::new(0) }
    }

    /// A panic while the lock was held cannot leave a half-made change: every change is one insert.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    pub fn own(&self, run: RunKey) {
        let mut state = self.lock();
        state.queued.remove(&run);
        state.owned.entry(run).or_insert(Inbox::Quiet);
    }

    pub fn owns(&self, run: RunKey) -> bool {
        self.lock().owned.contains_key(&run)
    }

    /// Nothing more is to be claimed here; what is owned stays so.
    pub fn resign(&self) {
        let mut state = self.lock();
        state.ready.clear();
        state.queued.clear();
    }

    /// Nobody owns the run any more, and there is something to do.
    pub fn ready(&self, run: RunKey) {
        let mut state = self.lock();
        state.owned.remove(&run);
        state.enqueue(run, &self.weights);
        drop(state);
        self.tell();
    }

    /// Something is in the run's inbox.
    pub fn knock(&self, run: RunKey) {
        let mut state = self.lock();
        match state.owned.get_mut(&run) {
            Some(Inbox::Knocked) => return,
            Some(inbox) => {
                *inbox = Inbox::Knocked;
                state.knocks.push(run);
            }
            None => state.enqueue(run, &self.weights),
        }
        drop(state);
        self.tell();
    }

    pub fn park(&self, run: RunKey, due: Option<Timestamp>) {
        let mut state = self.lock();
        state.forget(run);
        // Its timer is behind those that are still to be read.
        if due.is_some_and(|due| state.read.is_some_and(|read| (due, run) <= read)) {
            state.enqueue(run, &self.weights);
            drop(state);
            self.tell();
            return;
        }
        let earlier = due.is_some_and(|due| state.next_due.is_none_or(|next| due < next));
        if earlier {
            state.next_due = due;
            drop(state);
            self.tell();
        }
    }

    /// Its owner can do nothing with it. What came since the claim may change that.
    pub fn stick(&self, run: RunKey, due: Option<Timestamp>) {
        if self.lock().owned.get(&run) == Some(&Inbox::Knocked) {
            self.ready(run);
        } else {
            self.park(run, due);
        }
    }

    pub fn end(&self, run: RunKey) {
        self.lock().forget(run);
    }

    /// Runs of `without` stay where they are. `timers` yields timers of runs behind a given one in the order of their due
    /// times, also of owned runs; it is read no further than the first that is not due.
    pub fn claim<T: Iterator<Item = Result<(Timestamp, RunKey), StorageError>>>(
        &self,
        now: Timestamp,
        max: usize,
        without: &[TenantId],
        timers: impl FnOnce(Option<(Timestamp, RunKey)>) -> T,
    ) -> Result<Claims, StorageError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let news = *self.news.borrow();
        let mut claims = Claims { knocks: std::mem::take(&mut state.knocks), ..Claims::default() };
        for run in &claims.knocks {
            if let Some(inbox) = state.owned.get_mut(run) {
                *inbox = Inbox::Quiet;
            }
        }
        claims.knocks.retain(|run| state.owned.contains_key(run));
        // Who asked for none left nothing over: another claim of none would find nothing more.
        // What is due is not for whoever takes none: it would ask again and again.
        if max == 0 {
            self.claimed.store(news, Ordering::Release);
            return Ok(claims);
        }
        let mut left_over = {
            let timers = timers(state.read);
            state.read_timers(now, timers, &self.weights)?
        };
        claims.next_due = state.next_due;
        let may = |tenant: &TenantId| !without.contains(tenant);
        loop {
            let Some(tenant) = state.ready.waiting().find(may) else { break };
            if claims.runs.len() == max {
                left_over = true;
                break;
            }
            let Some(run) = state.ready.pop_of(tenant, self.weights.of(tenant)) else { break };
            if state.queued.remove(&run) {
                state.owned.insert(run, Inbox::Quiet);
                claims.runs.push(run);
            }
        }
        self.claimed.store(if left_over { news.saturating_sub(1) } else { news }, Ordering::Release);
        Ok(claims)
    }

    pub async fn changed(&self) {
        let mut news = self.news.subscribe();
        while *news.borrow_and_update() <= self.claimed.load(Ordering::Acquire) {
            if news.changed().await.is_err() {
                return;
            }
        }
    }
}

impl State {
    fn enqueue(&mut self, run: RunKey, weights: &Weights) {
        if self.queued.insert(run) {
            self.ready.push(run.tenant, weights.of(run.tenant), 1, run);
        }
    }

    /// Makes runs ready whose timers are due. True: there may be more of them.
    fn read_timers(
        &mut self,
        now: Timestamp,
        timers: impl Iterator<Item = Result<(Timestamp, RunKey), StorageError>>,
        weights: &Weights,
    ) -> Result<bool, StorageError> {
        for (nth, timer) in timers.enumerate() {
            let (due, run) = timer?;
            if due > now || nth == TIMERS_READ_MAX {
                self.next_due = Some(due);
                return Ok(due <= now);
            }
            self.read = Some((due, run));
            if !self.owned.contains_key(&run) {
                self.enqueue(run, weights);
            }
        }
        self.next_due = None;
        Ok(false)
    }

    fn forget(&mut self, run: RunKey) {
        self.owned.remove(&run);
        self.queued.remove(&run);
    }
}
