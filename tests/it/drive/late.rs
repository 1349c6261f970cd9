//! What comes too late, in the middle of an end, or by a clock that is wrong: none of it changes what a run
//! was told, and every journal stays one that replays.

use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Entry, Kind, Limits, MessageId, Status, StepId, Value, code};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use crate::rig::{Rig, in_virtual_time};

const HOUR: Duration = Duration::from_secs(3_600);

async fn started(guest: &str, workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy(guest).await;
    let run = rig.start(guest, workflow, input).await;
    (rig, run)
}

#[test]
fn a_clock_that_is_set_back_an_hour_loses_no_timer() {
    in_virtual_time(async {
        for (guest, workflow, input, output) in [
            ("sleeper", "naps", "[3000, 3000]", "2"),
            ("mending", "tries", r#"{"url": "", "until": 4, "how": "fixed"}"#, "4"),
            ("signals", "asks", "\"pay\"", "\"nobody\""),
        ] {
            for crashes in [false, true] {
                let (rig, run) = started(guest, workflow, input).await;
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                rig.clock.set_back(HOUR);
                let rig = if crashes { rig.crash().await } else { rig };
                assert_eq!(rig.output(run).await, output);
                let entries = rig.entries(run).await;
                assert!(entries.windows(2).all(|two| two[0].time <= two[1].time), "{workflow}: time goes back");
                rig.replays(run).await;
            }
        }
    });
}

/// How long the run had been held when the host broke its function off.
async fn broken_off(rig: &Rig, run: RunKey, code: &str) -> Duration {
    let begun = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    rig.clock.set_back(HOUR);
    while !format!("{:?}", rig.entries(run).await).contains(code) {
        assert!(begun.elapsed() < HOUR / 60, "{:?}", rig.kinds(run).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[test]
fn a_clock_that_is_set_back_gives_no_function_more_time() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.world.be_silent(true);
        rig.deploy("raw").await;
        let script = json!({ "ops": [
            ["call", "script", { "ops": [["get", "http://world.test/"], ["next"]] }, r#"{"timeout_ms": 5000}"#],
            ["next"],
        ] });
        let run = rig.start("raw", "script", &script.to_string()).await;
        let held = broken_off(&rig, run, code::TIMEOUT).await;
        assert!((5_000..5_200).contains(&held.as_millis()), "{held:?}");
        rig.ended(run).await;
        rig.replays(run).await;

        rig.deploy("timing").await;
        let run = rig.start("timing", "imports", r#"{"url": "http://world.test", "pages": 10}"#).await;
        let silent = broken_off(&rig, run, code::HEARTBEAT_TIMEOUT).await;
        assert!((5_000..5_200).contains(&silent.as_millis()), "{silent:?}");
    });
}

fn too_many() -> Limits {
    Limits { steps: 3, ..Limits::default() }
}

/// The limits are those that the run began under, whatever the host allows by now.
#[test]
fn a_limit_that_was_raised_since_is_the_old_one_for_the_run() {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy("raw").await;
        let script = r#"{"ops": [["repeat", 5, [["sleep", 1], ["next"]]]]}"#;
        let run = whole.start_under(too_many(), "raw", "script", script).await;
        assert_eq!(whole.failure(run).await.code, "TOO_MANY");
        whole.replays(run).await;
        let entries = whole.entries(run).await;
        for kept in 1..entries.len() {
            let cut = whole.cut(run, kept).await;
            assert_eq!(cut.failure(run).await.code, "TOO_MANY", "cut after {kept}");
            assert_eq!(cut.head(run).await.steps, too_many().steps);
            cut.replays(run).await;
        }
        let free = whole.start_under(Limits::default(), "raw", "script", script).await;
        assert_eq!(whole.ended(free).await.status, Status::Succeeded, "a new run has the new limit");
    });
}

fn approved() -> InboxBody {
    let (answer, by) = (Value::inline(r#"{"approve":true}"#), Some("ann".into()));
    InboxBody::Answer { step: StepId(1), request: MessageId(77), answer, by }
}

/// Both come while the host is down.
#[test]
fn of_an_answer_and_a_cancel_the_first_counts() {
    in_virtual_time(async {
        let cancel = || InboxBody::Cancel { reason: "enough".into() };
        // A workflow that was answered goes on to its next step, and hears of the cancel there.
        for (bodies, steps) in [([cancel(), approved()], 1), ([approved(), cancel()], 2)] {
            let (rig, run) = started("signals", "asks", "\"pay\"").await;
            rig.until(run, |head| head.status == Status::Waiting).await;
            let asked = rig.head(run).await.changed;
            let storage = Arc::new(rig.storage.crash());
            for (number, body) in bodies.into_iter().enumerate() {
                let arrived = asked + Duration::from_secs(number as u64 + 1);
                let item = InboxItem { message: MessageId(number as u128 + 1), arrived, body };
                assert_eq!(storage.send(run, item).await.expect("sent"), Sent::Delivered);
            }
            let rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
            let head = rig.ended(run).await;
            assert_eq!((head.status, head.steps), (Status::Cancelled, steps), "{:?}", rig.kinds(run).await);
            rig.replays(run).await;
        }
    });
}

#[test]
fn an_answer_of_a_person_or_the_world_after_the_end_is_not_taken() {
    in_virtual_time(async {
        let (rig, run) = started("signals", "asks", "\"pay\"").await;
        rig.until(run, |head| head.status == Status::Waiting).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        assert_eq!(rig.send_as(run, 9, approved()).await, Sent::Ended(Status::Cancelled));

        let rig = Rig::new().await;
        rig.deploy("effects").await;
        rig.world.take(Duration::from_secs(10));
        let run = rig.start("effects", "posts", r#"{"url": "http://world.test"}"#).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        let entries = rig.entries(run).await;
        tokio::time::sleep(HOUR).await;
        assert_eq!(rig.entries(run).await, entries);
        assert!(!entries.iter().any(|entry| matches!(entry.kind, Kind::EffectAnswered(_))));
        rig.replays(run).await;
    });
}

fn undone(entries: &[Entry]) -> usize {
    let answered = |entry: &&Entry| matches!(&entry.kind, Kind::Answered(answered) if answered.step.0 > 2);
    entries.iter().filter(answered).count()
}

#[test]
fn what_is_being_undone_is_undone_in_spite_of_a_cancel_and_of_crashes_after_it() {
    in_virtual_time(async {
        let (rig, run) = started("cancelled", "undoes", "null").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        let status = rig.ended(run).await.status;
        let entries = rig.entries(run).await;
        assert_eq!(undone(&entries), 2, "{:?}", rig.kinds(run).await);
        rig.replays(run).await;
        let received = entries.iter().position(|entry| matches!(entry.kind, Kind::CancelReceived(_)));
        let received = received.expect("the cancel is on record");
        assert_eq!(undone(&entries[..received]), 0, "it came before anything was undone");
        for kept in received + 1..entries.len() {
            let cut = rig.cut(run, kept).await;
            assert_eq!(cut.ended(run).await.status, status, "cut after {kept}");
            assert_eq!(undone(&cut.entries(run).await), 2, "cut after {kept}");
            cut.replays(run).await;
        }
    });
}

#[test]
fn undoing_takes_no_longer_than_there_is_time_to_end() {
    in_virtual_time(async {
        for (grace_ms, all) in [(10_000, false), (60_000, true)] {
            let (rig, run) = started("cancelled", "undoes", "null").await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let body = InboxBody::CancelWithin { reason: "enough".into(), grace_ms };
            assert_eq!(rig.send(run, body).await, Sent::Delivered);
            rig.ended(run).await;
            assert_eq!(undone(&rig.entries(run).await) == 2, all);
            rig.replays(run).await;
        }
    });
}
