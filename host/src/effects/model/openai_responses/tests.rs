//! What is sent in responses, and what is made of what comes back.

use serde_json::json;

use super::super::ToolCall;
use super::*;

fn request(more: Value) -> ModelRequest {
    let mut request = json!({
        "model": "openai/gpt-5",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Weather?" },
            { "role": "assistant", "content": "Let me see.",
              "tool_calls": [{ "id": "c1", "name": "weather", "arguments": "{}" }] },
            { "role": "tool", "tool_call_id": "c1", "content": "sunny" },
        ],
        "tools": [{ "name": "weather", "input": { "type": "object" } }],
        "tool_choice": "required",
        "output": { "name": "out", "schema": { "type": "object" } },
        "max_tokens": 7, "seed": 3,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    ModelRequest::parse(&request.to_string(), "").expect("a request")
}

#[test]
fn a_request_is_sent_in_the_words_of_the_protocol() {
    let sent: Value = serde_json::from_str(&body(&request(json!({}))).expect("it can be asked")).expect("it is JSON");
    let expected = json!({
        "model": "gpt-5",
        "input": [
            { "type": "message", "role": "system", "content": "Be brief." },
            { "type": "message", "role": "user", "content": "Weather?" },
            { "type": "message", "role": "assistant", "content": "Let me see." },
            { "type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c1", "output": "sunny" },
        ],
        "stream": true,
        "store": false,
        "tools": [{ "type": "function", "name": "weather", "parameters": { "type": "object" }, "strict": false }],
        "tool_choice": "required",
        "text": { "format": { "type": "json_schema", "name": "out", "schema": { "type": "object" }, "strict": false } },
        "max_output_tokens": 7,
    });
    assert_eq!(sent, expected);
    let refused = body(&request(json!({ "stop": ["X"] }))).expect_err("the protocol has no place for it");
    assert_eq!((refused.code.as_str(), refused.retryable), (code::BAD_REQUEST, false));
}

fn read(events: &[&str]) -> (String, Result<Said, Wrong>) {
    let mut reader = Reader::default();
    let mut text = String::new();
    for event in events {
        match reader.event(event) {
            Ok(piece) => text.push_str(&piece),
            Err(wrong) => return (text, Err(wrong)),
        }
    }
    (text, reader.end())
}

const END: &str = r#"{"type":"response.completed","response":{"id":"resp_1","model":"gpt-5-2025","status":"completed","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3}}}"#;

#[test]
fn a_streamed_answer_is_put_together() {
    let (text, said) = read(&[
        r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt-5-2025","status":"in_progress"}}"#,
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"delta":"hm"}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"message","id":"m"}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"delta":"Hel"}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"delta":"lo"}"#,
        r#"{"type":"response.output_text.done","output_index":1,"text":"Hello"}"#,
        r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"x\""}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":":1}"}"#,
        r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}"}}"#,
        END,
    ]);
    let said = said.expect("an answer");
    assert_eq!((text.as_str(), said.content.as_deref(), said.finish), ("Hello", Some("Hello"), Finish::ToolCalls));
    assert_eq!(said.tool_calls, [ToolCall { id: "c1".into(), name: "f".into(), arguments: "{\"x\":1}".into() }]);
    let usage = Usage { input_tokens: 9, output_tokens: 3, cached_tokens: 4, cache_write_tokens: 0 };
    assert_eq!((said.usage, said.id.as_str(), said.model.as_str()), (Some(usage), "resp_1", "gpt-5-2025"));
}

#[test]
fn an_answer_in_one_piece_is_read_too() {
    let body = r#"{"id":"r","model":"m","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},
        "error":null,"output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"Hi"}]},
        {"type":"function_call","call_id":"c","name":"f","arguments":"{}"}],"usage":{"input_tokens":1,"output_tokens":1}}"#;
    let said = Reader::default().whole(body).expect("an answer");
    assert_eq!((said.content.as_deref(), said.finish, said.tool_calls.len()), (Some("Hi"), Finish::Length, 1));
    for broken in ["", "[]", "{}", r#"{"output":7}"#, r#"{"output":[],"status":"failed"}"#] {
        assert!(matches!(Reader::default().whole(broken), Err(Wrong::Garbage(_))), "{broken}");
    }
}

#[test]
fn refusals_errors_and_halves_are_told_apart() {
    let said = read(&[r#"{"type":"response.refusal.delta","delta":"No."}"#, END]).1.expect("an answer");
    assert_eq!((said.finish, said.content.as_deref()), (Finish::Refused, Some("No.")));
    let failed =
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}"#;
    assert!(matches!(read(&[failed]).1, Err(Wrong::Told(told)) if told.code == "server_error"));
    let error = r#"{"type":"error","code":"rate_limit_exceeded","message":"slow"}"#;
    let expected = Some(super::super::errors::Trouble::RateLimited);
    assert!(matches!(read(&[error]).1, Err(Wrong::Told(told)) if told.trouble() == expected));
    let half = r#"{"type":"response.output_text.delta","delta":"Hel"}"#;
    assert!(matches!(read(&[half]), (text, Err(Wrong::Garbage(_))) if text == "Hel"));
    assert!(matches!(read(&["nonsense"]).1, Err(Wrong::Garbage(_))));
}
