//! From bytes to code that runs: the upload pipeline, and loading with the cache in front of the
//! compiler. It stores nothing but compiled code; components are the caller's to keep.

use super::cache::Cache;
use super::code::{Code, Linkers, Runtime};
use super::compile::Compiler;
use super::engine::{self, Purpose};
use super::gate;
use super::lane::SlowLane;
use super::manifest::Manifest;
use super::slots::{Pressure, SLOTS_MIN, Slots};
use super::tick::Ticker;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Semaphore;
use trackway_fair::{Gate, Portion, Weights, at_once};
use trackway_replay::{Digest, TenantId};
use wasmtime::Engine;
use wasmtime::component::Component;

/// Code that was used lately stays loaded, so that a run that wakes finds it. It is mapped from the
/// cache's files, so it costs address space rather than memory.
const LOADED_MAX: usize = 64;

/// A component that takes the compiler long must not be all that is compiled; processes that compile give way to
/// runs, so one more costs those little.
const COMPILING_MIN: usize = 2;
/// Whoever compiles leaves as many places free, for the next tenant.
const COMPILING: Portion = Portion { tenant: 1, part: u64::MAX };

pub struct Options {
    /// Where compiled code is kept; closed to other users.
    pub cache: PathBuf,
    /// Seals the cache. Whoever has it can make this host run any machine code.
    pub key: [u8; 32],
    pub compiler: Compiler,
    /// How many instances may live at once, roughly; [`super::SLOTS_DEFAULT`] but for tests.
    pub slots: u32,
    /// Processors of this machine.
    pub cores: usize,
    /// Threads for guests that compute for longer than a turn; with none they share their callers'.
    pub slow_threads: usize,
}

/// A component that the gates let in.
#[derive(Debug, Clone)]
pub struct Gated {
    pub digest: Digest,
    /// The component, encoded.
    pub bytes: Arc<[u8]>,
    /// It imports nothing but `step`.
    pub pure: bool,
}

/// A component that may be stored and deployed.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub digest: Digest,
    /// The component, encoded; what [`Sandbox::load`] wants.
    pub bytes: Arc<[u8]>,
    pub manifest: Manifest,
    /// It imports nothing but `step`, so it cannot touch the world at all.
    pub pure: bool,
}

/// As what a component is known once it is uploaded: a core module is made one first.
pub fn digest_of(bytes: &Arc<[u8]>) -> Result<Digest> {
    Ok(Digest::of(&gate::pass(bytes)?.bytes))
}

pub struct Sandbox {
    runtime: Arc<Runtime>,
    name: Arc<str>,
    cache: Arc<Cache>,
    compiler: Compiler,
    gating: Arc<Semaphore>,
    compiling: Arc<Gate>,
    loading: Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    loaded: Mutex<Loaded>,
}

impl Sandbox {
    pub fn new(options: Options) -> Result<Sandbox> {
        Sandbox::sharing(options, Weights::default())
    }

    /// One whose tenants have such shares.
    pub fn sharing(options: Options, weights: Weights) -> Result<Sandbox> {
        Sandbox::with(options, weights, |engine| Ticker::start(engine).map_err(no_thread))
    }

    /// One in which guests give way only where they wait, so that nothing depends on how quick the
    /// machine is: for simulations. A guest that computes for long holds its thread.
    pub fn without_turns(options: Options) -> Result<Sandbox> {
        Sandbox::with(options, Weights::default(), |_| Ok(Ticker::still()))
    }

    fn with(options: Options, weights: Weights, ticker: impl FnOnce(&Engine) -> Result<Ticker>) -> Result<Sandbox> {
        let internal = |error: wasmtime::Error| Error::new(crate::Code::Internal, format!("sandbox: {error:#}"));
        let slots = options.slots.max(SLOTS_MIN);
        let engine = engine::build(Purpose::Run { slots })?;
        let name = engine::name();
        let cache = Cache::open(&options.cache, options.key, format!("{name}/{}", engine::compatibility(&engine)))?;
        let ticker = ticker(&engine)?;
        let linkers = Linkers::new(&engine).map_err(internal)?;
        let lane = SlowLane::new(options.slow_threads, weights.clone()).map_err(no_thread)?;
        let compiling = Gate::new((options.cores / 2).max(COMPILING_MIN), COMPILING, weights.clone());
        let slots = Slots::new(slots, weights);
        Ok(Sandbox {
            runtime: Arc::new(Runtime { engine, ticker, lane, slots, linkers }),
            name: name.into(),
            cache: Arc::new(cache),
            compiler: options.compiler,
            gating: Arc::new(Semaphore::new(options.cores.max(1))),
            compiling,
            loading: Mutex::default(),
            loaded: Mutex::default(),
        })
    }

    /// Version of the engine and of its settings: hosts with the same name count the same fuel.
    pub fn engine_name(&self) -> &Arc<str> {
        &self.name
    }

    /// What compiles, in a process of its own; it can do other such work too.
    pub fn program(&self) -> Option<&Path> {
        self.compiler.program()
    }

    pub fn pressure(&self) -> Pressure {
        self.runtime.slots.pressure()
    }

