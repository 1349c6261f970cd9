//! The open steps of a run: how one begins, what its attempts make of it, and how it is closed.

use std::time::Duration;

use super::post::Mailed;
use super::tally::timeout_of;
use super::{AttemptState, Carried, RunState};
use crate::promise::due_of_promise;
use crate::{
    Asked, AttemptStarted, EffectVerdict, Position, RetryReceived, RunId, Spent, StepId, StepRequest, StepTimed,
    Timestamp, Topic, Value, With,
};

/// An open step.
#[derive(Debug)]
pub struct StepState {
    pub request: StepRequest,
    pub asked: Timestamp,
    pub phase: Phase,
    /// The workflow asked to cancel it.
    pub cancel_asked: bool,
    /// Attempts before the last time that a person asked for another one, and when that was; at first
    /// none, and when the step was asked for.
    pub budget: Spent,
    /// The code of its attempts, where it is not the run's own.
    pub with: Option<With>,
    /// The last progress of attempts that are over.
    pub progress: Option<Value>,
    /// When its first attempt has begun, or it fails.
    pub start_by: Option<Timestamp>,
    /// When it is answered, or it fails.
    pub close_by: Option<Timestamp>,
}

#[derive(Debug)]
pub enum Phase {
    /// A sleep.
    Sleeping { due: Timestamp },
    /// A call before its first attempt.
    Waiting,
    /// An attempt began and has not ended.
    Attempting(Box<AttemptState>),
    /// The last attempt failed; the next one starts at `next_at`.
    Retrying { attempt: u32, next_at: Timestamp, carried: Option<Box<Carried>> },
    /// A person says how it goes on.
    Parked(Box<ParkedState>),
    /// A run that is to be started, or was and goes on.
    Child { run: Option<RunId> },
    /// Waits for something that is sent.
    Receiving,
    /// Waits for a person, asked by the entry at `asked`; `due` is when it is too late.
    Asking { asked: Position, due: Option<Timestamp> },
    /// Waits for somebody with its token; `due` is when it is too late.
    Promised { due: Option<Timestamp> },
    /// An entity is read or written. A write stands with the frame that asks for it; only its answer is open.
    Entity,
    /// Waits for an update.
    Accepting,
}

#[derive(Debug)]
pub enum ParkedState {
    Exhausted {
        attempt: u32,
        carried: Option<Box<Carried>>,
    },
    /// Broken off, with effects of which nobody knows whether they were carried out.
    Unclear(Box<AttemptState>),
}

impl StepState {
    fn new(request: StepRequest, asked: Timestamp, phase: Phase) -> StepState {
        let budget = Spent { attempts: 0, since: asked };
        let (with, progress, start_by, close_by) = (None, None, None, None);
        StepState { request, asked, phase, cancel_asked: false, budget, with, progress, start_by, close_by }
    }

    /// When something happens to it by itself.
    pub fn due(&self) -> Option<Timestamp> {
        self.phase.due()
    }

    /// When it fails by itself, whatever it is at, unless it gets further before.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting => [self.start_by, self.close_by].into_iter().flatten().min(),
            Phase::Attempting(_) | Phase::Retrying { .. } | Phase::Parked(_) => self.close_by,
            Phase::Sleeping { .. }
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Asking { .. }
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting => None,
        }
    }
}

