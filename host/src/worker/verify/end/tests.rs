use super::{CodeIs, GuestEnd, agree, describe, describe_recorded};
use crate::sandbox::Ended;
use trackway_replay::{End, Failure, Limits, Value, code};

fn returned(text: &str) -> GuestEnd {
    GuestEnd::of(Ended::Returned(Err(text.to_owned())), &Limits::default()).expect("an end")
}

fn trapped(code: &str, message: &str, at: Option<&str>) -> GuestEnd {
    let failure = Failure::new(code, message).at(at.map(str::to_owned));
    GuestEnd::of(Ended::Trapped(failure), &Limits::default()).expect("an end")
}

fn output(text: &str) -> GuestEnd {
    GuestEnd::of(Ended::Returned(Ok(text.to_owned())), &Limits::default()).expect("an end")
}

fn failed(text: &str) -> End {
    End::Failed(Failure::from_guest(text).to_value())
}

fn same(recorded: &End, produced: &GuestEnd) -> bool {
    agree(recorded, produced, false, CodeIs::TheRecorded)
}

const NO_WAY: &str = r#"{"code":"NO_WAY","message":"m","details":{"n":1},"at":"src/lib.rs:1"}"#;

#[test]
fn a_returned_failure_is_compared_in_all_it_says() {
    let recorded = failed(NO_WAY);
    assert!(same(&recorded, &returned(NO_WAY)));
    for other in [
        r#"{"code":"NO_WAY","message":"other","details":{"n":1},"at":"src/lib.rs:1"}"#,
        r#"{"code":"NO_WAY","message":"m","details":{"n":2},"at":"src/lib.rs:1"}"#,
        r#"{"code":"NO_WAY","message":"m","at":"src/lib.rs:1"}"#,
        r#"{"code":"NO_WAY","message":"m","details":{"n":1},"at":"src/lib.rs:2"}"#,
        r#"{"code":"NO_WAY","message":"m","details":{"n":1},"at":"src/lib.rs:1","retryable":false}"#,
        r#"{"code":"WAY","message":"m","details":{"n":1},"at":"src/lib.rs:1"}"#,
    ] {
        assert!(!same(&recorded, &returned(other)), "{other}");
    }
}

#[test]
fn only_its_place_in_the_source_may_differ_in_other_code() {
    let recorded = failed(NO_WAY);
    let another = |text: &str| agree(&recorded, &returned(text), false, CodeIs::Another);
    assert!(another(r#"{"code":"NO_WAY","message":"m","details":{"n":1},"at":"src/lib.rs:7"}"#));
    assert!(!another(r#"{"code":"NO_WAY","message":"other","details":{"n":1},"at":"src/lib.rs:1"}"#));
    assert!(!another(r#"{"code":"NO_WAY","message":"m","details":{"n":2},"at":"src/lib.rs:1"}"#));
}

#[test]
fn what_the_host_made_is_compared_by_its_cause() {
    let recorded = |code: &str, message: &str| End::Failed(Failure::new(code, message).to_value());
    let trap = recorded(code::TRAP, "unreachable in `then`");
    assert!(same(&trap, &trapped(code::TRAP, "worded otherwise", None)));
    assert!(!same(&trap, &trapped(code::STACK_OVERFLOW, "unreachable in `then`", None)));
    // That a guest says the same code by itself is another end.
    assert!(!same(&trap, &returned(r#"{"code":"TRAP","message":"mine"}"#)));
}

#[test]
fn what_a_panic_says_is_the_guests_and_the_advice_is_not() {
    let place = |line: &str| Some(format!("src/lib.rs:{line}"));
    let recorded = End::Failed(Failure::new(code::PANIC, "no clock (use another)").at(place("1")).to_value());
    let panicked = |message: &str, at: &str| trapped(code::PANIC, message, place(at).as_deref());
    assert!(same(&recorded, &panicked("no clock", "1")));
    assert!(same(&recorded, &panicked("no clock (use another)", "1")));
    assert!(!same(&recorded, &panicked("no clocks", "1")));
    assert!(!same(&recorded, &panicked("no", "1")));
    assert!(!same(&recorded, &panicked("no clock", "2")));
    assert!(agree(&recorded, &panicked("no clock", "2"), false, CodeIs::Another));
}

#[test]
fn an_output_is_compared_byte_by_byte() {
    let recorded = End::Succeeded(Value::inline("[1, 2]"));
    assert!(same(&recorded, &output("[1, 2]")));
    assert!(!same(&recorded, &output("[1,2]")));
    assert!(!same(&recorded, &returned("[1, 2]")));
}

#[test]
fn an_output_that_was_refused_must_be_refused_again() {
    let Some(GuestEnd::MadeByHost(refusal)) = Some(output("not JSON")) else { panic!("it is no JSON") };
    assert_eq!(refusal.code, code::BAD_OUTPUT);
    let recorded = End::Failed(refusal.to_value());
    assert!(same(&recorded, &output("nor is this")));
    assert!(!same(&recorded, &output("1")));
}

#[test]
fn a_cancel_counts_only_where_it_was_delivered() {
    let cancelled = End::Cancelled { reason: "asked to".into() };
    let told = r#"{"code":"CANCELLED","message":"m"}"#;
    let agrees = |recorded: &End, delivered| agree(recorded, &returned(told), delivered, CodeIs::TheRecorded);
    assert!(agrees(&cancelled, true));
    assert!(!agrees(&cancelled, false));
    assert!(agrees(&failed(told), false));
    assert!(!agrees(&failed(told), true));
    assert!(!agree(&cancelled, &output("1"), true, CodeIs::TheRecorded));
    assert!(!agree(&End::Terminated { reason: "r".into() }, &returned(told), true, CodeIs::TheRecorded));
}

#[test]
fn a_difference_in_details_alone_can_be_seen() {
    let other = returned(r#"{"code":"NO_WAY","message":"m","details":{"n":2},"at":"src/lib.rs:1"}"#);
    assert_ne!(describe_recorded(&failed(NO_WAY)), describe(&other));
}
