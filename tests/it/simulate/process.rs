//! One process of a simulation: a host with its own clock and way to the store. It can be paused, and
//! dies as a whole.

use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use trackway::effects::{Clock, Randomness};
use trackway::host::{Host, HostParts, Safe};
use trackway::sandbox::{self, Admitted, Compiler, Sandbox};
use trackway::worker::{Options, Spawner};
use trackway_fair::{Shares, Weights};
use trackway_replay::{Digest, Epoch};
use trackway_storage::{MemoryStorage, Storage};

use super::clock::SimulatedClock;
use super::door::Door;
use super::gate::{Gate, Life, behind};
use super::ledger::Ledger;
use super::plant::Plant;
use super::world::{Reach, World};
use crate::rig::guests;

/// One sandbox for all simulations. Nothing in it depends on how quick the machine is.
pub struct Guests {
    pub sandbox: Arc<Sandbox>,
    pub first: Admitted,
    /// Its newer code.
    pub next: Admitted,
}

pub fn sandbox() -> &'static Guests {
    static GUESTS: OnceLock<Guests> = OnceLock::new();
    GUESTS.get_or_init(|| {
        let cache = tempfile::Builder::new().prefix("trackway-code-").tempdir().expect("a temporary folder").keep();
        let options = sandbox::Options {
            cache,
            key: [7; 32],
            compiler: Compiler::InProcess,
            slots: 1_000,
            cores: 2,
            slow_threads: 0,
        };
        let sandbox = Sandbox::without_turns(options).expect("the sandbox starts");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let admit = |name: &str| {
            let path = guests().join(format!("{name}.wasm"));
            let bytes = std::fs::read(&path)
                .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()));
            runtime.block_on(sandbox.admit(bytes.into())).expect("the guest is admitted")
        };
        let (first, next) = (admit("chaos"), admit("chaos_next"));
        Guests { sandbox: Arc::new(sandbox), first, next }
    })
}

/// Random enough for ids, the same for the same seed and process.
struct Counting {
    seed: u64,
    process: Epoch,
    nth: AtomicU64,
}

impl Randomness for Counting {
    fn fill(&self, into: &mut [u8]) {
        let nth = self.nth.fetch_add(1, Ordering::Relaxed);
        let parts = [self.seed, self.process.0, nth].map(u64::to_le_bytes).concat();
        let digest = Digest::of(&parts);
        into.iter_mut().zip(digest.0.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
}

/// The tasks of a process.
struct Tasks {
    gate: Arc<Gate>,
    tasks: Mutex<tokio::task::JoinSet<()>>,
}

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(behind(&self.gate, task));
    }
}

pub struct Process {
    pub gate: Arc<Gate>,
    pub door: Arc<Door>,
    pub host: Arc<Host>,
    pub clock: SimulatedClock,
    tasks: Arc<Tasks>,
}

pub struct Given {
    pub seed: u64,
    pub store: MemoryStorage,
    pub world: Arc<World>,
    pub ledger: Arc<Ledger>,
    pub clock: SimulatedClock,
    pub plant: Arc<Plant>,
    pub options: Options,
}

impl Process {
    pub fn spawn(given: Given) -> Arc<Process> {
        let Given { seed, store, world, ledger, clock, plant, options } = given;
        let store = Arc::new(store);
        let process = store.epoch();
        ledger.note(format!("p{} begins", process.0));
        let gate = Gate::new();
        let tasks = Arc::new(Tasks { gate: gate.clone(), tasks: Mutex::default() });
        let door = Arc::new(Door { store: store.clone(), ledger, plant });
        let host = Host::from_parts(HostParts {
            safe: Safe::without_key(door.clone()),
            storage: door.clone(),
            sandbox: sandbox().sandbox.clone(),
            effects: Arc::new(Reach { world, store }),
            clock: Arc::new(clock.clone()) as Arc<dyn Clock>,
            randomness: Arc::new(Counting { seed, process, nth: AtomicU64::new(0) }),
            spawner: tasks.clone(),
            shares: Shares::new(1, Weights::default()),
            worker: Options { name: worker_name(process), ..options },
        });
        Arc::new(Process { gate, door, host, clock, tasks })
    }

    pub fn epoch(&self) -> Epoch {
        self.door.store.epoch()
    }

    /// It dies where it is, and its way to the store with it.
    pub fn crash(&self) {
        self.door.ledger.note(format!("p{} dies", self.epoch().0));
        self.gate.set(Life::Dead);
        match self.door.plant.before_the_lie() {
            Some(snapshot) => self.door.store.crash_back_to(snapshot),
            None => self.door.store.kill(),
        }
        self.tasks.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    /// What a client asks of it; none if the process dies meanwhile or takes longer than `patience`.
    pub async fn ask<T>(&self, patience: Duration, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.gate.death() => None,
            answer = behind(&self.gate, asking) => Some(answer),
            () = tokio::time::sleep(patience) => None,
        }
    }
}

pub fn worker_name(process: Epoch) -> Arc<str> {
    format!("worker-{}", process.0).into()
}
