//! What guests compute that none of their commands tells of stands in the journal, once, also across crashes.

use serde_json::{Value, json};
use trackway_replay::{Entry, FuelUsed, Kind, Meter, Used};
use trackway_storage::RunKey;

use crate::rig::{Rig, in_virtual_time};

/// Rounds of a loop: far more fuel than is worth an entry.
const LONG: u64 = 1_000_000;

async fn started(ops: Value) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("raw").await;
    let run = rig.start("raw", "script", &json!({ "ops": ops }).to_string()).await;
    (rig, run)
}

fn noted(entries: &[Entry]) -> Vec<FuelUsed> {
    let of = |entry: &Entry| match &entry.kind {
        Kind::FuelUsed(used) => Some(used.clone()),
        _ => None,
    };
    entries.iter().filter_map(of).collect()
}

fn metered(entries: &[Entry]) -> u64 {
    let (mut meter, mut sum) = (Meter::default(), Used::default());
    entries.iter().for_each(|entry| sum.add(&meter.count(entry)));
    sum.fuel
}

#[test]
fn a_pure_function_that_computes_says_so_with_its_answer() {
    in_virtual_time(async {
        let call = |ops: Value| json!(["call", "script", { "ops": ops }]);
        let (rig, run) = started(json!([
            call(json!([["think", LONG], ["return", "1"]])),
            ["next"],
            call(json!([["return", "2"]])),
            ["next"],
            call(json!([["think", LONG], ["fail", "{\"code\":\"NO\",\"message\":\"\",\"retryable\":false}"]])),
            ["next"],
            ["return", "3"]
        ]))
        .await;
        assert_eq!(rig.output(run).await, "3");
        let entries = rig.entries(run).await;
        let noted = noted(&entries);
        let whose: Vec<_> = noted.iter().map(|used| used.attempt.map(|(step, number)| (step.0, number))).collect();
        assert_eq!(whose, [Some((1, 1)), Some((3, 1))], "the second one is not worth an entry");
        assert!(noted.iter().all(|used| used.fuel > LONG), "{noted:?}");
        for frame in rig.frames(run).await {
            assert!(
                !matches!(frame.last().map(|last| &last.kind), Some(Kind::FuelUsed(_))),
                "apart from its end: {frame:?}"
            );
        }
        assert!(metered(&entries) > 2 * LONG);
        rig.replays(run).await;
    });
}

#[test]
fn what_a_workflow_computes_between_two_waits_is_noted_once_wherever_it_is_cut() {
    in_virtual_time(async {
        let (rig, run) = started(json!([
            ["sleep", 1_000],
            ["sleep", 2_000],
            ["think", LONG],
            ["next"],
            ["think", LONG],
            ["next"],
            ["think", LONG],
            ["return", "3"]
        ]))
        .await;
        assert_eq!(rig.output(run).await, "3");
        let whole = rig.entries(run).await;
        let undisturbed = noted(&whole);
        assert_eq!(undisturbed.iter().map(|used| used.attempt).collect::<Vec<_>>(), [None, None]);
        for cut in 1..=whole.len() {
            let again = rig.cut(run, cut).await;
            assert_eq!(again.output(run).await, "3");
            let entries = again.entries(run).await;
            assert_eq!(noted(&entries), undisturbed, "cut at {cut}");
            assert_eq!(metered(&entries), metered(&whole), "cut at {cut}");
            again.replays(run).await;
        }
    });
}
