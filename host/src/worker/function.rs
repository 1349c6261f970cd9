//! The host side of one attempt's instance: effects become commands and deliveries of the
//! attempt's own machine, and jobs for the task that makes the attempt.

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc;
use trackway_replay::{
    Act, Command as Produced, Decision, Digest, EffectAsked, EffectId, EffectRequest, Failure, Kind, Machine, Next,
    Position, Progressed, Proof, Random, StepId, Timestamp, Value, code, digest_of_http, digest_of_sleep,
    idempotency_key,
};
use trackway_storage::LogKey;

use super::check;
use super::emit::DeltaRoom;
use super::log::{LogRoom, log_line};
use super::progress::Telling;
use super::run::{self, Inner, Run};
use super::workflow::{delivery_of, nothing_open};
use crate::effects::{Grants, HttpRequest, ModelRequest};
use crate::quota::Quota;
use crate::sandbox::{Command, Delivery, GuestHost, Reply, Stop};

mod model;
mod person;
mod spans;
mod told;

use spans::Beginning;

/// One attempt, shared between its instance and its task.
pub(super) struct Attempt {
    pub run: Arc<Run>,
    pub step: StepId,
    pub number: u32,
    pub grants: Arc<Grants>,
    /// What its guest has computed that stands in no entry, for whoever ends it.
    fuel: Arc<AtomicU64>,
    inner: Mutex<AttemptInner>,
}

pub(super) struct AttemptInner {
    pub machine: Machine,
    random: Random,
    /// How often each request was made, for the idempotency key.
    made: BTreeMap<Digest, u32>,
    pub guest: Option<Waker>,
    jobs: mpsc::UnboundedSender<Job>,
    pub stop: Option<AttemptStop>,
    pub telling: Telling,
    log_place: (u64, u32),
    log_room: LogRoom,
    delta_room: DeltaRoom,
}

/// What the instance wants its task to do.
pub(super) enum Job {
    Http {
        effect: EffectId,
        request: Box<HttpRequest>,
        key: Option<Arc<str>>,
        cause: Position,
    },
    Model {
        effect: EffectId,
        request: Box<ModelRequest>,
        key: Arc<str>,
        cause: Position,
    },
    Sleep {
        effect: EffectId,
        due: Timestamp,
    },
    /// Its answer comes by way of the inbox.
    AskPerson {
        effect: EffectId,
    },
    /// A request that cannot be made: its answer.
    Refuse {
        effect: EffectId,
        failure: Failure,
    },
    /// Break it off and answer it as cancelled.
    Cancel {
        effect: EffectId,
    },
    /// Break it off without an answer.
    Forget {
        effect: EffectId,
    },
    /// The guest waits in `next`.
    Idle,
    /// It said how far it is; that is to be journaled after so long.
    Tell {
        after: Duration,
    },
}

/// Why the instance was stopped from an import.
#[derive(Debug, Clone)]
pub(super) enum AttemptStop {
    /// A resumed attempt did not do what is on record.
    NotResumable(String),
    Failed(Failure),
    /// The attempt is no longer this worker's.
    Gone,
}

impl Attempt {
    pub fn new(
        run: Arc<Run>,
        grants: Arc<Grants>,
        (step, number): (StepId, u32),
        (machine, fuel): (Machine, Arc<AtomicU64>),
        random: Random,
        jobs: mpsc::UnboundedSender<Job>,
    ) -> Arc<Attempt> {
        let inner = AttemptInner {
            machine,
            random,
            made: BTreeMap::new(),
            guest: None,
            jobs,
            stop: None,
            telling: Telling::new(run.core.clock.elapsed()),
            log_place: (0, 0),
            log_room: LogRoom::default(),
            delta_room: DeltaRoom::default(),
        };
        Arc::new(Attempt { run, step, number, grants, fuel, inner: Mutex::new(inner) })
    }

    pub fn lock(&self) -> MutexGuard<'_, AttemptInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its guest has used so much since its last delivery.
    pub fn computes(&self, inner: &mut AttemptInner, fuel: u64) {
        inner.machine.computes(fuel);
        self.fuel.store(inner.machine.fuel_beside(), Ordering::Relaxed);
    }

    /// Journals what it said last of its progress, if it has not been yet.
    pub fn tell(&self) {
        self.tell_with(&mut self.lock());
    }

    fn tell_with(&self, inner: &mut AttemptInner) {
        let Attempt { run, step, number, .. } = self;
        let Some(text) = inner.telling.take(run.core.clock.elapsed()) else { return };
        let mut journal = run.lock();
        if journal.is_live(*step, *number) {
            let progress = Value::Inline(text);
            journal.sequence(run.now(), Kind::Progressed(Progressed { step: *step, attempt: *number, progress }));
            run.poke.notify_one();
        }
    }
}

