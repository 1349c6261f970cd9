//! The open questions to people: of the workflow, and of attempts. It never says who may answer.

use super::{Phase, RunState};
use crate::{AttemptState, EffectId, Position, QuestionId, StepId, Timestamp};

impl RunState {
    /// Every open question, with the place of the entry that asks it; none of a run that has ended.
    pub fn questions(&self) -> impl Iterator<Item = (QuestionId, Position)> {
        let open = self.steps.keys().filter(|_| self.end.is_none());
        open.flat_map(|step| self.questions_of(*step))
    }

    /// The open questions of a step, and of the attempt that it is at.
    pub fn questions_of(&self, step: StepId) -> Vec<(QuestionId, Position)> {
        match self.steps.get(&step).map(|state| &state.phase) {
            Some(Phase::Asking { asked, .. }) => vec![(QuestionId::of_step(step), *asked)],
            Some(Phase::Attempting(attempt)) => {
                let question = |effect| QuestionId::of_effect(step, attempt.attempt, effect);
                attempt.questions().map(|(effect, asked, _)| (question(effect), asked)).collect()
            }
            Some(
                Phase::Sleeping { .. }
                | Phase::Waiting
                | Phase::Retrying { .. }
                | Phase::Parked(_)
                | Phase::Child { .. }
                | Phase::Receiving
                | Phase::Promised { .. }
                | Phase::Entity
                | Phase::Accepting,
            )
            | None => Vec::new(),
        }
    }

    /// Whether the question is open, and until when.
    pub fn is_asking(&self, question: QuestionId) -> Option<Option<Timestamp>> {
        let QuestionId { name, attempt } = question;
        match (&self.steps.get(&name.step)?.phase, name.effect) {
            (Phase::Asking { due, .. }, None) => Some(*due),
            (Phase::Attempting(state), Some(effect)) if state.attempt == attempt => state.is_asking(effect),
            _ => None,
        }
    }

    /// The open questions of the step's attempt whose time is over at `now`.
    pub fn questions_over(&self, step: StepId, now: Timestamp) -> Vec<QuestionId> {
        let Some(Phase::Attempting(attempt)) = self.steps.get(&step).map(|state| &state.phase) else {
            return Vec::new();
        };
        let over = attempt.questions().filter(|(_, _, due)| due.is_some_and(|due| due <= now));
        over.map(|(effect, ..)| QuestionId::of_effect(step, attempt.attempt, effect)).collect()
    }

    /// Whether a step waits for what somebody answers or settles from outside, in time or not.
    pub fn awaits_an_answer(&self, step: StepId) -> bool {
        match self.steps.get(&step).map(|state| &state.phase) {
            Some(Phase::Asking { .. } | Phase::Promised { .. }) => true,
            Some(Phase::Attempting(attempt)) => attempt.questions().next().is_some(),
            _ => false,
        }
    }
}

/// A question that an attempt asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Of the entry that asks it, of this attempt or of one that it goes on with.
    pub position: Position,
    /// When it is too late.
    pub due: Option<Timestamp>,
}

impl AttemptState {
    /// Those that are open, with the place of the entry that asks each, and when it is too late.
    pub fn questions(&self) -> impl Iterator<Item = (EffectId, Position, Option<Timestamp>)> {
        self.asking.iter().map(|(effect, asked)| (*effect, asked.position, asked.due))
    }

    /// Whether that question is open, and until when.
    pub fn is_asking(&self, effect: EffectId) -> Option<Option<Timestamp>> {
        self.asking.get(&effect).map(|asked| asked.due)
    }

    /// When the first of its questions is too late.
    pub fn question_due(&self) -> Option<Timestamp> {
        self.asking.values().filter_map(|asked| asked.due).min()
    }
}
