mod panics;
mod weights;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trackway_fair::{Shares, Weights};
use trackway_replay::{
    Day, Digest, Failure, FrameId, Head, MessageId, Position, RunId, Status, StepId, TenantId, Timestamp, Used, Value,
    code,
};
use trackway_storage::{
    Append, Appended, ComponentRecord, Faults, InboxBody, InboxItem, MemoryStorage, Owner, Record, Removed, Rows,
    RunKey, Sent, Shelf, Storage, USAGE_TOTAL, usage_name,
};

use super::{Options, Parts, Removal, Start, StartAnswer, StartKeyRequest, TokioSpawner, Worker};
use crate::effects::{Clock, Effects, HttpCall, ModelAnswer, ModelCall, SystemRandomness};
use crate::quota::{Quota, Quotas};
use crate::sandbox::Sandbox;
use crate::sandbox::tests::support::{MANIFEST, NO_AT, TextGuest, options};
use crate::{Code, Result};

const TENANT: TenantId = TenantId::DEFAULT;
const DAY: Duration = Duration::from_secs(86_400);
/// Early in a day.
const BEGIN: Timestamp = Timestamp::from_millis(20_000 * 86_400_000 + 60_000);
/// The time goes on by so much with each look.
const LOOK: Duration = Duration::from_millis(5);
/// More say that it will never be so.
const LOOKS_MAX: u32 = 4_000;

/// A clock that goes on when it is told to.
#[derive(Clone)]
struct Hand(Arc<watch::Sender<Timestamp>>);

impl Hand {
    fn go_on(&self, by: Duration) {
        self.0.send_modify(|now| *now = *now + by);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let (hand, mut seen) = (self.clone(), self.0.subscribe());
        Box::pin(async move {
            // It is held meanwhile, so this cannot fail.
            let _ = seen.wait_for(|now| *now >= until).await.is_ok();
            drop(hand);
        })
    }

    fn elapsed(&self) -> Duration {
        self.now().since(BEGIN)
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + time)
    }
}

/// A world that nobody asks.
struct Nobody;

impl Effects for Nobody {
    fn http(&self, _: HttpCall) -> BoxFuture<'static, Result<String, Failure>> {
        Box::pin(std::future::pending())
    }

    fn model(&self, _: ModelCall) -> BoxFuture<'static, Result<ModelAnswer, Failure>> {
        Box::pin(std::future::pending())
    }
}

/// A worker on a store in memory, with a workflow that sleeps a second, three times.
struct Rig {
    storage: Arc<MemoryStorage>,
    clock: Hand,
    worker: Arc<Worker>,
    component: Digest,
    _cache: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Rig {
        Rig::of(3).await
    }

    /// Of a workflow that sleeps so often.
    async fn of(naps: usize) -> Rig {
        let storage = MemoryStorage::new();
        let bytes = TextGuest::of_run(|texts| {
            let none = texts.put("{}");
            let nap = format!("(drop (call $sleep (i64.const 1000) {none} {NO_AT})) (call $next (i32.const 64))");
            format!("{} (call $return {none})", nap.repeat(naps))
        });
        let component = Digest::of(&bytes);
        let size_bytes = bytes.len() as u64;
        let record =
            ComponentRecord { digest: component, size_bytes, uploaded: BEGIN, manifest: MANIFEST.into(), pure: false };
        storage.put_component(TENANT, record, Bytes::from(bytes)).await.expect("stored");
        Rig::beginning(Arc::new(storage), component, Quotas::default())
    }

    fn beginning(storage: Arc<MemoryStorage>, component: Digest, quotas: Quotas) -> Rig {
        let clock = Hand(Arc::new(watch::Sender::new(BEGIN)));
        Rig::looking_at(Arc::new(clock.clone()), clock, (storage, component), quotas)
    }

    /// Its worker looks at one clock, which shows the time of the other.
    fn looking_at(
        seen: Arc<dyn Clock>,
        clock: Hand,
        (storage, component): (Arc<MemoryStorage>, Digest),
        quotas: Quotas,
    ) -> Rig {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let worker = Worker::spawn(Parts {
            storage: storage.clone(),
            sandbox: Arc::new(Sandbox::new(options(cache.path())).expect("a sandbox")),
            effects: Arc::new(Nobody),
            clock: seen,
            randomness: Arc::new(SystemRandomness::new().expect("the system has randomness")),
            spawner: Arc::new(TokioSpawner::current()),
            shares: Shares::new(1, Weights::default()),
            options: Options { warm_for: Duration::ZERO, quotas, ..Options::default() },
        });
        Rig { storage, clock, worker, component, _cache: cache }
    }

