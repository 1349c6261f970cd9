use super::*;
use serde_json::{Value, json};
use trackway_replay::trace::Trace;

const ID: &str = "01k9zzzzzz0123456789abcdef";
const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const SECOND_US: u64 = 1_000_000;

fn plain() -> Look {
    Look { paint: Paint::Plain, width: None }
}

fn run(status: &str) -> Run {
    let run = json!({
        "id": ID, "workflow": "headlines", "deployment": "news", "component": DIGEST, "status": status,
        "started_at": "1970-01-01T00:00:00.000000Z", "changed_at": "1970-01-01T00:00:03.000000Z",
        "finished_at": "1970-01-01T00:00:03.250000Z", "steps": 2
    });
    serde_json::from_value(run).expect("a run as it goes over the wire")
}

/// A row with what differs from an ordinary one.
fn row(id: &str, what: Value, differs: Value) -> Value {
    let parent = id.rsplit_once('.').map(|(parent, _)| parent);
    let mut row = json!({
        "id": id, "parent": parent, "what": what, "status": "succeeded", "label": null, "at": null,
        "started_us": 0, "ended_us": SECOND_US, "queue_us": 0, "duration_us": SECOND_US, "input": null,
        "output": null, "failure": null, "cancel_asked_us": null, "positions": [1], "closed": 2
    });
    for (name, value) in differs.as_object().expect("an object") {
        row[name] = value.clone();
    }
    row
}

fn attempt(number: u32) -> Value {
    json!({ "attempt": { "number": number, "worker": "w", "resumed": [], "next_at_us": null } })
}

fn get(url: &str, differs: Value) -> Value {
    let mut http = json!({
        "method": "GET", "url": url, "status": 200, "tries": [], "idempotency_key": null, "interrupted": 0
    });
    for (name, value) in differs.as_object().expect("an object") {
        http[name] = value.clone();
    }
    json!({ "http": http })
}

fn failure(code: &str, message: &str) -> Value {
    json!({ "code": code, "message": message, "retryable": true })
}

fn call(function: &str) -> Value {
    json!({ "call": { "function": function, "retry_at_us": null } })
}

/// Two steps, the first with a failed attempt, a restart between.
fn trace() -> Trace {
    let cut_off =
        row("1.2.1", get("http://news/a", json!({ "interrupted": 1, "tries": [{ "status": 503 }] })), json!({}));
    let resumed = json!({ "attempt": {
        "number": 2, "worker": "w", "next_at_us": null, "resumed": [{ "time_us": 0, "worker": "w", "position": 9 }]
    } });
    let rows = vec![
        row(
            "1",
            call("fetch"),
            json!({ "label": "front page", "at": "src/lib.rs:12", "duration_us": 2 * SECOND_US,
            "input": { "json": "http://news/a" } }),
        ),
        row(
            "1.1",
            attempt(1),
            json!({ "status": "failed", "duration_us": 90_000,
            "failure": failure("HTTP_CONNECT", "refused\u{1b}[31m") }),
        ),
        row("1.2", resumed, json!({ "started_us": 600_000, "positions": [5] })),
        cut_off,
        row("2", call("count"), json!({ "positions": [11], "started_us": 2 * SECOND_US, "duration_us": 4_000 })),
        row("2.1", attempt(1), json!({ "positions": [12] })),
        row("2.1.1", get("http://news/b", json!({})), json!({ "positions": [13] })),
        row(
            "3",
            json!({ "sleep": { "duration_ms": 1500, "due_us": 0 } }),
            json!({ "status": "running", "ended_us": null, "duration_us": null, "closed": null, "positions": [20] }),
        ),
    ];
    let trace = json!({
        "run": { "id": ID, "workflow": "headlines", "deployment": "news", "component": DIGEST, "status": "succeeded",
            "started_us": 0, "finished_us": 3_250_000, "duration_us": 3_250_000, "input": { "json": null },
            "output": { "json": { "words": 7 } }, "failure": null, "reason": null },
        "rows": rows,
        "activations": [
            { "worker": "w", "epoch": 1, "claimed_us": 0, "position": 1, "restart": false, "steps_recalled": 0,
              "effects_recalled": 0, "effects_open": 0 },
            { "worker": "w", "epoch": 2, "claimed_us": 2_500_000, "position": 15, "restart": true,
              "steps_recalled": 2, "effects_recalled": 0, "effects_open": 0 }
        ],
        "totals": { "entries": 21, "steps": 3, "steps_succeeded": 2, "steps_failed": 0, "steps_cancelled": 0,
            "steps_forgotten": 0, "steps_open": 1, "attempts": 3, "attempts_failed": 1, "attempts_resumed": 1,
            "effects": 2, "effects_answered": 2, "effects_interrupted": 1, "restarts": 1 }
    });
    serde_json::from_str(&trace.to_string()).expect("a trace as it goes over the wire")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert!(text == expected, "got:\n{text}\nexpected:\n{expected}");
}

