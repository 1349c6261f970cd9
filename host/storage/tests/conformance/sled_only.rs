//! Promises that only a store on a disk can break.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use trackway_replay::{Head, Position, Status};
use trackway_storage::{Appended, Glimpse, Owner, RunQuery, Sent, SledOptions, SledStorage, Storage, StorageErrorKind};

use crate::subject::{Journal, at, claim, is_quiet, item, run, small, started, within_patience};

fn open(folder: &Path) -> SledStorage {
    SledStorage::open(folder, small()).unwrap()
}

#[track_caller]
fn refusal(folder: &Path, kind: StorageErrorKind) -> String {
    match SledStorage::open(folder, small()) {
        Ok(_) => panic!("it opened, and should have been refused as {kind:?}"),
        Err(error) => {
            assert_eq!(error.kind, kind, "{error}");
            error.message
        }
    }
}

async fn write_some(folder: &Path, number: u128) -> Journal {
    let store = open(folder);
    let mut journal = started(&store, number).await;
    for _ in 0..20 {
        journal.go(&store, Owner::Keep).await;
    }
    store.close().await.unwrap();
    journal
}

async fn length(store: &SledStorage, number: u128) -> usize {
    store.frames(run(number), Position::FIRST, usize::MAX).await.unwrap().len()
}

/// Every file under the folder with its bytes, but the lock's.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_by_both_versions_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    write_some(folder.path(), 1).await;
    std::fs::write(folder.path().join("format"), "7\n").unwrap();
    let before = contents(folder.path());
    let message = refusal(folder.path(), StorageErrorKind::Newer);
    assert!(message.contains("format 7") && message.contains("up to 1"), "{message}");
    assert_eq!(contents(folder.path()), before);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_by_name_and_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let message = refusal(folder.path(), StorageErrorKind::InUse);
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    assert!(message.contains(&folder.path().canonicalize().unwrap().display().to_string()), "{message}");
    drop(store);
    drop(open(folder.path()));
}

#[tokio::test]
async fn a_damaged_frame_is_named_and_the_rest_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut journal = started(&store, 1).await;
    journal.go(&store, Owner::Keep).await;
    started(&store, 2).await;
    assert!(store.damage_frame(run(1), Position(1)).unwrap());

    let error = store.frames(run(1), Position::FIRST, usize::MAX).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Damaged);
    assert!(error.message.contains(&run(1).run.to_string()), "{error}");
    assert!(error.message.contains("position 1"), "{error}");
    assert_eq!(length(&store, 2).await, 1);
    assert_eq!(store.heads(run(1).tenant, RunQuery { limit: 9, ..RunQuery::default() }).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_glimpse_of_a_run_with_a_damaged_frame_shows_its_head_and_the_other_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (number, damaged) in [(1, Position::FIRST), (2, Position(1))] {
        started(&store, number).await.go(&store, Owner::End).await;
        assert!(store.damage_frame(run(number), damaged).unwrap());
        let Glimpse { head, first, last } = store.glimpse(run(number)).await.unwrap().unwrap();
        assert!(head.status.has_ended());
        let (spoiled, sound) = if damaged == Position::FIRST { (first, last) } else { (last, first) };
        assert_eq!(spoiled.unwrap_err().kind, StorageErrorKind::Damaged);
        assert_ne!(sound.unwrap().unwrap().position, damaged);
    }
}

#[tokio::test]
async fn a_run_whose_last_frame_is_damaged_can_be_parked_but_not_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let journal = started(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(store.damage_frame(run(1), Position::FIRST).unwrap());
    assert_eq!(claim(&store, at(1)).await.runs, [run(1)]);
    match store.append(journal.next(Owner::Keep)).await {
        Appended::Refused(error) => assert_eq!(error.kind, StorageErrorKind::Damaged, "{error}"),
        other => panic!("{other:?}"),
    }
    let head = store.head(run(1)).await.unwrap().unwrap();
    let stuck = Head { status: Status::Stuck, ..head };
    store.park(run(1), None, Some(stuck.clone())).await.unwrap();
    assert_eq!(store.head(run(1)).await.unwrap(), Some(stuck));
    assert!(claim(&store, at(9)).await.runs.is_empty());
}

