//! Measures how fast a run is recalled through the machine alone: pairs of a command and its
//! delivery, one after the other and fanned out. Counts the time of the processor, not of the
//! clock, so that a busy machine does not change it. Linux only.
//!
//! `cargo run -p trackway-replay --example recall --release`

use std::time::Duration;

use trackway_replay::{
    Act, Command, Decision, Digest, FuelRule, Machine, Next, Outcome, Position, Proof, Timestamp, Value, digest_of_call,
};

const STEPS: u32 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    for width in [1, 20, 1_000, 100_000] {
        let best = (0..ROUNDS).map(|_| recall(width)).min().unwrap_or_default();
        let per_second = f64::from(STEPS) / best.as_secs_f64();
        println!("{width:>7} open at once: {per_second:>12.0} steps a second of processor time (best of {ROUNDS})");
    }
}

/// The time that a guest's side takes: a million commands, `width` at a time, and their deliveries.
fn recall(width: u32) -> Duration {
    let command = command();
    let mut machine = recorded(width, &command);
    let begun = cpu_time();
    for _ in 0..STEPS / width {
        for _ in 0..width {
            assert!(matches!(machine.ask(command.clone(), 10), Decision::Recall { .. }));
        }
        for _ in 0..width {
            assert!(matches!(machine.deliver(), Next::Deliver(_)));
        }
    }
    cpu_time().saturating_sub(begun)
}

/// What this process has used so far, in steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux tells what a process uses");
    // The name in parentheses may hold anything; user and system time are the 12th and 13th after it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn recorded(width: u32, command: &Command) -> Machine {
    let mut machine = Machine::new(Timestamp(0), 1_000_000);
    let outcome = Outcome::Succeeded(Value::inline("{\"words\":812}"));
    for id in 1..=STEPS {
        let proof = Proof { digest: command.digest, deliveries: (id - 1) / width * width, fuel: 10 };
        machine.expect(command.clone(), proof, FuelRule::Exact);
        let position = u64::from(id) * 2;
        machine.answered(Position(position), Timestamp(position), id, outcome.clone());
    }
    machine
}

fn command() -> Command {
    let digest: Digest = digest_of_call("fetch_article", "[]", "");
    Command { act: Act::Call { function: "fetch_article".into() }, digest, at: Some("src/lib.rs:41".into()) }
}
