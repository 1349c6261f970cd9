//! What the effects of an attempt belong to: each span stands in the journal once, whatever happens to the run, and
//! the trace is a tree of them.

use serde_json::{Value as Json, json};
use trackway_replay::trace::trace;
use trackway_replay::{Entry, Kind, Limits, Outcome, Value, code};
use trackway_storage::RunKey;

use super::crash::survives_a_crash_after_every_entry;
use crate::rig::{Rig, in_virtual_time};

/// Calls a function that does this.
fn calls(ops: &Json, options: &Json) -> String {
    let input = json!({ "ops": ops });
    json!({ "ops": [["call", "script", input, options.to_string()], ["next"]] }).to_string()
}

/// An agent that uses two tools and waits for the world in each, and once by itself.
fn agent() -> Json {
    json!([
        ["begin", "agent", "researcher", { "question": "why" }],
        ["begin", "tool", "search", { "words": "x".repeat(2_000) }, r#"{"span":1}"#],
        ["get", "http://world.test/search", r#"{"span":2}"#],
        ["next"],
        ["end", 2, { "found": "y".repeat(2_000) }],
        ["sleep", 50, r#"{"span":1}"#],
        ["next"],
        ["begin", "tool", "read", "page", r#"{"span":1,"label":"the first page"}"#],
        ["get", "http://world.test/read", r#"{"span":5}"#],
        ["next"],
        ["end", 5, { "code": "NOT_FOUND", "message": "no such page", "retryable": false }, "failed"],
        ["end", 5, "again"],
        ["end", 3, "an effect"],
        ["end", 1, "because"],
        ["get", "http://world.test/after"],
        ["next"],
    ])
}

/// The same, and then it fails until its third attempt, which goes on with what it had done.
fn stubborn() -> (Json, Json) {
    let mut ops = agent();
    ops.as_array_mut().expect("a list").push(json!(["fail", "not yet"]));
    (ops, json!({ "retry": { "attempts": 3, "resume": true, "backoff_ms": 10 } }))
}

async fn started(input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("raw").await;
    let run = rig.start("raw", "script", input).await;
    (rig, run)
}

/// Each span and end of one, with its attempt.
fn told(entries: &[Entry]) -> Vec<String> {
    let told = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::SpanBegun(begun) => Some(format!("{} {} {}", begun.attempt, begun.kind.word(), begun.name)),
        Kind::SpanEnded(ended) => Some(format!("{} end {}", ended.attempt, ended.span)),
        _ => None,
    });
    told.collect()
}

/// Id, the row above, and status of each row below an attempt.
fn tree(entries: &[Entry]) -> Vec<String> {
    let trace = trace(entries);
    assert_eq!(trace.unplaced, []);
    let below = trace.rows.into_iter().filter(|row| row.depth() == 2);
    below.map(|row| format!("{} {} {}", row.id, row.parent.unwrap_or_default(), row.status.name())).collect()
}

#[test]
fn the_trace_is_a_tree_of_agents_tools_and_effects() {
    in_virtual_time(async {
        let (rig, run) = started(&calls(&agent(), &json!({}))).await;
        rig.output(run).await;
        let entries = rig.entries(run).await;
        assert_eq!(
            told(&entries),
            ["1 agent researcher", "1 tool search", "1 end 2", "1 tool read", "1 end 5", "1 end 1"]
        );
        let expected = [
            "1.1.1 1.1 succeeded",
            "1.1.2 1.1.1 succeeded",
            "1.1.3 1.1.2 succeeded",
            "1.1.4 1.1.1 succeeded",
            "1.1.5 1.1.1 failed",
            "1.1.6 1.1.5 succeeded",
            "1.1.7 1.1 succeeded",
        ];
        assert_eq!(tree(&entries), expected);
        let large = entries.iter().filter(|entry| match &entry.kind {
            Kind::SpanBegun(begun) => matches!(begun.input, Value::Stored { .. }),
            Kind::SpanEnded(ended) => matches!(ended.outcome, Outcome::Succeeded(Value::Stored { .. })),
            _ => false,
        });
        assert_eq!(large.count(), 2, "what is large stands beside the journal");
        rig.replays(run).await;
    });
}

#[test]
fn a_crash_after_any_entry_repeats_no_span_and_loses_none() {
    let (stubborn, retries) = stubborn();
    for input in [calls(&agent(), &json!({})), calls(&stubborn, &retries)] {
        survives_a_crash_after_every_entry("raw", "script", &input);
        in_virtual_time(async {
            let (whole, run) = started(&input).await;
            whole.ended(run).await;
            let journal = whole.entries(run).await;
            let expected = (told(&journal), tree(&journal));
            for kept in 1..journal.len() {
                let rig = whole.cut(run, kept).await;
                rig.ended(run).await;
                let again = rig.entries(run).await;
                assert_eq!((told(&again), tree(&again)), expected, "cut after {kept}");
            }
        });
    }
}

#[test]
fn an_attempt_that_goes_on_with_a_failed_one_is_still_within_its_spans() {
    in_virtual_time(async {
        let ops = json!([
            ["begin", "agent", "researcher", 1],
            ["begin", "tool", "search", 2, r#"{"span":1}"#],
            ["get", "http://world.test/a", r#"{"span":2}"#],
            ["next"],
            ["get", "http://world.test/b", r#"{"span":2}"#],
            ["next"],
            ["end", 2, 3],
            ["fail", "not yet"],
        ]);
        let options = json!({ "retry": { "attempts": 2, "resume": true, "backoff_ms": 10 } });
        let (rig, run) = started(&calls(&ops, &options)).await;
        rig.ended(run).await;
        let entries = rig.entries(run).await;
        assert_eq!(told(&entries), ["1 agent researcher", "1 tool search", "1 end 2", "2 end 2"]);
        let expected = [
            "1.1.1 1.1 aborted",
            "1.1.2 1.1.1 succeeded",
            "1.1.3 1.1.2 succeeded",
            "1.1.4 1.1.2 succeeded",
            // What came after the last answer is done again.
            "1.2.1 1.2 aborted",
            "1.2.2 1.2.1 succeeded",
            "1.2.4 1.2.2 succeeded",
        ];
        assert_eq!(tree(&entries), expected);
        rig.replays(run).await;
    });
}

#[test]
fn nothing_is_ever_delivered_for_a_span() {
    in_virtual_time(async {
        let ops = json!([
            ["begin", "tool", "search", 1],
            ["cancel", 1],
            ["forget", 1],
            ["next"],
            ["sleep", 5, ""],
            ["next"],
            ["end", 1, 2],
            ["next"],
        ]);
        let (rig, run) = started(&calls(&ops, &json!({}))).await;
        let output: Json = serde_json::from_str(&rig.output(run).await).expect("JSON");
        let told: Json = serde_json::from_str(output[1][2].as_str().expect("a body")).expect("what the function told");
        assert_eq!((&told[0], &told[2]), (&json!(1), &json!(2)), "one count for spans and effects");
        let kinds = [&told[1], &told[3], &told[4]].map(|told| (told[0].clone(), told[1].clone()));
        let nothing = (json!("failed"), json!(0));
        assert_eq!(kinds, [nothing.clone(), (json!("succeeded"), json!(2)), nothing], "{told}");
        assert!(told[1].to_string().contains(code::NOTHING_OPEN));
        assert_eq!(tree(&rig.entries(run).await)[0], "1.1.1 1.1 succeeded", "it was neither cancelled nor forgotten");
    });
}

#[test]
fn an_effect_belongs_to_no_span_but_an_open_one_of_its_attempt() {
    in_virtual_time(async {
        let ops = json!([
            ["begin", "tool", "search", 1],
            ["end", 1, 2],
            ["get", "http://world.test/a", r#"{"span":1}"#],
            ["next"],
            ["sleep", 1, r#"{"span":9}"#],
            ["next"],
            ["sleep", 1, r#"{"span":"x"}"#],
            ["next"],
        ]);
        let (rig, run) = started(&calls(&ops, &json!({}))).await;
        let output = rig.output(run).await;
        assert_eq!(output.matches(code::BAD_OPTIONS).count(), 3, "{output}");
        assert_eq!(rig.world.asked(), [], "nothing was sent");
        rig.replays(run).await;
    });
}

#[test]
fn what_is_no_span_ends_the_attempt() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        for (op, expected) in [
            (json!(["begin", "step", "search", 1]), code::BAD_REQUEST),
            (json!(["begin", "tool", "", 1]), code::BAD_REQUEST),
            (json!(["begin", "tool", "a b", 1]), code::BAD_REQUEST),
            (json!(["begin_with", "{"]), code::BAD_REQUEST),
            (json!(["begin", "tool", "search", 1, r#"{"span":1}"#]), code::BAD_OPTIONS),
            (json!(["begin", "tool", "search", 1, r#"{"of":1}"#]), code::BAD_OPTIONS),
        ] {
            let run = rig.start("raw", "script", &calls(&json!([op]), &json!({}))).await;
            let output = rig.output(run).await;
            assert!(output.contains(expected), "{op}: {output}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn spans_count_as_effects_of_their_attempt() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let limits = Limits { effects: 20, ..Limits::default() };
        let ops = json!([["repeat", 100, [["begin", "tool", "search", 1]]]]);
        let run = rig.start_under(limits.clone(), "raw", "script", &calls(&ops, &json!({}))).await;
        assert!(rig.output(run).await.contains(code::TOO_MANY));
        assert_eq!(told(&rig.entries(run).await).len(), 20);
        let ops = json!([["begin", "tool", "a", 1], ["end", 1, 2], ["begin", "tool", "b", 1], ["end", 2, 2]]);
        let within = Limits { effects: 4, ..limits.clone() };
        let run = rig.start_under(within, "raw", "script", &calls(&ops, &json!({}))).await;
        assert!(!rig.output(run).await.contains(code::TOO_MANY));
        let over = Limits { effects: 3, ..limits };
        let run = rig.start_under(over, "raw", "script", &calls(&ops, &json!({}))).await;
        assert!(rig.output(run).await.contains(code::TOO_MANY), "ends count too");
    });
}
