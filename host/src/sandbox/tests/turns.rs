//! Guests share the processors, and an instance that is not wanted any more goes away.

use super::support::*;
use crate::sandbox::*;
use std::time::Duration;

fn looper() -> Vec<u8> {
    TextGuest::of_run(|_| "(loop $again (br $again))".to_owned())
}

fn endless() -> GuestCall {
    GuestCall { fuel: u64::MAX / 2, ..call_of(Role::Workflow) }
}

/// Nothing here should take a second; a hang must still end the test.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn loopers_do_not_stall_a_guest_that_wants_little() {
    let place = place();
    let loops = place.code(looper()).await;
    let quick = place.code(TextGuest::of_run(|texts| format!("(call $return {})", texts.put("1")))).await;
    // All on the one thread of this test.
    let loopers: Vec<_> =
        (0..2).map(|_| tokio::spawn(Arc::clone(&loops).call(endless(), Box::<Scripted>::default()))).collect();
    for _ in 0..20 {
        let call = Arc::clone(&quick).call(call_of(Role::Workflow), Box::<Scripted>::default());
        let end = tokio::time::timeout(PATIENCE, call).await.expect("loopers give way");
        assert_eq!(output_of(end), "1");
        tokio::task::yield_now().await;
    }
    assert!(loopers.iter().all(|looper| !looper.is_finished()));
    loopers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_looping_instance_dies_when_its_call_is_dropped() {
    let place = place();
    let loops = place.code(looper()).await;
    let before = place.sandbox.pressure().free;
    let task = tokio::spawn(loops.call(endless(), Box::<Scripted>::default()));
    tokio::task::yield_now().await;
    assert!(place.sandbox.pressure().free < before, "the looper has a slot");
    task.abort();
    let ended = tokio::time::timeout(PATIENCE, task).await.expect("it ends at a tick");
    assert!(ended.expect_err("it was aborted").is_cancelled());
    assert_eq!(place.sandbox.pressure().free, before);
}

#[tokio::test]
async fn a_waiting_instance_dies_when_its_call_is_dropped() {
    let place = place();
    let code = place.code(TextGuest::of_run(|_| "(call $next (i32.const 64))".to_owned())).await;
    let host = Scripted { pending: u32::MAX, ..Scripted::default() };
    let mut call = Box::pin(code.call(endless(), Box::new(host)));
    assert!(poll_once(&mut call).is_pending());
    assert_eq!(place.sandbox.pressure().free, 19);
    drop(call);
    assert_eq!(place.sandbox.pressure().free, 20);
}

/// A place with two slow threads.
fn place_with_lane() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sandbox = Sandbox::new(Options { slow_threads: 2, ..options(folder.path()) }).expect("a sandbox");
    Place { sandbox, folder }
}

#[tokio::test]
async fn who_computes_for_long_leaves_the_thread_of_its_caller() {
    let place = place_with_lane();
    let loops = place.code(looper()).await;
    let before = place.sandbox.pressure().free;
    let mut call = Box::pin(loops.call(endless(), Box::<Scripted>::default()));
    assert!(poll_once(&mut call).is_pending(), "it goes on elsewhere");
    // Its thread may be in the middle of a turn, so the instance lives until the next tick.
    drop(call);
    let ended = async {
        while place.sandbox.pressure().free < before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("dropped, it ends at a tick");
}

#[tokio::test]
async fn who_waits_after_a_long_turn_goes_on_where_its_caller_is() {
    let place = place_with_lane();
    let code = place.code(TextGuest::of_run(|texts| {
        // Several turns of computing, then a delivery, and that twice.
        let turns = "(local.set $i (i32.const 60000000)) (loop $again (local.set $i (i32.sub (local.get $i) (i32.const 1))) \
                     (br_if $again (local.get $i)))";
        format!("{turns} (call $next (i32.const 64)) {turns} (call $next (i32.const 64)) (call $return {})", texts.put("1"))
    }));
    let code = code.await;
    let deliveries = [delivery(1, "1"), delivery(2, "2")].into();
    let host = Scripted { pending: 2, deliveries, ..Scripted::default() };
    let end = tokio::time::timeout(PATIENCE, code.call(endless(), Box::new(host))).await.expect("it comes back");
    assert_eq!(output_of(end), "1");
}

#[tokio::test]
async fn more_loopers_than_slow_threads_all_go_on() {
    let place = place_with_lane();
    // Each loops long enough for several turns, then ends by itself out of fuel.
    let loops = place.code(looper()).await;
    let call = GuestCall { fuel: 50_000_000, ..call_of(Role::Workflow) };
    let loopers: Vec<_> =
        (0..4).map(|_| tokio::spawn(Arc::clone(&loops).call(call.clone(), Box::<Scripted>::default()))).collect();
    for looper in loopers {
        let end = tokio::time::timeout(PATIENCE, looper).await.expect("each gets its turns").expect("no panic");
        assert_eq!(failure_of(end).code, trackway_replay::code::OUT_OF_FUEL);
    }
}

#[tokio::test]
async fn calls_wait_in_order_when_no_slot_is_free() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sandbox = Sandbox::new(Options { slots: 2, ..options(folder.path()) }).expect("a sandbox");
    let place = Place { sandbox, folder };
    let code = place.code(TextGuest::of_run(|_| "(call $next (i32.const 64))".to_owned())).await;
    let waiting = || Scripted { pending: u32::MAX, ..Scripted::default() };
    let mut first = Box::pin(Arc::clone(&code).call(endless(), Box::new(waiting())));
    assert!(poll_once(&mut first).is_pending());
    let mut second = Box::pin(Arc::clone(&code).call(endless(), Box::<Scripted>::default()));
    let mut third = Box::pin(code.call(endless(), Box::<Scripted>::default()));
    assert!(poll_once(&mut second).is_pending());
    assert!(poll_once(&mut third).is_pending());
    assert_eq!(place.sandbox.pressure(), Pressure { slots: 2, free: 1, waiting: 2 });
    drop(first);
    assert!(poll_once(&mut third).is_pending(), "the second asked first");
    assert!(matches!(second.await.how, Ended::Stopped));
    assert!(matches!(third.await.how, Ended::Stopped));
    assert_eq!(place.sandbox.pressure(), Pressure { slots: 2, free: 2, waiting: 0 });
}

#[tokio::test]
async fn an_idle_sandbox_still_stops_a_looper_that_comes_later() {
    let place = place();
    let loops = place.code(looper()).await;
    // Longer than the ticker stays awake for nothing.
    tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.expect_err("nothing came");
    let call = tokio::time::timeout(Duration::from_millis(20), loops.call(endless(), Box::<Scripted>::default()));
    call.await.expect_err("the looper gave way, so the timeout was seen");
}
