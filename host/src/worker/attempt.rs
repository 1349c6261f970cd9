//! One attempt of one function, in a task of its own: an instance, its effects, its time limit.

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use trackway_replay::{
    AttemptFailed, AttemptResumed, AttemptStarted, AttemptState, EffectAnswered, EffectId, EffectRecord, Failure, Kind,
    Machine, Outcome, Random, StepId, StepRequest, Timestamp, Value, Verdict, code,
};

use super::check;
use super::durable::Gone;
use super::function::{Attempt, AttemptStop, FunctionHost, Job};
use super::places::{Place, Wanted};
use super::run::{Inner, LiveAttempt, Run, cancelled, fuel_rule};
use crate::effects::HttpCall;
use crate::sandbox::{End, Ended, GuestCall, Role};

/// A resume takes a flush and a recall, so giving a place up for less than this would not help anybody.
const REST_MIN: Duration = Duration::from_millis(20);

/// What is on record of an attempt that a crash or an eviction interrupted.
pub(super) struct OnRecord {
    pub started: Timestamp,
    pub effects: Vec<EffectRecord>,
}

impl OnRecord {
    pub fn of(attempt: &AttemptState) -> OnRecord {
        OnRecord { started: attempt.started, effects: attempt.effects.clone() }
    }
}

/// Makes the task of an attempt, and sees to it that it is started.
pub(super) fn launch(run: &Arc<Run>, inner: &mut Inner, step: StepId, number: u32, on_record: Option<OnRecord>) {
    let (abort, registration) = AbortHandle::new_pair();
    inner.attempts.insert(step, LiveAttempt { attempt: number, abort, idle_until: None });
    let task = make(run.clone(), step, number, on_record);
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
        Some(_) => run.core.spawner.spawn(task),
    }
}

async fn make(run: Arc<Run>, step: StepId, number: u32, on_record: Option<OnRecord>) {
    let place = run.core.places.take(run.key).await;
    let result = match Making::begin(&run, step, number, on_record).await {
        Ok(making) => making.run_to_end(place).await,
        Err(Trouble::Gone) => return,
        Err(Trouble::Unreadable(error)) => Ok(Err(Failure::new(code::NOT_RESUMABLE, error.to_string()))),
    };
    if let Ok(result) = result {
        settle(&run, step, number, result);
    }
}

enum Trouble {
    Gone,
    Unreadable(crate::Error),
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Trouble {
        Trouble::Gone
    }
}

struct Making {
    attempt: Arc<Attempt>,
    call: GuestCall,
    jobs: mpsc::UnboundedReceiver<Job>,
    time_limit: Timestamp,
}

impl Making {
    async fn begin(run: &Arc<Run>, step: StepId, number: u32, on_record: Option<OnRecord>) -> Result<Making, Trouble> {
        let limits = run.started.limits.clone();
        let (function, input, machine, resumed) = {
            let mut inner = run.lock();
            if !inner.is_live(step, number) || run.core.is_draining() {
                return Err(Trouble::Gone);
            }
            if inner.state.is_paused() {
                // It has not begun; whoever resumes the run begins it.
                inner.attempts.remove(&step);
                run.poke.notify_one();
                return Err(Trouble::Gone);
            }
            let Some((function, input)) = inner.state.step(step).and_then(|state| match &state.request {
                StepRequest::Call { function, input, .. } => Some((function.clone(), input.clone())),
                StepRequest::Sleep { .. } | StepRequest::StartRun { .. } => None,
            }) else {
                return Err(Trouble::Gone);
            };
            match on_record {
                None => {
                    let begun = Kind::AttemptStarted(AttemptStarted { step, attempt: number });
                    let (_, now) = inner.sequence(run.now(), begun);
                    (function, input, Machine::new(now, limits.fuel), None)
                }
                Some(on_record) => {
                    let machine = recalling(run, &inner, on_record);
                    inner.sequence(run.now(), Kind::AttemptResumed(AttemptResumed { step, attempt: number }));
                    let end = inner.end();
                    run.force(&mut inner, end);
                    (function, input, machine, Some(end))
                }
            }
        };
        if let Some(end) = resumed {
            run.durable(end).await?;
        }
        let input = run.text(&input).await.map_err(Trouble::Unreadable)?;
        let fuel = machine.allowance(0);
        let (sender, jobs) = mpsc::unbounded_channel();
        let attempt = Attempt::new(run.clone(), step, number, machine, sender);
        let context = serde_json::json!({ "run": run.key.run, "step": step, "attempt": number }).to_string();
        let timeout_ms = run.code.manifest().function(&function).map_or(0, |entry| entry.timeout_ms);
        let call = GuestCall { role: Role::Function, name: function, input, context: context.into(), limits, fuel };
        Ok(Making { attempt, call, jobs, time_limit: run.now() + Duration::from_millis(timeout_ms) })
    }

