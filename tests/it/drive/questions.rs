//! Questions to people: asked over crashes and restarts, answered once, in time or not at all.

use std::time::Duration;
use trackway_replay::{Kind, MessageId, Status, StepId, Value, Waiting};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use crate::rig::{Rig, TENANT, in_virtual_time};

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
        let rig = rig.crash_for(Duration::from_secs(3_600)).await;
        assert_eq!(rig.output(run).await, "\"ann: true\"");
        rig.replays(run).await;
    });
}

#[test]
fn an_answer_in_time_counts_though_it_became_durable_after_its_deadline() {
    in_virtual_time(async {
        for (late_ms, output) in [(0, "\"ann: true\""), (1, "\"nobody\"")] {
            let (rig, run) = asked("asks", "\"pay\"").await;
            waits_for_a_person(&rig, run).await;
            let due = rig.head(run).await.due.expect("the question has a deadline");
            let answering = rig.worker().answering(run);
            tokio::time::sleep(Duration::from_secs(65)).await;
            let (request, by) = (MessageId(77), Some("ann".into()));
            let answer = Value::inline(r#"{"approve":true}"#);
            let body = InboxBody::Answer { step: StepId(1), request, answer, by };
            let arrived = due + Duration::from_millis(late_ms);
            let item = InboxItem { message: MessageId(1), arrived, body };
            assert_eq!(rig.storage.send(run, item).await.expect("sent"), Sent::Delivered);
            drop(answering);
            assert_eq!(rig.output(run).await, output);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_question_that_is_held_for_an_answer_which_does_not_come_expires() {
    in_virtual_time(async {
        let (rig, run) = asked("asks", "\"pay\"").await;
        let answering = rig.worker().answering(run);
        tokio::time::sleep(Duration::from_secs(65)).await;
        assert_eq!(rig.head(run).await.steps, 1, "the second one is not asked yet");
        drop(answering);
        assert_eq!(rig.output(run).await, "\"nobody\"");
        rig.replays(run).await;
    });
}

#[test]
fn open_questions_are_listed_over_crashes_forks_and_ends() {
    in_virtual_time(async {
        let (rig, run) = asked("asks_beside", "null").await;
        let listed = async |rig: &Rig| {
            let open = rig.storage.questions(TENANT, None, 9).await.expect("read");
            open.iter().map(|open| (open.run, open.question.name.step.0)).collect::<Vec<_>>()
        };
        rig.until(run, |head| (head.status, head.steps) == (Status::Running, 3)).await;
        assert_eq!(listed(&rig).await, [(run.run, 2), (run.run, 1)]);
        let rig = rig.crash().await;
        assert_eq!(listed(&rig).await, [(run.run, 2), (run.run, 1)]);
        answer(&rig, run, 2, r#"{"approve":true}"#).await;
        while !rig.kinds(run).await.contains(&"Settled 2".to_owned()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(listed(&rig).await, [(run.run, 1)]);
        for question in rig.storage.questions(TENANT, None, 9).await.expect("read") {
            let entries = rig.entries(run).await;
            assert_eq!(entries[question.asked.0 as usize].kind.step(), Some(question.question.name.step));
        }
        let fork = rig.worker().fork(run, StepId(3), None).await.expect("forked").run;
        rig.until(RunKey { run: fork, ..run }, |head| head.steps == 3).await;
        assert_eq!(listed(&rig).await, [(fork, 2), (fork, 1), (run.run, 1)]);
        rig.terminate(run).await;
        rig.ended(run).await;
        assert_eq!(listed(&rig).await, [(fork, 2), (fork, 1)]);
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
