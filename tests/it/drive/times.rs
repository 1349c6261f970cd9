//! By when a step has begun and is answered: times of the wall, on record, whatever the step is at.

use std::sync::Arc;
use std::time::Duration;
use trackway::worker::Options;
use trackway_replay::{Kind, Status, Timestamp, Waiting, code};
use trackway_storage::{InboxBody, MemoryStorage, RunKey, Sent};

use crate::rig::{Rig, in_virtual_time};

const HOUR: Duration = Duration::from_secs(3_600);

fn in_time(extra: &str) -> String {
    format!(r#"{{"url": "http://world.test"{extra}}}"#)
}

async fn hurries(rig: &Rig, extra: &str) -> RunKey {
    rig.deploy("timing").await;
    rig.start("timing", "hurries", &in_time(extra)).await
}

/// How long after the step was asked for each attempt of it began, and when it was answered.
async fn times(rig: &Rig, run: RunKey) -> (Vec<u128>, u128) {
    let entries = rig.entries(run).await;
    let at = |wanted: fn(&Kind) -> bool| -> Vec<Timestamp> {
        entries.iter().filter(|entry| wanted(&entry.kind)).map(|entry| entry.time).collect()
    };
    let asked = at(|kind| matches!(kind, Kind::Asked(_)))[0];
    let begun = at(|kind| matches!(kind, Kind::AttemptStarted(_)));
    let answered = at(|kind| matches!(kind, Kind::Answered(_)))[0];
    (begun.into_iter().map(|time| time.since(asked).as_millis()).collect(), answered.since(asked).as_millis())
}

#[test]
fn a_step_that_waits_for_the_world_fails_when_its_time_is_over() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.be_silent(true);
        let run = hurries(&rig, r#", "close_s": 30"#).await;
        assert_eq!(rig.output(run).await, format!("{:?}", code::CLOSE_TIMEOUT));
        assert_eq!(times(&rig, run).await, (vec![0], 30_000));
        assert_eq!(rig.kinds(run).await[3], "StepTimed 1", "{:?}", rig.kinds(run).await);
        rig.replays(run).await;
    });
}

#[test]
fn no_attempt_is_planned_that_would_begin_when_the_step_is_over() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.script("/page", &[500; 20]);
        let run = hurries(&rig, r#", "close_s": 4"#).await;
        assert_eq!(rig.output(run).await, r#""HTTP_STATUS""#, "what the last attempt said");
        assert_eq!(times(&rig, run).await, (vec![0, 1_000, 2_000, 3_000], 3_000));
        rig.replays(run).await;
    });
}

#[test]
fn what_is_answered_in_time_leaves_no_timer() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("timing").await;
        let run = rig.start("timing", "tarries", "5").await;
        let head = rig.until(run, |head| head.status == Status::Sleeping && head.steps == 2).await;
        assert_eq!(head.due.map(|due| due.since(head.started).as_secs()), Some(605));
        assert_eq!(rig.output(run).await, r#""1""#);
        let late = rig.start("timing", "tarries", "11").await;
        assert_eq!(rig.output(late).await, format!("{:?}", code::CLOSE_TIMEOUT), "as the function says");
        rig.replays(late).await;
    });
}

#[test]
fn time_passes_while_the_host_is_down() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.be_silent(true);
        let run = hurries(&rig, r#", "close_s": 60"#).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        rig.world.be_silent(false);
        let rig = rig.crash_for(HOUR).await;
        assert_eq!(rig.output(run).await, format!("{:?}", code::CLOSE_TIMEOUT));
        assert_eq!(rig.world.asked().len(), 1, "the world is not asked for what nobody waits for");
        rig.replays(run).await;
    });
}

#[test]
fn time_passes_between_attempts_while_somebody_holds_the_run() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.script("/page", &[500; 20]);
        let run = hurries(&rig, r#", "close_s": 60"#).await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(rig.send(run, InboxBody::Pause { reason: "".into() }).await, Sent::Delivered);
        tokio::time::sleep(HOUR).await;
        assert_eq!(rig.head(run).await.status, Status::Paused);
        assert_eq!(rig.send(run, InboxBody::Resume).await, Sent::Delivered);
        assert_eq!(rig.output(run).await, format!("{:?}", code::CLOSE_TIMEOUT));
        assert_eq!(times(&rig, run).await.0, [0, 1_000, 2_000]);
        rig.replays(run).await;
    });
}

#[test]
fn a_person_is_waited_for_as_long_as_there_is_time() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.script("/page", &[500; 20]);
        let run = hurries(&rig, r#", "close_s": 3600, "park": true"#).await;
        let parked = |head: &trackway_replay::Head| head.waiting == Some(Waiting::Retry) && head.steps == 1;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let head = rig.until(run, parked).await;
        assert_eq!(head.due.map(|due| due.since(head.started)), Some(HOUR));
        assert!(rig.help(run, None).await);
        assert_eq!(rig.output(run).await, format!("{:?}", code::CLOSE_TIMEOUT));
        let (begun, answered) = times(&rig, run).await;
        assert_eq!((begun.len(), answered), (4, 3_600_000), "a person gives attempts, not time");
        rig.replays(run).await;
    });
}

#[test]
fn a_step_that_gets_no_place_to_begin_in_time_fails() {
    in_virtual_time(async {
        let options = Options { attempts_max: 1, ..Options::default() };
        let rig = Rig::with(Arc::new(MemoryStorage::new()), Arc::default(), options).await;
        rig.world.be_silent(true);
        let first = hurries(&rig, r#", "start_s": 5, "close_s": 60"#).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = hurries(&rig, r#", "start_s": 5"#).await;
        assert_eq!(rig.output(second).await, format!("{:?}", code::START_TIMEOUT));
        assert_eq!(times(&rig, second).await, (vec![], 5_000));
        assert_eq!(rig.output(first).await, format!("{:?}", code::CLOSE_TIMEOUT), "it had begun");
        assert_eq!(times(&rig, first).await, (vec![0], 60_000));
        rig.replays(second).await;
    });
}

#[test]
fn a_cancel_that_came_before_the_time_was_over_counts() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.be_silent(true);
        let run = hurries(&rig, r#", "close_s": 60"#).await;
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        let rig = rig.crash_for(HOUR).await;
        assert_eq!(rig.output(run).await, format!("{:?}", code::CANCELLED));
        let kinds = rig.kinds(run).await;
        let place = |wanted: &str| kinds.iter().position(|kind| kind == wanted);
        assert!(place("CancelReceived") < place("Answered 1"), "{kinds:?}");
        rig.replays(run).await;
    });
}

#[test]
fn a_clock_that_is_set_back_moves_no_deadline_and_no_time_in_the_journal() {
    in_virtual_time(async {
        for crashes in [false, true] {
            let rig = Rig::new().await;
            rig.world.be_silent(true);
            let run = hurries(&rig, r#", "close_s": 60"#).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            let passed = tokio::time::Instant::now();
            rig.clock.set_back(HOUR);
            let rig = if crashes { rig.crash().await } else { rig };
            assert_eq!(rig.output(run).await, format!("{:?}", code::CLOSE_TIMEOUT));
            assert_eq!(times(&rig, run).await.1, 60_000, "by the clock");
            assert!((3_630..3_700).contains(&passed.elapsed().as_secs()), "{:?}", passed.elapsed());
            rig.replays(run).await;
        }
    });
}