impl AttemptInner {
    fn send(&self, job: Job) {
        // The task outlives the instance; if it is gone, so is the need for the job.
        let _ = self.jobs.send(job);
    }

    fn stopped(&mut self, stop: AttemptStop) -> Stop {
        self.stop.get_or_insert(stop);
        Stop
    }

    /// The digest of a request and how often it was made. Its options do not count: whoever is asked does not see
    /// them, and an attempt that begins anew can open its spans in another order.
    fn made(&mut self, request: &str) -> (Digest, u32) {
        let digest = Digest::of(request.as_bytes());
        let made = self.made.entry(digest).or_default();
        *made += 1;
        (digest, *made)
    }
}

/// Before something leaves, and what comes back is stored.
const OF_EGRESS: [Quota; 4] =
    [Quota::EgressRequestsPerDay, Quota::EgressBytesPerDay, Quota::JournalBytes, Quota::PayloadBytes];
const OF_MODELS: [Quota; 2] = [Quota::ModelTokensPerDay, Quota::ModelCostPerDay];

pub(super) struct FunctionHost {
    attempt: Arc<Attempt>,
    loading: Option<(Delivery, BoxFuture<'static, crate::Result<Arc<str>>>)>,
}

impl FunctionHost {
    pub fn new(attempt: Arc<Attempt>) -> FunctionHost {
        FunctionHost { attempt, loading: None }
    }

    fn http(&self, request: &str, options: &str, at: Option<&str>, fuel: u64) -> Result<u32, Stop> {
        let mut inner = self.attempt.lock();
        let (made, nth) = inner.made(request);
        let digest = digest_of_http(request, options);
        let decision = self.ask(&mut inner, Act::Http, digest, at, fuel)?;
        let (id, proof) = match decision {
            Decision::Recall { id } => return Ok(id),
            Decision::Resume { id } => (id, None),
            Decision::Perform { id, proof } => (id, Some(proof)),
            Decision::Ignore | Decision::Diverged(_) => return Err(Stop),
        };
        let effect = EffectId(id);
        let parsed = HttpRequest::parse(request, options);
        let parsed = parsed.and_then(|parsed| inner.check_span(parsed.span()).map(|()| parsed));
        let key = match proof {
            None => self.key_on_record(effect),
            Some(_) => parsed.as_ref().ok().and_then(|parsed| {
                let derived = || self.derived_key(made, nth);
                parsed.author_key().or_else(|| parsed.wants_key().then(derived))
            }),
        };
        // Before it is on record, and counts itself.
        let crossed = proof.and_then(|_| self.crossed(&OF_EGRESS));
        let cause = match proof {
            // On record; what resumes the attempt is durable already.
            None => Position::FIRST,
            Some(proof) => {
                let is_kept = parsed.is_ok();
                let key = key.clone();
                self.sequence(&mut inner, effect, at, proof, key, |run| EffectRequest::Http {
                    request: if is_kept { run.value(request, Value::EFFECT_INLINE_MAX_BYTES) } else { Value::null() },
                    options: if is_kept { options.into() } else { "".into() },
                })?
            }
        };
        inner.send(match (parsed, crossed) {
            (Ok(request), None) => Job::Http { effect, request: Box::new(request), key, cause },
            (Err(failure), _) | (Ok(_), Some(failure)) => Job::Refuse { effect, failure },
        });
        Ok(id)
    }

    fn sleep(&self, duration_ms: u64, options: &str, at: Option<&str>, fuel: u64) -> Result<u32, Stop> {
        let mut inner = self.attempt.lock();
        let digest = digest_of_sleep(duration_ms, options);
        let due = inner.machine.now() + Duration::from_millis(duration_ms);
        let decision = self.ask(&mut inner, Act::Sleep { duration_ms }, digest, at, fuel)?;
        let refusal = check::effect_options(options).and_then(|span| inner.check_span(span)).err();
        let id = match decision {
            Decision::Recall { id } => return Ok(id),
            Decision::Resume { id } => id,
            Decision::Perform { id, proof } => {
                let options = if refusal.is_some() { "" } else { options };
                self.sequence(&mut inner, EffectId(id), at, proof, None, |_| EffectRequest::Sleep {
                    duration_ms,
                    options: options.into(),
                })?;
                id
            }
            Decision::Ignore | Decision::Diverged(_) => return Err(Stop),
        };
        let effect = EffectId(id);
        inner.send(match refusal {
            Some(failure) => Job::Refuse { effect, failure },
            None => Job::Sleep { effect, due },
        });
        Ok(id)
    }

