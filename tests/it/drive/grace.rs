//! How long a cancelled run has to end: as its workflow says, or whoever cancels it, on record and over a crash.

use std::time::Duration;
use trackway_replay::{Kind, Status};
use trackway_storage::{InboxBody, RunKey, Sent};

use crate::rig::{Rig, in_virtual_time};

const DAY_MS: u64 = 86_400_000;

async fn started(workflow: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("cancelled").await;
    let run = rig.start("cancelled", workflow, "null").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    (rig, run)
}

async fn cancel_within(rig: &Rig, run: RunKey, grace_ms: u64) {
    let body = InboxBody::CancelWithin { reason: "enough".into(), grace_ms };
    assert_eq!(rig.send(run, body).await, Sent::Delivered);
}

/// From the cancel to the end, which the host made.
async fn took(rig: &Rig, run: RunKey) -> u64 {
    assert_eq!(rig.ended(run).await.status, Status::Cancelled);
    let entries = rig.entries(run).await;
    let received = entries.iter().find(|entry| matches!(entry.kind, Kind::CancelReceived(_))).expect("on record");
    let end = entries.last().expect("it has an end");
    assert!(matches!(&end.kind, Kind::Finished(finished) if finished.fingerprint.is_none()), "{:?}", end.kind);
    rig.replays(run).await;
    end.time.since(received.time).as_secs()
}

#[test]
fn a_workflow_says_how_long_its_runs_have() {
    in_virtual_time(async {
        let (rig, run) = started("ignores_longer").await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(took(&rig, run).await, 300);
    });
}

#[test]
fn whoever_starts_a_run_says_it_and_whoever_cancels_says_it_instead() {
    in_virtual_time(async {
        for (workflow, instead_ms, wanted) in
            [("ignores", None, 120), ("ignores_longer", None, 120), ("ignores_longer", Some(10_000), 10)]
        {
            let rig = Rig::new().await;
            rig.deploy("cancelled").await;
            let run = rig.start_with_grace(Duration::from_secs(120), "cancelled", workflow, "null").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let rig = rig.crash().await;
            match instead_ms {
                Some(grace_ms) => cancel_within(&rig, run, grace_ms).await,
                None => assert_eq!(rig.cancel(run).await, Sent::Delivered),
            }
            assert_eq!(took(&rig, run).await, wanted);
            assert_eq!(rig.kinds(run).await[1..3], ["DeadlineSet", "GraceSet"]);
        }
    });
}

#[test]
fn a_parent_says_how_long_its_child_has() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("cancelled").await;
        let run = rig.start("cancelled", "starts_one_that_ignores", "null").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        rig.ended(run).await;
        let started = rig.entries(run).await.into_iter().find_map(|entry| match entry.kind {
            Kind::ChildStarted(started) => Some(started.run),
            _ => None,
        });
        let child = RunKey { run: started.expect("it started one"), ..run };
        assert_eq!(took(&rig, child).await, 120);
        assert_eq!(rig.kinds(child).await[1..3], ["ChildOf", "GraceSet"]);
    });
}

#[test]
fn whoever_cancels_says_it_instead() {
    in_virtual_time(async {
        for (workflow, grace_ms) in
            [("ignores", 0), ("ignores", 90_000), ("ignores_longer", 10_000), ("ignores", 7_200_000)]
        {
            let (rig, run) = started(workflow).await;
            cancel_within(&rig, run, grace_ms).await;
            assert_eq!(took(&rig, run).await, grace_ms / 1_000);
        }
    });
}

#[test]
fn a_run_that_was_cancelled_gets_more_time_or_less_from_its_first_cancel() {
    in_virtual_time(async {
        for (first_ms, then_ms, wanted) in [(60_000, 3_600_000, 3_600), (3_600_000, 40_000, 40), (3_600_000, 5_000, 20)]
        {
            let (rig, run) = started("ignores").await;
            cancel_within(&rig, run, first_ms).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            cancel_within(&rig, run, then_ms).await;
            assert_eq!(took(&rig, run).await, wanted);
            let kinds = rig.kinds(run).await;
            assert_eq!(kinds.iter().filter(|kind| *kind == "CancelReceived").count(), 1, "{kinds:?}");
        }
    });
}

#[test]
fn the_time_stands_over_a_crash() {
    in_virtual_time(async {
        let (rig, run) = started("ignores").await;
        cancel_within(&rig, run, 600_000).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        let rig = rig.crash_for(Duration::from_secs(100)).await;
        assert_eq!(took(&rig, run).await, 600);
    });
}

#[test]
fn a_run_that_ends_by_itself_does_not_use_it_up() {
    in_virtual_time(async {
        let (rig, run) = started("cleans_up").await;
        cancel_within(&rig, run, DAY_MS).await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        let entries = rig.entries(run).await;
        assert!(entries[entries.len() - 1].time.since(entries[0].time) < Duration::from_secs(10));
        rig.replays(run).await;
    });
}

#[test]
fn a_workflow_that_begins_anew_meanwhile_keeps_it() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("lasting").await;
        let run = rig.start("lasting", "goes_on_cancelled", "0").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        cancel_within(&rig, run, DAY_MS).await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        let kinds = rig.kinds(run).await;
        let anew = kinds.iter().position(|kind| kind == "Continued").expect("it went on");
        assert_eq!(kinds.get(anew + 1).map(String::as_str), Some("GraceSet"), "{kinds:?}");
        rig.replays(run).await;
    });
}
