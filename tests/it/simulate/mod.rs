//! Worker and storage on a faulty store, in virtual time, on one thread: from one seed come the runs
//! and all that goes wrong, and whatever it is, every promise has to hold. Bugs that are planted show
//! that it can fail.

mod client;
mod clock;
mod dice;
mod door;
mod gate;
mod journal;
mod ledger;
mod plan;
mod plant;
mod planted;
mod process;
mod script;
mod setup;
mod token;
mod verdict;
mod world;

use std::time::Instant;

use self::plant::Bug;
use self::script::simulate;
use self::setup::Setup;
use crate::proof;

/// As many as take some seconds.
const SEEDS: u64 = 150;
/// Lines of the history of a seed that failed.
const HISTORY_SHOWN_MAX: usize = 120;

#[test]
fn every_promise_holds_whatever_goes_wrong() {
    let first = proof::seed(0);
    let rounds = proof::rounds(SEEDS);
    let begun = Instant::now();
    let (mut passed, mut failed, mut requests) = (0, 0, 0);
    for seed in first..first.saturating_add(rounds) {
        if proof::time().is_some_and(|time| begun.elapsed() >= time) {
            break;
        }
        let outcome = simulate(Setup::draw(seed), Bug::None);
        requests += outcome.requests;
        if outcome.broken.is_empty() {
            passed += 1;
            continue;
        }
        failed += 1;
        println!("seed {seed} FAILED: {:#?}", Setup::draw(seed));
        let earlier = outcome.history.len().saturating_sub(if rounds == 1 { usize::MAX } else { HISTORY_SHOWN_MAX });
        outcome.history[earlier..].iter().for_each(|line| println!("{line}"));
        outcome.broken.iter().for_each(|broken| println!("seed {seed}: {:?}: {}", broken.promise, broken.what));
        println!("seed {seed}: again by `cargo xtask prove simulate --seed {seed} --rounds 1`");
    }
    println!("{requests} effects in {:.1} s", begun.elapsed().as_secs_f64());
    proof::checked("seeds", passed, failed);
    assert_eq!(failed, 0, "of {} seeds", passed + failed);
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in 0..20 {
        let one = simulate(Setup::draw(seed), Bug::None);
        let other = simulate(Setup::draw(seed), Bug::None);
        let differs = one.history.iter().zip(&other.history).position(|(one, other)| one != other);
        let shown = differs.map(|place| (&one.history[place], &other.history[place]));
        assert_eq!(one.digest, other.digest, "seed {seed} differs first at {shown:?}");
    }
}

#[test]
fn undisturbed_runs_give_what_their_plans_say() {
    for seed in 0..40 {
        let outcome = simulate(Setup::draw(seed).undisturbed(), Bug::None);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
    }
}
