//! Drives runs: claims each, runs its workflow and its functions, writes its journal, parks it.
//!
//! ```text
//!            claim / start                    frames            one flush for many runs
//!  storage ───────────────▶ drive (one task ─────────▶ storage ────────────────▶ durable
//!     ▲                      for each run)                                          │
//!     │ park, end             │        ▲ entries                 may leave          │
//!     └───────────────────────┘        │                 ┌──────────────────────────┘
//!                             workflow │ attempts (one task each) ──▶ effects
//! ```
//!
//! Everything it needs is handed to it, so one test drives it on one thread with virtual time. It
//! never names the engine, the store or the network.

mod answers;
mod asking;
mod attempt;
mod check;
mod child;
mod claim;
mod code;
mod deltas;
mod drive;
mod durable;
mod emit;
mod entity;
mod fork;
mod forks;
mod function;
mod load;
mod log;
mod moving;
mod places;
mod progress;
mod reach;
mod registry;
mod rested;
mod run;
mod settle;
mod start;
mod stretch;
mod times;
mod told;
mod unclear;
mod used;
mod verify;
mod workflow;
mod write;

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use trackway_fair::{Gate, Portion, Processors, Shares};
use trackway_replay::{RunId, Status, TenantId, Timestamp};
use trackway_storage::{RunKey, RunQuery, Storage, StorageError};

use crate::effects::{Clock, Effects, Randomness};
use crate::quota::{Book, Quota, Quotas, TenantLimits};
use crate::sandbox::Sandbox;
use crate::{Code, Error, Result};

pub(crate) use child::end_item;
pub(crate) use deltas::{Delta, Placed, Watch};
pub(crate) use entity::{FULL as ENTITIES_FULL, check_key as check_entity_key, check_value as check_entity_value};
pub use forks::Removal;
pub use run::{landmarks_in, messages_in};
pub use start::{Start, StartAnswer, StartKeyRequest, digest_of_start};
pub use verify::{EndCheck, ReplayReport};

/// Looked at in one go.
const HELD_AT_ONCE: usize = 200;

/// Whether something may be called so, as a guest may call it.
pub fn checked_name(what: &str, name: &str) -> Result<()> {
    check::name(what, name).map_err(|failure| Error::new(Code::BadRequest, failure.message))
}

/// Starts a task, on whatever runs tasks.
pub trait Spawner: Send + Sync + 'static {
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Spawns on one tokio runtime, wherever the call comes from: a guest may be on other threads.
#[derive(Debug, Clone)]
pub struct TokioSpawner(Handle);

impl TokioSpawner {
    /// Of the runtime that this call is made on.
    pub fn current() -> TokioSpawner {
        TokioSpawner(Handle::current())
    }
}

impl Spawner for TokioSpawner {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }
}

/// How many places of a kind all runs of a tenant may hold for each that they leave free. With an eighth left by whoever
/// has most, another tenant finds a place at once, and its share of the rest as places come free.
const TENANT_PORTION: u64 = 7;

/// What a worker is made of.
pub struct Parts {
    pub storage: Arc<dyn Storage>,
    pub sandbox: Arc<Sandbox>,
    pub effects: Arc<dyn Effects>,
    pub clock: Arc<dyn Clock>,
    pub randomness: Arc<dyn Randomness>,
    pub spawner: Arc<dyn Spawner>,
    /// How tenants share the spawner's threads and everything else.
    pub shares: Shares,
    pub options: Options,
}

#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the worker in `Claimed` and in the trace.
    pub name: Arc<str>,
    /// How long a parked run keeps its instance.
    pub warm_for: Duration,
    /// Runs that hold an instance at once, the warm ones included; a single tenant gets seven eighths of them.
    pub runs_max: usize,
    /// Attempts that hold an instance at once; a single run gets half of them, a tenant seven eighths.
    pub attempts_max: usize,
    /// Of tenants of which nothing else is said.
    pub quotas: Quotas,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: "worker".into(),
            warm_for: Duration::from_secs(3),
            runs_max: 256,
            attempts_max: 512,
            quotas: Quotas::default(),
        }
    }
}

