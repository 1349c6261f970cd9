//! One simulation from its first to its last moment: processes begin, are disturbed and die, until all
//! goes well again and every run has to end.

use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use trackway::effects::Clock;
use trackway::host::{Allow, Wish, record_of};
use trackway::worker::Options;
use trackway_replay::{Digest, MessageId, Status, TenantId, Timestamp};
use trackway_storage::{Deployment, Faults, InboxBody, InboxItem, MemoryStorage, Storage, Version};

use super::client::{AGAIN_AFTER, Client, PATIENCE, Serving};
use super::clock::{BEGINNING, Time};
use super::dice::Dice;
use super::gate::Life;
use super::ledger::{Broken, Ledger, Promise};
use super::plant::{Bug, Plant};
use super::process::{Given, Process, sandbox};
use super::setup::{Setup, Upheaval};
use super::verdict;
use super::world::{Manners, World};

/// All that functions may reach.
const WORLD: &str = "http://world.test";
/// Far longer than all that runs wait for, clock jumps included.
const ENDS_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// No seed needs a tenth of it: clients, or a run, ask again and again without getting anywhere.
const HISTORY_LINES_MAX: usize = 50_000;
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A process that was to die after some polls dies after this at the latest.
const DIES_WITHIN: Duration = Duration::from_millis(500);
/// So much the clocks of two processes differ.
pub const SKEW_STEP: Duration = Duration::from_millis(1);

pub struct Outcome {
    pub broken: Vec<Broken>,
    pub digest: Digest,
    pub history: Vec<String>,
    pub requests: u64,
}

/// Everything that a script holds.
pub struct Stage {
    pub setup: Setup,
    bug: Bug,
    pub ledger: Arc<Ledger>,
    pub world: Arc<World>,
    time: Time,
    pub serving: Arc<Serving>,
    /// Processes that were overtaken and live on.
    overtaken: Vec<Arc<Process>>,
    others: JoinSet<()>,
}

/// Runs one simulation on this thread.
pub fn simulate(setup: Setup, bug: Bug) -> Outcome {
    // Before time is virtual.
    sandbox();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        // Virtual time goes in whole milliseconds from here on.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut stage = Stage::set(setup, bug).await;
        stage.play().await
    })
}

impl Stage {
    async fn set(setup: Setup, bug: Bug) -> Stage {
        let seed = setup.seed;
        let ledger = Arc::new(Ledger::new());
        let world = Arc::new(World::new(seed, setup.manners.clone(), ledger.clone()));
        let time = Time::new();
        let empty = MemoryStorage::with_faults(seed, Faults::default());
        deploy(&empty).await;
        let store = empty.crash_into(setup.faults.clone());
        let given = Given {
            seed,
            store,
            world: world.clone(),
            ledger: ledger.clone(),
            clock: time.skewed(SKEW_STEP),
            plant: Plant::new(bug, seed),
            options: setup.options.clone(),
        };
        let serving = Arc::new(Serving::new(Process::spawn(given)));
        Stage { setup, bug, ledger, world, time, serving, overtaken: Vec::new(), others: JoinSet::new() }
    }

