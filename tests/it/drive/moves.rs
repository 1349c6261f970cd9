//! Runs that go on with other code: only if it does all that is on record, whatever happens in between.

use std::sync::Arc;
use std::time::Duration;
use trackway::Code;
use trackway_replay::{Digest, Epoch, Kind, MessageId, RunState, Status, StepId, Value};
use trackway_storage::{InboxBody, RunKey, Sent, Storage};

use crate::rig::{Rig, TENANT, in_virtual_time};

/// A run of `moves`, with what became of its code deployed beside it.
async fn started(workflow: &str) -> (Rig, RunKey, Digest) {
    let rig = Rig::new().await;
    rig.deploy("moves").await;
    let next = rig.deploy("moves_next").await;
    let run = rig.start("moves", workflow, "3").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    (rig, run, next)
}

fn to(component: Digest, epoch: Epoch) -> InboxBody {
    InboxBody::Move { deployment: "moves_next".into(), component, epoch }
}

async fn ask_to_move(rig: &Rig, run: RunKey, component: Digest) {
    assert_eq!(rig.send(run, to(component, rig.storage.epoch())).await, Sent::Delivered);
}

async fn was_moved(rig: &Rig, run: RunKey) -> bool {
    rig.entries(run).await.iter().any(|entry| matches!(entry.kind, Kind::Moved(_)))
}

#[test]
fn a_run_goes_on_with_new_code_from_where_it_is() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        ask_to_move(&rig, run, next).await;
        let head = rig.until(run, |head| head.component == next).await;
        assert_eq!((&*head.deployment, head.status), ("moves_next", Status::Sleeping));
        assert_eq!(rig.output(run).await, "[30,3000,4]", "charged before, insured since");
        rig.replays(run).await;
        assert!(rig.storage.inbox(run).await.expect("read").is_empty());
    });
}

#[test]
fn a_run_stays_on_its_code_where_the_new_one_does_something_else() {
    in_virtual_time(async {
        let (rig, run, next) = started("patient").await;
        ask_to_move(&rig, run, next).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!was_moved(&rig, run).await);
        assert_eq!(rig.head(run).await.status, Status::Waiting);
        assert!(rig.storage.inbox(run).await.expect("read").is_empty(), "it was read all the same");
        rig.signal(run, 1, "go", "\"on\"").await;
        assert_eq!(rig.output(run).await, "30");
        rig.replays(run).await;
    });
}

#[test]
fn a_move_that_was_asked_for_stands_when_the_process_dies() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        ask_to_move(&rig, run, next).await;
        let rig = rig.crash().await;
        rig.until(run, |head| head.component == next).await;
        let rig = rig.crash().await;
        assert_eq!(rig.output(run).await, "[30,3000,4]");
        rig.replays(run).await;
    });
}

#[test]
fn a_moved_run_survives_a_crash_after_every_entry() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        ask_to_move(&rig, run, next).await;
        rig.output(run).await;
        let entries = rig.entries(run).await;
        let moved = entries.iter().position(|entry| matches!(entry.kind, Kind::Moved(_))).expect("it was moved");
        for kept in 1..entries.len() {
            let cut = rig.cut(run, kept).await;
            let output = cut.output(run).await;
            assert_eq!(output, if kept > moved { "[30,3000,4]" } else { "[30,4]" }, "cut after {kept}");
            cut.replays(run).await;
        }
    });
}

#[test]
fn several_who_ask_at_once_move_it_once() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        ask_to_move(&rig, run, next).await;
        ask_to_move(&rig, run, next).await;
        assert_eq!(rig.output(run).await, "[30,3000,4]");
        let moves = rig.entries(run).await.iter().filter(|entry| matches!(entry.kind, Kind::Moved(_))).count();
        assert_eq!(moves, 1);
    });
}

#[test]
fn a_held_run_is_moved_and_stays_held() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        rig.send(run, InboxBody::Pause { reason: "look".into() }).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        ask_to_move(&rig, run, next).await;
        let head = rig.until(run, |head| head.component == next).await;
        assert_eq!(head.status, Status::Paused);
        rig.send(run, InboxBody::Resume).await;
        assert_eq!(rig.output(run).await, "[30,3000,4]");
    });
}

