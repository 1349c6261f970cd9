//! Promises about frames.

use bytes::Bytes;
use trackway_replay::{Digest, Position, Status, TenantId};
use trackway_storage::{Appended, FRAME_MAX_BYTES, Glimpse, Owner, RunKey, Storage, StorageErrorKind, StoredFrame};

use crate::subject::{Journal, Subject, durable, fenced, frame_id, run, started, within_patience};

const ALL: usize = usize::MAX;

async fn positions(subject: &Subject, run: RunKey) -> Vec<u64> {
    let frames = subject.store().frames(run, Position::FIRST, ALL).await.unwrap();
    frames.iter().map(|frame| frame.position.0).collect()
}

pub async fn a_frame_stands_where_its_place_is_free_and_its_predecessor_known(subject: Subject) {
    let store = subject.store();
    let mut journal = Journal::new(run(1));
    let mut expected = Vec::new();
    for entries in [1_u32, 3, 2] {
        let mut append = journal.next(Owner::Keep);
        append.entries = entries;
        expected.push(StoredFrame {
            position: append.position,
            entries,
            previous: append.previous,
            id: append.id,
            frame: append.frame.clone(),
        });
        journal.append(&*store, append).await;
    }
    assert_eq!(store.frames(run(1), Position::FIRST, ALL).await.unwrap(), expected);
}

pub async fn a_frame_with_another_predecessor_is_fenced_and_changes_nothing(subject: Subject) {
    let store = subject.store();
    let journal = started(&*store, 1).await;

    let mut other_start = Journal::new(run(1)).next(Owner::End);
    other_start.frame = Bytes::from_static(b"another start");
    fenced(store.append(other_start).await);
    let mut wrong_previous = journal.next(Owner::End);
    wrong_previous.previous = Some(frame_id());
    fenced(store.append(wrong_previous).await);
    let mut too_far = journal.next(Owner::End);
    too_far.position = Position(2);
    fenced(store.append(too_far).await);
    let mut no_previous = journal.next(Owner::End);
    no_previous.previous = None;
    fenced(store.append(no_previous).await);
    fenced(
        store
            .append(crate::subject::Journal { last: Some(frame_id()), ..Journal::new(run(2)) }.next(Owner::Keep))
            .await,
    );

    assert_eq!(positions(&subject, run(1)).await, [0]);
    assert!(positions(&subject, run(2)).await.is_empty());
    assert!(!store.head(run(1)).await.unwrap().unwrap().status.has_ended());
    durable(store.append(journal.next(Owner::Keep)).await);
}

pub async fn the_same_append_again_is_durable_and_changes_nothing(subject: Subject) {
    let store = subject.store();
    let mut journal = Journal::new(run(1));
    let first = journal.next(Owner::Keep);
    journal.append(&*store, first.clone()).await;
    durable(store.append(first.clone()).await);
    let second = journal.next(Owner::Keep);
    journal.append(&*store, second.clone()).await;
    durable(store.append(second.clone()).await);
    durable(store.append(first.clone()).await);
    assert_eq!(positions(&subject, run(1)).await, [0, 1]);
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    durable(store.append(first).await);
    durable(store.append(second).await);
    assert_eq!(positions(&subject, run(1)).await, [0, 1]);
}

pub async fn frames_are_read_from_the_one_that_holds_the_position(subject: Subject) {
    let store = subject.store();
    let mut journal = Journal::new(run(7));
    // Neighbours, so that a read that runs over is seen.
    started(&*store, 6).await;
    started(&*store, 8).await;
    for _ in 0..4 {
        let mut append = journal.next(Owner::Keep);
        append.entries = 10;
        append.frame = Bytes::from(vec![7; 1_000]);
        journal.append(&*store, append).await;
    }
    let read = async |from: u64, max_bytes: usize| {
        let frames = store.frames(run(7), Position(from), max_bytes).await.unwrap();
        frames.iter().map(|frame| frame.position.0).collect::<Vec<u64>>()
    };
    assert_eq!(read(0, ALL).await, [0, 10, 20, 30]);
    assert_eq!(read(9, ALL).await, [0, 10, 20, 30]);
    assert_eq!(read(10, ALL).await, [10, 20, 30]);
    assert_eq!(read(39, ALL).await, [30]);
    assert!(read(40, ALL).await.is_empty());
    assert!(read(41, ALL).await.is_empty());
    assert_eq!(read(15, 1).await, [10]);
    assert_eq!(read(0, 1_500).await, [0, 10]);
}

pub async fn nothing_is_appended_after_the_end(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    journal.go(&*store, Owner::End).await;
    fenced(store.append(journal.next(Owner::Keep)).await);
    drop(store);
    let subject = subject.kill();
    fenced(subject.store().append(journal.next(Owner::Keep)).await);
    assert_eq!(positions(&subject, run(1)).await, [0, 1]);
}

pub async fn a_frame_over_the_limit_is_refused(subject: Subject) {
    let store = subject.store();
    let journal = Journal::new(run(1));
    let mut append = journal.next(Owner::Keep);
    append.frame = Bytes::from(vec![0; FRAME_MAX_BYTES + 1]);
    match store.append(append.clone()).await {
        Appended::Refused(error) => assert_eq!(error.kind, StorageErrorKind::Invalid),
        other => panic!("{other:?}"),
    }
    append.frame = Bytes::from(vec![0; FRAME_MAX_BYTES]);
    durable(store.append(append).await);
}

