//! One attempt of one function, in a task of its own: an instance, its effects, its time limit.

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use trackway_replay::{
    AttemptResumed, AttemptStarted, AttemptState, Digest, EffectId, EffectKind, EffectRecord, Failure, FuelRule, Kept,
    Kind, Machine, Random, StepId, StepRequest, StepState, Timestamp, Value, With, code,
};

use self::effects::Effects;
use super::check::{self, CallOptions};
use super::code::code_of;
use super::durable::Gone;
use super::function::{Attempt, AttemptStop, FunctionHost, Job};
use super::load::grants_of;
use super::places::{Place, Wanted};
use super::run::{Idle, Inner, LiveAttempt, Run};
use super::settle::{Ending, settle};
use crate::effects::Grants;
use crate::sandbox::{Code, End, Ended, GuestCall, Role};

mod effects;

/// What is on record of an attempt that a crash or an eviction interrupted, or that goes on with what
/// failed ones had done.
pub(super) struct OnRecord {
    /// The code that it was begun with.
    with: With,
    /// The attempt whose clock and randomness it goes on with.
    origin: u32,
    started: Timestamp,
    effects: Vec<EffectRecord>,
}

impl OnRecord {
    pub fn of(attempt: &AttemptState) -> OnRecord {
        let AttemptState { with, origin, started, effects, .. } = attempt;
        OnRecord { with: with.clone(), origin: *origin, started: *started, effects: effects.clone() }
    }

    /// Its code, if that is not the run's own.
    fn with_other_than(&self, run: &Run) -> Option<With> {
        let is_own = self.with.component == run.code.digest() && self.with.deployment == *run.lock().state.deployment();
        (!is_own).then(|| self.with.clone())
    }
}

pub(super) enum Begin {
    /// It has not been on record before.
    Anew,
    After(OnRecord),
}

/// Makes the task of an attempt, and sees to it that it is started.
pub(super) fn launch(run: &Arc<Run>, inner: &mut Inner, step: StepId, number: u32, begin: Begin) {
    let (abort, registration) = AbortHandle::new_pair();
    let poke = Arc::new(Notify::new());
    let live = LiveAttempt {
        attempt: number,
        abort,
        idle: Idle::No,
        settled: Vec::new(),
        poke: poke.clone(),
        fuel: Some(Arc::default()),
    };
    inner.attempts.insert(step, live);
    let task = make(run.clone(), step, number, (begin, poke));
    let task: BoxFuture<'static, ()> = Box::pin(async move {
        // Aborted: whoever did it has taken the attempt out of hand.
        let _ = Abortable::new(task, registration).await;
    });
    // One alone is begun by the driver, which has nothing else to do then: a task of its own would be
    // woken on another core for every step. Of several each gets its own at once.
    match inner.launched {
        None => {
            inner.launched = Some(task);
            run.poke.notify_one();
        }
        Some(_) => run.core.spawn(run.key.tenant, task),
    }
}

async fn make(run: Arc<Run>, step: StepId, number: u32, (begin, poke): (Begin, Arc<Notify>)) {
    let place = run.core.places.take(run.key).await;
    let ending = match Making::begin(&run, step, number, begin).await {
        Ok(making) => making.run_to_end(place, &poke).await,
        Err(Trouble::Gone) => return,
        Err(Trouble::Failed(failure)) => Ok(Ending::failed(failure, &run.code)),
    };
    if let Ok(ending) = ending {
        settle(&run, step, number, ending);
    }
}

enum Trouble {
    Gone,
    Failed(Failure),
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Trouble {
        Trouble::Gone
    }
}

struct Making {
    attempt: Arc<Attempt>,
    code: Arc<Code>,
    call: GuestCall,
    jobs: mpsc::UnboundedReceiver<Job>,
    timeout: Duration,
    heartbeat_timeout: Option<Duration>,
}

