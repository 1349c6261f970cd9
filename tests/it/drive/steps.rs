//! Steps, attempts and effects.

use std::time::Duration;
use trackway_replay::{Kind, Status};

use crate::rig::{Rig, in_virtual_time, number_of};

#[test]
fn a_sequential_run_asks_one_step_after_the_other() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "sequential", "3").await;
        assert_eq!(rig.output(run).await, "64");
        let expected = [
            "Started",
            "Claimed",
            "Asked 1",
            "AttemptStarted 1.1",
            "Answered 1",
            "Asked 2",
            "AttemptStarted 2.1",
            "Answered 2",
            "Asked 3",
            "AttemptStarted 3.1",
            "Answered 3",
            "Finished",
        ];
        assert_eq!(rig.kinds(run).await, expected);
        rig.replays(run).await;
    });
}

#[test]
fn parallel_steps_get_their_answers() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "parallel", "3").await;
        assert_eq!(rig.output(run).await, "19");
        rig.replays(run).await;
    });
}

#[test]
fn a_fan_out_of_hundreds_of_steps_ends_and_replays() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let run = rig.start("parallel", "fan_out", r#"{"n": 500}"#).await;
        let sum: u64 = (0..500_u64).map(|number| number * number).sum();
        assert_eq!(rig.output(run).await, sum.to_string());
        rig.replays(run).await;
    });
}

#[test]
fn effects_are_asked_before_and_answered_after() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "posts", r#"{"url": "http://world.test", "steps": 2, "requests": 2}"#).await;
        let sum: u64 = ["/step/0/0", "/step/0/1", "/step/1/0", "/step/1/1"].map(number_of).iter().sum();
        assert_eq!(rig.output(run).await, sum.to_string());
        let asked = rig.world.asked();
        assert_eq!(asked.len(), 4);
        let mut keys: Vec<_> = asked.iter().map(|contact| contact.key.clone().expect("a POST has a key")).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4, "each request has a key of its own");
        rig.replays(run).await;
    });
}

#[test]
fn a_failing_function_is_tried_again_until_it_succeeds() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "succeeds_at", "4").await;
        assert_eq!(rig.output(run).await, "4");
        let failed = rig.kinds(run).await.into_iter().filter(|kind| kind.starts_with("Failed")).count();
        assert_eq!(failed, 3);
        rig.replays(run).await;
    });
}

#[test]
fn a_permanent_failure_is_not_tried_again() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "fails_for_good", "null").await;
        let failure = rig.failure(run).await;
        assert_eq!(failure.code, "NO_WAY");
        assert_eq!(failure.details.expect("details").get(), r#"{"reason":7}"#);
        assert!(!rig.kinds(run).await.iter().any(|kind| kind.starts_with("Failed")));
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_over_its_timeout_fails_and_the_next_one_begins() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.be_silent(true);
        let run = rig.start("effects", "times_out_once", r#""http://world.test""#).await;
        assert_eq!(rig.output(run).await, "2");
        let entries = rig.entries(run).await;
        let failed = entries.iter().find_map(|entry| match &entry.kind {
            Kind::Failed(failed) => Some(trackway_replay::Failure::from_value(&failed.failure).code),
            _ => None,
        });
        assert_eq!(failed.as_deref(), Some("TIMEOUT"));
        rig.replays(run).await;
    });
}

#[test]
fn a_crashed_attempt_repeats_only_the_effect_without_an_answer() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.take(Duration::from_secs(10));
        let run = rig.start("effects", "posts", r#"{"url": "http://world.test", "steps": 1, "requests": 3}"#).await;
        // The first is answered after 10 s, the second is under way at 15 s.
        tokio::time::sleep(Duration::from_secs(15)).await;
        let before = rig.world.asked();
        assert_eq!(before.len(), 2);
        let rig = rig.crash().await;
        rig.world.forget();
        let sum: u64 = ["/step/0/0", "/step/0/1", "/step/0/2"].map(number_of).iter().sum();
        assert_eq!(rig.output(run).await, sum.to_string());
        let after = rig.world.asked();
        assert_eq!(after.len(), 2, "the answered one was not asked again: {after:?}");
        assert_eq!(after[0], before[1], "the open one is repeated under the same key");
        assert!(rig.kinds(run).await.contains(&"AttemptResumed 1.1".to_owned()));
        rig.replays(run).await;
    });
}

#[test]
fn the_loser_of_a_race_in_a_function_is_forgotten() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        let run = rig.start("effects", "races", r#"["http://world.test/a", "http://world.test/b"]"#).await;
        let winner = rig.output(run).await;
        assert!(["/a", "/b"].map(|path| format!("\"{}\"", number_of(path))).contains(&winner), "{winner}");
        rig.replays(run).await;
    });
}

#[test]
fn an_idempotency_key_starts_one_run() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("parallel").await;
        let (first, existing) = rig.start_keyed("parallel", "parallel", "3", Some("k")).await.expect("started");
        assert!(!existing);
        let (second, existing) = rig.start_keyed("parallel", "parallel", "3", Some("k")).await.expect("found");
        assert!(existing);
        assert_eq!(first, second);
        let conflict = rig.start_keyed("parallel", "parallel", "4", Some("k")).await.expect_err("another request");
        assert_eq!(conflict.code, trackway::Code::KeyConflict);
        // Two at once, neither of which can see the other's frame.
        let (a, b) = tokio::join!(
            rig.start_keyed("parallel", "parallel", "5", Some("l")),
            rig.start_keyed("parallel", "parallel", "5", Some("l"))
        );
        assert_eq!(a.expect("one").0, b.expect("the same").0);
    });
}

#[test]
fn values_of_many_sizes_cross_unchanged() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("values").await;
        for bytes in [2, 500, 600, 32 << 10, (32 << 10) + 1, 100_000, 3 << 20] {
            let run = rig.start("values", "fan", &format!(r#"{{"bytes": {bytes}, "steps": 3}}"#)).await;
            assert_eq!(rig.output(run).await, format!("[{bytes},{bytes},{bytes}]"));
            rig.replays(run).await;
            let run = rig.start("values", "large_result", &format!(r#"{{"bytes": {bytes}}}"#)).await;
            assert_eq!(rig.output(run).await.len(), bytes);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_value_over_the_limit_is_refused_and_the_run_goes_on() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("values").await;
        let over = (16 << 20) + 1;
        for workflow in ["fan", "large_output", "large_result"] {
            let run = rig.start("values", workflow, &format!(r#"{{"bytes": {over}}}"#)).await;
            assert_eq!(rig.failure(run).await.code, "TOO_LARGE", "{workflow}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_drained_worker_leaves_its_runs_to_the_next_one() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.take(Duration::from_secs(10));
        let run = rig.start("effects", "posts", r#"{"url": "http://world.test", "steps": 2, "requests": 2}"#).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.worker().drain(Duration::from_secs(60)).await.expect("storage takes everything");
        let answered = rig.kinds(run).await.iter().filter(|kind| kind.starts_with("EffectAnswered")).count();
        assert_eq!(answered, 1, "the effect in flight came to its end: {:?}", rig.kinds(run).await);
        let rig = rig.crash().await;
        rig.ended(run).await;
        assert_eq!(rig.world.asked().len(), 4, "nothing was asked twice");
        assert_eq!(rig.head(run).await.status, Status::Succeeded);
        rig.replays(run).await;
    });
}
