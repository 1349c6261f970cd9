use serde_json::json;

use super::*;

#[test]
fn messages_are_written_as_the_contract_says() {
    let call = ToolCall { id: "1".into(), name: "search".into(), arguments: "{}".into() };
    let asked = Message { content: None, tool_calls: vec![call], ..Message::assistant("") };
    for (message, text) in [
        (Message::user("hello"), json!({ "role": "user", "content": "hello" })),
        (
            asked,
            json!({
                "role": "assistant", "content": null,
                "tool_calls": [{ "id": "1", "name": "search", "arguments": "{}" }],
            }),
        ),
        (
            Message::tool_error("1", "no"),
            json!({ "role": "tool", "content": "no", "tool_call_id": "1", "is_error": true }),
        ),
    ] {
        assert_eq!(serde_json::to_value(&message).expect("a message is text"), text);
        assert_eq!(serde_json::from_value::<Message>(text).expect("it is a message"), message);
    }
}

#[test]
fn sums_of_tokens_and_money_never_overflow() {
    let usage = Usage { input_tokens: u64::MAX, output_tokens: 7, ..Usage::default() };
    assert_eq!((usage + usage).total_tokens(), u64::MAX);
    assert_eq!(Usd::from_nanos(u64::MAX) + Usd::from_nanos(1), Usd::from_nanos(u64::MAX));
}

#[test]
fn money_is_shown_in_dollars_with_all_that_there_is() {
    for (nanos, shown) in [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (150_000, "$0.00015"),
        (10_000_000, "$0.01"),
        (1_500_000_000, "$1.50"),
        (12_345_000_000_000, "$12345.00"),
    ] {
        assert_eq!(Usd::from_nanos(nanos).to_string(), shown);
    }
    for (dollars, nanos) in [(0.05, 50_000_000), (-1.0, 0), (f64::NAN, 0), (f64::INFINITY, u64::MAX)] {
        assert_eq!(Usd::from_dollars(dollars).as_nanos(), nanos, "{dollars}");
    }
}

#[test]
fn a_reason_that_nobody_knew_is_another_one() {
    let reason: FinishReason = serde_json::from_str("\"daydreaming\"").expect("it is a reason");
    assert_eq!(reason, FinishReason::Other);
}

#[test]
fn many_things_are_a_conversation() {
    let one = [Message::user("hi")];
    for conversation in
        [Conversation::from("hi"), "hi".to_owned().into(), Message::user("hi").into(), Conversation::new().user("hi")]
    {
        assert_eq!(conversation.messages(), one);
    }
}
