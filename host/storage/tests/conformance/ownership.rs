//! Promises about who drives a run, and when.

use trackway_replay::{MessageId, Status};
use trackway_storage::{Owner, Sent, StorageErrorKind};

use crate::subject::{Subject, at, claim, durable, head, is_quiet, item, news, run, started};

const PARK: Owner = Owner::Park { due: None };

pub async fn whoever_starts_a_run_owns_it(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await;
    assert_eq!(claim(&*store, at(9)).await.runs, []);
}

pub async fn a_run_that_was_owned_is_ready_after_a_kill(subject: Subject) {
    let mut early = started(&*subject.store(), 1).await;
    let mut woken = started(&*subject.store(), 2).await;
    early.go(&*subject.store(), Owner::Keep).await;
    woken.go(&*subject.store(), Owner::Park { due: Some(at(10)) }).await;
    assert_eq!(claim(&*subject.store(), at(10)).await.runs, [run(2)]);
    woken.go(&*subject.store(), Owner::Keep).await;

    let subject = subject.kill();
    let store = subject.store();
    news(&*store).await;
    // The clock of the new process may be behind that of the old one.
    let claims = claim(&*store, at(5)).await;
    assert_eq!(claims.runs, [run(1), run(2)]);
    assert_eq!(claims.next_due, None);
}

pub async fn a_parked_run_is_claimed_when_its_timer_is_due(subject: Subject) {
    let store = subject.store();
    for (number, due) in [(1, 30), (2, 10), (3, 20)] {
        started(&*store, number).await.go(&*store, Owner::Park { due: Some(at(due)) }).await;
    }
    let none = claim(&*store, at(9)).await;
    assert_eq!((none.runs, none.next_due), (vec![], Some(at(10))));
    let two = claim(&*store, at(20)).await;
    assert_eq!((two.runs, two.next_due), (vec![run(2), run(3)], Some(at(30))));
    let again = claim(&*store, at(20)).await;
    assert_eq!((again.runs, again.next_due), (vec![], Some(at(30))));
}

pub async fn a_parked_run_without_timer_is_claimed_when_something_arrives(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await.go(&*store, PARK).await;
    assert_eq!(claim(&*store, at(9)).await.runs, []);
    assert!(is_quiet(store.changed()).await);
    assert_eq!(store.send(run(1), item(1)).await.unwrap(), Sent::Delivered);
    news(&*store).await;
    let claims = claim(&*store, at(9)).await;
    assert_eq!((claims.runs, claims.knocks), (vec![run(1)], vec![]));
}

pub async fn an_item_that_came_before_the_park_makes_the_run_ready(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    claim(&*subject.store(), at(1)).await;
    subject.store().send(run(1), item(1)).await.unwrap();
    journal.go(&*subject.store(), Owner::Park { due: Some(at(100)) }).await;
    news(&*subject.store()).await;
    assert_eq!(claim(&*subject.store(), at(9)).await.runs, [run(1)]);

    let subject = subject.kill();
    assert_eq!(claim(&*subject.store(), at(9)).await.runs, [run(1)]);
}

pub async fn an_item_read_by_the_parking_frame_does_not(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    store.send(run(1), item(1)).await.unwrap();
    claim(&*store, at(1)).await;
    let mut append = journal.next(PARK);
    append.rows.read = vec![MessageId(1)];
    journal.append(&*store, append).await;
    assert_eq!(claim(&*store, at(9)).await.runs, []);
    assert_eq!(store.inbox(run(1)).await.unwrap(), []);
    drop(store);
    let subject = subject.kill();
    assert_eq!(claim(&*subject.store(), at(9)).await.runs, []);
}

pub async fn timers_survive_a_kill(subject: Subject) {
    started(&*subject.store(), 1).await.go(&*subject.store(), Owner::Park { due: Some(at(10)) }).await;
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(claim(&*store, at(9)).await.next_due, Some(at(10)));
    assert_eq!(claim(&*store, at(10)).await.runs, [run(1)]);
}

pub async fn an_earlier_timer_is_news(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await.go(&*store, Owner::Park { due: Some(at(10)) }).await;
    let mut second = started(&*store, 2).await;
    assert_eq!(claim(&*store, at(1)).await.next_due, Some(at(10)));
    assert!(is_quiet(store.changed()).await);
    second.go(&*store, Owner::Park { due: Some(at(5)) }).await;
    news(&*store).await;
    assert_eq!(claim(&*store, at(1)).await.next_due, Some(at(5)));
}

