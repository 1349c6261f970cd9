//! Places for attempts are shared: neither many calls nor calls that only wait keep another run waiting.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use trackway::worker::Options;
use trackway_replay::Kind;
use trackway_storage::{MemoryStorage, RunKey};

use crate::rig::{Rig, in_virtual_time};

async fn rig_with(attempts_max: usize) -> Rig {
    let options = Options { attempts_max, ..Options::default() };
    let rig = Rig::with(Arc::new(MemoryStorage::new()), Arc::default(), options).await;
    rig.deploy("raw").await;
    rig
}

/// Many calls of a function with this script, all at once.
async fn start_wide(rig: &Rig, calls: usize, function: Value) -> RunKey {
    let ops = json!([
        ["repeat", calls, [["call", "script", { "ops": function }]]], ["repeat", calls, [["next"]]], ["return", "1"]
    ]);
    rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await
}

/// How long a run of a few quick steps takes from its start.
async fn quick_run(rig: &Rig) -> Duration {
    let step = json!([["call", "script", { "ops": [["return", "2"]] }], ["next"]]);
    let run = rig.start("raw", "script", &json!({ "ops": [["repeat", 5, step], ["return", "3"]] }).to_string()).await;
    assert_eq!(rig.output(run).await, "3");
    took(rig, run).await
}

async fn took(rig: &Rig, run: RunKey) -> Duration {
    let entries = rig.entries(run).await;
    entries[entries.len() - 1].time.since(entries[0].time)
}

#[test]
fn a_wide_run_leaves_places_to_others() {
    in_virtual_time(async {
        let rig = rig_with(8).await;
        rig.world.take(Duration::from_secs(60));
        let wide = start_wide(&rig, 40, json!([["get", "http://world.test/a"], ["next"], ["return", "1"]])).await;
        let other = start_wide(&rig, 40, json!([["get", "http://world.test/b"], ["next"], ["return", "1"]])).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let quick = quick_run(&rig).await;
        assert!(quick < Duration::from_secs(1), "it waited {quick:?} for the places of others");
        for run in [wide, other] {
            assert_eq!(rig.output(run).await, "1");
            rig.replays(run).await;
        }
    });
}

#[test]
fn functions_that_sleep_leave_their_places_to_others() {
    in_virtual_time(async {
        let rig = rig_with(4).await;
        let hour = 3_600_000;
        // Calls that wait for a place keep the run in hand, so that parking it helps nobody.
        rig.world.take(Duration::from_secs(1_800));
        let naps = json!([["sleep", hour], ["next"], ["sleep", 1_000], ["next"], ["return", "1"]]);
        let wide = start_wide(&rig, 30, naps).await;
        let slow = start_wide(&rig, 1, json!([["get", "http://world.test/a"], ["next"], ["return", "1"]])).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let quick = quick_run(&rig).await;
        assert!(quick < Duration::from_secs(1), "it waited {quick:?} for those that sleep");
        assert_eq!(rig.output(wide).await, "1");
        // All of them slept at the same time, although there are four places.
        let took = took(&rig, wide).await;
        assert!(took < Duration::from_millis(hour + 60_000), "{took:?}");
        let started =
            rig.entries(wide).await.iter().filter(|entry| matches!(entry.kind, Kind::AttemptStarted(_))).count();
        assert_eq!(started, 30, "each was made once");
        assert_eq!(rig.output(slow).await, "1");
        for run in [wide, slow] {
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_sleeping_function_that_gave_its_place_up_can_be_cancelled_and_forgotten() {
    in_virtual_time(async {
        let rig = rig_with(2).await;
        let nap = json!({ "ops": [["sleep", 3_600_000], ["next"], ["return", "1"]] });
        let call = json!(["call", "script", nap]);
        let ops = json!([
            ["repeat", 6, [call]],
            ["sleep", 60_000],
            ["next"],
            ["cancel", 1],
            ["forget", 2],
            ["cancel", 3],
            ["forget", 4],
            ["cancel", 5],
            ["forget", 6],
            ["next"],
            ["next"],
            ["next"],
            ["return", "4"]
        ]);
        let run = rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await;
        assert_eq!(rig.output(run).await, "4");
        assert!(took(&rig, run).await < Duration::from_secs(70));
        rig.replays(run).await;
    });
}