    /// Only of what was not asked for before: that may be under way.
    fn crossed(&self, quotas: &[Quota]) -> Option<Failure> {
        let run = &self.attempt.run;
        run.limits.crossed(quotas, run.now()).map(|crossing| crossing.failure())
    }

    fn check_room(&self, inner: &mut AttemptInner) -> Result<(), Stop> {
        let limit = self.attempt.run.started.limits.effects;
        if inner.machine.operations() >= limit {
            let message = format!("the attempt asked for more than {limit} effects (quota `effects_per_attempt`)");
            return Err(inner.stopped(AttemptStop::Failed(Failure::permanent(code::TOO_MANY, message))));
        }
        Ok(())
    }

    fn ask(
        &self,
        inner: &mut AttemptInner,
        act: Act,
        digest: Digest,
        at: Option<&str>,
        fuel: u64,
    ) -> Result<Decision, Stop> {
        self.check_room(inner)?;
        let at = at.map(|at| check::cut(at, check::AT_MAX_BYTES).into());
        match inner.machine.ask(Produced { act, digest, at }, fuel) {
            Decision::Diverged(divergence) => Err(inner.stopped(AttemptStop::NotResumable(divergence.to_string()))),
            decision @ (Decision::Recall { .. }
            | Decision::Resume { .. }
            | Decision::Perform { .. }
            | Decision::Ignore) => Ok(decision),
        }
    }

    fn derived_key(&self, made: Digest, nth: u32) -> Arc<str> {
        idempotency_key(self.attempt.run.started.key_seed, self.attempt.step, made, nth).into()
    }

    /// Under which an effect that goes on was sent, in whatever way keys are made now.
    fn key_on_record(&self, effect: EffectId) -> Option<Arc<str>> {
        let journal = self.attempt.run.lock();
        let asked = journal.attempt_state(self.attempt.step)?.open_effects().find(|asked| asked.effect == effect)?;
        asked.key.clone()
    }

