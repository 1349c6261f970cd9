//! Cancelling a run: it reaches the guest once, and ends the run in any case.

use std::sync::Arc;
use std::time::{Duration, Instant};
use trackway_replay::{Kind, RunId, RunState, Status};
use trackway_storage::{Faults, MemoryStorage, RunKey, Sent};

use crate::rig::{Rig, TENANT, in_virtual_time};

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

/// The host ends the run while its workflow computes, and asks, on another thread. Virtual time would
/// leave it no moment between the end and its append, so around it time is made to take its time.
#[test]
fn nothing_is_written_after_the_end_that_the_host_makes() {
    in_virtual_time(async {
        let mut raced = 0;
        // On a busy machine the workflow often gets no time to ask in just then, so it gets more and more of it.
        for seed in 0..400 {
            let moment = Duration::from_micros(2_000 + seed * 100);
            let faults = Faults { delay_max: Duration::from_millis(4), ..Faults::default() };
            let rig = Rig::with_lane(Arc::new(MemoryStorage::with_faults(seed, faults))).await;
            rig.deploy("limits").await;
            let run = rig.start("limits", "never_waits", "null").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(rig.cancel(run).await, Sent::Delivered);
            tokio::time::sleep(Duration::from_millis(29_990)).await;
            for _ in 0..30 {
                let begun = Instant::now();
                while begun.elapsed() < moment {
                    tokio::task::yield_now().await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(rig.ended(run).await.status, Status::Cancelled);
            let entries = rig.entries(run).await;
            let [.., asked, end] = &entries[..] else { panic!("no journal: {entries:?}") };
            assert!(matches!(end.kind, Kind::Finished(_)));
            RunState::of(&entries).expect("the journal follows the rules");
            raced += u32::from(end.time.since(asked.time) < Duration::from_secs(1));
            if raced == 5 {
                return;
            }
        }
        panic!("it asked until its end only {raced} times");
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

/// Those that were read, and those that the end names.
async fn cancels_on_record(rig: &Rig, run: RunKey) -> usize {
    let told = |kind: &Kind| match kind {
        Kind::CancelReceived(_) => 1,
        Kind::Finished(finished) => finished.unread.len(),
        _ => 0,
    };
    rig.entries(run).await.iter().map(|entry| told(&entry.kind)).sum()
}

#[test]
fn whoever_was_told_that_a_cancel_stands_finds_it_in_the_journal() {
    in_virtual_time(async {
        for seed in 0..20 {
            let delay_max = Duration::from_millis(20);
            let storage = MemoryStorage::with_faults(seed, Faults { delay_max, ..Faults::default() });
            let rig = Rig::on(Arc::new(storage), Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("sleeper").await;
            let run = rig.start("sleeper", "sleeps", "5").await;
            let mut acknowledged = 0;
            // Until the end refuses them: some come while the end is on its way to storage.
            while rig.cancel(run).await == Sent::Delivered {
                acknowledged += 1;
            }
            assert_eq!(cancels_on_record(&rig, run).await, acknowledged, "seed {seed}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_cancel_before_the_first_frame_finds_no_run_and_right_after_it_the_run() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("cancelled").await;
        let nobody = RunKey { tenant: TENANT, run: RunId(7) };
        assert_eq!(rig.cancel(nobody).await, Sent::NoSuchRun);
        let run = rig.start("cancelled", "ignores", "null").await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        rig.replays(run).await;
    });
}

#[test]
fn a_cancel_that_comes_during_recall_waits_for_its_end() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("parallel").await;
        let run = whole.start("parallel", "chain", r#"{"n": 40}"#).await;
        whole.ended(run).await;
        let entries = whole.entries(run).await.len();
        for kept in [2, 3, entries / 2, entries - 1] {
            let rig = whole.cut(run, kept).await;
            assert_eq!(rig.cancel(run).await, Sent::Delivered);
            assert!(rig.ended(run).await.status.has_ended());
            assert_eq!(cancels_on_record(&rig, run).await, 1, "cut after {kept}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_cancel_on_record_ends_a_run_that_cannot_be_recalled() {
    in_virtual_time(async {
        let (rig, run) = cancelled_after("ignores", Duration::from_secs(5)).await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.kinds(run).await.contains(&"CancelReceived".to_owned()));
        let rig = rig.crash_after_recalls(run, 4).await;
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        rig.replays(run).await;
    });
}
