//! Questions to people: asked over crashes and restarts, answered once, in time or not at all.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Kind, MessageId, Status, StepId, Value, Waiting};
use trackway_storage::{InboxBody, RunKey, Sent};

use crate::rig::{Rig, in_virtual_time};

async fn asked(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("signals").await;
    let run = rig.start("signals", workflow, input).await;
    (rig, run)
}

async fn waits_for_a_person(rig: &Rig, run: RunKey) {
    rig.until(run, |head| (head.status, head.waiting) == (Status::Waiting, Some(Waiting::Person))).await;
}

async fn answer(rig: &Rig, run: RunKey, step: u32, answer: &str) -> Sent {
    let (request, by) = (MessageId(77), Some("ann".into()));
    let body = InboxBody::Answer { step: StepId(step), request, answer: Value::inline(answer), by };
    rig.send_as(run, u128::from(step), body).await
}

#[test]
fn an_answer_wakes_the_run_and_counts_once() {
    in_virtual_time(async {
        let (rig, run) = asked("asks", "\"pay\"").await;
        waits_for_a_person(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let rig = rig.crash().await;
        waits_for_a_person(&rig, run).await;
        assert_eq!(answer(&rig, run, 1, r#"{"approve":true}"#).await, Sent::Delivered);
        assert_eq!(answer(&rig, run, 1, r#"{"approve":false}"#).await, Sent::Delivered, "the first one stands");
        assert_eq!(rig.output(run).await, "\"ann: true\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_question_that_nobody_answers_expires() {
    in_virtual_time(async {
        let (rig, run) = asked("asks", "\"pay\"").await;
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(answer(&rig, run, 1, r#"{"approve":true}"#).await, Sent::Delivered, "too late for the first one");
        assert_eq!(answer(&rig, run, 2, r#"{"approve":false}"#).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, "\"bob: false\"");
        rig.replays(run).await;
        let (rig, run) = asked("asks", "\"pay\"").await;
        assert_eq!(rig.output(run).await, "\"nobody\"");
        rig.replays(run).await;
    });
}

#[test]
fn an_approval_just_before_its_deadline_counts_though_the_host_was_down() {
    in_virtual_time(async {
        let (rig, run) = asked("asks", "\"pay\"").await;
        waits_for_a_person(&rig, run).await;
        tokio::time::sleep(Duration::from_millis(59_500)).await;
        assert_eq!(answer(&rig, run, 1, r#"{"approve":true}"#).await, Sent::Delivered);
        let storage = Arc::new(rig.storage.crash());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
        assert_eq!(rig.output(run).await, "\"ann: true\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_form_that_is_none_is_refused_and_a_question_can_be_given_up() {
    in_virtual_time(async {
        let (rig, run) = asked("asks_badly", "null").await;
        assert_eq!(rig.output(run).await, "\"BAD_REQUEST CANCELLED\"");
        rig.replays(run).await;
    });
}

#[test]
fn a_crash_after_any_entry_changes_nothing() {
    in_virtual_time(async {
        let (whole, run) = asked("asks", "\"pay\"").await;
        tokio::time::sleep(Duration::from_secs(70)).await;
        answer(&whole, run, 2, r#"{"approve":true}"#).await;
        assert_eq!(whole.output(run).await, "\"bob: true\"");
        let journal = whole.entries(run).await;
        let settled =
            |kept: usize| journal[..kept].iter().filter(|entry| matches!(entry.kind, Kind::Settled(_))).count();
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            // Half of the time the second question is there to be answered; else it is asked first.
            if settled(kept) < 2 {
                rig.until(run, |head| head.steps == 2).await;
                answer(&rig, run, 2, r#"{"approve":true}"#).await;
            }
            assert_eq!(rig.output(run).await, "\"bob: true\"", "cut after {kept}");
            assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
            rig.replays(run).await;
        }
    });
}
