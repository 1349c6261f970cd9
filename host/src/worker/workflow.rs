//! The host side of a workflow's instance: every import becomes a command or a delivery of the
//! run's machine.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::task::{Context, Poll};
use trackway_replay::{
    Act, Asked, Command as Produced, Completion, Decision, Emitted, Failure, Forgotten, Kind, Limits, Machine, Next,
    Outcome, PatchDecision, Patched, Proof, Published, Replied, StepCancelAsked, StepId, StepRequest, StepState, Value,
    code, digest_of_cancel, digest_of_forget,
};

use super::asking::{Asking, Commanded, GoesOn, patch_produced, too_many_patches};
use super::attempt::{self, Begin};
use super::child;
use super::emit;
use super::entity;
use super::run::{Inner, Run, Stopping, Told, cancelled};
use super::times;
use super::told::{Publishing, Replying};
use crate::quota::Quota;
use crate::sandbox::{Command, Delivery, GuestHost, Reply, Stop};

pub(super) struct WorkflowHost {
    run: Arc<Run>,
    /// A large value on its way from the store, and what it is delivered as.
    loading: Option<(Delivery, BoxFuture<'static, crate::Result<Arc<str>>>)>,
}

impl WorkflowHost {
    pub fn new(run: Arc<Run>) -> WorkflowHost {
        WorkflowHost { run, loading: None }
    }

    fn ask(&self, inner: &mut Inner, request: Asking<'_>, fuel: u64) -> Result<u32, Stop> {
        if let Some(failure) = over_limit(&inner.machine, &self.run.started.limits) {
            return Err(fails_with(inner, failure));
        }
        let command = request.produced(inner.machine.next_on_record());
        let at = command.at.clone();
        let open = inner.machine.open_count();
        match inner.machine.ask(command, fuel) {
            Decision::Recall { id } => {
                self.catch_up(inner);
                Ok(id)
            }
            Decision::Resume { id } => {
                if let Some(failure) = self.refusal(&request, open) {
                    inner.refused.insert(StepId(id), failure);
                }
                self.catch_up(inner);
                Ok(id)
            }
            Decision::Perform { id, proof } => {
                let refusal = self.refusal(&request, open);
                self.perform(inner, StepId(id), request, proof, at, refusal);
                Ok(id)
            }
            Decision::Ignore => Ok(0),
            Decision::Diverged(divergence) => Err(diverged(inner, divergence)),
        }
    }

    fn perform(
        &self,
        inner: &mut Inner,
        step: StepId,
        request: Asking<'_>,
        proof: Proof,
        at: Option<Arc<str>>,
        refusal: Option<Failure>,
    ) {
        let clock = self.run.now();
        let now = inner.machine.now();
        let request = request.request(inner, refusal.is_some());
        // It is kept as it is: before its answer stands nobody has refused it.
        let crossed = || self.run.limits.crossed(&OF_STEPS, clock).map(|crossing| crossing.failure());
        let refusal = refusal.or_else(crossed);
        let is_call = matches!(request, StepRequest::Call { .. });
        let to_start =
            matches!(request, StepRequest::StartRun { .. } | StepRequest::Entity { .. }).then(|| request.clone());
        let accepts = match &request {
            StepRequest::AcceptUpdate { update, .. } => Some(update.clone()),
            _ => None,
        };
        inner.sequence(clock, Kind::Asked(Asked { step, request, proof, now, at }));
        if let Some(failure) = refusal {
            inner.answer_failed(clock, step, &failure);
        } else if is_call {
            times::set(&self.run, inner, clock, step);
            // Whoever resumes the run begins it.
            if !inner.state.is_paused() {
                attempt::launch(&self.run, inner, step, 1, Begin::Anew);
            }
        } else if let Some(request @ StepRequest::Entity { .. }) = to_start {
            entity::perform(&self.run, inner, step, request);
        } else if let Some(request) = to_start {
            if !inner.state.is_paused() {
                child::launch(&self.run, inner, step, request);
            }
        } else if let Some(update) = accepts {
            inner.take_offers(clock, &update);
        } else if let Some(due) = inner.state.step(step).and_then(StepState::due) {
            inner.timers.insert((due, step));
        }
    }

    fn refusal(&self, request: &Asking<'_>, open: usize) -> Option<Failure> {
        request.refusal(&self.run.started.limits, self.run.code.manifest(), open)
    }

