//! The effects of an attempt that are under way, and what becomes of its place meanwhile. It never decides how
//! the attempt ends.

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    EffectAnswered, EffectId, Failure, Kind, ModelUsed, Outcome, QuestionId, StepId, Timestamp, Value,
};

use crate::effects::{HttpCall, ModelAnswer, ModelCall, ModelUse, Tell};
use crate::worker::durable::Gone;
use crate::worker::function::{Attempt, AttemptInner, Job};
use crate::worker::places::{Place, Wanted};
use crate::worker::run::{Idle, Run, SettledEffect, cancelled};

/// A resume takes a flush and a recall, so giving a place up for less than this would not help anybody.
const REST_MIN: Duration = Duration::from_millis(20);

/// Within it most answers come that come at once; after it an attempt that waits for people holds no memory.
const LEAVE_AFTER: Duration = Duration::from_secs(5);

type Running = BoxFuture<'static, (EffectId, Option<Result<Done, Failure>>)>;

/// What an effect came to.
pub(super) struct Done {
    body: String,
    /// By a model.
    used: Option<ModelUse>,
}

impl From<String> for Done {
    fn from(body: String) -> Done {
        Done { body, used: None }
    }
}

impl From<ModelAnswer> for Done {
    fn from(answer: ModelAnswer) -> Done {
        Done { body: answer.body, used: Some(answer.used) }
    }
}

/// The effects of an attempt that are under way.
pub(super) struct Effects {
    attempt: Arc<Attempt>,
    pub running: FuturesUnordered<Running>,
    aborts: BTreeMap<EffectId, AbortHandle>,
    /// Those that are sleeps, with the time they are due at.
    sleeps: BTreeMap<EffectId, Timestamp>,
    /// Those that people are asked.
    questions: BTreeSet<EffectId>,
    place: Place,
    /// While nothing but sleeps and questions is under way.
    pub place_wanted: Option<Wanted>,
    /// When it leaves its place by itself, since it waits for people.
    pub leave_at: Option<BoxFuture<'static, ()>>,
    /// Since when it waits for people, as the clock's running time, and for how long it did before.
    waits_since: Option<Duration>,
    waited: Duration,
    /// When what it said of its progress is journaled.
    pub tell_at: Option<BoxFuture<'static, ()>>,
}

impl Effects {
    pub fn new(attempt: Arc<Attempt>, place: Place) -> Effects {
        let running = FuturesUnordered::new();
        let (aborts, sleeps, questions) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Effects {
            attempt,
            running,
            aborts,
            sleeps,
            questions,
            place,
            place_wanted: None,
            leave_at: None,
            waits_since: None,
            waited: Duration::ZERO,
            tell_at: None,
        }
    }

    pub fn take(&mut self, job: Job) {
        let run = self.attempt.run.clone();
        match job {
            Job::Http { effect, request, key, cause } => {
                let call =
                    HttpCall { tenant: run.key.tenant, allow: self.attempt.grants.clone(), request: *request, key };
                self.begin(effect, async move {
                    run.durable(cause).await.ok()?;
                    if run.core.is_draining() {
                        // It was asked for and not begun: the resume begins it.
                        return std::future::pending().await;
                    }
                    let _in_flight = InFlight::new(run.clone());
                    Some(run.core.effects.http(call).await.map(Done::from))
                });
            }
            Job::Model { effect, request, key, cause } => {
                let attempt = self.attempt.clone();
                let told = request.deltas().map(|event| {
                    let tell: Tell = Arc::new(move |text| attempt.tell_piece(&event, text));
                    tell
                });
                let (tenant, allow) = (run.key.tenant, self.attempt.grants.clone());
                let call = ModelCall { tenant, allow, request: *request, key, told };
                self.begin(effect, async move {
                    run.durable(cause).await.ok()?;
                    if run.core.is_draining() {
                        return std::future::pending().await;
                    }
                    let _in_flight = InFlight::new(run.clone());
                    Some(run.core.effects.model(call).await.map(Done::from))
                });
            }
            Job::Sleep { effect, due } => {
                self.sleeps.insert(effect, due);
                self.begin(effect, async move {
                    run.core.clock.sleep_until(due).await;
                    Some(Ok(Done::from("null".to_owned())))
                });
            }
            Job::Refuse { effect, failure } => self.begin(effect, async move { Some(Err(failure)) }),
            Job::AskPerson { effect } => self.asked(effect),
            Job::Cancel { effect } => {
                if self.stop(effect) || self.questions.remove(&effect) {
                    let failure = cancelled("the function cancelled this effect");
                    self.begin(effect, async move { Some(Err(failure)) });
                }
            }
            Job::Forget { effect } => {
                self.stop(effect);
                if self.questions.remove(&effect) {
                    self.give_up(effect);
                }
            }
            Job::Idle => {}
            Job::Tell { after } => self.tell_at = Some(run.core.clock.wait(after)),
        }
        self.tell_idle();
    }