/// What every task of the worker shares.
pub(crate) struct Core {
    storage: Arc<dyn Storage>,
    sandbox: Arc<Sandbox>,
    effects: Arc<dyn Effects>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    spawner: Arc<dyn Spawner>,
    options: Options,
    registry: registry::Registry,
    processors: Arc<Processors>,
    /// Room for runs in hand.
    runs: Arc<Gate>,
    answers: answers::Answers,
    forks: forks::Forks,
    deltas: Arc<deltas::Deltas>,
    places: Arc<places::Places>,
    rested: rested::Rested,
    quotas: Arc<Book>,
    /// Once set, the worker drains until then.
    drain_until: OnceLock<Timestamp>,
    /// Runs with something to write that storage did not take before the worker stopped, and why.
    undone: Mutex<BTreeMap<RunKey, StorageError>>,
    /// The newest run that was started here, so that the next one sorts after it.
    last_run: Mutex<RunId>,
    /// Wakes the claim loop: a warm run expired, room came free, the worker drains.
    nudge: Notify,
}

impl Core {
    /// Greater than every one before, also within a millisecond and when the clock was set back.
    fn next_run(&self, now: Timestamp) -> RunId {
        let drawn = RunId::new(now, u128::from_le_bytes(self.random()));
        // A random stride, so that the ids of one millisecond differ early enough to be told by a prefix.
        let stride = 1 + u128::from(u64::from_le_bytes(self.random()));
        let mut last = self.last_run.lock().unwrap_or_else(PoisonError::into_inner);
        *last = drawn.max(RunId(last.0.saturating_add(stride)));
        *last
    }

    fn is_draining(&self) -> bool {
        self.drain_until().is_some()
    }

    fn drain_until(&self) -> Option<Timestamp> {
        self.drain_until.get().copied()
    }

    /// A task that computes in turns with those of other tenants.
    fn spawn(&self, tenant: TenantId, task: BoxFuture<'static, ()>) {
        self.spawner.spawn(Box::pin(self.processors.share(tenant, task)));
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.randomness.fill(&mut bytes);
        bytes
    }
}

pub struct Worker {
    core: Arc<Core>,
}

impl Worker {
    /// Begins to claim and drive runs.
    pub fn spawn(parts: Parts) -> Arc<Worker> {
        let Parts { storage, sandbox, effects, clock, randomness, spawner, shares, options } = parts;
        let Shares { weights, processors } = shares;
        let portion = Portion { tenant: TENANT_PORTION, part: u64::MAX };
        let quotas = Arc::new(Book::new(options.quotas.clone()).weighing(weights.clone()));
        let cap = |most: fn(&TenantLimits) -> u64| {
            let quotas = quotas.clone();
            Box::new(move |tenant: TenantId| most(&quotas.of(tenant)))
        };
        let core = Arc::new(Core {
            runs: Gate::capped(options.runs_max, portion, weights.clone(), cap(TenantLimits::instances)),
            processors,
            places: places::Places::new(options.attempts_max, weights.clone(), cap(TenantLimits::attempts)),
            rested: rested::Rested::default(),
            quotas,
            answers: answers::Answers::default(),
            forks: forks::Forks::default(),
            deltas: Arc::default(),
            registry: registry::Registry::default(),
            drain_until: OnceLock::new(),
            undone: Mutex::default(),
            last_run: Mutex::new(RunId(0)),
            nudge: Notify::new(),
            storage,
            sandbox,
            effects,
            clock,
            randomness,
            spawner,
            options,
        });
        core.spawner.spawn(Box::pin(claim::claim_loop(core.clone())));
        Arc::new(Worker { core })
    }

    /// What each tenant may use.
    pub fn quotas(&self) -> &Arc<Book> {
        &self.core.quotas
    }

    /// What a tenant may use and has used, once the store was asked.
    pub async fn limits(&self, tenant: TenantId) -> Result<Arc<TenantLimits>> {
        used::limits_of(&self.core, tenant).await
    }

