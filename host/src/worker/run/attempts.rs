//! The attempts that are in hand, and those that rest: what of them happens by itself, and what they were answered. It
//! never makes one.

use futures_util::future::AbortHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use trackway_replay::{
    AttemptState, EffectId, FuelUsed, Kind, NOTED_FUEL_MIN, Outcome, Phase, Position, StepId, Timestamp,
};

use super::Inner;
use crate::worker::rested::Resting;

pub(in crate::worker) struct LiveAttempt {
    pub attempt: u32,
    pub abort: AbortHandle,
    pub idle: Idle,
    /// Answers of its questions that its machine has not got yet, in the order of the journal.
    pub settled: Vec<SettledEffect>,
    /// Tells its task that there are some.
    pub poke: Arc<Notify>,
    /// Fuel of its guest that stands in no entry, as far as anybody knows; `None` once it was journaled.
    pub fuel: Option<Arc<AtomicU64>>,
}

/// Until when nothing happens in an attempt by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Idle {
    No,
    /// It waits for effects that are sleeps, and perhaps for people.
    Until(Timestamp),
    /// It waits for people.
    ForPeople,
}

impl Idle {
    /// Nothing happens before `time`.
    pub fn lasts_beyond(self, time: Timestamp) -> bool {
        match self {
            Idle::No => false,
            Idle::Until(until) => until > time,
            Idle::ForPeople => true,
        }
    }

    pub fn until(self) -> Option<Timestamp> {
        match self {
            Idle::Until(until) => Some(until),
            Idle::No | Idle::ForPeople => None,
        }
    }
}

/// The answer of a question that an attempt asks, with its place in the journal.
pub(in crate::worker) struct SettledEffect {
    pub effect: EffectId,
    pub position: Position,
    pub time: Timestamp,
    pub outcome: Outcome,
}

impl Inner {
    /// The attempt is this worker's to write for.
    pub fn is_live(&self, step: StepId, attempt: u32) -> bool {
        self.stop.is_none() && self.attempts.get(&step).is_some_and(|live| live.attempt == attempt)
    }

    /// What is on record of the attempt that a step is at.
    pub fn attempt_state(&self, step: StepId) -> Option<&AttemptState> {
        match &self.state.step(step)?.phase {
            Phase::Attempting(attempt) => Some(attempt),
            Phase::Sleeping { .. }
            | Phase::Waiting
            | Phase::Retrying { .. }
            | Phase::Parked(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Asking { .. }
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting => None,
        }
    }

    /// Journals what the attempt of a step has computed, before what ends it.
    pub fn note_fuel(&mut self, clock: Timestamp, step: StepId) {
        // Once: what it computes from here on, it does for nobody, and tells nobody of.
        let told = self.attempts.get_mut(&step).and_then(|live| Some((live.attempt, live.fuel.take()?)));
        let Some((attempt, fuel)) = told else { return };
        let fuel = fuel.load(Ordering::Relaxed);
        let is_open = self.attempt_state(step).is_some_and(|open| open.attempt == attempt);
        if is_open && fuel >= NOTED_FUEL_MIN {
            self.sequence(clock, Kind::FuelUsed(FuelUsed { attempt: Some((step, attempt)), fuel }));
        }
    }

    /// The same of the workflow, before it waits or is ended.
    pub fn note_own_fuel(&mut self, clock: Timestamp) {
        if let Some(fuel) = self.machine.fuel_to_note() {
            self.sequence(clock, Kind::FuelUsed(FuelUsed { attempt: None, fuel }));
        }
    }

    /// The run comes to an end: from here on no attempt writes, and each is stopped when that is durable.
    pub fn abandon_all(&mut self, clock: Timestamp) {
        let steps: Vec<StepId> = self.attempts.keys().copied().collect();
        steps.into_iter().for_each(|step| self.note_fuel(clock, step));
        let last = self.end();
        let live = std::mem::take(&mut self.attempts);
        self.aborts.extend(live.into_values().map(|live| (last, live.abort)));
    }

    /// Takes an attempt out of hand; it can write nothing from here on, and is stopped when all
    /// that is sequenced is durable.
    pub fn abandon(&mut self, step: StepId) {
        if let Some(live) = self.attempts.remove(&step) {
            let last = Position(self.end().0.saturating_sub(1));
            self.aborts.push((last, live.abort));
        }
    }

    /// Takes an attempt out of hand that only waits: until its sleep is over, or somebody has answered it.
    pub fn rest(&mut self, step: StepId) {
        let Some(live) = self.attempts.remove(&step) else { return };
        live.abort.abort();
        if live.idle == Idle::No {
            return;
        }
        let until = live.idle.until();
        self.resting.insert(step, until);
        self.timers.extend(until.map(|until| (until, step)));
    }

    /// The answers of its questions that the attempt of a step has not got yet.
    pub fn take_settled(&mut self, step: StepId) -> Vec<SettledEffect> {
        self.attempts.get_mut(&step).map(|live| std::mem::take(&mut live.settled)).unwrap_or_default()
    }

    /// Attempts that rested when the run was put aside go on to rest.
    pub fn lay(&mut self, resting: Resting) {
        self.timers.extend(resting.iter().filter_map(|(step, until)| Some(((*until)?, *step))));
        self.resting = resting;
    }

    /// An attempt that rests is to be taken up again.
    pub fn rouse(&mut self, step: StepId) {
        if let Some(until) = self.resting.remove(&step) {
            until.inspect(|until| _ = self.timers.remove(&(*until, step)));
        }
    }
}