    fn begin(&mut self, effect: EffectId, work: impl Future<Output = Option<Result<Done, Failure>>> + Send + 'static) {
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert(effect, abort);
        let work = Abortable::new(work, registration);
        self.running.push(Box::pin(async move { (effect, work.await.ok().flatten()) }));
    }

    fn stop(&mut self, effect: EffectId) -> bool {
        self.sleeps.remove(&effect);
        self.aborts.remove(&effect).map(|abort| abort.abort()).is_some()
    }

    /// It waits for time and people only.
    pub fn rests(&self) -> bool {
        self.place_wanted.is_some()
    }

    /// Journals the answer and hands it to the instance, in one go, so that the order is one.
    pub fn ended(&mut self, effect: EffectId, outcome: Option<Result<Done, Failure>>) -> Result<(), Gone> {
        let Some(outcome) = outcome else { return Ok(()) };
        self.aborts.remove(&effect);
        self.sleeps.remove(&effect);
        let Attempt { run, step, number, .. } = &*self.attempt;
        let (settled, position, time, outcome) = {
            let mut inner = run.lock();
            if !inner.is_live(*step, *number) {
                return Err(Gone);
            }
            // Somebody answered it just before it was cancelled.
            if !inner.attempt_state(*step).is_some_and(|attempt| attempt.is_open(effect)) {
                drop(inner);
                self.settled();
                return Ok(());
            }
            let outcome = match outcome {
                Ok(Done { body, used }) => {
                    if let Some(used) = used {
                        inner.sequence(run.now(), Kind::ModelUsed(used_by((*step, *number), effect, used)));
                    }
                    Outcome::Succeeded(inner.value(&body, Value::EFFECT_INLINE_MAX_BYTES))
                }
                Err(failure) => Outcome::Failed(failure.to_value()),
            };
            let answered = EffectAnswered { step: *step, attempt: *number, effect, outcome: outcome.clone() };
            let (position, time) = inner.sequence(run.now(), Kind::EffectAnswered(answered));
            let settled = inner.take_settled(*step);
            run.poke.notify_one();
            (settled, position, time, outcome)
        };
        let mut inner = self.attempt.lock();
        // They stand before it.
        hand_over(&mut inner, &mut self.questions, settled);
        inner.machine.answered(position, time, effect.0, outcome);
        if let Some(guest) = inner.guest.take() {
            guest.wake();
        }
        drop(inner);
        self.tell_idle();
        Ok(())
    }

    /// Hands answers of questions to the instance, which stand in the journal.
    pub fn settled(&mut self) {
        let settled = self.attempt.run.lock().take_settled(self.attempt.step);
        let mut inner = self.attempt.lock();
        hand_over(&mut inner, &mut self.questions, settled);
        if let Some(guest) = inner.guest.take() {
            guest.wake();
        }
        drop(inner);
        self.tell_idle();
    }

