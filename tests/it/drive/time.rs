//! Sleeping, parking, waking.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{RunState, Status};
use trackway_storage::MemoryStorage;

use crate::rig::{Rig, in_virtual_time};

#[test]
fn a_sleeping_run_is_parked_and_wakes_when_it_is_due() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        for sleep_ms in [1_u64, 20, 1_000, 60_000, 3_600_000] {
            let run = rig.start("sleeper", "sleeps", &sleep_ms.to_string()).await;
            let passed: u64 = rig.output(run).await.parse().expect("a number");
            assert!((sleep_ms..sleep_ms + 200).contains(&passed), "{sleep_ms} ms took {passed} ms");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_sleeping_run_says_so_and_until_when() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "sleeps", "60000").await;
        let head = rig.until(run, |head| head.status == Status::Sleeping).await;
        let due = head.due.expect("it is known when it wakes");
        assert_eq!(due.since(head.started), Duration::from_secs(60));
        assert_eq!(rig.output(run).await, "60000");
    });
}

#[test]
fn a_sleeping_run_survives_a_crash_and_wakes_when_it_was_due() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "naps", "[60000, 1000, 60000]").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let rig = rig.crash().await;
        assert_eq!(rig.output(run).await, "3");
        let entries = rig.entries(run).await;
        let took = entries[entries.len() - 1].time.since(entries[0].time);
        assert!((121_000..121_500).contains(&took.as_millis()), "{took:?}");
        rig.replays(run).await;
    });
}

#[test]
fn sleeps_beside_each_other_end_in_their_order() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "sleeps_at_once", "[5000, 100, 10000, 4999]").await;
        assert_eq!(rig.output(run).await, "[1,3,0,2]");
        rig.replays(run).await;
    });
}

#[test]
fn the_earlier_of_step_and_deadline_wins_and_the_other_is_forgotten() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "deadline", r#"{"step_ms": 50, "deadline_ms": 60000}"#).await;
        assert_eq!(rig.output(run).await, r#""after 50 ms""#);
        let run = rig.start("sleeper", "deadline", r#"{"step_ms": 86000000, "deadline_ms": 60000}"#).await;
        assert_eq!(rig.output(run).await, r#""late""#);
        assert!(rig.kinds(run).await.contains(&"Forgotten 1".to_owned()));
        rig.replays(run).await;
    });
}

#[test]
fn a_dropped_step_is_forgotten_and_never_answered() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "forgets", "null").await;
        assert_eq!(rig.output(run).await, "2");
        let kinds = rig.kinds(run).await;
        assert!(kinds.contains(&"Forgotten 1".to_owned()));
        assert!(!kinds.contains(&"Answered 1".to_owned()));
        rig.replays(run).await;
    });
}

#[test]
fn a_cancelled_step_and_a_cancelled_sleep_end_as_cancelled() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        for workflow in ["cancels_a_step", "cancels_a_sleep"] {
            let run = rig.start("sleeper", workflow, "null").await;
            assert_eq!(rig.output(run).await, r#""CANCELLED""#);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_function_that_waits_is_evicted_and_goes_on_where_it_was() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "waits_inside", "200000").await;
        let passed: u64 = rig.output(run).await.parse().expect("a number");
        assert!((200_000..200_200).contains(&passed), "{passed}");
        assert!(rig.kinds(run).await.contains(&"AttemptResumed 1.1".to_owned()));
        rig.replays(run).await;
    });
}

#[test]
fn a_retry_that_waits_says_so() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.script("/step/0/0", &[500; 6]);
        let run = rig.start("effects", "posts", r#"{"url": "http://world.test"}"#).await;
        let head = rig.until(run, |head| head.status == Status::Waiting).await;
        assert!(head.due.is_some());
        rig.ended(run).await;
        assert_eq!(rig.head(run).await.status, Status::Succeeded);
        assert_eq!(rig.world.asked().len(), 7);
        let keys: std::collections::BTreeSet<_> = rig.world.asked().into_iter().map(|contact| contact.key).collect();
        assert_eq!(keys.len(), 1, "every attempt sends the same key");
        rig.replays(run).await;
    });
}

#[test]
fn the_head_of_a_run_that_waits_says_for_what_also_where_it_computed_before_it_waited() {
    in_virtual_time(async {
        let rig = Rig::with_lane(Arc::new(MemoryStorage::new())).await;
        rig.deploy("sleeper").await;
        let year = Duration::from_secs(365 * 86_400);
        let run = rig.start("sleeper", "computes_between", &year.as_millis().to_string()).await;
        // Virtual time flies while the guest computes in a thread of its own.
        for _ in 0..400_000 {
            let folded = RunState::of(&rig.entries(run).await).expect("it is a journal").head();
            if folded.steps == 2 && folded == rig.head(run).await {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("its head stays {:?}", rig.head(run).await);
    });
}