    /// Once the record is used up, what it left open is the driver's to take up.
    fn catch_up(&self, inner: &mut Inner) {
        if inner.machine.has_caught_up() && !inner.taken_up {
            self.run.poke.notify_one();
        }
    }

    fn patched(&self, inner: &mut Inner, patch: &str, fuel: u64) -> Result<bool, Stop> {
        let produced = patch_produced(patch).map_err(|failure| fails_with(inner, failure))?;
        match inner.machine.patched(produced, fuel) {
            PatchDecision::Known(known) => {
                self.catch_up(inner);
                Ok(known)
            }
            PatchDecision::Record(proof) => {
                inner.sequence(self.run.now(), Kind::Patched(Patched { id: patch.into(), proof }));
                Ok(true)
            }
            PatchDecision::TooMany => Err(fails_with(inner, too_many_patches())),
            PatchDecision::Diverged(divergence) => Err(diverged(inner, divergence)),
        }
    }

    fn publish(&self, inner: &mut Inner, state: Publishing<'_>, fuel: u64) -> Result<(), Stop> {
        let produced = state.produced(&inner.machine, &self.run.started.limits);
        let produced = produced.map_err(|failure| fails_with(inner, failure))?;
        let at = produced.at.clone();
        match inner.machine.publish(produced, fuel) {
            Decision::Perform { proof, .. } => {
                let value = inner.value(state.value, Value::INLINE_MAX_BYTES);
                let published = Published { key: state.key.into(), value, proof, at };
                inner.sequence(self.run.now(), Kind::Published(published));
            }
            Decision::Recall { .. } | Decision::Resume { .. } | Decision::Ignore => self.catch_up(inner),
            Decision::Diverged(divergence) => return Err(diverged(inner, divergence)),
        }
        Ok(())
    }

    fn emit(&self, inner: &mut Inner, event: &str, data: &str, at: Option<&str>, fuel: u64) -> Result<(), Stop> {
        if let Some(failure) = over_limit(&inner.machine, &self.run.started.limits) {
            return Err(fails_with(inner, failure));
        }
        let produced = emit::produced(event, data, at).map_err(|failure| fails_with(inner, failure))?;
        let at = produced.at.clone();
        match inner.machine.emit(produced, fuel) {
            Decision::Perform { proof, .. } => {
                let emitted = Emitted { name: event.into(), data: emit::data(data), proof, at };
                inner.sequence(self.run.now(), Kind::Emitted(emitted));
            }
            Decision::Recall { .. } | Decision::Resume { .. } | Decision::Ignore => self.catch_up(inner),
            Decision::Diverged(divergence) => return Err(diverged(inner, divergence)),
        }
        Ok(())
    }

    fn reply(&self, inner: &mut Inner, reply: Replying<'_>, fuel: u64) -> Result<(), Stop> {
        let limits = &self.run.started.limits;
        let produced = reply.produced(&inner.machine, limits).map_err(|failure| fails_with(inner, failure))?;
        let at = produced.at.clone();
        let message = inner.machine.update_of(reply.id);
        match (inner.machine.reply(reply.id, produced, fuel), message) {
            (Decision::Perform { proof, .. }, Some(message)) => {
                let outcome = reply.outcome(inner, limits);
                let replied = Replied { step: StepId(reply.id), message, outcome, proof, at };
                inner.sequence(self.run.now(), Kind::Replied(replied));
            }
            (Decision::Diverged(divergence), _) => return Err(diverged(inner, divergence)),
            (Decision::Recall { .. } | Decision::Resume { .. }, _) => self.catch_up(inner),
            (Decision::Perform { .. } | Decision::Ignore, _) => {}
        }
        Ok(())
    }