    /// Another process on what was durable, with such faults and such quotas of the server.
    fn again(self, faults: Faults, quotas: Quotas) -> Rig {
        let storage = Arc::new(self.storage.crash_into(faults));
        Rig::beginning(storage, self.component, quotas)
    }

    async fn try_start(&self, key: Option<&str>, timeout: Option<Duration>) -> Result<StartAnswer> {
        let start = Start {
            workflow: "w".into(),
            deployment: "d".into(),
            component: self.component,
            input: "null".into(),
            key: key.map(|key| StartKeyRequest { key: key.into(), request: Digest::of(b"it") }),
            timeout_ms: timeout.map(|timeout| timeout.as_millis() as u64),
            cancel_grace_ms: None,
        };
        self.worker.start(TENANT, start).await
    }

    async fn start(&self, timeout: Option<Duration>) -> RunKey {
        RunKey { tenant: TENANT, run: self.try_start(None, timeout).await.expect("it starts").run }
    }

    fn limit(&self, quota: Quota, limit: u64) {
        let mut said = Quotas::default();
        said.set(quota, limit).expect("a limit");
        self.worker.quotas().set(TENANT, &said);
    }

    async fn head(&self, run: RunKey) -> Head {
        self.storage.head(run).await.expect("read").expect("it has a head")
    }

