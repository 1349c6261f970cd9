//! Asks every import for whatever it is told, without an SDK between: a script is `{"ops": [[IMPORT, ARGUMENT..]..]}`.
//! The output tells what each operation gave. It keeps to the types of the contract and to nothing else.
//!
//! A text may also be said in other ways: `{"x": 9}` is so many letters, `{"quoted": 9}` the same as JSON, `{"deep": 9}` so
//! many arrays, one within the other. `{"hex": "ff00"}` is sent as these bytes, also where they are no text.

use serde_json::{Value, json};
use std::hint::black_box;

#[allow(unsafe_code, clippy::all, reason = "generated from the contract")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "app", pub_export_macro: true });
}

use bindings::Guest;
use bindings::trackway::guest::types::Completion;
use bindings::trackway::guest::{effect, step};

const MANIFEST: &str = r#"{
    "contract": "0.1",
    "workflows": [{ "name": "script" }],
    "functions": [{ "name": "script", "retry": { "attempts": 1 }, "hosts": ["http://world.test"], "models": ["scripted/*"] }]
}"#;

/// More is not told, so that a script may go on for long.
const TOLD_MAX: usize = 1_000;
/// Of what is delivered.
const SHOWN_MAX: usize = 2_000;

struct Hostile;

/// One operation with its arguments.
struct Op<'a>(&'a [Value]);

impl Op<'_> {
    fn name(&self) -> &str {
        self.0.first().and_then(Value::as_str).unwrap_or_default()
    }

    fn value(&self, place: usize) -> &Value {
        self.0.get(place).unwrap_or(&Value::Null)
    }

    fn text(&self, place: usize) -> String {
        let of = |key: &str| self.value(place)[key].as_u64().map(|count| count as usize);
        if let Some(hex) = self.value(place)["hex"].as_str() {
            return raw(hex);
        }
        match self.value(place) {
            Value::String(text) => text.clone(),
            Value::Object(_) => match (of("x"), of("quoted"), of("deep")) {
                (Some(count), ..) => "x".repeat(count),
                (_, Some(count), _) => format!("\"{}\"", "x".repeat(count)),
                (_, _, Some(count)) => format!("{}{}", "[".repeat(count), "]".repeat(count)),
                (None, None, None) => String::new(),
            },
            _ => String::new(),
        }
    }

    fn number(&self, place: usize) -> u64 {
        self.value(place).as_u64().unwrap_or_default()
    }

    fn id(&self, place: usize) -> u32 {
        self.number(place) as u32
    }

    fn at(&self, place: usize) -> Option<String> {
        (!self.value(place).is_null()).then(|| self.text(place))
    }

    /// The text, as an output or as a failure.
    fn outcome(&self, place: usize) -> Result<String, String> {
        if self.value(place + 1).is_null() { Ok(self.text(place)) } else { Err(self.text(place)) }
    }
}

/// Bytes for the host to look at, whatever they are.
#[allow(unsafe_code, reason = "a text that is none can be made in no other way")]
fn raw(hex: &str) -> String {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    let bytes = digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]).collect();
    // SAFETY: nothing here reads it: all that becomes of it is an address and a length for the host.
    unsafe { String::from_utf8_unchecked(bytes) }
}

fn delivered(completion: Completion) -> Value {
    let Completion { kind, id, body } = completion;
    json!([kind, id, body.chars().take(SHOWN_MAX).collect::<String>(), body.len()])
}

/// What goes on after an operation.
enum Then {
    Tell(Value),
    End(Result<String, String>),
}

/// What both roles can do.
macro_rules! both {
    ($port:ident, $op:ident) => {
        match $op.name() {
            "sleep" => json!($port::sleep($op.number(1), &$op.text(2), $op.at(3).as_deref())),
            "emit" => json!($port::emit(&$op.text(1), &$op.text(2), $op.at(3).as_deref())),
            "ask-person" => json!($port::ask_person(&$op.text(1), &$op.text(2), $op.at(3).as_deref())),
            "next" => delivered($port::next()),
            "forget" => json!($port::forget($op.id(1))),
            "cancel" => json!($port::cancel($op.id(1))),
            "now" => json!($port::now()),
            "random" => json!($port::random($op.id(1)).len()),
            "log" => json!($port::log(&$op.text(1), &$op.text(2), &$op.text(3))),
            "panicked" => json!($port::panicked(&$op.text(1), $op.at(2).as_deref())),
            _ => return other($op),
        }
    };
}

