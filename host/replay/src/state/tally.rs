//! Where the open steps of a run stand, counted: its status and its next timer follow without a walk. It
//! never looks at an entry.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Carried, ParkedState, Phase, StepState};
use crate::{Form, Kept, StepId, Timestamp, Value, Waiting};

/// How many open steps stand where, and their timers: status and due time follow without a walk.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub sleeping: usize,
    retrying: usize,
    children: usize,
    parked: usize,
    receiving: usize,
    asking: usize,
    promised: usize,
    accepting: usize,
    pub dues: BTreeSet<(Timestamp, StepId)>,
    /// When calls fail by themselves; apart, since a step may have both at one time.
    pub deadlines: BTreeSet<(Timestamp, StepId)>,
}

impl Tally {
    /// Steps that only wait for their timer or for a person.
    pub fn idle(&self) -> usize {
        self.sleeping
            + self.retrying
            + self.parked
            + self.children
            + self.receiving
            + self.asking
            + self.promised
            + self.accepting
    }

    /// For what, if only for something. A person is named first: nobody else may know that it waits.
    pub fn waiting(&self) -> Waiting {
        let waits = [
            (self.asking, Waiting::Person),
            (self.promised, Waiting::Promise),
            (self.receiving, Waiting::Signal),
            (self.accepting, Waiting::Update),
            (self.retrying + self.parked, Waiting::Retry),
            (self.children, Waiting::Child),
        ];
        waits.into_iter().find_map(|(count, waiting)| (count > 0).then_some(waiting)).unwrap_or(Waiting::Retry)
    }

    pub fn enter(&mut self, step: StepId, state: &StepState) {
        self.deadlines.extend(state.deadline().map(|by| (by, step)));
        let phase = &state.phase;
        self.dues.extend(phase.due().map(|due| (due, step)));
        self.sleeping += usize::from(matches!(phase, Phase::Sleeping { .. }));
        self.retrying += usize::from(matches!(phase, Phase::Retrying { .. }));
        self.children += usize::from(matches!(phase, Phase::Child { run: Some(_) }));
        self.parked += usize::from(matches!(phase, Phase::Parked(_)));
        self.receiving += usize::from(matches!(phase, Phase::Receiving));
        self.asking += usize::from(phase.asks_person());
        self.promised += usize::from(matches!(phase, Phase::Promised { .. }));
        self.accepting += usize::from(matches!(phase, Phase::Accepting));
    }

    pub fn leave(&mut self, step: StepId, state: &StepState) {
        if let Some(by) = state.deadline() {
            self.deadlines.remove(&(by, step));
        }
        let phase = &state.phase;
        if let Some(due) = phase.due() {
            self.dues.remove(&(due, step));
        }
        self.sleeping -= usize::from(matches!(phase, Phase::Sleeping { .. }));
        self.retrying -= usize::from(matches!(phase, Phase::Retrying { .. }));
        self.children -= usize::from(matches!(phase, Phase::Child { run: Some(_) }));
        self.parked -= usize::from(matches!(phase, Phase::Parked(_)));
        self.receiving -= usize::from(matches!(phase, Phase::Receiving));
        self.asking -= usize::from(phase.asks_person());
        self.promised -= usize::from(matches!(phase, Phase::Promised { .. }));
        self.accepting -= usize::from(matches!(phase, Phase::Accepting));
    }
}

impl Phase {
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self {
            Phase::Sleeping { due } => Some(*due),
            Phase::Retrying { next_at, .. } => Some(*next_at),
            Phase::Asking { due, .. } | Phase::Promised { due } => *due,
            Phase::Attempting(attempt) => attempt.question_due(),
            Phase::Waiting
            | Phase::Parked(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Entity
            | Phase::Accepting => None,
        }
    }

    /// It waits for a person, and for nothing else but time.
    fn asks_person(&self) -> bool {
        match self {
            Phase::Asking { .. } => true,
            Phase::Attempting(attempt) => attempt.waits_for_person(),
            Phase::Sleeping { .. }
            | Phase::Waiting
            | Phase::Retrying { .. }
            | Phase::Parked(_)
            | Phase::Child { .. }
            | Phase::Receiving
            | Phase::Promised { .. }
            | Phase::Entity
            | Phase::Accepting => false,
        }
    }

    /// What of an attempt the next one recalls.
    pub(super) fn carried(self, kept: Kept) -> Option<Box<Carried>> {
        match self {
            Phase::Attempting(attempt) => Some(Box::new(attempt.carried(kept))),
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
}

/// After how long a question is too late, if ever. A form that was refused is not one.
pub(super) fn timeout_of_question(form: &Value) -> Option<Option<Duration>> {
    let Value::Inline(text) = form else { return None };
    Some(Form::read(text).ok()?.timeout_ms.map(Duration::from_millis))
}

pub(super) fn timeout_of(form: &Value) -> Option<Duration> {
    timeout_of_question(form).flatten()
}

impl ParkedState {
    pub fn attempt(&self) -> u32 {
        match self {
            ParkedState::Exhausted { attempt, .. } => *attempt,
            ParkedState::Unclear(state) => state.attempt,
        }
    }
}
