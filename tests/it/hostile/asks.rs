//! Guests that ask for too much, for what is not theirs, or for what makes no sense: scripts for the guest `hostile`, which
//! keeps to the types of the contract and to nothing else.

use serde_json::{Value as Json, json};
use std::time::Duration;
use trackway_replay::trace::trace;
use trackway_replay::{End, Finished, Kind, Limits, Status, code};
use trackway_storage::{InboxBody, Sent, Storage};

use super::goes_on;
use crate::rig::{Rig, in_virtual_time};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Workflow,
    Function,
}

/// What has to come of it.
#[derive(Debug, Clone, Copy)]
pub enum Comes {
    /// The run, or the attempt, fails with that code.
    Fails(&'static str),
    /// An operation completes with that code, and the guest goes on.
    Refuses(&'static str),
    /// The guest ends by itself.
    Ends,
}

/// A line of the table.
pub struct Script {
    pub name: &'static str,
    pub does: &'static str,
    role: Role,
    comes: Comes,
    /// The journal has no more entries than that.
    entries_max: usize,
    ops: fn() -> Json,
}

use Comes::{Ends, Fails, Refuses};
use Role::{Function, Workflow};

macro_rules! scripts {
    ($($name:ident: $does:literal => $role:expr, $comes:expr, $entries_max:literal, $ops:expr;)*) => {
        pub const TABLE: &[Script] = &[$(Script {
            name: stringify!($name),
            does: $does,
            role: $role,
            comes: $comes,
            entries_max: $entries_max,
            ops: || $ops,
        }),*];

        $(#[test]
        fn $name() {
            hold(stringify!($name));
        })*
    };
}

fn limits() -> Limits {
    Limits { steps: 2_000, steps_open: 500, effects: 500, ..Limits::default() }
}

/// What the workflow is started with, so that `ops` are done by whoever is to.
fn input(role: Role, ops: &Json) -> String {
    let script = json!({ "ops": ops }).to_string();
    match role {
        Workflow => script,
        Function => json!({ "ops": [["call", "script", script, ""], ["next"]] }).to_string(),
    }
}

fn hold(name: &str) {
    let script = TABLE.iter().find(|script| script.name == name).expect("the table has a line for each test");
    println!("{name}: {}", script.does);
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let honest = rig.start("sleeper", "naps", "[10, 600000, 1]").await;
        rig.deploy("hostile").await;
        let input = input(script.role, &(script.ops)());
        let run = match input.len() {
            0..=INLINE_MAX_BYTES => rig.start_under(limits(), "hostile", "script", &input).await,
            _ => rig.start("hostile", "script", &input).await,
        };
        let head = rig.ended(run).await;
        match (script.role, script.comes) {
            (Workflow, Fails(code)) => {
                let failure = rig.failure(run).await;
                assert_eq!(failure.code, code, "{failure}");
            }
            _ => {
                let told = rig.output(run).await;
                match script.comes {
                    Fails(code) | Refuses(code) => assert!(told.contains(code), "{told:.1000}"),
                    Ends if script.role == Function => assert!(told.contains("succeeded"), "{told:.1000}"),
                    Ends => {}
                }
            }
        }
        assert!(head.status.has_ended(), "{head:?}");
        let entries = rig.entries(run).await;
        assert!(entries.len() <= script.entries_max, "{} entries", entries.len());
        assert_eq!(trace(&entries).unplaced, []);
        let lines = rig.storage.logs(run, None, usize::MAX).await.expect("read");
        assert!(lines.len() <= 10_001, "{} lines", lines.len());
        rig.replays(run).await;
        goes_on(&rig, honest).await;
    });
}

fn spans(depth: u32) -> Json {
    let begin = |nth: u32| {
        let options = if nth == 0 { String::new() } else { json!({ "span": nth }).to_string() };
        json!(["begin", "tool", "deeper", "null", options])
    };
    (0..depth).map(begin).collect()
}

fn get(request: &Json, options: &str) -> Json {
    json!([["http", request.to_string(), options], ["next"]])
}

/// A longer script stands beside the journal, and its run has the limits of any.
const INLINE_MAX_BYTES: usize = 30_000;
const DAY_MS: u64 = 86_400_000;

