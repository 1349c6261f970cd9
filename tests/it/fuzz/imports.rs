//! Everything that a guest may ask of its host, in any order and with anything: whatever it is, the run ends, and a replay of
//! it agrees. The process dies in the middle of some. A host that panics leaves its run behind, which is how it is seen.

use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{mutate, rounds, time};
use crate::hostile::text::{Taken, imports};
use crate::proof;
use crate::rig::{Rig, in_virtual_time};
use crate::simulate::dice::Dice;

/// Scripts of the short form, and one in so many rounds of the long one.
const SCRIPTS_SHORT: u64 = 150;
const SCRIPTS_WEIGHT: u64 = 40;
const OPS_MAX: u64 = 24;
/// Of the texts, those that are changed: with more of them little of a script makes any sense.
const CHANGED_PERCENT: u64 = 20;
/// Of the scripts, those that may send what is no UTF-8. Most of them end right there.
const RAW_PERCENT: u64 = 25;
/// What a run may take that waits for what nobody brings.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What one argument is.
#[derive(Clone, Copy)]
enum Arg {
    Name,
    Value,
    Options,
    Request,
    Conversation,
    Form,
    Id,
    Ids,
    Number,
    Place,
    Flag,
}

use Arg::{Conversation, Flag, Form, Id, Ids, Name, Number, Options, Place, Request, Value};

type Import = (&'static str, &'static [Arg]);

const BOTH: [Import; 10] = [
    ("next", &[]),
    ("sleep", &[Number, Options, Place]),
    ("emit", &[Name, Value, Place]),
    ("ask-person", &[Form, Options, Place]),
    ("forget", &[Id]),
    ("cancel", &[Id]),
    ("now", &[]),
    ("random", &[Id]),
    ("log", &[Name, Name, Value]),
    ("panicked", &[Name, Place]),
];
const STEP: [Import; 13] = [
    ("call", &[Name, Value, Options, Place]),
    ("start-run", &[Name, Value, Options, Place]),
    ("receive", &[Name, Options, Place]),
    ("patched", &[Name]),
    ("promise", &[Name, Options, Place]),
    ("promise-token", &[Id]),
    ("entity-get", &[Name, Name, Options, Place]),
    ("entity-set", &[Name, Name, Value, Options, Place]),
    ("entity-delete", &[Name, Name, Options, Place]),
    ("publish", &[Name, Value, Place]),
    ("continue-with", &[Value, Ids]),
    ("accept-update", &[Name, Options, Place]),
    ("reply", &[Id, Value, Flag, Place]),
];
const EFFECT: [Import; 6] = [
    ("http", &[Request, Options, Place]),
    ("model", &[Conversation, Options, Place]),
    ("begin", &[Name, Name, Value, Options, Place]),
    ("end", &[Id, Value, Flag, Place]),
    ("progress", &[Value]),
    ("delta", &[Name, Value]),
];