pub async fn the_owner_hears_a_knock_once(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await;
    claim(&*store, at(1)).await;
    store.send(run(1), item(1)).await.unwrap();
    store.send(run(1), item(2)).await.unwrap();
    news(&*store).await;
    let claims = claim(&*store, at(1)).await;
    assert_eq!((claims.runs, claims.knocks), (vec![], vec![run(1)]));
    assert_eq!(claim(&*store, at(1)).await.knocks, []);
    assert!(is_quiet(store.changed()).await);
    store.send(run(1), item(3)).await.unwrap();
    news(&*store).await;
    assert_eq!(claim(&*store, at(1)).await.knocks, [run(1)]);
}

pub async fn a_claim_takes_no_more_than_asked_and_tells_that_there_is_more(subject: Subject) {
    let store = subject.store();
    for number in 1..=5 {
        let owner = if number <= 2 { Owner::Park { due: Some(at(number)) } } else { PARK };
        started(&*store, u128::from(number)).await.go(&*store, owner).await;
        if number > 2 {
            store.send(run(u128::from(number)), item(1)).await.unwrap();
        }
    }
    let mut claimed = Vec::new();
    for _ in 0..3 {
        news(&*store).await;
        let claims = store.claim(at(50), 2, Vec::new()).await.unwrap();
        assert!(claims.runs.len() <= 2);
        claimed.extend(claims.runs);
    }
    claimed.sort();
    assert_eq!(claimed, [run(1), run(2), run(3), run(4), run(5)]);
    assert_eq!(store.claim(at(50), 2, Vec::new()).await.unwrap().runs, []);
    assert!(is_quiet(store.changed()).await);
}

pub async fn whoever_has_no_room_is_not_told_of_what_waits(subject: Subject) {
    let store = subject.store();
    for (number, due) in [(1, None), (2, Some(at(10)))] {
        let mut journal = started(&*store, number).await;
        journal.go(&*store, Owner::Park { due }).await;
    }
    store.send(run(1), item(1)).await.unwrap();
    assert_eq!(store.claim(at(20), 0, Vec::new()).await.unwrap().runs, []);
    assert!(is_quiet(store.changed()).await, "it would claim none again and again");
    let mut claimed = claim(&*store, at(20)).await.runs;
    claimed.sort();
    assert_eq!(claimed, [run(1), run(2)]);
}

pub async fn a_released_run_is_ready_at_once(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    claim(&*store, at(1)).await;
    store.release(run(1)).await.unwrap();
    news(&*store).await;
    assert_eq!(claim(&*store, at(1)).await.runs, [run(1)]);

    journal.go(&*store, Owner::Park { due: Some(at(10)) }).await;
    assert_eq!(claim(&*store, at(10)).await.runs, [run(1)]);
    store.release(run(1)).await.unwrap();
    assert_eq!(claim(&*store, at(1)).await.runs, [run(1)]);
}

pub async fn a_parked_run_can_be_released_by_a_process_that_never_had_it(subject: Subject) {
    started(&*subject.store(), 1).await.go(&*subject.store(), Owner::Park { due: Some(at(10)) }).await;
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(claim(&*store, at(1)).await.runs, []);
    store.release(run(1)).await.unwrap();
    assert_eq!(claim(&*store, at(1)).await.runs, [run(1)]);
}

pub async fn an_ended_run_leaves_nothing_behind(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    journal.go(&*subject.store(), Owner::Park { due: Some(at(10)) }).await;
    claim(&*subject.store(), at(10)).await;
    subject.store().send(run(1), item(1)).await.unwrap();
    let mut end = journal.next(Owner::End);
    end.rows.unread = vec![MessageId(1)];
    journal.append(&*subject.store(), end).await;
    let check = async |subject: &Subject| {
        let claims = claim(&*subject.store(), at(99)).await;
        assert_eq!((claims.runs, claims.knocks, claims.next_due), (vec![], vec![], None));
        assert_eq!(subject.store().inbox(run(1)).await.unwrap(), []);
    };
    check(&subject).await;
    let subject = subject.kill();
    check(&subject).await;
}