    /// Looks until the head is so, while time goes on.
    #[track_caller]
    fn until<'a>(&'a self, run: RunKey, is_so: impl Fn(&Head) -> bool + 'a) -> impl Future<Output = Head> + 'a {
        let place = std::panic::Location::caller();
        async move {
            for _ in 0..LOOKS_MAX {
                let head = self.head(run).await;
                if is_so(&head) {
                    return head;
                }
                self.clock.go_on(LOOK);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            panic!("{place}: {:?}", self.head(run).await)
        }
    }

    /// Starts a run, and uses up the day's fuel under it.
    async fn held(&self, timeout: Option<Duration>) -> RunKey {
        let run = self.start(timeout).await;
        self.until(run, |head| head.status == Status::Sleeping).await;
        self.limit(Quota::FuelPerDay, 1);
        self.until(run, is_held).await;
        run
    }

    async fn send(&self, run: RunKey, number: u128, body: InboxBody) {
        let item = InboxItem { message: MessageId(number), arrived: self.clock.now(), body };
        assert_eq!(self.storage.send(run, item).await.expect("stored"), Sent::Delivered);
    }

    async fn open(&self) -> u64 {
        self.used().await.runs_open()
    }

    async fn used(&self) -> Used {
        self.worker.limits(TENANT).await.expect("read").ledger().total()
    }

    /// As it stands in the store.
    async fn stored(&self) -> Used {
        let record = self.storage.record(TENANT, Shelf::Usage, USAGE_TOTAL).await.expect("read").expect("a sum");
        Used::decode(&record.body).expect("a sum")
    }
}

fn is_held(head: &Head) -> bool {
    (head.status, head.code.as_deref()) == (Status::Paused, Some(code::QUOTA_EXCEEDED))
}

#[tokio::test]
async fn a_held_run_is_recalled_for_whatever_knocks_and_goes_on_when_the_quota_is_raised() {
    let rig = Rig::new().await;
    let run = rig.held(None).await;
    for nth in 0..10 {
        let before = rig.storage.end(run).await.expect("read");
        let signal = InboxBody::Signal { name: "ping".into(), payload: Value::null(), from: None };
        rig.send(run, nth, signal).await;
        for look in 0.. {
            assert!(look < LOOKS_MAX, "{nth}: {:?}", rig.head(run).await);
            if rig.storage.end(run).await.expect("read") > before {
                break;
            }
            rig.clock.go_on(LOOK);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.until(run, is_held).await;
    }
    rig.worker.quotas().set(TENANT, &Quotas::default());
    rig.worker.quotas_changed(TENANT).await.expect("woken");
    rig.until(run, |head| head.status == Status::Succeeded).await;
}

#[tokio::test]
async fn a_held_run_goes_on_at_midnight() {
    let rig = Rig::new().await;
    let run = rig.held(None).await;
    let head = rig.head(run).await;
    assert_eq!(head.due, Some(Day::of(BEGIN).next().begin()));
    rig.clock.go_on(DAY);
    // Until it has used as much of the new day.
    rig.until(run, |now| now.steps > head.steps).await;
}

#[tokio::test]
async fn a_held_run_that_is_cancelled_or_terminated_ends_on_the_same_day() {
    let rig = Rig::new().await;
    let bodies = [
        InboxBody::Cancel { reason: "enough".into() },
        InboxBody::CancelWithin { reason: "enough".into(), grace_ms: 1_000 },
        InboxBody::Terminate { reason: "at once".into() },
    ];
    for (nth, body) in bodies.into_iter().enumerate() {
        rig.worker.quotas().set(TENANT, &Quotas::default());
        let run = rig.held(None).await;
        rig.send(run, nth as u128, body).await;
        let head = rig.until(run, |head| head.status.has_ended()).await;
        assert_eq!(head.finished.map(Day::of), Some(Day::of(BEGIN)), "{head:?}");
    }
}

#[tokio::test]
async fn a_held_run_ends_when_its_timeout_is_over() {
    let rig = Rig::new().await;
    let run = rig.held(Some(Duration::from_secs(3_600))).await;
    assert_eq!(rig.head(run).await.due, Some(rig.head(run).await.started + Duration::from_secs(3_600)));
    rig.clock.go_on(Duration::from_secs(3_600));
    let head = rig.until(run, |head| head.status.has_ended()).await;
    assert_eq!((head.status, head.code.as_deref()), (Status::Failed, Some(code::TIMEOUT)));
    assert_eq!(head.finished.map(Day::of), Some(Day::of(BEGIN)));
}

#[tokio::test]
async fn a_start_that_does_not_come_to_stand_is_not_counted() {
    let rig = Rig::new().await;
    // Both look for the key before either has it.
    let (one, other) = tokio::join!(rig.try_start(Some("once"), None), rig.try_start(Some("once"), None));
    let answers = [one.expect("answered"), other.expect("answered")];
    assert_eq!(answers.iter().filter(|answer| answer.existing).count(), 1, "{answers:?}");
    assert_eq!((rig.open().await, rig.used().await), (1, rig.stored().await));
    let run = RunKey { tenant: TENANT, run: answers[0].run };
    rig.until(run, |head| head.status.has_ended()).await;
    assert_eq!(rig.open().await, 0);

    let before = rig.stored().await;
    let rig = rig.again(Faults { refused_permille: 1_000, ..Faults::default() }, Quotas::default());
    for _ in 0..3 {
        rig.try_start(None, None).await.expect_err("the disk is full");
    }
    assert_eq!(rig.used().await, before);
}

#[tokio::test]
async fn a_run_that_cannot_be_read_and_is_terminated_is_open_no_more() {
    let rig = Rig::new().await;
    let run = rig.held(None).await;
    let end = rig.storage.end(run).await.expect("read");
    let last = rig.storage.frames(run, Position(end.0 - 1), 1).await.expect("read").pop();
    let append = Append {
        run,
        position: end,
        entries: 1,
        previous: last.map(|frame| frame.id),
        id: FrameId(1),
        frame: Bytes::from_static(b"?"),
        rows: Rows { owner: Owner::Park { due: None }, ..Rows::default() },
    };
    assert!(matches!(rig.storage.append(append).await, Appended::Durable));
    assert_eq!(rig.open().await, 1);
    rig.send(run, 1, InboxBody::Terminate { reason: "it is broken".into() }).await;
    rig.until(run, |head| head.status.has_ended()).await;
    assert_eq!((rig.open().await, rig.stored().await.runs_open()), (0, 0));
}

#[tokio::test]
async fn a_run_that_was_held_goes_on_in_a_process_with_another_quota_and_waits_where_it_has_the_same() {
    let rig = Rig::new().await;
    let run = rig.held(None).await;
    let mut same = Quotas::default();
    same.set(Quota::FuelPerDay, 1).expect("a limit");
    let rig = rig.again(Faults::default(), same);
    let end = rig.storage.end(run).await.expect("read");
    rig.worker.wake_all_held().await.expect("woken");
    rig.clock.go_on(LOOK);
    tokio::time::sleep(LOOK).await;
    assert!(is_held(&rig.head(run).await));
    assert_eq!(rig.storage.end(run).await.expect("read"), end, "nobody looked at it");
    let rig = rig.again(Faults::default(), Quotas::default());
    rig.worker.wake_all_held().await.expect("woken");
    rig.until(run, |head| head.status == Status::Succeeded).await;
}

#[tokio::test]
async fn a_tenant_whose_sums_cannot_be_read_starts_and_ends_runs() {
    let rig = Rig::new().await;
    for name in [USAGE_TOTAL.into(), usage_name(Day::of(BEGIN))] {
        let bad = Record { name, revision: 1, body: Bytes::from_static(b"\xff") };
        assert!(rig.storage.put_record(TENANT, Shelf::Usage, bad).await.expect("stored"));
    }
    let run = rig.start(None).await;
    rig.until(run, |head| head.status == Status::Succeeded).await;
    assert_eq!((rig.used().await, rig.open().await), (rig.stored().await, 0));
}

#[tokio::test]
async fn of_starts_at_once_no_more_are_let_in_than_there_is_room_for() {
    let rig = Rig::new().await;
    rig.limit(Quota::Runs, 2);
    let answers = futures_util::future::join_all((0..20).map(|_| rig.try_start(None, None))).await;
    let (started, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((started.len(), rig.open().await), (2, 2));
    assert!(refused.into_iter().filter_map(Result::err).all(|error| error.code == Code::QuotaExceeded));
    for answer in started {
        let run = RunKey { tenant: TENANT, run: answer.expect("it started").run };
        rig.until(run, |head| head.status == Status::Succeeded).await;
    }
    // Whoever was refused, or gave up, holds no place.
    drop(futures_util::future::join_all((0..5).map(|_| rig.try_start(None, None))));
    let first = rig.start(None).await;
    rig.until(first, |head| head.steps > 0).await;
    rig.start(None).await;
    let answers = [rig.worker.fork(first, StepId(1), None).await, rig.try_start(None, None).await];
    assert!(answers.into_iter().filter_map(Result::err).count() == 2);
}

#[tokio::test]
async fn a_run_that_is_restarted_from_a_step_is_counted_from_its_first_frame_on() {
    let rig = Rig::new().await;
    let first = rig.start(None).await;
    rig.until(first, |head| head.status == Status::Succeeded).await;
    rig.limit(Quota::Runs, 1);
    let answers = tokio::join!(rig.worker.fork(first, StepId(2), None), rig.worker.fork(first, StepId(2), None));
    let (one, other) = (answers.0.is_ok(), answers.1.is_ok());
    assert!(one != other, "one of both: {one} {other}");
    assert_eq!((rig.open().await, rig.stored().await.runs_open()), (1, 1));
    let fork = answers.0.or(answers.1).expect("one of both");
    let fork = RunKey { tenant: TENANT, run: fork.run };
    rig.until(fork, |head| head.status == Status::Succeeded).await;
    assert_eq!((rig.open().await, rig.used().await), (0, rig.stored().await));
}

#[tokio::test]
async fn what_a_run_used_is_what_its_frames_hold_also_after_a_crash() {
    let mut rig = Rig::new().await;
    let run = rig.start(None).await;
    for steps in 1..=3 {
        rig.until(run, |head| head.steps >= steps).await;
        rig = rig.again(Faults::default(), Quotas::default());
    }
    rig.until(run, |head| head.status == Status::Succeeded).await;
    let frames = rig.storage.frames(run, Position::FIRST, usize::MAX).await.expect("read");
    let journal_bytes: usize = frames.iter().map(|frame| frame.frame.len()).sum();
    let (used, stored) = (rig.used().await, rig.stored().await);
    assert_eq!((used, used.steps, used.journal_bytes), (stored, 3, journal_bytes as u64));
    assert_eq!((used.runs_started, used.runs_ended), (1, 1));
}

#[tokio::test]
async fn a_run_that_is_removed_takes_off_the_sums_what_it_added_to_them() {
    for naps in [0, 3] {
        let rig = Rig::of(naps).await;
        let run = rig.start(None).await;
        rig.until(run, |head| head.status == Status::Succeeded).await;
        // One that ended before anything was counted.
        let before = RunKey { run: RunId(7), ..run };
        let mut previous = None;
        for (nth, frame) in
            rig.storage.frames(run, Position::FIRST, usize::MAX).await.expect("read").into_iter().enumerate()
        {
            let id = FrameId(nth as u128 + 1);
            let end = frame.position.plus(u64::from(frame.entries));
            let is_last = end == rig.storage.end(run).await.expect("read");
            let owner = if is_last { Owner::End } else { Owner::Keep };
            let rows = Rows { owner, head: Some(rig.head(run).await), ..Rows::default() };
            let (position, entries, frame) = (frame.position, frame.entries, frame.frame);
            let append = Append { run: before, position, entries, previous: previous.replace(id), id, frame, rows };
            assert!(matches!(rig.storage.append(append).await, Appended::Durable));
        }
        let used = rig.used().await;
        assert!(used.journal_bytes_stored() > 0);
        assert_eq!(rig.worker.remove(before).await.expect("removed"), Removal::Done(Removed::Gone));
        assert_eq!((rig.used().await, rig.stored().await), (used, used));
        assert_eq!(rig.worker.remove(run).await.expect("removed"), Removal::Done(Removed::Gone));
        let left = rig.used().await;
        assert_eq!((left.journal_bytes_stored(), left), (0, rig.stored().await), "{naps}");
    }
}
