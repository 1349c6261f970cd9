//! How guests end that go wrong.

use super::support::*;
use crate::sandbox::*;
use trackway_replay::code;

async fn failure_of_run(make: impl FnOnce(&mut Texts) -> String) -> Failure {
    failure_of(play(TextGuest::of_run(make), Role::Workflow, Box::default()).await)
}

#[tokio::test]
async fn an_infinite_loop_ends_out_of_fuel() {
    let failure = failure_of_run(|_| "(loop $again (br $again))".to_owned()).await;
    assert_eq!(failure.code, code::OUT_OF_FUEL);
    assert!(!failure.retryable);
}

#[tokio::test]
async fn deep_recursion_ends_as_stack_overflow() {
    let mut guest = TextGuest::default();
    guest.run = "(drop (call $deep (i32.const 0)))".to_owned();
    guest.more = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))".to_owned();
    let failure = failure_of(play(guest.build("app"), Role::Workflow, Box::default()).await);
    assert_eq!(failure.code, code::STACK_OVERFLOW);
    assert!(!failure.retryable);
}

/// As compilers do it that keep locals in linear memory.
#[tokio::test]
async fn recursion_that_runs_off_the_stack_in_memory_ends_as_stack_overflow_too() {
    let mut guest = TextGuest::default();
    guest.run = "(drop (call $deep (i32.const 16000)))".to_owned();
    guest.more = "(func $deep (param i32) (result i32) (i32.store (local.get 0) (i32.const 0))
                  (i32.add (call $deep (i32.sub (local.get 0) (i32.const 64))) (i32.const 1)))"
        .to_owned();
    let failure = failure_of(play(guest.build("app"), Role::Workflow, Box::default()).await);
    assert_eq!(failure.code, code::STACK_OVERFLOW);
    assert_eq!(failure.message, "recursion too deep in `deep`");
}

#[tokio::test]
async fn a_trap_names_its_cause_and_function() {
    let mut guest = TextGuest::default();
    guest.run = "(call $divide (i32.const 0))".to_owned();
    guest.more = "(func $divide (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))".to_owned();
    let failure = failure_of(play(guest.build("app"), Role::Workflow, Box::default()).await);
    assert_eq!(failure.code, code::TRAP);
    assert_eq!(failure.message, "integer divide by zero in `divide`");
    assert!(failure.retryable);
    let details = failure.details.expect("a backtrace");
    assert!(details.get().starts_with(r#"{"backtrace":["divide""#), "{details}");
}

#[tokio::test]
async fn unreachable_and_out_of_bounds_are_traps() {
    for body in ["unreachable", "(drop (i32.load (i32.const -8)))"] {
        let failure = failure_of_run(|_| body.to_owned()).await;
        assert_eq!(failure.code, code::TRAP);
        assert!(failure.retryable);
    }
}

#[tokio::test]
async fn a_panic_arrives_with_message_and_place() {
    let failure = failure_of_run(|texts| {
        let (message, at) = (texts.put("index out of bounds: the len is 0"), texts.put("src/lib.rs:7:5"));
        format!("(call $panicked {message} (i32.const 1) {at}) unreachable")
    })
    .await;
    assert_eq!(failure.code, code::PANIC);
    assert_eq!(failure.message, "index out of bounds: the len is 0");
    assert_eq!(failure.at.as_deref(), Some("src/lib.rs:7:5"));
    assert!(failure.retryable);
}

#[tokio::test]
async fn a_panic_through_the_other_interface_counts_too() {
    let failure = failure_of_run(|texts| {
        let message = texts.put("gone");
        format!("(call $epanicked {message} {NO_AT}) unreachable")
    })
    .await;
    assert_eq!((failure.code.as_str(), failure.message.as_str()), (code::PANIC, "gone"));
}

#[tokio::test]
async fn a_panic_about_the_clock_comes_with_advice() {
    let failure = failure_of_run(|texts| {
        let message = texts.put("time not implemented on this platform");
        format!("(call $panicked {message} {NO_AT}) unreachable")
    })
    .await;
    assert!(failure.message.starts_with("time not implemented on this platform (there is no clock in a workflow"));
    assert!(failure.message.contains("ctx.now()"), "{failure}");
}

#[tokio::test]
async fn a_memory_bomb_ends_out_of_memory() {
    let failure = failure_of_run(|_| {
        "(loop $again (drop (call $alloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 65536))) (br $again))"
            .to_owned()
    })
    .await;
    assert_eq!(failure.code, code::OUT_OF_MEMORY);
    assert!(!failure.retryable);
}

#[tokio::test]
async fn growing_over_the_limit_answers_minus_one_and_a_guest_may_live_with_it() {
    let guest = |pages: u32, refused: &str| {
        TextGuest::of_run(|texts| {
            let ok = texts.put("ok");
            format!(
                "(if (i32.ne (memory.grow (i32.const {pages})) (i32.const {refused})) (then unreachable)) (call $return {ok})"
            )
        })
    };
    // 1 page is there; 16 pages are a MiB.
    let limits = Limits { memory_bytes: 16 << 16, ..Limits::default() };
    for (pages, answer) in [(15, "1"), (16, "-1"), (65_535, "-1"), (u32::MAX, "-1")] {
        let call = GuestCall { limits: limits.clone(), ..call_of(Role::Workflow) };
        let end = place().code(guest(pages, answer)).await.call(call, Box::<Scripted>::default()).await;
        assert_eq!(output_of(end), "ok", "{pages} pages");
    }
}

#[tokio::test]
async fn all_memories_of_an_instance_share_one_limit() {
    let mut guest = TextGuest::default();
    guest.memory = Some("(memory (export \"memory\") 1) (memory $more 1)".to_owned());
    guest.run = "(if (i32.ne (memory.grow 0 (i32.const 10)) (i32.const 1)) (then unreachable))
                 (if (i32.ne (memory.grow $more (i32.const 10)) (i32.const -1)) (then unreachable))
                 (if (i32.ne (memory.grow $more (i32.const 4)) (i32.const 1)) (then unreachable))"
        .to_owned();
    guest.run += &format!("(call $return {})", guest.texts.put("ok"));
    let call = GuestCall { limits: Limits { memory_bytes: 16 << 16, ..Limits::default() }, ..call_of(Role::Workflow) };
    let end = place().code(guest.build("app")).await.call(call, Box::<Scripted>::default()).await;
    assert_eq!(output_of(end), "ok");
}

#[tokio::test]
async fn tables_have_a_limit_too() {
    let mut guest = TextGuest::default();
    guest.more = "(table $t 10 funcref)".to_owned();
    guest.run = "(if (i32.ne (table.grow $t (ref.null func) (i32.const 300)) (i32.const -1)) (then unreachable))
                 (if (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const 10)) (then unreachable))
                 (if (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)) (then unreachable))"
        .to_owned();
    guest.run += &format!("(call $return {})", guest.texts.put("ok"));
    // Beside it the component's own shims have a table of some elements.
    let limits = Limits { table_elements: 200, ..Limits::default() };
    let call = GuestCall { limits, ..call_of(Role::Workflow) };
    let end = place().code(guest.build("app")).await.call(call, Box::<Scripted>::default()).await;
    assert_eq!(output_of(end), "ok");
}