fn of_workflow(op: &Op<'_>) -> Then {
    let text = |place| op.text(place);
    Then::Tell(match op.name() {
        "call" => json!(step::call(&text(1), &text(2), &text(3), op.at(4).as_deref())),
        "start-run" => json!(step::start_run(&text(1), &text(2), &text(3), op.at(4).as_deref())),
        "receive" => json!(step::receive(&text(1), &text(2), op.at(3).as_deref())),
        "patched" => json!(step::patched(&text(1))),
        "promise" => json!(step::promise(&text(1), &text(2), op.at(3).as_deref())),
        "promise-token" => json!(step::promise_token(op.id(1))),
        "entity-get" => json!(step::entity_get(&text(1), &text(2), &text(3), op.at(4).as_deref())),
        "entity-set" => json!(step::entity_set(&text(1), &text(2), &text(3), &text(4), op.at(5).as_deref())),
        "entity-delete" => json!(step::entity_delete(&text(1), &text(2), &text(3), op.at(4).as_deref())),
        "publish" => json!(step::publish(&text(1), &text(2), op.at(3).as_deref())),
        "continue-with" => {
            let unused = op.value(2).as_array().map(Vec::as_slice).unwrap_or_default();
            let unused: Vec<u32> = unused.iter().filter_map(Value::as_u64).map(|id| id as u32).collect();
            json!(step::continue_with(&text(1), &unused))
        }
        "accept-update" => json!(step::accept_update(&text(1), &text(2), op.at(3).as_deref())),
        "reply" => {
            let answer = op.outcome(2);
            json!(step::reply(op.id(1), answer.as_deref().map_err(String::as_str), op.at(4).as_deref()))
        }
        _ => both!(step, op),
    })
}

fn of_function(op: &Op<'_>) -> Then {
    let text = |place| op.text(place);
    Then::Tell(match op.name() {
        "http" => json!(effect::http(&text(1), &text(2), op.at(3).as_deref())),
        "model" => json!(effect::model(&text(1), &text(2), op.at(3).as_deref())),
        "begin" => json!(effect::begin(&text(1), &text(2), &text(3), &text(4), op.at(5).as_deref())),
        "end" => {
            let outcome = op.outcome(2);
            json!(effect::end(op.id(1), outcome.as_deref().map_err(String::as_str), op.at(4).as_deref()))
        }
        "progress" => json!(effect::progress(&text(1))),
        "delta" => json!(effect::delta(&text(1), &text(2))),
        _ => both!(effect, op),
    })
}

/// What needs no import.
fn other(op: &Op<'_>) -> Then {
    match op.name() {
        "return" => Then::End(Ok(op.text(1))),
        "fail" => Then::End(Err(op.text(1))),
        "think" => {
            let thought = (0..op.number(1)).fold(1_u64, |number, _| black_box(number.wrapping_mul(31).wrapping_add(1)));
            Then::Tell(json!(thought > 0))
        }
        // Traps, without a word before.
        _ => {
            #[cfg(target_arch = "wasm32")]
            std::arch::wasm32::unreachable();
            #[cfg(not(target_arch = "wasm32"))]
            Then::End(Err(String::new()))
        }
    }
}

type Operate = fn(&Op<'_>) -> Then;

/// Does one after the other, and `["repeat", TIMES, OPS]` so often.
fn script(operate: Operate, ops: &[Value], told: &mut Vec<Value>) -> Option<Result<String, String>> {
    for op in ops {
        let op = Op(op.as_array().map(Vec::as_slice).unwrap_or_default());
        if op.name() == "repeat" {
            let ops = op.value(2).as_array().map(Vec::as_slice).unwrap_or_default();
            let end = (0..op.number(1)).find_map(|_| script(operate, ops, told));
            if end.is_some() {
                return end;
            }
            continue;
        }
        match operate(&op) {
            Then::Tell(value) if told.len() < TOLD_MAX => told.push(value),
            Then::Tell(_) => {}
            Then::End(end) => return Some(end),
        }
    }
    None
}

fn play(operate: Operate, input: &str) -> Result<String, String> {
    let script_of: Value = serde_json::from_str(input).map_err(|error| error.to_string())?;
    let ops = script_of["ops"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut told = Vec::new();
    let end = script(operate, ops, &mut told);
    end.unwrap_or_else(|| Ok(Value::from(told).to_string()))
}

impl Guest for Hostile {
    fn describe() -> String {
        MANIFEST.to_owned()
    }

    fn run(_workflow: String, input: String, _context: String) -> Result<String, String> {
        play(of_workflow, &input)
    }

    fn call(_function: String, input: String, _context: String) -> Result<String, String> {
        play(of_function, &input)
    }
}

#[allow(unsafe_code, reason = "generated from the contract")]
mod exports {
    use super::Hostile;
    super::bindings::export!(Hostile with_types_in super::bindings);
}
