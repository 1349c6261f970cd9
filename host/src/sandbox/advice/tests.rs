//! Which panics are recognised, in the words that std and known crates use.

use super::*;

#[test]
fn the_known_refusals_of_std_come_with_advice_for_both_roles() {
    let cases = [
        ("time not implemented on this platform", "ctx.now()", "ctx.now()"),
        ("can't sleep", "ctx.sleep", "ctx.sleep"),
        (
            "failed to spawn thread: Error { kind: Unsupported, message: \"operation not supported on this platform\" }",
            "join_all",
            "let the workflow call several functions",
        ),
        (
            "called `Result::unwrap()` on an `Err` value: Error { kind: Unsupported, message: \"operation not supported on this platform\" }",
            "move network access into a function",
            "`http`",
        ),
        ("condvar wait not supported", "no threads", "no threads"),
        ("there is no reactor running, must be called from the context of a Tokio 1.x runtime", "ctx.step", "`http`"),
        ("getrandom::getrandom() failed.", "ctx.random", "ctx.random"),
    ];
    for (message, workflow, function) in cases {
        for (role, told) in [(Role::Workflow, workflow), (Role::Function, function)] {
            let advice = for_panic(message, role).unwrap_or_else(|| panic!("no advice for {message}"));
            assert!(advice.contains(told), "{message}: {advice}");
        }
    }
}

#[test]
fn other_panics_are_left_as_they_are() {
    for message in ["index out of bounds: the len is 0 but the index is 0", "explicit panic", ""] {
        assert_eq!(for_panic(message, Role::Workflow), None);
        assert_eq!(for_panic(message, Role::Function), None);
    }
}

#[test]
fn http_in_a_workflow_belongs_into_a_function() {
    assert_eq!(for_wrong_role(Role::Workflow, "http"), "move it into a function");
    assert!(for_wrong_role(Role::Function, "call").contains("workflow"));
}
