//! What guests may ask of a model, and how they are told what is wrong.

use serde_json::json;

use super::*;

fn least() -> Value {
    json!({ "model": "openai/m", "messages": [{ "role": "user", "content": "hi" }] })
}

fn with(name: &str, value: Value) -> String {
    let mut request = least();
    request[name] = value;
    request.to_string()
}

fn refused(request: &str, options: &str) -> (String, String) {
    let failure = ModelRequest::parse(request, options).expect_err("it is refused");
    assert!(!failure.retryable, "{failure}");
    (failure.code, failure.message)
}

#[test]
fn the_least_request_is_enough_and_the_largest_is_read_whole() {
    let least = ModelRequest::parse(&least().to_string(), "").expect("enough");
    assert_eq!((least.timeout, least.key, least.deltas), (TIMEOUT_DEFAULT, None, None));
    let request = json!({
        "model": "openrouter/meta/llama:free",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "What is 2+2?" },
            { "role": "assistant", "content": null,
              "tool_calls": [{ "id": "c1", "name": "add", "arguments": "{not json" }] },
            { "role": "tool", "content": "4", "tool_call_id": "c1", "is_error": false },
        ],
        "tools": [{ "name": "add", "description": "Adds.", "input": { "type": "object" } }],
        "tool_choice": { "name": "add" },
        "output": { "name": "sum", "schema": { "type": "object" } },
        "max_tokens": 100, "temperature": 0, "top_p": 0.5, "stop": ["END"], "seed": -7,
    });
    let options = json!({ "label": "adds", "span": 3, "timeout_ms": 1_000, "idempotency_key": "k", "deltas": "token" });
    let read = ModelRequest::parse(&request.to_string(), &options.to_string()).expect("all of it is known");
    assert_eq!((read.model.to_string().as_str(), read.messages.len()), ("openrouter/meta/llama:free", 4));
    assert_eq!(read.messages[2].tool_calls[0].arguments, "{not json", "as the model wrote it");
    assert_eq!(read.tool_choice, ToolChoice::Named("add".to_owned()));
    assert_eq!((read.max_tokens, read.temperature, read.top_p, read.seed), (Some(100), Some(0.0), Some(0.5), Some(-7)));
    assert_eq!((read.author_key().as_deref(), read.deltas().as_deref()), (Some("k"), Some("token")));
    assert_eq!(read.timeout, Duration::from_secs(1));
}

#[test]
fn a_schema_is_kept_as_it_was_written() {
    let schema = r#"{"type":"object","properties":{"z":{},"a":{}}}"#;
    let request = format!(
        r#"{{"model":"a/b","messages":[{{"role":"user","content":""}}],"tools":[{{"name":"t","input":{schema}}}],
            "output":{{"name":"o","schema":{schema}}}}}"#
    );
    let read = ModelRequest::parse(&request, "").expect("it is one");
    assert_eq!(read.tools[0].input.get(), schema);
    assert_eq!(read.output.expect("there is one").schema.get(), schema);
}

#[test]
fn what_is_wrong_is_named() {
    let message = |message: Value| with("messages", json!([{ "role": "user", "content": "a" }, message]));
    for (request, named) in [
        ("[]".to_owned(), "is not a JSON object"),
        (json!({ "messages": [] }).to_string(), "`model` in `request` is missing"),
        (with("model", json!("gpt")), "`model` in `request` must be a provider and its model"),
        (with("messages", json!([])), "has 0 messages"),
        (with("surprise", json!(1)), "`surprise` in `request` is not a known field"),
        (message(json!("hi")), "`messages` in `request` at 1 must be an object"),
        (message(json!({ "role": "robot", "content": "a" })), "at 1 unknown variant `robot`"),
        (message(json!({ "role": "user" })), "at 1 has no `content`"),
        (message(json!({ "role": "user", "content": "a", "name": "bob" })), "at 1 unknown field `name`"),
        (message(json!({ "role": "assistant" })), "at 1 has neither `content` nor `tool_calls`"),
        (message(json!({ "role": "tool", "content": "a" })), "at 1 has no `tool_call_id`"),
        (message(json!({ "role": "user", "content": "a", "is_error": true })), "which only a tool has"),
        (with("tools", json!([{ "name": "a b", "input": {} }])), "`tools` in `request` at 0 must have a `name`"),
        (with("tools", json!([{ "name": "a", "input": 1 }])), "at 0 must have a JSON Schema"),
        (with("tools", json!([{ "name": "a", "input": {} }, { "name": "a", "input": {} }])), "second tool"),
        (with("tools", json!({})), "cannot be read"),
        (with("tool_choice", json!("required")), "there are no `tools`"),
        (with("tool_choice", json!({ "name": "a" })), "not among `tools`"),
        (with("output", json!({ "name": "a" })), "missing field `schema`"),
        (with("max_tokens", json!(0)), "`max_tokens` in `request` must be a whole number from 1"),
        (with("temperature", json!(2.1)), "must be a number from 0 to 2"),
        (with("top_p", json!("x")), "must be a number from 0 to 1"),
        (with("stop", json!([""])), "`stop` in `request` may have"),
        (with("seed", json!(0.5)), "`seed` in `request` must be a whole number"),
    ] {
        let (code, message) = refused(&request, "");
        assert!(message.contains(named), "{request}: {message}");
        assert_eq!(code, code::BAD_REQUEST, "{message}");
    }
    for (options, named) in [
        ("{\"tokens\":1}", "`tokens` in `options` is not a known field"),
        ("{\"timeout_ms\":3600001}", "must be a whole number from 1 to 3600000"),
        ("{\"span\":0}", "`span` in `options` must be the id of a span"),
        ("{\"prompts\":[{\"name\":\"a\"}]}", "`prompts` in `options` must be an array of at most 8"),
        ("{\"prompts\":[{\"name\":\"\",\"version\":\"1\"}]}", "`prompts` in `options` must be an array of at most 8"),
        ("{\"deltas\":\"a b\"}", "`deltas` in `options` must be 1 to 128"),
    ] {
        let (code, message) = refused(&least().to_string(), options);
        assert!(message.contains(named), "{options}: {message}");
        assert_eq!(code, code::BAD_OPTIONS);
    }
}

#[test]
fn more_than_a_provider_takes_is_refused() {
    let long = with("messages", json!([{ "role": "user", "content": "x".repeat(REQUEST_MAX_BYTES) }]));
    assert_eq!(refused(&long, "").0, code::TOO_LARGE);
    let tools: Vec<_> = (0..=TOOLS_MAX).map(|nth| json!({ "name": format!("t{nth}"), "input": {} })).collect();
    assert!(refused(&with("tools", json!(tools)), "").1.contains("at most 128"));
}
