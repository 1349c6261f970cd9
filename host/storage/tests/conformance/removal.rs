//! Promises about runs that are removed.

use bytes::Bytes;
use std::future::poll_fn;
use std::task::Poll;
use trackway_replay::{Digest, FrameId, Position, StepId, TenantId};
use trackway_storage::{Landmark, LogKey, LogLine, Owner, Removed, StartKey, Storage};

use crate::subject::{Journal, Subject, at, durable, item, run, started};

const TENANT: TenantId = TenantId::DEFAULT;

/// Run 1, with rows and files of every kind that it can have, ended.
async fn full(store: &dyn Storage) -> FrameId {
    let mut journal = Journal::new(run(1));
    let mut start = journal.next(Owner::Keep);
    start.rows.start_key = Some(start_key());
    start.rows.payloads = vec![(Digest::of(b"small"), Bytes::from_static(b"small"))];
    start.rows.landmarks = vec![(Landmark::State("progress".into()), Position(0))];
    start.rows.asked = vec![(StepId(1), Position(0))];
    start.rows.logs = vec![LogLine {
        key: LogKey { step: 1, attempt: 0, effect: 0, line: 0 },
        time: at(1),
        level: "info".into(),
        message: "begun".into(),
        fields: "".into(),
    }];
    journal.append(store, start).await;
    store.put_payload(run(1), Digest::of(&large()), Bytes::from(large())).await.unwrap();
    store.send(run(1), item(2)).await.unwrap();
    let mut end = journal.next(Owner::End);
    end.rows.unread = vec![item(2).message];
    let id = end.id;
    journal.append(store, end).await;
    id
}

fn large() -> Vec<u8> {
    vec![7; 100_000]
}

fn start_key() -> StartKey {
    StartKey { key: "daily".into(), run: run(1).run, request: Digest::of(b"request") }
}

async fn expect_nothing_left(store: &dyn Storage) {
    assert_eq!(store.head(run(1)).await.unwrap(), None);
    assert_eq!(store.end(run(1)).await.unwrap(), Position::FIRST);
    assert!(store.frames(run(1), Position::FIRST, 1_000).await.unwrap().is_empty());
    assert!(store.logs(run(1), None, 9).await.unwrap().is_empty());
    assert!(store.payloads(run(1)).await.unwrap().is_empty());
    assert_eq!(store.payload(run(1), Digest::of(&large())).await.unwrap(), None);
    assert_eq!(store.landmark(run(1), Landmark::State("progress".into())).await.unwrap(), None);
    assert!(store.questions(TENANT, None, 9).await.unwrap().is_empty());
    assert_eq!(store.start_key(TENANT, "daily").await.unwrap(), None);
    assert!(!store.runs(TENANT, None, 9).await.unwrap().contains(&run(1).run));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}

pub async fn a_run_that_ended_can_be_removed_and_leaves_nothing(subject: Subject) {
    let store = subject.store();
    let mut other = started(&*store, 2).await;
    full(&*store).await;
    assert_eq!(store.remove(run(1)).await.unwrap(), Removed::Gone);
    expect_nothing_left(&*store).await;
    assert_eq!(store.remove(run(1)).await.unwrap(), Removed::NoSuchRun);
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    expect_nothing_left(&*store).await;
    // Others are as they were, and the key is free.
    other.go(&*store, Owner::Keep).await;
    let mut start = Journal::new(run(3)).next(Owner::Keep);
    start.rows.start_key = Some(StartKey { run: run(3).run, ..start_key() });
    durable(store.append(start).await);
}

pub async fn a_removal_that_was_asked_for_is_whole_or_has_not_begun_after_a_kill(subject: Subject) {
    let mut subject = subject;
    // Dropped after so many polls: the process dies while it is under way.
    for polls in 1..6 {
        let store = subject.store();
        full(&*store).await;
        {
            let mut removing = store.remove(run(1));
            for _ in 0..polls {
                let is_done = poll_fn(|cx| Poll::Ready(removing.as_mut().poll(cx).is_ready())).await;
                if is_done {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        drop(store);
        subject = subject.kill();
        let store = subject.store();
        if store.head(run(1)).await.unwrap().is_some() {
            assert_eq!(store.end(run(1)).await.unwrap(), Position(2), "whole");
            assert!(store.payload(run(1), Digest::of(&large())).await.unwrap().is_some());
            assert!(store.check_run(run(1)).await.unwrap().flaws.is_empty());
            assert_eq!(store.remove(run(1)).await.unwrap(), Removed::Gone);
        }
        expect_nothing_left(&*store).await;
    }
}

pub async fn a_run_that_is_open_cannot_be_removed(subject: Subject) {
    let store = subject.store();
    assert_eq!(store.remove(run(1)).await.unwrap(), Removed::NoSuchRun);
    let mut journal = started(&*store, 1).await;
    assert_eq!(store.remove(run(1)).await.unwrap(), Removed::Open);
    journal.go(&*store, Owner::Park { due: None }).await;
    assert_eq!(store.remove(run(1)).await.unwrap(), Removed::Open);
    journal.go(&*store, Owner::End).await;
    assert_eq!(store.remove(run(1)).await.unwrap(), Removed::Gone);
}
