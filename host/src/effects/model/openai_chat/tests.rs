//! What is sent in chat completions, and what is made of what comes back.

use serde_json::json;

use super::*;

fn request() -> ModelRequest {
    let request = json!({
        "model": "openai/gpt-4o-mini",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Weather?" },
            { "role": "assistant", "tool_calls": [{ "id": "c1", "name": "weather", "arguments": "{\"city\":\"Bern\"}" }] },
            { "role": "tool", "tool_call_id": "c1", "content": "sunny", "is_error": false },
        ],
        "tools": [{ "name": "weather", "description": "d", "input": { "type": "object" } }],
        "tool_choice": { "name": "weather" },
        "output": { "name": "out", "schema": { "type": "object", "properties": { "a": {} }, "required": ["a"],
                                               "additionalProperties": false } },
        "max_tokens": 7, "temperature": 0.5, "top_p": 1, "stop": ["X"], "seed": 3,
    });
    ModelRequest::parse(&request.to_string(), "").expect("a request")
}

fn sent(dialect: Dialect) -> Value {
    serde_json::from_str(&body(&request(), dialect)).expect("it is JSON")
}

#[test]
fn a_request_is_sent_in_the_words_of_the_protocol() {
    let expected = json!({
        "model": "gpt-4o-mini",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Weather?" },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function",
                "function": { "name": "weather", "arguments": "{\"city\":\"Bern\"}" } }] },
            { "role": "tool", "content": "sunny", "tool_call_id": "c1" },
        ],
        "stream": true,
        "stream_options": { "include_usage": true },
        "tools": [{ "type": "function",
                    "function": { "name": "weather", "description": "d", "parameters": { "type": "object" } } }],
        "tool_choice": { "type": "function", "function": { "name": "weather" } },
        "response_format": { "type": "json_schema", "json_schema": { "name": "out", "strict": true, "schema": {
            "type": "object", "properties": { "a": {} }, "required": ["a"], "additionalProperties": false } } },
        "max_completion_tokens": 7, "temperature": 0.5, "top_p": 1.0, "stop": ["X"], "seed": 3,
    });
    assert_eq!(sent(Dialect::OpenAi), expected);
    let plain = sent(Dialect::Plain);
    assert_eq!((&plain["max_tokens"], plain.get("max_completion_tokens")), (&json!(7), None));
    let mistral = sent(Dialect::Mistral);
    assert_eq!((mistral.get("stream_options"), mistral.get("seed"), &mistral["random_seed"]), (None, None, &json!(3)));
}

#[test]
fn only_a_schema_that_leaves_nothing_open_is_held_to_the_letter() {
    let check = |schema: Value| is_strict(&RawValue::from_string(schema.to_string()).expect("it is JSON"));
    let inner = json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false });
    let object = |inner: Value, required: Value, more: Value| json!({ "type": "object", "properties": { "a": inner }, "required": required, "additionalProperties": more });
    assert!(check(object(inner.clone(), json!(["a"]), json!(false))));
    assert!(!check(object(inner.clone(), json!([]), json!(false))), "a field may be left out");
    assert!(!check(object(inner, json!(["a"]), json!(true))), "others are let in");
    assert!(!check(object(json!({ "type": "object" }), json!(["a"]), json!(false))), "an open one inside");
    assert!(!check(json!({ "type": "object", "$defs": { "x": { "type": "object" } }, "properties": {},
                           "additionalProperties": false })));
}

/// The text of all pieces, and the answer.
fn read(events: &[&str]) -> (String, Result<Said, Wrong>) {
    let mut reader = Reader::new(Dialect::OpenRouter);
    let mut text = String::new();
    for event in events {
        match reader.event(event) {
            Ok(piece) => text.push_str(&piece),
            Err(wrong) => return (text, Err(wrong)),
        }
    }
    (text, reader.end())
}

#[test]
fn a_streamed_answer_is_put_together() {
    let (text, said) = read(&[
        r#"{"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Hel"}}]}"#,
        r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"lo"}}]}"#,
        r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":2,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":8},"cost":0.00015}}"#,
        "[DONE]",
    ]);
    let usage = Usage { input_tokens: 12, output_tokens: 2, cached_tokens: 8, cache_write_tokens: 0 };
    let expected = Said {
        id: "chatcmpl-1".into(),
        model: "gpt-4o-mini-2024-07-18".into(),
        content: Some("Hello".into()),
        tool_calls: vec![],
        finish: Finish::Stop,
        usage: Some(usage),
        cost_nanousd: Some(150_000),
    };
    assert_eq!((text.as_str(), said), ("Hello", Ok(expected)));
}

fn call(id: &str, name: &str, arguments: &str) -> super::super::ToolCall {
    super::super::ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
}

