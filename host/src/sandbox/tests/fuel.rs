//! Fuel is exact: the same guest uses the same at each crossing, and a recall with no more than was
//! recorded gets as far.

use super::support::*;
use crate::sandbox::*;
use trackway_replay::{TenantId, code};

/// Computes differently long before each of three commands, with two deliveries among them.
fn busy_guest() -> Vec<u8> {
    let mut guest = TextGuest::default();
    let text = guest.texts.put("some text");
    let command = format!("(drop (call $call {text} {text} {text} {NO_AT}))");
    guest.run = format!(
        "(call $busy (i32.const 1000)) {command} (call $busy (i32.const 17)) {command} (call $next (i32.const 64))
         (call $busy (i32.const 5000)) {command} (call $next (i32.const 64)) (call $busy (i32.const 3)) (call $return {text})"
    );
    guest.more = "(func $busy (param $n i32)
        (loop $again (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $again (local.get $n))))"
        .to_owned();
    guest.build("app")
}

fn two_deliveries() -> Scripted {
    Scripted { deliveries: [delivery(1, "[1,2,3]"), delivery(2, "null")].into(), ..Scripted::default() }
}

async fn run(code: &Arc<Code>, fuel: u64, host: Scripted) -> (Seen, End) {
    let seen = Arc::clone(&host.seen);
    let end = Arc::clone(code).call(GuestCall { fuel, ..call_of(Role::Workflow) }, Box::new(host)).await;
    let seen = seen.lock().expect("unpoisoned").clone();
    (seen, end)
}

#[tokio::test]
async fn every_run_of_a_guest_uses_the_same_fuel_at_each_crossing() {
    let place = place();
    let code = place.code(busy_guest()).await;
    let (first, end) = run(&code, 1_000_000, two_deliveries()).await;
    assert_eq!(first.commands.len(), 3);
    assert!(first.commands.iter().all(|(_, fuel)| *fuel > 0), "{first:?}");
    for pending in 0..5 {
        let fuel = 1_000_000 + u64::from(pending) * 12_345;
        let (again, again_end) = run(&code, fuel, Scripted { pending, ..two_deliveries() }).await;
        assert_eq!(again, first);
        assert_eq!(again_end.fuel, end.fuel);
    }
}

#[tokio::test]
async fn fuel_is_the_same_in_another_sandbox_and_when_the_code_comes_from_the_cache() {
    let (first_place, second_place) = (place(), place());
    let (first, _) = run(&first_place.code(busy_guest()).await, 1_000_000, two_deliveries()).await;
    let (second, _) = run(&second_place.code(busy_guest()).await, 1_000_000, two_deliveries()).await;
    let reopened = Sandbox::new(options(second_place.folder.path())).expect("a sandbox");
    let bytes = busy_guest();
    let code = reopened
        .cached(TenantId::DEFAULT, trackway_replay::Digest::of(&bytes))
        .await
        .expect("readable")
        .expect("cached");
    let (third, _) = run(&code, 1_000_000, two_deliveries()).await;
    assert_eq!((&first, &first), (&second, &third));
}

#[tokio::test]
async fn a_command_is_reached_with_one_more_than_its_fuel_and_not_with_less() {
    let place = place();
    let code = place.code(busy_guest()).await;
    let (seen, _) = run(&code, 1_000_000, two_deliveries()).await;
    let recorded = seen.commands[1].1;
    let (tight, _) = run(&code, recorded + 1, two_deliveries()).await;
    assert_eq!(tight.commands[..2], seen.commands[..2]);
    let (short, end) = run(&code, recorded - 20, two_deliveries()).await;
    assert_eq!(short.commands.len(), 1);
    assert_eq!(failure_of(end).code, code::OUT_OF_FUEL);
}

#[tokio::test]
async fn allowances_of_replies_and_deliveries_lead_through_the_same_run() {
    let place = place();
    let code = place.code(busy_guest()).await;
    let (seen, end) = run(&code, 1_000_000, two_deliveries()).await;
    let used: Vec<u64> = seen.commands.iter().map(|(_, fuel)| *fuel).collect();
    // To the first command, from there to the second, to the delivery, and so on: never one more.
    let mut tight = two_deliveries();
    tight.reply_fuel =
        [used[1] - used[0] + 1, seen.deliveries[0] - used[1] + 1, seen.deliveries[1] - used[2] + 1].into();
    tight.deliveries[0].fuel = Some(used[2] + 1);
    tight.deliveries[1].fuel = Some(end.fuel + 1);
    let (again, again_end) = run(&code, used[0] + 1, tight).await;
    assert_eq!(again, seen);
    assert_eq!(again_end.fuel, end.fuel);
    output_of(again_end);
}

#[tokio::test]
async fn a_delivery_without_refuel_goes_on_counting() {
    let place = place();
    let code = place.code(busy_guest()).await;
    let (seen, _) = run(&code, 1_000_000, two_deliveries()).await;
    let mut host = two_deliveries();
    host.deliveries[0].refuel = false;
    let (again, _) = run(&code, 1_000_000, host).await;
    assert_eq!(again.commands[2].1, seen.commands[2].1 + seen.deliveries[0]);
}

#[tokio::test]
async fn out_of_fuel_tells_the_whole_allowance_as_used() {
    let guest = TextGuest::of_run(|_| "(loop $again (br $again))".to_owned());
    let end = place()
        .code(guest)
        .await
        .call(GuestCall { fuel: 54_321, ..call_of(Role::Workflow) }, Box::<Scripted>::default())
        .await;
    assert_eq!(end.fuel, 54_321);
    assert_eq!(failure_of(end).code, code::OUT_OF_FUEL);
}