#[tokio::test]
async fn a_damaged_payload_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bytes = bytes::Bytes::from(vec![1; 2 << 20]);
    let digest = trackway_replay::Digest::of(&bytes);
    store.put_payload(run(1), digest, bytes).await.unwrap();
    let files = contents(&folder.path().join("payloads"));
    let (path, mut bytes) = files.into_iter().next().unwrap();
    bytes[500] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = store.payload(run(1), digest).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Damaged);
    assert!(error.message.contains(&path.file_name().unwrap().to_string_lossy().into_owned()), "{error}");
}

/// The folder as it was, to be put in the place of what it is.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_behind_its_counter_is_refused_and_no_run_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    write_some(folder.path(), 1).await;
    copy(&folder.path().join("store"), old.path());
    write_some(folder.path(), 2).await;
    std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    copy(old.path(), &folder.path().join("store"));

    let message = refusal(folder.path(), StorageErrorKind::Behind);
    assert!(message.contains("No run was changed"), "{message}");
    refusal(folder.path(), StorageErrorKind::Behind);
    // Whoever decides to live with the loss finds everything that the older store has.
    std::fs::remove_file(folder.path().join("counter")).unwrap();
    let store = open(folder.path());
    assert_eq!((length(&store, 1).await, length(&store, 2).await), (21, 0));
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    write_some(folder.path(), 1).await;
    std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    refusal(folder.path(), StorageErrorKind::Behind);
}

/// As a power cut leaves it: nobody closed the store, and what the counter says is of another boot.
fn power_failed(folder: &Path) {
    std::fs::write(folder.join("counter"), [0; 60]).unwrap();
}

fn asides(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("aside")).collect()
}

