//! Promises of a store that seals: nothing that was said can be read on the disk, and a destroyed key leaves nothing.

use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trackway_replay::{Digest, MessageId, Position, QuestionId, RunId, StepId, TenantId, Value};
use trackway_storage::{
    Appended, EntityQuery, EntityWrite, InboxBody, InboxItem, Landmark, LogKey, LogLine, Owner, Record, RunKey, Shelf,
    SledOptions, SledStorage, StartKey, Storage, StorageError, StorageErrorKind,
};

use crate::subject::{Journal, at, head, sealing, small};

const TENANT: TenantId = TenantId(3);
const OTHER: TenantId = TenantId(4);
/// Of which no part comes up by chance.
const MARK: &str = "k9#Vq-said-by-a-caller-Zx7";

fn open(folder: &Path, server: u8) -> SledStorage {
    SledStorage::open(folder, SledOptions { sealing: sealing(server), ..small() }).unwrap()
}

/// Opens what is sealed, and seals nothing more.
fn open_as_it_is(folder: &Path) -> SledStorage {
    let sealing = trackway_storage::Sealing { every_tenant: false, ..sealing(1) };
    SledStorage::open(folder, SledOptions { sealing, ..small() }).unwrap()
}

fn large(seed: u8, size_bytes: usize) -> Bytes {
    let text = format!("{MARK} {seed} ");
    text.bytes().cycle().take(size_bytes).collect()
}

/// The mark in everything that a run of the tenant can have.
async fn say_everything(store: &dyn Storage, tenant: TenantId) -> Journal {
    let key = RunKey { tenant, run: RunId(7) };
    let mut journal = Journal::new(key);
    let mut append = journal.next(Owner::Keep);
    append.frame = Bytes::from(format!("input {MARK}"));
    let small = Bytes::from(format!("payload {MARK}"));
    append.rows.payloads = vec![(Digest::of(&small), small)];
    append.rows.start_key = Some(StartKey { key: MARK.into(), run: key.run, request: Digest::of(b"request") });
    append.rows.head = Some(trackway_replay::Head { message: Some(MARK.into()), ..append.rows.head.unwrap() });
    let place = LogKey { step: 1, attempt: 0, effect: 0, line: 0 };
    let (level, message, fields) = ("info".into(), MARK.into(), format!("{{\"mark\":\"{MARK}\"}}").into());
    append.rows.logs = vec![LogLine { key: place, time: at(1), level, message, fields }];
    append.rows.landmarks = vec![(Landmark::State(MARK.into()), Position::FIRST)];
    append.rows.asked = vec![(QuestionId::of_step(StepId(1)), Position::FIRST)];
    let (name, value) = (MARK.into(), Some(format!("\"{MARK}\"").into()));
    append.rows.entities =
        vec![(StepId(1), EntityWrite { name, key: MARK.into(), if_version: None, value, at: at(2) })];
    journal.append(store, append).await;
    for (seed, size_bytes) in [(1, 50_000), (2, 2_000_000)] {
        let bytes = large(seed, size_bytes);
        store.put_payload(key, Digest::of(&bytes), bytes).await.unwrap();
    }
    let body = InboxBody::Signal { name: MARK.into(), payload: Value::inline(MARK), from: None };
    store.send(key, InboxItem { message: MessageId(5), arrived: at(3), body }).await.unwrap();
    let body = Bytes::from(format!("GET /v1/entities/{MARK}"));
    assert!(store.put_record(tenant, Shelf::Audit, Record { name: "0001".into(), revision: 1, body }).await.unwrap());
    journal.go(store, Owner::Park { due: None }).await;
    journal
}

