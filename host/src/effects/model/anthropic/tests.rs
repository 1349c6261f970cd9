//! What is sent in messages, and what is made of what comes back.

use super::super::ToolCall;
use super::*;

#[test]
fn a_request_is_sent_in_the_words_of_the_protocol() {
    let request = json!({
        "model": "anthropic/sonnet-4-5",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Weather in two cities?" },
            { "role": "system", "content": "And kind." },
            { "role": "assistant", "content": "", "tool_calls": [
                { "id": "c1", "name": "weather", "arguments": "{\"city\":\"Bern\"}" },
                { "id": "c2", "name": "weather", "arguments": "{oops" } ] },
            { "role": "tool", "tool_call_id": "c1", "content": "sunny" },
            { "role": "tool", "tool_call_id": "c2", "content": "no such city", "is_error": true },
            { "role": "user", "content": "Go on." },
        ],
        "tools": [{ "name": "weather", "description": "d", "input": { "type": "object" } }],
        "tool_choice": "required",
        "output": { "name": "out", "schema": { "type": "object" } },
        "temperature": 0.5, "top_p": 1, "stop": ["X"], "seed": 3,
    });
    let request = ModelRequest::parse(&request.to_string(), "").expect("a request");
    let sent: Value = serde_json::from_str(&body(&request)).expect("it is JSON");
    let expected = json!({
        "model": "sonnet-4-5",
        "max_tokens": 4096,
        "system": "Be brief.\n\nAnd kind.",
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Weather in two cities?" }] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "c1", "name": "weather", "input": { "city": "Bern" } },
                { "type": "tool_use", "id": "c2", "name": "weather", "input": { "arguments": "{oops" } } ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "c1", "content": "sunny" },
                { "type": "tool_result", "tool_use_id": "c2", "content": "no such city", "is_error": true },
                { "type": "text", "text": "Go on." } ] },
        ],
        "stream": true,
        "tools": [{ "name": "weather", "description": "d", "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "any" },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "temperature": 0.5, "top_p": 1.0, "stop_sequences": ["X"],
    });
    assert_eq!(sent, expected);
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

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"sonnet-4-5-20250929","usage":{"input_tokens":10,"cache_creation_input_tokens":50,"cache_read_input_tokens":200,"output_tokens":1}}}"#;

#[test]
fn a_streamed_answer_is_put_together() {
    let (text, said) = read(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x\":1}"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":15}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let said = said.expect("an answer");
    assert_eq!((text.as_str(), said.content.as_deref(), said.finish), ("Hello", Some("Hello"), Finish::ToolCalls));
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    };
    assert_eq!(said.tool_calls, [call("toolu_1", "f", "{\"x\":1}"), call("toolu_2", "g", "{}")]);
    let usage = Usage { input_tokens: 260, output_tokens: 15, cached_tokens: 200, cache_write_tokens: 50 };
    assert_eq!((said.usage, said.id.as_str()), (Some(usage), "msg_1"));
}

#[test]
fn an_answer_in_one_piece_is_read_too() {
    let body = r#"{"id":"msg","model":"m","type":"message","content":[{"type":"thinking","thinking":"hm"},
        {"type":"text","text":"Hi"},{"type":"tool_use","id":"t","name":"f","input":{"a":[1]}}],
        "stop_reason":"max_tokens","usage":{"input_tokens":5,"output_tokens":6}}"#;
    let said = Reader::default().whole(body).expect("an answer");
    assert_eq!((said.content.as_deref(), said.finish), (Some("Hi"), Finish::Length));
    assert_eq!(said.tool_calls[0].arguments, "{\"a\":[1]}");
    for broken in ["", "[]", "{}", r#"{"content":"text"}"#] {
        assert!(matches!(Reader::default().whole(broken), Err(Wrong::Garbage(_))), "{broken}");
    }
}

#[test]
fn refusals_errors_and_halves_are_told_apart() {
    let refused =
        [START, r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#, r#"{"type":"message_stop"}"#];
    assert_eq!(read(&refused).1.expect("an answer").finish, Finish::Refused);
    let busy = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let expected = Some(super::super::errors::Trouble::Overloaded);
    assert!(matches!(read(&[START, busy]).1, Err(Wrong::Told(told)) if told.trouble() == expected));
    let half = [START, r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#];
    assert!(matches!(read(&half).1, Err(Wrong::Garbage(_))), "it never said that it was finished");
    assert!(matches!(read(&["{}", "nonsense"]).1, Err(Wrong::Garbage(_))));
}
