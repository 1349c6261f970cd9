//! Bugs of the host in the middle of a call: planted here, in what answers a guest.

use super::support::*;
use crate::sandbox::*;

/// Breaks at every command, and at nothing else.
struct Broken;

impl GuestHost for Broken {
    fn command(&mut self, _: Command<'_>, _: u64) -> Result<Reply, Stop> {
        panic!("planted in a command")
    }

    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<Delivery, Stop>> {
        panic!("planted in a delivery")
    }

    fn promise_token(&mut self, _: u32) -> String {
        panic!("planted in a token")
    }

    fn now_ms(&mut self) -> u64 {
        panic!("planted in the clock")
    }

    fn random(&mut self, _: &mut [u8]) {
        panic!("planted in the dice")
    }

    fn log(&mut self, _: &str, _: &str, _: &str) {
        panic!("planted in the log")
    }
}

#[tokio::test]
async fn a_bug_in_an_import_costs_the_call_that_met_it_and_nothing_else() {
    type Body = fn(&str) -> String;
    let place = place();
    let calls: [(&str, Role, Body); 12] = [
        ("a command", Role::Workflow, |text| format!("(drop (call $call {text} {text} {text} {NO_AT}))")),
        ("a command", Role::Workflow, |_| "(call $cancel (i32.const 1))".to_owned()),
        ("a delivery", Role::Workflow, |_| "(call $next (i32.const 64))".to_owned()),
        ("a token", Role::Workflow, |_| "(call $token (i32.const 1) (i32.const 64))".to_owned()),
        ("the clock", Role::Workflow, |_| "(drop (call $now))".to_owned()),
        ("the dice", Role::Workflow, |_| "(call $random (i32.const 3) (i32.const 64))".to_owned()),
        ("the log", Role::Workflow, |text| format!("(call $log {text} {text} {text})")),
        ("a command", Role::Function, |text| format!("(drop (call $http {text} {text} {NO_AT}))")),
        ("a delivery", Role::Function, |_| "(call $enext (i32.const 64))".to_owned()),
        ("the clock", Role::Function, |_| "(drop (call $enow))".to_owned()),
        ("the dice", Role::Function, |_| "(call $erandom (i32.const 3) (i32.const 64))".to_owned()),
        ("the log", Role::Function, |text| format!("(call $elog {text} {text} {text})")),
    ];
    for (what, role, body) in calls {
        let guest = match role {
            Role::Workflow => TextGuest::of_run(|texts| body(&texts.put("x"))),
            Role::Function => TextGuest::of_call(|texts| body(&texts.put("x"))),
        };
        let code = place.code(guest).await;
        let end = Arc::clone(&code).call(call_of(role), Box::new(Broken)).await;
        match end.how {
            Ended::HostFailed(error) => assert!(error.message.ends_with(&format!("planted in {what}")), "{error}"),
            other => panic!("{what} of {role:?}: {other:?}"),
        }
    }
    let pressure = place.sandbox.pressure();
    assert_eq!((pressure.free, pressure.waiting), (pressure.slots, 0), "every place was given back");
    let healthy = TextGuest::of_run(|texts| format!("(call $return {})", texts.put("42")));
    let end = place.code(healthy).await.call(call_of(Role::Workflow), Box::<Scripted>::default()).await;
    assert_eq!(output_of(end), "42");
}