#[test]
fn calls_of_tools_are_put_together_however_they_are_counted() {
    let chunk = |calls: &str| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{calls}]}}}}]}}"#);
    let end = r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned();
    let check = |pieces: &[&str], expected: &[super::super::ToolCall]| {
        let mut events: Vec<String> = pieces.iter().map(|piece| chunk(piece)).collect();
        events.push(end.clone());
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let said = read(&events).1.expect("an answer");
        assert_eq!((said.tool_calls.as_slice(), said.finish, said.content), (expected, Finish::ToolCalls, None));
    };
    check(
        &[
            r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#,
            r#"{"index":0,"function":{"arguments":"{\"x\""}}"#,
            r#"{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}"#,
            r#"{"index":0,"function":{"arguments":":1}"}}"#,
            r#"{"index":1,"function":{"arguments":"}"}}"#,
        ],
        &[call("a", "f", "{\"x\":1}"), call("b", "g", "{}")],
    );
    // All with the same number.
    check(
        &[
            r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"g","arguments":"{\"y\":2}"}}"#,
        ],
        &[call("a", "f", "{}"), call("b", "g", "{\"y\":2}")],
    );
    // Not counted, without ids, and as an object.
    check(&[r#"{"function":{"name":"f","arguments":{"z":3}}}"#], &[call("call_0", "f", "{\"z\":3}")]);
    // What is no JSON is passed on as it was written.
    check(&[r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{oops"}}"#], &[call("a", "f", "{oops")]);
}

#[test]
fn an_answer_in_one_piece_is_read_too() {
    let whole = |body: &str| Reader::new(Dialect::Plain).whole(body);
    let said = whole(
        r#"{"id":"x","model":"m","choices":[{"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    );
    assert_eq!(said.expect("an answer").tool_calls, [call("a", "f", "{}")]);
    let said = whole(r#"{"choices":[{"message":{"content":null,"refusal":"I will not."},"finish_reason":"stop"}]}"#);
    let said = said.expect("an answer");
    assert_eq!((said.finish, said.content.as_deref(), said.usage), (Finish::Refused, Some("I will not."), None));
    for broken in ["", "[]", "{}", r#"{"choices":[]}"#, "{\"choices\":7}"] {
        assert!(matches!(whole(broken), Err(Wrong::Garbage(_))), "{broken}");
    }
}

#[test]
fn a_call_that_was_cut_off_before_its_arguments_has_none() {
    let chunk =
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}}]}"#;
    for (reason, arguments) in [("length", ""), ("tool_calls", "{}")] {
        let end = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
        assert_eq!(read(&[chunk, &end]).1.expect("an answer").tool_calls, [call("a", "f", arguments)], "{reason}");
    }
}

#[test]
fn half_an_answer_and_errors_in_the_middle_are_no_answer() {
    let half = [r#"{"choices":[{"delta":{"content":"Hel"}}]}"#];
    assert!(matches!(read(&half), (text, Err(Wrong::Garbage(_))) if text == "Hel"));
    // A server that writes no reason as an empty text has not come to its end.
    let empty = r#"{"choices":[{"delta":{"content":"Hel"},"finish_reason":""}]}"#;
    assert!(matches!(read(&[empty, "[DONE]"]).1, Err(Wrong::Garbage(_))));
    let error = read(&[half[0], r#"{"error":{"message":"busy","type":"server_error","code":503}}"#]).1;
    assert!(matches!(&error, Err(Wrong::Told(told)) if told.code == "503" && told.message == "busy"), "{error:?}");
    for garbage in ["{", "null", "\"text\"", "{\"choices\":[{\"finish_reason\":\"error\"}]}"] {
        assert!(matches!(read(&[garbage]).1, Err(Wrong::Garbage(_))), "{garbage}");
    }
}

#[test]
fn what_a_hostile_server_sends_is_bounded() {
    let call =
        |place: usize| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"index":{place},"id":"c{place}"}}]}}}}]}}"#);
    let calls: Vec<String> = (0..300).map(call).collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    assert!(matches!(read(&calls).1, Err(Wrong::TooLarge(_))));
    let text = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(1 << 20));
    assert!(matches!(read(&[text.as_str(); 9]).1, Err(Wrong::TooLarge(_))));
    let odd = r#"{"id":7,"choices":[{"delta":{"content":{"a":1},"tool_calls":[1,{"index":18446744073709551615,"id":"é"},{"function":null}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":-1,"completion_tokens":1e99}}"#;
    let said = read(&[odd]).1.expect("what can be read of it");
    assert_eq!((said.usage.map(|usage| usage.output_tokens), said.finish), (Some(0), Finish::ToolCalls));
}