scripts! {
    ids_of_nobody: "names ids that it never got, in everything that takes one" => Workflow, Ends, 20, json!([
        ["forget", 0], ["forget", 1], ["forget", 4_294_967_295_u32], ["cancel", 0], ["cancel", 7], ["cancel", 4_294_967_295_u32],
        ["reply", 1, "1"], ["reply", 4_294_967_295_u32, "{}", true], ["promise-token", 0], ["promise-token", 4_294_967_295_u32],
        ["next"], ["sleep", 1, ""], ["forget", 2], ["cancel", 2], ["reply", 1, "1"], ["next"], ["forget", 1], ["cancel", 1],
    ]);
    ids_of_nobody_in_a_function: "the same in a function" => Function, Ends, 20, json!([
        ["forget", 0], ["forget", 9], ["cancel", 0], ["cancel", 4_294_967_295_u32], ["end", 0, "1"], ["end", 9, "1", true],
        ["sleep", 1, ""], ["end", 1, "1"], ["next"], ["cancel", 1], ["end", 1, "1"],
    ]);
    waits_for_nothing: "waits 10,000 times although nothing is open" => Workflow, Ends, 5, json!([["repeat", 10_000, [["next"]]]]);
    cancels_without_an_end: "cancels one operation 20,000 times" => Workflow, Ends, 10,
        json!([["sleep", DAY_MS, ""], ["repeat", 20_000, [["cancel", 1]]], ["next"]]);
    cancels_without_an_end_in_a_function: "the same in a function" => Function, Ends, 20,
        json!([["sleep", DAY_MS, ""], ["repeat", 20_000, [["cancel", 1]]], ["next"]]);
    forgets_without_an_end: "forgets one operation 20,000 times" => Workflow, Ends, 10,
        json!([["sleep", DAY_MS, ""], ["repeat", 20_000, [["forget", 1]]]]);
    sleeps_by_the_thousand: "has more operations open than it may" => Workflow, Refuses(code::TOO_MANY), 1_300,
        json!([["repeat", 510, [["sleep", DAY_MS, ""]]], ["next"]]);
    asks_without_an_end: "asks for more in all than it may" => Workflow, Fails(code::TOO_MANY), 6_100,
        json!([["repeat", 3_000, [["sleep", 0, ""], ["next"]]]]);
    sleeps_for_ever: "sleeps until long after the end of time, and thinks better of it" => Workflow, Refuses(code::CANCELLED), 10,
        json!([["sleep", u64::MAX, ""], ["sleep", u64::MAX - 1, ""], ["cancel", 1], ["next"]]);
    calls_what_is_not_there: "calls a function whose name has 5 MB" => Workflow, Refuses(code::UNKNOWN_FUNCTION), 10,
        json!([["call", { "x": 5_000_000 }, "1", ""], ["next"]]);
    options_of_fifteen_megabytes: "gives options of 15 MB" => Workflow, Refuses(code::BAD_OPTIONS), 10,
        json!([["sleep", 1, { "x": 15_000_000 }], ["next"]]);
    options_within_options: "gives options of 2,000 arrays, each within the other" => Workflow, Refuses(code::BAD_OPTIONS), 10,
        json!([["sleep", 1, { "deep": 2_000 }], ["next"]]);
    values_within_values: "hands on a value of a million arrays, which its own function cannot read" => Workflow, Refuses(code::FAILED), 20,
        json!([["call", "script", { "deep": 1_000_000 }, ""], ["next"]]);
    values_that_are_no_json: "hands on what is no JSON" => Workflow, Refuses(code::BAD_INPUT), 10,
        json!([["call", "script", "{\"a\":\u{0}}", ""], ["next"]]);
    options_that_nobody_knows: "gives an option that a host might have for itself" => Workflow, Refuses(code::BAD_OPTIONS), 10,
        json!([["call", "script", "1", "{\"tenant\":1}"], ["next"]]);
    options_twice: "gives an option twice" => Workflow, Refuses(code::BAD_OPTIONS), 10,
        json!([["sleep", 1, "{\"label\":\"a\",\"label\":\"b\"}"], ["next"]]);
    retries_without_an_end: "wants a call to be tried for ever" => Workflow, Refuses(code::BAD_OPTIONS), 10,
        json!([["call", "script", "1", "{\"retry\":{\"attempts\":4294967295}}"], ["next"]]);
    workflows_of_others: "starts a workflow of a deployment that it guesses" => Workflow, Refuses(code::UNKNOWN_WORKFLOW), 12,
        json!([["start-run", "script", "1", "{\"deployment\":\"../other\"}"], ["next"]]);
    workflows_by_the_hundred: "starts 300 runs that nobody waits for" => Workflow, Ends, 1_000,
        json!([["repeat", 300, [["start-run", "script", "{\"ops\":[]}", "{\"detach\":true}"]]], ["repeat", 300, [["next"]]]]);
    signals_under_no_name: "waits for signals under names that are none" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["receive", "../\u{0}", ""], ["next"]]);
    promises_under_no_name: "makes a promise under a name that is none" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["promise", "\u{1b}[2J", ""], ["promise-token", 1], ["next"]]);
    updates_under_no_name: "takes updates under a name of 1 MB" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["accept-update", { "x": 1_000_000 }, ""], ["next"]]);
    questions_of_a_megabyte: "asks people a question of 1 MB" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["ask-person", { "quoted": 1_000_000 }, ""], ["next"]]);
    questions_that_are_none: "asks people nothing" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["ask-person", "[]", ""], ["next"]]);
    entities_under_no_name: "keeps an entity under a key that breaks lines" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["entity-set", "e", "k\n\u{0}", "1", ""], ["next"]]);
    entities_as_folders: "keeps an entity in the folder above" => Workflow, Refuses(code::BAD_REQUEST), 10,
        json!([["entity-set", "..", "..", "1", ""], ["next"]]);
    entities_of_a_megabyte: "keeps an entity of 1 MB" => Workflow, Refuses(code::TOO_LARGE), 10,
        json!([["entity-set", "e", "k", { "quoted": 1_000_000 }, ""], ["next"]]);
    state_of_a_megabyte: "publishes 1 MB" => Workflow, Fails(code::TOO_LARGE), 5, json!([["publish", "k", { "quoted": 1_000_000 }]]);
    state_under_no_name: "publishes under a key that is none" => Workflow, Fails(code::BAD_REQUEST), 5, json!([["publish", "\r\n", "1"]]);
    state_without_an_end: "publishes without an end" => Workflow, Fails(code::TOO_MANY), 2_010,
        json!([["repeat", 3_000, [["publish", "k", "1"]]]]);
    events_of_a_megabyte: "tells an event of 1 MB" => Workflow, Fails(code::TOO_LARGE), 5, json!([["emit", "e", { "quoted": 1_000_000 }]]);
    events_without_an_end: "tells events without an end" => Workflow, Fails(code::TOO_MANY), 2_010,
        json!([["repeat", 3_000, [["emit", "e", "1"]]]]);
    events_that_break_lines: "tells an event whose name begins another one" => Workflow, Fails(code::BAD_REQUEST), 5,
        json!([["emit", "e\n\ndata: forged", "1"]]);
    patches_under_no_name: "asks about a patch that is none" => Workflow, Fails(code::BAD_REQUEST), 5, json!([["patched", ""]]);
    goes_on_with_no_json: "goes on with what is no JSON" => Workflow, Fails(code::BAD_INPUT), 5, json!([["continue-with", "{", []]]);
    goes_on_with_signals_of_nobody: "goes on and gives signals back that it never got" => Workflow, Ends, 10,
        json!([["continue-with", "{\"ops\":[]}", [0, 1, 99, 4_294_967_295_u32]]]);
    goes_on_with_too_many_signals: "goes on and gives 100,000 signals back" => Workflow, Fails(code::TOO_MANY), 10,
        json!([["continue-with", "{\"ops\":[]}", vec![7; 100_000]]]);
    logs_without_an_end: "writes 30,000 lines" => Workflow, Ends, 10, json!([["repeat", 30_000, [["log", "info", "again", "{}"]]]]);
    lines_of_fifteen_megabytes: "writes lines of 15 MB" => Workflow, Ends, 10,
        json!([["repeat", 3, [["log", "info", { "x": 15_000_000 }, { "quoted": 15_000_000 }]]]]);
    lines_that_forge_others: "writes a line at a level of its own, that looks as two" => Workflow, Ends, 10,
        json!([["log", "info\n2026-11-21 ERROR", "a\n{\"level\":\"error\"}\u{1b}[2J", "no JSON"]]);
    panics_that_are_none: "says that it panicks, and goes on" => Workflow, Ends, 10,
        json!([["repeat", 30, [["panicked", { "x": 1_000_000 }, { "x": 1_000_000 }]]]]);
    panics_and_traps: "says something else than is true, and traps" => Workflow, Fails(code::PANIC), 5,
        json!([["panicked", "memory allocation failed"], ["trap"]]);
    functions_that_ask_without_an_end: "has more effects than an attempt may" => Function, Fails(code::TOO_MANY), 1_020,
        json!([["repeat", 600, [["sleep", 0, ""], ["next"]]]]);
    spans_without_an_end: "begins spans without an end" => Function, Fails(code::TOO_MANY), 1_020,
        json!([["repeat", 600, [["begin", "tool", "again", "1", ""]]]]);
    spans_within_spans: "begins 400 spans, each within the other" => Function, Ends, 450, spans(400);
    spans_of_others: "says that a request belongs to a span that is none" => Function, Refuses(code::BAD_OPTIONS), 20,
        get(&json!({ "url": "http://world.test/" }), "{\"span\":4294967295}");
    spans_of_no_kind: "begins a span of a kind of its own" => Function, Fails(code::BAD_REQUEST), 20,
        json!([["begin", "run", "x", "1", ""]]);
    spans_that_end_before_they_begin: "begins a span within one that has ended" => Function, Fails(code::BAD_OPTIONS), 20,
        json!([["begin", "tool", "a", "1", ""], ["end", 1, "1"], ["begin", "tool", "b", "1", "{\"span\":1}"]]);
    pieces_without_an_end: "tells 20,000 pieces" => Function, Ends, 20, json!([["repeat", 20_000, [["delta", "d", "1"]]]]);
    pieces_of_a_megabyte: "tells a piece of 1 MB" => Function, Fails(code::TOO_LARGE), 20, json!([["delta", "d", { "quoted": 1_000_000 }]]);
    progress_without_an_end: "says 20,000 times how far it is" => Function, Ends, 40, json!([["repeat", 20_000, [["progress", "1"]]]]);
    progress_that_is_no_json: "says something that is no JSON" => Function, Fails(code::BAD_REQUEST), 20, json!([["progress", "{"]]);
    progress_of_a_megabyte: "says 1 MB of how far it is" => Function, Fails(code::TOO_LARGE), 20, json!([["progress", { "quoted": 1_000_000 }]]);
    requests_to_files: "asks HTTP for a file of the host" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "file:///etc/passwd" }), "");
    requests_with_a_password: "hides where it goes behind a name and a password" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test@127.0.0.1:1/" }), "");
    requests_within_headers: "puts another request into a header" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test/", "headers": [["x", "a\r\n\r\nGET / HTTP/1.1"]] }), "");
    requests_within_the_method: "puts another request into the method" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test/", "method": "GET / HTTP/1.1\r\nX:" }), "");
    requests_for_another_host: "says in a header that it means another host" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test/", "headers": [["Host", "169.254.169.254"]] }), "");
    requests_that_hide_their_size: "says how long its body is, wrongly" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test/", "method": "POST", "headers": [["Content-Length", "1"]], "body": "abc" }), "");
    requests_by_tunnel: "asks for a tunnel" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test/", "method": "CONNECT" }), "");
    requests_with_a_key_of_two_lines: "gives an idempotency key that is two headers" => Function, Refuses(code::BAD_OPTIONS), 20,
        get(&json!({ "url": "http://world.test/" }), "{\"idempotency_key\":\"a\\r\\nauthorization: x\"}");
    requests_of_sixteen_megabytes: "sends 16 MB that are no request" => Function, Refuses(code::BAD_REQUEST), 20,
        json!([["http", { "quoted": 16_000_000 }, ""], ["next"]]);
    headers_by_the_hundred: "sends 101 headers" => Function, Refuses(code::BAD_REQUEST), 20,
        get(&json!({ "url": "http://world.test/", "headers": vec![["x", "y"]; 101] }), "");
    models_with_keys: "tries to hand a key of its own to a provider" => Function, Refuses(code::BAD_REQUEST), 20,
        json!([["model", "{\"model\":\"scripted/m\",\"messages\":[],\"api_key\":\"x\",\"url\":\"http://127.0.0.1\"}", ""], ["next"]]);
    models_without_a_provider: "asks a model of nobody" => Function, Refuses(code::BAD_REQUEST), 20,
        json!([["model", "{\"model\":\"/etc/m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", ""], ["next"]]);
    conversations_without_an_end: "says more to a model than it may" => Function, Refuses(code::BAD_REQUEST), 20, {
            let messages = vec![json!({ "role": "user", "content": "" }); 10_001];
            json!([["model", json!({ "model": "scripted/m", "messages": messages }).to_string(), ""], ["next"]])
        };
}

