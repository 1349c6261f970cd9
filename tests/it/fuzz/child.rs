//! The process in which inputs are fed: it catches panics, and leaves behind which input it was at,
//! for the parent to find when it dies. It never judges its own death.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::target::{KINDS, Target, gist, kind};
use crate::simulate::dice::Dice;

/// The path of the test below, by which the parent starts this process.
pub const TEST: &str = "fuzz::child::inputs_that_were_kept_are_answered";
/// Names the target, and makes the test below a child.
pub const TARGET: &str = "TRACKWAY_FUZZ_TARGET";
pub const SEED: &str = "TRACKWAY_FUZZ_SEED";
pub const ROUNDS: &str = "TRACKWAY_FUZZ_ROUNDS";
pub const MILLIS: &str = "TRACKWAY_FUZZ_MILLIS";
pub const PLANT: &str = "TRACKWAY_FUZZ_PLANT";
/// Where parent and child find each other's files.
pub const FOLDER: &str = "TRACKWAY_FUZZ_FOLDER";
/// The number of the input that is being fed, and the input.
pub const CURRENT: &str = "current";
/// Written at the end.
pub const DONE: &str = "done";
/// Inputs that were built upon.
pub const NEW: &str = "new";
/// Inputs that made the target panic, each beside its message.
pub const FOUND: &str = "found";
pub const MESSAGE: &str = "txt";

/// Inputs to build upon; more would not be reached again.
const POOL_MAX: usize = 4_000;
/// Larger ones are not built upon for long: everything takes as much longer.
const POOL_BYTES_MAX: usize = 64 << 10;
/// How often one begins anew with what was kept: what was built upon may lead nowhere.
const FIRST_PERCENT: u64 = 40;
/// What is made of a slow input is slow too, and says little more.
const SLOW: Duration = Duration::from_secs(1);
/// How places in our own code begin.
const OURS: &str = "host/";
/// More say nothing that these did not.
const PANICS_MAX: u64 = 100;

/// A bug that a test puts where the target answers as it rarely does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    None,
    Panic,
    Hang,
    Memory,
    Stack,
}

impl Plant {
    pub const ALL: [Plant; 5] = [Plant::None, Plant::Panic, Plant::Hang, Plant::Memory, Plant::Stack];

    pub fn name(self) -> String {
        format!("{self:?}")
    }

    fn act(self) {
        match self {
            Plant::None => {}
            Plant::Panic => panic!("the planted bug"),
            Plant::Hang => loop {
                std::hint::spin_loop();
            },
            // More than any target may have.
            Plant::Memory => drop(std::hint::black_box(vec![1_u8; 16 << 30])),
            Plant::Stack => drop(std::hint::black_box(deeper(1))),
        }
    }
}

#[allow(unconditional_recursion, reason = "that it has no end is what is planted")]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(deeper(depth + 1)) + depth
}

/// How long to go on.
pub struct Budget {
    pub seed: u64,
    pub rounds: u64,
    pub time: Duration,
}

/// What was seen on the way.
pub trait Watcher {
    fn before(&mut self, input: &[u8]);
    /// It was answered as none before.
    fn kept(&mut self, input: &[u8]);
    fn found(&mut self, input: &[u8], message: &str);
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub inputs: u64,
    /// Of them, those that made the target panic.
    pub panics: u64,
}