#[tokio::test]
async fn an_instance_that_begins_over_its_limit_is_out_of_memory() {
    let mut guest = TextGuest::default();
    guest.memory = Some("(memory (export \"memory\") 20)".to_owned());
    let call = GuestCall { limits: Limits { memory_bytes: 16 << 16, ..Limits::default() }, ..call_of(Role::Workflow) };
    let end = place().code(guest.build("app")).await.call(call, Box::<Scripted>::default()).await;
    assert_eq!(failure_of(end).code, code::OUT_OF_MEMORY);
}

#[tokio::test]
async fn a_panic_after_a_refused_growth_is_told_as_the_panic_that_it_is() {
    for (message, expected) in [("oh no", code::PANIC), ("memory allocation of 99 bytes failed", code::OUT_OF_MEMORY)] {
        let failure = failure_of_run(|texts| {
            let message = texts.put(message);
            format!("(drop (memory.grow (i32.const 65000))) (call $panicked {message} {NO_AT}) unreachable")
        })
        .await;
        assert_eq!(failure.code, expected);
    }
}

#[tokio::test]
async fn a_guest_that_waits_with_nothing_to_come_ends_as_the_host_says() {
    let guest = TextGuest::of_run(|_| "(call $next (i32.const 64))".to_owned());
    let end = play(guest, Role::Workflow, Box::default()).await;
    assert!(matches!(end.how, Ended::Stopped), "{end:?}");
}

#[tokio::test]
async fn a_start_function_runs_on_the_fuel_of_the_call() {
    let mut guest = TextGuest::default();
    // `describe` runs it too, with little fuel of its own: so it loops only after `describe` is past.
    guest.more = "(func $init (local $n i32) (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $again (i32.lt_u (local.get $n) (i32.const 1000000))))) (start $init)"
        .to_owned();
    let call = GuestCall { fuel: 1_000, ..call_of(Role::Workflow) };
    let end = place().code(guest.build("app")).await.call(call, Box::<Scripted>::default()).await;
    assert_eq!(end.fuel, 1_000);
    assert_eq!(failure_of(end).code, code::OUT_OF_FUEL);
}
