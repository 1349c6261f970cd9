//! What the attempts of one step have asked the world for and were answered, as its journal tells it.

use std::collections::BTreeSet;
use trackway_replay::{AttemptParked, EffectId, EffectRequest, Entry, Kept, Kind, Park, StepId};

/// Of the attempt that is made now, and those that it goes on with.
#[derive(Default)]
pub struct Contacts {
    asked: BTreeSet<EffectId>,
    /// Of people.
    questions: BTreeSet<EffectId>,
    /// In their order.
    answered: Vec<EffectId>,
}

impl Contacts {
    pub fn of(entries: &[Entry], step: StepId) -> Contacts {
        let mut contacts = Contacts::default();
        entries.iter().filter(|entry| entry.kind.step() == Some(step)).for_each(|entry| contacts.apply(&entry.kind));
        contacts
    }

    pub fn apply(&mut self, kind: &Kind) {
        match kind {
            Kind::EffectAsked(asked) => {
                self.asked.insert(asked.effect);
                if matches!(asked.request, EffectRequest::AskPerson { .. }) {
                    self.questions.insert(asked.effect);
                }
            }
            Kind::EffectSettled(settled) => self.answered.push(settled.effect),
            // Of a question that its function has given up: nothing is delivered.
            Kind::EffectAnswered(answered) if self.questions.contains(&answered.effect) => {}
            Kind::EffectAnswered(answered) => self.answered.push(answered.effect),
            Kind::FailedKeeping(failed) => self.keep(failed.kept),
            Kind::Parked(AttemptParked { park: Park::ExhaustedKeeping(kept), .. }) => self.keep(*kept),
            Kind::Failed(_) | Kind::Parked(AttemptParked { park: Park::Exhausted, .. }) => *self = Contacts::default(),
            _ => {}
        }
    }

    /// Somebody waits for its answer, or may again.
    pub fn is_open(&self, effect: EffectId) -> bool {
        self.asked.contains(&effect) && !self.has_answer(effect)
    }

    pub fn has_answer(&self, effect: EffectId) -> bool {
        self.answered.contains(&effect)
    }

    /// All that was delivered, but for the last where that may be why it failed.
    fn keep(&mut self, kept: Kept) {
        self.answered.truncate(kept.answers as usize);
        self.answered.retain(|effect| Some(*effect) != kept.last);
    }
}