impl Making {
    async fn begin(run: &Arc<Run>, step: StepId, number: u32, begin: Begin) -> Result<Making, Trouble> {
        let limits = run.started.limits.clone();
        let with = match &begin {
            Begin::Anew => run.lock().state.step(step).and_then(|state| state.with.clone()),
            Begin::After(on_record) => on_record.with_other_than(run),
        };
        let loaded = code_for(run, with.as_ref()).await;
        let digest = with.map_or(run.code.digest(), |with| with.component);
        let (function, input, options, machine, fuel, origin, given, on_record) = {
            let mut inner = run.lock();
            if !inner.is_live(step, number) || run.core.is_draining() {
                return Err(Trouble::Gone);
            }
            let is_over = |state: &StepState| state.deadline().is_some_and(|by| by <= run.now());
            if inner.state.is_paused() || inner.state.step(step).is_some_and(is_over) {
                // It has not begun; whoever resumes the run begins it, or its time is over.
                inner.attempts.remove(&step);
                run.poke.notify_one();
                return Err(Trouble::Gone);
            }
            let Some((function, input, options)) = inner.state.step(step).and_then(|state| match &state.request {
                StepRequest::Call { function, input, options } => {
                    Some((function.clone(), input.clone(), CallOptions::of(options)))
                }
                StepRequest::Sleep { .. }
                | StepRequest::StartRun { .. }
                | StepRequest::Receive { .. }
                | StepRequest::AskPerson { .. }
                | StepRequest::Promise { .. }
                | StepRequest::Entity { .. }
                | StepRequest::AcceptUpdate { .. } => None,
            }) else {
                return Err(Trouble::Gone);
            };
            let is_new = matches!(begin, Begin::Anew);
            let on_record = match begin {
                Begin::Anew => {
                    inner.sequence(run.now(), Kind::AttemptStarted(AttemptStarted { step, attempt: number }));
                    let Some(attempt) = inner.attempt_state(step) else { return Err(Trouble::Gone) };
                    OnRecord::of(attempt)
                }
                Begin::After(on_record) => on_record,
            };
            let given = inner.attempt_state(step).and_then(|attempt| attempt.given.clone());
            let machine = recalling(run, &inner, &on_record, number, digest);
            let fuel = inner.attempts.get(&step).and_then(|live| live.fuel.clone()).unwrap_or_default();
            if !is_new {
                inner.sequence(run.now(), Kind::AttemptResumed(AttemptResumed { step, attempt: number }));
            }
            // What it recalls it does not ask for again, so what says so stands first.
            let recalls = !is_new || !on_record.effects.is_empty();
            let origin = on_record.origin;
            let on_record = recalls.then(|| {
                let end = inner.end();
                run.force(&mut inner, end);
                end
            });
            (function, input, options, machine, fuel, origin, given, on_record)
        };
        if let Some(end) = on_record {
            run.durable(end).await?;
        }
        let (code, grants) =
            loaded.map_err(|error| Trouble::Failed(Failure::new(code::HOST_FAILED, error.to_string())))?;
        let Some(entry) = code.manifest().function(&function) else {
            let message = format!("component {digest:.12} has no function `{function}`");
            return Err(Trouble::Failed(Failure::permanent(code::UNKNOWN_FUNCTION, message)));
        };
        let grants = if grants.has_secrets() { Arc::new(grants.for_function(&entry.secrets)) } else { grants };
        let unreadable = |error: crate::Error| Trouble::Failed(Failure::new(code::NOT_RESUMABLE, error.to_string()));
        let input = run.text(&input).await.map_err(unreadable)?;
        let timeout = options.timeout(entry);
        let heartbeat_timeout = options.heartbeat_timeout(entry);
        let allowance = machine.allowance(0);
        let (sender, jobs) = mpsc::unbounded_channel();
        let random = Random::of_attempt(run.attempt_seed, step, origin);
        let attempt = Attempt::new(run.clone(), grants, (step, number), (machine, fuel), random, sender);
        let context = context(run, step, number, given.as_ref());
        let tenant = run.key.tenant;
        let call = GuestCall {
            tenant,
            role: Role::Function,
            name: function,
            input,
            context: context.into(),
            limits,
            fuel: allowance,
        };
        Ok(Making { attempt, code, call, jobs, timeout, heartbeat_timeout })
    }