pub async fn appends_of_many_runs_at_once_all_stand(subject: Subject) {
    let store = subject.store();
    let writers = (0..40).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut journal = started(&*store, number).await;
            for _ in 0..20 {
                journal.go(&*store, Owner::Keep).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let all: Vec<u64> = (0..21).collect();
    for number in 0..40 {
        assert_eq!(positions(&subject, run(number)).await, all);
    }
}

async fn check_survival(subject: Subject, again: impl AsyncFn(Subject) -> Subject) {
    let mut journals = Vec::new();
    for number in 0..5 {
        let mut journal = started(&*subject.store(), number).await;
        journal.go(&*subject.store(), Owner::Keep).await;
        journals.push(journal);
    }
    let subject = again(subject).await;
    for mut journal in journals {
        assert_eq!(positions(&subject, journal.run).await, [0, 1]);
        journal.go(&*subject.store(), Owner::Keep).await;
        assert_eq!(positions(&subject, journal.run).await, [0, 1, 2]);
    }
}

pub async fn journals_survive_a_kill(subject: Subject) {
    check_survival(subject, async |subject| subject.kill()).await;
}

pub async fn journals_survive_a_clean_stop(subject: Subject) {
    check_survival(subject, async |subject| subject.stop_and_start().await).await;
}

pub async fn a_watcher_wakes_when_the_run_grows(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let mut other = started(&*store, 2).await;
    let watcher = {
        let store = store.clone();
        let seen = journal.end;
        tokio::spawn(async move {
            store.grown(run(1), seen).await;
            store.frames(run(1), seen, ALL).await.unwrap().len()
        })
    };
    other.go(&*store, Owner::Keep).await;
    journal.go(&*store, Owner::Keep).await;
    assert_eq!(within_patience(watcher).await.unwrap(), 1);
}

pub async fn a_watcher_that_is_late_does_not_wait(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await;
    within_patience(store.grown(run(1), Position::FIRST)).await;
}

pub async fn a_tenant_sees_nothing_of_another(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await;
    let other = RunKey { tenant: TenantId(2), ..run(1) };
    assert_eq!(store.frames(other, Position::FIRST, ALL).await.unwrap(), []);
    assert_eq!(store.head(other).await.unwrap(), None);
    let mut journal = Journal::new(other);
    journal.go(&*store, Owner::Keep).await;
    assert_eq!(
        store.heads(TenantId(2), trackway_storage::RunQuery { limit: 9, ..Default::default() }).await.unwrap().len(),
        1
    );
}

/// What its head says, and where the first and the last frame begin; they are those that are read alone.
async fn glimpsed(store: &dyn Storage, run: RunKey) -> Option<(Status, Option<u64>, Option<u64>)> {
    let glimpse = store.glimpse(run).await.unwrap();
    let head = store.head(run).await.unwrap();
    assert_eq!(glimpse.as_ref().map(|glimpse| &glimpse.head), head.as_ref());
    let Glimpse { head, first, last } = glimpse?;
    let (first, last) = (first.unwrap(), last.unwrap());
    let frames = store.frames(run, Position::FIRST, ALL).await.unwrap();
    for shown in first.iter().chain(&last) {
        assert!(frames.contains(shown), "{shown:?} is not in the journal");
    }
    let place = |frame: Option<StoredFrame>| frame.map(|frame| frame.position.0);
    Some((head.status, place(first), place(last)))
}

pub async fn a_glimpse_shows_the_head_the_first_frame_and_after_the_end_the_last(subject: Subject) {
    let store = subject.store();
    assert_eq!(glimpsed(&*store, run(7)).await, None);
    let input = Bytes::from_static(b"7");
    store.put_payload(run(7), Digest::of(&input), input).await.unwrap();
    assert_eq!(glimpsed(&*store, run(7)).await, None, "it has an input, and has not begun");
    // Neighbours, so that a read that runs over is seen.
    for number in [6, 8] {
        Journal::new(run(number)).go(&*store, Owner::End).await;
        assert_eq!(glimpsed(&*store, run(number)).await, Some((Status::Succeeded, Some(0), Some(0))));
    }
    assert_eq!(glimpsed(&*store, run(7)).await, None);
    let mut journal = started(&*store, 7).await;
    assert_eq!(glimpsed(&*store, run(7)).await, Some((Status::Running, Some(0), None)));
    for _ in 0..4 {
        let mut append = journal.next(Owner::Keep);
        append.entries = 10;
        append.frame = Bytes::from(vec![7; 10_000]);
        journal.append(&*store, append).await;
    }
    assert_eq!(glimpsed(&*store, run(7)).await, Some((Status::Running, Some(0), None)));
    let mut end = journal.next(Owner::End);
    end.entries = 3;
    journal.append(&*store, end).await;
    let other = RunKey { tenant: TenantId(2), ..run(7) };
    let ended = Some((Status::Succeeded, Some(0), Some(41)));
    assert_eq!(glimpsed(&*store, run(7)).await, ended);
    assert_eq!(glimpsed(&*store, other).await, None);
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(glimpsed(&*store, run(7)).await, ended);
    assert_eq!(glimpsed(&*store, run(6)).await, Some((Status::Succeeded, Some(0), Some(0))));
    assert_eq!(glimpsed(&*store, other).await, None);
    Journal::new(other).go(&*store, Owner::Keep).await;
    assert_eq!(glimpsed(&*store, other).await, Some((Status::Running, Some(0), None)));
    assert_eq!(glimpsed(&*store, run(7)).await, ended);
}
