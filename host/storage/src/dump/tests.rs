use bytes::Bytes;
use trackway_replay::{Digest, FrameId, Position, RunId, TenantId, Timestamp};

use super::{Reader, Record, write};
use crate::{
    Append, ComponentRecord, Deployment, MemoryStorage, Rows, RunKey, StartKey, Storage, StorageError,
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
    let (sink, mut pieces) = tokio::sync::mpsc::channel(1_000);
    write(&store, TENANT, Timestamp(3), "test", sink).await.expect("a store in memory can be read");
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece);
    }
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
