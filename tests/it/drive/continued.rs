//! Runs that go on with a new input: what they take along, what is given up, and what a resume costs.

use std::time::Duration;
use trackway::Code;
use trackway_replay::{Continued, Digest, End, Entry, Kind, Status, StepId, Value};
use trackway_storage::{RunKey, Sent, Storage};

use super::crash::survives_a_crash_after_every_entry;
use crate::rig::{Rig, TENANT, in_virtual_time};

const ROUND: Duration = Duration::from_secs(60);

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let (rig, run, _) = started_beside(workflow, input).await;
    (rig, run)
}

/// The same, with what became of its code in the store.
async fn started_beside(workflow: &str, input: &str) -> (Rig, RunKey, Digest) {
    let rig = Rig::new().await;
    let next = rig.deploy("lasting_next").await;
    rig.deploy("lasting").await;
    let run = rig.start("lasting", workflow, input).await;
    (rig, run, next)
}

fn stretches(entries: &[Entry]) -> Vec<Continued> {
    let continued = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Continued(continued) => Some((**continued).clone()),
        _ => None,
    });
    continued.collect()
}

#[test]
fn a_run_that_goes_on_with_new_inputs_survives_a_crash_after_every_entry() {
    survives_a_crash_after_every_entry("lasting", "counts", r#"{"left": 2, "told": []}"#);
}

#[test]
fn its_end_is_that_of_its_last_round_and_every_round_draws_other_numbers() {
    in_virtual_time(async {
        let (rig, run) = started("counts", r#"{"left": 3, "told": []}"#).await;
        let told: Vec<u64> = serde_json::from_str(&rig.output(run).await).expect("numbers");
        assert_eq!(told.iter().copied().step_by(2).collect::<Vec<_>>(), [6, 4, 2, 0]);
        let mut drawn: Vec<_> = told.iter().skip(1).step_by(2).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 4, "{told:?}");
        let entries = rig.entries(run).await;
        let stretches = stretches(&entries);
        let steps: Vec<_> = stretches.iter().map(|stretch| stretch.steps).collect();
        assert_eq!(steps, [2, 4, 6], "steps are numbered on");
        assert_eq!(rig.head(run).await.steps, 7);
        rig.replays(run).await;
        let lines = rig.storage.logs(run, None, 100).await.expect("read");
        assert_eq!(lines.len(), 4, "each line once, under a key of its own");
    });
}

#[test]
fn signals_that_nobody_used_are_there_in_the_next_round_in_their_order() {
    in_virtual_time(async {
        let (mut rig, run) = started("collects", r#"{"left": 5, "told": []}"#).await;
        for number in 1..=4_u128 {
            rig.signal(run, number, "number", &number.to_string()).await;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        rig = rig.crash().await;
        rig.signal(run, 5, "number", "5").await;
        rig.signal(run, 6, "other", "6").await;
        assert_eq!(rig.output(run).await, "[1,2,3,4,5]");
        let entries = rig.entries(run).await;
        assert_eq!(stretches(&entries).last().expect("it went on").mail.len(), 1, "what nobody waits for stays");
        rig.replays(run).await;
    });
}

#[test]
fn taking_signals_over_rounds_survives_a_crash_after_every_entry() {
    in_virtual_time(async {
        let (rig, run) = started("collects", r#"{"left": 3, "told": []}"#).await;
        for number in 1..=3_u128 {
            rig.signal(run, number, "number", &number.to_string()).await;
        }
        assert_eq!(rig.output(run).await, "[1,2,3]");
        let entries = rig.entries(run).await;
        for kept in 1..entries.len() {
            let cut = rig.cut(run, kept).await;
            for number in 1..=3_u128 {
                let signalled = |entry: &Entry| matches!(&entry.kind, Kind::Signalled(it) if it.message.0 == number);
                if !entries[..kept].iter().any(signalled) {
                    cut.signal(run, number, "number", &number.to_string()).await;
                }
            }
            assert_eq!(cut.output(run).await, "[1,2,3]", "cut after {kept}");
            cut.replays(run).await;
        }
    });
}

#[test]
fn a_resume_reads_and_recalls_the_last_round_alone() {
    in_virtual_time(async {
        let (rig, run) = started("lasts", "0").await;
        tokio::time::sleep(ROUND * 20 + ROUND / 2).await;
        let before = rig.entries(run).await;
        assert_eq!(stretches(&before).len(), 20);
        // What stands before could not even be read any more.
        let last = before.iter().rposition(|entry| matches!(entry.kind, Kind::Continued(_))).expect("it went on");
        let rig = rig.cut_unreadable(run, before.len(), 2..last).await;
        tokio::time::sleep(ROUND * 5).await;
        let head = rig.head(run).await;
        assert_eq!(head.status, Status::Sleeping, "{head:?}");
        assert!(rig.worker().replay(run, None).await.is_err(), "all of it is needed to prove all of it");
    });
}

#[test]
fn a_cancel_before_and_after_the_cut_ends_the_run() {
    in_virtual_time(async {
        for wait in [ROUND / 2, ROUND, ROUND + Duration::from_millis(1), ROUND * 3 / 2] {
            let (rig, run) = started("lasts", "0").await;
            tokio::time::sleep(wait).await;
            assert_eq!(rig.cancel(run).await, Sent::Delivered);
            assert_eq!(rig.end(run).await.end, End::Cancelled { reason: "asked to".into() }, "after {wait:?}");
        }
    });
}

#[test]
fn who_goes_on_in_the_middle_of_a_cancel_is_told_again() {
    in_virtual_time(async {
        let (rig, run) = started("goes_on_cancelled", "0").await;
        tokio::time::sleep(ROUND / 2).await;
        rig.cancel(run).await;
        assert_eq!(rig.end(run).await.end, End::Cancelled { reason: "asked to".into() });
        let entries = rig.entries(run).await;
        assert_eq!(stretches(&entries)[0].cancel.as_ref().map(|cancel| &*cancel.reason), Some("asked to"));
        for kept in 1..entries.len() {
            let cut = rig.cut(run, kept).await;
            if !entries[..kept].iter().any(|entry| matches!(entry.kind, Kind::CancelReceived(_))) {
                cut.cancel(run).await;
            }
            assert_eq!(cut.end(run).await.end, End::Cancelled { reason: "asked to".into() }, "cut after {kept}");
        }
    });
}

#[test]
fn what_is_open_at_the_cut_is_given_up() {
    in_virtual_time(async {
        let (rig, run) = started("leaves_open", "0").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let child = rig.entries(run).await.into_iter().find_map(|entry| match entry.kind {
            Kind::ChildStarted(started) => Some(RunKey { run: started.run, ..run }),
            _ => None,
        });
        let child = child.expect("it was started");
        assert_eq!(rig.storage.questions(TENANT, None, 9).await.expect("read").len(), 1);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.head(child).await.status, Status::Cancelled, "nobody waits for it");
        assert!(rig.storage.questions(TENANT, None, 9).await.expect("read").is_empty());
        assert_eq!(rig.head(run).await.status, Status::Waiting);
        let rig = rig.crash().await;
        rig.signal(run, 1, "go", "5").await;
        assert_eq!(rig.output(run).await, "6");
        rig.replays(run).await;
    });
}

#[test]
fn a_parent_gets_the_end_of_a_child_that_went_on() {
    in_virtual_time(async {
        let (rig, run) = started("parent", "2").await;
        tokio::time::sleep(ROUND / 2).await;
        let rig = rig.crash().await;
        assert_eq!(rig.output(run).await, "6");
        rig.replays(run).await;
    });
}

#[test]
fn the_time_of_a_run_counts_from_its_first_round() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("lasting").await;
        let run = rig.start_within(ROUND * 3 / 2, "lasting", "lasts", "0").await;
        let began = rig.head(run).await.started;
        let failure = rig.failure(run).await;
        assert_eq!(failure.code, "TIMEOUT");
        let head = rig.head(run).await;
        assert_eq!(head.started, began);
        assert_eq!(stretches(&rig.entries(run).await).len(), 1);
    });
}

