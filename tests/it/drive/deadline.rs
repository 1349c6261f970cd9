//! A run with a timeout is ended by the host, whatever it does, at the time that stands in its journal.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, Kind, Waiting, code};
use trackway_storage::{MemoryStorage, RunKey};

use crate::rig::{Rig, in_virtual_time, is_parked};

const MINUTE: Duration = Duration::from_secs(60);

async fn ends_after_a_minute(rig: &Rig, run: RunKey) {
    let failure: Failure = rig.failure(run).await;
    assert_eq!((failure.code.as_str(), failure.retryable), (code::TIMEOUT, false));
    let entries = rig.entries(run).await;
    assert!(matches!(entries[1].kind, Kind::DeadlineSet(_)));
    let took = entries[entries.len() - 1].time.since(entries[0].time);
    assert!((60_000..61_000).contains(&took.as_millis()), "{took:?}");
    rig.replays(run).await;
}

#[test]
fn a_run_that_sleeps() {
    in_virtual_time(async {
        for warm_for in [Duration::ZERO, MINUTE * 2] {
            let rig = Rig::on(Arc::new(MemoryStorage::new()), Arc::default(), warm_for).await;
            rig.deploy("sleeper").await;
            let run = rig.start_within(MINUTE, "sleeper", "sleeps", "3600000").await;
            ends_after_a_minute(&rig, run).await;
        }
    });
}

#[test]
fn a_run_that_waits_for_a_person() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("mending").await;
        let run = rig.start_within(MINUTE, "mending", "tries", r#"{"url": "", "until": 9, "how": "park"}"#).await;
        rig.until(run, |head| head.waiting.is_some()).await;
        ends_after_a_minute(&rig, run).await;
        assert!(!is_parked(&rig.head(run).await));
    });
}

#[test]
fn a_run_between_two_attempts() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("mending").await;
        let patient = r#"{"url": "", "until": 3, "how": "fixed", "retry_after_ms": 3600000}"#;
        let run = rig.start_within(MINUTE, "mending", "tries", patient).await;
        rig.until(run, |head| head.waiting == Some(Waiting::Retry)).await;
        ends_after_a_minute(&rig, run).await;
        let run = rig.start_within(MINUTE, "mending", "tries", patient).await;
        rig.until(run, |head| head.waiting == Some(Waiting::Retry)).await;
        let rig = rig.crash_for(MINUTE * 60).await;
        assert_eq!(rig.failure(run).await.code, code::TIMEOUT, "the retry that was due meanwhile is not made");
        let begun = rig.kinds(run).await.into_iter().filter(|kind| kind.starts_with("AttemptStarted")).count();
        assert_eq!(begun, 1);
        rig.replays(run).await;
    });
}

#[test]
fn a_function_that_waits_for_the_world_and_a_host_that_was_down_meanwhile() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.be_silent(true);
        let run = rig.start_within(MINUTE, "effects", "posts", r#"{"url": "http://world.test"}"#).await;
        ends_after_a_minute(&rig, run).await;
        let run = rig.start_within(MINUTE, "effects", "posts", r#"{"url": "http://world.test"}"#).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let rig = rig.crash().await;
        assert_eq!(rig.failure(run).await.code, code::TIMEOUT);
        rig.replays(run).await;
    });
}

#[test]
fn a_run_that_ends_in_time_does_not_notice() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start_within(MINUTE, "sleeper", "sleeps", "1000").await;
        rig.output(run).await;
        rig.replays(run).await;
    });
}
