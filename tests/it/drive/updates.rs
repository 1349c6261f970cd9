//! Updates: taken once, answered once, and answered by nothing that is not durable.

use std::sync::Arc;
use std::time::Duration;
use trackway::effects::Clock;
use trackway_replay::trace::{RowStatus, What, trace};
use trackway_replay::{Entry, Failure, Kind, MessageId, Outcome, Status, StepId, Value, Waiting};
use trackway_storage::{InboxBody, Landmark, RunKey, Sent, Storage};

use crate::rig::{Rig, in_virtual_time};

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("talks").await;
    let run = rig.start("talks", workflow, input).await;
    (rig, run)
}

async fn waits_for_an_update(rig: &Rig, run: RunKey) {
    rig.until(run, |head| (head.status, head.waiting) == (Status::Waiting, Some(Waiting::Update))).await;
}

async fn ask(rig: &Rig, run: RunKey, message: u128, name: &str, payload: &str) -> Sent {
    let body = InboxBody::Update { name: name.into(), payload: Value::inline(payload) };
    rig.send_as(run, message, body).await
}

/// What whoever asked gets, once it is there.
async fn answer(rig: &Rig, run: RunKey, message: u128) -> Option<Outcome> {
    let place = rig.storage.landmark(run, Landmark::Reply(MessageId(message))).await.expect("read")?;
    match &rig.entries(run).await[place.0 as usize].kind {
        Kind::Replied(replied) => {
            assert_eq!(replied.message, MessageId(message));
            Some(replied.outcome.clone())
        }
        Kind::UpdateExpired(expired) => {
            assert_eq!(expired.message, MessageId(message));
            Some(Outcome::Failed(Failure::permanent("EXPIRED", "too late").to_value()))
        }
        other => panic!("{} is no answer", other.name()),
    }
}

async fn code(rig: &Rig, run: RunKey, message: u128) -> String {
    match answer(rig, run, message).await {
        Some(Outcome::Failed(Value::Inline(failure))) => {
            let failure: serde_json::Value = serde_json::from_str(&failure).expect("a failure");
            failure["code"].as_str().expect("a code").to_owned()
        }
        other => panic!("{other:?} is no refusal"),
    }
}

fn succeeded(text: &str) -> Option<Outcome> {
    Some(Outcome::Succeeded(Value::inline(text)))
}

fn replies(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| matches!(entry.kind, Kind::Replied(_))).count()
}

#[test]
fn an_update_wakes_an_evicted_run_and_is_answered_in_order_and_once() {
    in_virtual_time(async {
        let (rig, run) = started("adds", "null").await;
        waits_for_an_update(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let rig = rig.crash().await;
        for (message, number) in [(1, "3"), (2, "4"), (1, "3")] {
            assert_eq!(ask(&rig, run, message, "add", number).await, Sent::Delivered);
        }
        assert_eq!(ask(&rig, run, 1, "add", "5").await, Sent::Differs, "another one under that id");
        rig.until(run, |head| head.waiting == Some(Waiting::Update)).await;
        assert_eq!(ask(&rig, run, 2, "add", "4").await, Sent::Delivered, "read and answered long ago");
        assert_eq!(ask(&rig, run, 3, "add", "101").await, Sent::Delivered);
        assert_eq!(ask(&rig, run, 9, "finish", "null").await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "[6,14]");
        assert_eq!(answer(&rig, run, 1).await, succeeded("6"));
        assert_eq!(answer(&rig, run, 2).await, succeeded("14"));
        assert_eq!(code(&rig, run, 3).await, "TOO_MUCH");
        assert_eq!(answer(&rig, run, 9).await, succeeded(&format!("\"{}\"", "x".repeat(14))));
        assert_eq!(replies(&rig.entries(run).await), 4);
        assert_eq!(answer(&rig, run, 4).await, None);
        rig.replays(run).await;
    });
}

#[test]
fn an_update_that_came_while_nobody_served_the_run_is_answered_afterwards() {
    in_virtual_time(async {
        let (rig, run) = started("adds", "null").await;
        waits_for_an_update(&rig, run).await;
        let storage = Arc::new(rig.storage.crash());
        drop(rig);
        let body = InboxBody::Update { name: "add".into(), payload: Value::inline("7") };
        let item = trackway_storage::InboxItem { message: MessageId(1), arrived: trackway_replay::Timestamp(1), body };
        assert_eq!(storage.send(run, item).await.expect("sent"), Sent::Delivered);
        let rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
        ask(&rig, run, 2, "finish", "null").await;
        assert_eq!(rig.output(run).await, "[14]");
        assert_eq!(answer(&rig, run, 1).await, succeeded("14"));
        rig.replays(run).await;
    });
}

#[test]
fn one_that_is_dropped_is_refused_and_one_that_is_not_taken_has_no_answer() {
    in_virtual_time(async {
        let (rig, run) = started("forgets", "\"any\"").await;
        // What is no number is refused, and the one after it taken.
        ask(&rig, run, 1, "any", "\"one\"").await;
        ask(&rig, run, 2, "any", "1").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        ask(&rig, run, 3, "any", "1").await;
        assert_eq!(rig.output(run).await, "1");
        assert_eq!(code(&rig, run, 1).await, "BAD_INPUT");
        assert_eq!(code(&rig, run, 2).await, "UNANSWERED");
        assert_eq!(answer(&rig, run, 3).await, None);
        assert_eq!(ask(&rig, run, 3, "any", "1").await, Sent::Ended(Status::Succeeded));
        let rows = trace(&rig.entries(run).await).rows;
        let not_taken = rows.iter().find(|row| matches!(row.what, What::Update { .. })).expect("a row");
        assert_eq!((not_taken.title(), not_taken.status), ("update any, not taken".into(), RowStatus::Queued));
        rig.replays(run).await;
    });
}

#[test]
fn a_name_that_is_none_fails_what_waits_for_it() {
    in_virtual_time(async {
        let (rig, run) = started("forgets", "\"no name\"").await;
        assert_eq!(rig.failure(run).await.code, "BAD_REQUEST");
        rig.replays(run).await;
    });
}

#[test]
fn a_cancelled_run_gives_no_late_answer() {
    in_virtual_time(async {
        let (rig, run) = started("adds", "null").await;
        waits_for_an_update(&rig, run).await;
        rig.cancel(run).await;
        ask(&rig, run, 1, "add", "7").await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        assert_eq!(answer(&rig, run, 1).await, None);
        rig.replays(run).await;
    });
}

#[test]
fn rows_show_what_was_asked_and_what_was_answered() {
    in_virtual_time(async {
        let (rig, run) = started("adds", "null").await;
        ask(&rig, run, 1, "add", "7").await;
        ask(&rig, run, 2, "finish", "null").await;
        rig.output(run).await;
        let rows = trace(&rig.entries(run).await).rows;
        let titles: Vec<String> = rows.iter().map(|row| row.title()).collect();
        for title in ["update add", "update finish", "publish total"] {
            assert!(titles.iter().any(|known| known == title), "{title}: {titles:?}");
        }
        let told: Vec<_> = rows.iter().filter(|row| matches!(row.what, What::Reply { .. })).collect();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|row| row.status == RowStatus::Succeeded && row.output.is_some()), "{told:?}");
    });
}

