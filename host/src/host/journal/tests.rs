use super::super::room::Room;
use super::*;
use trackway_replay::{Claimed, Digest, Epoch, FrameId, Timestamp};
use trackway_replay::{RunId, TenantId};
use trackway_storage::{Append, Appended, MemoryStorage, Rows};

const RUN: RunKey = RunKey { tenant: TenantId::DEFAULT, run: RunId(7) };

fn entry(position: u64) -> Entry {
    let claimed = Claimed { worker: "w".into(), engine: "e".into(), component: Digest([0; 32]) };
    Entry { position: Position(position), epoch: Epoch(1), time: Timestamp(position), kind: Kind::Claimed(claimed) }
}

/// A journal of frames with so many entries each.
async fn journal(frames: impl IntoIterator<Item = u64>) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut position = 0;
    let mut previous = None;
    for (number, size) in frames.into_iter().enumerate() {
        let entries: Vec<_> = (position..position + size).map(entry).collect();
        let id = FrameId(number as u128 + 1);
        let appended = storage.append(Append {
            run: RUN,
            position: Position(position),
            entries: u32::try_from(size).expect("frames are small"),
            previous: previous.replace(id),
            id,
            frame: Frame::encode(&entries).into(),
            rows: Rows::default(),
        });
        assert!(matches!(appended.await, Appended::Durable));
        position += size;
    }
    storage
}

async fn check(frames: Vec<u64>) {
    let total: u64 = frames.iter().sum();
    let storage = journal(frames.clone()).await;
    let mut entries = Vec::new();
    extend(&storage, RUN, &mut entries, &mut Room::default().hold(0).expect("room")).await.expect("a read");
    assert_eq!(entries, (0..total).map(entry).collect::<Vec<_>>(), "{frames:?}");
}

#[tokio::test]
async fn a_journal_is_read_to_its_end_wherever_it_is() {
    check(vec![]).await;
    check(vec![1; 200]).await;
    check(vec![1, 300, 1, 2, 64, 1, 1_000, 3]).await;
}

#[tokio::test]
async fn reading_from_the_middle_of_a_frame_begins_there() {
    let storage = journal([3, 3]).await;
    for from in 0..6 {
        let entries = read(&storage, RUN, Position(from)).await.expect("a read");
        assert_eq!(entries.first().map(|entry| entry.position.0), Some(from));
    }
    assert_eq!(read(&storage, RUN, Position(6)).await.expect("a read"), []);
}

#[tokio::test]
async fn a_frame_that_is_damaged_is_an_error_with_its_place() {
    let storage = journal([2]).await;
    let mut bytes = Frame::encode(&[entry(2)]);
    bytes[5] ^= 1;
    let damaged = storage.append(Append {
        run: RUN,
        position: Position(2),
        entries: 1,
        previous: Some(FrameId(1)),
        id: FrameId(9),
        frame: bytes.into(),
        rows: Rows::default(),
    });
    assert!(matches!(damaged.await, Appended::Durable));
    let error = read(&storage, RUN, Position::FIRST).await.expect_err("it is damaged");
    assert_eq!(error.code, Code::JournalUnreadable);
    assert!(error.message.contains("frame at 2"), "{error}");
}

#[tokio::test]
async fn a_stored_value_that_is_missing_or_no_text_is_an_error() {
    let storage = MemoryStorage::new();
    let stored = |bytes: &[u8]| Value::Stored { digest: Digest::of(bytes), size_bytes: bytes.len() as u64 };
    for bytes in [&b"\xff\xfe"[..], b"\"there\""] {
        storage.put_payload(RUN, Digest::of(bytes), bytes.to_vec().into()).await.expect("memory does not fail");
    }
    assert_eq!(&*text(&storage, RUN, &stored(b"\"there\"")).await.expect("it is there"), "\"there\"");
    for bytes in [&b"\xff\xfe"[..], b"gone"] {
        assert_eq!(text(&storage, RUN, &stored(bytes)).await.expect_err("no text").code, Code::DataDamaged);
    }
}
