//! What is on record of an unfinished attempt, and what of a failed one the next one goes on with.

use std::collections::{BTreeMap, BTreeSet};

use super::questions::Asked;
use super::tally::timeout_of_question;

use crate::{
    AttemptEmitted, EffectAnswered, EffectAsked, EffectId, EffectRequest, EffectSettled, EffectVerdict, Kept, Position,
    SpanBegun, SpanEnded, Timestamp, Value, With,
};

/// What the next attempt recalls of those before it.
#[derive(Debug)]
pub struct Carried {
    /// The attempt that began it, with its time: so its clock and its randomness go on.
    pub(super) origin: u32,
    pub(super) started: Timestamp,
    /// What it was told of the attempts before it: told again, so that it does the same again.
    pub(super) given: Option<Value>,
    pub(super) effects: Vec<EffectRecord>,
}

/// What is on record of an unfinished attempt: enough to resume it.
#[derive(Debug)]
pub struct AttemptState {
    pub attempt: u32,
    /// The code that it was begun with, whatever the run was moved to since: only that does again what is on record.
    pub with: With,
    /// The attempt whose randomness it draws: itself, or the first of those that it goes on with.
    pub origin: u32,
    /// Of the origin.
    pub started: Timestamp,
    pub effects: Vec<EffectRecord>,
    /// What it was told of those before the origin, and what it told since.
    pub given: Option<Value>,
    pub progress: Option<Value>,
    /// A person's word on its open effects, until it is resumed.
    pub verdict: Option<EffectVerdict>,
    /// Effects without an answer, with their place in `effects`.
    open: BTreeMap<EffectId, usize>,
    /// Questions to people without an answer.
    pub(super) asking: BTreeMap<EffectId, Asked>,
    /// Begun and not ended.
    spans: BTreeSet<EffectId>,
    effects_asked: u32,
}

#[derive(Debug, Clone)]
pub struct EffectRecord {
    pub position: Position,
    pub time: Timestamp,
    pub kind: EffectKind,
}

#[derive(Debug, Clone)]
pub enum EffectKind {
    Asked(EffectAsked),
    Answered(EffectAnswered),
    /// Not an effect, but something that it did in their midst.
    Emitted(AttemptEmitted),
    Begun(SpanBegun),
    Ended(SpanEnded),
}

impl AttemptState {
    pub(super) fn new(attempt: u32, with: With, carried: Carried) -> AttemptState {
        let Carried { origin, started, given, effects } = carried;
        let mut state = AttemptState {
            attempt,
            with,
            origin,
            started,
            effects: Vec::new(),
            given,
            progress: None,
            verdict: None,
            open: BTreeMap::new(),
            asking: BTreeMap::new(),
            spans: BTreeSet::new(),
            effects_asked: 0,
        };
        for (place, record) in effects.iter().enumerate() {
            match &record.kind {
                EffectKind::Asked(asked) => {
                    state.opened(asked, place, record.position);
                    state.effects_asked = asked.effect.0;
                }
                EffectKind::Answered(answered) => _ = state.closed(answered.effect),
                EffectKind::Emitted(_) => {}
                EffectKind::Begun(begun) => {
                    state.spans.insert(begun.span);
                    state.effects_asked = begun.span.0;
                }
                EffectKind::Ended(ended) => _ = state.spans.remove(&ended.span),
            }
        }
        AttemptState { effects, ..state }
    }

    fn opened(&mut self, asked: &EffectAsked, place: usize, position: Position) {
        self.open.insert(asked.effect, place);
        // A form that was refused is kept as null.
        if let EffectRequest::AskPerson { form, .. } = &asked.request
            && let Some(timeout) = timeout_of_question(form)
        {
            let due = timeout.map(|timeout| asked.now + timeout);
            self.asking.insert(asked.effect, Asked { position, due });
        }
    }

    fn closed(&mut self, effect: EffectId) -> Option<()> {
        self.asking.remove(&effect);
        self.open.remove(&effect).map(drop)
    }

    /// It waits for people and for time only, as far as the journal tells.
    pub fn waits_for_person(&self) -> bool {
        let waits = |asked: &EffectAsked| {
            matches!(asked.request, EffectRequest::Sleep { .. }) || self.asking.contains_key(&asked.effect)
        };
        !self.asking.is_empty() && self.open_effects().all(waits)
    }

