//! Attempts of a step and their effects, in the trace.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::read::{label, micros, prompts, question, read_request, sleep, span};
use super::super::row::Place;
use super::super::{Http, Model, Resumed, Row, RowStatus, Shown, What};
use super::Fold;
use crate::{
    AttemptParked, EffectAsked, EffectId, EffectRequest, Kept, ModelUsed, Outcome, Park, RetryReceived, SpanBegun,
    SpanEnded, StepId, Timestamp, Value,
};

pub struct Step {
    pub row: Row,
    pub attempts: BTreeMap<u32, Attempt>,
    /// What the next attempt goes on with.
    kept: Option<Kept>,
    /// The deployment whose code the next attempts run.
    with: Option<Arc<str>>,
}

pub struct Attempt {
    pub row: Row,
    pub effects: BTreeMap<EffectId, Row>,
    pub events: Vec<Row>,
    /// How many answers the function had got when it asked for each.
    asked_after: BTreeMap<EffectId, u32>,
    /// The same for the ends of spans.
    ended_after: BTreeMap<EffectId, u32>,
    /// The span that each says it belongs to.
    within: BTreeMap<EffectId, EffectId>,
}

impl Fold<'_> {
    pub fn attempt_started(&mut self, place: Place, step: StepId, number: u32) -> Option<()> {
        let worker = self.worker();
        let step = self.steps.get_mut(&step).filter(|step| step.row.is_open())?;
        if step.attempts.contains_key(&number) {
            return None;
        }
        let What::Call { retry_at, .. } = &mut step.row.what else { return None };
        let ready = retry_at.take().unwrap_or(step.row.started);
        let waited_us = micros(ready, place.time);
        step.row.queue_us.get_or_insert(waited_us);
        step.row.status = RowStatus::Running;
        let kept = step.kept.take();
        let continues = kept.map(|_| number - 1);
        let (resumed, next_at, with) = (Vec::new(), None, step.with.clone());
        let what = What::Attempt { number, worker, resumed, next_at, continues, with, progress: None };
        let mut row = Row::new(format!("{}.{number}", step.row.id), Some(step.row.id.clone()), what, place);
        row.queue_us = Some(waited_us);
        // A newer attempt means that the one before is over, whatever became of its end.
        for before in step.attempts.values_mut() {
            before.abort(place);
        }
        let mut attempt = Attempt::new(row);
        if let Some(kept) = kept {
            step.carry_over(kept, &mut attempt, place);
        }
        step.attempts.insert(number, attempt);
        Some(())
    }

    pub fn attempt_resumed(&mut self, place: Place, step: StepId, number: u32) -> Option<()> {
        let worker = self.worker();
        let row = &mut self.attempt(step, number)?.row;
        let What::Attempt { resumed, .. } = &mut row.what else { return None };
        resumed.push(Resumed { time: place.time, worker, position: place.position });
        row.positions.push(place.position);
        Some(())
    }

    pub fn effect_asked(&mut self, place: Place, asked: &EffectAsked) -> Option<()> {
        let payloads = self.payloads;
        let attempt = self.attempt(asked.step, asked.attempt)?;
        if attempt.effects.contains_key(&asked.effect) {
            return None;
        }
        let (what, options, input) = match &asked.request {
            EffectRequest::Http { request, options } => {
                let mut http = Http { idempotency_key: asked.key.clone(), ..Http::default() };
                read_request(&mut http, request, payloads);
                (What::Http(http), options, Some(Shown::of(request)))
            }
            EffectRequest::Sleep { duration_ms, options } => (sleep(*duration_ms, asked.now), options, None),
            EffectRequest::AskPerson { form, options } => (question(form), options, Some(Shown::of(form))),
            EffectRequest::Model { model, request, options } => {
                let idempotency_key = asked.key.clone();
                let (model, prompts) = (model.clone(), prompts(options));
                let model = Model { model, prompts, idempotency_key, ..Model::default() };
                (What::Model(Box::new(model)), options, Some(Shown::of(request)))
            }
        };
        attempt.asked_after.insert(asked.effect, asked.proof.deliveries);
        let mut row = attempt.row_of(asked.effect, span(options), what, place);
        row.label = label(options);
        row.at = asked.at.clone();
        row.input = input;
        attempt.effects.insert(asked.effect, row);
        Some(())
    }

    pub fn model_used(&mut self, used: &ModelUsed) -> Option<()> {
        let row = self.attempt(used.step, used.attempt)?.effects.get_mut(&used.effect)?;
        let What::Model(model) = &mut row.what else { return None };
        model.answered_by = Some(used.model.clone());
        model.finish = Some(used.finish);
        model.usage = Some(used.usage);
        model.cost_nanousd = used.cost_nanousd;
        Some(())
    }

    pub fn span_begun(&mut self, place: Place, begun: &SpanBegun) -> Option<()> {
        let attempt = self.attempt(begun.step, begun.attempt)?;
        if attempt.effects.contains_key(&begun.span) {
            return None;
        }
        attempt.asked_after.insert(begun.span, begun.proof.deliveries);
        let what = What::Span { kind: begun.kind, name: begun.name.clone() };
        let mut row = attempt.row_of(begun.span, span(&begun.options), what, place);
        row.label = label(&begun.options);
        row.at = begun.at.clone();
        row.input = Some(Shown::of(&begun.input));
        attempt.effects.insert(begun.span, row);
        Some(())
    }

    pub fn span_ended(&mut self, place: Place, ended: &SpanEnded) -> Option<()> {
        let attempt = self.attempt(ended.step, ended.attempt)?;
        let row = attempt.effects.get_mut(&ended.span).filter(|row| matches!(row.what, What::Span { .. }))?;
        row.answer(place, &ended.outcome)?;
        attempt.ended_after.insert(ended.span, ended.proof.deliveries);
        Some(())
    }

    pub fn attempt_failed(
        &mut self,
        place: Place,
        (step, number): (StepId, u32),
        failure: &Value,
        next: Option<Timestamp>,
    ) -> Option<()> {
        let step = self.steps.get_mut(&step).filter(|step| step.row.is_open())?;
        let attempt = step.attempts.get_mut(&number).filter(|attempt| attempt.row.is_open())?;
        attempt.row.answer(place, &Outcome::Failed(failure.clone()))?;
        if let What::Attempt { next_at, .. } = &mut attempt.row.what {
            *next_at = next;
        }
        attempt.abort(place);
        if let What::Call { retry_at, .. } = &mut step.row.what {
            *retry_at = next;
        }
        step.row.status = if next.is_some() { RowStatus::Retrying } else { RowStatus::Parked };
        Some(())
    }

    pub fn parked(&mut self, place: Place, parked: &AttemptParked) -> Option<()> {
        let kept = match &parked.park {
            Park::Exhausted => None,
            Park::ExhaustedKeeping(kept) => Some(*kept),
            Park::Unclear(effect) => {
                // The attempt is not over: it goes on when somebody has said how.
                let step = self.steps.get_mut(&parked.step).filter(|step| step.row.is_open())?;
                let attempt = step.attempts.get_mut(&parked.attempt).filter(|attempt| attempt.row.is_open())?;
                attempt.row.status = RowStatus::Parked;
                attempt.row.positions.push(place.position);
                if let Some(effect) = attempt.effects.get_mut(effect).filter(|effect| effect.is_open()) {
                    effect.status = RowStatus::Parked;
                    effect.positions.push(place.position);
                }
                step.row.status = RowStatus::Parked;
                return Some(());
            }
        };
        self.attempt_failed(place, (parked.step, parked.attempt), &parked.failure, None)?;
        self.steps.get_mut(&parked.step)?.kept = kept;
        Some(())
    }

    /// A person's word. One that came too late changes nothing but stands there.
    pub fn retry(&mut self, place: Place, retry: &RetryReceived) -> Option<()> {
        let step = self.steps.get_mut(&retry.step)?;
        step.row.positions.push(place.position);
        if !matches!(step.row.status, RowStatus::Parked | RowStatus::Retrying) {
            return Some(());
        }
        step.with = retry.with.as_ref().map(|with| with.deployment.clone()).or(step.with.take());
        match step.attempts.values_mut().next_back().filter(|attempt| attempt.row.is_open()) {
            Some(attempt) => {
                attempt.row.status = RowStatus::Running;
                let open = attempt.effects.values_mut().filter(|effect| effect.status == RowStatus::Parked);
                open.for_each(|effect| effect.status = RowStatus::Running);
                step.row.status = RowStatus::Running;
            }
            None => {
                if let What::Call { retry_at, .. } = &mut step.row.what {
                    *retry_at = Some(place.time);
                }
                step.row.status = RowStatus::Retrying;
            }
        }
        Some(())
    }

    pub fn attempt(&mut self, step: StepId, number: u32) -> Option<&mut Attempt> {
        let attempt = self.steps.get_mut(&step)?.attempts.get_mut(&number)?;
        attempt.row.is_open().then_some(attempt)
    }
}

