//! Guests that use the imports in odd orders. Whatever they do, their run ends, replays identical and
//! goes on from any crash; nothing else suffers.

use serde_json::{Value, json};
use std::time::Duration;
use trackway_replay::{Digest, Status};
use trackway_storage::{RunKey, Sent};

use crate::rig::{Rig, in_virtual_time};

fn script(ops: &Value) -> String {
    json!({ "ops": ops }).to_string()
}

/// As steps of a workflow, and as effects of a function.
fn in_both_roles(ops: Value, told: Value) {
    in_workflow(ops.clone(), told.clone());
    in_workflow(json!([["call", "script", { "ops": ops }], ["next"]]), json!([1, ["succeeded", 1, told.to_string()]]));
}

/// What the script was told, alive and after a crash at every entry.
fn in_workflow(ops: Value, told: Value) {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = rig.start("raw", "script", &script(&ops)).await;
        let output: Value = serde_json::from_str(&rig.output(run).await).expect("JSON");
        assert_eq!(output, told);
        rig.replays(run).await;
        goes_on_from_everywhere(&rig, run, |end| {
            assert_eq!(serde_json::from_str::<Value>(end).expect("JSON"), told);
        })
        .await;
    });
}

async fn goes_on_from_everywhere(whole: &Rig, run: RunKey, check: impl Fn(&str)) {
    let journal = whole.entries(run).await;
    for kept in 1..journal.len() {
        let rig = whole.cut(run, kept).await;
        check(&rig.output(run).await);
        assert_eq!(rig.entries(run).await[..kept], journal[..kept], "what stood was changed");
        rig.replays(run).await;
    }
}

