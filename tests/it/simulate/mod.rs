//! Worker and storage on a faulty store, in virtual time, on one thread: from one seed come the runs
//! and all that goes wrong, and whatever it is, every promise has to hold. Bugs that are planted show
//! that it can fail.

mod asking;
mod attempts;
mod client;
mod clock;
mod contacts;
pub mod dice;
mod door;
mod follow;
mod gate;
mod journal;
mod ledger;
mod listener;
mod plan;
mod plant;
mod planted;
mod process;
mod removed;
mod restarts;
mod script;
mod setup;
mod spans;
mod spending;
mod times;
mod token;
mod verdict;
mod work;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use self::plant::Bug;
use self::script::{Outcome, simulate};
use self::setup::Setup;
use crate::proof;

/// Thousands in minutes: each takes a core about 90 ms, and all cores take seeds.
const SEEDS: u64 = 2_000;
/// Seeds beyond those that have found something once: an event told again behind a delta, a key made of more than the
/// request, and steps given up when they were late already.
const FOUND_ONCE: [u64; 6] = [2_654, 3_439, 4_946, 5_943, 9_105, 9_844];
/// Lines of the history of a seed that failed.
const HISTORY_SHOWN_MAX: usize = 120;

/// What has to be met among the seeds of the short form, by words in their histories: a simulation
/// that meets nothing proves nothing.
const MET: [&str; 56] = [
    "Unknown",
    "Fenced",
    "Refused",
    "existing: true",
    "no answer",
    " dies",
    "standing_still",
    "is_back: true",
    "AttemptResumed",
    "Forgotten",
    "StepCancelAsked",
    "CancelReceived",
    "Signalled",
    "Settled",
    "Promise { run",
    "GraceSet",
    "Parked",
    "RetryReceived",
    "FailedKeeping",
    "removes",
    "Moved",
    "Some(\"chaos\")",
    "Started, Forked",
    "hears event",
    "hears delta",
    "hears a reset",
    "comes back after Delta",
    "AMBIGUOUS",
    "with Some(Answer",
    "StepTimed",
    "CLOSE_TIMEOUT",
    "START_TIMEOUT",
    "HEARTBEAT_TIMEOUT",
    "Progressed",
    "Patched",
    "Published",
    "Continued",
    "Replied",
    "Emitted",
    "ChildStarted",
    "ChildEnded",
    "Paused",
    "Resumed",
    "Failed",
    "-> 500",
    " None",
    "Park { due: Some",
    "knocks [0",
    "ModelUsed",
    "cost_nanousd: None",
    "SpanBegun",
    "SpanEnded",
    "EffectSettled",
    "came back for an answer",
    "EXPIRED",
    "QuestionSettled",
];

/// Seeds that are taken one by one by several threads.
struct Seeds {
    next: AtomicU64,
    end: u64,
    until: Option<Instant>,
}

impl Seeds {
    fn take(&self) -> Option<u64> {
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        (seed < self.end && self.until.is_none_or(|until| Instant::now() < until)).then_some(seed)
    }
}

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    effects: u64,
    frames: u64,
    processes: u64,
    met: BTreeSet<&'static str>,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: &Outcome, lines_max: usize) {
        let with = |words| outcome.history.iter().filter(|line| line.ends_with(words)).count() as u64;
        self.effects += outcome.requests;
        self.frames += with(": Durable");
        self.processes += with(" begins");
        let is_met = |words: &&str| outcome.history.iter().any(|line| line.contains(words));
        let missing: Vec<&str> = MET.into_iter().filter(|words| !self.met.contains(words)).collect();
        self.met.extend(missing.into_iter().filter(is_met));
        if outcome.broken.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        println!("seed {seed} FAILED: {:#?}", Setup::draw(seed));
        let earlier = outcome.history.len().saturating_sub(lines_max);
        outcome.history[earlier..].iter().for_each(|line| println!("{line}"));
        outcome.broken.iter().for_each(|broken| println!("seed {seed}: {:?}: {}", broken.promise, broken.what));
        println!("seed {seed}: again by `cargo xtask prove simulate --seed {seed} --rounds 1`");
    }
}

#[test]
fn every_promise_holds_whatever_goes_wrong() {
    let (first, rounds) = (proof::seed(0), proof::rounds(SEEDS));
    let begun = Instant::now();
    let until = proof::time().map(|time| begun + time);
    let seeds = Seeds { next: AtomicU64::new(first), end: first.saturating_add(rounds), until };
    let lines_max = if rounds == 1 { usize::MAX } else { HISTORY_SHOWN_MAX };
    let tally = Mutex::new(Tally::default());
    // Each seed has a thread of its own while it lasts; which, makes no difference to it.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.take() {
                    let outcome = simulate(Setup::draw(seed), Bug::None);
                    tally.lock().expect("no thread panics while it counts").add(seed, &outcome, lines_max);
                }
            });
        }
    });
    let Tally { passed, failed, effects, frames, processes, met } =
        tally.into_inner().expect("no thread panics while it counts");
    let seconds = begun.elapsed().as_secs_f64();
    println!("{processes} processes, {frames} frames, {effects} effects in {seconds:.1} s");
    proof::checked("seeds", passed, failed);
    assert_eq!(failed, 0, "of {} seeds", passed + failed);
    if passed >= SEEDS {
        let missed: Vec<&str> = MET.into_iter().filter(|words| !met.contains(words)).collect();
        assert!(missed.is_empty(), "no seed met {missed:?}");
    }
}

#[test]
fn seeds_that_found_something_find_it_no_more() {
    for seed in FOUND_ONCE {
        let outcome = simulate(Setup::draw(seed), Bug::None);
        assert!(outcome.broken.is_empty(), "seed {seed}: {:#?}", outcome.broken);
    }
}

#[test]
fn a_seed_does_the_same_again() {
    let first = proof::seed(0);
    for seed in first..first + proof::rounds(20).min(200) {
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
