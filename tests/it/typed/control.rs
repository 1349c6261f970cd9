//! Runs that people hold and start anew, one or many.

use super::{Left, Server, run};
use serde_json::Value;

use crate::rig::guests;

#[test]
fn one_run_is_held_resumed_and_restarted_by_its_name() {
    let server = Server::with_guest("sleeper", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let id = typed("run sleeps -i 80000000 --detach -o id").expect(0).line().to_owned();
    typed("runs pause @last --reason later").expect(0);
    until(&server, &id, "paused");
    typed("runs pause @last").expect(0);
    typed("runs resume @last").expect(0);
    until(&server, &id, "sleeping");
    typed("runs cancel @last").expect(0);
    until(&server, &id, "cancelled");
    let ended = typed(&format!("runs pause {id}")).refused(7, "TW0308");
    assert!(ended.stdout.is_empty());

    let first = typed("run naps -i [1,1,1] --detach -o id").expect(0).line().to_owned();
    until(&server, &first, "succeeded");
    let again = typed(&format!("runs restart {first} --from-step 3 -o id")).expect(0).line().to_owned();
    until(&server, &again, "succeeded");
    let trace = typed(&format!("trace {again} -o text")).expect(0).stdout;
    assert!(trace.contains(&format!("restarted from step 3 of run {first}")), "{trace}");
    typed(&format!("replay {again}")).expect(0);
    typed(&format!("runs restart {first} --from-step 99")).refused(7, "TW0320");
}

#[test]
fn a_cancel_says_how_long_the_run_has_to_end() {
    let server = Server::with_guest("cancelled", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let id = typed("run ignores --detach -o id").expect(0).line().to_owned();
    typed("runs cancel @last --grace soon").expect(2);
    typed("runs cancel @last --grace 25h").refused(2, "TW0604");
    typed("runs cancel @last --grace 24h").expect(0);
    let trace = typed("trace @last -o text").expect(0).stdout;
    assert!(trace.contains("with 1d00h to end"), "{trace}");
    typed("runs cancel @last --grace 0s").expect(0);
    until(&server, &id, "cancelled");
    typed("replay @last").expect(0);
}

#[test]
fn many_runs_are_held_resumed_and_cancelled_by_what_they_are() {
    let server = Server::with_guest("sleeper", "");
    let typed = |words: &str| run(&mut server.trackway(words));
    let ids: Vec<String> =
        (0..3).map(|_| typed("run sleeps -i 80000000 --detach -o id").expect(0).line().to_owned()).collect();
    let other = typed("run naps -i [80000000] --detach -o id").expect(0).line().to_owned();
    ids.iter().chain([&other]).for_each(|id| until(&server, id, "sleeping"));

    typed("runs pause").expect(2);
    typed("runs pause --workflow sleeps").expect(2);
    let would = typed("runs pause --all --workflow sleeps --dry-run -o id").expect(0);
    assert_eq!((would.stdout.lines().count(), would.stderr.contains("3 runs would be")), (3, true), "{}", would.stderr);
    ids.iter().for_each(|id| until(&server, id, "sleeping"));

    typed("runs pause --all --workflow sleeps").expect(0);
    ids.iter().for_each(|id| until(&server, id, "paused"));
    until(&server, &other, "sleeping");
    let resumed: Vec<Value> = json(&typed("runs resume --all"));
    assert_eq!(resumed.len(), 3);
    assert!(resumed.iter().all(|result| result["done"] == true && result["status"] == "paused"), "{resumed:?}");
    ids.iter().for_each(|id| until(&server, id, "sleeping"));
    typed("runs cancel --all").expect(0);
    ids.iter().chain([&other]).for_each(|id| until(&server, id, "cancelled"));
    let ended = typed("runs cancel --all --status cancelled -o text");
    assert_eq!(ended.exit, 7, "{}", ended.stdout);
    let restarted: Vec<Value> = json(&typed("runs restart --all --status cancelled --workflow naps").expect(0));
    let new = restarted[0]["new_run"].as_str().expect("a new run");
    until(&server, new, "sleeping");
    typed("runs terminate --all").expect(0);
    until(&server, new, "cancelled");
}

fn json(left: &Left) -> Vec<Value> {
    serde_json::from_str(&left.stdout).unwrap_or_else(|error| panic!("{error}: {}", left.stdout))
}

fn until(server: &Server, id: &str, status: &str) {
    let begun = std::time::Instant::now();
    loop {
        let left = run(&mut server.trackway(&format!("runs describe {id}"))).expect(0);
        let found: Value = serde_json::from_str(&left.stdout).expect("JSON in a pipe");
        if found["status"] == status {
            return;
        }
        assert!(begun.elapsed() < super::PATIENCE, "not {status}: {found}");
    }
}

#[test]
fn a_run_is_moved_to_other_code_or_told_why_not() {
    let server = Server::with_guest("moves", "--name shop");
    let typed = |words: &str| run(&mut server.trackway(words));
    let order = typed("run shop/order -i 3 --detach -o id").expect(0).line().to_owned();
    let patient = typed("run shop/patient -i 3 --detach -o id").expect(0).line().to_owned();
    until(&server, &order, "sleeping");
    until(&server, &patient, "waiting");
    run(server.trackway("deploy --name shop").arg(guests().join("moves_next.wasm"))).expect(0);

    let would = typed("runs move --all --to shop --dry-run -o text").expect(7);
    assert!(would.stdout.contains("would be moved") && would.stdout.contains("TW0321"), "{}", would.stdout);
    let refused = typed(&format!("runs move {patient} --to shop")).refused(7, "TW0321");
    assert!(refused.stderr.contains("call `charge`") && refused.stderr.contains("ctx.patched"), "{}", refused.stderr);
    let moved = typed(&format!("runs move {order} --to shop -o text")).expect(0).stdout;
    assert_eq!(moved, format!("{order} is moved to shop\n"));
    let trace = typed(&format!("trace {order} -o text")).expect(0).stdout;
    assert!(trace.contains("moved to shop"), "{trace}");
    typed(&format!("replay {order}")).expect(0);
    typed(&format!("runs move {order} --to nobody")).refused(4, "TW0301");
    typed("runs move @last").expect(2);
}