    /// Quotas were changed: what waits for one is looked at again, and so are runs of the tenant that one holds.
    pub async fn quotas_changed(&self, tenant: TenantId) -> Result<()> {
        self.core.runs.serve();
        if let Some((next, ())) = self.core.runs.next() {
            claim::make_room(&self.core, next);
        }
        self.core.places.look_again();
        self.wake_held(tenant).await
    }

    async fn wake_held(&self, tenant: TenantId) -> Result<()> {
        let storage = &self.core.storage;
        let mut before = None;
        loop {
            let code = Some(trackway_replay::code::QUOTA_EXCEEDED.to_owned());
            let status = vec![Status::Paused];
            let query = RunQuery { status, code, before, limit: HELD_AT_ONCE, ..RunQuery::default() };
            let heads = storage.heads(tenant, query).await?;
            let Some(last) = heads.last() else { return Ok(()) };
            before = Some(last.run);
            for head in &heads {
                storage.release(RunKey { tenant, run: head.run }).await?;
            }
        }
    }

    /// The same of every tenant that has fuel left: quotas may be others than when a process held the runs.
    pub async fn wake_all_held(&self) -> Result<()> {
        for tenant in self.core.storage.tenants().await? {
            if let Err(error) = self.wake_if_it_may(tenant).await {
                tracing::error!(%tenant, %error, "runs that a quota held go on at midnight UTC, or when it is changed");
            }
        }
        Ok(())
    }

    async fn wake_if_it_may(&self, tenant: TenantId) -> Result<()> {
        let limits = self.limits(tenant).await?;
        match limits.crossed(&[Quota::FuelPerDay], self.core.clock.now()) {
            None => self.wake_held(tenant).await,
            Some(_) => Ok(()),
        }
    }

    /// An answer to a question or a promise of the run is on its way until this is dropped. To be taken before
    /// the answer is given its time: then none expires before it is known whether that was in time.
    pub fn answering(&self, run: RunKey) -> Answering {
        self.core.answers.begin(run);
        Answering { core: self.core.clone(), run }
    }

    /// What functions of the run tell right now.
    pub(crate) fn deltas(&self, run: RunKey) -> Watch {
        self.core.deltas.watch(run)
    }

    /// Takes no new runs, gives effects in flight `grace` to end, and returns when all that was
    /// done is durable and every run is given back.
    ///
    /// # Errors
    /// When `grace` was over and storage did not take what runs had to write, as where the disk is
    /// full. Nothing of it was acknowledged: whoever claims those runs goes on before it.
    pub async fn drain(&self, grace: Duration) -> Result<()> {
        let core = &self.core;
        let until = *core.drain_until.get_or_init(|| core.clock.now() + grace);
        core.nudge.notify_waiters();
        core.nudge.notify_one();
        core.registry.drain(until).await;
        let undone = std::mem::take(&mut *core.undone.lock().unwrap_or_else(PoisonError::into_inner));
        match undone.values().next() {
            Some(why) => Err(not_all_durable(undone.len(), why)),
            None => Ok(()),
        }
    }
}

/// See [`Worker::answering`].
pub struct Answering {
    core: Arc<Core>,
    run: RunKey,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.core.answers.end(self.run);
    }
}

fn not_all_durable(runs: usize, why: &StorageError) -> Error {
    let error = Error::from(why.clone());
    let (runs, goes) = if runs == 1 { ("one run".to_owned(), "it goes") } else { (format!("{runs} runs"), "they go") };
    let message = format!(
        "{}\nStopped while {runs} still had something to write. Nothing that was acknowledged is lost: at the next \
         start {goes} on after the last durable entry; an effect whose answer was not written is done again, under \
         the same idempotency key.",
        error.message
    );
    Error { message, ..error }
}

impl Drop for Worker {
    /// Warm runs hold the worker's parts, and so each other: they would outlive it.
    fn drop(&mut self) {
        while self.core.registry.evict(Timestamp(u64::MAX)).is_some() {}
    }
}

#[cfg(test)]
mod tests;