pub async fn recalls_are_counted_across_kills_until_the_run_gets_further(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    assert_eq!(subject.store().begin_recall(run(1)).await.unwrap(), 1);
    let subject = subject.kill();
    assert_eq!(subject.store().begin_recall(run(1)).await.unwrap(), 2);
    // Holds no more than the claim.
    journal.go(&*subject.store(), Owner::Keep).await;
    let subject = subject.kill();
    assert_eq!(subject.store().begin_recall(run(1)).await.unwrap(), 3);
    let mut further = journal.next(Owner::Keep);
    further.rows.recalled = true;
    journal.append(&*subject.store(), further).await;
    let subject = subject.kill();
    assert_eq!(subject.store().begin_recall(run(1)).await.unwrap(), 1);

    journal.go(&*subject.store(), Owner::Park { due: Some(at(5)) }).await;
    assert_eq!(claim(&*subject.store(), at(5)).await.runs, [run(1)]);
    assert_eq!(subject.store().begin_recall(run(1)).await.unwrap(), 2);
    let error = subject.store().begin_recall(run(2)).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Invalid);
}

pub async fn a_stuck_run_waits_until_something_arrives(subject: Subject) {
    let mut journal = started(&*subject.store(), 1).await;
    journal.go(&*subject.store(), Owner::Park { due: Some(at(5)) }).await;
    claim(&*subject.store(), at(5)).await;
    subject.store().park(run(1), None, Some(head(run(1), Status::Stuck))).await.unwrap();
    assert_eq!(claim(&*subject.store(), at(99)).await.runs, []);

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(claim(&*store, at(99)).await.runs, []);
    assert_eq!(store.head(run(1)).await.unwrap().unwrap().status, Status::Stuck);
    store.send(run(1), item(1)).await.unwrap();
    assert_eq!(claim(&*store, at(99)).await.runs, [run(1)]);
    durable(store.append(journal.next(Owner::Keep)).await);
}

pub async fn a_stuck_run_is_not_woken_by_what_its_owner_had_found(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await.go(&*store, PARK).await;
    store.send(run(1), item(1)).await.unwrap();
    assert_eq!(claim(&*store, at(1)).await.runs, [run(1)]);
    store.park(run(1), None, Some(head(run(1), Status::Stuck))).await.unwrap();
    assert_eq!(claim(&*store, at(1)).await.runs, []);

    store.send(run(1), item(2)).await.unwrap();
    assert_eq!(claim(&*store, at(1)).await.runs, [run(1)]);
    store.send(run(1), item(3)).await.unwrap();
    store.park(run(1), None, Some(head(run(1), Status::Stuck))).await.unwrap();
    assert_eq!(claim(&*store, at(1)).await.runs, [run(1)]);
}

pub async fn a_run_is_parked_without_an_append(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await;
    store.park(run(1), Some(at(10)), None).await.unwrap();
    let early = claim(&*store, at(9)).await;
    assert_eq!((early.runs, early.next_due), (vec![], Some(at(10))));
    assert_eq!(claim(&*store, at(10)).await.runs, [run(1)]);
    store.send(run(1), item(1)).await.unwrap();
    store.park(run(1), Some(at(20)), None).await.unwrap();
    let again = claim(&*store, at(10)).await;
    assert_eq!((again.runs, again.next_due), (vec![run(1)], None));
    assert_eq!(store.head(run(1)).await.unwrap().unwrap().status, Status::Running);
}

pub async fn every_opening_has_a_higher_epoch(subject: Subject) {
    let first = subject.store().epoch();
    let subject = subject.kill();
    let second = subject.store().epoch();
    let third = subject.stop_and_start().await.store().epoch();
    assert!(first < second && second < third, "{first} {second} {third}");
}

pub async fn a_closed_store_answers_with_errors(subject: Subject) {
    let store = subject.store();
    let journal = started(&*store, 1).await;
    store.close().await.unwrap();
    assert_eq!(store.head(run(1)).await.unwrap_err().kind, StorageErrorKind::Closed);
    assert_eq!(store.claim(at(1), 1, Vec::new()).await.unwrap_err().kind, StorageErrorKind::Closed);
    assert_eq!(store.send(run(1), item(1)).await.unwrap_err().kind, StorageErrorKind::Closed);
    match store.append(journal.next(Owner::Keep)).await {
        trackway_storage::Appended::Refused(error) => assert_eq!(error.kind, StorageErrorKind::Closed),
        other => panic!("{other:?}"),
    }
}
