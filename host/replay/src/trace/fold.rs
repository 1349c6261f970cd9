//! How entries become rows. One pass; every entry finds its row by step, attempt and effect, or is
//! listed as unplaced. It must never fail or panic, whatever the entries say.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    Activation, ForkedFrom, Http, Payloads, Resumed, Row, RowStatus, RunHeader, Shown, StartedBy, Totals, Trace, Try,
    What,
};
use crate::{
    Asked, AttemptFailed, Claimed, Digest, EffectAsked, EffectId, EffectRequest, End, Entry, Failure, Finished, Kind,
    Outcome, Position, Started, Status, StepId, StepRequest, Timestamp, Value, code,
};

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

struct Fold<'a> {
    payloads: &'a Payloads,
    run: Option<RunHeader>,
    steps: BTreeMap<StepId, Step>,
    /// Steps without an end, so that a claim looks at no other.
    open: BTreeSet<StepId>,
    steps_ended: u32,
    cancel: Option<Row>,
    pauses: Vec<Row>,
    activations: Vec<Activation>,
    unplaced: Vec<Position>,
}

struct Step {
    row: Row,
    attempts: BTreeMap<u32, Attempt>,
}

struct Attempt {
    row: Row,
    effects: BTreeMap<EffectId, Row>,
}

/// Where and when an entry stands.
#[derive(Clone, Copy)]
struct Place {
    position: Position,
    time: Timestamp,
}

impl<'a> Fold<'a> {
    fn new(payloads: &'a Payloads) -> Fold<'a> {
        Fold {
            payloads,
            run: None,
            steps: BTreeMap::new(),
            open: BTreeSet::new(),
            steps_ended: 0,
            cancel: None,
            pauses: Vec::new(),
            activations: Vec::new(),
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
                if let (What::Http(http), Outcome::Succeeded(value)) = (&mut row.what, &answered.outcome) {
                    read_answer(http, value, payloads);
                }
                row.answer(place, &answered.outcome)
            }
            Kind::Failed(failed) => self.attempt_failed(place, failed),
            Kind::Answered(answered) => {
                let step = self.steps.get_mut(&answered.step)?;
                step.row.answer(place, &answered.outcome)?;
                if let Some(attempt) = step.attempts.values_mut().next_back().filter(|attempt| attempt.row.is_open()) {
                    attempt.row.answer(place, &answered.outcome);
                }
                self.step_ended(answered.step, place, RowStatus::Aborted)
            }
            Kind::Forgotten(forgotten) => {
                let row = &mut self.steps.get_mut(&forgotten.step)?.row;
                row.end(place, RowStatus::Forgotten)?;
                self.step_ended(forgotten.step, place, RowStatus::Aborted)
            }
            Kind::StepCancelAsked(asked) => {
                let row = &mut self.steps.get_mut(&asked.step)?.row;
                row.cancel_asked.get_or_insert(place.time);
                row.positions.push(place.position);
                Some(())
            }
            Kind::CancelReceived(received) => {
                if self.cancel.is_some() {
                    return None;
                }
                self.resumed(place);
                let mut row =
                    Row::new("cancel".to_owned(), None, What::Cancel { reason: received.reason.clone() }, place);
                row.end(place, RowStatus::Succeeded);
                row.positions.dedup();
                self.cancel = Some(row);
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
                Some(())
            }
        }
    }