/// Everything of it can be read, and is sound.
async fn everything_stands(store: &dyn Storage, journal: &Journal) {
    let (key, tenant) = (journal.run, journal.run.tenant);
    let frames = store.frames(key, Position::FIRST, usize::MAX).await.unwrap();
    assert_eq!((frames.len(), &*frames[0].frame), (2, format!("input {MARK}").as_bytes()));
    assert_eq!(store.head(key).await.unwrap().unwrap().workflow, "count".into());
    assert_eq!(&*store.logs(key, None, 9).await.unwrap()[0].message, MARK);
    assert_eq!(store.states(key).await.unwrap(), [(MARK.into(), Position::FIRST)]);
    assert_eq!(store.landmark(key, Landmark::State(MARK.into())).await.unwrap(), Some(Position::FIRST));
    assert_eq!(store.start_key(tenant, MARK).await.unwrap().unwrap().run, key.run);
    assert_eq!(store.start_key(tenant, "other").await.unwrap(), None);
    let mut digests = store.payloads(key).await.unwrap();
    let mut expected = [Bytes::from(format!("payload {MARK}")), large(1, 50_000), large(2, 2_000_000)];
    for bytes in &expected {
        assert_eq!(store.payload(key, Digest::of(bytes)).await.unwrap().as_ref(), Some(bytes));
    }
    expected.sort_by_key(|bytes| Digest::of(bytes));
    digests.sort();
    assert_eq!(digests, expected.map(|bytes| Digest::of(&bytes)));
    assert_eq!(store.inbox(key).await.unwrap().len(), 1);
    assert_eq!(&*store.entity(tenant, MARK, MARK).await.unwrap().unwrap().value, format!("\"{MARK}\"").as_str());
    assert_eq!(store.records(tenant, Shelf::Audit, None, 9).await.unwrap().len(), 1);
    assert_eq!(store.check_run(key).await.unwrap().flaws, Vec::<String>::new());
    assert_eq!(store.check_rest(tenant).await.unwrap(), Vec::<String>::new());
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.file_name().unwrap() == "lock" => {}
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// In names of files and in what they hold.
fn places_of(folder: &Path, mark: &[u8]) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    let found =
        files(folder).into_iter().filter(|(path, bytes)| holds(path.to_string_lossy().as_bytes()) || holds(bytes));
    found.map(|(path, _)| path.display().to_string()).collect()
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

#[tokio::test]
async fn what_was_said_is_in_no_file_of_a_store_that_seals_and_in_one_that_does_not() {
    let (sealed, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(sealed.path(), 1);
    let journal = say_everything(&store, TENANT).await;
    everything_stands(&store, &journal).await;
    assert_eq!(store.unsealed(TENANT).await.unwrap(), Some(0));
    drop(store);
    let large_digest = Digest::of(&large(2, 2_000_000));
    for mark in [MARK.as_bytes(), &large_digest.0, large_digest.to_string().as_bytes()] {
        assert_eq!(places_of(sealed.path(), mark), Vec::<String>::new());
    }
    // Killed, and opened by one that would seal nothing new.
    let store = open_as_it_is(sealed.path());
    everything_stands(&store, &journal).await;
    drop(store);

    let store = SledStorage::open(plain.path(), small()).unwrap();
    say_everything(&store, TENANT).await;
    assert_eq!(store.unsealed(TENANT).await.unwrap(), None);
    drop(store);
    assert!(!places_of(plain.path(), MARK.as_bytes()).is_empty(), "this looks at nothing");
    assert!(!plain.path().join("keys").exists());
}

#[tokio::test]
async fn what_was_there_before_a_store_seals_can_be_read_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStorage::open(folder.path(), small()).unwrap();
    let mut journal = say_everything(&store, TENANT).await;
    store.close().await.unwrap();
    drop(store);

    let store = open(folder.path(), 1);
    everything_stands(&store, &journal).await;
    let before = store.unsealed(TENANT).await.unwrap().expect("also of who has written nothing since");
    assert!(before > 10, "{before}");
    let mut append = journal.next(Owner::Keep);
    append.frame = Bytes::from_static(b"sealed-from-here-on");
    journal.append(&store, append).await;
    assert_eq!(store.unsealed(TENANT).await.unwrap(), Some(before));
    // The same under the same names, and new ones.
    let write = |key: &str, value: &str| EntityWrite {
        name: MARK.into(),
        key: key.into(),
        if_version: None,
        value: Some(value.into()),
        at: at(4),
    };
    store.write_entity(TENANT, write(MARK, "2")).await.unwrap();
    store.write_entity(TENANT, write("new", "3")).await.unwrap();
    assert_eq!(store.unsealed(TENANT).await.unwrap(), Some(before - 1), "one was written anew");
    let query = EntityQuery { name: None, after: None, limit: 9 };
    let values: Vec<String> =
        store.entities(TENANT, query).await.unwrap().iter().map(|entity| entity.value.to_string()).collect();
    assert_eq!(values, ["2", "3"]);
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
    // Another tenant is sealed from its first row on.
    let other = say_everything(&store, OTHER).await;
    assert_eq!(store.unsealed(OTHER).await.unwrap(), Some(0));
    drop(store);
    let store = open(folder.path(), 1);
    everything_stands(&store, &other).await;
    assert_eq!(store.frames(journal.run, Position::FIRST, usize::MAX).await.unwrap().len(), 3);
    assert!(store.check_run(journal.run).await.unwrap().flaws.is_empty());
    drop(store);
    assert_eq!(places_of(folder.path(), b"sealed-from-here-on"), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_right_key_a_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    say_everything(&open(folder.path(), 1), TENANT).await;
    let before = files(folder.path());
    for sealing in [sealing(2), Default::default()] {
        let opened = SledStorage::open(folder.path(), SledOptions { sealing, ..small() });
        let error = opened.map(drop).unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::NoKey, "{error}");
        assert!(!error.message.is_empty());
        assert!(files(folder.path()) == before, "something was changed");
    }
    open(folder.path(), 1);
}

#[tokio::test]
async fn an_erased_tenant_is_shredded_in_every_copy_that_lost_its_key() {
    let (folder, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path(), 1);
    let journal = say_everything(&store, TENANT).await;
    let other = say_everything(&store, OTHER).await;
    store.close().await.unwrap();
    drop(store);
    copy(folder.path(), copied.path());

    let store = open(folder.path(), 1);
    store.erase(TENANT).await.unwrap();
    assert_eq!(store.tenants().await.unwrap(), [OTHER]);
    assert!(!folder.path().join("keys").join(TENANT.0.to_string()).exists());
    everything_stands(&store, &other).await;
    drop(store);

    // The copy of before opens as long as it has the key, and nothing of it without.
    let store = open_as_it_is(copied.path());
    everything_stands(&store, &journal).await;
    store.close().await.unwrap();
    drop(store);
    fs::remove_file(copied.path().join("keys").join(TENANT.0.to_string())).unwrap();
    let store = open_as_it_is(copied.path());
    let error = store.frames(journal.run, Position::FIRST, usize::MAX).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Damaged, "{error}");
    assert!(error.message.contains("data key"), "{error}");
    store.head(journal.run).await.unwrap_err();
    store.inbox(journal.run).await.unwrap_err();
    store.logs(journal.run, None, 9).await.unwrap_err();
    store.payloads(journal.run).await.unwrap_err();
    store.entities(TENANT, EntityQuery { name: None, after: None, limit: 9 }).await.unwrap_err();
    store.records(TENANT, Shelf::Audit, None, 9).await.unwrap_err();
    everything_stands(&store, &other).await;
    drop(store);
    assert_eq!(places_of(copied.path(), MARK.as_bytes()), Vec::<String>::new());
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_after_the_key_was_destroyed_is_ended_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let journal = say_everything(&open(folder.path(), 1), TENANT).await;
    // As a process leaves it that dies right behind the key.
    let key = folder.path().join("keys").join(TENANT.0.to_string());
    let length = fs::metadata(&key).unwrap().len() as usize;
    fs::write(&key, vec![0; length]).unwrap();
    fs::write(key.with_extension("gone"), "").unwrap();
    let store = open(folder.path(), 1);
    store.frames(journal.run, Position::FIRST, usize::MAX).await.unwrap_err();
    assert_eq!(store.tenants().await.unwrap(), [TENANT]);
    store.erase(TENANT).await.unwrap();
    assert!(store.tenants().await.unwrap().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("keys")).unwrap().count(), 0);
    drop(store);
    open(folder.path(), 1);
}

