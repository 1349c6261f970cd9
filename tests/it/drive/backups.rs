//! Copies of a host that goes on meanwhile: what was sent to a run is in each of them, and reaches it once.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use trackway::host::{DataKeys, restore};
use trackway_replay::{Frame, Kind, MessageId, Position, Timestamp, Value};
use trackway_storage::dump::{self, Reader, Record};
use trackway_storage::{Faults, InboxBody, InboxItem, MemoryStorage, RunKey, Sent, SledOptions, SledStorage, Storage};

use crate::rig::{Rig, in_virtual_time};

const SIGNALS: u128 = 40;

async fn copy_of(storage: &MemoryStorage) -> Vec<u8> {
    let (sink, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece);
        }
        bytes
    };
    let taken = Timestamp(u64::MAX / 2);
    let (written, bytes) = tokio::join!(dump::write(storage, taken, "test", sink), collect);
    written.expect("it can be read");
    bytes
}

fn signal(number: u128, payload: u128) -> InboxItem {
    let payload = Value::inline(payload.to_string());
    let body = InboxBody::Signal { name: "number".into(), payload, from: None };
    InboxItem { message: MessageId(number), arrived: Timestamp(1), body }
}

/// How often each message stands in the journal of a run or waits in its inbox.
async fn held(storage: &dyn Storage, run: RunKey) -> BTreeMap<u128, usize> {
    let frames = storage.frames(run, Position::FIRST, usize::MAX).await.expect("read");
    let entries = frames.iter().flat_map(|stored| Frame::decode(&stored.frame).expect("a frame").entries);
    let read = entries.filter_map(|entry| match entry.kind {
        Kind::Signalled(signalled) => Some(signalled.message),
        _ => None,
    });
    let read: Vec<MessageId> = read.collect();
    let unread = storage.inbox(run).await.expect("read").into_iter().map(|item| item.message);
    let mut held = BTreeMap::new();
    read.into_iter().chain(unread).for_each(|message| *held.entry(message.0).or_default() += 1);
    held
}

/// Messages that a copy holds as unread and in a journal: they were read while it was made.
fn twice(copy: &[u8]) -> usize {
    let mut reader = Reader::new(copy).expect("a backup");
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    while let Some((record, data)) = reader.read().expect("it is whole") {
        match record {
            Record::Frame { .. } => {
                for entry in Frame::decode(&data).expect("a frame").entries {
                    if let Kind::Signalled(signalled) = entry.kind {
                        read.push(signalled.message);
                    }
                }
            }
            Record::Inbox(item) => unread.push(item.message),
            _ => {}
        }
    }
    unread.iter().filter(|message| read.contains(message)).count()
}

#[test]
fn a_signal_is_in_every_copy_since_and_reaches_a_run_that_went_on_once() {
    // How calls of the two come between each other is the seed's.
    let twice: usize = (7..10).map(copied_while_signals_come).sum();
    assert!(twice > 0, "nothing was read while a copy was made");
}

/// Answers how many messages were read while a copy was made.
fn copied_while_signals_come(seed: u64) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    in_virtual_time(async move {
        let faults = Faults { delay_max: Duration::from_millis(20), ..Faults::default() };
        let rig = Rig::on(Arc::new(MemoryStorage::with_faults(seed, faults)), Arc::default(), Duration::ZERO).await;
        rig.deploy("lasting").await;
        let run = rig.start("lasting", "collects", &format!(r#"{{"left":{},"told":[]}}"#, SIGNALS * 2)).await;
        let send = async {
            for number in 1..=SIGNALS {
                assert_eq!(rig.storage.send(run, signal(number, number)).await.expect("sent"), Sent::Delivered);
                tokio::time::sleep(Duration::from_millis(90)).await;
            }
        };
        let copy = async {
            let mut copies = Vec::new();
            for _ in 0..25 {
                let before = held(&*rig.storage, run).await;
                copies.push((before, copy_of(&rig.storage).await));
            }
            copies
        };
        let ((), copies) = tokio::join!(send, copy);
        counted.store(copies.iter().map(|(_, copy)| twice(copy)).sum(), Ordering::Relaxed);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (place, (before, copy)) in copies.iter().enumerate() {
            let (file, data) = (folder.path().join(format!("{place}.trackway")), folder.path().join(place.to_string()));
            std::fs::write(&file, copy).expect("written");
            restore(&file, &data, &DataKeys::default()).await.expect("it can be restored");
            let store = SledStorage::open(&data.join("store"), SledOptions::default()).expect("it can be opened");
            let now = held(&store, run).await;
            assert!(before.keys().all(|message| now.contains_key(message)), "copy {place} lost some of {before:?}");
            assert!(now.values().all(|count| *count == 1), "copy {place}: {now:?}");
            // Whoever asks again, or something else under the same key, is answered as before.
            for message in now.keys() {
                assert_eq!(store.send(run, signal(*message, *message)).await.expect("sent"), Sent::Delivered);
                assert_eq!(store.send(run, signal(*message, 0)).await.expect("sent"), Sent::Differs);
            }
            assert_eq!(held(&store, run).await, now);
            store.close().await.expect("closed");
        }
    });
    count.load(Ordering::Relaxed)
}
