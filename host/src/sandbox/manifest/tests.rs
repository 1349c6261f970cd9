//! Manifests: what is read, and that each refusal names its field.

use super::*;
use serde_json::json;

fn read(value: &Value) -> Result<Manifest> {
    Manifest::read(&value.to_string())
}

fn refusal(value: &Value) -> String {
    let error = read(value).expect_err("this must be refused");
    assert_eq!(error.code, Code::BadManifest);
    error.message
}

#[test]
fn an_empty_manifest_needs_only_the_contract() {
    let manifest = read(&json!({ "contract": "0.1" })).expect("read");
    assert!(manifest.workflows.is_empty() && manifest.functions.is_empty());
}

#[test]
fn every_field_is_read() {
    let manifest = read(&json!({
        "contract": "0.1",
        "workflows": [{ "name": "report", "doc": "Makes one.", "input": { "type": "array" }, "output": true,
            "updates": [{ "name": "add", "schema": { "type": "integer" }, "output": { "type": "string" } }, { "name": "end" }] }],
        "functions": [{
            "name": "fetch", "doc": "Gets a page.", "input": {}, "output": {}, "timeout_ms": 5000, "heartbeat_timeout_ms": 700,
            "hosts": ["example.com", "http://127.0.0.1:8080"], "models": ["openai/gpt-4o-mini", "anthropic/*"],
            "retry": { "attempts": 7, "backoff_ms": 10, "factor": 3, "backoff_max_ms": 100, "jitter": 0 },
        }],
        "sdk": { "name": "trackway-sdk", "version": "0.1.0", "language": "rust" },
    }))
    .expect("read");
    let workflow = manifest.workflow("report").expect("there");
    assert_eq!(workflow.doc.as_deref(), Some("Makes one."));
    assert_eq!(workflow.input, Some(json!({ "type": "array" })));
    let updates: Vec<_> = workflow.updates.iter().map(|update| (&*update.name, update.output.clone())).collect();
    assert_eq!(updates, [("add", Some(json!({ "type": "string" }))), ("end", None)]);
    let function = manifest.function("fetch").expect("there");
    assert_eq!((function.timeout_ms, function.heartbeat_timeout_ms), (5000, Some(700)));
    assert_eq!(function.hosts, ["example.com", "http://127.0.0.1:8080"]);
    assert_eq!(function.models, ["openai/gpt-4o-mini", "anthropic/*"]);
    assert_eq!(
        function.retry,
        RetryPolicy {
            attempts: 7,
            backoff_ms: 10,
            factor: 3.0,
            backoff_max_ms: 100,
            jitter: 0.0,
            ..RetryPolicy::default()
        }
    );
    assert_eq!(manifest.sdk.expect("there").language, "rust");
}

#[test]
fn what_is_left_out_has_the_defaults_of_the_contract() {
    let manifest = read(&json!({ "contract": "0.1", "functions": [{ "name": "f", "retry": { "attempts": 2 } }] }));
    let function = &manifest.expect("read").functions[0];
    assert_eq!((function.timeout_ms, function.heartbeat_timeout_ms), (300_000, None));
    assert_eq!(function.retry, RetryPolicy { attempts: 2, ..RetryPolicy::default() });
}

#[test]
fn unknown_keys_are_kept_and_ignored() {
    let value = json!({ "contract": "0.1", "x": 1, "functions": [{ "name": "f", "y": 2, "retry": { "z": 3 } }] });
    assert_eq!(&*read(&value).expect("read").text, value.to_string());
}

