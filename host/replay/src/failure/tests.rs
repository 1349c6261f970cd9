//! What a failure promises.

use proptest::prelude::*;

use super::{DETAILS_MAX_BYTES, Failure, MESSAGE_MAX_BYTES, code};
use crate::{Digest, Value};

fn text_of(failure: &Failure) -> String {
    match failure.to_value() {
        Value::Inline(text) => text.to_string(),
        Value::Stored { .. } => panic!("a failure is always inline"),
    }
}

fn check_kept(text: &str) {
    assert_eq!(text_of(&Failure::from_guest(text)), text);
}

#[test]
fn a_failure_object_is_kept_as_it_is() {
    check_kept(r#"{"code":"NO_STOCK","message":"none left","retryable":false}"#);
    check_kept(r#"{"code":"X","message":"","retryable":true,"details":{"b":1, "a":[1.0,2]},"at":"src/lib.rs:4"}"#);
}

#[test]
fn fields_left_out_have_their_defaults_and_unknown_ones_are_dropped() {
    let failure = Failure::from_guest(r#"{"message": "m", "code": "A1_B", "more": [[1]]}"#);
    assert_eq!(text_of(&failure), r#"{"code":"A1_B","message":"m","retryable":true}"#);
}

fn check_is_message(text: &str) {
    let failure = Failure::from_guest(text);
    assert_eq!((failure.code.as_str(), failure.message.as_str()), (code::FAILED, text));
    assert!(failure.retryable && failure.details.is_none() && failure.at.is_none());
}

#[test]
fn text_that_is_no_failure_becomes_the_message_of_one() {
    check_is_message("");
    check_is_message("it broke");
    check_is_message("null");
    check_is_message("\"text\"");
    check_is_message(r#"{"message":"no code"}"#);
    check_is_message(r#"{"code":"no capitals","message":"m"}"#);
    check_is_message(r#"{"code":"","message":"m"}"#);
    check_is_message(r#"{"code":"A","message":"m"} and more"#);
    check_is_message(r#"{"code":"A","message":1}"#);
    check_is_message(r#"{"code":"A","message":"m","retryable":"yes"}"#);
    check_is_message(&format!(r#"{{"code":"{}","message":"m"}}"#, "A".repeat(65)));
    // An array of the fields in order is not the object.
    check_is_message(r#"["CODE","message",true,null,null]"#);
}

#[test]
fn deep_json_is_a_failure_like_any_other() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    check_kept(&format!(r#"{{"code":"A","message":"m","retryable":true,"details":{}}}"#, deep(8_000)));
    let unknown = Failure::from_guest(&format!(r#"{{"code":"A","message":"m","more":{}}}"#, deep(500_000)));
    assert_eq!(unknown.code, "A");
    let plain = Failure::from_guest(&deep(500_000));
    assert_eq!((plain.code.as_str(), plain.message.len()), (code::FAILED, MESSAGE_MAX_BYTES));
}

#[test]
fn a_long_message_is_cut_between_characters() {
    for character in ["x", "é", "水", "😀", "\"", "\n", "\u{1}"] {
        let failure = Failure::from_guest(&character.repeat(MESSAGE_MAX_BYTES));
        assert!(failure.message.len() <= MESSAGE_MAX_BYTES);
        assert_eq!(failure.message, character.repeat(failure.message.chars().count()));
        let written = serde_json::to_string(&failure.message).expect("text is JSON").len() - 2;
        assert!(written > MESSAGE_MAX_BYTES - 6, "{character:?}: only {written} bytes are left");
    }
}

#[test]
fn details_over_their_limit_are_left_out_and_the_rest_stays() {
    let with = |bytes: usize| {
        Failure::from_guest(&format!(r#"{{"code":"A","message":"m","details":"{}"}}"#, "x".repeat(bytes - 2)))
    };
    assert!(with(DETAILS_MAX_BYTES).details.is_some());
    let without = with(DETAILS_MAX_BYTES + 1);
    assert!(without.details.is_none());
    assert_eq!((without.code.as_str(), without.message.as_str()), ("A", "m"));
}

#[test]
fn a_stored_failure_says_where_it_is() {
    let digest = Digest::of(b"x");
    let failure = Failure::from_value(&Value::Stored { digest, size_bytes: 1 });
    assert!(failure.message.contains(&digest.to_string()));
}

#[test]
fn permanent_failures_are_not_retried() {
    assert!(Failure::new(code::TRAP, "m").retryable);
    assert!(!Failure::permanent(code::OUT_OF_FUEL, "m").retryable);
    assert_eq!(Failure::permanent(code::TRAP, "m").to_string(), "TRAP: m");
}

proptest! {
    #[test]
    fn any_text_becomes_a_failure_that_fits_and_comes_back(text: String, repeat in 1_usize..600) {
        let failure = Failure::from_guest(&text.repeat(repeat));
        let value = failure.to_value();
        prop_assert!(value.size_bytes() <= Value::INLINE_MAX_BYTES as u64);
        let again = Failure::from_value(&value);
        prop_assert_eq!(again.to_value(), value);
    }

    #[test]
    fn any_failure_fits_and_comes_back(
        code in "[A-Z0-9_]{1,64}", message in ".{0,9000}", retryable: bool, at in proptest::option::of(".{0,700}"),
        details in proptest::option::of("[a-z\u{1}\"\\\\]{0,20000}"),
    ) {
        let details = details.map(|text| serde_json::value::to_raw_value(&text).expect("text is JSON"));
        let value = Failure { code, message, retryable, retry_after_ms: None, details, at }.to_value();
        prop_assert!(value.size_bytes() <= Value::INLINE_MAX_BYTES as u64);
        prop_assert_eq!(Failure::from_value(&value).to_value(), value);
    }
}