#[test]
fn a_quarantined_run_gets_out_by_a_move() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        let rig = rig.crash_after_recalls(run, 3).await;
        let head = rig.until(run, |head| head.status == Status::Stuck).await;
        assert_eq!(head.code.as_deref(), Some(Code::Quarantined.text()));
        ask_to_move(&rig, run, next).await;
        rig.until(run, |head| head.component == next).await;
        assert_eq!(rig.output(run).await, "[30,3000,4]");
        rig.replays(run).await;
    });
}

#[test]
fn a_move_that_brings_processes_down_is_given_up() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        let asked_in = rig.storage.epoch();
        assert_eq!(rig.send(run, to(next, asked_in)).await, Sent::Delivered);
        // Three more processes began and wrote nothing.
        let mut storage = rig.storage.crash();
        for _ in 0..2 {
            storage = storage.crash();
        }
        let rig = Rig::on(Arc::new(storage), Arc::default(), Duration::from_secs(3)).await;
        assert_eq!(rig.output(run).await, "[30,4]");
        assert!(!was_moved(&rig, run).await);
    });
}

#[test]
fn an_ended_run_is_not_moved() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        rig.output(run).await;
        assert_eq!(rig.send(run, to(next, rig.storage.epoch())).await, Sent::Ended(Status::Succeeded));
    });
}

#[test]
fn what_is_restarted_from_a_step_of_a_moved_run_has_its_code() {
    in_virtual_time(async {
        let (rig, run, next) = started("order").await;
        ask_to_move(&rig, run, next).await;
        rig.output(run).await;
        let answer = rig.worker().fork(run, StepId(3), None).await.expect("it can be restarted from there");
        let fork = RunKey { tenant: TENANT, run: answer.run };
        assert_eq!(rig.output(fork).await, "[30,3000,4]");
        assert_eq!(rig.head(fork).await.component, next);
        rig.replays(fork).await;
    });
}

/// Answers the question of that attempt of the first step, once it is asked; gives its form.
async fn answer(rig: &Rig, run: RunKey, attempt: u32, approve: bool) -> String {
    loop {
        let entries = rig.entries(run).await;
        let state = RunState::of(&entries).expect("a journal");
        let asked = state.questions().find(|(question, _)| question.attempt == attempt);
        if let Some((question, _)) = asked {
            let (effect, request) = (question.name.effect.expect("a function asks"), MessageId(attempt.into()));
            let form = entries.iter().rev().find_map(|entry| match &entry.kind {
                Kind::EffectAsked(asked) if asked.effect == effect => Some(format!("{:?}", asked.request)),
                _ => None,
            });
            let answer = Value::inline(format!("{{\"approve\":{approve}}}"));
            let body = InboxBody::AnswerInAttempt { step: StepId(1), attempt, effect, request, answer, by: None };
            rig.send_as(run, attempt.into(), body).await;
            return form.expect("it was asked");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn an_attempt_that_is_under_way_goes_on_with_the_code_that_it_was_begun_with() {
    in_virtual_time(async {
        for crashes in [false, true] {
            for approve in [true, false] {
                let (mut rig, run, next) = started("approved").await;
                ask_to_move(&rig, run, next).await;
                rig.until(run, |head| head.component == next).await;
                if crashes {
                    rig = rig.crash().await;
                }
                let asked = answer(&rig, run, 1, approve).await;
                assert!(asked.contains("Approve the order?"), "{asked}");
                if approve {
                    assert_eq!(rig.output(run).await, "\"3 as before\"", "nobody was asked twice");
                } else {
                    // The next attempt is made by the new code.
                    let asked = answer(&rig, run, 2, true).await;
                    assert!(asked.contains("Really approve the order?"), "{asked}");
                    assert_eq!(rig.output(run).await, "\"3 as now\"");
                }
                rig.replays(run).await;
            }
        }
    });
}
