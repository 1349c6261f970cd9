//! Cancelling a run: it reaches the guest once, and ends the run in any case.

use std::time::Duration;
use trackway_replay::{Kind, Status};
use trackway_storage::Sent;

use crate::rig::{Rig, in_virtual_time};

async fn cancelled_after(workflow: &str, delay: Duration) -> (Rig, trackway_storage::RunKey) {
    let rig = Rig::new().await;
    rig.deploy("cancelled").await;
    let run = rig.start("cancelled", workflow, "null").await;
    tokio::time::sleep(delay).await;
    assert_eq!(rig.cancel(run).await, Sent::Delivered);
    (rig, run)
}

#[test]
fn a_workflow_cleans_up_and_ends_as_cancelled() {
    in_virtual_time(async {
        let (rig, run) = cancelled_after("cleans_up", Duration::from_secs(5)).await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        let kinds = rig.kinds(run).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "CancelReceived").count(), 1);
        assert!(kinds.contains(&"Answered 2".to_owned()), "the clean-up step ran: {kinds:?}");
        rig.replays(run).await;
    });
}

#[test]
fn every_open_await_fails_as_cancelled() {
    in_virtual_time(async {
        let (rig, run) = cancelled_after("tells", Duration::from_secs(5)).await;
        assert_eq!(rig.output(run).await, r#"["CANCELLED","CANCELLED"]"#);
        rig.replays(run).await;
    });
}

#[test]
fn a_workflow_that_knows_nothing_of_it_ends_as_cancelled() {
    in_virtual_time(async {
        for delay in [0, 1, 10_000] {
            let (rig, run) = cancelled_after("gives_up", Duration::from_millis(delay)).await;
            assert_eq!(rig.ended(run).await.status, Status::Cancelled);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_workflow_that_goes_on_is_ended_by_the_host_after_the_grace() {
    in_virtual_time(async {
        let (rig, run) = cancelled_after("ignores", Duration::from_secs(5)).await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        let entries = rig.entries(run).await;
        let received = entries.iter().find(|entry| matches!(entry.kind, Kind::CancelReceived(_)));
        let took = entries[entries.len() - 1].time.since(received.expect("the cancel is on record").time);
        assert!((30_000..31_000).contains(&took.as_millis()), "{took:?}");
        rig.replays(run).await;
    });
}

#[test]
fn a_workflow_may_succeed_in_spite_of_it() {
    in_virtual_time(async {
        let (rig, run) = cancelled_after("succeeds_anyway", Duration::from_secs(5)).await;
        assert_eq!(rig.output(run).await, r#""told: true""#);
        assert_eq!(rig.cancel(run).await, Sent::Ended(Status::Succeeded));
        rig.replays(run).await;
    });
}

#[test]
fn a_cancel_that_was_acknowledged_survives_a_crash() {
    in_virtual_time(async {
        let (rig, run) = cancelled_after("cleans_up", Duration::from_secs(5)).await;
        let rig = rig.crash().await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        rig.replays(run).await;
    });
}