#[tokio::test]
async fn a_store_that_lost_its_power_is_copied_aside_until_it_has_opened() {
    let folder = tempfile::tempdir().unwrap();
    write_some(folder.path(), 1).await;
    power_failed(folder.path());
    let store = open(folder.path());
    assert_eq!(length(&store, 1).await, 21);
    assert_eq!(asides(folder.path()), Vec::<String>::new());
    store.close().await.unwrap();
    drop(store);

    power_failed(folder.path());
    let log = folder.path().join("store").join("db");
    let ruined = vec![0xa5; std::fs::metadata(&log).unwrap().len() as usize];
    std::fs::write(&log, &ruined).unwrap();
    std::fs::write(folder.path().join("store").join("conf"), [0x5a; 40]).unwrap();
    let error = SledStorage::open(folder.path(), small()).err().expect("nothing of it can be read");
    let [aside] = asides(folder.path()).try_into().unwrap();
    assert!(error.message.contains(&aside), "{error}");
    assert_eq!(std::fs::read(folder.path().join(aside).join("db")).unwrap(), ruined);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut journal = started(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    // More than any disk has, so every disk is full.
    let full = SledOptions { reserve_bytes: u64::MAX, ..small() };
    let store = SledStorage::open(folder.path(), full).unwrap();
    match store.append(journal.next(Owner::Keep)).await {
        Appended::Refused(error) => assert_eq!(error.kind, StorageErrorKind::Full, "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.send(run(1), item(1)).await.unwrap_err().kind, StorageErrorKind::Full);
    for size_bytes in [1, 100_000, 2 << 20] {
        let large = bytes::Bytes::from(vec![1; size_bytes]);
        let put = store.put_payload(run(1), trackway_replay::Digest::of(&large), large).await;
        assert_eq!(put.unwrap_err().kind, StorageErrorKind::Full);
    }
    assert_eq!(length(&store, 1).await, 1);
    assert!(store.head(run(1)).await.unwrap().is_some());
    assert_eq!(claim(&store, at(1)).await.runs, [run(1)]);
    store.close().await.unwrap();
    drop(store);

    let store = open(folder.path());
    journal.go(&store, Owner::Keep).await;
    assert_eq!(length(&store, 1).await, 2);
}

/// Holds the committer between writing a batch and flushing it.
#[derive(Default)]
struct Gate {
    state: Mutex<(Door, bool)>,
    moved: Condvar,
}

#[derive(Default, PartialEq, Eq)]
enum Door {
    #[default]
    Open,
    Shut,
}

impl Gate {
    fn set(&self, door: Door) {
        self.state.lock().unwrap().0 = door;
        self.moved.notify_all();
    }

    /// Of the committer.
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 = state.0 == Door::Shut;
        self.moved.notify_all();
        while state.0 == Door::Shut {
            state = self.moved.wait(state).unwrap();
        }
        state.1 = false;
    }

    /// Until the committer stands before it.
    fn meet(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.1 {
            state = self.moved.wait(state).unwrap();
        }
    }
}

/// What everybody may be shown of a run before the flush that ends it: an answer at once shows what was
/// durable before, or there is none until the flush.
async fn shows_nothing_new(store: &Arc<SledStorage>, number: u128) -> Waiting {
    for _ in 0..10 {
        assert_eq!(length(store, number).await, 1);
        assert_eq!(store.end(run(number)).await.unwrap(), Position(1));
    }
    let list = |status| RunQuery { status: vec![status], limit: 9, ..RunQuery::default() };
    let head = tokio::spawn({
        let store = store.clone();
        async move { store.head(run(number)).await.unwrap().unwrap() }
    });
    let heads = |status| {
        let (store, wanted) = (store.clone(), list(status));
        tokio::spawn(async move { store.heads(run(number).tenant, wanted).await.unwrap() })
    };
    let glimpse = tokio::spawn({
        let store = store.clone();
        async move { store.glimpse(run(number)).await.unwrap().unwrap() }
    });
    Waiting { number, head, heads: heads(Status::Succeeded), without: heads(Status::Failed), glimpse }
}

struct Waiting {
    number: u128,
    head: tokio::task::JoinHandle<Head>,
    heads: tokio::task::JoinHandle<Vec<Head>>,
    /// A list that the run is not in, as it was before and as it will be.
    without: tokio::task::JoinHandle<Vec<Head>>,
    glimpse: tokio::task::JoinHandle<Glimpse>,
}

impl Waiting {
    /// Before the flush.
    async fn look(&mut self) {
        assert!(!self.heads.is_finished(), "a list shows what is not durable");
        assert!(!self.without.is_finished(), "a list leaves out what is not durable");
        if self.glimpse.is_finished() {
            let Glimpse { head, last, .. } = (&mut self.glimpse).await.unwrap();
            let shown = (head.status, last.unwrap().map(|frame| frame.position));
            assert_eq!(shown, (Status::Running, None), "run {} is shown before it is durable", self.number);
            self.glimpse = tokio::spawn(std::future::pending());
        }
        if self.head.is_finished() {
            let head = (&mut self.head).await.unwrap();
            assert_eq!(head.status, Status::Running, "run {} is shown before it is durable", self.number);
            self.head = tokio::spawn(std::future::pending());
        }
    }

    /// After it.
    async fn end(self) {
        let heads = within_patience(self.heads).await.unwrap();
        assert!(heads.iter().any(|head| head.run == run(self.number).run));
        assert!(within_patience(self.without).await.unwrap().is_empty());
        self.glimpse.abort();
        self.head.abort();
    }
}

/// A store that is dropped waits for its committer, also where the test has failed.
struct OpensAtLast(Arc<Gate>);

impl Drop for OpensAtLast {
    fn drop(&mut self) {
        self.0.set(Door::Open);
    }
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    // Of the first run the new opening has nothing in memory, so it is read from the tree.
    let store = open(folder.path());
    let mut old = started(&store, 1).await;
    store.close().await.unwrap();
    drop(store);
    let gate = Arc::new(Gate::default());
    let hook = gate.clone();
    let options = SledOptions { before_flush: Some(Arc::new(move || hook.pass())), ..small() };
    let store = Arc::new(SledStorage::open(folder.path(), options).unwrap());
    let _opens = OpensAtLast(gate.clone());
    let mut new = started(&*store, 3).await;
    started(&*store, 2).await.go(&*store, Owner::Park { due: None }).await;
    claim(&*store, at(1)).await;

    for journal in [&mut old, &mut new] {
        let number = journal.run.run.0;
        gate.set(Door::Shut);
        let ended = journal.next(Owner::End);
        let appending = tokio::spawn({
            let (store, ended) = (store.clone(), ended.clone());
            async move { store.append(ended).await }
        });
        tokio::task::spawn_blocking({
            let gate = gate.clone();
            move || gate.meet()
        })
        .await
        .unwrap();
        // The frame and its rows are in sled now, and not flushed.
        let sending = tokio::spawn({
            let store = store.clone();
            async move { store.send(run(2), item(number)).await }
        });
        let watching = tokio::spawn({
            let (store, seen) = (store.clone(), journal.end);
            async move { store.grown(run(number), seen).await }
        });
        let mut shown = shows_nothing_new(&store, number).await;
        for _ in 0..10 {
            let claims = claim(&*store, at(9)).await;
            assert!(claims.runs.is_empty() && claims.knocks.is_empty());
            shown.look().await;
        }
        assert!(!appending.is_finished() && !sending.is_finished() && !watching.is_finished());

        gate.set(Door::Open);
        assert!(matches!(within_patience(appending).await.unwrap(), Appended::Durable));
        // Whoever was told of it finds it in every view.
        assert!(store.head(run(number)).await.unwrap().unwrap().status.has_ended());
        assert_eq!(length(&store, number).await, 2);
        assert_eq!(store.end(run(number)).await.unwrap(), Position(2));
        let last = store.glimpse(run(number)).await.unwrap().unwrap().last.unwrap();
        assert_eq!(last.map(|frame| frame.position), Some(Position(1)));
        shown.end().await;
        assert_eq!(within_patience(sending).await.unwrap().unwrap(), Sent::Delivered);
        within_patience(watching).await.unwrap();
        journal.took(&ended);
        let claims = claim(&*store, at(9)).await;
        assert_eq!([claims.runs, claims.knocks].concat(), [run(2)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_told_of_a_frame_finds_it_in_every_view() {
    const RUNS: u128 = 400;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let tasks = (1..=RUNS).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut journal = started(&*store, number).await;
            assert_eq!(length(&store, number).await, 1);
            journal.go(&*store, Owner::Keep).await;
            assert_eq!(store.end(run(number)).await.unwrap(), Position(2));
            let watch = tokio::spawn({
                let (store, seen) = (store.clone(), journal.end);
                async move {
                    store.grown(run(number), seen).await;
                    (store.head(run(number)).await.unwrap().unwrap(), store.end(run(number)).await.unwrap())
                }
            });
            journal.go(&*store, Owner::End).await;
            let (watched, end) = within_patience(watch).await.unwrap();
            assert!(watched.status.has_ended() && end == Position(3), "run {number} is not as it was told");
            assert!(store.head(run(number)).await.unwrap().unwrap().status.has_ended());
            assert_eq!(length(&store, number).await, 3);
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        within_patience(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_that_nobody_waits_for_leaves_its_runs_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut journal = started(&store, 1).await;
    for round in 1..=20 {
        journal.go(&store, Owner::Park { due: Some(at(round)) }).await;
        // Polled once and dropped; the thread that claims goes on, unless it was that quick.
        if !is_quiet(async { drop(store.claim(at(round), 1, Vec::new()).await) }).await {
            store.release(run(1)).await.unwrap();
        }
        within_patience(async {
            while claim(&store, at(round)).await.runs.is_empty() {
                store.changed().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn timers_of_many_parked_runs_are_read_from_the_front() {
    const RUNS: u128 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path()));
    let mut parked = Vec::new();
    for chunk in 0..RUNS / 500 {
        let appends = (0..500).map(|number| {
            let due = at(1_000 + (chunk * 500 + number) as u64);
            store.append(Journal::new(run(chunk * 500 + number)).next(Owner::Park { due: Some(due) }))
        });
        parked.extend(futures_util::future::join_all(appends).await);
    }
    assert!(parked.iter().all(|appended| matches!(appended, Appended::Durable)));
    store.close().await.unwrap();
    drop(Arc::into_inner(store).unwrap());

    let store = open(folder.path());
    let claims = store.claim(at(1_002), 10, Vec::new()).await.unwrap();
    assert_eq!(claims.runs, [run(0), run(1), run(2)]);
    assert_eq!(claims.next_due, Some(at(1_003)));
}