    /// Whose call is the next to get a place, if any waits for one.
    pub fn next_in_line(&self) -> Option<TenantId> {
        self.runtime.slots.next_in_line()
    }

    /// The upload pipeline: gates, compiler, `describe`. Nothing is stored but compiled code.
    pub async fn admit(&self, bytes: Arc<[u8]>) -> Result<Admitted> {
        let gated = self.gate(bytes).await?;
        self.admit_gated(TenantId::DEFAULT, gated).await
    }

    /// The first part of it, which costs little: nothing is compiled and nothing of it runs.
    pub async fn gate(&self, bytes: Arc<[u8]>) -> Result<Gated> {
        let _at_once = at_once();
        let place = self.gating.clone().acquire_owned().await;
        let gating = move || {
            // Given back when it is read, not when whoever asked has a turn.
            let _place = place;
            let gated = gate::pass(&bytes)?;
            let bytes: Arc<[u8]> = gated.bytes.into();
            Ok(Gated { digest: Digest::of(&bytes), bytes, pure: !gated.world.imports_effect })
        };
        self.runtime.lane.beside(gating).await.map_err(lost)?
    }

    /// The rest of it, on the account of `tenant`.
    pub async fn admit_gated(&self, tenant: TenantId, gated: Gated) -> Result<Admitted> {
        let Gated { digest, bytes, pure } = gated;
        let code = self.load(tenant, digest, &bytes).await?;
        Ok(Admitted { digest, bytes, manifest: code.manifest().clone(), pure })
    }

    /// The code of an admitted component, without a look at its bytes: from memory or the cache.
    pub async fn cached(&self, tenant: TenantId, digest: Digest) -> Result<Option<Arc<Code>>> {
        if let Some(code) = self.loaded().get(digest) {
            return Ok(Some(code));
        }
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        self.find(tenant, digest).await
    }

    /// The code of an admitted component: from memory, from the cache, or compiled from `bytes`.
    pub async fn load(&self, tenant: TenantId, digest: Digest, bytes: &Arc<[u8]>) -> Result<Arc<Code>> {
        if let Some(code) = self.loaded().get(digest) {
            return Ok(code);
        }
        // Of several that want the same code one makes it, the others find it.
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        if let Some(code) = self.find(tenant, digest).await? {
            return Ok(code);
        }
        self.compile(tenant, digest, bytes).await?;
        let found = self.find(tenant, digest).await?;
        found.ok_or_else(|| Error::new(crate::Code::CompileFailed, "its code could not be read back from the cache"))
    }

    /// Nobody has a component of that digest any more: neither memory nor the cache keeps its code.
    pub async fn forget(&self, digest: Digest) -> Result<()> {
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        self.loaded().codes.remove(&digest);
        let cache = Arc::clone(&self.cache);
        blocking(move || cache.remove(digest)).await
    }

    async fn find(&self, tenant: TenantId, digest: Digest) -> Result<Option<Arc<Code>>> {
        if let Some(code) = self.loaded().get(digest) {
            return Ok(Some(code));
        }
        let (cache, engine) = (Arc::clone(&self.cache), self.runtime.engine.clone());
        let component: Option<Component> = blocking(move || cache.load(&engine, digest)).await?;
        let Some(component) = component else { return Ok(None) };
        let code = Arc::new(Code::new(Arc::clone(&self.runtime), tenant, digest, component).await?);
        self.loaded().keep(&code);
        Ok(Some(code))
    }

    async fn compile(&self, tenant: TenantId, digest: Digest, bytes: &Arc<[u8]>) -> Result<()> {
        let place = self.compiling.take(tenant, ()).await;
        let (compiler, cache, bytes) = (self.compiler.clone(), Arc::clone(&self.cache), Arc::clone(bytes));
        let compiling = move || {
            // Given back when it is compiled, not when whoever asked has a turn.
            let _place = place;
            cache.save(digest, &compiler.compile(&bytes)?)
        };
        blocking(compiling).await?
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        loading.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = loading.get(&digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        loading.insert(digest, Arc::downgrade(&turn));
        turn
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Code by digest, with the number of its last use.
#[derive(Default)]
struct Loaded {
    codes: BTreeMap<Digest, (u64, Arc<Code>)>,
    uses: u64,
}

impl Loaded {
    fn get(&mut self, digest: Digest) -> Option<Arc<Code>> {
        self.uses += 1;
        let (last, code) = self.codes.get_mut(&digest)?;
        *last = self.uses;
        Some(Arc::clone(code))
    }

    fn keep(&mut self, code: &Arc<Code>) {
        self.uses += 1;
        self.codes.insert(code.digest(), (self.uses, Arc::clone(code)));
        if self.codes.len() > LOADED_MAX
            && let Some(oldest) = self.codes.iter().min_by_key(|(_, (last, _))| *last).map(|(digest, _)| *digest)
        {
            self.codes.remove(&oldest);
        }
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(crate::Code::Internal, format!("no thread for the sandbox: {error}"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(lost)
}

#[expect(clippy::needless_pass_by_value, reason = "it is a function for `map_err`")]
fn lost(error: tokio::task::JoinError) -> Error {
    Error::new(crate::Code::Internal, format!("the work was lost: {error}"))
}
