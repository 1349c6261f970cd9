//! Guests that go too far end their own run with a clear failure, and ways around `step` lead
//! nowhere.

use crate::rig::{Rig, in_virtual_time};

fn fails_with(guest: &str, workflow: &str, input: &str, code: &str, told: &str) {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy(guest).await;
        let run = rig.start(guest, workflow, input).await;
        let failure = rig.failure(run).await;
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(told), "`{}` does not say `{told}`", failure.message);
        rig.replays(run).await;
    });
}

#[test]
fn a_panic_is_a_failure_with_its_message_and_place() {
    fails_with("limits", "panics", r#""on purpose""#, "PANIC", "on purpose");
}

#[test]
fn a_panic_after_a_step_is_a_failure() {
    fails_with("limits", "panics_later", "null", "PANIC", "index out of bounds");
}

#[test]
fn a_trap_is_a_failure() {
    fails_with("limits", "traps", "null", "TRAP", "unreachable");
}

#[test]
fn a_panic_in_a_function_is_a_failure() {
    fails_with("limits", "panic_in_function", "null", "PANIC", "there should have been something");
}

#[test]
fn deep_recursion_is_a_failure() {
    fails_with("limits", "deep_recursion", "null", "STACK_OVERFLOW", "");
}

#[test]
fn deep_recursion_in_a_function_is_a_failure() {
    fails_with("limits", "diving_function", "null", "STACK_OVERFLOW", "");
}

#[test]
fn taking_all_memory_is_a_failure() {
    fails_with("limits", "memory_bomb", "null", "OUT_OF_MEMORY", "");
}

#[test]
fn taking_all_memory_in_a_function_is_a_failure() {
    fails_with("limits", "greedy_function", "null", "OUT_OF_MEMORY", "");
}

#[test]
fn computing_for_ever_is_a_failure() {
    fails_with("limits", "endless_loop", "null", "OUT_OF_FUEL", "");
}

#[test]
fn the_clock_of_std_is_refused_with_advice() {
    fails_with("impure", "instant", "null", "PANIC", "ctx.now()");
    fails_with("impure", "system_time", "null", "PANIC", "ctx.now()");
}

#[test]
fn http_in_a_workflow_is_refused_with_advice() {
    fails_with("impure", "http_in_workflow", "null", "WRONG_ROLE", "function");
}

#[test]
fn maps_and_addresses_are_the_same_on_every_replay() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("impure").await;
        for workflow in ["hash_order", "address", "allowed"] {
            let run = rig.start("impure", workflow, "null").await;
            rig.output(run).await;
            rig.replays(run).await;
        }
    });
}