fn cancelled(id: u32, what: &str) -> Value {
    json!(["failed", id, format!(r#"{{"code":"CANCELLED","message":"{what}","retryable":false}}"#)])
}

fn nothing_open() -> Value {
    let body = r#"{"code":"NOTHING_OPEN","message":"`next` was called with nothing open: start something first","retryable":false}"#;
    json!(["failed", 0, body])
}

const STEP: &str = "the workflow cancelled this step";

#[test]
fn ids_that_nobody_gave_are_nobodys() {
    let ops = json!([
        ["cancel", 0],
        ["forget", 0],
        ["cancel", 1],
        ["forget", 1],
        ["cancel", u32::MAX],
        ["forget", u32::MAX],
        ["sleep", 1],
        ["cancel", 2],
        ["forget", 2],
        ["next"]
    ]);
    in_both_roles(ops, json!([1, ["succeeded", 1, "null"]]));
}

#[test]
fn what_is_closed_stays_closed() {
    let ops = json!([
        ["sleep", 60_000],
        ["forget", 1],
        ["forget", 1],
        ["cancel", 1],
        ["sleep", 1],
        ["next"],
        ["cancel", 2],
        ["forget", 2],
        ["forget", 2],
        ["sleep", 2],
        ["next"]
    ]);
    in_both_roles(ops, json!([1, 2, ["succeeded", 2, "null"], 3, ["succeeded", 3, "null"]]));
}

#[test]
fn waiting_for_nothing_fails_at_once_and_changes_nothing() {
    let ops = json!([
        ["next"],
        ["next"],
        ["sleep", 1],
        ["next"],
        ["next"],
        ["sleep", 60_000],
        ["forget", 2],
        ["next"],
        ["cancel", 2],
        ["sleep", 3],
        ["next"]
    ]);
    let slept = |id: u32| json!(["succeeded", id, "null"]);
    let told = json!([nothing_open(), nothing_open(), 1, slept(1), nothing_open(), 2, nothing_open(), 3, slept(3)]);
    in_both_roles(ops, told);
}

#[test]
fn a_cancel_given_again_and_again_completes_once() {
    let ops =
        json!([["sleep", 60_000], ["cancel", 1], ["cancel", 1], ["cancel", 1], ["next"], ["cancel", 1], ["next"]]);
    in_workflow(ops, json!([1, cancelled(1, STEP), nothing_open()]));
    let ops = json!([["sleep", 60_000], ["cancel", 1], ["forget", 1], ["next"]]);
    in_both_roles(ops, json!([1, nothing_open()]));
}

#[test]
fn what_is_forgotten_or_cancelled_beside_others_leaves_their_order_alone() {
    // The second sleep is over long after the first one.
    let ops = json!([
        ["sleep", 1],
        ["sleep", 2],
        ["sleep", 50],
        ["forget", 2],
        ["next"],
        ["next"],
        ["sleep", 60_000],
        ["sleep", 1],
        ["forget", 5],
        ["cancel", 4],
        ["next"]
    ]);
    let told = json!([1, 2, 3, ["succeeded", 1, "null"], ["succeeded", 3, "null"], 4, 5, cancelled(4, STEP)]);
    in_workflow(ops, told);
}

#[test]
fn calls_are_cancelled_and_forgotten_before_they_began() {
    let slow = json!({ "ops": [["get", "http://world.test/a"], ["sleep", 60_000], ["next"], ["next"]] });
    let ops =
        json!([["call", "script", slow], ["cancel", 1], ["call", "script", slow], ["forget", 2], ["next"], ["next"]]);
    in_workflow(ops, json!([1, 2, cancelled(1, STEP), nothing_open()]));
}

#[test]
fn a_sleep_longer_than_time_can_be_left() {
    let longest = u64::MAX;
    let ops = json!([["sleep", longest], ["sleep", 1], ["next"], ["forget", 1], ["sleep", longest], ["cancel", 3]]);
    in_both_roles(ops, json!([1, 2, ["succeeded", 2, "null"], 3]));
}

#[test]
fn what_is_open_at_the_end_is_forgotten() {
    let slow = json!({ "ops": [["get", "http://world.test/a"], ["sleep", 60_000], ["return", "1"]] });
    let ops = json!([["call", "script", slow], ["sleep", 60_000], ["sleep", 1], ["next"], ["return", "5"]]);
    in_workflow(ops, json!(5));
    let ops = json!([["call", "script", slow], ["next"]]);
    in_workflow(ops, json!([1, ["succeeded", 1, "1"]]));
}

#[test]
fn names_and_texts_of_any_kind_are_refused_by_an_answer() {
    let long = "f".repeat(1_000);
    let ops = json!([
        ["call", "", null],
        ["next"],
        ["call", long, null, "", long],
        ["next"],
        ["call", "script", {}, "{"],
        ["next"],
        ["call", "script", {}, r#"{"label":7}"#],
        ["next"],
        ["sleep", 1, "x".repeat(5_000)],
        ["next"],
        ["log", "loud", "\u{0}", "no JSON"],
        ["log", "", "", ""],
        ["random", 0]
    ]);
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let run = rig.start("raw", "script", &script(&ops)).await;
        let told: Vec<Value> = serde_json::from_str(&rig.output(run).await).expect("JSON");
        let codes: Vec<&str> = told.iter().filter_map(|told| told[2].as_str()).collect();
        let wanted = ["UNKNOWN_FUNCTION", "UNKNOWN_FUNCTION", "BAD_OPTIONS", "BAD_OPTIONS", "BAD_OPTIONS"];
        assert_eq!(codes.len(), wanted.len(), "{told:?}");
        for (body, code) in codes.iter().zip(wanted) {
            assert!(body.contains(code), "{body}");
        }
        rig.replays(run).await;
        goes_on_from_everywhere(&rig, run, |_| {}).await;
    });
}

/// Enough to meet each operation in each state; more are a matter of a longer run.
const SEEDS: u64 = 60;

#[test]
fn scripts_of_chance_end_and_replay_whatever_happens_meanwhile() {
    for seed in 0..SEEDS {
        in_virtual_time(async move {
            let mut dice = Dice(seed);
            let ops = workflow_of_chance(&mut dice);
            let rig = Rig::new().await;
            rig.deploy("raw").await;
            rig.world.take(Duration::from_millis(dice.below(30)));
            let run = rig.start("raw", "script", &script(&ops)).await;
            if dice.below(2) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
                let sent = rig.cancel(run).await;
                assert!(matches!(sent, Sent::Delivered | Sent::Ended(_)), "{sent:?}");
            }
            let ended = rig.ended(run).await;
            assert_ne!(ended.status, Status::Stuck, "seed {seed}: {ended:?}");
            rig.replays(run).await;
            let journal = rig.entries(run).await;
            for _ in 0..3 {
                let kept = 1 + dice.below(journal.len() as u64 - 1) as usize;
                let again = rig.cut(run, kept).await;
                let ended = again.ended(run).await;
                assert_ne!(ended.status, Status::Stuck, "seed {seed} cut after {kept}: {ended:?}");
                assert_eq!(again.entries(run).await[..kept], journal[..kept], "seed {seed}");
                again.replays(run).await;
            }
        });
    }
}

/// The same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1 << 32);
        let digest = Digest::of(&self.0.to_le_bytes());
        u64::from_le_bytes(digest.0[..8].try_into().expect("eight of them")) % bound.max(1)
    }
}

fn workflow_of_chance(dice: &mut Dice) -> Value {
    let ops = (0..4 + dice.below(14)).map(|_| match dice.below(9) {
        0 | 1 => {
            let ops = function_of_chance(dice);
            json!(["call", "script", { "ops": ops }])
        }
        _ => of_both(dice),
    });
    ops.collect()
}

fn function_of_chance(dice: &mut Dice) -> Value {
    let ops = (0..dice.below(10)).map(|_| match dice.below(8) {
        0 | 1 => json!(["get", format!("http://world.test/{}", dice.below(3))]),
        _ => of_both(dice),
    });
    ops.collect()
}

fn of_both(dice: &mut Dice) -> Value {
    match dice.below(12) {
        0..=2 => {
            let durations_ms = [0, 1, 5, 40, 90_000];
            json!(["sleep", durations_ms[dice.below(5) as usize]])
        }
        3..=6 => json!(["next"]),
        7 | 8 => json!(["forget", dice.below(6)]),
        9 | 10 => json!(["cancel", dice.below(6)]),
        _ => json!(["log", "info", "here", ""]),
    }
}