/// Feeds everything that was kept, then whatever can be made of it.
pub fn feed(
    target: &mut dyn Target,
    kept: Vec<Vec<u8>>,
    budget: &Budget,
    plant: Plant,
    watcher: &mut dyn Watcher,
) -> Count {
    let begun = Instant::now();
    let mut count = Count::default();
    let mut seen = BTreeSet::new();
    let mut pool = Vec::new();
    // As many of the pool were there at the beginning.
    let mut firsts = 0;
    let mut dice = Dice::of(budget.seed, "fuzz");
    let mut waiting: Vec<Vec<u8>> = kept.into_iter().chain(target.seeds()).collect();
    waiting.reverse();
    let panics_max = if plant == Plant::None { PANICS_MAX } else { 1 };
    while count.inputs < budget.rounds && count.panics < panics_max && begun.elapsed() < budget.time {
        let is_first = !waiting.is_empty();
        let input = waiting.pop().unwrap_or_else(|| {
            let empty = Vec::new();
            let mut draw = || {
                let among = if dice.chance(FIRST_PERCENT) { firsts } else { pool.len() };
                pool.get(dice.next() as usize % among.max(1)).unwrap_or(&empty)
            };
            let (mut input, other) = (Vec::clone(draw()), Vec::clone(draw()));
            target.mutate(&mut dice, &mut input, &other);
            input
        });
        count.inputs += 1;
        watcher.before(&input);
        let fed = Instant::now();
        let answer = catch_unwind(AssertUnwindSafe(|| {
            let answer = target.feed(&input);
            if !is_first && answer.contains(target.rare()) {
                plant.act();
            }
            match last_panic() {
                // Caught on the way, and no less a bug of ours; of others it is why it is caught.
                Some(panic) if panic.starts_with(OURS) => panic!("{panic}"),
                Some(panic) => format!("{answer}, contained: {}", gist(&panic)),
                None => answer,
            }
        }));
        let answer = answer.unwrap_or_else(|panic| {
            count.panics += 1;
            let message = last_panic().unwrap_or_else(|| said(&*panic));
            if seen.insert(message.clone()) {
                watcher.found(&input, &message);
            }
            message
        });
        let is_new = seen.insert(answer) && !is_first;
        if is_new {
            watcher.kept(&input);
        }
        // What one begins with is built upon, whatever its size.
        firsts += usize::from(is_first);
        let is_slow = fed.elapsed() > SLOW;
        if is_first || is_new && !is_slow && pool.len() < POOL_MAX && input.len() <= POOL_BYTES_MAX {
            pool.push(input);
        }
    }
    count
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Message and place of the last panic of this process.
fn last_panic() -> Option<String> {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Takes note of panics instead of printing each.
fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{place}: {message}"));
    }));
}

/// Inputs that are kept in the tree for a target, in the order of their names.
pub fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

/// Leaves everything in the folder for the parent.
struct Files {
    folder: PathBuf,
    current: File,
    number: u64,
}

impl Files {
    fn save(&self, folder: &str, input: &[u8]) -> PathBuf {
        let path = self.folder.join(folder).join(format!("{:.16}", trackway_replay::Digest::of(input)));
        fs::write(&path, input).expect("a writable folder");
        path
    }
}

impl Watcher for Files {
    fn before(&mut self, input: &[u8]) {
        self.number += 1;
        let bytes = [&self.number.to_le_bytes()[..], &(input.len() as u64).to_le_bytes(), input].concat();
        let written = self.current.seek(SeekFrom::Start(0)).and_then(|_| self.current.write_all(&bytes));
        written.expect("a writable folder");
    }

    fn kept(&mut self, input: &[u8]) {
        self.save(NEW, input);
    }

    fn found(&mut self, input: &[u8], message: &str) {
        let path = self.save(FOUND, input);
        fs::write(path.with_extension(MESSAGE), message).expect("a writable folder");
    }
}

struct Nobody;

impl Watcher for Nobody {
    fn before(&mut self, _: &[u8]) {}
    fn kept(&mut self, _: &[u8]) {}
    fn found(&mut self, _: &[u8], message: &str) {
        panic!("{message}");
    }
}

fn number(name: &str) -> u64 {
    let text = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}"))
}

fn be_the_child(name: &str) {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the parent names a folder"));
    let plant = std::env::var(PLANT).expect("the parent names a plant");
    let plant = *Plant::ALL.iter().find(|known| known.name() == plant).expect("a plant that is known");
    let budget = Budget { seed: number(SEED), rounds: number(ROUNDS), time: Duration::from_millis(number(MILLIS)) };
    note_panics();
    let current = File::create(folder.join(CURRENT)).expect("a writable folder");
    let mut files = Files { folder, current, number: 0 };
    let mut target = (kind(name).make)();
    let count = feed(&mut *target, kept(name), &budget, plant, &mut files);
    fs::write(files.folder.join(DONE), format!("{} {}", count.inputs, count.panics)).expect("a writable folder");
}

/// In this process, where a debugger finds it. With a target named in the environment it is the child.
#[test]
fn inputs_that_were_kept_are_answered() {
    if let Ok(name) = std::env::var(TARGET) {
        return be_the_child(&name);
    }
    for kind in KINDS.iter().filter(|kind| kind.weight == 1) {
        let inputs = kept(kind.name);
        assert!(!inputs.is_empty(), "nothing is kept for `{}`", kind.name);
        let budget = Budget { seed: 0, rounds: inputs.len() as u64, time: Duration::MAX };
        let count = feed(&mut *(kind.make)(), inputs, &budget, Plant::None, &mut Nobody);
        assert_eq!((count.inputs, count.panics), (budget.rounds, 0), "{}", kind.name);
    }
}
