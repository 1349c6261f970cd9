//! What the store in memory does when it is told to fail.

use std::time::Duration;
use trackway_replay::Position;
use trackway_storage::{Appended, Faults, MemoryStorage, Owner, Sent, Storage, StorageErrorKind};

use crate::subject::{Journal, at, claim, fenced, item, run, started};

const ALWAYS: u16 = 1_000;

async fn ends(store: &dyn Storage, number: u128) -> Vec<u64> {
    let frames = store.frames(run(number), Position::FIRST, usize::MAX).await.unwrap();
    frames.iter().map(|frame| frame.position.0).collect()
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let faults = Faults { refused_permille: ALWAYS, ..Faults::default() };
    let store = MemoryStorage::new();
    let mut journal = started(&store, 1).await;
    journal.go(&store, Owner::Park { due: None }).await;
    let store = store.crash_into(faults);
    match store.append(journal.next(Owner::Keep)).await {
        Appended::Refused(error) => assert_eq!(error.kind, StorageErrorKind::Full),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.send(run(1), item(1)).await.unwrap_err().kind, StorageErrorKind::Full);
    assert_eq!(ends(&store, 1).await, [0, 1]);
    assert!(store.inbox(run(1)).await.unwrap().is_empty());
    let store = store.crash_into(Faults::default());
    assert_eq!(store.send(run(1), item(1)).await.unwrap(), Sent::Delivered);
}

/// Appends until it is known, as the contract of `Unknown` says.
async fn settle(store: &dyn Storage, append: &trackway_storage::Append) -> Appended {
    for _ in 0..1_000 {
        match store.append(append.clone()).await {
            Appended::Unknown => {}
            known => return known,
        }
    }
    panic!("it stays unknown");
}

async fn check_unknown(faults: Faults, stands_at_once: bool) {
    let store = MemoryStorage::with_faults(7, Faults::default()).crash_into(faults);
    let journal = Journal::new(run(1));
    let append = journal.next(Owner::Keep);
    assert!(matches!(store.append(append.clone()).await, Appended::Unknown));
    assert_eq!(ends(&store, 1).await.len(), usize::from(stands_at_once));
}

#[tokio::test]
async fn an_unknown_append_may_stand() {
    check_unknown(Faults { unknown_stands_permille: ALWAYS, ..Faults::default() }, true).await;
}

#[tokio::test]
async fn an_unknown_append_may_be_lost() {
    check_unknown(Faults { unknown_lost_permille: ALWAYS, ..Faults::default() }, false).await;
}

#[tokio::test]
async fn an_unknown_append_may_come_late_and_is_fenced_when_its_place_is_taken() {
    let faults = Faults { unknown_late_permille: ALWAYS, ..Faults::default() };
    let store = MemoryStorage::with_faults(3, faults);
    let late = Journal::new(run(1)).next(Owner::Keep);
    assert!(matches!(store.append(late.clone()).await, Appended::Unknown));
    let mut calls = 0;
    while ends(&store, 1).await.is_empty() {
        calls += 1;
        assert!(calls < 100, "it never comes");
    }
    let store = store.crash_into(Faults::default());
    fenced(store.append(Journal::new(run(1)).next(Owner::Keep)).await);
    assert!(matches!(store.append(late).await, Appended::Durable));
}

