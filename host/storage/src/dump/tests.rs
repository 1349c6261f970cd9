use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Digest, FrameId, MessageId, Position, RunId, TenantId, Timestamp, Value};

use super::{Reader, Record, write};
use crate::{
    Append, Appended, ComponentRecord, Deployment, EntityWrite, Faults, Hardening, InboxBody, InboxItem, MemoryStorage,
    Owner, Removed, Rows, RunKey, Sent, Shelf, SledOptions, SledStorage, StartKey, Storage, StorageError,
    StorageErrorKind, Version,
};

const TENANT: TenantId = TenantId::DEFAULT;

async fn dumped() -> Vec<u8> {
    let store = MemoryStorage::new();
    let digest = Digest::of(b"code");
    let record = ComponentRecord { digest, size_bytes: 4, uploaded: Timestamp(1), manifest: "{}".into(), pure: true };
    store.put_component(TENANT, record, Bytes::from_static(b"code")).await.expect("stored");
    let version = Version { version: 1, component: digest, deployed: Timestamp(2), allow: Vec::new() };
    let deployment = Deployment { name: "news".into(), revision: 1, current: 1, versions: vec![version] };
    assert!(store.put_deployment(TENANT, deployment).await.expect("stored"));
    let run = RunKey { tenant: TENANT, run: RunId(7) };
    store.put_payload(run, Digest::of(b"large"), Bytes::from_static(b"large")).await.expect("stored");
    let start_key = StartKey { key: "once".into(), run: run.run, request: Digest::of(b"request") };
    let append = Append {
        run,
        position: Position::FIRST,
        entries: 2,
        previous: None,
        id: FrameId(9),
        frame: Bytes::from_static(b"frame"),
        rows: Rows { start_key: Some(start_key), ..Rows::default() },
    };
    store.append(append).await;
    dump_of(&store).await
}

async fn dump_of(store: &dyn Storage) -> Vec<u8> {
    let (sink, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(1_000);
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece);
        }
        bytes
    };
    let (written, bytes) = tokio::join!(write(store, Timestamp(3), "test", sink), collect);
    written.expect("a store in memory can be read");
    bytes
}

fn records(bytes: &[u8]) -> Result<Vec<(Record, Bytes)>, StorageError> {
    let mut reader = Reader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.read()? {
        records.push(record);
    }
    Ok(records)
}

#[tokio::test]
async fn a_dump_holds_everything_in_the_order_in_which_it_can_be_written_again() {
    let records = records(&dumped().await).expect("it is whole");
    let kinds: Vec<u8> = records.iter().map(|(record, _)| record.kind()).collect();
    assert_eq!(kinds, [1, 2, 3, 4, 5, 6, 10, 11]);
    assert_eq!(records[1].1, "code");
    assert_eq!(records[4].1, "large");
    assert_eq!(records[5].1, "frame");
}

#[tokio::test]
async fn a_dump_that_is_cut_off_anywhere_is_none() {
    let bytes = dumped().await;
    for length in 0..bytes.len() {
        let error = records(&bytes[..length]).expect_err("it is cut off");
        assert_eq!(error.kind, StorageErrorKind::Damaged, "{length}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(records(&longer).expect_err("something follows").kind, StorageErrorKind::Damaged);
}

#[tokio::test]
async fn a_single_bit_anywhere_is_noticed() {
    let bytes = dumped().await;
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        assert!(records(&damaged).is_err(), "byte {place}");
    }
}

/// Whatever is changed: what was written once can be read for ever.
#[tokio::test]
async fn dumps_of_the_first_version_stay_readable() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dump/v1.trackway");
    let old = std::fs::read(path).expect("it is checked in");
    let fresh = records(&dumped().await).expect("it is whole");
    assert_eq!(records(&old).expect("it can be read")[..fresh.len() - 1], fresh[..fresh.len() - 1]);
}

#[tokio::test]
async fn a_newer_dump_is_known_as_such() {
    let mut bytes = dumped().await;
    bytes[16] = 9;
    assert_eq!(records(&bytes).expect_err("it is newer").kind, StorageErrorKind::Newer);
}

/// Every call takes some of its time, so that others come in between.
fn slow(seed: u64) -> MemoryStorage {
    MemoryStorage::with_faults(seed, Faults { delay_max: Duration::from_millis(4), ..Faults::default() })
}

fn key(number: u128) -> RunKey {
    RunKey { tenant: TENANT, run: RunId(number) }
}