    /// The answer may be there before the question is known here.
    fn asked(&mut self, effect: EffectId) {
        let Attempt { run, step, number, .. } = &*self.attempt;
        if run.lock().state.is_asking(QuestionId::of_effect(*step, *number, effect)).is_some() {
            self.questions.insert(effect);
        }
    }

    /// Nobody can answer a question any more that its function has forgotten. The function does so again where it is
    /// recalled, so it never gets this.
    fn give_up(&self, effect: EffectId) {
        let Attempt { run, step, number, .. } = &*self.attempt;
        let (step, attempt) = (*step, *number);
        let mut inner = run.lock();
        let is_open = inner.state.is_asking(QuestionId::of_effect(step, attempt, effect)).is_some();
        if inner.is_live(step, attempt) && is_open {
            let outcome = Outcome::Failed(cancelled("the function forgot this question").to_value());
            inner.sequence(run.now(), Kind::EffectAnswered(EffectAnswered { step, attempt, effect, outcome }));
            run.poke.notify_one();
        }
    }

    /// It waits for people, and for nothing else but time.
    pub fn waits_for_people(&self) -> bool {
        self.waits_since.is_some()
    }

    /// For how long it waited for people.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Tells until when nothing can happen here, so that the driver may park the run, or somebody else
    /// get the place.
    fn tell_idle(&mut self) {
        let is_waiting = self.attempt.lock().machine.would_wait();
        let only_waits = self.aborts.len() == self.sleeps.len();
        let idle = match self.sleeps.values().min() {
            _ if !is_waiting || !only_waits => Idle::No,
            Some(until) => Idle::Until(*until),
            None if self.questions.is_empty() => Idle::No,
            None => Idle::ForPeople,
        };
        let Attempt { run, step, .. } = &*self.attempt;
        let now = run.now();
        match (idle.lasts_beyond(now + REST_MIN), &self.place_wanted) {
            (true, None) => self.place_wanted = Some(self.place.rest()),
            (false, Some(_)) => {
                self.place_wanted = None;
                self.place.wake();
            }
            (true, Some(_)) | (false, None) => {}
        }
        let leaves = !self.questions.is_empty() && idle.lasts_beyond(now + LEAVE_AFTER);
        match (leaves, self.waits_since) {
            (true, None) => {
                self.waits_since = Some(run.core.clock.elapsed());
                self.leave_at = Some(run.core.clock.wait(LEAVE_AFTER));
            }
            (false, Some(since)) => {
                self.waited += run.core.clock.elapsed().saturating_sub(since);
                (self.waits_since, self.leave_at) = (None, None);
            }
            (true, Some(_)) | (false, None) => {}
        }
        let mut inner = run.lock();
        if let Some(live) = inner.attempts.get_mut(step) {
            // An answer that it has not got yet is something that happens.
            let idle = if live.settled.is_empty() { idle } else { Idle::No };
            if live.idle != idle {
                live.idle = idle;
                run.poke.notify_one();
            }
        }
    }

    /// The attempt leaves its place to another one. It is resumed when its sleep is over, or somebody has answered.
    /// False: it has just got something to do.
    pub fn give_place_up(&self) -> bool {
        let Attempt { run, step, number, .. } = &*self.attempt;
        let mut inner = run.lock();
        if inner.is_live(*step, *number) {
            if inner.attempts.get(step).is_some_and(|live| live.idle == Idle::No) {
                return false;
            }
            inner.rest(*step);
            run.poke.notify_one();
        }
        true
    }
}

fn hand_over(inner: &mut AttemptInner, questions: &mut BTreeSet<EffectId>, settled: Vec<SettledEffect>) {
    for SettledEffect { effect, position, time, outcome } in settled {
        questions.remove(&effect);
        inner.machine.answered(position, time, effect.0, outcome);
    }
}

fn used_by((step, attempt): (StepId, u32), effect: EffectId, used: ModelUse) -> ModelUsed {
    let ModelUse { provider, model, finish, usage, cost_nanousd } = used;
    ModelUsed { step, attempt, effect, provider, model, finish, usage, cost_nanousd }
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