impl Step {
    pub fn new(row: Row) -> Step {
        Step { row, attempts: BTreeMap::new(), kept: None, with: None }
    }

    /// Its attempt waits for people and for time only.
    pub fn waits_for_person(&self) -> bool {
        let Some(attempt) = self.attempts.values().next_back().filter(|attempt| attempt.row.is_open()) else {
            return false;
        };
        let open = || attempt.effects.values().filter(|row| row.is_open() && !matches!(row.what, What::Span { .. }));
        let asks = |row: &Row| row.status == RowStatus::Waiting;
        open().any(asks) && open().all(|row| asks(row) || matches!(row.what, What::Sleep { .. }))
    }

    /// What the next attempt goes on with.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Effects that an attempt before had not got an answer to, or whose answer is asked for again, get
    /// their answer below the new one; and so do spans that go on.
    fn carry_over(&self, kept: Kept, to: &mut Attempt, place: Place) {
        let is_kept = |after: Option<u32>| kept.last.is_none() || after.unwrap_or(0) < kept.answers;
        for attempt in self.attempts.values().rev() {
            for (id, row) in &attempt.effects {
                let asked_after = attempt.asked_after.get(id).copied();
                let has_answer = row.output.is_some() || row.failure.is_some();
                let ended_after = attempt.ended_after.get(id).copied();
                let keeps_answer = has_answer && (ended_after.is_none() || is_kept(ended_after));
                if !is_kept(asked_after) || to.asked_after.contains_key(id) {
                    continue;
                }
                to.asked_after.insert(*id, asked_after.unwrap_or(0));
                if keeps_answer && kept.last != Some(*id) {
                    continue;
                }
                let mut fresh = to.row_of(*id, attempt.within.get(id).copied(), asked_again(&row.what), place);
                fresh.label.clone_from(&row.label);
                fresh.at.clone_from(&row.at);
                fresh.input.clone_from(&row.input);
                to.effects.insert(*id, fresh);
            }
        }
    }
}