    /// Journals an effect; gives the position after its entry.
    fn sequence(
        &self,
        inner: &mut AttemptInner,
        effect: EffectId,
        at: Option<&str>,
        proof: Proof,
        key: Option<Arc<str>>,
        request: impl FnOnce(&mut Inner) -> EffectRequest,
    ) -> Result<Position, Stop> {
        self.attempt.tell_with(inner);
        let Attempt { run, step, number, .. } = &*self.attempt;
        let mut journal = run.lock();
        if !journal.is_live(*step, *number) || run.core.is_draining() {
            return Err(inner.stopped(AttemptStop::Gone));
        }
        let request = request(&mut journal);
        let is_contact = matches!(request, EffectRequest::Http { .. } | EffectRequest::Model { .. });
        let at = at.map(|at| check::cut(at, check::AT_MAX_BYTES).into());
        let now = inner.machine.now();
        let asked = EffectAsked { step: *step, attempt: *number, effect, request, proof, now, key, at };
        journal.sequence(run.now(), Kind::EffectAsked(asked));
        let end = journal.end();
        if is_contact {
            run.force(&mut journal, end);
        }
        Ok(end)
    }
}

impl GuestHost for FunctionHost {
    fn command(&mut self, command: Command<'_>, fuel: u64) -> Result<Reply, Stop> {
        if self.attempt.lock().stop.is_some() {
            return Err(Stop);
        }
        let id = match command {
            Command::Http { request, options, at } => self.http(request, options, at, fuel)?,
            Command::Model { request, options, at } => self.model(request, options, at, fuel)?,
            Command::AskPerson { form, options, at } => self.ask_person(form, options, at, fuel)?,
            Command::Sleep { duration_ms, options, at } => self.sleep(duration_ms, options, at, fuel)?,
            Command::Forget { id } => {
                let mut inner = self.attempt.lock();
                if inner.machine.is_open(id) {
                    inner.machine.close(id);
                    inner.send(Job::Forget { effect: EffectId(id) });
                }
                0
            }
            Command::Cancel { id } => {
                let inner = self.attempt.lock();
                if inner.machine.is_open(id) {
                    inner.send(Job::Cancel { effect: EffectId(id) });
                }
                0
            }
            Command::Progress { progress } => {
                self.progress(progress)?;
                0
            }
            Command::Emit { event, data, at } => {
                self.emit(event, data, at, fuel)?;
                0
            }
            Command::Delta { event, data } => {
                self.delta(event, data)?;
                0
            }
            Command::Begin { kind, name, input, options, at } => {
                self.begin(&Beginning { kind, name, input, options, at }, fuel)?
            }
            Command::End { id, outcome, at } => {
                self.end(id, outcome, at, fuel)?;
                0
            }
            // The sandbox links none of these in this role.
            Command::Call { .. }
            | Command::StartRun { .. }
            | Command::Receive { .. }
            | Command::Promise { .. }
            | Command::Patched { .. }
            | Command::EntityGet { .. }
            | Command::EntitySet { .. }
            | Command::EntityDelete { .. }
            | Command::Publish { .. }
            | Command::ContinueWith { .. }
            | Command::AcceptUpdate { .. }
            | Command::Reply { .. } => return Err(Stop),
        };
        let mut inner = self.attempt.lock();
        self.attempt.computes(&mut inner, fuel);
        Ok(Reply { id, fuel: Some(inner.machine.allowance(fuel)) })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        let run = &self.attempt.run;
        let mut journal = run.lock();
        if !journal.is_live(self.attempt.step, self.attempt.number) {
            drop(journal);
            return Poll::Ready(Err(self.attempt.lock().stopped(AttemptStop::Gone)));
        }
        if !journal.is_too_far_ahead() {
            return Poll::Ready(Ok(()));
        }
        journal.wait_for_room(cx.waker());
        let end = journal.end();
        run.force(&mut journal, end);
        Poll::Pending
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, fuel: u64) -> Poll<Result<Delivery, Stop>> {
        if let Some((_, loading)) = &mut self.loading {
            let Poll::Ready(loaded) = loading.as_mut().poll(cx) else { return Poll::Pending };
            let Some((delivery, _)) = self.loading.take() else { return Poll::Ready(Err(Stop)) };
            return Poll::Ready(loaded.map(|body| Delivery { body, ..delivery }).map_err(|error| {
                let failure = Failure::new(code::NOT_RESUMABLE, error.to_string());
                self.attempt.lock().stopped(AttemptStop::Failed(failure))
            }));
        }
        let attempt = self.attempt.clone();
        let mut inner = attempt.lock();
        if inner.stop.is_some() {
            return Poll::Ready(Err(Stop));
        }
        attempt.computes(&mut inner, fuel);
        match inner.machine.deliver() {
            Next::Deliver(completion) => {
                let allowance = inner.machine.allowance(0);
                drop(inner);
                let journal = attempt.run.lock();
                let delivery = delivery_of(&journal, completion, allowance);
                drop(journal);
                match delivery {
                    Ok(delivery) => Poll::Ready(Ok(delivery)),
                    Err((delivery, value)) => {
                        let run = attempt.run.clone();
                        self.loading = Some((delivery, Box::pin(async move { run.text(&value).await })));
                        self.poll_next(cx, fuel)
                    }
                }
            }
            Next::NothingOpen => Poll::Ready(Ok(nothing_open(inner.machine.allowance(fuel)))),
            Next::Wait => {
                // The task polls the instance after each job; only the first wait is news.
                if inner.guest.replace(cx.waker().clone()).is_none() {
                    inner.send(Job::Idle);
                }
                Poll::Pending
            }
            Next::Diverged(divergence) => {
                Poll::Ready(Err(inner.stopped(AttemptStop::NotResumable(divergence.to_string()))))
            }
        }
    }

    fn computes(&mut self, fuel: u64) {
        self.attempt.computes(&mut self.attempt.lock(), fuel);
    }

    fn now_ms(&mut self) -> u64 {
        self.attempt.lock().machine.now().millis()
    }

    fn random(&mut self, into: &mut [u8]) {
        self.attempt.lock().random.fill(into);
    }

    fn log(&mut self, level: &str, message: &str, fields: &str) {
        let Attempt { run, step, number, .. } = &*self.attempt;
        let mut inner = self.attempt.lock();
        let effects = inner.machine.commands();
        if inner.log_place.0 != effects {
            inner.log_place = (effects, 0);
        }
        let effect = u32::try_from(effects).unwrap_or(u32::MAX);
        let key = LogKey { step: step.0, attempt: *number, effect, line: inner.log_place.1 };
        inner.log_place.1 += 1;
        let place = inner.log_room.take(message, fields);
        // A line before a recorded effect came to the store with it.
        if inner.machine.has_caught_up() {
            let line = log_line(key, run.now(), place, [level, message, fields]);
            let told = run.lock().log(line);
            if told == run::Told::First {
                run.poke.notify_one();
            }
        }
    }
}