const NAMES: [&str; 14] = [
    "script",
    "w",
    "a",
    "tool",
    "agent",
    "info",
    "",
    ".",
    "..",
    "a b",
    "\u{0}",
    "\r\n",
    "\u{1b}[2J",
    "\u{fffd}\u{1f980}",
];
const VALUES: [&str; 16] = [
    "null",
    "1",
    "-0.0",
    "1e999",
    "123456789012345678901234567890",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "[]",
    "{}",
    "{\"a\":1,\"a\":2}",
    "{\"ops\":[]}",
    "{\"code\":\"CANCELLED\",\"message\":\"m\",\"retryable\":false,\"details\":[1]}",
    "{",
    "",
    "nul",
];
const OPTIONS: [&str; 20] = [
    "",
    "{}",
    "null",
    "[]",
    "{",
    "{\"label\":\"l\"}",
    "{\"label\":7}",
    "{\"label\":\"a\",\"label\":\"b\"}",
    "{\"unknown\":1}",
    "{\"timeout_ms\":1}",
    "{\"timeout_ms\":18446744073709551615}",
    "{\"span\":1}",
    "{\"span\":4294967296}",
    "{\"idempotency_key\":\"k\"}",
    "{\"if_version\":0}",
    "{\"detach\":true,\"key\":\"k\"}",
    "{\"deployment\":\"hostile\",\"on_cancel\":\"abandon\"}",
    "{\"retry\":{\"attempts\":2,\"backoff_ms\":1,\"resume\":true}}",
    "{\"retry\":{\"attempts\":0}}",
    "{\"deltas\":\"d\",\"prompts\":[{\"name\":\"p\",\"version\":\"1\"}]}",
];
const REQUESTS: [&str; 8] = [
    "{\"url\":\"http://world.test/a\"}",
    "{\"url\":\"http://world.test/b\",\"method\":\"POST\",\"body\":\"x\"}",
    "{\"url\":\"http://world.test/c\",\"headers\":[[\"a\",\"b\"]]}",
    "{\"url\":\"file:///etc/passwd\"}",
    "{\"url\":\"\"}",
    "{\"method\":\"\\r\\n\"}",
    "[]",
    "",
];
const CONVERSATIONS: [&str; 6] = [
    "{\"model\":\"scripted/m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    "{\"model\":\"scripted/m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\",\"tool_call_id\":\"c\"}]}",
    "{\"model\":\"scripted/m\",\"messages\":[]}",
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
    "{\"model\":\"scripted/m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":-1}",
    "{}",
];
const FORMS: [&str; 6] = [
    "{\"title\":\"t\",\"timeout_ms\":5}",
    "{\"title\":\"t\",\"fields\":[{\"name\":\"a\",\"kind\":\"approval\"}],\"timeout_ms\":60000}",
    "{\"title\":\"t\",\"timeout_ms\":18446744073709551615}",
    "{\"title\":\"\"}",
    "{\"title\":\"t\",\"fields\":[{\"name\":\"a\",\"kind\":\"choice\",\"options\":[]}]}",
    "[]",
];
const PLACES: [&str; 4] = ["src/lib.rs:41", "", "\u{0}", "\n"];
/// What readers of all of these look for.
const WORDS: [&str; 10] =
    ["\"", "null", "{}", ":", "..", "script", "\"label\":", "\"span\":1", "\"timeout_ms\":", "\"ops\":[]"];
const NUMBERS: [u64; 9] = [0, 1, 2, 50, 5_000, 86_400_000, u64::MAX, u64::MAX / 1_000, i64::MAX as u64];

fn argument(dice: &mut Dice, of: Arg, is_raw: bool) -> Json {
    // As long or as deep as nobody has use for.
    let is_large = dice.chance(4);
    let large = |dice: &mut Dice| match dice.within(0..=3) {
        0 => json!({ "x": *dice.one_of(&[129, 257, 5_000, 70_000, 1_100_000]) }),
        1 => json!({ "quoted": *dice.one_of(&[600, 40_000, 300_000, 1_100_000]) }),
        _ => json!({ "deep": *dice.one_of(&[100, 200, 5_000, 200_000]) }),
    };
    let table: &[&str] = match of {
        Name | Value | Options | Request | Conversation | Form if is_large => return large(dice),
        Name => &NAMES,
        Value => &VALUES,
        Options => &OPTIONS,
        Request => &REQUESTS,
        Conversation => &CONVERSATIONS,
        Form => &FORMS,
        Place if dice.chance(70) => return Json::Null,
        Place => &PLACES,
        Id => return json!(*dice.one_of(&[0, 1, 1, 2, 2, 3, 4, 5, 9, u32::MAX])),
        Ids => return json!((0..dice.within(0..=4)).map(|_| dice.within(0..=5)).collect::<Vec<u64>>()),
        Number => return json!(*dice.one_of(&NUMBERS)),
        Flag if dice.chance(50) => return Json::Null,
        Flag => return json!(true),
    };
    text(dice, table, is_raw)
}

/// One of the table, or what became of it.
fn text(dice: &mut Dice, table: &[&str], is_raw: bool) -> Json {
    let text = *dice.one_of(table);
    if !dice.chance(CHANGED_PERCENT) {
        return json!(text);
    }
    let (mut bytes, other) = (text.as_bytes().to_vec(), *dice.one_of(table));
    mutate::bytes(dice, &mut bytes, other.as_bytes(), &WORDS);
    match String::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(error) if is_raw => {
            let hex: String = error.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
        Err(error) => json!(String::from_utf8_lossy(error.as_bytes())),
    }
}