#[test]
fn the_next_round_has_the_newest_code_of_the_deployment() {
    in_virtual_time(async {
        let (rig, run, next) = started_beside("counts", r#"{"left": 2, "told": []}"#).await;
        tokio::time::sleep(ROUND / 2).await;
        rig.deploy_again("lasting", next).await;
        let output = rig.output(run).await;
        let told: Vec<u64> = serde_json::from_str(&output).expect("numbers");
        assert_eq!((told[0], &told[2..]), (4, &[1_001, 1_000][..]), "{output}");
        assert_eq!(rig.head(run).await.component, next);
        rig.replays(run).await;
        let entries = rig.entries(run).await;
        for kept in 1..entries.len() {
            let cut = rig.cut(run, kept).await;
            cut.ended(run).await;
            cut.replays(run).await;
        }
    });
}

#[test]
fn a_workflow_that_the_newest_code_lacks_goes_on_with_what_it_has() {
    in_virtual_time(async {
        let (rig, run, next) = started_beside("asks_to_change", "0").await;
        let mine = rig.head(run).await.component;
        tokio::time::sleep(ROUND / 2).await;
        rig.deploy_again("lasting", next).await;
        assert_eq!(rig.output(run).await, "true", "what is new is patched");
        assert_eq!(rig.head(run).await.component, mine);
        rig.replays(run).await;
    });
}

#[test]
fn a_round_may_be_restarted_from_any_step() {
    in_virtual_time(async {
        let (rig, run) = started("counts", r#"{"left": 2, "told": []}"#).await;
        restarts_from_any_step(&rig, run).await;
        // What a fork has besides, where it has a time of its own.
        let rig = Rig::new().await;
        rig.deploy("lasting").await;
        let day = Duration::from_secs(86_400);
        let run = rig.start_within(day, "lasting", "counts", r#"{"left": 2, "told": []}"#).await;
        restarts_from_any_step(&rig, run).await;
    });
}

async fn restarts_from_any_step(rig: &Rig, run: RunKey) {
    let whole: Vec<u64> = serde_json::from_str(&rig.output(run).await).expect("numbers");
    for step in 1..=5 {
        let answer = rig.worker().fork(run, StepId(step), None).await.expect("it can be restarted from there");
        let fork = RunKey { tenant: TENANT, run: answer.run };
        let told: Vec<u64> = serde_json::from_str(&rig.output(fork).await).expect("numbers");
        // What was drawn before the cut stays, what is drawn after it is new.
        let drawn_before = (step as usize).div_ceil(2).saturating_sub(1) * 2;
        assert_eq!(told[..drawn_before], whole[..drawn_before], "from step {step}");
        assert_eq!(told.len(), whole.len());
        rig.replays(fork).await;
        let entries = rig.entries(fork).await;
        // Its deadline stands with what says that it is one, in one frame.
        let least = if matches!(entries[2].kind, Kind::DeadlineSet(_)) { 3 } else { 1 };
        for kept in least..entries.len() {
            let cut = rig.cut_beside(fork, kept, &[run]).await;
            cut.ended(fork).await;
            cut.replays(fork).await;
        }
    }
}

#[test]
fn functions_get_what_they_wait_for_in_every_round() {
    in_virtual_time(async {
        let (rig, run) = started("naps", "2").await;
        assert_eq!(rig.output(run).await, "0");
        rig.replays(run).await;
    });
}

#[test]
fn a_large_input_is_kept_beside_the_journal() {
    in_virtual_time(async {
        let (rig, run) = started("goes_on_with_much", r#""""#).await;
        assert_eq!(rig.output(run).await, "100000");
        let entries = rig.entries(run).await;
        assert!(matches!(stretches(&entries)[0].input, Value::Stored { size_bytes: 100_002, .. }));
        rig.replays(run).await;
    });
}

#[test]
fn only_a_workflow_that_returns_goes_on() {
    in_virtual_time(async {
        let (rig, run) = started("changes_its_mind", "true").await;
        assert_eq!(rig.failure(run).await.code, "PANIC");
        rig.replays(run).await;
        let other = rig.start("lasting", "changes_its_mind", "false").await;
        assert_eq!(rig.output(other).await, r#""done""#);
        rig.replays(other).await;
    });
}

#[test]
fn a_held_run_goes_on_when_it_is_resumed() {
    in_virtual_time(async {
        let (rig, run) = started("counts", r#"{"left": 1, "told": []}"#).await;
        tokio::time::sleep(ROUND / 2).await;
        rig.send(run, trackway_storage::InboxBody::Pause { reason: "look".into() }).await;
        tokio::time::sleep(ROUND * 2).await;
        assert_eq!(rig.head(run).await.status, Status::Paused);
        rig.send(run, trackway_storage::InboxBody::Resume).await;
        assert_eq!(rig.head(run).await.code.as_deref(), None::<&str>, "{}", Code::Diverged.text());
        rig.output(run).await;
        rig.replays(run).await;
    });
}
