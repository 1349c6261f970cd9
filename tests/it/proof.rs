//! What `cargo xtask prove` and the proofs among the tests say to each other: how long a proof is to
//! go on, and what it has checked. It must never decide what passes.

#![allow(dead_code, reason = "not every proof says everything")]

use std::time::Duration;

/// Rounds to go: the proof's own short form, unless a long one is asked for. `cargo xtask prove` asks for rounds
/// without end where a proof is to go on for a time and nobody said how many they are.
pub fn rounds(short: u64) -> u64 {
    number("TRACKWAY_PROVE_ROUNDS").unwrap_or(short)
}

/// Whether the long form is asked for.
pub fn is_long() -> bool {
    number("TRACKWAY_PROVE_ROUNDS").is_some()
}

/// Where random choices begin; the same for the same number.
pub fn seed(short: u64) -> u64 {
    number("TRACKWAY_PROVE_SEED").unwrap_or(short)
}

/// How long to go on, whatever the rounds.
pub fn time() -> Option<Duration> {
    number("TRACKWAY_PROVE_MINUTES").map(|minutes| Duration::from_secs(minutes * 60))
}

/// Tells what was checked: `cargo xtask prove` sums these lines up.
pub fn checked(what: &str, passed: u64, failed: u64) {
    println!("CHECKED {what}: {passed} passed, {failed} failed");
}

/// Tells that something cannot be tried on this machine.
pub fn not_run(what: &str, why: &str) {
    println!("NOT RUN: {what}: {why}");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}
