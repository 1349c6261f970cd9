//! Does to the imports what it is told to, in any order, without an SDK that would keep it from
//! mistakes. A script is `{"ops": [[NAME, ARGUMENT..]..]}`; the output tells what each operation gave.

use serde_json::{Value, json};
use std::hint::black_box;

#[allow(unsafe_code, clippy::all, reason = "generated from the contract")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "app", pub_export_macro: true });
}

use bindings::Guest;
use bindings::trackway::guest::{effect, step};

const MANIFEST: &str = r#"{
    "contract": "0.1",
    "workflows": [{ "name": "script" }],
    "functions": [{ "name": "script", "retry": { "attempts": 1 }, "hosts": ["http://world.test"], "models": ["scripted/*"] }]
}"#;

/// More is not told, so that a script may go on for long.
const TOLD_MAX: usize = 1_000;

struct Raw;

/// What goes on after an operation.
enum Then {
    Tell(Value),
    Nothing,
    End(Result<String, String>),
}

/// The imports of one role.
macro_rules! port {
    ($port:ident) => {
        fn operate(op: &Value) -> Then {
            let text = |place: usize| op[place].as_str().unwrap_or_default();
            let number = |place: usize| op[place].as_u64().unwrap_or_default();
            match text(0) {
                "sleep" => Then::Tell(json!($port::sleep(number(1), text(2), None))),
                "next" => {
                    let completion = $port::next();
                    Then::Tell(json!([completion.kind, completion.id, completion.body]))
                }
                "forget" => {
                    $port::forget(number(1) as u32);
                    Then::Nothing
                }
                "cancel" => {
                    $port::cancel(number(1) as u32);
                    Then::Nothing
                }
                "now" => Then::Tell(json!($port::now())),
                "random" => Then::Tell(json!($port::random(number(1) as u32))),
                "log" => {
                    $port::log(text(1), text(2), text(3));
                    Then::Nothing
                }
                "panicked" => {
                    $port::panicked(text(1), None);
                    Then::Nothing
                }
                _ => start(op),
            }
        }

        pub fn script(ops: &[Value], told: &mut Vec<Value>) -> Option<Result<String, String>> {
            for op in ops {
                let then = match op[0].as_str() {
                    Some("repeat") => repeat(op, told),
                    Some(_) | None => operate(op),
                };
                match then {
                    Then::Tell(value) if told.len() < TOLD_MAX => told.push(value),
                    Then::Tell(_) | Then::Nothing => {}
                    Then::End(end) => return Some(end),
                }
            }
            None
        }

        fn repeat(op: &Value, told: &mut Vec<Value>) -> Then {
            let ops = op[2].as_array().map(Vec::as_slice).unwrap_or_default();
            let end = (0..op[1].as_u64().unwrap_or_default()).find_map(|_| script(ops, told));
            end.map_or(Then::Nothing, Then::End)
        }
    };
}

mod workflow {
    use super::{TOLD_MAX, Then, Value, json, other, step};

    port!(step);

    fn start(op: &Value) -> Then {
        match op[0].as_str() {
            Some("call") => {
                let options = op[3].as_str().unwrap_or_default();
                let at = op[4].as_str();
                Then::Tell(json!(step::call(op[1].as_str().unwrap_or_default(), &op[2].to_string(), options, at)))
            }
            Some("publish") => {
                step::publish(op[1].as_str().unwrap_or_default(), &op[2].to_string(), None);
                Then::Nothing
            }
            Some("emit") => {
                step::emit(op[1].as_str().unwrap_or_default(), &op[2].to_string(), None);
                Then::Nothing
            }
            Some("ask") => Then::Tell(json!(step::ask_person(&op[1].to_string(), "", None))),
            Some("promise") => Then::Tell(json!(step::promise(op[1].as_str().unwrap_or_default(), "", None))),
            Some(_) | None => other(op),
        }
    }
}

