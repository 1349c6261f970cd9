//! Terminating a run: it ends at once, whatever it does, and nothing is asked of its code.

use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{End, Finished, Kind, Limits, Status};
use trackway_storage::{MemoryStorage, RunKey, Sent, Storage};

use crate::rig::{Rig, in_virtual_time};

/// Asks to end the run, and expects that it does and how.
async fn ends_at_once(rig: &Rig, run: RunKey) {
    let before = tokio::time::Instant::now();
    assert_eq!(rig.terminate(run).await, Sent::Delivered);
    let head = rig.until(run, |head| head.status.has_ended()).await;
    assert!(before.elapsed() < Duration::from_secs(1), "it took {:?}", before.elapsed());
    assert_eq!((head.status, head.code.as_deref()), (Status::Cancelled, Some("TERMINATED")));
    assert_eq!(head.message.as_deref(), Some("at once"));
    let last = rig.entries(run).await.pop().expect("a journal");
    match last.kind {
        Kind::Finished(Finished { end: End::Terminated { reason }, fingerprint: None, unread }) => {
            assert_eq!((&*reason, unread.len()), ("at once", 1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.terminate(run).await, Sent::Ended(Status::Cancelled));
    assert!(rig.storage.inbox(run).await.expect("read").is_empty());
}

#[test]
fn a_run_that_sleeps_with_its_instance_warm() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("cancelled").await;
        let run = rig.start("cancelled", "ignores", "null").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        ends_at_once(&rig, run).await;
        rig.replays(run).await;
    });
}

#[test]
fn a_run_that_nobody_drives() {
    in_virtual_time(async {
        let rig = Rig::on(Arc::new(MemoryStorage::new()), Arc::default(), Duration::ZERO).await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "sleeps", "3600000").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        ends_at_once(&rig, run).await;
        rig.replays(run).await;
    });
}

#[test]
fn a_workflow_that_computes_for_ever() {
    in_virtual_time(async {
        // In a thread of its own: in the test's, virtual time would never pass.
        let rig = Rig::with_lane(Arc::new(MemoryStorage::new())).await;
        rig.deploy("raw").await;
        let limits = Limits { fuel: u64::MAX / 8, ..Limits::default() };
        let script = json!({ "ops": [["sleep", 5], ["next"], ["spin"]] }).to_string();
        let run = rig.start_under(limits, "raw", "script", &script).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.head(run).await.status, Status::Running);
        assert_eq!(rig.terminate(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.code.as_deref(), Some("TERMINATED"));
    });
}

#[test]
fn a_function_with_an_effect_in_flight() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.be_silent(true);
        let run = rig.start("effects", "posts", r#"{"url": "http://world.test"}"#).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        ends_at_once(&rig, run).await;
        let stood = rig.entries(run).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.entries(run).await, stood);
        rig.replays(run).await;
    });
}

#[test]
fn a_run_that_was_quarantined() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "sleeps", "3600000").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        let rig = rig.crash_after_recalls(run, 4).await;
        rig.until(run, |head| head.status == Status::Stuck).await;
        ends_at_once(&rig, run).await;
    });
}

#[test]
fn a_run_whose_cancel_it_does_not_heed() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("cancelled").await;
        let run = rig.start("cancelled", "ignores", "null").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        tokio::time::sleep(Duration::from_secs(1)).await;
        ends_at_once(&rig, run).await;
        rig.replays(run).await;
    });
}

#[test]
fn a_terminate_that_was_acknowledged_survives_a_crash() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("cancelled").await;
        let run = rig.start("cancelled", "ignores", "null").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        assert_eq!(rig.terminate(run).await, Sent::Delivered);
        let rig = rig.crash().await;
        assert_eq!(rig.ended(run).await.code.as_deref(), Some("TERMINATED"));
        rig.replays(run).await;
    });
}