    fn started(&mut self, place: Place, started: &Started) -> Option<()> {
        if self.run.is_some() {
            return None;
        }
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
            steps_recalled: self.steps_ended,
            effects_recalled: 0,
            effects_open: 0,
        };
        for step in &self.open {
            let attempts = self.steps.get_mut(step).into_iter().flat_map(|step| step.attempts.values_mut());
            for attempt in attempts.filter(|attempt| attempt.row.is_open()) {
                for effect in attempt.effects.values_mut() {
                    match &mut effect.what {
                        _ if effect.closed.is_some() => activation.effects_recalled += 1,
                        What::Http(http) => {
                            http.interrupted += 1;
                            activation.effects_open += 1;
                        }
                        What::Sleep { .. }
                        | What::Call { .. }
                        | What::Run { .. }
                        | What::Attempt { .. }
                        | What::Cancel { .. }
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
                let what = What::Call { function: function.clone(), retry_at: None };
                (what, options, Some(Shown::of(input)), RowStatus::Queued)
            }
            StepRequest::Sleep { duration_ms, options } => {
                (sleep(*duration_ms, asked.now), options, None, RowStatus::Running)
            }
            StepRequest::StartRun { workflow, input, options } => {
                let what = What::Run { workflow: workflow.clone(), run: None, deployment: None };
                (what, options, Some(Shown::of(input)), RowStatus::Queued)
            }
        };
        let mut row = Row::new(asked.step.to_string(), None, what, place);
        row.label = label(options);
        row.at = asked.at.clone();
        row.input = input;
        row.status = status;
        self.steps.insert(asked.step, Step { row, attempts: BTreeMap::new() });
        self.open.insert(asked.step);
        Some(())
    }

    fn attempt_started(&mut self, place: Place, step: StepId, number: u32) -> Option<()> {
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
        let what = What::Attempt { number, worker, resumed: Vec::new(), next_at: None };
        let mut row = Row::new(format!("{}.{number}", step.row.id), Some(step.row.id.clone()), what, place);
        row.queue_us = Some(waited_us);
        // A newer attempt means that the one before is over, whatever became of its end.
        for before in step.attempts.values_mut() {
            before.abort(place);
        }
        step.attempts.insert(number, Attempt { row, effects: BTreeMap::new() });
        Some(())
    }

    fn attempt_resumed(&mut self, place: Place, step: StepId, number: u32) -> Option<()> {
        let worker = self.worker();
        let row = &mut self.attempt(step, number)?.row;
        let What::Attempt { resumed, .. } = &mut row.what else { return None };
        resumed.push(Resumed { time: place.time, worker, position: place.position });
        row.positions.push(place.position);
        Some(())
    }

    fn effect_asked(&mut self, place: Place, asked: &EffectAsked) -> Option<()> {
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
        };
        let parent = attempt.row.id.clone();
        let mut row = Row::new(format!("{parent}.{}", asked.effect), Some(parent), what, place);
        row.label = label(options);
        row.at = asked.at.clone();
        row.input = input;
        attempt.effects.insert(asked.effect, row);
        Some(())
    }

    fn attempt_failed(&mut self, place: Place, failed: &AttemptFailed) -> Option<()> {
        let step = self.steps.get_mut(&failed.step).filter(|step| step.row.is_open())?;
        let attempt = step.attempts.get_mut(&failed.attempt).filter(|attempt| attempt.row.is_open())?;
        attempt.row.answer(place, &Outcome::Failed(failed.failure.clone()))?;
        if let What::Attempt { next_at, .. } = &mut attempt.row.what {
            *next_at = Some(failed.next_at);
        }
        attempt.abort(place);
        if let What::Call { retry_at, .. } = &mut step.row.what {
            *retry_at = Some(failed.next_at);
        }
        step.row.status = RowStatus::Retrying;
        Some(())
    }

    fn finished(&mut self, place: Place, finished: &Finished) -> Option<()> {
        let run = self.run.as_mut().filter(|run| run.finished.is_none())?;
        run.finished = Some(place.time);
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

    fn attempt(&mut self, step: StepId, number: u32) -> Option<&mut Attempt> {
        let attempt = self.steps.get_mut(&step)?.attempts.get_mut(&number)?;
        attempt.row.is_open().then_some(attempt)
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
            restarts: self.activations.iter().filter(|activation| activation.restart).count() as u32,
            ..Totals::default()
        };
        let mut rows = Vec::new();
        // What others did to the run stands where it came in the order of what was asked for.
        let mut others: Vec<Row> = self.pauses.into_iter().chain(self.cancel).collect();
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
                    totals.count_effect(&effect);
                    rows.push(effect);
                }
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
                (_, RowStatus::Retrying) => Status::Waiting,
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

impl Attempt {
    /// Effects that are open when their attempt is over get no answer any more.
    fn abort(&mut self, place: Place) {
        self.row.close(place, RowStatus::Aborted);
        for effect in self.effects.values_mut() {
            effect.close(place, RowStatus::Aborted);
        }
    }
}

impl Row {
    fn new(id: String, parent: Option<String>, what: What, place: Place) -> Row {
        Row {
            id,
            parent,
            what,
            status: RowStatus::Running,
            label: None,
            at: None,
            started: place.time,
            ended: None,
            queue_us: None,
            duration_us: None,
            input: None,
            output: None,
            failure: None,
            cancel_asked: None,
            positions: vec![place.position],
            closed: None,
        }
    }

    fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    fn answer(&mut self, place: Place, outcome: &Outcome) -> Option<()> {
        if !self.is_open() {
            return None;
        }
        let status = match outcome {
            Outcome::Succeeded(value) => {
                self.output = Some(Shown::of(value));
                RowStatus::Succeeded
            }
            Outcome::Failed(value) => {
                let failure = Failure::from_value(value);
                let cancelled = failure.code == code::CANCELLED;
                self.failure = Some(failure);
                if cancelled { RowStatus::Cancelled } else { RowStatus::Failed }
            }
        };
        self.end(place, status)
    }

    /// Ends the row by an entry of its own.
    fn end(&mut self, place: Place, status: RowStatus) -> Option<()> {
        if !self.is_open() {
            return None;
        }
        self.positions.push(place.position);
        self.close(place, status);
        Some(())
    }

    /// Ends the row, if it is open, because something else ended.
    fn close(&mut self, place: Place, status: RowStatus) {
        if self.is_open() {
            self.status = status;
            self.ended = Some(place.time);
            self.duration_us = Some(micros(self.started, place.time));
            self.closed = Some(place.position);
        }
    }
}

impl Totals {
    fn count_step(&mut self, row: &Row) {
        self.steps += 1;
        let counter = match row.status {
            RowStatus::Succeeded => &mut self.steps_succeeded,
            RowStatus::Failed => &mut self.steps_failed,
            RowStatus::Cancelled | RowStatus::Aborted => &mut self.steps_cancelled,
            RowStatus::Forgotten => &mut self.steps_forgotten,
            RowStatus::Queued | RowStatus::Running | RowStatus::Retrying => &mut self.steps_open,
        };
        *counter += 1;
    }

    fn count_attempt(&mut self, row: &Row) {
        self.attempts += 1;
        self.attempts_failed += u32::from(row.status == RowStatus::Failed);
        if let What::Attempt { resumed, .. } = &row.what {
            self.attempts_resumed += u32::from(!resumed.is_empty());
        }
    }

    fn count_effect(&mut self, row: &Row) {
        self.effects += 1;
        self.effects_answered += u32::from(row.output.is_some() || row.failure.is_some());
        if let What::Http(http) = &row.what {
            self.effects_interrupted += u32::from(http.interrupted > 0);
        }
    }
}

fn micros(from: Timestamp, to: Timestamp) -> u64 {
    to.0.saturating_sub(from.0)
}

fn sleep(duration_ms: u64, now: Timestamp) -> What {
    What::Sleep { duration_ms, due: now + std::time::Duration::from_millis(duration_ms) }
}

fn label(options: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Options {
        label: Option<String>,
    }
    serde_json::from_str::<Options>(options).ok()?.label
}

fn read_request(http: &mut Http, request: &Value, payloads: &Payloads) {
    #[derive(Deserialize)]
    struct Request {
        method: Option<String>,
        url: Option<String>,
    }
    if let Some(request) = read::<Request>(request, payloads) {
        http.method = Some(request.method.unwrap_or_else(|| "GET".to_owned()));
        http.url = request.url;
    }
}

fn read_answer(http: &mut Http, answer: &Value, payloads: &Payloads) {
    #[derive(Deserialize)]
    struct Answer {
        status: Option<u16>,
        #[serde(default)]
        tries: Vec<Try>,
    }
    if let Some(answer) = read::<Answer>(answer, payloads) {
        http.status = answer.status;
        http.tries = answer.tries;
    }
}

fn read<'de, T: Deserialize<'de>>(value: &'de Value, payloads: &'de Payloads) -> Option<T> {
    let text = match value {
        Value::Inline(text) => text,
        Value::Stored { digest, .. } => payloads.get(digest)?,
    };
    serde_json::from_str(text).ok()
}