    /// The attempt's result, or [`Gone`] if it is no longer this worker's.
    async fn run_to_end(mut self, place: Place) -> Result<Result<String, Failure>, Gone> {
        let run = self.attempt.run.clone();
        let host = Box::new(FunctionHost::new(self.attempt.clone()));
        let call = run.code.clone().call(self.call.clone(), host);
        let mut call = std::pin::pin!(call);
        let mut time_limit = run.core.clock.sleep_until(self.time_limit);
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
                () = wanted(&mut effects.place_wanted) => {
                    effects.give_place_up();
                    return Err(Gone);
                }
                () = &mut time_limit => {
                    let failure = Failure::new(code::TIMEOUT, "the attempt was held longer than its timeout");
                    // What is broken off may be seen outside, so its cause is durable first.
                    settle(&run, self.attempt.step, self.attempt.number, Err(failure));
                    let end = {
                        let mut inner = run.lock();
                        let end = inner.end();
                        run.force(&mut inner, end);
                        end
                    };
                    run.durable(end).await?;
                    return Err(Gone);
                }
            }
        }
    }

    fn result_of(&self, end: End) -> Result<Result<String, Failure>, Gone> {
        let inner = self.attempt.lock();
        let not_resumable = |why: String| Failure::new(code::NOT_RESUMABLE, why);
        Ok(match end.how {
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
        })
    }
}

/// The machine of an attempt that goes on: its recorded effects, and the answers that are there.
fn recalling(run: &Run, inner: &Inner, on_record: OnRecord) -> Machine {
    let mut machine = Machine::new(on_record.started, run.started.limits.fuel);
    let (engine, component) = (run.core.sandbox.engine_name(), run.code.digest());
    for record in &on_record.effects {
        machine.recall_effect(record, fuel_rule(&inner.state, record.position, engine, component));
    }
    machine
}

type Running = BoxFuture<'static, (EffectId, Option<Result<String, Failure>>)>;

/// The effects of an attempt that are under way.
struct Effects {
    attempt: Arc<Attempt>,
    running: FuturesUnordered<Running>,
    aborts: BTreeMap<EffectId, AbortHandle>,
    /// Those that are sleeps, with the time they are due at.
    sleeps: BTreeMap<EffectId, Timestamp>,
    place: Place,
    /// While nothing but sleeps is under way.
    place_wanted: Option<Wanted>,
}

impl Effects {
    fn new(attempt: Arc<Attempt>, place: Place) -> Effects {
        let running = FuturesUnordered::new();
        let (aborts, sleeps) = (BTreeMap::new(), BTreeMap::new());
        Effects { attempt, running, aborts, sleeps, place, place_wanted: None }
    }

    fn take(&mut self, job: Job) {
        let run = self.attempt.run.clone();
        match job {
            Job::Http { effect, request, key, cause } => {
                let call = HttpCall { tenant: run.key.tenant, allow: run.grants.clone(), request: *request, key };
                self.begin(effect, async move {
                    run.durable(cause).await.ok()?;
                    if run.core.is_draining() {
                        // It was asked for and not begun: the resume begins it.
                        return std::future::pending().await;
                    }
                    let _in_flight = InFlight::new(run.clone());
                    Some(run.core.effects.http(call).await)
                });
            }
            Job::Sleep { effect, due } => {
                self.sleeps.insert(effect, due);
                self.begin(effect, async move {
                    run.core.clock.sleep_until(due).await;
                    Some(Ok("null".to_owned()))
                });
            }
            Job::Refuse { effect, failure } => self.begin(effect, async move { Some(Err(failure)) }),
            Job::Cancel { effect } => {
                if self.stop(effect) {
                    let failure = cancelled("the function cancelled this effect");
                    self.begin(effect, async move { Some(Err(failure)) });
                }
            }
            Job::Forget { effect } => {
                self.stop(effect);
            }
            Job::Idle => {}
        }
        self.tell_idle();
    }

    fn begin(
        &mut self,
        effect: EffectId,
        work: impl Future<Output = Option<Result<String, Failure>>> + Send + 'static,
    ) {
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert(effect, abort);
        let work = Abortable::new(work, registration);
        self.running.push(Box::pin(async move { (effect, work.await.ok().flatten()) }));
    }