#[tokio::test]
async fn what_is_settled_stands_once_whatever_the_seed() {
    for seed in 0..200 {
        let faults = Faults {
            refused_permille: 0,
            unknown_stands_permille: 150,
            unknown_lost_permille: 150,
            unknown_late_permille: 150,
            delay_max: Duration::ZERO,
            ..Faults::default()
        };
        let mut store = MemoryStorage::with_faults(seed, faults);
        let mut journal = Journal::new(run(1));
        for round in 0..20 {
            let append = journal.next(Owner::Keep);
            assert!(matches!(settle(&store, &append).await, Appended::Durable), "seed {seed}");
            journal.took(&append);
            if round % 5 == 4 {
                store = store.crash();
            }
            let expected: Vec<u64> = (0..=round).collect();
            assert_eq!(ends(&store, 1).await, expected, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_does_the_same_again() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let faults = Faults {
            refused_permille: 100,
            unknown_stands_permille: 100,
            unknown_lost_permille: 100,
            unknown_late_permille: 100,
            delay_max: Duration::from_secs(5),
            ..Faults::default()
        };
        let store = MemoryStorage::with_faults(42, faults);
        let begun = tokio::time::Instant::now();
        let mut history = Vec::new();
        for number in 0..50 {
            let mut append = Journal::new(run(number)).next(Owner::Keep);
            append.id = trackway_replay::FrameId(number);
            let appended = format!("{:?}", store.append(append).await);
            history.push((appended, begun.elapsed()));
        }
        histories.push(history);
    }
    assert_eq!(histories[0], histories[1]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_append_is_not_shown_and_is_lost_in_a_crash() {
    let store = MemoryStorage::new();
    let mut journal = started(&store, 1).await;
    journal.go(&store, Owner::Park { due: None }).await;
    let slow = Faults { delay_max: Duration::from_secs(3_600), ..Faults::default() };
    let store = std::sync::Arc::new(store.crash_into(slow));
    let appending = {
        let (store, append) = (store.clone(), journal.next(Owner::Keep));
        tokio::spawn(async move { store.append(append).await })
    };
    tokio::task::yield_now().await;
    let store_after = store.crash_into(Faults::default());
    assert!(matches!(appending.await.unwrap(), Appended::Unknown));
    assert_eq!(ends(&store_after, 1).await, [0, 1]);
    assert!(claim(&store_after, at(1)).await.runs.is_empty());
    assert_eq!(store.head(run(1)).await.unwrap_err().kind, StorageErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_glimpse_shows_nothing_of_an_append_that_is_under_way() {
    let store = MemoryStorage::new();
    let journal = started(&store, 1).await;
    let slow = store.join(Faults { delay_max: Duration::from_secs(3_600), ..Faults::default() });
    let ending = tokio::spawn({
        let end = journal.next(Owner::End);
        async move { slow.append(end).await }
    });
    tokio::task::yield_now().await;
    let before = store.glimpse(run(1)).await.unwrap().unwrap();
    assert!(!ending.is_finished());
    assert!(!before.head.status.has_ended() && before.last.unwrap().is_none());
    assert!(matches!(ending.await.unwrap(), Appended::Durable));
    let after = store.glimpse(run(1)).await.unwrap().unwrap();
    assert!(after.head.status.has_ended());
    assert_eq!(after.last.unwrap().map(|frame| frame.position), Some(Position(1)));
}

#[tokio::test]
async fn a_process_that_joins_claims_what_another_has_in_hand_and_the_first_to_append_keeps_it() {
    let store = MemoryStorage::new();
    let old = started(&store, 1).await;
    let newer = store.join(Faults::default());
    assert!(newer.epoch() > store.epoch());
    assert_eq!(claim(&newer, at(1)).await.runs, [run(1)]);
    let mut new = Journal { run: run(1), end: old.end, last: old.last };
    new.go(&newer, Owner::Keep).await;
    fenced(store.append(old.next(Owner::Park { due: None })).await);
    // Nor can it give back what it lost.
    store.park(run(1), None, None).await.unwrap();
    store.release(run(1)).await.unwrap();
    assert!(claim(&newer, at(1)).await.runs.is_empty());
    assert!(claim(&store, at(1)).await.runs.is_empty());
    new.go(&newer, Owner::Park { due: Some(at(5)) }).await;
    assert!(claim(&store, at(9)).await.runs.is_empty(), "only the newest claims");
    assert_eq!(claim(&newer, at(9)).await.runs, [run(1)]);
}

#[tokio::test]
async fn a_store_that_lost_what_it_had_synced_is_as_it_was() {
    let store = MemoryStorage::new();
    let mut journal = started(&store, 1).await;
    let snapshot = store.snapshot();
    journal.go(&store, Owner::End).await;
    store.crash_back_to(snapshot);
    assert_eq!(store.head(run(1)).await.unwrap_err().kind, StorageErrorKind::Closed);
    let store = store.join(Faults::default());
    assert_eq!(ends(&store, 1).await, [0]);
    assert_eq!(claim(&store, at(1)).await.runs, [run(1)]);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_is_under_way_at_a_crash_may_stand() {
    let faults = Faults { delay_max: Duration::from_secs(3_600), crash_stands_permille: ALWAYS, ..Faults::default() };
    let store = std::sync::Arc::new(MemoryStorage::with_faults(5, faults));
    let appending = {
        let (store, append) = (store.clone(), Journal::new(run(1)).next(Owner::Keep));
        tokio::spawn(async move { store.append(append).await })
    };
    tokio::task::yield_now().await;
    let store_after = store.crash_into(Faults::default());
    assert!(matches!(appending.await.unwrap(), Appended::Unknown));
    assert_eq!(ends(&store_after, 1).await, [0]);
}