    /// The attempt's result, or [`Gone`] if it is no longer this worker's.
    async fn run_to_end(mut self, place: Place, poke: &Notify) -> Result<Ending, Gone> {
        let run = self.attempt.run.clone();
        let host = Box::new(FunctionHost::new(self.attempt.clone()));
        let call = self.code.clone().call(self.call.clone(), host);
        let mut call = std::pin::pin!(call);
        // Of the time for which it is held: nobody sets that back.
        let begun = run.core.clock.elapsed();
        let mut time_limit = run.core.clock.wait(self.timeout);
        let mut heartbeat = self.heartbeat_timeout.map(|timeout| run.core.clock.wait(timeout));
        let mut effects = Effects::new(self.attempt.clone(), place);
        loop {
            tokio::select! {
                biased;
                end = &mut call => return self.result_of(end),
                job = self.jobs.recv() => {
                    if let Some(job) = job {
                        effects.take(job);
                    }
                }
                Some((effect, outcome)) = effects.running.next(), if !effects.running.is_empty() => {
                    effects.ended(effect, outcome)?;
                }
                () = poke.notified() => effects.settled(),
                () = wanted(&mut effects.place_wanted) => {
                    if effects.give_place_up() {
                        return Err(Gone);
                    }
                }
                () = due(&mut effects.leave_at) => {
                    if effects.give_place_up() {
                        return Err(Gone);
                    }
                }
                () = due(&mut effects.tell_at) => self.attempt.tell(),
                () = due(&mut heartbeat) => match self.silent_for(&effects) {
                    Some(time) => heartbeat = Some(run.core.clock.wait(time)),
                    None => {
                        let message = "the attempt said nothing of its progress for longer than its heartbeat timeout";
                        return self.break_off(Failure::new(code::HEARTBEAT_TIMEOUT, message)).await;
                    }
                },
                // A person's time is not the function's.
                () = &mut time_limit, if !effects.waits_for_people() => {
                    let held = run.core.clock.elapsed().saturating_sub(begun);
                    let left = (self.timeout + effects.waited()).saturating_sub(held);
                    if !left.is_zero() {
                        time_limit = run.core.clock.wait(left);
                        continue;
                    }
                    let failure = Failure::new(code::TIMEOUT, "the attempt was held longer than its timeout");
                    return self.break_off(failure).await;
                }
            }
        }
    }

    /// For how long it may go on to say nothing; nothing if that was too long. While it only sleeps nothing is expected.
    fn silent_for(&self, effects: &Effects) -> Option<Duration> {
        let (timeout, now) = (self.heartbeat_timeout?, self.attempt.run.core.clock.elapsed());
        let mut inner = self.attempt.lock();
        if effects.rests() {
            inner.telling.beat = now;
        }
        (inner.telling.beat + timeout).checked_sub(now).filter(|left| !left.is_zero())
    }

    /// What is broken off may be seen outside, so its cause is durable first.
    async fn break_off(&self, failure: Failure) -> Result<Ending, Gone> {
        let run = &self.attempt.run;
        self.attempt.tell();
        let ending = Ending { result: Err(failure), kept: self.kept(Broken::ByHost), code: self.code.clone() };
        settle(run, self.attempt.step, self.attempt.number, ending);
        let end = {
            let mut inner = run.lock();
            let end = inner.end();
            run.force(&mut inner, end);
            end
        };
        run.durable(end).await?;
        Err(Gone)
    }