/// Every write of the tenant is refused, and says why.
async fn takes_nothing(store: &SledStorage, journal: &Journal) {
    use StorageErrorKind::NoKey;
    let (key, tenant) = (journal.run, journal.run.tenant);
    let name = format!("keys/{tenant}");
    let refused = |error: StorageError| {
        assert_eq!(error.kind, NoKey, "{error}");
        assert!(error.message.contains(&name), "{error}");
    };
    // Of a run that stands the journal is read first, which does not open; a new one has none.
    let begun = Journal::new(RunKey { run: RunId(9), ..key });
    for (journal, kinds) in [(journal, &[StorageErrorKind::Damaged, NoKey][..]), (&begun, &[NoKey])] {
        let mut append = journal.next(Owner::Keep);
        append.frame = Bytes::from_static(LATER);
        match store.append(append).await {
            Appended::Refused(error) => {
                assert!(kinds.contains(&error.kind) && error.message.contains(&name), "{error}")
            }
            other => panic!("it was not refused: {other:?}"),
        }
    }
    for size_bytes in [100, 2_000_000] {
        let bytes: Bytes = LATER.iter().copied().cycle().take(size_bytes).collect();
        refused(store.put_payload(key, Digest::of(&bytes), bytes).await.unwrap_err());
    }
    let record = Record { name: "0002".into(), revision: 1, body: Bytes::from_static(LATER) };
    refused(store.put_record(tenant, Shelf::Audit, record).await.unwrap_err());
    let value = Some("\"written-while-the-key-was-away\"".into());
    let write = EntityWrite { name: MARK.into(), key: "later".into(), if_version: None, value, at: at(4) };
    refused(store.write_entity(tenant, write).await.unwrap_err());
}

