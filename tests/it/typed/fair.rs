//! Guests that go too far, on a real server: each ends its own run, and the others hardly notice.

use serde_json::{Value, json};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::wire::Wire;
use super::{Server, run};
use crate::rig::guests;

/// A run beside loopers may take as many times what it takes without.
const SLOWDOWN_MAX: f64 = 5.0;
/// Enough for a p99 that is not simply the slowest.
const RUNS_A_ROUND: usize = 200;
/// Other programs on the machine disturb a round, so the median of the rounds counts.
const ROUNDS: usize = 7;
/// A round in which a looper ended early was too easy and does not count.
const ROUNDS_MAX: usize = 14;
/// A machine is too busy to tell, if what is measured without loopers varies as much as this.
const UNSTEADY: f64 = 2.0;
/// Loopers inside the host may disturb so many times as much as processes that compute outside of it.
const OUTSIDE_MAX: f64 = 2.0;
const ROUNDS_OUTSIDE: usize = 3;

fn server() -> Server {
    let server = Server::with_guest("limits", "");
    run(server.trackway("deploy").arg(guests().join("parallel.wasm"))).expect(0);
    server
}

/// The p99 of runs of three steps, one after the other, each from the request to the answer.
fn p99(wire: &mut Wire) -> Duration {
    let mut took: Vec<Duration> = (0..RUNS_A_ROUND)
        .map(|_| {
            let began = Instant::now();
            let run = wire.run("sequential", &json!(1));
            assert_eq!(run["output"], 16, "{run}");
            began.elapsed()
        })
        .collect();
    took.sort();
    took[RUNS_A_ROUND * 99 / 100]
}

fn start(wire: &mut Wire, workflow: &str) -> String {
    let body = json!({ "workflow": workflow }).to_string();
    let (status, answer) = wire.ask("POST", "runs", "application/json", body.as_bytes());
    assert_eq!(status, 201, "{answer}");
    answer["run"]["id"].as_str().expect("an id").to_owned()
}

/// The run's end, however long it takes.
fn end(wire: &mut Wire, id: &str) -> Value {
    loop {
        let run = wire.get(&format!("runs/{id}/wait"));
        if run["status"] != "running" && run["status"] != "queued" {
            return run;
        }
    }
}

#[test]
fn with_as_many_loopers_as_cores_another_run_takes_five_times_as_long_at_most() {
    let server = server();
    let mut wire = Wire::to(&server);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    p99(&mut wire);
    let (mut without, mut with, mut slowdowns) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS_MAX {
        let quiet = p99(&mut wire);
        let loopers: Vec<String> = (0..cores).map(|_| start(&mut wire, "endless_loop")).collect();
        let beside = p99(&mut wire);
        let still = loopers.iter().filter(|id| wire.get(&format!("runs/{id}"))["status"] == "running").count();
        for id in &loopers {
            assert_eq!(end(&mut wire, id)["failure"]["code"], "OUT_OF_FUEL");
        }
        println!("p99 {quiet:?} without, {beside:?} beside {still} of {cores} loopers");
        without.push(quiet.as_secs_f64());
        if still == cores {
            with.push(beside.as_secs_f64());
            slowdowns.push(beside.as_secs_f64() / quiet.as_secs_f64());
        }
        if slowdowns.len() == ROUNDS {
            break;
        }
    }
    if slowdowns.len() == ROUNDS && median(&mut slowdowns) <= SLOWDOWN_MAX {
        return;
    }
    if slowdowns.len() < ROUNDS || median(&mut without) > UNSTEADY * without[0] {
        println!("NOT RUN: fairness beside loopers: other programs keep this machine too busy to tell");
        return;
    }
    let outside = beside_processes(&mut wire, cores);
    println!("p99 {outside:?} beside {cores} processes that compute as nice as slow guests");
    if median(&mut with) <= OUTSIDE_MAX * outside.as_secs_f64() {
        println!("NOT RUN: fairness beside loopers: on this machine processes that compute disturb as much");
        return;
    }
    panic!("times slower beside {cores} loopers, by round: {slowdowns:.1?}");
}

/// What the machine itself makes of it: the same runs beside as many processes that only compute, and give
/// way as much as slow guests do.
fn beside_processes(wire: &mut Wire, loopers: usize) -> Duration {
    let _loopers: Vec<_> = (0..loopers).map(|_| KillOnDrop(looper())).collect();
    let mut rounds: Vec<Duration> = (0..ROUNDS_OUTSIDE).map(|_| p99(wire)).collect();
    rounds.sort();
    rounds[ROUNDS_OUTSIDE / 2]
}

fn looper() -> Child {
    let looper = Command::new("nice").args(["-n", "10", "sh", "-c", "while :; do :; done"]).spawn();
    looper.expect("nice and sh are there")
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::INFINITY)
}

#[test]
fn code_that_goes_too_far_ends_its_run_and_no_other() {
    let server = server();
    let mut wire = Wire::to(&server);
    let others = start(&mut wire, "endless_loop");
    for (workflow, code, says) in [
        ("memory_bomb", "OUT_OF_MEMORY", "memory"),
        ("deep_recursion", "STACK_OVERFLOW", "recursion"),
        ("greedy_function", "OUT_OF_MEMORY", "memory"),
        ("diving_function", "STACK_OVERFLOW", "recursion"),
        ("panics_later", "PANIC", "index out of bounds"),
        ("panic_in_function", "PANIC", "there should have been something"),
    ] {
        let failed = wire.run(workflow, &Value::Null);
        assert_eq!((&failed["status"], &failed["failure"]["code"]), (&json!("failed"), &json!(code)), "{failed}");
        assert!(failed["failure"]["message"].as_str().is_some_and(|message| message.contains(says)), "{failed}");
        assert_eq!(wire.run("sequential", &json!(1))["output"], 16);
    }
    assert_eq!(end(&mut wire, &others)["failure"]["code"], "OUT_OF_FUEL");
    let failed = run(&mut server.trackway("run memory_bomb")).expect(3);
    assert!(failed.stderr.contains("OUT_OF_MEMORY"), "{}", failed.stderr);
}