impl RunState {
    pub(super) fn attempt_mut(&mut self, step: StepId, attempt: u32) -> Option<&mut AttemptState> {
        match &mut self.steps.get_mut(&step)?.phase {
            Phase::Attempting(state) if state.attempt == attempt => Some(state),
            Phase::Attempting(_)
            | Phase::Sleeping { .. }
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

    /// Changes an attempt in a way that may change what its step waits for.
    pub(super) fn in_attempt(
        &mut self,
        step: StepId,
        attempt: u32,
        change: impl FnOnce(&mut AttemptState) -> Option<()>,
    ) -> Option<()> {
        let state = self.steps.get_mut(&step)?;
        self.tally.leave(step, state);
        let changed = match &mut state.phase {
            Phase::Attempting(state) if state.attempt == attempt => change(state),
            _ => None,
        };
        self.tally.enter(step, state);
        changed
    }

    /// What a person asks for is on record also where it comes too late.
    pub(super) fn retry(&mut self, retry: &RetryReceived, time: Timestamp) {
        let Some(state) = self.steps.get_mut(&retry.step) else { return };
        let attempts = match &state.phase {
            Phase::Retrying { attempt, .. } => *attempt,
            Phase::Parked(parked) => parked.attempt(),
            Phase::Sleeping { .. }
            | Phase::Waiting
            | Phase::Attempting(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Asking { .. }
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting => return,
        };
        state.budget = Spent { attempts, since: time };
        if retry.with.is_some() {
            state.with.clone_from(&retry.with);
        }
        let verdict = retry.verdict.clone();
        self.set_phase(retry.step, |before| match before {
            Phase::Retrying { attempt, carried, .. } => Phase::Retrying { attempt, next_at: time, carried },
            Phase::Parked(parked) => match *parked {
                ParkedState::Exhausted { attempt, carried } => Phase::Retrying { attempt, next_at: time, carried },
                ParkedState::Unclear(state) => {
                    let verdict = verdict.unwrap_or(EffectVerdict::Repeat);
                    Phase::Attempting(Box::new(state.decided(verdict, retry.with.clone())))
                }
            },
            other @ (Phase::Sleeping { .. }
            | Phase::Waiting
            | Phase::Attempting(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Asking { .. }
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting) => other,
        });
    }

    pub(super) fn was_asked(&self, step: StepId) -> Option<()> {
        (1..=self.asked).contains(&step.0).then_some(())
    }

    pub(super) fn begin_step(&mut self, asked: &Asked, (at, time): (Position, Timestamp)) -> Option<()> {
        // Without a claim nobody could tell by what rule its fuel is compared.
        if self.claims.is_empty() || Some(asked.step.0) != self.asked.checked_add(1) {
            return None;
        }
        let phase = match &asked.request {
            StepRequest::Call { .. } => Phase::Waiting,
            StepRequest::Sleep { duration_ms, .. } => {
                Phase::Sleeping { due: asked.now + Duration::from_millis(*duration_ms) }
            }
            StepRequest::StartRun { .. } => Phase::Child { run: None },
            StepRequest::Receive { .. } => Phase::Receiving,
            StepRequest::Entity { .. } => Phase::Entity,
            StepRequest::AskPerson { form, .. } => {
                Phase::Asking { asked: at, due: timeout_of(form).map(|timeout| asked.now + timeout) }
            }
            StepRequest::Promise { .. } => Phase::Promised { due: due_of_promise(asked) },
            StepRequest::AcceptUpdate { .. } => Phase::Accepting,
        };
        self.asked = asked.step.0;
        if let StepRequest::Promise { owner, .. } = &asked.request {
            self.tokens.promised(asked.step, *owner);
        }
        if let Some(topic) = Topic::of_request(&asked.request)
            && self.mail.asked(asked.step, topic) == Mailed::Taken
        {
            return Some(());
        }
        self.open(asked.step, StepState::new(asked.request.clone(), time, phase));
        Some(())
    }

    /// Once for each call, before its first attempt.
    pub(super) fn time_step(&mut self, timed: &StepTimed) -> Option<()> {
        let step = self.steps.get_mut(&timed.step)?;
        let is_call = matches!(step.request, StepRequest::Call { .. }) && matches!(step.phase, Phase::Waiting);
        if !is_call || step.start_by.is_some() || step.close_by.is_some() {
            return None;
        }
        self.tally.leave(timed.step, step);
        (step.start_by, step.close_by) = (timed.start_by, timed.close_by);
        self.tally.enter(timed.step, step);
        Some(())
    }

    pub(super) fn begin_attempt(&mut self, begun: &AttemptStarted, time: Timestamp) -> Option<()> {
        let state = self.steps.get(&begun.step)?;
        let before = match &state.phase {
            Phase::Waiting => 0,
            Phase::Retrying { attempt, .. } => *attempt,
            Phase::Sleeping { .. }
            | Phase::Attempting(_)
            | Phase::Parked(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Asking { .. }
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting => return None,
        };
        let number = begun.attempt;
        if Some(number) != before.checked_add(1) {
            return None;
        }
        let given = state.progress.clone();
        let of_run = || With { deployment: self.deployment.clone(), component: self.component };
        let with = state.with.clone().unwrap_or_else(of_run);
        self.set_phase(begun.step, |before| {
            let fresh = || Carried { origin: number, started: time, given, effects: Vec::new() };
            let carried = match before {
                Phase::Retrying { carried: Some(carried), .. } => *carried,
                Phase::Retrying { carried: None, .. }
                | Phase::Sleeping { .. }
                | Phase::Waiting
                | Phase::Attempting(_)
                | Phase::Parked(_)
                | Phase::Child { .. }
                | Phase::Receiving
                | Phase::Asking { .. }
                | Phase::Promised { .. }
                | Phase::Entity
                | Phase::Accepting => fresh(),
            };
            Phase::Attempting(Box::new(AttemptState::new(number, with, carried)))
        });
        Some(())
    }

    pub(super) fn set_phase(&mut self, step: StepId, next: impl FnOnce(Phase) -> Phase) {
        if let Some(state) = self.steps.get_mut(&step) {
            self.tally.leave(step, state);
            let before = std::mem::replace(&mut state.phase, Phase::Waiting);
            if let Phase::Attempting(attempt) = &before {
                state.progress = attempt.progress.clone().or(state.progress.take());
            }
            state.phase = next(before);
            self.tally.enter(step, state);
        }
    }

    /// A step is about to be closed while its run is being started.
    pub(super) fn leave_orphan(&mut self, step: StepId, closes: impl FnOnce(&StepState) -> bool) {
        let is_starting = |state: &&StepState| matches!(state.phase, Phase::Child { run: None });
        let orphan = self.steps.get(&step).filter(is_starting).filter(|state| closes(state));
        if let Some(request) = orphan.map(|state| state.request.clone()) {
            self.orphans.insert(step, request);
        }
    }

    pub(super) fn mail_arrived(&mut self, topic: Topic) {
        if let Some(taker) = self.mail.arrived(topic) {
            self.close(taker);
        }
    }

    /// A step that waits for mail takes none any more; what it was going to get is another's.
    pub(super) fn give_back(&mut self, step: StepId) {
        let Some(topic) = self.mail.give_up(step) else { return };
        let (request, phase) = match &topic {
            Topic::Signal(signal) => {
                (StepRequest::Receive { signal: signal.clone(), options: "".into() }, Phase::Receiving)
            }
            Topic::Update(update) => {
                (StepRequest::AcceptUpdate { update: update.clone(), options: "".into() }, Phase::Accepting)
            }
        };
        self.open(step, StepState::new(request, self.last.1, phase));
        self.mail_arrived(topic);
    }

    fn open(&mut self, step: StepId, state: StepState) {
        self.tally.enter(step, &state);
        self.steps.insert(step, state);
    }

    pub(super) fn close(&mut self, step: StepId) -> Option<()> {
        let state = self.steps.remove(&step)?;
        self.tally.leave(step, &state);
        Some(())
    }
}