fn ops(dice: &mut Dice, own: &[Import], is_raw: bool) -> Json {
    let count = dice.within(1..=OPS_MAX);
    let op = |dice: &mut Dice| {
        let (name, args) = match dice.within(0..=9) {
            0..=2 => BOTH[0],
            3..=5 => *dice.one_of(&BOTH),
            _ => *dice.one_of(own),
        };
        let args = args.iter().map(|of| argument(dice, *of, is_raw));
        std::iter::once(json!(name)).chain(args).collect::<Json>()
    };
    let ops: Vec<Json> = (0..count).map(|_| op(dice)).collect();
    json!(ops)
}

/// What a workflow is started with.
fn script(dice: &mut Dice) -> String {
    let is_raw = dice.chance(RAW_PERCENT);
    if dice.chance(50) {
        return json!({ "ops": ops(dice, &STEP, is_raw) }).to_string();
    }
    let of_function = json!({ "ops": ops(dice, &EFFECT, is_raw) }).to_string();
    let options = *dice.one_of(&["", "", "{\"retry\":{\"attempts\":2,\"backoff_ms\":10,\"resume\":true}}"]);
    json!({ "ops": [["call", "script", of_function, options], ["next"]] }).to_string()
}

async fn ends(dice: &mut Dice, input: &str) {
    let mut rig = Rig::new().await;
    rig.deploy("hostile").await;
    let run = rig.start_within(PATIENCE, "hostile", "script", input).await;
    if dice.chance(40) {
        tokio::time::sleep(Duration::from_millis(dice.within(0..=40))).await;
        rig = rig.crash().await;
    }
    let head = rig.ended(run).await;
    assert!(head.status.has_ended(), "{head:?}");
    rig.replays(run).await;
}

#[test]
fn whatever_a_guest_asks_for_is_answered_or_refused_or_ends_it() {
    let first = proof::seed(1);
    let (begun, time) = (Instant::now(), time());
    let mut scripts = 0;
    for seed in first..first.saturating_add(rounds(SCRIPTS_SHORT, SCRIPTS_WEIGHT)) {
        if begun.elapsed() > time {
            break;
        }
        let mut dice = Dice::of(seed, "imports");
        let input = script(&mut dice);
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            in_virtual_time(ends(&mut dice, &input));
        }));
        if told.is_err() {
            proof::checked("scripts of guests", scripts, 1);
            panic!("again by `cargo xtask prove fuzz --seed {seed}`: {input}");
        }
        scripts += 1;
    }
    proof::checked("scripts of guests", scripts, 0);
}

/// What the contract takes where a script gives these: a text with a flag behind it is an outcome.
fn taken(args: &[Arg]) -> Vec<Taken> {
    let mut taken = Vec::new();
    for arg in args {
        let as_taken = match arg {
            Name | Value | Options | Request | Conversation | Form => Taken::Text,
            Id => Taken::Id,
            Ids => Taken::Ids,
            Number => Taken::Time,
            Place => Taken::Place,
            Flag => {
                assert_eq!(taken.pop(), Some(Taken::Text), "a flag says what a text is");
                Taken::Outcome
            }
        };
        taken.push(as_taken);
    }
    taken
}

#[test]
fn every_import_of_the_contract_is_asked_for_with_all_that_it_takes() {
    let mut asked = BTreeSet::new();
    for (interface, own) in [("step", &STEP[..]), ("effect", &EFFECT[..])] {
        for (name, args) in BOTH.iter().chain(own) {
            let is_new = asked.insert((interface, (*name).to_owned(), taken(args)));
            assert!(is_new, "{interface}.{name} stands twice");
        }
    }
    let there: BTreeSet<_> =
        imports().into_iter().map(|import| (import.interface, import.name, import.takes)).collect();
    assert_eq!(asked, there);
    // Or it would trap instead.
    let guest = include_str!("../../guests/hostile/src/lib.rs");
    for (interface, name, _) in there {
        assert!(guest.contains(&format!("\"{name}\" =>")), "the guest does not know {interface}.{name}");
    }
}

#[test]
fn some_scripts_send_what_is_no_text_and_most_do_not() {
    const SCRIPTS: usize = 400;
    let sends = |seed: u64| script(&mut Dice::of(seed, "imports")).contains("hex");
    let raw = (0..SCRIPTS as u64).filter(|seed| sends(*seed)).count();
    assert!(raw > SCRIPTS / 50 && raw < SCRIPTS / 2, "{raw} of {SCRIPTS} scripts");
}