#[test]
fn a_restarted_run_answers_what_it_took_for_itself() {
    in_virtual_time(async {
        let (rig, run) = started("adds", "null").await;
        ask(&rig, run, 1, "add", "7").await;
        rig.until(run, |head| head.steps > 3).await;
        ask(&rig, run, 2, "finish", "null").await;
        assert_eq!(rig.output(run).await, "[14]");
        // From the step on that worked on the first update.
        let again = rig.worker().fork(run, StepId(3), None).await.expect("it starts").run;
        let again = RunKey { run: again, ..run };
        ask(&rig, again, 2, "finish", "null").await;
        assert_eq!(rig.output(again).await, "[14]");
        assert_eq!(answer(&rig, again, 1).await, succeeded("14"));
        rig.replays(again).await;
    });
}

#[test]
fn a_crash_after_any_entry_changes_nothing() {
    in_virtual_time(async {
        let (whole, run) = started("adds", "null").await;
        ask(&whole, run, 1, "add", "3").await;
        waits_for_an_update(&whole, run).await;
        ask(&whole, run, 2, "finish", "null").await;
        assert_eq!(whole.output(run).await, "[6]");
        let journal = whole.entries(run).await;
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            let had = |message: u128| {
                journal[..kept].iter().any(
                    |entry| matches!(&entry.kind, Kind::UpdateReceived(update) if update.message == MessageId(message)),
                )
            };
            // Whoever got no answer asks again, under the same id.
            if !had(1) {
                ask(&rig, run, 1, "add", "3").await;
                rig.until(run, |head| head.waiting == Some(Waiting::Update) && head.steps > 3).await;
            }
            if !had(2) {
                rig.until(run, |head| head.waiting == Some(Waiting::Update) && head.steps > 3).await;
                ask(&rig, run, 2, "finish", "null").await;
            }
            assert_eq!(rig.output(run).await, "[6]", "cut after {kept}");
            assert_eq!(answer(&rig, run, 1).await, succeeded("6"), "cut after {kept}");
            assert_eq!(answer(&rig, run, 2).await, succeeded("\"xxxxxx\""), "cut after {kept}");
            assert_eq!(replies(&rig.entries(run).await), 2, "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
            rig.replays(run).await;
        }
    });
}

#[test]
fn an_update_that_a_round_gave_up_is_taken_by_the_next_one() {
    in_virtual_time(async {
        let (whole, run) = started("adds_in_rounds", "0").await;
        for message in 1..=4 {
            assert_eq!(ask(&whole, run, message, "add", &message.to_string()).await, Sent::Delivered);
        }
        assert_eq!(whole.output(run).await, "10");
        let journal = whole.entries(run).await;
        assert_eq!(journal.iter().filter(|entry| matches!(entry.kind, Kind::Continued(_))).count(), 3);
        for (message, total) in [(1, "1"), (2, "3"), (3, "6"), (4, "10")] {
            assert_eq!(answer(&whole, run, message).await, succeeded(total));
        }
        whole.replays(run).await;
        let all_came = journal.iter().rposition(|entry| matches!(entry.kind, Kind::UpdateReceived(_))).expect("four");
        for kept in all_came + 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            assert_eq!(rig.output(run).await, "10", "cut after {kept}");
            assert_eq!(replies(&rig.entries(run).await), 4, "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
            rig.replays(run).await;
        }
    });
}

