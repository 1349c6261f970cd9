//! What crosses between guest and host: each import, both roles, results.

use super::support::*;
use crate::sandbox::*;
use trackway_replay::code;

#[tokio::test]
async fn a_workflow_returns_its_output() {
    let guest = TextGuest::of_run(|texts| format!("(call $return {})", texts.put("42")));
    let end = play(guest, Role::Workflow, Box::default()).await;
    assert_eq!(output_of(end), "42");
}

#[tokio::test]
async fn a_failure_reaches_the_worker_as_the_guest_gave_it() {
    let guest = TextGuest::of_call(|texts| format!("(call $fail {})", texts.put(r#"{"code":"NO"}"#)));
    let end = play(guest, Role::Function, Box::default()).await;
    assert!(matches!(end.how, Ended::Returned(Err(text)) if text == r#"{"code":"NO"}"#));
}

#[tokio::test]
async fn name_input_and_context_reach_the_guest() {
    for (operands, expected) in [("$a $al", "w"), ("$b $bl", "{}"), ("$c $cl", "[1]")] {
        let (pointer, length) = operands.split_once(' ').expect("two operands");
        let guest = TextGuest::of_run(|_| format!("(call $return (local.get {pointer}) (local.get {length}))"));
        let call = GuestCall { context: "[1]".into(), ..call_of(Role::Workflow) };
        let end = place().code(guest).await.call(call, Box::<Scripted>::default()).await;
        assert_eq!(output_of(end), expected);
    }
}

#[tokio::test]
async fn a_workflow_calls_sleeps_forgets_and_cancels() {
    let guest = TextGuest::of_run(|texts| {
        let (function, input, options) = (texts.put("fetch"), texts.put("[1,2]"), texts.put(r#"{"label":"x"}"#));
        let at = texts.put("src/lib.rs:41");
        format!(
            "(local.set $i (call $call {function} {input} {options} (i32.const 1) {at}))
             (drop (call $sleep (i64.const 1500) {options} {NO_AT}))
             (call $cancel (local.get $i)) (call $forget (local.get $i))
             (call $return {input})"
        )
    });
    let (host, seen) = Scripted::watched();
    assert_eq!(output_of(play(guest, Role::Workflow, host).await), "[1,2]");
    let commands: Vec<String> =
        seen.lock().expect("unpoisoned").commands.iter().map(|(command, _)| command.clone()).collect();
    assert_eq!(
        commands,
        [
            r#"call fetch [1,2] {"label":"x"} Some("src/lib.rs:41")"#,
            r#"sleep 1500 {"label":"x"} None"#,
            "cancel 1",
            "forget 1",
        ]
    );
}

#[tokio::test]
async fn a_function_asks_for_http() {
    let guest = TextGuest::of_call(|texts| {
        let (request, none) = (texts.put(r#"{"url":"http://a"}"#), texts.put(""));
        format!("(drop (call $http {request} {none} {NO_AT})) (call $return {request})")
    });
    let (host, seen) = Scripted::watched();
    output_of(play(guest, Role::Function, host).await);
    assert_eq!(seen.lock().expect("unpoisoned").commands[0].0, r#"http {"url":"http://a"}  None"#);
}

/// `next` into 64, then its body as the answer.
const NEXT_AND_RETURN: &str =
    "(call $next (i32.const 64)) (call $return (i32.load (i32.const 76)) (i32.load (i32.const 80)))";

#[tokio::test]
async fn a_delivery_reaches_the_guest_byte_for_byte() {
    let body = r#"{"text":"größer \u0000 als ein Byte"}"#;
    let guest = TextGuest::of_run(|_| NEXT_AND_RETURN.to_owned());
    let host = Scripted { deliveries: [delivery(9, body)].into(), ..Scripted::default() };
    assert_eq!(output_of(play(guest, Role::Workflow, Box::new(host)).await), body);
}

#[tokio::test]
async fn kind_and_id_of_a_delivery_reach_the_guest() {
    let guest = TextGuest::of_run(|_| {
        "(call $next (i32.const 64))
         (if (i32.ne (i32.load (i32.const 72)) (i32.const 9)) (then unreachable))
         (call $return (i32.load (i32.const 64)) (i32.load (i32.const 68)))"
            .to_owned()
    });
    let host = Scripted { deliveries: [delivery(9, "null")].into(), ..Scripted::default() };
    assert_eq!(output_of(play(guest, Role::Workflow, Box::new(host)).await), "succeeded");
}

#[tokio::test]
async fn a_guest_waits_until_its_host_is_ready() {
    let guest = TextGuest::of_run(|texts| {
        let text = texts.put("x");
        format!("(drop (call $call {text} {text} {text} {NO_AT})) {NEXT_AND_RETURN}")
    });
    let host = Scripted { deliveries: [delivery(1, "[7]")].into(), pending: 3, ..Scripted::default() };
    assert_eq!(output_of(play(guest, Role::Workflow, Box::new(host)).await), "[7]");
}

#[tokio::test]
async fn now_random_and_log_are_the_hosts() {
    let guest = TextGuest::of_run(|texts| {
        let (level, message, fields) = (texts.put("info"), texts.put("hello"), texts.put(r#"{"n":1}"#));
        format!(
            "(if (i64.ne (call $now) (i64.const 1700000000000)) (then unreachable))
             (call $log {level} {message} {fields})
             (call $random (i32.const 3) (i32.const 64))
             (call $return (i32.load (i32.const 64)) (i32.load (i32.const 68)))"
        )
    });
    let (host, seen) = Scripted::watched();
    assert_eq!(output_of(play(guest, Role::Workflow, host).await), "777");
    assert_eq!(seen.lock().expect("unpoisoned").logs, [r#"info hello {"n":1}"#]);
}

#[tokio::test]
async fn a_function_has_the_shared_imports_of_its_own_interface() {
    let guest = TextGuest::of_call(|texts| {
        let text = texts.put("x");
        format!(
            "(drop (call $esleep (i64.const 5) {text} {NO_AT})) (call $ecancel (i32.const 1)) (call $eforget (i32.const 1))
             (drop (call $enow)) (call $elog {text} {text} {text}) (call $erandom (i32.const 1) (i32.const 64))
             (call $enext (i32.const 64)) (call $return (i32.load (i32.const 76)) (i32.load (i32.const 80)))"
        )
    });
    let host = Scripted { deliveries: [delivery(1, "null")].into(), ..Scripted::default() };
    assert_eq!(output_of(play(guest, Role::Function, Box::new(host)).await), "null");
}

#[tokio::test]
async fn more_random_bytes_than_one_call_gives_trap() {
    let guest = TextGuest::of_run(|_| "(call $random (i32.const 65537) (i32.const 64))".to_owned());
    let failure = failure_of(play(guest, Role::Workflow, Box::default()).await);
    assert_eq!(failure.code, code::TRAP);
    assert!(failure.message.contains("65537") && failure.message.contains("65536"), "{failure}");
}

#[tokio::test]
async fn a_stop_ends_the_guest_at_that_command() {
    let guest = TextGuest::of_run(|texts| {
        let text = texts.put("x");
        format!("(loop $again (drop (call $call {text} {text} {text} {NO_AT})) (br $again))")
    });
    let (mut host, seen) = Scripted::watched();
    host.stop_at_command = Some(3);
    let end = play(guest, Role::Workflow, host).await;
    assert!(matches!(end.how, Ended::Stopped), "{end:?}");
    assert_eq!(seen.lock().expect("unpoisoned").commands.len(), 3);
}

#[tokio::test]
async fn each_call_gets_an_instance_of_its_own() {
    let guest = TextGuest::of_run(|texts| {
        let (first, again) = (texts.put("first"), texts.put("again"));
        format!(
            "(if (i32.load (i32.const 512)) (then (call $return {again})) (else (call $return {first})))
             (i32.store (i32.const 512) (i32.const 1))"
        )
    });
    let place = place();
    let code = place.code(guest).await;
    for _ in 0..3 {
        let end = Arc::clone(&code).call(call_of(Role::Workflow), Box::<Scripted>::default()).await;
        assert_eq!(output_of(end), "first");
    }
}

#[tokio::test]
async fn http_in_a_workflow_is_a_failure_with_place_and_advice() {
    let guest = TextGuest::of_run(|texts| {
        let (text, at) = (texts.put("{}"), texts.put("src/lib.rs:41"));
        format!("(drop (call $http {text} {text} (i32.const 1) {at}))")
    });
    let failure = failure_of(play(guest, Role::Workflow, Box::default()).await);
    assert_eq!(failure.code, code::WRONG_ROLE);
    assert_eq!(failure.message, "HTTP used in workflow `w` (src/lib.rs:41): move it into a function");
    assert_eq!(failure.at.as_deref(), Some("src/lib.rs:41"));
    assert!(!failure.retryable);
}

#[tokio::test]
async fn a_call_in_a_function_is_a_failure_with_advice() {
    let guest = TextGuest::of_call(|texts| {
        let text = texts.put("{}");
        format!("(drop (call $call {text} {text} {text} {NO_AT}))")
    });
    let failure = failure_of(play(guest, Role::Function, Box::default()).await);
    assert_eq!(failure.code, code::WRONG_ROLE);
    assert!(failure.message.starts_with("`step.call` used in function `f`"), "{failure}");
    assert!(failure.message.contains("let the workflow make this call"), "{failure}");
}

#[tokio::test]
async fn every_import_of_the_other_role_is_refused() {
    let text = "(i32.const 1024) (i32.const 0)";
    let of_effect = [
        format!("(drop (call $esleep (i64.const 1) {text} {NO_AT}))"),
        "(call $enext (i32.const 64))".to_owned(),
        "(call $eforget (i32.const 1))".to_owned(),
        "(call $ecancel (i32.const 1))".to_owned(),
        "(drop (call $enow))".to_owned(),
        "(call $erandom (i32.const 1) (i32.const 64))".to_owned(),
        format!("(call $elog {text} {text} {text})"),
    ];
    for body in &of_effect {
        let failure = failure_of(play(TextGuest::of_run(|_| body.clone()), Role::Workflow, Box::default()).await);
        assert_eq!(failure.code, code::WRONG_ROLE, "{body}");
        let of_step = body.replace("$e", "$");
        let failure = failure_of(play(TextGuest::of_call(|_| of_step.clone()), Role::Function, Box::default()).await);
        assert_eq!(failure.code, code::WRONG_ROLE, "{of_step}");
    }
}

#[tokio::test]
async fn a_result_over_the_limit_of_a_value_is_a_failure() {
    let guest = TextGuest::of_run(|_| "(call $return (i32.const 4096) (i32.const 60000))".to_owned());
    let limits = Limits { value_bytes: 50_000, ..Limits::default() };
    let end = place()
        .code(guest)
        .await
        .call(GuestCall { limits, ..call_of(Role::Workflow) }, Box::<Scripted>::default())
        .await;
    let failure = failure_of(end);
    assert_eq!(failure.code, code::TOO_LARGE);
    assert!(!failure.retryable);
}

#[tokio::test]
async fn a_value_a_little_over_the_limit_reaches_the_worker_and_one_far_over_it_does_not() {
    let guest = TextGuest::of_run(|_| {
        format!(
            "(drop (call $sleep (i64.const 1) (i32.const 0) (i32.const 30000) {NO_AT}))
             (drop (call $sleep (i64.const 1) (i32.const 0) (i32.const 60000) {NO_AT}))"
        )
    });
    let (host, seen) = Scripted::watched();
    let limits = Limits { value_bytes: 10_000, ..Limits::default() };
    let end = place().code(guest).await.call(GuestCall { limits, ..call_of(Role::Workflow) }, host).await;
    assert_eq!(failure_of(end).code, code::TOO_LARGE);
    assert_eq!(seen.lock().expect("unpoisoned").commands.len(), 1);
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_a_trap_and_not_a_panic() {
    let guest = TextGuest::of_run(|_| {
        format!(
            "(i32.store (i32.const 512) (i32.const 0xfffefdfc))
             (drop (call $sleep (i64.const 1) (i32.const 512) (i32.const 4) {NO_AT}))"
        )
    });
    let failure = failure_of(play(guest, Role::Workflow, Box::default()).await);
    assert_eq!(failure.code, code::TRAP);
    assert!(failure.message.contains("utf-8"), "{failure}");
}

#[tokio::test]
async fn text_outside_of_memory_is_a_trap_and_not_a_panic() {
    for (pointer, length) in [(0, -1), (-1, 1), (65_536, 1), (i32::MAX, i32::MAX)] {
        let guest = TextGuest::of_run(|_| {
            format!("(drop (call $sleep (i64.const 1) (i32.const {pointer}) (i32.const {length}) {NO_AT}))")
        });
        let failure = failure_of(play(guest, Role::Workflow, Box::default()).await);
        assert!([code::TRAP, code::TOO_LARGE].contains(&failure.code.as_str()), "{failure}");
    }
}

#[tokio::test]
async fn a_workflow_only_component_runs_and_has_no_call() {
    let mut guest = TextGuest::default();
    guest.run = format!("(call $return {})", guest.texts.put("1"));
    let place = place();
    let code = place.code(guest.build("workflow")).await;
    let end = Arc::clone(&code).call(call_of(Role::Workflow), Box::<Scripted>::default()).await;
    assert_eq!(output_of(end), "1");
    let end = code.call(call_of(Role::Function), Box::<Scripted>::default()).await;
    assert!(matches!(end.how, Ended::HostFailed(error) if error.code == crate::Code::WrongWorld));
}