mod function {
    use super::{TOLD_MAX, Then, Value, effect, json, other};

    port!(effect);

    fn start(op: &Value) -> Then {
        match op[0].as_str() {
            Some("get") => {
                let request = json!({ "url": op[1] }).to_string();
                Then::Tell(json!(effect::http(&request, op[2].as_str().unwrap_or_default(), None)))
            }
            Some("begin") => {
                let [kind, name, options] = [1, 2, 4].map(|place| op[place].as_str().unwrap_or_default());
                Then::Tell(json!(effect::begin(kind, name, &op[3].to_string(), options, Some("raw.rs:7"))))
            }
            Some("ask") => {
                let options = op[2].as_str().unwrap_or_default();
                Then::Tell(json!(effect::ask_person(&op[1].to_string(), options, Some("raw.rs:8"))))
            }
            Some("emit") => {
                effect::emit(op[1].as_str().unwrap_or_default(), &op[2].to_string(), None);
                Then::Nothing
            }
            Some("delta") => {
                effect::delta(op[1].as_str().unwrap_or_default(), &op[2].to_string());
                Then::Nothing
            }
            Some("begin_with") => {
                let input = op[1].as_str().unwrap_or_default();
                Then::Tell(json!(effect::begin("tool", "raw", input, "", None)))
            }
            Some("end") => {
                let (id, text) = (op[1].as_u64().unwrap_or_default() as u32, op[2].to_string());
                let outcome = if op[3] == json!("failed") { Err(text.as_str()) } else { Ok(text.as_str()) };
                effect::end(id, outcome, None);
                Then::Nothing
            }
            // A request as it stands there, and the text of its options.
            Some("model") => {
                let options = op[2].as_str().unwrap_or_default();
                Then::Tell(json!(effect::model(&op[1].to_string(), options, op[3].as_str())))
            }
            Some(_) | None => other(op),
        }
    }
}

/// What needs no import.
fn other(op: &Value) -> Then {
    let text = |place: usize| op[place].as_str().unwrap_or_default().to_owned();
    match op[0].as_str() {
        Some("return") => Then::End(Ok(text(1))),
        Some("return_bytes") => {
            Then::End(Ok(format!("\"{}\"", "x".repeat(op[1].as_u64().unwrap_or_default() as usize))))
        }
        Some("fail") => Then::End(Err(text(1))),
        Some("spin") => loop {
            black_box(());
        },
        Some("think") => {
            let mut number = 1_u64;
            for _ in 0..op[1].as_u64().unwrap_or_default() {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
            Then::Nothing
        }
        // Traps, without a word before.
        _ => {
            #[cfg(target_arch = "wasm32")]
            std::arch::wasm32::unreachable();
            #[cfg(not(target_arch = "wasm32"))]
            Then::Nothing
        }
    }
}

fn told(end: Option<Result<String, String>>, told: &[Value]) -> Result<String, String> {
    end.unwrap_or_else(|| Ok(Value::from(told).to_string()))
}

fn ops(input: &str) -> Result<Vec<Value>, String> {
    let script: Value = serde_json::from_str(input).map_err(|error| error.to_string())?;
    Ok(script["ops"].as_array().cloned().unwrap_or_default())
}

impl Guest for Raw {
    fn describe() -> String {
        MANIFEST.to_owned()
    }

    fn run(_workflow: String, input: String, _context: String) -> Result<String, String> {
        let mut so_far = Vec::new();
        let end = workflow::script(&ops(&input)?, &mut so_far);
        told(end, &so_far)
    }

    fn call(_function: String, input: String, _context: String) -> Result<String, String> {
        let mut so_far = Vec::new();
        let end = function::script(&ops(&input)?, &mut so_far);
        told(end, &so_far)
    }
}

#[allow(unsafe_code, reason = "generated from the contract")]
mod exports {
    use super::Raw;
    super::bindings::export!(Raw with_types_in super::bindings);
}
