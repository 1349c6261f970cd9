//! Room: runs that wait give way to others, and a run that is ahead of storage waits for it without
//! losing anything.

use std::sync::Arc;
use std::time::Duration;
use trackway::worker::Options;
use trackway_replay::{Kind, Status};
use trackway_storage::{Faults, MemoryStorage, Sent};

use crate::rig::{Rig, in_virtual_time};

/// Every call of the store takes up to this long.
fn slow(seed: u64, delay_max_ms: u64) -> Arc<MemoryStorage> {
    let delay_max = Duration::from_millis(delay_max_ms);
    Arc::new(MemoryStorage::with_faults(seed, Faults { delay_max, ..Faults::default() }))
}

#[test]
fn a_workflow_that_waits_for_storage_is_not_parked() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        // More than the host sequences ahead of storage; the last is over long before the others.
        let mut sleeps_ms = vec![3_600_000; 1_500];
        sleeps_ms.push(1_000);
        let run = rig.start("sleeper", "sleeps_at_once", &format!("{sleeps_ms:?}")).await;
        assert!(rig.output(run).await.starts_with("[1500,0,1,"));
        let entries = rig.entries(run).await;
        let last_asked = entries.iter().rfind(|entry| matches!(entry.kind, Kind::Asked(_))).expect("it asked");
        assert!(last_asked.time.since(entries[0].time) < Duration::from_secs(1));
        rig.replays(run).await;
    });
}

#[test]
fn large_answers_are_delivered_while_their_frame_is_on_its_way() {
    in_virtual_time(async {
        let rig = Rig::on(slow(3, 40), Arc::default(), Duration::from_secs(3)).await;
        rig.deploy("values").await;
        // Each another value; together more than is kept in memory.
        let sizes: Vec<usize> = (0..6).map(|nth| (8 << 20) + nth).collect();
        let run = rig.start("values", "several", &format!("{sizes:?}")).await;
        let output = rig.output(run).await;
        assert_eq!(output, serde_json::to_string(&sizes).expect("numbers"));
        rig.replays(run).await;
    });
}

#[test]
fn a_run_that_sleeps_gives_way_however_slow_the_store_is() {
    in_virtual_time(async {
        for seed in 0..30 {
            let options = Options { runs_max: 1, ..Options::default() };
            let rig = Rig::with(slow(seed, 6), Arc::default(), options).await;
            rig.deploy("sleeper").await;
            let run = rig.start("sleeper", "naps", "[1, 3600000]").await;
            rig.until(run, |head| head.status == Status::Sleeping && head.due.is_some()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let other = rig.start("sleeper", "sleeps", "1");
            let other = tokio::time::timeout(Duration::from_secs(10), other).await.expect("there is room");
            rig.output(other).await;
        }
    });
}

#[test]
fn many_runs_that_sleep_are_taken_in_at_once() {
    in_virtual_time(async {
        let options = Options { runs_max: 2, ..Options::default() };
        let rig = Rig::with(slow(1, 2), Arc::default(), options).await;
        rig.deploy("sleeper").await;
        let starts = (0..40).map(|_| rig.start("sleeper", "sleeps", "3600000"));
        let starts = futures_util::future::join_all(starts);
        let runs = tokio::time::timeout(Duration::from_secs(2), starts).await.expect("each gives way to the next");
        for run in runs {
            rig.output(run).await;
        }
    });
}

#[test]
fn stopping_the_host_while_it_recalls_a_run_does_not_count_against_the_run() {
    in_virtual_time(async {
        let rig = Rig::on(slow(5, 10), Arc::default(), Duration::from_secs(3)).await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "chain", r#"{"n": 200}"#).await;
        let mut rig = rig.crash().await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(12)).await;
            rig.worker().drain(Duration::ZERO).await.expect("storage takes everything");
            rig = rig.crash().await;
        }
        assert_eq!(rig.output(run).await, "200");
        rig.replays(run).await;
    });
}

#[test]
fn one_key_given_to_many_at_once_starts_one_run() {
    in_virtual_time(async {
        for seed in 0..10 {
            let rig = Rig::on(slow(seed, 10), Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("sleeper").await;
            let starts = (0..12).map(|_| rig.start_keyed("sleeper", "sleeps", "5", Some("once")));
            let started = futures_util::future::join_all(starts).await;
            let started: Vec<_> = started.into_iter().map(|start| start.expect("it is answered")).collect();
            assert_eq!(started.iter().filter(|(_, existing)| !existing).count(), 1);
            assert!(started.iter().all(|(run, _)| *run == started[0].0));
            rig.output(started[0].0).await;
        }
    });
}

#[test]
fn a_cancel_is_not_lost_by_a_crash_while_the_run_is_ahead_of_storage() {
    in_virtual_time(async {
        for seed in 0..20 {
            let rig = Rig::on(slow(seed, 10), Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("parallel").await;
            let run = rig.start("parallel", "chain", r#"{"n": 100000}"#).await;
            tokio::time::sleep(Duration::from_millis(seed)).await;
            assert_eq!(rig.cancel(run).await, Sent::Delivered);
            tokio::time::sleep(Duration::from_millis(2 * seed)).await;
            let rig = rig.crash().await;
            assert_eq!(rig.ended(run).await.status, Status::Cancelled);
            let kinds = rig.kinds(run).await;
            assert_eq!(kinds.iter().filter(|kind| *kind == "CancelReceived").count(), 1);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_run_that_is_ahead_of_storage_is_not_said_to_have_ended() {
    in_virtual_time(async {
        for seed in 0..10 {
            let rig = Rig::on(slow(seed, 20), Arc::default(), Duration::from_secs(3)).await;
            rig.deploy("parallel").await;
            let run = rig.start("parallel", "chain", r#"{"n": 2000}"#).await;
            // As soon as the head says so, the journal does.
            assert_eq!(rig.output(run).await, "2000");
        }
    });
}