    pub(super) fn decided(self, verdict: EffectVerdict, with: Option<With>) -> AttemptState {
        AttemptState { verdict: Some(verdict), with: with.unwrap_or(self.with), ..self }
    }

    pub(super) fn carried(self, kept: Kept) -> Carried {
        let Kept { answers, last } = kept;
        let mut left = BTreeSet::new();
        let mut effects = self.effects;
        effects.retain(|record| match &record.kind {
            EffectKind::Asked(asked) => {
                let stays = last.is_none() || asked.proof.deliveries < answers;
                stays && left.insert(asked.effect)
            }
            EffectKind::Answered(answered) => Some(answered.effect) != last && left.contains(&answered.effect),
            EffectKind::Emitted(emitted) => last.is_none() || emitted.proof.deliveries < answers,
            EffectKind::Begun(begun) => last.is_none() || begun.proof.deliveries < answers,
            EffectKind::Ended(ended) => last.is_none() || ended.proof.deliveries < answers,
        });
        Carried { origin: self.origin, started: self.started, given: self.given, effects }
    }

    pub fn is_open(&self, effect: EffectId) -> bool {
        self.open.contains_key(&effect)
    }

    /// The effects that have no answer on record: forgotten, not over yet, or cut off by a crash.
    pub fn open_effects(&self) -> impl Iterator<Item = &EffectAsked> {
        self.open.values().filter_map(|place| match &self.effects.get(*place)?.kind {
            EffectKind::Asked(asked) => Some(asked),
            EffectKind::Answered(_) | EffectKind::Emitted(_) | EffectKind::Begun(_) | EffectKind::Ended(_) => None,
        })
    }

    pub(super) fn effect_asked(&mut self, asked: &EffectAsked, (position, time): (Position, Timestamp)) -> Option<()> {
        self.next_id(asked.effect)?;
        self.opened(asked, self.effects.len(), position);
        self.effects.push(EffectRecord { position, time, kind: EffectKind::Asked(asked.clone()) });
        Some(())
    }

    /// Effects and spans are counted together.
    fn next_id(&mut self, id: EffectId) -> Option<()> {
        if Some(id.0) != self.effects_asked.checked_add(1) {
            return None;
        }
        self.effects_asked = id.0;
        Some(())
    }

    pub(super) fn span_begun(&mut self, begun: &SpanBegun, position: Position, time: Timestamp) -> Option<()> {
        self.next_id(begun.span)?;
        self.spans.insert(begun.span);
        self.effects.push(EffectRecord { position, time, kind: EffectKind::Begun(begun.clone()) });
        Some(())
    }

    pub(super) fn span_ended(&mut self, ended: &SpanEnded, position: Position, time: Timestamp) -> Option<()> {
        if !self.spans.remove(&ended.span) {
            return None;
        }
        self.effects.push(EffectRecord { position, time, kind: EffectKind::Ended(ended.clone()) });
        Some(())
    }

    pub(super) fn emitted(&mut self, emitted: &AttemptEmitted, position: Position, time: Timestamp) {
        self.effects.push(EffectRecord { position, time, kind: EffectKind::Emitted(emitted.clone()) });
    }

    pub(super) fn effect_answered(
        &mut self,
        answered: &EffectAnswered,
        (position, time): (Position, Timestamp),
    ) -> Option<()> {
        self.closed(answered.effect)?;
        // An answer that a person gave is that of one effect.
        self.verdict.take_if(|verdict| matches!(verdict, EffectVerdict::Answer(_)));
        self.effects.push(EffectRecord { position, time, kind: EffectKind::Answered(answered.clone()) });
        Some(())
    }

    /// The answer of a question, as its function gets it.
    pub(super) fn effect_settled(
        &mut self,
        settled: &EffectSettled,
        (position, time): (Position, Timestamp),
    ) -> Option<()> {
        self.is_asking(settled.effect)?;
        self.closed(settled.effect)?;
        let EffectSettled { step, attempt, effect, ref outcome, .. } = *settled;
        let answered = EffectAnswered { step, attempt, effect, outcome: outcome.clone() };
        self.effects.push(EffectRecord { position, time, kind: EffectKind::Answered(answered) });
        Some(())
    }
}