    fn result_of(&self, end: End) -> Result<Ending, Gone> {
        let broken = match end.how {
            Ended::HostFailed(_) => Broken::ByHost,
            Ended::Returned(_) | Ended::Trapped(_) | Ended::Stopped => Broken::ByItself,
        };
        let kept = self.kept(broken);
        let mut inner = self.attempt.lock();
        self.attempt.computes(&mut inner, end.fuel);
        let not_resumable = |why: String| Failure::new(code::NOT_RESUMABLE, why);
        let result = match end.how {
            Ended::Returned(_) | Ended::Trapped(_) if !inner.machine.has_caught_up() => {
                let why = inner.machine.ran_past_record().map(|divergence| divergence.to_string());
                Err(not_resumable(why.unwrap_or_else(|| "it ended before its recorded effects".to_owned())))
            }
            Ended::Returned(Ok(output)) => check::value(&output, &self.call.limits, code::BAD_OUTPUT).map(|()| output),
            Ended::Returned(Err(failure)) => Err(Failure::from_guest(&failure)),
            Ended::Trapped(failure) => Err(failure),
            Ended::Stopped => match &inner.stop {
                Some(AttemptStop::NotResumable(why)) => Err(not_resumable(why.clone())),
                Some(AttemptStop::Failed(failure)) => Err(failure.clone()),
                Some(AttemptStop::Gone) | None => return Err(Gone),
            },
            Ended::HostFailed(error) => Err(Failure::new(code::HOST_FAILED, error.to_string())),
        };
        drop(inner);
        if result.is_err() {
            // The next attempt is told of it.
            self.attempt.tell();
        }
        Ok(Ending { result, kept, code: self.code.clone() })
    }

    /// What of it an attempt that goes on after it recalls; nothing where it did not get beyond what it
    /// recalled itself, or has not got any answer.
    fn kept(&self, broken: Broken) -> Option<Kept> {
        let inner = self.attempt.lock();
        let (answers, last) = inner.machine.delivered_last();
        let has_caught_up = inner.machine.has_caught_up();
        match broken {
            Broken::ByHost => Some(Kept { answers, last: None }),
            // What a person answered is not asked again.
            Broken::ByItself => last.map(|last| {
                let last = Some(EffectId(last)).filter(|last| !self.attempt.asked_person(*last));
                Kept { answers, last }
            }),
        }
        .filter(|_| has_caught_up)
    }
}

/// Who broke an attempt off.
#[derive(Clone, Copy)]
enum Broken {
    /// What it had got so far is not the cause.
    ByHost,
    ByItself,
}

/// The code of an attempt and what it may reach: the run's, what a person chose, or what it was begun with.
async fn code_for(run: &Run, with: Option<&With>) -> crate::Result<(Arc<Code>, Arc<Grants>)> {
    match with {
        None => Ok((run.code.clone(), run.grants.clone())),
        Some(With { deployment, component }) => {
            let code = code_of(&run.core, run.key.tenant, *component).await?;
            Ok((code, grants_of(&run.core, run.key, deployment, *component).await?))
        }
    }
}

/// The third argument of `call`.
fn context(run: &Run, step: StepId, number: u32, progress: Option<&Value>) -> String {
    let mut context = serde_json::json!({ "run": run.key.run, "step": step, "attempt": number });
    if let Some(Value::Inline(text)) = progress
        && let Ok(progress) = serde_json::from_str::<serde_json::Value>(text)
    {
        context["progress"] = progress;
    }
    context.to_string()
}

/// The machine of an attempt: what is on record for it, and the answers that are there. What another
/// attempt did is held against it without its fuel, since an attempt knows its own number.
fn recalling(run: &Run, inner: &Inner, on_record: &OnRecord, number: u32, component: Digest) -> Machine {
    let mut machine = Machine::new(on_record.started, run.started.limits.fuel);
    let engine = run.core.sandbox.engine_name();
    for record in &on_record.effects {
        let own = match &record.kind {
            EffectKind::Asked(asked) => asked.attempt == number,
            EffectKind::Answered(answered) => answered.attempt == number,
            EffectKind::Emitted(emitted) => emitted.attempt == number,
            EffectKind::Begun(begun) => begun.attempt == number,
            EffectKind::Ended(ended) => ended.attempt == number,
        };
        let rule = if own { inner.state.fuel_rule(record.position, engine, component) } else { FuelRule::Loose };
        machine.recall_effect(record, rule);
    }
    machine
}

/// Resolves once, when it is due.
async fn due(timer: &mut Option<BoxFuture<'static, ()>>) {
    match timer {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
    *timer = None;
}

async fn wanted(place: &mut Option<Wanted>) {
    if let Some(wanted) = place {
        if wanted.await.is_ok() {
            return;
        }
        *place = None;
    }
    std::future::pending().await
}
