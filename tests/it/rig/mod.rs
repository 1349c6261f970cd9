//! A whole worker in the test's own thread: simulated storage, scripted effects, virtual time.

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use trackway::effects::{Effects, HttpCall, ModelAnswer, ModelCall, ModelUse, Randomness, SystemClock};
use trackway::host::record_of;
use trackway::sandbox::{self, Compiler, Sandbox};
use trackway::worker::{EndCheck, Options, Parts, Spawner, Start, StartKeyRequest, Worker, landmarks_in};
use trackway_fair::{Shares, Weights};
use trackway_replay::{
    Answered, Asked, ChildEnded, Claimed, Digest, EffectAnswered, EffectAsked, EffectRequest, EffectVerdict, End,
    EntityAct, Entry, Epoch, Failure, Finish, Finished, Forgotten, Frame, FrameId, Head, Kind, Limits, MessageId,
    ModelUsed, Outcome, Phase, Position, QuestionId, RULES, RunId, RunState, Started, Status, StepRequest, TenantId,
    Timestamp, Usage, Value, Waiting,
};
use trackway_storage::{
    Append, Appended, Deployment, EntityWrite, Faults, InboxBody, InboxItem, MemoryStorage, Owner, Rows, RunKey, Sent,
    Storage, Version,
};

pub mod agents;
mod clock;

use agents::{ORDER, Said, says};
use clock::Wall;

/// The provider whose models are asked by agents in these tests; others only answer.
const AGENTS: &str = "openai";

pub const TENANT: TenantId = TenantId::DEFAULT;

/// The folder in which the built guests stand.
pub fn guests() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3).expect("a test stands in target/debug/deps");
    target.join("guests")
}

fn guest_bytes(name: &str) -> Vec<u8> {
    let path = guests().join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
}

/// One sandbox for all tests of the process, with its own code cache.
pub fn sandbox() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let make = || {
        let cache = tempfile::Builder::new().prefix("trackway-code-").tempdir().expect("a temporary folder").keep();
        // Guests compute in their test's own thread: on others, virtual time would pass meanwhile.
        let slow_threads = 0;
        let compiler = Compiler::InProcess;
        let options = sandbox::Options { cache, key: [7; 32], compiler, slots: 200, cores: 2, slow_threads };
        Arc::new(Sandbox::new(options).expect("the sandbox starts"))
    };
    SANDBOX.get_or_init(make).clone()
}

/// One in which guests that compute for long go on in threads of their own, while virtual time passes.
fn sandbox_with_lane() -> Arc<Sandbox> {
    static SANDBOX: OnceLock<Arc<Sandbox>> = OnceLock::new();
    let make = || {
        let cache = tempfile::Builder::new().prefix("trackway-code-").tempdir().expect("a temporary folder").keep();
        let compiler = Compiler::InProcess;
        let options = sandbox::Options { cache, key: [7; 32], compiler, slots: 200, cores: 2, slow_threads: 2 };
        Arc::new(Sandbox::new(options).expect("the sandbox starts"))
    };
    SANDBOX.get_or_init(make).clone()
}

/// How the world answers, and what it was asked. The same path gets the same number, always.
#[derive(Default)]
pub struct World {
    state: Mutex<WorldState>,
}

/// What the world answers under a path.
pub fn number_of(path: &str) -> u64 {
    path.bytes().fold(7, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000)
}

#[derive(Default)]
struct WorldState {
    asked: Vec<Contact>,
    /// Answers to come, in order, by path; then 200.
    scripts: BTreeMap<String, Vec<u16>>,
    delay: Duration,
    /// No answer, ever.
    silent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    pub method: String,
    pub url: String,
    pub key: Option<String>,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn asked(&self) -> Vec<Contact> {
        self.lock().asked.clone()
    }

    pub fn forget(&self) {
        self.lock().asked.clear();
    }

    pub fn script(&self, path: &str, statuses: &[u16]) {
        self.lock().scripts.insert(path.to_owned(), statuses.to_vec());
    }