#[test]
fn a_clock_that_is_looked_at_again_and_again_stands_still() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("hostile").await;
        let looks = json!(["repeat", 40, [["now"], ["think", 100_000]]]);
        let ops = json!([looks, ["sleep", 5_000, ""], ["next"], looks]);
        for role in [Workflow, Function] {
            let run = rig.start("hostile", "script", &input(role, &ops)).await;
            let mut told: Json = serde_json::from_str(&rig.output(run).await).expect("JSON");
            if role == Function {
                let body = told[1][2].as_str().expect("what it told");
                told = serde_json::from_str(body).expect("JSON");
            }
            let seen = told.as_array().expect("a list").iter().filter_map(Json::as_u64).filter(|seen| *seen > 1);
            let seen: std::collections::BTreeSet<u64> = seen.collect();
            assert_eq!(seen.len(), 2, "{role:?}: before and after the sleep: {seen:?}");
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_run_that_goes_on_again_and_again_is_ended_by_whoever_wants_that() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let honest = rig.start("sleeper", "naps", "[10, 600000, 1]").await;
        rig.deploy("hostile").await;
        // What it goes on with is what it was started with, as far as that fits into itself.
        let mut script = json!({ "ops": [["sleep", 80_000_000, ""], ["next"]] }).to_string();
        for _ in 0..12 {
            script = json!({ "ops": [["continue-with", script, []]] }).to_string();
        }
        let run = rig.start("hostile", "script", &script).await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        rig.terminate(run).await;
        rig.ended(run).await;
        let rounds = rig.entries(run).await;
        assert_eq!(rounds.iter().filter(|entry| matches!(entry.kind, Kind::Continued(_))).count(), 12);
        let end = rounds.last().map(|entry| &entry.kind);
        assert!(matches!(end, Some(Kind::Finished(Finished { end: End::Terminated { .. }, .. }))), "{end:?}");
        rig.replays(run).await;
        goes_on(&rig, honest).await;
    });
}

#[test]
fn an_inbox_that_is_flooded_takes_no_more_and_loses_nothing() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let honest = rig.start("sleeper", "naps", "[10, 600000, 1]").await;
        rig.deploy("hostile").await;
        // Held, so that nothing is read.
        let run = rig.start("hostile", "script", &json!({ "ops": [["receive", "s", ""], ["next"]] }).to_string()).await;
        rig.send(run, InboxBody::Pause { reason: "held".into() }).await;
        rig.until(run, |head| head.status == Status::Paused).await;
        let mut delivered = 0;
        for message in 0..20_000_u128 {
            match rig.signal(run, 1_000 + message, "s", "1").await {
                Sent::Delivered => delivered += 1,
                Sent::Full => break,
                other => panic!("{other:?}"),
            }
        }
        assert!((1..20_000).contains(&delivered), "{delivered} were taken");
        rig.send(run, InboxBody::Resume).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.ended(run).await.status, Status::Succeeded, "it was let go though its inbox is full");
        goes_on(&rig, honest).await;
    });
}
