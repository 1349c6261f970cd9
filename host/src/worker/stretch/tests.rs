//! A journal is read whole, however long it is and however large its entries are.

use super::*;
use std::sync::Arc;
use trackway_replay::{Claimed, Digest, Epoch, RunId, TenantId, Timestamp};
use trackway_storage::{Append, Appended, MemoryStorage, Rows};

const RUN: RunKey = RunKey { tenant: TenantId::DEFAULT, run: RunId(7) };

fn entries(from: usize, count: usize, size_bytes: usize) -> Vec<Entry> {
    let worker: Arc<str> = "w".repeat(size_bytes).into();
    let kind = Kind::Claimed(Claimed { worker, engine: "test".into(), component: Digest([1; 32]) });
    let entry =
        |place| Entry { position: Position(place), epoch: Epoch(1), time: Timestamp(place), kind: kind.clone() };
    (from as u64..).take(count).map(entry).collect()
}

/// Frames of so many entries, each of about so many bytes, are read back as they were written.
async fn check(frames: &[(usize, usize)]) {
    let storage = MemoryStorage::new();
    let mut all: Vec<Entry> = Vec::new();
    let mut previous = None;
    for (count, size_bytes) in frames {
        let part = entries(all.len(), *count, *size_bytes);
        let id = FrameId(all.len() as u128 + 1);
        let append = Append {
            run: RUN,
            position: Position(all.len() as u64),
            entries: *count as u32,
            previous,
            id,
            frame: Frame::encode(&part).into(),
            rows: Rows::default(),
        };
        let appended = storage.append(append).await;
        assert!(matches!(appended, Appended::Durable), "{appended:?}");
        previous = Some(id);
        all.extend(part);
    }
    let (read, last_frame) = read_back(&storage, RUN).await.expect("all of it stands");
    assert_eq!(Some(last_frame), previous);
    assert!(read == all, "{} entries were read, {} stand there", read.len(), all.len());
}

#[tokio::test]
async fn a_journal_of_many_pieces_is_read_whole() {
    check(&[(1, 1)]).await;
    check(&[(200, 10); 65]).await;
    // No piece begins where a frame does.
    check(&[(999, 1); 13]).await;
}

#[tokio::test]
async fn entries_far_larger_or_smaller_than_those_behind_them_are_read_too() {
    let (small, large) = ([(100_usize, 1_usize); 60], [(15_usize, 3_000_usize); 300]);
    check(&[&small[..], &large[..], &small[..]].concat()).await;
    check(&[&large[..], &small[..], &large[..]].concat()).await;
}

#[tokio::test]
async fn a_run_without_a_journal_is_none() {
    let error = read_back(&MemoryStorage::new(), RUN).await.map(|_| ()).expect_err("nothing stands there");
    assert_eq!(error.code, Code::NoSuchRun);
}