    async fn play(&mut self) -> Outcome {
        let mut clients = JoinSet::new();
        for (nth, wanted) in self.setup.wanted.iter().enumerate() {
            let client = Client {
                serving: self.serving.clone(),
                ledger: self.ledger.clone(),
                wanted: wanted.clone(),
                dice: Dice::of(self.setup.seed, &format!("client {nth}")),
            };
            clients.spawn(client.act());
        }
        if let Some(after) = self.setup.deployed_after {
            clients.spawn(deploy_next(self.serving.clone(), self.ledger.clone(), after));
        }
        for (after, upheaval) in self.setup.upheavals.clone() {
            tokio::time::sleep(after).await;
            self.ledger.note(format!("upheaval: {upheaval:?}"));
            self.suffer(upheaval).await;
        }
        if !self.setup.upheavals.is_empty() {
            self.calm().await;
        }
        let process = self.serving.get();
        let all = async {
            // Runs of which no client knows have to end as well, though nobody sends them anything.
            loop {
                while clients.try_join_next().is_some() {}
                if clients.is_empty() && verdict::all_settled(&process) {
                    break;
                }
                for run in verdict::forsaken(self, &process) {
                    let head = process.door.store.standing_head(run);
                    if let Some(head) = head.filter(|head| head.status == Status::Stuck)
                        && !verdict::is_quarantined(self, &head)
                    {
                        self.ledger.broken(Promise::Replays, format!("run {} is stuck: {:?}", run.run, head.message));
                    }
                    let body = InboxBody::Terminate { reason: "nobody knows of it".into() };
                    let item = InboxItem { message: MessageId(run.run.0), arrived: process.clock.now(), body };
                    self.ledger.note(format!("terminate {}", run.run));
                    // It is asked again if that was lost.
                    let _ = process.door.send(run, item).await;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let endless = async {
            while self.ledger.lock().history.len() < HISTORY_LINES_MAX {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let ended = tokio::select! {
            biased;
            () = process.gate.death() => false,
            () = endless => false,
            ended = tokio::time::timeout(ENDS_WITHIN, all) => ended.is_ok(),
        };
        if process.gate.spins() {
            self.ledger.broken(Promise::Ends, "the worker goes round in circles".to_owned());
        } else if !ended {
            self.ledger.broken(Promise::Ends, "clients still wait".to_owned());
        }
        // The judge is not disturbed.
        if self.setup.upheavals.is_empty() {
            self.calm().await;
        }
        verdict::give(self, &self.serving.get()).await;
        let digest = self.ledger.digest();
        let mut records = self.ledger.lock();
        Outcome {
            broken: std::mem::take(&mut records.broken),
            digest,
            history: std::mem::take(&mut records.history),
            requests: self.world.requests(),
        }
    }

    /// When an entry was made, where no clock was set.
    pub fn virtual_time(&self, time: Timestamp) -> Duration {
        time.since(BEGINNING)
    }

    async fn suffer(&mut self, upheaval: Upheaval) {
        let process = self.serving.get();
        match upheaval {
            Upheaval::Crash => self.replace().await,
            Upheaval::DieAfter { polls } => {
                process.gate.dies_after(polls);
                // Whichever comes first, it is dead then.
                let _ = tokio::time::timeout(DIES_WITHIN, process.gate.death()).await;
                self.replace().await;
            }
            Upheaval::Stop { grace } => {
                let patience = grace + Duration::from_secs(60);
                let _ = process.ask(patience, process.host.drain(grace)).await;
                self.replace().await;
            }
            Upheaval::Pause { lasting } => {
                process.gate.set(Life::Paused);
                tokio::time::sleep(lasting).await;
                process.gate.set(Life::Running);
            }
            Upheaval::Overtake { standing_still } => {
                if !standing_still.is_zero() {
                    process.gate.set(Life::Paused);
                    let gate = process.gate.clone();
                    self.others.spawn(async move {
                        tokio::time::sleep(standing_still).await;
                        gate.set(Life::Running);
                    });
                }
                self.open(self.setup.faults.clone(), self.setup.options.clone());
                self.overtaken.push(process);
            }
            Upheaval::Jump { by, is_back } => self.time.jump(by, is_back),
        }
    }

    /// The process that serves dies, and after a while there is another.
    async fn replace(&mut self) {
        self.serving.get().crash();
        if self.bug == Bug::SyncErrorSwallowed {
            // What the disk lost, it lost for all of them.
            self.overtaken.drain(..).for_each(|process| process.crash());
        }
        tokio::time::sleep(self.setup.down).await;
        self.open(self.setup.faults.clone(), self.setup.options.clone());
    }

    fn open(&mut self, faults: Faults, options: Options) {
        let before = self.serving.get();
        let store = before.door.store.join(faults);
        let ahead = SKEW_STEP * u32::try_from(store.epoch().0).unwrap_or(u32::MAX).min(10);
        let process = Process::spawn(Given {
            seed: self.setup.seed,
            plant: Plant::new(self.bug, self.setup.seed ^ store.epoch().0),
            store,
            world: self.world.clone(),
            ledger: self.ledger.clone(),
            clock: self.time.skewed(ahead),
            options,
        });
        self.serving.set(process);
    }

    /// All processes die, and from here on nothing goes wrong any more.
    async fn calm(&mut self) {
        self.ledger.note("calm");
        let now = self.ledger.now();
        self.ledger.lock().calm_since.get_or_insert(now);
        self.world.behave(Manners::default());
        self.overtaken.drain(..).for_each(|process| process.crash());
        self.serving.get().crash();
        tokio::time::sleep(self.setup.down).await;
        self.open(Faults::default(), Options::default());
    }
}

/// Newer code comes, for what begins from then on.
async fn deploy_next(serving: Arc<Serving>, ledger: Arc<Ledger>, after: Duration) {
    tokio::time::sleep(after).await;
    loop {
        let process = serving.get();
        let hosts = [WORLD.to_owned()];
        let allow = Allow { hosts: hosts.as_slice(), ..Allow::default() };
        let wish = Wish { component: sandbox().next.digest, allow, if_revision: None, signature: None };
        let deploying = process.host.deploy("chaos", &wish);
        let told = process.ask(PATIENCE, deploying).await.map(|told| told.map(|outcome| outcome.deployment().current));
        ledger.note(format!("newer code: {told:?}"));
        match told {
            Some(Ok(_)) => return,
            Some(Err(_)) | None => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
}

async fn deploy(store: &MemoryStorage) {
    for admitted in [&sandbox().first, &sandbox().next] {
        let record = record_of(admitted, Timestamp(1));
        let bytes = bytes::Bytes::copy_from_slice(&admitted.bytes);
        store.put_component(TenantId::DEFAULT, record, bytes).await.expect("stored");
    }
    let allow = vec![WORLD.into()];
    let component = sandbox().first.digest;
    let version = Version { version: 1, component, deployed: Timestamp(1), allow };
    let deployment = Deployment { name: "chaos".into(), revision: 1, current: 1, versions: vec![version] };
    store.put_deployment(TenantId::DEFAULT, deployment).await.expect("deployed");
}
