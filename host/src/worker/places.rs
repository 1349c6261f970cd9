//! Places for attempts: each attempt holds one while its instance lives, and the runs share them fairly. It
//! must never know what an attempt does, and never hold anybody up but by letting it wait for its turn.
//!
//! A run may hold as many places as it leaves free. So one alone takes half of them, two take a third
//! each, and a run that holds none always finds one until there are as many runs as places. Of those that
//! wait, the run that holds the fewest is served first.
//!
//! A place whose attempt only sleeps is asked back as soon as somebody waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use trackway_storage::RunKey;

#[cfg(test)]
mod tests;

pub(super) struct Places {
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Only runs that hold some.
    held: BTreeMap<RunKey, usize>,
    /// Each run's attempts in the order in which they came.
    waiting: BTreeMap<RunKey, VecDeque<Waiter>>,
    /// Places that may be asked back.
    resting: BTreeMap<RunKey, BTreeMap<u64, oneshot::Sender<()>>>,
    /// Numbers waiters and places.
    next: u64,
}

struct Waiter {
    number: u64,
    place: oneshot::Sender<Place>,
}

/// Held for as long as the attempt's instance lives.
pub(super) struct Place {
    places: Arc<Places>,
    run: RunKey,
    number: u64,
}

/// Resolves when somebody waits for the place of an attempt that rests.
pub(super) type Wanted = oneshot::Receiver<()>;

impl Places {
    pub fn new(places: usize) -> Arc<Places> {
        let (held, waiting, resting) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Arc::new(Places { state: Mutex::new(State { free: places, held, waiting, resting, next: 0 }) })
    }

    /// No change is made in two steps that a panic could come between.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Giving up waiting is enough to leave the queue.
    pub async fn take(self: &Arc<Self>, run: RunKey) -> Place {
        let waiting = {
            let mut state = self.lock();
            if state.may_take(run) {
                return state.grant(self, run);
            }
            let (place, waiting) = oneshot::channel();
            let number = state.number();
            state.waiting.entry(run).or_default().push_back(Waiter { number, place });
            state.ask_back(run);
            waiting
        };
        match waiting.await {
            Ok(place) => place,
            // Nobody drops a waiter that still waits.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives free places to those that wait and may have them.
    fn serve(self: &Arc<Self>) {
        loop {
            let (waiter, place) = {
                let mut state = self.lock();
                let Some((run, waiter)) = state.next_in_turn() else { return };
                (waiter, state.grant(self, run))
            };
            // Without the lock: if nobody waits for it any more, the place comes back at once.
            drop(waiter.place.send(place));
        }
    }

    fn give_back(self: &Arc<Self>, run: RunKey, number: u64) {
        let mut state = self.lock();
        state.wake(run, number);
        state.free += 1;
        if let Some(held) = state.held.get_mut(&run) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(&run);
            }
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn held(&self, run: RunKey) -> usize {
        self.held.get(&run).copied().unwrap_or(0)
    }

    /// Whoever waits may not, or would have been served: so this passes nobody by.
    fn may_take(&self, run: RunKey) -> bool {
        self.held(run) < self.free
    }

    fn grant(&mut self, places: &Arc<Places>, run: RunKey) -> Place {
        self.free -= 1;
        *self.held.entry(run).or_default() += 1;
        Place { places: places.clone(), run, number: self.number() }
    }

    /// The first waiter of the run that holds the fewest places, if it may have one.
    fn next_in_turn(&mut self) -> Option<(RunKey, Waiter)> {
        self.waiting.retain(|_, waiters| {
            while waiters.front().is_some_and(|waiter| waiter.place.is_closed()) {
                waiters.pop_front();
            }
            !waiters.is_empty()
        });
        let turn =
            |(run, waiters): (&RunKey, &VecDeque<Waiter>)| Some((self.held(*run), waiters.front()?.number, *run));
        let (_, _, run) = self.waiting.iter().filter_map(turn).min()?;
        if !self.may_take(run) {
            return None;
        }
        Some((run, self.waiting.get_mut(&run)?.pop_front()?))
    }

    /// Asks one resting place back; rather one of `run` itself, so that others keep theirs.
    fn ask_back(&mut self, run: RunKey) {
        loop {
            let whose = if self.resting.contains_key(&run) { Some(run) } else { self.resting.keys().next().copied() };
            let Some(whose) = whose else { return };
            let Some(resting) = self.resting.get_mut(&whose) else { return };
            let asked = resting.pop_first();
            if resting.is_empty() {
                self.resting.remove(&whose);
            }
            // One that has just gone is no answer.
            if asked.is_some_and(|(_, wanted)| wanted.send(()).is_ok()) {
                return;
            }
        }
    }

    /// False if it was not resting, or was asked back.
    fn wake(&mut self, run: RunKey, number: u64) -> bool {
        let Some(resting) = self.resting.get_mut(&run) else { return false };
        let was_resting = resting.remove(&number).is_some();
        if resting.is_empty() {
            self.resting.remove(&run);
        }
        was_resting
    }
}

impl Place {
    /// The attempt only sleeps: somebody else may have its place.
    pub fn rest(&self) -> Wanted {
        let (asked, wanted) = oneshot::channel();
        let mut state = self.places.lock();
        state.resting.entry(self.run).or_default().insert(self.number, asked);
        if let Some(run) = state.waiting.keys().next().copied() {
            state.ask_back(run);
        }
        wanted
    }

    /// The attempt goes on. If it had been asked to leave, another one is.
    pub fn wake(&self) {
        let mut state = self.places.lock();
        if !state.wake(self.run, self.number)
            && let Some(run) = state.waiting.keys().next().copied()
        {
            state.ask_back(run);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(self.run, self.number);
        self.places.serve();
    }
}
