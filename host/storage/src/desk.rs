//! Which runs are ready and which are owned, in the memory of one process. Both stores keep their
//! claims here; the marks that survive a crash are theirs. It holds nothing for a parked run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use trackway_replay::Timestamp;

use crate::{Claims, RunKey, StorageError};

pub(crate) struct Desk {
    state: Mutex<State>,
    /// Counts what a claim could find.
    news: watch::Sender<u64>,
    /// The news that the last claim took in.
    claimed: AtomicU64,
}

#[derive(Default)]
struct State {
    /// May hold runs that are no longer in `queued`: they were claimed by their timer.
    ready: VecDeque<RunKey>,
    queued: BTreeSet<RunKey>,
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
    pub fn new(ready: impl IntoIterator<Item = RunKey>) -> Desk {
        let ready: VecDeque<RunKey> = ready.into_iter().collect();
        let queued = ready.iter().copied().collect();
        let state = State { ready, queued, ..State::default() };
        // The first claim after an opening may always find something.
        Desk { state: Mutex::new(state), news: watch::Sender::new(1), claimed: AtomicU64::new(0) }
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
        state.enqueue(run);
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
            None => state.enqueue(run),
        }
        drop(state);
        self.tell();
    }

    pub fn park(&self, run: RunKey, due: Option<Timestamp>) {
        let mut state = self.lock();
        state.forget(run);
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

    /// `timers` yields timers of runs in the order of their due times, also of owned runs. It is
    /// read no further than the first that is not due.
    pub fn claim(
        &self,
        now: Timestamp,
        max: usize,
        timers: impl Iterator<Item = Result<(Timestamp, RunKey), StorageError>>,
    ) -> Result<Claims, StorageError> {
        let mut state = self.lock();
        let news = *self.news.borrow();
        let mut claims = Claims { knocks: std::mem::take(&mut state.knocks), ..Claims::default() };
        for run in &claims.knocks {
            if let Some(inbox) = state.owned.get_mut(run) {
                *inbox = Inbox::Quiet;
            }
        }
        claims.knocks.retain(|run| state.owned.contains_key(run));
        let mut left_over = false;
        // Timers go first: a flood of ready runs must not make them late for ever.
        for timer in timers {
            let (due, run) = timer?;
            if state.owned.contains_key(&run) {
                continue;
            }
            if due > now {
                claims.next_due = Some(due);
                break;
            }
            if claims.runs.len() == max {
                left_over = true;
                claims.next_due = Some(due);
                break;
            }
            state.queued.remove(&run);
            state.owned.insert(run, Inbox::Quiet);
            claims.runs.push(run);
        }
        while claims.runs.len() < max
            && let Some(run) = state.ready.pop_front()
        {
            if state.queued.remove(&run) {
                state.owned.insert(run, Inbox::Quiet);
                claims.runs.push(run);
            }
        }
        left_over |= !state.queued.is_empty();
        state.next_due = claims.next_due;
        // Who asked for none left nothing over: another claim of none would find nothing more.
        let left_over = left_over && max > 0;
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
    fn enqueue(&mut self, run: RunKey) {
        if self.queued.insert(run) {
            self.ready.push_back(run);
        }
    }

    fn forget(&mut self, run: RunKey) {
        self.owned.remove(&run);
        self.queued.remove(&run);
    }
}