/// One entry, whose content is nobody's concern here.
fn frame(run: RunKey, place: u64, frame: String, rows: Rows) -> Append {
    let previous = place.checked_sub(1).map(|before| FrameId(u128::from(before) + 1));
    let (position, id) = (Position(place), FrameId(u128::from(place) + 1));
    Append { run, position, entries: 1, previous, id, frame: frame.into(), rows }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_dump_is_in_it_though_its_run_reads_it_meanwhile() {
    for seed in 0..20 {
        let store = slow(seed);
        assert!(matches!(store.append(frame(key(1), 0, "start".into(), Rows::default())).await, Appended::Durable));
        let send = async {
            for message in 1..=60 {
                let body = InboxBody::Signal { name: "n".into(), payload: Value::inline("1"), from: None };
                let item = InboxItem { message: MessageId(message), arrived: Timestamp(1), body };
                assert_eq!(store.send(key(1), item).await.expect("sent"), Sent::Delivered);
            }
        };
        // Its frames hold what it read.
        let own = async {
            for place in 1.. {
                let read: Vec<_> = store.inbox(key(1)).await.expect("read").iter().map(|item| item.message).collect();
                let told = read.iter().map(|message| message.0.to_string()).collect::<Vec<_>>().join(" ");
                store.append(frame(key(1), place, told, Rows { read, ..Rows::default() })).await;
            }
        };
        let sent = || async {
            let unread = store.inbox(key(1)).await.expect("read").into_iter().map(|item| item.message.0);
            let frames = store.frames(key(1), Position::FIRST, usize::MAX).await.expect("read");
            let frames: Vec<Bytes> = frames.into_iter().map(|stored| stored.frame).collect();
            unread.chain(numbers(&frames)).collect::<BTreeSet<u128>>()
        };
        let copy = async {
            for _ in 0..8 {
                let before = sent().await;
                let records = records(&dump_of(&store).await).expect("it is whole");
                let mut held: BTreeSet<u128> = BTreeSet::new();
                for (record, data) in records {
                    match record {
                        Record::Inbox(item) => drop(held.insert(item.message.0)),
                        Record::Frame { .. } => held.extend(numbers(&[data])),
                        _ => {}
                    }
                }
                assert!(before.is_subset(&held), "seed {seed}: {:?} is lost", before.difference(&held));
            }
        };
        tokio::select! { _ = async { tokio::join!(send, copy) } => {}, () = own => {} }
    }
}

fn numbers(frames: &[Bytes]) -> Vec<u128> {
    let text = frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect::<Vec<_>>().join(" ");
    text.split(' ').filter_map(|number| number.parse().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_removed_while_it_is_read_is_no_flaw_of_the_dump() {
    const RUNS: u128 = 30;
    let mut caught = 0;
    for seed in 0..10 {
        let store = slow(seed);
        for number in 1..=RUNS {
            store.append(frame(key(number), 0, "start".into(), Rows::default())).await;
            for place in 1..4 {
                let owner = if place == 3 { Owner::End } else { Owner::Keep };
                store.append(frame(key(number), place, "more".into(), Rows { owner, ..Rows::default() })).await;
            }
        }
        let remove = async {
            for number in (1..=RUNS).rev() {
                assert_eq!(store.remove(key(number), Vec::new()).await.expect("removed"), Removed::Gone);
            }
        };
        let (bytes, ()) = tokio::join!(dump_of(&store), remove);
        let mut standing = BTreeSet::new();
        for (record, _) in records(&bytes).expect("it is whole") {
            match record {
                Record::Run { run, .. } => drop(standing.insert(run)),
                Record::Removed { run } => {
                    caught += 1;
                    standing.remove(&run);
                }
                Record::Unreadable { run, why } => panic!("seed {seed}: run {run}: {why}"),
                Record::End { runs, unreadable, .. } => assert_eq!((runs, unreadable), (standing.len() as u64, 0)),
                _ => {}
            }
        }
    }
    assert!(caught > 0, "none was removed in the middle");
}

#[tokio::test(start_paused = true)]
async fn no_deployment_of_a_dump_lacks_a_component_that_is_removed_meanwhile() {
    const COUNT: u8 = 12;
    let mut caught = 0;
    for seed in 0..20 {
        let store = slow(seed);
        let mut digests = Vec::new();
        for number in 0..COUNT {
            let (digest, bytes) = (Digest::of(&[number]), Bytes::copy_from_slice(&[number]));
            let manifest = "{}".into();
            let record = ComponentRecord { digest, size_bytes: 1, uploaded: Timestamp(1), manifest, pure: true };
            store.put_component(TENANT, record, bytes).await.expect("stored");
            let version = Version { version: 1, component: digest, deployed: Timestamp(2), allow: Vec::new() };
            let name = format!("news-{number:02}").into();
            let deployment = Deployment { name, revision: 1, current: 1, versions: vec![version] };
            assert!(store.put_deployment(TENANT, deployment).await.expect("stored"));
            digests.push(digest);
        }
        let remove = async {
            for (number, digest) in digests.iter().enumerate() {
                let name = format!("news-{number:02}");
                assert!(store.remove_deployment(TENANT, &name, 1).await.expect("removed"));
                assert!(store.remove_component(TENANT, *digest).await.expect("removed"));
            }
        };
        let (bytes, ()) = tokio::join!(dump_of(&store), remove);
        let mut there = BTreeSet::new();
        for (record, _) in records(&bytes).expect("it is whole") {
            match record {
                Record::Component(component) => drop(there.insert(component.digest)),
                Record::Deployment(deployment) => {
                    let component = deployment.versions[0].component;
                    assert!(there.contains(&component), "seed {seed}: {} has no code", deployment.name);
                }
                _ => {}
            }
        }
        caught += usize::from((1..usize::from(COUNT)).contains(&there.len()));
    }
    assert!(caught > 0, "none was removed in the middle");
}

const MARK: &str = "k9Vq-said-by-a-caller-Zx7";
const ERASED: TenantId = TenantId(3);
const KEPT: TenantId = TenantId(4);
/// More than are read at once.
const AUDITED: usize = super::write::RECORDS + 10;

async fn say(store: &SledStorage, tenant: TenantId) {
    let puts = (0..AUDITED).map(|number| {
        let record = crate::Record { name: format!("{number:06}").into(), revision: 1, body: MARK.into() };
        store.put_record(tenant, Shelf::Audit, record)
    });
    for put in futures_util::future::join_all(puts).await {
        assert!(put.expect("written"));
    }
    let (name, value) = ("people".into(), Some(format!("\"{MARK}\"").into()));
    let write = EntityWrite { name, key: MARK.into(), if_version: None, value, at: Timestamp(1) };
    store.write_entity(tenant, write).await.expect("written");
    for number in 1..=3 {
        let run = RunKey { tenant, run: RunId(number) };
        assert!(matches!(store.append(frame(run, 0, MARK.into(), Rows::default())).await, Appended::Durable));
    }
}

/// A dump during which the key of a tenant is destroyed, and if `is_erased` all of it is gone, right after its `nth` sealed
/// record was taken.
async fn dumped_while_deleted(nth: usize, is_erased: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let (sealing, hardening) = (crate::seal::tests::sealing(1), Hardening::NoWait);
    let wrap = sealing.wrap.clone().expect("it has one");
    let options = SledOptions { sealing, cache_bytes: 8 << 20, hardening, ..SledOptions::default() };
    let store = Arc::new(SledStorage::open(folder.path(), options).expect("it opens"));
    say(&store, ERASED).await;
    say(&store, KEPT).await;
    let keys = store.seals().wrapped().expect("read");
    let openers = keys.iter().map(|key| (key.tenant, key.unwrap(&*wrap).expect("it opens"))).collect();

    let (sink, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let dumping = tokio::spawn({
        let store = store.clone();
        async move { write(&*store, Timestamp(3), "test", sink).await }
    });
    let (mut bytes, mut sealed) = (Vec::new(), 0);
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece);
        if piece[0] != Record::Sealed.kind() {
            continue;
        }
        sealed += 1;
        if sealed == nth {
            match is_erased {
                true => store.erase(ERASED).await.expect("erased"),
                false => store.seals().destroy(ERASED).expect("destroyed"),
            }
        }
    }
    dumping.await.expect("it ends").expect("the others can be read");

    let said = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    assert!(!said, "after {nth} records something went out open");
    // Who has the keys of before reads all of it.
    let mut reader = Reader::opening(bytes.as_slice(), Arc::new(openers)).expect("it is one");
    let (mut tenant, mut of_kept) = (TENANT, 0);
    while let Some((record, _)) = reader.read().unwrap_or_else(|error| panic!("after {nth} records: {error}")) {
        match record {
            Record::Tenant(next) => tenant = next,
            Record::Unreadable { run, why } => panic!("after {nth} records: run {run}: {why}"),
            Record::Shelved { .. } | Record::Entity(_) | Record::Frame { .. } if tenant == KEPT => of_kept += 1,
            _ => {}
        }
    }
    assert_eq!(of_kept, AUDITED + 1 + 3, "after {nth} records");
}

#[tokio::test]
async fn of_a_tenant_that_is_deleted_during_a_dump_nothing_goes_out_open_and_all_others_are_in_it() {
    for is_erased in [false, true] {
        for nth in [1, AUDITED, AUDITED + 1, AUDITED + 2] {
            dumped_while_deleted(nth, is_erased).await;
        }
    }
}

#[tokio::test]
async fn a_tenant_that_is_being_erased_is_left_out_of_a_dump() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sealing, hardening) = (crate::seal::tests::sealing(1), Hardening::NoWait);
    let options = SledOptions { sealing, cache_bytes: 8 << 20, hardening, ..SledOptions::default() };
    let store = SledStorage::open(folder.path(), options).expect("it opens");
    say(&store, ERASED).await;
    store.seals().destroy(ERASED).expect("destroyed");
    let records = records(&dump_of(&store).await).expect("it is whole");
    let kinds: Vec<u8> = records.iter().map(|(record, _)| record.kind()).collect();
    assert_eq!(kinds, [1, 11]);
}