/// Without what is told of the answer.
fn asked_again(what: &What) -> What {
    match what {
        What::Model(before) => {
            let (model, prompts) = (before.model.clone(), before.prompts.clone());
            let idempotency_key = before.idempotency_key.clone();
            What::Model(Box::new(Model { model, prompts, idempotency_key, ..Model::default() }))
        }
        What::Question { title, .. } => What::Question { title: title.clone(), by: None },
        other => other.clone(),
    }
}

impl Attempt {
    fn new(row: Row) -> Attempt {
        let (asked_after, ended_after, within) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Attempt { row, effects: BTreeMap::new(), events: Vec::new(), asked_after, ended_after, within }
    }

    /// The row of an effect or a span, below the span that it belongs to, if that is here.
    fn row_of(&mut self, id: EffectId, span: Option<EffectId>, what: What, place: Place) -> Row {
        self.within.extend(span.map(|span| (id, span)));
        let spans = span.filter(|span| *span < id).and_then(|span| self.effects.get(&span));
        let above = spans.filter(|row| matches!(row.what, What::Span { .. })).unwrap_or(&self.row);
        let waits = matches!(what, What::Question { .. });
        let row = Row::new(format!("{}.{id}", self.row.id), Some(above.id.clone()), what, place);
        if waits { Row { status: RowStatus::Waiting, ..row } } else { row }
    }

    /// Effects that are open when their attempt is over get no answer any more.
    pub fn abort(&mut self, place: Place) {
        self.row.close(place, RowStatus::Aborted);
        for effect in self.effects.values_mut() {
            effect.close(place, RowStatus::Aborted);
        }
    }
}