const LATER: &[u8] = b"written-while-the-key-was-away";

#[tokio::test]
async fn a_tenant_whose_data_key_is_not_there_takes_no_writes_until_it_is_put_back() {
    for was_plain in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let journal = match was_plain {
            true => {
                let store = SledStorage::open(folder.path(), small()).unwrap();
                say_everything(&store, TENANT).await
            }
            false => say_everything(&open(folder.path(), 1), TENANT).await,
        };
        let store = open(folder.path(), 1);
        // Of a run that begins while the store seals.
        let mut later = Journal::new(RunKey { run: RunId(8), ..journal.run });
        later.go(&store, Owner::Keep).await;
        let mut other = say_everything(&store, OTHER).await;
        drop(store);
        let (key, away) = (folder.path().join("keys").join(TENANT.to_string()), folder.path().join("away"));
        fs::rename(&key, &away).unwrap();
        for sealing in [sealing(1), trackway_storage::Sealing { every_tenant: false, ..sealing(1) }] {
            let store = SledStorage::open(folder.path(), SledOptions { sealing, ..small() }).unwrap();
            takes_nothing(&store, &journal).await;
            takes_nothing(&store, &later).await;
            other.go(&store, Owner::Keep).await;
            store.close().await.unwrap();
            assert!(!key.exists(), "a new key was made");
        }
        assert_eq!(places_of(folder.path(), LATER), Vec::<String>::new());
        let lost = tempfile::tempdir().unwrap();
        copy(folder.path(), lost.path());
        let store = open(lost.path(), 1);
        store.erase(TENANT).await.unwrap();
        assert_eq!(store.tenants().await.unwrap(), [OTHER]);
        say_everything(&store, TENANT).await;
        drop(store);

        fs::rename(&away, &key).unwrap();
        let store = open(folder.path(), 1);
        assert_eq!(store.frames(journal.run, Position::FIRST, usize::MAX).await.unwrap().len(), 2);
        later.go(&store, Owner::Keep).await;
        assert_eq!(store.check_run(later.run).await.unwrap().flaws, Vec::<String>::new());
        assert_eq!(store.check_rest(TENANT).await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_a_sealed_row_or_file_is_named_and_other_runs_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(folder.path(), 1));
    let journal = say_everything(&*store, TENANT).await;
    let mut other = Journal::new(RunKey { run: RunId(8), ..journal.run });
    other.go(&*store, Owner::Keep).await;
    assert!(store.damage_frame(journal.run, Position::FIRST).unwrap());
    let error = store.frames(journal.run, Position::FIRST, usize::MAX).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Damaged);
    let run = journal.run.run.to_string();
    assert!(error.message.contains(&run) && error.message.contains("checksum"), "{error}");
    let flaws = store.check_run(journal.run).await.unwrap().flaws;
    assert!(flaws.contains(&error.message), "{flaws:?}");
    other.go(&*store, Owner::Keep).await;

    let payloads = folder.path().join("payloads");
    let (path, sound) = files(&payloads).pop().unwrap();
    for place in [3, 60, 100, sound.len() - 1] {
        let mut spoiled = sound.clone();
        spoiled[place] ^= 1;
        fs::write(&path, spoiled).unwrap();
        let flaws = store.check_run(journal.run).await.unwrap().flaws;
        assert!(flaws.iter().any(|flaw| flaw.contains(path.to_str().unwrap())), "byte {place}: {flaws:?}");
        fs::write(&path, &sound).unwrap();
    }
    assert!(store.check_run(other.run).await.unwrap().flaws.is_empty());
    assert_eq!(head(other.run, trackway_replay::Status::Running).run, other.run.run);
}
