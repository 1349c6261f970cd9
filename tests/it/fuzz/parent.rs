//! Starts a process that feeds a target, and holds its deaths against the input that it was at: an
//! abort, a hang and a hunger for memory are found as a panic is. It feeds nothing itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::child::{self, Plant};
use super::target::Kind;
use crate::rig::guests;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Deaths after which the rest of a budget is not worth going on for.
const DEATHS_MAX: u64 = 10;

pub struct Budget {
    pub seed: u64,
    pub rounds: u64,
    pub time: Duration,
    /// For one input, where the target's own would be too long; what takes longer hangs.
    pub input_time_max: Duration,
    pub plant: Plant,
}

#[derive(Debug, Default)]
pub struct Report {
    pub inputs: u64,
    /// Inputs that were not answered; those with the same message are listed once.
    pub failed: u64,
    pub found: Vec<Found>,
    /// Inputs with an answer not seen before.
    pub new: u64,
    pub took: Duration,
}

#[derive(Debug)]
pub struct Found {
    pub message: String,
    pub input: Vec<u8>,
    pub saved: PathBuf,
    pub seed: u64,
}

/// Where inputs go that were found on the way; not part of the tree.
pub fn folder_of(what: &str, target: &str) -> PathBuf {
    guests().with_file_name("fuzz").join(what).join(target)
}

pub fn feed(kind: &Kind, budget: &Budget) -> Report {
    feed_until(kind, budget, |_| false)
}

/// Asked after each process.
pub fn feed_until(kind: &Kind, budget: &Budget, enough: impl Fn(&Report) -> bool) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    for death in 0..DEATHS_MAX {
        let left = Budget {
            seed: budget.seed.wrapping_add(death),
            rounds: budget.rounds.saturating_sub(report.inputs),
            time: budget.time.saturating_sub(begun.elapsed()),
            ..*budget
        };
        let is_over = left.rounds == 0 || left.time.is_zero();
        if is_over || !feed_once(kind, &left, &mut report) || enough(&report) {
            break;
        }
    }
    report.took = begun.elapsed();
    report
}

/// True if the child died.
fn feed_once(kind: &Kind, budget: &Budget, report: &mut Report) -> bool {
    let folder = tempfile::Builder::new().prefix("trackway-fuzz-").tempdir().expect("a temporary folder");
    for inner in [child::NEW, child::FOUND] {
        fs::create_dir(folder.path().join(inner)).expect("a fresh folder");
    }
    let mut process = start(kind, budget, folder.path());
    let end = watch(&mut process, folder.path(), budget.input_time_max.min(kind.input_time_max));
    let mut add = |input: Vec<u8>, message: String| {
        let what = if budget.plant == Plant::None { "found" } else { "planted" };
        let saved = save(what, kind.name, &input);
        report.found.push(Found { message, input, saved, seed: budget.seed });
    };
    for (input, message) in found(folder.path()) {
        add(input, message);
    }
    let done = fs::read_to_string(folder.path().join(child::DONE)).ok();
    let numbers = done.as_deref().and_then(|done| done.split_once(' '));
    let died = match (numbers, end) {
        (Some((inputs, panics)), End::Exit(status)) if status.success() => {
            report.inputs += inputs.parse::<u64>().expect("a number");
            report.failed += panics.parse::<u64>().expect("a number");
            false
        }
        (_, end) => {
            let (number, input) = current(folder.path());
            add(input, format!("{end} at input {number}: {}", said(folder.path())));
            report.inputs += number;
            report.failed += 1;
            true
        }
    };
    for path in files(&folder.path().join(child::NEW)) {
        let input = fs::read(path).expect("the child wrote it");
        if budget.plant == Plant::None {
            save("corpora", kind.name, &input);
        }
        report.new += 1;
    }
    died
}

/// With a limit on memory that the kernel holds it to.
fn start(kind: &Kind, budget: &Budget, folder: &Path) -> Child {
    let log = |name: &str| fs::File::create(folder.join(name)).expect("a fresh folder");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c 0; ulimit -d \"$0\"; exec \"$@\""]);
    command.arg((kind.memory_bytes_max >> 10).to_string());
    command.arg(std::env::current_exe().expect("a test knows its own path"));
    command.args(["--exact", child::TEST, "--nocapture", "--test-threads=1"]);
    command.env(child::TARGET, kind.name).env(child::FOLDER, folder).env(child::PLANT, budget.plant.name());
    command.env(child::SEED, budget.seed.to_string()).env(child::ROUNDS, budget.rounds.to_string());
    let millis = u64::try_from(budget.time.as_millis()).unwrap_or(u64::MAX);
    command.env(child::MILLIS, millis.to_string());
    command.stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
    command.spawn().expect("a shell")
}

enum End {
    Exit(ExitStatus),
    Hang,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exit(status) => write!(f, "the process ended with {status}"),
            End::Hang => f.write_str("no answer"),
        }
    }
}

fn watch(process: &mut Child, folder: &Path, input_time_max: Duration) -> End {
    let (mut number, mut since) = (0, Instant::now());
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return End::Exit(status);
        }
        let now = current_number(folder);
        if now != number {
            (number, since) = (now, Instant::now());
        }
        // The first one waits for what the target needs to be made.
        if number > 0 && since.elapsed() > input_time_max {
            // Gone already where it ended just now.
            let _ = process.kill();
            let _ = process.wait();
            return End::Hang;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn current_number(folder: &Path) -> u64 {
    use std::io::Read as _;
    let mut number = [0; 8];
    let read = fs::File::open(folder.join(child::CURRENT)).and_then(|mut file| file.read_exact(&mut number));
    read.map_or(0, |()| u64::from_le_bytes(number))
}

fn current(folder: &Path) -> (u64, Vec<u8>) {
    let bytes = fs::read(folder.join(child::CURRENT)).unwrap_or_default();
    let word =
        |from: usize| bytes.get(from..from + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
    let input = bytes.get(16..).unwrap_or_default();
    (word(0), input[..input.len().min(word(8) as usize)].to_vec())
}

/// The last that the child said on its way out.
fn said(folder: &Path) -> String {
    let text = fs::read(folder.join("stderr")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(6).collect();
    lines.join(" | ")
}

fn found(folder: &Path) -> Vec<(Vec<u8>, String)> {
    let inputs = files(&folder.join(child::FOUND)).into_iter().filter(|path| path.extension().is_none());
    let read = |path: PathBuf| {
        let message = fs::read_to_string(path.with_extension(child::MESSAGE)).unwrap_or_default();
        (fs::read(&path).expect("the child wrote it"), message)
    };
    inputs.map(read).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it was made before the child");
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

pub fn save(what: &str, target: &str, input: &[u8]) -> PathBuf {
    let folder = folder_of(what, target);
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let path = folder.join(format!("{:.16}", trackway_replay::Digest::of(input)));
    fs::write(&path, input).expect("the target folder is writable");
    path
}