#[test]
fn each_refusal_names_its_field() {
    let function = |field: &str, value: Value| json!({ "contract": "0.1", "functions": [{ "name": "a" }, { "name": "b", field: value }] });
    let retry = |field: &str, value: Value| function("retry", json!({ field: value }));
    let long = "x".repeat(200);
    let cases = [
        (json!([]), "the manifest must be an object"),
        (json!({}), "`contract` is missing"),
        (json!({ "contract": "0.2" }), "`contract` is \"0.2\""),
        (json!({ "contract": 1 }), "`contract` must be a string"),
        (json!({ "contract": "0.1", "workflows": {} }), "`workflows` must be an array"),
        (json!({ "contract": "0.1", "workflows": [3] }), "`workflows[0]` must be an object"),
        (json!({ "contract": "0.1", "workflows": [{}] }), "`workflows[0].name` is missing"),
        (json!({ "contract": "0.1", "workflows": [{ "name": "" }] }), "`workflows[0].name` is \"\""),
        (json!({ "contract": "0.1", "workflows": [{ "name": "a b" }] }), "`workflows[0].name` is \"a b\""),
        (json!({ "contract": "0.1", "workflows": [{ "name": ".." }] }), "`workflows[0].name` is \"..\""),
        (json!({ "contract": "0.1", "workflows": [{ "name": long }] }), "`workflows[0].name` has 200 bytes"),
        (
            json!({ "contract": "0.1", "workflows": [{ "name": "a", "input": 5 }] }),
            "`workflows[0].input` must be a JSON Schema",
        ),
        (json!({ "contract": "0.1", "workflows": [{ "name": "a" }, { "name": "a" }] }), "two entries named `a`"),
        (json!({ "contract": "0.1", "sdk": "rust" }), "`sdk` must be an object"),
        (function("doc", json!(1)), "`functions[1].doc` must be a string"),
        (function("timeout_ms", json!(0)), "`functions[1].timeout_ms` is 0"),
        (function("timeout_ms", json!(86_400_001)), "`functions[1].timeout_ms` is 86400001"),
        (function("heartbeat_timeout_ms", json!(0)), "`functions[1].heartbeat_timeout_ms` is 0"),
        (function("timeout_ms", json!(-1)), "`functions[1].timeout_ms` must be a whole number"),
        (function("hosts", json!("a")), "`functions[1].hosts` must be an array"),
        (function("models", json!([""])), "`functions[1].models[0]` must be a pattern of models"),
        (function("hosts", json!(["a", 1])), "`functions[1].hosts[1]` must be a host pattern"),
        (function("retry", json!(1)), "`functions[1].retry` must be an object"),
        (retry("attempts", json!(0)), "in `functions[1].retry`: `attempts` is 0"),
        (retry("attempts", json!(21)), "`attempts` is 21"),
        (retry("attempts", json!(5_000_000_000_u64)), "`attempts` is"),
        (retry("attempts", json!("x")), "`functions[1].retry.attempts` must be a whole number"),
        (retry("backoff_ms", json!(86_400_001)), "`backoff_ms` is 86400001"),
        (retry("backoff_max_ms", json!(86_400_001)), "`backoff_max_ms` is 86400001"),
        (retry("factor", json!(0.5)), "`factor` is 0.5"),
        (retry("jitter", json!(1.5)), "`jitter` is 1.5"),
        (retry("jitter", json!("x")), "`functions[1].retry.jitter` must be a number"),
    ];
    for (value, told) in cases {
        let message = refusal(&value);
        assert!(message.contains(told), "{message} should tell {told}");
    }
}

#[test]
fn text_that_is_not_json_is_refused() {
    let error = Manifest::read("{").expect_err("cut off");
    assert!(error.message.starts_with("the manifest is not JSON"), "{error}");
}

#[test]
fn a_manifest_has_a_size_and_a_number_of_entries() {
    let entries =
        |count: usize| -> Vec<Value> { (0..count).map(|number| json!({ "name": format!("f{number}") })).collect() };
    read(&json!({ "contract": "0.1", "functions": entries(1_000) })).expect("as many as may be");
    let message = refusal(&json!({ "contract": "0.1", "functions": entries(1_001) }));
    assert!(message.contains("`functions` has 1001 entries; at most 1000"), "{message}");
    let message = refusal(&json!({ "contract": "0.1", "x": "y".repeat(1 << 20) }));
    assert!(message.contains("at most 1048576"), "{message}");
}
