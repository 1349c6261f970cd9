//! How entries become rows. One pass; every entry finds its row by step, attempt and effect, or is
//! listed as unplaced. It must never fail or panic, whatever the entries say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mail::Sorting;
use super::read::{label, micros, question, read_answer, read_model_answer, sleep};
use super::row::Place;
use super::{Activation, ForkedFrom, Payloads, Row, RowStatus, RunHeader, Shown, StartedBy, Totals, Trace, What};
use crate::{
    Asked, AttemptFailed, AttemptFailedKeeping, Claimed, Continued, Digest, EffectAsked, EffectRequest, End, EntityAct,
    Entry, Failure, Finished, Kind, MessageId, Outcome, Position, Spending, Started, Status, StepId, StepRequest,
    Tokens, Topic, Value,
};

mod attempts;

use attempts::Step;

pub fn fold(entries: &[Entry], payloads: &Payloads) -> Trace {
    let mut fold = Fold::new(payloads);
    for entry in entries {
        if fold.take(entry).is_none() {
            fold.unplaced.push(entry.position);
        }
    }
    fold.into_trace(entries)
}

pub fn payloads_wanted(entries: &[Entry]) -> Vec<Digest> {
    let mut wanted = BTreeSet::new();
    let mut want = |value: &Value| {
        if let Value::Stored { digest, .. } = value {
            wanted.insert(*digest);
        }
    };
    for entry in entries {
        match &entry.kind {
            Kind::EffectAsked(EffectAsked { request: EffectRequest::Http { request, .. }, .. }) => want(request),
            Kind::EffectAnswered(answered) => {
                if let Outcome::Succeeded(value) = &answered.outcome {
                    want(value);
                }
            }
            _ => {}
        }
    }
    wanted.into_iter().collect()
}

pub(super) struct Fold<'a> {
    payloads: &'a Payloads,
    run: Option<RunHeader>,
    /// Once the run's start is known.
    tokens: Option<Tokens>,
    pub(super) steps: BTreeMap<StepId, Step>,
    /// Steps without an end, so that a claim looks at no other.
    pub(super) open: BTreeSet<StepId>,
    pub(super) steps_ended: u32,
    cancel: Option<Row>,
    grace_ms: Option<u64>,
    pauses: Vec<Row>,
    patches: Vec<Row>,
    moves: Vec<Row>,
    /// What the workflow told: its state, its answers to updates, and events.
    told: Vec<Row>,
    stretches: Vec<Row>,
    pub(super) mail: Sorting,
    /// Rows of what was sent and not taken.
    pub(super) unclaimed: Vec<Row>,
    /// Updates that are to be taken in time.
    pub(super) offers: BTreeMap<MessageId, Row>,
    activations: Vec<Activation>,
    /// Up to here entries are copies of what another run did.
    copied: Position,
    spending: Spending,
    unplaced: Vec<Position>,
}

/// A row of something that takes no time.
fn at_once(id: String, what: What, place: Place) -> Row {
    let mut row = Row::new(id, None, what, place);
    row.end(place, RowStatus::Succeeded);
    row.positions.dedup();
    row
}

