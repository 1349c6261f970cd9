//! Promises about runs that are removed.

use bytes::Bytes;
use trackway_replay::{Digest, FrameId, Position, QuestionId, StepId, TenantId};
use trackway_storage::{Landmark, LogKey, LogLine, Owner, Removed, RunKey, StartKey, Storage};

use crate::subject::{Journal, Subject, at, durable, given_up_after, item, run, started};

const TENANT: TenantId = TenantId::DEFAULT;

/// A run with rows and files of every kind that it can have, ended.
async fn full(store: &dyn Storage, key: RunKey) -> FrameId {
    let mut journal = Journal::new(key);
    let mut start = journal.next(Owner::Keep);
    start.rows.start_key = Some(start_key(key));
    start.rows.payloads = vec![(Digest::of(b"small"), Bytes::from_static(b"small"))];
    start.rows.landmarks = vec![(Landmark::State("progress".into()), Position(0))];
    start.rows.asked = vec![(QuestionId::of_step(StepId(1)), Position(0))];
    start.rows.logs = vec![LogLine {
        key: LogKey { step: 1, attempt: 0, effect: 0, line: 0 },
        time: at(1),
        level: "info".into(),
        message: "begun".into(),
        fields: "".into(),
    }];
    journal.append(store, start).await;
    for large in large() {
        store.put_payload(key, Digest::of(&large), Bytes::from(large)).await.unwrap();
    }
    store.send(key, item(2)).await.unwrap();
    let mut end = journal.next(Owner::End);
    end.rows.unread = vec![item(2).message];
    let id = end.id;
    journal.append(store, end).await;
    id
}

/// One that is kept as pieces, and one that is a file.
fn large() -> [Vec<u8>; 2] {
    [vec![7; 100_000], vec![7; 2 << 20]]
}

fn start_key(key: RunKey) -> StartKey {
    StartKey { key: "daily".into(), run: key.run, request: Digest::of(b"request") }
}

async fn expect_nothing_left(store: &dyn Storage, key: RunKey) {
    assert_eq!(store.head(key).await.unwrap(), None);
    assert_eq!(store.end(key).await.unwrap(), Position::FIRST);
    assert!(store.frames(key, Position::FIRST, 1_000).await.unwrap().is_empty());
    assert!(store.logs(key, None, 9).await.unwrap().is_empty());
    assert!(store.payloads(key).await.unwrap().is_empty());
    for large in large() {
        assert_eq!(store.payload(key, Digest::of(&large)).await.unwrap(), None);
    }
    assert_eq!(store.landmark(key, Landmark::State("progress".into())).await.unwrap(), None);
    assert!(store.questions(TENANT, None, 9).await.unwrap().is_empty());
    assert_eq!(store.start_key(TENANT, "daily").await.unwrap(), None);
    assert!(!store.runs(TENANT, None, 9).await.unwrap().contains(&key.run));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}

pub async fn a_run_that_ended_can_be_removed_and_leaves_nothing(subject: Subject) {
    let store = subject.store();
    let mut other = started(&*store, 2).await;
    full(&*store, run(1)).await;
    assert_eq!(store.remove(run(1), Vec::new()).await.unwrap(), Removed::Gone);
    expect_nothing_left(&*store, run(1)).await;
    assert_eq!(store.remove(run(1), Vec::new()).await.unwrap(), Removed::NoSuchRun);
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    expect_nothing_left(&*store, run(1)).await;
    // Others are as they were, and the key is free.
    other.go(&*store, Owner::Keep).await;
    let mut start = Journal::new(run(3)).next(Owner::Keep);
    start.rows.start_key = Some(StartKey { run: run(3).run, ..start_key(run(1)) });
    durable(store.append(start).await);
}

pub async fn a_removal_that_was_asked_for_is_whole_or_has_not_begun_after_a_kill(subject: Subject) {
    let mut subject = subject;
    // Dropped after so many polls: the process dies while it is under way.
    for polls in 1..6 {
        // No run comes again once it is removed.
        let key = run(polls);
        let store = subject.store();
        full(&*store, key).await;
        given_up_after(polls, store.remove(key, Vec::new())).await;
        drop(store);
        subject = subject.kill();
        let store = subject.store();
        if store.head(key).await.unwrap().is_some() {
            assert_eq!(store.end(key).await.unwrap(), Position(2), "whole");
            for large in large() {
                assert!(store.payload(key, Digest::of(&large)).await.unwrap().is_some());
            }
            assert!(store.check_run(key).await.unwrap().flaws.is_empty());
            assert_eq!(store.remove(key, Vec::new()).await.unwrap(), Removed::Gone);
        }
        expect_nothing_left(&*store, key).await;
    }
}

pub async fn a_run_that_is_open_cannot_be_removed(subject: Subject) {
    let store = subject.store();
    assert_eq!(store.remove(run(1), Vec::new()).await.unwrap(), Removed::NoSuchRun);
    let mut journal = started(&*store, 1).await;
    assert_eq!(store.remove(run(1), Vec::new()).await.unwrap(), Removed::Open);
    journal.go(&*store, Owner::Park { due: None }).await;
    assert_eq!(store.remove(run(1), Vec::new()).await.unwrap(), Removed::Open);
    journal.go(&*store, Owner::End).await;
    assert_eq!(store.remove(run(1), Vec::new()).await.unwrap(), Removed::Gone);
}