    fn about(&self, inner: &mut Inner, id: u32, act: Act, fuel: u64) -> Result<(), Stop> {
        let is_forget = matches!(act, Act::Forget { .. });
        let digest = if is_forget { digest_of_forget(id) } else { digest_of_cancel(id) };
        let proof = match inner.machine.about(id, Produced { act, digest, at: None }, fuel) {
            Decision::Perform { proof, .. } => proof,
            Decision::Recall { .. } | Decision::Resume { .. } => {
                self.catch_up(inner);
                return Ok(());
            }
            Decision::Ignore => return Ok(()),
            Decision::Diverged(divergence) => return Err(diverged(inner, divergence)),
        };
        let step = StepId(id);
        let clock = self.run.now();
        inner.remove_timer(step);
        let child = inner.child_to_cancel(step);
        inner.note_fuel(clock, step);
        if is_forget {
            inner.sequence(clock, Kind::Forgotten(Forgotten { step, proof }));
        } else {
            inner.sequence(clock, Kind::StepCancelAsked(StepCancelAsked { step, proof }));
            // One that waits for a signal is open again by this, whatever came for it.
            if inner.state.step(step).is_some() {
                inner.answer_failed(clock, step, &cancelled("the workflow cancelled this step"));
            }
        }
        if let Some(child) = child {
            inner.send_cancel(self.run.key, step, child, clock);
        }
        if inner.attempts.contains_key(&step) {
            inner.abandon(step);
            let end = inner.end();
            self.run.force(inner, end);
        }
        Ok(())
    }
}

/// Before a step is carried out: it and its answer are stored.
const OF_STEPS: [Quota; 2] = [Quota::JournalBytes, Quota::PayloadBytes];

/// What a run ends with that has used up its operations and asks for one more.
pub(super) fn over_limit(machine: &Machine, limits: &Limits) -> Option<Failure> {
    let message = || format!("the run asked for more than {} operations (quota `steps_per_run`)", limits.steps);
    (machine.operations() >= limits.steps).then(|| Failure::permanent(code::TOO_MANY, message()))
}

fn fails_with(inner: &mut Inner, failure: Failure) -> Stop {
    inner.stop = Some(Stopping::GuestFailed(failure));
    Stop
}

fn diverged(inner: &mut Inner, divergence: Box<trackway_replay::Divergence>) -> Stop {
    inner.stop = Some(Stopping::Diverged(divergence));
    Stop
}

impl GuestHost for WorkflowHost {
    fn command(&mut self, command: Command<'_>, fuel: u64) -> Result<Reply, Stop> {
        let run = self.run.clone();
        let mut inner = run.lock();
        if inner.stop.is_some() || inner.ending {
            return Err(Stop);
        }
        let id = match Commanded::of(command) {
            Commanded::Ask(asking) => {
                let step = self.ask(&mut inner, asking, fuel)?;
                inner.machine.guest_id(step)
            }
            Commanded::Forget { id } => {
                let id = inner.machine.step_of(id);
                self.about(&mut inner, id, Act::Forget { id }, fuel)?;
                0
            }
            Commanded::Cancel { id } => {
                let id = inner.machine.step_of(id);
                self.about(&mut inner, id, Act::Cancel { id }, fuel)?;
                0
            }
            Commanded::ContinueWith { input, unused } => {
                let goes_on = GoesOn::new(&inner.machine, &run.started.limits, input, unused);
                inner.goes_on = Some(goes_on.map_err(|failure| fails_with(&mut inner, failure))?);
                0
            }
            Commanded::Patched { patch } => u32::from(self.patched(&mut inner, patch, fuel)?),
            Commanded::Publish(state) => {
                self.publish(&mut inner, state, fuel)?;
                0
            }
            Commanded::Emit { event, data, at } => {
                self.emit(&mut inner, event, data, at, fuel)?;
                0
            }
            Commanded::Reply(reply) => {
                let reply = Replying { id: inner.machine.step_of(reply.id), ..reply };
                self.reply(&mut inner, reply, fuel)?;
                0
            }
            Commanded::NotOurs => return Err(Stop),
        };
        Ok(Reply { id, fuel: Some(inner.machine.allowance(fuel)) })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let mut inner = self.run.lock();
        if inner.stop.is_some() {
            return Poll::Ready(Err(Stop));
        }
        if inner.state.is_paused() {
            inner.wait_for_room(cx.waker());
            return Poll::Pending;
        }
        if !inner.is_too_far_ahead() {
            return Poll::Ready(Ok(()));
        }
        // Not as one that waits in `next`: it has more to do, so the run must not be parked.
        inner.wait_for_room(cx.waker());
        let end = inner.end();
        self.run.force(&mut inner, end);
        Poll::Pending
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, fuel: u64) -> Poll<Result<Delivery, Stop>> {
        if let Some((_, loading)) = &mut self.loading {
            let Poll::Ready(loaded) = loading.as_mut().poll(cx) else { return Poll::Pending };
            return Poll::Ready(self.loaded(loaded));
        }
        let run = self.run.clone();
        let mut inner = run.lock();
        if inner.stop.is_some() {
            return Poll::Ready(Err(Stop));
        }
        if inner.state.is_paused() {
            inner.guest = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inner.machine.computes(fuel);
        if inner.machine.open_count() > 0 {
            inner.note_own_fuel(run.now());
        }
        match inner.machine.deliver() {
            Next::Deliver(completion) => {
                self.catch_up(&mut inner);
                let allowance = inner.machine.allowance(0);
                let delivery = delivery_of(&inner, completion, allowance);
                drop(inner);
                match delivery {
                    Ok(delivery) => Poll::Ready(Ok(delivery)),
                    Err((delivery, value)) => {
                        let run = self.run.clone();
                        self.loading = Some((delivery, Box::pin(async move { run.text(&value).await })));
                        self.poll_next(cx, fuel)
                    }
                }
            }
            Next::NothingOpen => Poll::Ready(Ok(nothing_open(inner.machine.allowance(fuel)))),
            Next::Wait => {
                // The driver polls the instance after each event; only the first wait is news.
                if inner.guest.replace(cx.waker().clone()).is_none() {
                    self.run.poke.notify_one();
                }
                Poll::Pending
            }
            Next::Diverged(divergence) => Poll::Ready(Err(diverged(&mut inner, divergence))),
        }
    }

    fn computes(&mut self, fuel: u64) {
        self.run.lock().machine.computes(fuel);
    }

    fn promise_token(&mut self, id: u32) -> String {
        let inner = self.run.lock();
        inner.state.tokens().of(StepId(inner.machine.step_of(id))).to_string()
    }

    fn now_ms(&mut self) -> u64 {
        self.run.lock().machine.now().millis()
    }

    fn random(&mut self, into: &mut [u8]) {
        let mut inner = self.run.lock();
        let commands = inner.machine.commands();
        inner.random.fill(commands, into);
    }

    fn log(&mut self, level: &str, message: &str, fields: &str) {
        let now = self.run.now();
        let told = self.run.lock().log_workflow(now, level, message, fields);
        if told == Told::First {
            self.run.poke.notify_one();
        }
    }
}

impl WorkflowHost {
    fn loaded(&mut self, loaded: crate::Result<Arc<str>>) -> Result<Delivery, Stop> {
        let (delivery, _) = self.loading.take().ok_or(Stop)?;
        match loaded {
            Ok(body) => Ok(Delivery { body, ..delivery }),
            Err(error) => {
                tracing::error!(run = %self.run.key.run, %error, "a value of the run cannot be read");
                self.run.lock().stop = Some(Stopping::Unreadable(error));
                Err(Stop)
            }
        }
    }
}

/// A delivery, or what it lacks: a value that is not in memory.
pub(super) fn delivery_of(
    inner: &Inner,
    completion: Completion,
    allowance: u64,
) -> Result<Delivery, (Delivery, Value)> {
    let (kind, id, value) = match completion {
        Completion::Answer { id, outcome: Outcome::Succeeded(value) } => ("succeeded", id, value),
        Completion::Answer { id, outcome: Outcome::Failed(value) } => ("failed", id, value),
        Completion::Cancel { reason } => ("cancel", 0, cancel_body(&reason)),
    };
    let delivery = |body| Delivery { kind, id, body, fuel: Some(allowance), refuel: true };
    match &value {
        Value::Inline(text) => Ok(delivery(text.clone())),
        Value::Stored { digest, .. } => match inner.held(digest) {
            Some(text) => Ok(delivery(text)),
            None => Err((delivery("".into()), value)),
        },
    }
}

pub(super) fn cancel_body(reason: &str) -> Value {
    Value::inline(serde_json::json!({ "reason": reason }).to_string())
}

/// Does not refuel: a guest that asks for nothing again and again comes to its end.
pub(super) fn nothing_open(allowance: u64) -> Delivery {
    let failure = Failure::permanent(code::NOTHING_OPEN, "`next` was called with nothing open: start something first");
    Delivery { kind: "failed", id: 0, body: failure.to_text(), fuel: Some(allowance), refuel: false }
}