#[test]
fn a_trace_is_a_tree_with_times_attempts_effects_and_what_a_restart_did_not_repeat() {
    let expected = "\
run 01k9zzzzzz0123456789abcdef  news/headlines  succeeded, took 3.25s

    BEGAN    TOOK
      0ms   2.00s ✓ 1 fetch “front page”  src/lib.rs:12
      0ms    90ms ✗   ├─ attempt 1  HTTP_CONNECT: refused\\u{1b}[31m
    600ms   1.00s ✓   └─ attempt 2  went on after a crash
      0ms   1.00s ✓      └─ GET http://news/a  200, 2 tries, cut off by a crash, perhaps sent twice
    2.00s     4ms ✓ 2 count
      0ms   1.00s ✓   └─ GET http://news/b  200
      0ms         ● 3 sleep 1.50s  running

  restarted after 2.50s: 2 answered steps not repeated (1, 2)
  output {\"words\":7}
  3 steps, 1 open; 3 attempts, 1 failed; 2 effects; 21 entries; 1 restart
";
    check(&tree(&run("succeeded"), &trace(), plain()), expected);
}

#[test]
fn a_flat_trace_has_a_line_for_each_row_in_the_order_of_the_journal() {
    let text = flat(&run("succeeded"), &trace(), plain());
    let ids: Vec<&str> = text.lines().skip(2).take(8).filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(ids.first(), Some(&"1"));
    assert_eq!(text.lines().filter(|line| line.contains('✓') || line.contains('✗') || line.contains('●')).count(), 8);
}

#[test]
fn one_step_is_shown_with_its_values_failures_and_tries() {
    let expected = [
        "      0ms   2.00s ✓ 1       fetch “front page”  src/lib.rs:12",
        "                           input \"http://news/a\"",
        "      0ms    90ms ✗ 1.1     attempt 1  HTTP_CONNECT: refused\\u{1b}[31m",
        "                           failure HTTP_CONNECT: refused\\u{1b}[31m",
        "    600ms   1.00s ✓ 1.2     attempt 2  went on after a crash",
        "      0ms   1.00s ✓ 1.2.1   GET http://news/a  200, 2 tries, cut off by a crash, perhaps sent twice",
        "                           try 1 503",
        "",
    ]
    .join("\n");
    let text = step(&run("succeeded"), &trace(), StepId(1), plain()).expect("there is a step 1");
    check(&text, &expected);
    assert_eq!(step(&run("succeeded"), &trace(), StepId(9), plain()), None);
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    for width in [40, 60, 80] {
        let look = Look { paint: Paint::Plain, width: Some(width) };
        let rows = tree(&run("succeeded"), &trace(), look);
        for line in rows.lines().filter(|line| line.contains('✓') || line.contains('✗')) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn what_a_guest_says_cannot_reach_the_terminal_as_control() {
    let colourful = Look { paint: Paint::Plain, width: None };
    assert!(!tree(&run("failed"), &trace(), colourful).contains('\u{1b}'));
}

#[test]
fn any_beginning_of_a_trace_can_be_shown() {
    let whole = trace();
    for rows in 0..=whole.rows.len() {
        let beginning = Trace { rows: whole.rows[..rows].to_vec(), run: None, ..whole.clone() };
        let text = tree(&run("running"), &beginning, plain());
        assert!(text.starts_with("run 01k9"));
        flat(&run("running"), &beginning, plain());
    }
}

#[test]
fn effects_hang_below_the_agents_and_tools_that_they_belong_to() {
    let span = |kind: &str, name: &str| json!({ "span": { "kind": kind, "name": name } });
    let below = |parent: &str| json!({ "parent": parent });
    let rows = vec![
        row("1", call("answer"), json!({})),
        row("1.1", attempt(1), json!({})),
        row("1.1.1", span("agent", "clerk"), below("1.1")),
        row("1.1.2", span("tool", "search"), json!({ "parent": "1.1.1", "status": "aborted" })),
        row("1.1.3", get("http://news/a", json!({})), below("1.1.2")),
        row("1.1.4", get("http://news/b", json!({})), below("1.1.1")),
    ];
    let rows = serde_json::from_str(&Value::from(rows).to_string()).expect("rows as they go over the wire");
    let trace = Trace { rows, activations: Vec::new(), ..trace() };
    let text = tree(&run("succeeded"), &trace, plain());
    let lines: Vec<&str> = text.lines().skip(3).take(5).map(|line| &line[18..]).collect();
    let expected = [
        "✓ 1 answer",
        "✓   └─ agent clerk",
        "–      ├─ tool search  never ended",
        "✓      │  └─ GET http://news/a  200",
        "✓      └─ GET http://news/b  200",
    ];
    assert_eq!(lines, expected, "{text}");
}