    pub fn take(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    pub fn be_silent(&self, silent: bool) {
        self.lock().silent = silent;
    }
}

struct Scripted(Arc<World>);

impl Effects for Scripted {
    fn http(&self, call: HttpCall) -> BoxFuture<'static, Result<String, Failure>> {
        let world = self.0.clone();
        let url = call.request.url().clone();
        let contact = Contact {
            method: call.request.method().to_string(),
            url: url.to_string(),
            key: call.key.as_deref().map(str::to_owned),
        };
        Box::pin(async move {
            let (status, delay, silent) = {
                let mut state = world.lock();
                state.asked.push(contact);
                let script = state.scripts.get_mut(url.path());
                let status = script.filter(|left| !left.is_empty()).map_or(200, |left| left.remove(0));
                (status, state.delay, state.silent)
            };
            if silent {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(delay).await;
            let body = match url.path() {
                ORDER => serde_json::json!({ "id": "4711", "item": "lantern", "cents": 4_200 }).to_string(),
                path => number_of(path).to_string(),
            };
            let answer = serde_json::json!({ "status": status, "headers": [], "body": body, "tries": [] });
            Ok(answer.to_string())
        })
    }

    /// The same words get the same number, which costs as much. Agents use tools first.
    fn model(&self, call: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>> {
        let world = self.0.clone();
        let name = call.request.model().clone();
        let words = call.request.messages().last().and_then(|message| message.content.clone()).unwrap_or_default();
        let url = format!("model:{words}");
        let is_agent = &*name.provider == AGENTS;
        let number = number_of(&url);
        let Said { content, calls } = match is_agent {
            true => says(call.request.messages(), number),
            false => Said { content: Some(number.to_string()), calls: Vec::new() },
        };
        let contact = Contact { method: "MODEL".to_owned(), url: url.clone(), key: Some(call.key.to_string()) };
        Box::pin(async move {
            let (delay, silent) = {
                let mut state = world.lock();
                state.asked.push(contact);
                (state.delay, state.silent)
            };
            if silent {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(delay).await;
            if let Some(told) = &call.told {
                told(&number.to_string());
            }
            let usage = Usage { input_tokens: words.len() as u64, output_tokens: 1, ..Usage::default() };
            let used = ModelUse {
                provider: name.provider.clone(),
                model: name.model.clone(),
                finish: if calls.is_empty() { Finish::Stop } else { Finish::ToolCalls },
                usage,
                cost_nanousd: Some(number),
            };
            let body = serde_json::json!({
                "provider": &*name.provider, "model": &*name.model, "id": "scripted", "content": content,
                "tool_calls": calls, "finish_reason": used.finish.name(), "usage": usage, "cost_nanousd": number, "tries": [],
            });
            Ok(ModelAnswer { body: body.to_string(), used })
        })
    }
}

/// Random enough for ids, the same in every run of a test.
struct Counting(AtomicU64);

impl Randomness for Counting {
    fn fill(&self, into: &mut [u8]) {
        let nth = self.0.fetch_add(1, Ordering::Relaxed);
        let digest = Digest::of(&nth.to_le_bytes());
        into.iter_mut().zip(digest.0.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
}

/// The tasks of one process: they die together.
#[derive(Default)]
struct Process(Mutex<tokio::task::JoinSet<()>>);

impl Spawner for Process {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

pub struct Rig {
    process: Arc<Process>,
    pub storage: Arc<MemoryStorage>,
    pub world: Arc<World>,
    worker: Arc<Worker>,
    random: Arc<Counting>,
    options: Options,
    pub clock: Wall,
}

impl Rig {
    pub async fn new() -> Rig {
        Rig::on(Arc::new(MemoryStorage::new()), Arc::default(), Duration::from_secs(3)).await
    }

    /// A worker on `storage`, which may hold runs already.
    pub async fn on(storage: Arc<MemoryStorage>, world: Arc<World>, warm_for: Duration) -> Rig {
        Rig::with(storage, world, Options { warm_for, ..Options::default() }).await
    }

    /// As [`Rig::on`], with all options of the worker.
    pub async fn with(storage: Arc<MemoryStorage>, world: Arc<World>, options: Options) -> Rig {
        Rig::made_of(storage, world, options, sandbox(), Wall::new())
    }

    /// A worker whose guests go on in other threads when they compute for long.
    pub async fn with_lane(storage: Arc<MemoryStorage>) -> Rig {
        Rig::made_of(storage, Arc::default(), Options::default(), sandbox_with_lane(), Wall::new())
    }

    fn made_of(
        storage: Arc<MemoryStorage>,
        world: Arc<World>,
        options: Options,
        sandbox: Arc<Sandbox>,
        clock: Wall,
    ) -> Rig {
        static EPOCHS: AtomicU64 = AtomicU64::new(0);
        let random = Arc::new(Counting(AtomicU64::new(EPOCHS.fetch_add(1, Ordering::Relaxed) << 32)));
        let process = Arc::new(Process::default());
        let parts = Parts {
            storage: storage.clone(),
            sandbox,
            effects: Arc::new(Scripted(world.clone())),
            clock: Arc::new(clock.clone()),
            randomness: random.clone(),
            spawner: process.clone(),
            shares: Shares::new(2, Weights::default()),
            options: options.clone(),
        };
        Rig { process, worker: Worker::spawn(parts), storage, world, random, options, clock }
    }

    /// The process dies: what was not durable is gone, and another worker starts on the rest.
    pub async fn crash(self) -> Rig {
        self.crash_for(Duration::ZERO).await
    }

    /// The same, where the disk fails in such ways from now on.
    pub async fn crash_into(self, faults: Faults) -> Rig {
        let storage = Arc::new(self.storage.crash_into(faults));
        self.process.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        Rig::with(storage, self.world, self.options).await
    }

    /// The same, where nobody starts the other worker for so long.
    pub async fn crash_for(self, down: Duration) -> Rig {
        let storage = Arc::new(self.storage.crash());
        self.process.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        tokio::time::sleep(down).await;
        Rig::made_of(storage, self.world, self.options, sandbox(), self.clock)
    }

    /// The same, after the recall of a run has brought the process down so often.
    pub async fn crash_after_recalls(self, run: RunKey, recalls: u32) -> Rig {
        let storage = Arc::new(self.storage.crash());
        self.process.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        for _ in 0..recalls {
            storage.begin_recall(run).await.expect("counted");
        }
        Rig::with(storage, self.world, self.options).await
    }

    /// Starts a worker on the first `entries` of a journal, as a crash would have left it, with one
    /// entry in each frame.
    pub async fn cut(&self, run: RunKey, entries: usize) -> Rig {
        let kept = self.entries(run).await.into_iter().take(entries).map(|entry| vec![entry]).collect();
        self.with_frames(&[(run, kept)]).await
    }

    /// The same, with all that there is of `others`.
    pub async fn cut_beside(&self, run: RunKey, entries: usize, others: &[RunKey]) -> Rig {
        let kept = self.entries(run).await.into_iter().take(entries).map(|entry| vec![entry]).collect();
        let mut runs = vec![(run, kept)];
        for other in others {
            runs.push((*other, self.frames(*other).await));
        }
        self.with_frames(&runs).await
    }

    /// The same, with so many entries of each run that it started; of one that ended its end was told.
    pub async fn cut_family(&self, run: RunKey, entries: usize, children: &[RunKey], lengths: &[usize]) -> Rig {
        let storage = self.same_code().await;
        let one_each = |entries: Vec<Entry>, count| -> Vec<Vec<Entry>> {
            entries.into_iter().take(count).map(|entry| vec![entry]).collect()
        };
        let journal = self.entries(run).await;
        let was_read = |child: &RunKey| {
            journal[..entries]
                .iter()
                .any(|entry| matches!(&entry.kind, Kind::ChildEnded(ended) if ended.run == child.run))
        };
        let of_parent = one_each(journal.clone(), entries);
        self.lay(&storage, run, &of_parent, Rows::default()).await;
        let keys = self.storage.start_keys(TENANT, None, 1_000).await.expect("read");
        for (child, length) in children.iter().zip(lengths) {
            let of_child = self.entries(*child).await;
            let step = match of_child.get(1).map(|entry| &entry.kind) {
                Some(Kind::ChildOf(of)) => of.step,
                other => panic!("{other:?}"),
            };
            let item = InboxItem {
                message: MessageId(child.run.0),
                arrived: of_child[of_child.len() - 1].time,
                body: InboxBody::ChildEnded { step, run: child.run },
            };
            let send = if was_read(child) { Vec::new() } else { vec![(run, item)] };
            let start_key = keys.iter().find(|key| key.run == child.run).cloned();
            let with = Rows { start_key, send, ..Rows::default() };
            self.lay(&storage, *child, &one_each(of_child, *length), with).await;
        }
        Rig::with(Arc::new(storage.crash()), self.same_world(), self.options.clone()).await
    }

    /// The same, where the frames of the entries at `unreadable` hold nothing that can be read.
    pub async fn cut_unreadable(&self, run: RunKey, entries: usize, unreadable: std::ops::Range<usize>) -> Rig {
        let storage = self.same_code().await;
        let kept = self.entries(run).await.into_iter().take(entries).collect();
        self.lay_unreadable(&storage, run, kept, unreadable).await;
        Rig::with(Arc::new(storage.crash()), self.same_world(), self.options.clone()).await
    }

    /// Starts a worker on all that there is of a run, and of one that it started, of which some entries cannot be read.
    pub async fn with_unreadable_child(&self, run: RunKey, child: RunKey, unreadable: std::ops::Range<usize>) -> Rig {
        let storage = self.same_code().await;
        self.lay(&storage, run, &self.frames(run).await, Rows::default()).await;
        self.lay_unreadable(&storage, child, self.entries(child).await, unreadable).await;
        Rig::with(Arc::new(storage.crash()), self.same_world(), self.options.clone()).await
    }

    async fn lay_unreadable(
        &self,
        storage: &MemoryStorage,
        run: RunKey,
        entries: Vec<Entry>,
        unreadable: std::ops::Range<usize>,
    ) {
        let mut previous = None;
        let keys = self.storage.start_keys(TENANT, None, 1_000).await.expect("read");
        let mut start_key = keys.into_iter().find(|key| key.run == run.run);
        for (place, entry) in entries.into_iter().enumerate() {
            let id = FrameId(place as u128 + 1);
            let frame = if unreadable.contains(&place) { b"?".to_vec() } else { Frame::encode(&[entry]) };
            let position = Position(place as u64);
            let rows = Rows { head: Some(self.head(run).await), start_key: start_key.take(), ..Rows::default() };
            let append =
                Append { run, position, entries: 1, previous: previous.replace(id), id, frame: frame.into(), rows };
            assert!(matches!(storage.append(append).await, Appended::Durable));
        }
    }

    /// The same with the first `frames` frames as they stand.
    pub async fn cut_at_frame(&self, run: RunKey, frames: usize) -> Rig {
        let kept = self.frames(run).await.into_iter().take(frames).collect();
        self.with_frames(&[(run, kept)]).await
    }

    async fn with_frames(&self, runs: &[(RunKey, Vec<Vec<Entry>>)]) -> Rig {
        let storage = self.same_code().await;
        for (run, frames) in runs {
            self.lay(&storage, *run, frames, Rows::default()).await;
        }
        Rig::with(Arc::new(storage.crash()), self.same_world(), self.options.clone()).await
    }

    fn same_world(&self) -> Arc<World> {
        let world = Arc::new(World::default());
        world.lock().scripts.clone_from(&self.world.lock().scripts);
        world
    }

    async fn same_code(&self) -> MemoryStorage {
        let storage = MemoryStorage::new();
        for record in self.storage.components(TENANT).await.expect("read") {
            let bytes = self.storage.component_bytes(TENANT, record.digest).await.expect("read").expect("stored");
            storage.put_component(TENANT, record, bytes).await.expect("stored");
        }
        for deployment in self.storage.deployments(TENANT).await.expect("read") {
            // The first of it there.
            storage.put_deployment(TENANT, Deployment { revision: 1, ..deployment }).await.expect("stored");
        }
        storage
    }

    /// Puts frames of a run into another store, with the payloads that they name.
    /// `with` are rows of the first frame (its key) and the last (what it sends).
    async fn lay(&self, storage: &MemoryStorage, run: RunKey, frames: &[Vec<Entry>], mut with: Rows) {
        let mut kept: Vec<Entry> = Vec::new();
        let mut previous = None;
        for frame in frames {
            let id = FrameId(kept.len() as u128 + 1);
            let position = frame[0].position;
            let (entries, bytes) = (frame.len() as u32, Frame::encode(frame).into());
            kept.extend_from_slice(frame);
            let head = RunState::of(&kept).expect("a prefix of a journal is one").head();
            let owner = if head.status.has_ended() { Owner::End } else { Owner::Keep };
            let send = if owner == Owner::End { std::mem::take(&mut with.send) } else { Vec::new() };
            let (start_key, landmarks) = (with.start_key.take(), landmarks_in(frame));
            let rows = Rows { head: Some(head), owner, start_key, send, landmarks, ..entity_rows(frame) };
            let append = Append { run, position, entries, previous: previous.replace(id), id, frame: bytes, rows };
            assert!(matches!(storage.append(append).await, Appended::Durable));
        }
        for digest in kept.iter().flat_map(|entry| payloads_of(&entry.kind)) {
            let bytes = self.storage.payload(run, digest).await.expect("read").expect("stored");
            storage.put_payload(run, digest, bytes).await.expect("stored");
        }
    }

    /// Uploads a guest and deploys it under its name.
    pub async fn deploy(&self, guest: &str) -> Digest {
        self.deploy_bytes(guest, guest_bytes(guest)).await
    }

    /// Deploys a component that is there under a name that is there, as its second version.
    pub async fn deploy_again(&self, name: &str, component: Digest) {
        let found = self.storage.deployment(TENANT, name).await.expect("read").expect("deployed");
        let mut versions = found.versions;
        versions.push(Version { version: 2, component, deployed: Timestamp(2), allow: Vec::new() });
        let deployment = Deployment { name: name.into(), revision: found.revision + 1, current: 2, versions };
        assert!(self.storage.put_deployment(TENANT, deployment).await.expect("deployed"));
    }

    pub async fn deploy_bytes(&self, name: &str, bytes: Vec<u8>) -> Digest {
        let admitted = sandbox().admit(bytes.into()).await.expect("the guest is admitted");
        let record = record_of(&admitted, Timestamp(1));
        let bytes = bytes::Bytes::copy_from_slice(&admitted.bytes);
        self.storage.put_component(TENANT, record, bytes).await.expect("stored");
        let version = Version {
            version: 1,
            component: admitted.digest,
            deployed: Timestamp(1),
            allow: vec!["http://world.test".into(), "model:scripted/*".into(), "model:openai/*".into()],
        };
        let deployment = Deployment { name: name.into(), revision: 1, current: 1, versions: vec![version] };
        self.storage.put_deployment(TENANT, deployment).await.expect("deployed");
        admitted.digest
    }

    pub async fn start(&self, deployment: &str, workflow: &str, input: &str) -> RunKey {
        self.start_keyed(deployment, workflow, input, None).await.expect("the run starts").0
    }

    /// Starts a run that the host ends after so long.
    pub async fn start_within(&self, timeout: Duration, deployment: &str, workflow: &str, input: &str) -> RunKey {
        let deployed = self.storage.deployment(TENANT, deployment).await.expect("read").expect("deployed");
        let start = Start {
            workflow: workflow.into(),
            deployment: deployment.into(),
            component: deployed.versions[0].component,
            input: input.into(),
            key: None,
            timeout_ms: Some(timeout.as_millis() as u64),
            cancel_grace_ms: None,
        };
        let answer = self.worker.start(TENANT, start).await.expect("the run starts");
        RunKey { tenant: TENANT, run: answer.run }
    }

    /// Starts a run that has so long after a cancel.
    pub async fn start_with_grace(&self, grace: Duration, deployment: &str, workflow: &str, input: &str) -> RunKey {
        let deployed = self.storage.deployment(TENANT, deployment).await.expect("read").expect("deployed");
        let start = Start {
            workflow: workflow.into(),
            deployment: deployment.into(),
            component: deployed.versions[0].component,
            input: input.into(),
            key: None,
            timeout_ms: Some(86_400_000),
            cancel_grace_ms: Some(grace.as_millis() as u64),
        };
        let answer = self.worker.start(TENANT, start).await.expect("the run starts");
        RunKey { tenant: TENANT, run: answer.run }
    }

    pub async fn start_keyed(
        &self,
        deployment: &str,
        workflow: &str,
        input: &str,
        key: Option<&str>,
    ) -> trackway::Result<(RunKey, bool)> {
        let deployed = self.storage.deployment(TENANT, deployment).await.expect("read").expect("deployed");
        let start = Start {
            workflow: workflow.into(),
            deployment: deployment.into(),
            component: deployed.versions[0].component,
            input: input.into(),
            key: key.map(|key| StartKeyRequest { key: key.into(), request: Digest::of(input.as_bytes()) }),
            timeout_ms: None,
            cancel_grace_ms: None,
        };
        let answer = self.worker.start(TENANT, start).await?;
        Ok((RunKey { tenant: TENANT, run: answer.run }, answer.existing))
    }

    /// Starts a run under limits of its own, as another host may have pinned them.
    pub async fn start_under(&self, limits: Limits, deployment: &str, workflow: &str, input: &str) -> RunKey {
        let deployed = self.storage.deployment(TENANT, deployment).await.expect("read").expect("deployed");
        let mut number = [0; 16];
        self.random.fill(&mut number);
        let run = RunKey { tenant: TENANT, run: RunId(u128::from_le_bytes(number)) };
        let started = Started {
            run: run.run,
            workflow: workflow.into(),
            deployment: deployment.into(),
            component: deployed.versions[0].component,
            input: Value::inline(input),
            seed: [1; 32],
            key_seed: [2; 32],
            limits,
            rules: RULES,
        };
        let time = trackway::effects::Clock::now(&SystemClock::new());
        let kind = Kind::Started(Box::new(started));
        let entry = Entry { position: Position::FIRST, epoch: self.storage.epoch(), time, kind };
        let head = RunState::new(&entry).expect("a journal begins so").head();
        let append = Append {
            run,
            position: Position::FIRST,
            entries: 1,
            previous: None,
            id: FrameId(1),
            frame: Frame::encode(&[entry]).into(),
            rows: Rows { head: Some(head), ..Rows::default() },
        };
        assert!(matches!(self.storage.append(append).await, Appended::Durable));
        self.storage.release(run).await.expect("given to the worker");
        run
    }

    pub async fn head(&self, run: RunKey) -> Head {
        self.storage.head(run).await.expect("read").expect("the run has a head")
    }

    /// Waits until the run has the status, for as long as it takes in virtual time up to a day.
    pub async fn until(&self, run: RunKey, wanted: impl Fn(&Head) -> bool) -> Head {
        let waiting = async {
            let mut pause = Duration::from_millis(5);
            loop {
                let head = self.head(run).await;
                if wanted(&head) {
                    return head;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 5 / 4).min(Duration::from_secs(60));
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(86_400), waiting).await;
        match waited {
            Ok(head) => head,
            Err(_) => panic!("still {:?}: {:#?}", self.head(run).await.status, self.kinds(run).await),
        }
    }

    pub async fn ended(&self, run: RunKey) -> Head {
        self.until(run, |head| head.status.has_ended() || head.status == Status::Stuck).await
    }

    /// The same, where a person asks for another attempt of whatever waits for one, and says yes to what functions ask.
    pub async fn ended_with_help(&self, run: RunKey) -> Head {
        loop {
            let ended = |head: &Head| head.status.has_ended() || head.status == Status::Stuck;
            let waits = |head: &Head| is_parked(head) || head.waiting == Some(Waiting::Person);
            let head = self.until(run, |head| ended(head) || waits(head)).await;
            if ended(&head) {
                return head;
            }
            let helped = if is_parked(&head) { self.help(run, None).await } else { self.approve(run).await };
            if !helped {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// A person says yes to what functions ask. Whether they asked.
    async fn approve(&self, run: RunKey) -> bool {
        let state = RunState::of(&self.entries(run).await).expect("a journal");
        let mut asked = false;
        for (QuestionId { name, attempt }, _) in state.questions() {
            let Some(effect) = name.effect else { continue };
            let message = u128::from(attempt) << 32 | u128::from(effect.0);
            let (answer, by) = (Value::inline(r#"{"approve":true}"#), Some("ann".into()));
            let request = MessageId(message);
            let body = InboxBody::AnswerInAttempt { step: name.step, attempt, effect, request, answer, by };
            self.send_as(run, message, body).await;
            self.until(run, |head| head.waiting != Some(Waiting::Person)).await;
            asked = true;
        }
        asked
    }

    /// A person asks for another attempt of each step that waits for one. Whether there were any.
    pub async fn help(&self, run: RunKey, verdict: Option<EffectVerdict>) -> bool {
        let state = RunState::of(&self.entries(run).await).expect("a journal");
        let parked = state.steps().iter().filter(|(_, step)| matches!(step.phase, Phase::Parked(_)));
        let parked: Vec<_> = parked.map(|(step, _)| *step).collect();
        let words = |kinds: Vec<String>| kinds.iter().filter(|kind| kind.starts_with("RetryReceived")).count();
        let before = words(self.kinds(run).await);
        for step in &parked {
            let body = InboxBody::Retry { step: *step, with: None, verdict: verdict.clone() };
            assert_eq!(self.send(run, body).await, Sent::Delivered);
        }
        while words(self.kinds(run).await) < before + parked.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        !parked.is_empty()
    }

    /// The output of a run that succeeds.
    pub async fn output(&self, run: RunKey) -> String {
        let head = self.ended(run).await;
        assert_eq!(head.status, Status::Succeeded, "{head:?}");
        match self.entries(run).await.last().map(|entry| entry.kind.clone()) {
            Some(Kind::Finished(finished)) => match finished.end {
                End::Succeeded(value) => self.text(run, &value).await,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// The failure of a run that fails.
    pub async fn failure(&self, run: RunKey) -> Failure {
        let head = self.ended(run).await;
        assert_eq!(head.status, Status::Failed, "{head:?}");
        match self.entries(run).await.last().map(|entry| entry.kind.clone()) {
            Some(Kind::Finished(finished)) => match finished.end {
                End::Failed(value) => Failure::from_value(&value),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    async fn text(&self, run: RunKey, value: &Value) -> String {
        match value {
            Value::Inline(text) => text.to_string(),
            Value::Stored { digest, .. } => {
                let bytes = self.storage.payload(run, *digest).await.expect("read").expect("the payload is there");
                String::from_utf8(bytes.to_vec()).expect("text")
            }
        }
    }

    pub async fn entries(&self, run: RunKey) -> Vec<Entry> {
        self.frames(run).await.into_iter().flatten().collect()
    }

    /// The same, where requests that stand beside the journal stand in it.
    pub async fn entries_with_requests(&self, run: RunKey) -> Vec<Entry> {
        let mut entries = self.entries(run).await;
        for entry in &mut entries {
            if let Kind::EffectAsked(EffectAsked { request: EffectRequest::Model { request, .. }, .. }) =
                &mut entry.kind
            {
                *request = Value::Inline(self.text(run, request).await.into());
            }
        }
        entries
    }

    /// The entries of each frame.
    pub async fn frames(&self, run: RunKey) -> Vec<Vec<Entry>> {
        let frames = self.storage.frames(run, Position::FIRST, usize::MAX).await.expect("read");
        frames.iter().map(|frame| Frame::decode(&frame.frame).expect("a frame").entries).collect()
    }

    /// Another worker takes the run over, although nobody died.
    pub async fn usurp(&self, run: RunKey) {
        let frames = self.storage.frames(run, Position::FIRST, usize::MAX).await.expect("read");
        let last = frames.last().expect("the run has begun");
        let entries = self.entries(run).await;
        let before = &entries[entries.len() - 1];
        let claimed = Claimed { worker: "other".into(), engine: "other".into(), component: Digest::of(b"other") };
        let entry = Entry {
            position: before.position.plus(1),
            epoch: Epoch(before.epoch.0 + 1),
            time: before.time,
            kind: Kind::Claimed(claimed),
        };
        let append = Append {
            run,
            position: entry.position,
            entries: 1,
            previous: Some(last.id),
            id: FrameId(u128::MAX),
            frame: Frame::encode(&[entry]).into(),
            rows: Rows::default(),
        };
        assert!(matches!(self.storage.append(append).await, Appended::Durable));
    }

    pub async fn kinds(&self, run: RunKey) -> Vec<String> {
        self.entries(run).await.iter().map(|entry| short(&entry.kind)).collect()
    }

    pub async fn cancel(&self, run: RunKey) -> Sent {
        self.send(run, InboxBody::Cancel { reason: "asked to".into() }).await
    }

    pub async fn terminate(&self, run: RunKey) -> Sent {
        self.send(run, InboxBody::Terminate { reason: "at once".into() }).await
    }

    pub async fn send(&self, run: RunKey, body: InboxBody) -> Sent {
        let mut message = [0; 16];
        self.random.fill(&mut message);
        let item = InboxItem {
            message: MessageId(u128::from_le_bytes(message)),
            arrived: trackway::effects::Clock::now(&SystemClock::new()),
            body,
        };
        self.storage.send(run, item).await.expect("sent")
    }

    /// Sends a signal under a message id of its own choice.
    pub async fn signal(&self, run: RunKey, message: u128, name: &str, payload: &str) -> Sent {
        let payload = Value::inline(payload);
        self.send_as(run, message, InboxBody::Signal { name: name.into(), payload, from: None }).await
    }

    pub async fn send_as(&self, run: RunKey, message: u128, body: InboxBody) -> Sent {
        let arrived = trackway::effects::Clock::now(&SystemClock::new());
        let item = InboxItem { message: MessageId(message), arrived, body };
        self.storage.send(run, item).await.expect("sent")
    }

    /// Replays the run and expects it to be identical in everything, its end included.
    pub async fn replays(&self, run: RunKey) {
        let report = self.worker.replay(run, None).await.expect("the replay runs");
        assert_eq!(report.divergence, None, "run {}", run.run);
        let wanted = match self.entries(run).await.last().map(|entry| entry.kind.clone()) {
            Some(Kind::Finished(Finished { fingerprint: Some(_), .. })) => EndCheck::Identical,
            Some(Kind::Finished(Finished { fingerprint: None, .. })) => EndCheck::EndedByHost,
            _ => EndCheck::NotEnded,
        };
        assert_eq!(report.end, wanted, "run {}", run.run);
    }

    /// How the run ended, and that a replay of it agrees.
    pub async fn end(&self, run: RunKey) -> Finished {
        let head = self.ended(run).await;
        assert!(head.status.has_ended(), "{head:?}");
        self.replays(run).await;
        match self.entries(run).await.last().map(|entry| entry.kind.clone()) {
            Some(Kind::Finished(finished)) => finished,
            other => panic!("{other:?}"),
        }
    }

    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

/// Nothing happens before a person says so.
pub fn is_parked(head: &Head) -> bool {
    head.waiting == Some(Waiting::Retry) && head.due.is_none()
}

/// What a worker sends with entries about entities.
fn entity_rows(frame: &[Entry]) -> Rows {
    let mut rows = Rows::default();
    for entry in frame {
        match &entry.kind {
            Kind::Asked(Asked { step, request: StepRequest::Entity { entity, key, act, options }, .. }) => {
                let value = match act {
                    EntityAct::Get => continue,
                    EntityAct::Set { value: Value::Inline(value) } => Some(value.clone()),
                    EntityAct::Set { value: Value::Stored { .. } } => panic!("no entity is so large"),
                    EntityAct::Delete => None,
                };
                let options: serde_json::Value = serde_json::from_str(options).unwrap_or_default();
                let (name, key, if_version) = (entity.clone(), key.clone(), options["if_version"].as_u64());
                rows.entities.push((*step, EntityWrite { name, key, if_version, value, at: entry.time }));
            }
            Kind::Answered(Answered { step, .. }) | Kind::Forgotten(Forgotten { step, .. }) => {
                rows.entities_answered.push(*step);
            }
            _ => {}
        }
    }
    rows
}

fn payloads_of(kind: &Kind) -> Vec<Digest> {
    let values = match kind {
        Kind::Started(started) => vec![&started.input],
        Kind::Asked(Asked {
            request: StepRequest::Call { input, .. } | StepRequest::StartRun { input, .. }, ..
        }) => {
            vec![input]
        }
        Kind::EffectAsked(EffectAsked {
            request: EffectRequest::Http { request, .. } | EffectRequest::Model { request, .. },
            ..
        }) => vec![request],
        Kind::Signalled(signalled) => vec![&signalled.payload],
        Kind::UpdateReceived(update) => vec![&update.payload],
        Kind::UpdateOffered(offered) => vec![&offered.payload],
        Kind::Published(published) => vec![&published.value],
        Kind::EffectAnswered(EffectAnswered { outcome: Outcome::Succeeded(value), .. })
        | Kind::Answered(Answered { outcome: Outcome::Succeeded(value), .. })
        | Kind::ChildEnded(ChildEnded { outcome: Outcome::Succeeded(value), .. })
        | Kind::Finished(Finished { end: End::Succeeded(value), .. }) => vec![value],
        _ => Vec::new(),
    };
    let digest = |value: &Value| match value {
        Value::Stored { digest, .. } => Some(*digest),
        Value::Inline(_) => None,
    };
    values.into_iter().filter_map(digest).collect()
}

/// An entry in a word or two.
pub fn short(kind: &Kind) -> String {
    let name = kind.name();
    match kind {
        Kind::EffectAsked(EffectAsked { step, attempt, effect, .. })
        | Kind::EffectAnswered(EffectAnswered { step, attempt, effect, .. })
        | Kind::ModelUsed(ModelUsed { step, attempt, effect, .. }) => {
            format!("{name} {step}.{attempt}.{effect}")
        }
        Kind::Signalled(signalled) => format!("{name} {}", signalled.name),
        Kind::Published(published) => format!("{name} {}", published.key),
        Kind::UpdateReceived(update) => format!("{name} {}", update.name),
        Kind::ChildStarted(_) | Kind::ChildEnded(_) => name.to_owned(),
        _ => match (kind.step(), kind.attempt()) {
            (Some(step), Some(attempt)) => format!("{name} {step}.{attempt}"),
            (Some(step), None) => format!("{name} {step}"),
            (None, _) => name.to_owned(),
        },
    }
}

/// Runs a test on one thread whose clock goes on only when nothing else can.
pub fn in_virtual_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(test);
}