    fn stop(&mut self, effect: EffectId) -> bool {
        self.sleeps.remove(&effect);
        self.aborts.remove(&effect).map(|abort| abort.abort()).is_some()
    }

    /// Journals the answer and hands it to the instance, in one go, so that the order is one.
    fn ended(&mut self, effect: EffectId, outcome: Option<Result<String, Failure>>) -> Result<(), Gone> {
        let Some(outcome) = outcome else { return Ok(()) };
        self.aborts.remove(&effect);
        self.sleeps.remove(&effect);
        let Attempt { run, step, number, .. } = &*self.attempt;
        let (position, time, outcome) = {
            let mut inner = run.lock();
            if !inner.is_live(*step, *number) {
                return Err(Gone);
            }
            let outcome = match outcome {
                Ok(body) => Outcome::Succeeded(inner.value(&body, Value::EFFECT_INLINE_MAX_BYTES)),
                Err(failure) => Outcome::Failed(failure.to_value()),
            };
            let answered = EffectAnswered { step: *step, attempt: *number, effect, outcome: outcome.clone() };
            let (position, time) = inner.sequence(run.now(), Kind::EffectAnswered(answered));
            run.poke.notify_one();
            (position, time, outcome)
        };
        let mut inner = self.attempt.lock();
        inner.machine.answered(position, time, effect.0, outcome);
        if let Some(guest) = inner.guest.take() {
            guest.wake();
        }
        drop(inner);
        self.tell_idle();
        Ok(())
    }

    /// Tells until when nothing can happen here, so that the driver may park the run, or somebody else
    /// get the place.
    fn tell_idle(&mut self) {
        let is_waiting = self.attempt.lock().machine.would_wait();
        let only_sleeps = self.aborts.len() == self.sleeps.len();
        let idle_until = self.sleeps.values().min().copied().filter(|_| is_waiting && only_sleeps);
        let Attempt { run, step, .. } = &*self.attempt;
        let rests = idle_until.is_some_and(|until| until > run.now() + REST_MIN);
        match (rests, &self.place_wanted) {
            (true, None) => self.place_wanted = Some(self.place.rest()),
            (false, Some(_)) => {
                self.place_wanted = None;
                self.place.wake();
            }
            (true, Some(_)) | (false, None) => {}
        }
        let mut inner = run.lock();
        if let Some(live) = inner.attempts.get_mut(step)
            && live.idle_until != idle_until
        {
            live.idle_until = idle_until;
            run.poke.notify_one();
        }
    }

    /// The attempt leaves its place to another one. It is resumed when its sleep is over.
    fn give_place_up(&self) {
        let Attempt { run, step, number, .. } = &*self.attempt;
        let mut inner = run.lock();
        if inner.is_live(*step, *number) {
            inner.rest(*step);
            run.poke.notify_one();
        }
    }
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

/// An exchange with the world that a drain waits for.
struct InFlight(Arc<Run>);

impl InFlight {
    fn new(run: Arc<Run>) -> InFlight {
        run.lock().effects_in_flight += 1;
        InFlight(run)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().effects_in_flight -= 1;
        self.0.poke.notify_one();
    }
}

/// Journals how an attempt ended: the step's answer, or when the next attempt begins.
fn settle(run: &Arc<Run>, step: StepId, number: u32, result: Result<String, Failure>) {
    let mut inner = run.lock();
    if !inner.is_live(step, number) {
        return;
    }
    let clock = run.now();
    inner.attempts.remove(&step);
    match result {
        Ok(output) => {
            let value = inner.value(&output, Value::INLINE_MAX_BYTES);
            inner.answer(clock, step, Outcome::Succeeded(value));
        }
        Err(failure) => match verdict(run, &inner, step, number, &failure) {
            Verdict::RetryAt(next_at) => {
                let failed = AttemptFailed { step, attempt: number, failure: failure.to_value(), next_at };
                inner.sequence(clock, Kind::Failed(failed));
            }
            Verdict::GiveUp => inner.answer_failed(clock, step, &failure),
        },
    }
    run.poke.notify_one();
}

fn verdict(run: &Run, inner: &Inner, step: StepId, number: u32, failure: &Failure) -> Verdict {
    let spec = inner.state.step(step).and_then(|state| match &state.request {
        StepRequest::Call { function, .. } => run.code.manifest().function(function),
        StepRequest::Sleep { .. } | StepRequest::StartRun { .. } => None,
    });
    let draw = Random::of_jitter(run.attempt_seed, step, number).fraction();
    let now = inner.sequencer.last_time().max(run.now());
    spec.map_or(Verdict::GiveUp, |spec| spec.retry.judge(number, failure, now, draw))
}