async fn ask_within(rig: &Rig, run: RunKey, message: u128, payload: &str, seconds: u64) {
    let due = Clock::now(&rig.clock) + Duration::from_secs(seconds);
    let body = InboxBody::UpdateWithin { name: "add".into(), payload: Value::inline(payload), due };
    assert_eq!(rig.send_as(run, message, body).await, Sent::Delivered);
}

fn count(kinds: &[String], name: &str) -> usize {
    kinds.iter().filter(|kind| kind.starts_with(name)).count()
}

#[test]
fn an_update_that_is_not_taken_in_time_is_refused_and_one_that_is_taken_is_answered_later() {
    in_virtual_time(async {
        let (whole, run) = started("adds_late", "100000").await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        // Nobody takes the first one before the workflow asks for it; the second one waits as long as it takes.
        ask_within(&whole, run, 1, "1", 30).await;
        ask_within(&whole, run, 2, "2", 120).await;
        ask_within(&whole, run, 3, "4", 100_000).await;
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(answer(&whole, run, 1).await, None);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(code(&whole, run, 1).await, "EXPIRED", "while the workflow sleeps");
        assert_eq!(whole.output(run).await, "6");
        assert_eq!(answer(&whole, run, 2).await, succeeded("2"), "taken in time, and answered after it");
        assert_eq!(answer(&whole, run, 3).await, succeeded("6"));
        whole.replays(run).await;
        let journal = whole.entries(run).await;
        let rows = trace(&journal).rows;
        let expired = rows.iter().find(|row| matches!(row.what, What::Update { .. })).expect("a row");
        assert_eq!(expired.status, RowStatus::Failed);
        assert_eq!(expired.failure.as_ref().map(|failure| failure.code.as_str()), Some("EXPIRED"));
        let came = journal.iter().rposition(|entry| matches!(entry.kind, Kind::UpdateOffered(_))).expect("three");
        for kept in came + 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            assert_eq!(rig.output(run).await, "6", "cut after {kept}");
            assert_eq!(code(&rig, run, 1).await, "EXPIRED", "cut after {kept}");
            assert_eq!(answer(&rig, run, 3).await, succeeded("6"), "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_workflow_that_waits_for_an_update_takes_it_at_once_and_those_without_a_time_too() {
    in_virtual_time(async {
        let (rig, run) = started("adds", "null").await;
        waits_for_an_update(&rig, run).await;
        ask_within(&rig, run, 1, "3", 1).await;
        waits_for_an_update(&rig, run).await;
        ask(&rig, run, 2, "finish", "null").await;
        assert_eq!(rig.output(run).await, "[6]");
        assert_eq!(answer(&rig, run, 1).await, succeeded("6"));
        let kinds = rig.kinds(run).await;
        assert_eq!((count(&kinds, "UpdateOffered"), count(&kinds, "UpdateExpired")), (1, 0), "{kinds:?}");
        rig.replays(run).await;
    });
}

#[test]
fn time_to_take_an_update_passes_while_the_host_is_down_and_while_the_run_is_held() {
    in_virtual_time(async {
        let (rig, run) = started("adds_late", "100000").await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        ask_within(&rig, run, 1, "1", 30).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let rig = rig.crash_for(Duration::from_secs(200)).await;
        ask(&rig, run, 2, "add", "2").await;
        ask(&rig, run, 3, "add", "4").await;
        assert_eq!(rig.output(run).await, "6", "the workflow was ready, and it was too late");
        assert_eq!(code(&rig, run, 1).await, "EXPIRED");
        rig.replays(run).await;

        let (rig, run) = started("adds_late", "100000").await;
        rig.send(run, InboxBody::Pause { reason: "".into() }).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        ask_within(&rig, run, 1, "1", 30).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        rig.send(run, InboxBody::Resume).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(code(&rig, run, 1).await, "EXPIRED");
    });
}

#[test]
fn a_workflow_that_begins_anew_takes_what_is_in_time_along() {
    in_virtual_time(async {
        let (rig, run) = started("adds_in_rounds", "0").await;
        waits_for_an_update(&rig, run).await;
        ask(&rig, run, 1, "add", "1").await;
        for message in 2..=4 {
            ask_within(&rig, run, message, &message.to_string(), 3_600).await;
        }
        assert_eq!(rig.output(run).await, "10");
        for (message, total) in [(1, "1"), (2, "3"), (3, "6"), (4, "10")] {
            assert_eq!(answer(&rig, run, message).await, succeeded(total));
        }
        rig.replays(run).await;
    });
}