impl<'a> Fold<'a> {
    fn new(payloads: &'a Payloads) -> Fold<'a> {
        Fold {
            payloads,
            run: None,
            tokens: None,
            steps: BTreeMap::new(),
            open: BTreeSet::new(),
            steps_ended: 0,
            cancel: None,
            grace_ms: None,
            pauses: Vec::new(),
            patches: Vec::new(),
            moves: Vec::new(),
            told: Vec::new(),
            stretches: Vec::new(),
            mail: Sorting::default(),
            unclaimed: Vec::new(),
            offers: BTreeMap::new(),
            activations: Vec::new(),
            copied: Position::FIRST,
            spending: Spending::default(),
            unplaced: Vec::new(),
        }
    }

    /// `None`: the entry fits nowhere.
    fn take(&mut self, entry: &Entry) -> Option<()> {
        let place = Place { position: entry.position, time: entry.time };
        match &entry.kind {
            Kind::Started(started) => self.started(place, started),
            Kind::Claimed(claimed) => self.claimed(entry, claimed),
            Kind::Asked(asked) => self.asked(place, asked),
            Kind::AttemptStarted(started) => self.attempt_started(place, started.step, started.attempt),
            Kind::AttemptResumed(resumed) => self.attempt_resumed(place, resumed.step, resumed.attempt),
            Kind::EffectAsked(asked) => self.effect_asked(place, asked),
            Kind::EffectAnswered(answered) => {
                let payloads = self.payloads;
                let attempt = self.attempt(answered.step, answered.attempt)?;
                let row = attempt.effects.get_mut(&answered.effect)?;
                match (&mut row.what, &answered.outcome) {
                    (What::Span { .. }, _) => return None,
                    (What::Http(http), Outcome::Succeeded(value)) => read_answer(http, value, payloads),
                    (What::Model(model), Outcome::Succeeded(value)) => read_model_answer(model, value, payloads),
                    _ => {}
                }
                row.answer(place, &answered.outcome)
            }
            Kind::EffectSettled(settled) => {
                let row = self.attempt(settled.step, settled.attempt)?.effects.get_mut(&settled.effect)?;
                let What::Question { by, .. } = &mut row.what else { return None };
                by.clone_from(&settled.by);
                row.answer(place, &settled.outcome)
            }
            Kind::ModelUsed(used) => {
                if self.copied < place.position {
                    self.spending.add(used);
                }
                self.model_used(used)
            }
            // Sums, of what stands before and of what nobody asked for.
            Kind::SpendingTaken(_) | Kind::FuelUsed(_) => Some(()),
            Kind::Failed(AttemptFailed { step, attempt, failure, next_at }) => {
                self.attempt_failed(place, (*step, *attempt), failure, Some(*next_at))
            }
            Kind::FailedKeeping(AttemptFailedKeeping { step, attempt, failure, next_at, kept }) => {
                self.attempt_failed(place, (*step, *attempt), failure, Some(*next_at))?;
                self.steps.get_mut(step)?.keep(*kept);
                Some(())
            }
            Kind::Parked(parked) => self.parked(place, parked),
            Kind::RetryReceived(retry) => self.retry(place, retry),
            Kind::Progressed(progressed) => {
                let row = &mut self.attempt(progressed.step, progressed.attempt)?.row;
                let What::Attempt { progress, .. } = &mut row.what else { return None };
                *progress = Some(Shown::of(&progressed.progress));
                Some(())
            }
            Kind::StepTimed(timed) => {
                let row = &mut self.steps.get_mut(&timed.step)?.row;
                let What::Call { start_by, close_by, .. } = &mut row.what else { return None };
                (*start_by, *close_by) = (timed.start_by, timed.close_by);
                Some(())
            }
            Kind::DeadlineSet(deadline) => {
                self.run.as_mut()?.deadline = Some(deadline.at);
                // Of a fork it stands before what was copied.
                if self.copied > Position::FIRST {
                    self.copied = self.copied.plus(1);
                }
                Some(())
            }
            Kind::Answered(answered) => {
                self.mail.gave_up(answered.step);
                let step = self.steps.get_mut(&answered.step)?;
                step.row.answer(place, &answered.outcome)?;
                if let Some(attempt) = step.attempts.values_mut().next_back().filter(|attempt| attempt.row.is_open()) {
                    attempt.row.answer(place, &answered.outcome);
                }
                self.step_ended(answered.step, place, RowStatus::Aborted)
            }
            Kind::Forgotten(forgotten) => {
                self.mail.gave_up(forgotten.step);
                let row = &mut self.steps.get_mut(&forgotten.step)?.row;
                if !row.is_open() && row.status != RowStatus::Forgotten {
                    // Its answer stood by then, and the workflow had not taken it yet.
                    row.positions.push(place.position);
                    return Some(());
                }
                row.end(place, RowStatus::Forgotten)?;
                self.step_ended(forgotten.step, place, RowStatus::Aborted)
            }
            Kind::StepCancelAsked(asked) => {
                self.mail.gave_up(asked.step);
                let row = &mut self.steps.get_mut(&asked.step)?.row;
                row.cancel_asked.get_or_insert(place.time);
                row.positions.push(place.position);
                Some(())
            }
            Kind::CancelReceived(received) => {
                // The first one counts.
                if let Some(row) = &mut self.cancel {
                    row.positions.push(place.position);
                    return Some(());
                }
                self.resumed(place);
                let what = What::Cancel { reason: received.reason.clone(), grace_ms: self.grace_ms };
                let mut row = Row::new("cancel".to_owned(), None, what, place);
                row.end(place, RowStatus::Succeeded);
                row.positions.dedup();
                self.cancel = Some(row);
                Some(())
            }
            Kind::GraceSet(set) => {
                self.grace_ms = Some(set.grace_ms);
                if let Some(Row { what: What::Cancel { grace_ms, .. }, positions, .. }) = &mut self.cancel {
                    *grace_ms = self.grace_ms;
                    positions.push(place.position);
                }
                Some(())
            }
            Kind::Finished(finished) => self.finished(place, finished),
            Kind::Paused(paused) => {
                // One that is held already, or was asked to cancel, goes on as it is.
                if self.cancel.is_none() && !self.is_paused() {
                    let what = What::Pause { reason: paused.reason.clone() };
                    self.pauses.push(Row::new(format!("pause-{}", self.pauses.len() + 1), None, what, place));
                }
                Some(())
            }
            Kind::Resumed(_) => {
                self.resumed(place);
                Some(())
            }
            Kind::Patched(patched) => {
                let what = What::Patch { patch: patched.id.clone() };
                self.patches.push(at_once(format!("patch-{}", self.patches.len() + 1), what, place));
                Some(())
            }
            Kind::Continued(continued) => self.continued(place, continued),
            Kind::Emitted(emitted) => {
                let id = format!("event-{}", place.position);
                let row = at_once(id, What::Event { name: emitted.name.clone() }, place);
                self.told.push(Row { at: emitted.at.clone(), input: Some(Shown::of(&emitted.data)), ..row });
                Some(())
            }
            Kind::AttemptEmitted(emitted) => {
                let attempt = self.attempt(emitted.step, emitted.attempt)?;
                let parent = attempt.row.id.clone();
                let id = format!("{parent}.event-{}", place.position);
                let row = at_once(id, What::Event { name: emitted.name.clone() }, place);
                let (at, input) = (emitted.at.clone(), Some(Shown::of(&emitted.data)));
                attempt.events.push(Row { parent: Some(parent), at, input, ..row });
                Some(())
            }
            Kind::SpanBegun(begun) => self.span_begun(place, begun),
            Kind::SpanEnded(ended) => self.span_ended(place, ended),
            Kind::Moved(moved) => {
                let run = self.run.as_mut()?;
                run.deployment = moved.deployment.clone();
                run.component = moved.component;
                let what = What::Move { deployment: moved.deployment.clone(), component: moved.component };
                self.moves.push(at_once(format!("move-{}", self.moves.len() + 1), what, place));
                Some(())
            }
            Kind::Published(published) => {
                let what = What::Publish { key: published.key.clone() };
                let row = self.told(place, "publish", what, &published.at);
                row.output = Some(Shown::of(&published.value));
                row.close(place, RowStatus::Succeeded);
                Some(())
            }
            Kind::UpdateReceived(update) => self.update_received(place, update),
            Kind::UpdateOffered(offered) => self.update_offered(place, offered),
            Kind::UpdateExpired(expired) => self.update_expired(place, expired),
            Kind::Replied(replied) => {
                let row = self.told(place, "reply", What::Reply { step: replied.step }, &replied.at);
                row.answer(place, &replied.outcome)?;
                row.positions.dedup();
                Some(())
            }
            Kind::ChildOf(child_of) => {
                let run = self.run.as_mut().filter(|run| run.parent.is_none())?;
                run.parent = Some(StartedBy { run: child_of.parent, step: child_of.step });
                Some(())
            }
            Kind::ChildStarted(started) => {
                let row = &mut self.steps.get_mut(&started.step)?.row;
                let What::Run { run: run @ None, deployment, .. } = &mut row.what else { return None };
                *run = Some(started.run);
                *deployment = Some(started.deployment.clone());
                row.positions.push(place.position);
                if row.is_open() {
                    row.status = RowStatus::Running;
                    row.queue_us = Some(micros(row.started, place.time));
                }
                Some(())
            }
            Kind::ChildEnded(ended) => {
                let row = &mut self.steps.get_mut(&ended.step)?.row;
                let What::Run { run, .. } = &mut row.what else { return None };
                run.get_or_insert(ended.run);
                if !row.is_open() {
                    row.positions.push(place.position);
                    return Some(());
                }
                row.answer(place, &ended.outcome)?;
                self.step_ended(ended.step, place, RowStatus::Aborted)
            }
            Kind::Forked(forked) => {
                let run = self.run.as_mut().filter(|run| run.forked.is_none())?;
                run.forked = Some(ForkedFrom { run: forked.from, step: forked.step });
                run.started = forked.at;
                self.copied = Position(forked.entries.saturating_add(1));
                Some(())
            }
            Kind::Signalled(signalled) => self.signalled(place, signalled),
            Kind::Settled(settled) => {
                let row = &mut self.steps.get_mut(&settled.step)?.row;
                row.answer(place, &settled.outcome)?;
                if let What::Question { by, .. } = &mut row.what {
                    by.clone_from(&settled.by);
                }
                self.step_ended(settled.step, place, RowStatus::Aborted)
            }
        }
    }

    fn started(&mut self, place: Place, started: &Started) -> Option<()> {
        if self.run.is_some() {
            return None;
        }
        self.tokens = Some(Tokens::new(started.seed, started.run));
        self.run = Some(RunHeader {
            id: started.run,
            workflow: started.workflow.clone(),
            deployment: started.deployment.clone(),
            component: started.component,
            status: Status::Queued,
            started: place.time,
            finished: None,
            duration_us: 0,
            input: Shown::of(&started.input),
            output: None,
            failure: None,
            reason: None,
            forked: None,
            parent: None,
            deadline: None,
        });
        Some(())
    }

    fn claimed(&mut self, entry: &Entry, claimed: &Claimed) -> Option<()> {
        let mut activation = Activation {
            worker: claimed.worker.clone(),
            epoch: entry.epoch,
            claimed: entry.time,
            position: entry.position,
            restart: self.activations.last().is_some_and(|last| last.epoch != entry.epoch),
            steps_recalled: self.steps_ended + self.mail.taken(),
            effects_recalled: 0,
            effects_open: 0,
        };
        for step in &self.open {
            let attempts = self.steps.get_mut(step).into_iter().flat_map(|step| step.attempts.values_mut());
            for attempt in attempts.filter(|attempt| attempt.row.is_open()) {
                for effect in attempt.effects.values_mut() {
                    match &mut effect.what {
                        What::Span { .. } => {}
                        _ if effect.closed.is_some() => activation.effects_recalled += 1,
                        What::Http(http) => {
                            http.interrupted += 1;
                            activation.effects_open += 1;
                        }
                        What::Model(model) => {
                            model.interrupted += 1;
                            activation.effects_open += 1;
                        }
                        What::Sleep { .. }
                        | What::Call { .. }
                        | What::Run { .. }
                        | What::Attempt { .. }
                        | What::Receive { .. }
                        | What::Question { .. }
                        | What::Promise { .. }
                        | What::Entity { .. }
                        | What::Accept { .. }
                        | What::Publish { .. }
                        | What::Reply { .. }
                        | What::Update { .. }
                        | What::Signal { .. }
                        | What::Cancel { .. }
                        | What::Patch { .. }
                        | What::Event { .. }
                        | What::Move { .. }
                        | What::Continue
                        | What::Pause { .. } => {}
                    }
                }
            }
        }
        self.activations.push(activation);
        Some(())
    }

    fn asked(&mut self, place: Place, asked: &Asked) -> Option<()> {
        if self.steps.contains_key(&asked.step) {
            return None;
        }
        let (what, options, input, status) = match &asked.request {
            StepRequest::Call { function, input, options } => {
                let what = What::Call { function: function.clone(), retry_at: None, start_by: None, close_by: None };
                (what, options, Some(Shown::of(input)), RowStatus::Queued)
            }
            StepRequest::Sleep { duration_ms, options } => {
                (sleep(*duration_ms, asked.now), options, None, RowStatus::Running)
            }
            StepRequest::StartRun { workflow, input, options } => {
                let what = What::Run { workflow: workflow.clone(), run: None, deployment: None };
                (what, options, Some(Shown::of(input)), RowStatus::Queued)
            }
            StepRequest::Receive { signal, options } => {
                (What::Receive { signal: signal.clone(), from: None }, options, None, RowStatus::Waiting)
            }
            StepRequest::AskPerson { form, options } => {
                (question(form), options, Some(Shown::of(form)), RowStatus::Waiting)
            }
            StepRequest::Promise { name, options, .. } => {
                let token = self.tokens.as_ref().map(|tokens| tokens.own(asked.step).to_string()).unwrap_or_default();
                (What::Promise { name: name.clone(), token }, options, None, RowStatus::Waiting)
            }
            StepRequest::Entity { entity, key, act, options } => {
                let what = What::Entity { verb: act.verb(), entity: entity.clone(), key: key.clone() };
                let value = match act {
                    EntityAct::Set { value } => Some(Shown::of(value)),
                    EntityAct::Get | EntityAct::Delete => None,
                };
                (what, options, value, RowStatus::Running)
            }
            StepRequest::AcceptUpdate { update, options } => {
                (What::Accept { update: update.clone() }, options, None, RowStatus::Waiting)
            }
        };
        let mut row = Row::new(asked.step.to_string(), None, what, place);
        row.label = label(options);
        row.at = asked.at.clone();
        row.input = input;
        row.status = status;
        self.steps.insert(asked.step, Step::new(row));
        self.open.insert(asked.step);
        if let Some(topic) = Topic::of_request(&asked.request) {
            self.mail.asked(asked.step, topic);
        }
        Some(())
    }

    fn finished(&mut self, place: Place, finished: &Finished) -> Option<()> {
        let run = self.run.as_mut().filter(|run| run.finished.is_none())?;
        run.finished = Some(place.time);
        self.deliver_mail();
        let run = self.run.as_mut()?;
        let (status, left) = match &finished.end {
            End::Succeeded(output) => {
                run.output = Some(Shown::of(output));
                (Status::Succeeded, RowStatus::Aborted)
            }
            End::Failed(failure) => {
                run.failure = Some(Failure::from_value(failure));
                (Status::Failed, RowStatus::Aborted)
            }
            End::Cancelled { reason } | End::Terminated { reason } => {
                run.reason = Some(reason.clone());
                (Status::Cancelled, RowStatus::Cancelled)
            }
        };
        run.status = status;
        self.resumed(place);
        for step in std::mem::take(&mut self.open) {
            if let Some(step) = self.steps.get_mut(&step) {
                step.row.close(place, left);
            }
            self.step_ended(step, place, left);
        }
        Some(())
    }

    /// What was open is given up, but for mail that nobody took.
    fn continued(&mut self, place: Place, continued: &Continued) -> Option<()> {
        let left = self.mail.take_out(&continued.mail);
        self.deliver_mail();
        self.unclaimed.retain(|row| !row.positions.iter().any(|position| continued.mail.contains(position)));
        self.mail = left;
        for step in std::mem::take(&mut self.open) {
            if let Some(step) = self.steps.get_mut(&step) {
                step.row.close(place, RowStatus::Aborted);
            }
            self.step_ended(step, place, RowStatus::Aborted);
        }
        let run = self.run.as_mut()?;
        run.deployment = continued.deployment.clone();
        run.component = continued.component;
        let mut row = at_once(format!("continue-{}", self.stretches.len() + 1), What::Continue, place);
        row.input = Some(Shown::of(&continued.input));
        self.stretches.push(row);
        Some(())
    }

    /// The step's row has its end; what is still open below it gets one too.
    fn step_ended(&mut self, step: StepId, place: Place, left: RowStatus) -> Option<()> {
        self.open.remove(&step);
        self.steps_ended += 1;
        let step = self.steps.get_mut(&step)?;
        if let What::Call { retry_at, .. } = &mut step.row.what {
            *retry_at = None;
        }
        for attempt in step.attempts.values_mut() {
            attempt.row.close(place, left);
            attempt.abort(place);
        }
        Some(())
    }

    fn told(&mut self, place: Place, word: &str, what: What, at: &Option<Arc<str>>) -> &mut Row {
        let mut row = Row::new(format!("{word}-{}", place.position), None, what, place);
        row.at.clone_from(at);
        let place = self.told.len();
        self.told.push(row);
        &mut self.told[place]
    }

    fn is_paused(&self) -> bool {
        self.pauses.last().is_some_and(Row::is_open)
    }

    fn resumed(&mut self, place: Place) {
        if let Some(pause) = self.pauses.last_mut() {
            pause.end(place, RowStatus::Succeeded);
        }
    }

    fn worker(&self) -> Option<Arc<str>> {
        self.activations.last().map(|activation| activation.worker.clone())
    }

    fn into_trace(mut self, entries: &[Entry]) -> Trace {
        self.deliver_mail();
        let status = self.open_status();
        if let Some(run) = &mut self.run {
            let last = entries.last().map_or(run.started, |entry| entry.time);
            run.duration_us = micros(run.started, run.finished.unwrap_or(last));
            if run.finished.is_none() {
                run.status = status;
            }
        }
        let mut totals = Totals {
            entries: entries.len() as u64,
            spending: self.spending,
            restarts: self.activations.iter().filter(|activation| activation.restart).count() as u32,
            ..Totals::default()
        };
        let mut rows = Vec::new();
        // What others did to the run stands where it came in the order of what was asked for.
        let others = self.pauses.into_iter().chain(self.patches).chain(self.moves).chain(self.told).chain(self.cancel);
        let others = others.chain(self.stretches).chain(self.unclaimed).chain(self.offers.into_values());
        let mut others: Vec<Row> = others.collect();
        others.sort_by(|one, other| other.positions.cmp(&one.positions));
        for step in self.steps.into_values() {
            while let Some(other) = others.pop_if(|other| other.positions < step.row.positions) {
                rows.push(other);
            }
            totals.count_step(&step.row);
            rows.push(step.row);
            for attempt in step.attempts.into_values() {
                totals.count_attempt(&attempt.row);
                rows.push(attempt.row);
                for effect in attempt.effects.into_values() {
                    if !matches!(effect.what, What::Span { .. }) {
                        totals.count_effect(&effect);
                    }
                    rows.push(effect);
                }
                rows.extend(attempt.events);
            }
        }
        rows.extend(others.into_iter().rev());
        Trace { run: self.run, rows, activations: self.activations, totals, unplaced: self.unplaced }
    }

    /// Of a run that has not ended.
    fn open_status(&self) -> Status {
        if self.activations.is_empty() {
            return Status::Queued;
        }
        if self.is_paused() {
            return Status::Paused;
        }
        let mut found = None;
        for step in self.open.iter().filter_map(|step| self.steps.get(step)) {
            let this = match (&step.row.what, step.row.status) {
                (What::Sleep { .. }, _) => Status::Sleeping,
                (_, RowStatus::Retrying | RowStatus::Parked | RowStatus::Waiting) => Status::Waiting,
                _ if step.waits_for_person() => Status::Waiting,
                (What::Run { run: Some(_), .. }, _) => Status::Waiting,
                _ => return Status::Running,
            };
            found = match found {
                Some(Status::Waiting) => found,
                _ => Some(this),
            };
        }
        found.unwrap_or(Status::Running)
    }
}
