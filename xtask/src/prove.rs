//! Runs the proofs at length: each is a set of tests that runs in short form with all others, here
//! with more rounds and its output shown. It counts what they say they checked; it judges nothing.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{flush, run, say, seconds};
use crate::suite::NOT_RUN;
use crate::{foreign, guests, setup, tree};

/// By this beginning of a line a proof says what it checked, and how often:
/// `CHECKED power cuts: 20 passed, 0 failed`.
const CHECKED: &str = "CHECKED ";

struct Proof {
    name: &'static str,
    what: &'static str,
    /// Rounds of the long form, where none are asked for. What a round is, the proof says.
    rounds: u64,
    minutes: Minutes,
    seed: Seed,
    suites: &'static [Suite],
    set_up: fn() -> Result<()>,
}

/// What `--minutes` does to a proof.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Minutes {
    /// Nothing.
    Unminded,
    /// Behind its rounds it goes on until they are over.
    More,
    /// It goes on until they are over instead of for its rounds.
    Instead,
}

/// Whether `--seed` says where a proof begins to draw.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seed {
    Unminded,
    Minded,
}

/// Where the tests of a proof are.
enum Suite {
    /// The module of the integration tests that has the proof's name.
    Module,
    /// A test program of its own.
    Program(&'static str),
}

const PROOFS: [Proof; 8] = [
    Proof {
        name: "power",
        what: "cuts the power under the store and under a busy host; needs root and loop devices",
        rounds: 20,
        minutes: Minutes::More,
        seed: Seed::Unminded,
        suites: &[Suite::Program("powercut"), Suite::Module],
        set_up: setup::file_systems,
    },
    Proof {
        name: "kill",
        what: "kills a busy host with SIGKILL, and checks every promise after four kills of five",
        rounds: 100,
        minutes: Minutes::More,
        seed: Seed::Unminded,
        suites: &[Suite::Module],
        set_up: nothing,
    },
    Proof {
        name: "simulate",
        what: "drives runs on a faulty store in virtual time, one seed a round",
        rounds: 10_000,
        minutes: Minutes::Instead,
        seed: Seed::Minded,
        suites: &[Suite::Module],
        set_up: nothing,
    },
    Proof {
        name: "fuzz",
        what: "feeds decoders, gates and the API with input that nobody meant",
        rounds: 100_000,
        minutes: Minutes::Instead,
        seed: Seed::Minded,
        suites: &[Suite::Module],
        set_up: nothing,
    },
    Proof {
        name: "api",
        what: "asks the API what its document allows and what it does not, with a program that others wrote",
        rounds: 1,
        minutes: Minutes::Instead,
        seed: Seed::Minded,
        suites: &[Suite::Module],
        set_up: setup::schemathesis,
    },
    Proof {
        name: "damage",
        what: "damages stores, payloads, code and backups; fails syncs and fills disks",
        rounds: 200,
        minutes: Minutes::Unminded,
        seed: Seed::Minded,
        suites: &[Suite::Module],
        set_up: setup::failing_disks,
    },
    Proof {
        name: "limits",
        what: "goes to the limits that the guide states, and measures",
        rounds: 1,
        minutes: Minutes::Unminded,
        seed: Seed::Unminded,
        suites: &[Suite::Module],
        set_up: nothing,
    },
    Proof {
        name: "soak",
        what: "serves twenty tenants, some of them hostile, for as long as --minutes says",
        rounds: 1,
        minutes: Minutes::Instead,
        seed: Seed::Unminded,
        suites: &[Suite::Module],
        set_up: nothing,
    },
];

fn nothing() -> Result<()> {
    Ok(())
}

/// What may be said on the command line, as the tests get it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    rounds: Option<u64>,
    seed: Option<u64>,
    minutes: Option<u64>,
}

/// Runs one proof; an error says how much of it failed.
pub fn prove(arguments: &[String]) -> Result<()> {
    let Some((proof, options)) = arguments.split_first().and_then(|(name, options)| {
        let proof = PROOFS.iter().find(|proof| proof.name == name)?;
        Some((proof, options))
    }) else {
        bail!("{}", help(arguments.first().map(String::as_str)));
    };
    let wanted = Wanted::parse(options)?;
    let begun = Instant::now();
    (proof.set_up)()?;
    guests::build()?;
    foreign::build()?;
    // All at once, as for the check: one after the other would build much of it twice, with other features.
    run("building everything", cargo("build").args(["--workspace", "--all-targets"]))?;
    say(&format!("{}: {}", proof.name, proof.what));
    let mut tally = Tally::default();
    for suite in proof.suites {
        tally.suite(proof, suite, &wanted)?;
    }
    println!("\n    {}: {}", proof.name, seconds(begun.elapsed()));
    for reason in &tally.not_run {
        println!("    {NOT_RUN} {reason}");
    }
    if tally.passed + tally.failed == 0 {
        println!("    NOTHING WAS PROVED on this machine");
    }
    println!("{}: {} passed, {} failed", proof.name, tally.passed, tally.failed);
    flush();
    match (tally.passed, tally.failed) {
        (0, 0) => bail!("nothing of `{}` could be run on this machine", proof.name),
        (_, 0) => Ok(()),
        (_, failed) => bail!("{failed} failed"),
    }
}

pub fn help(unknown: Option<&str>) -> String {
    let mut text = unknown.map_or_else(String::new, |name| format!("there is no proof `{name}`\n\n"));
    text.push_str("cargo xtask prove NAME [--rounds N] [--seed S] [--minutes M]\n");
    text.push_str("Each says how many rounds it has by itself, and which of --minutes and --seed it minds.\n");
    for proof in &PROOFS {
        text.push_str(&format!("\n  {:9} {} ({})", proof.name, proof.what, proof.minded()));
    }
    text
}

fn cargo(task: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(task).current_dir(tree::root());
    command
}

impl Proof {
    /// Of what may be said on the command line.
    fn minded(&self) -> String {
        let minutes = match self.minutes {
            Minutes::Unminded => "",
            Minutes::More => ", more for --minutes",
            Minutes::Instead => ", or for --minutes",
        };
        let seed = match self.seed {
            Seed::Unminded => "",
            Seed::Minded => ", from --seed",
        };
        format!("rounds: {}{minutes}{seed}", self.rounds)
    }
}

impl Wanted {
    fn parse(options: &[String]) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        let mut options = options.iter().map(String::as_str);
        while let Some(option) = options.next() {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, options.next()),
            };
            let place = match name {
                "--rounds" => &mut wanted.rounds,
                "--seed" => &mut wanted.seed,
                "--minutes" => &mut wanted.minutes,
                _ => bail!("unknown: {option}\n\n{}", help(None)),
            };
            let value = value.with_context(|| format!("{name} needs a number"))?;
            let number = match value.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => value.parse(),
            };
            *place = Some(number.with_context(|| format!("{name} {value}: not a number"))?);
        }
        Ok(wanted)
    }

    fn tell(&self, proof: &Proof, command: &mut Command) {
        let by_itself = match (proof.minutes, self.minutes) {
            (Minutes::Instead, Some(_)) => u64::MAX,
            (Minutes::Instead | Minutes::More | Minutes::Unminded, _) => proof.rounds,
        };
        command.env("TRACKWAY_PROVE_ROUNDS", self.rounds.unwrap_or(by_itself).to_string());
        for (name, value) in [("TRACKWAY_PROVE_SEED", self.seed), ("TRACKWAY_PROVE_MINUTES", self.minutes)] {
            if let Some(value) = value {
                command.env(name, value.to_string());
            }
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    not_run: Vec<String>,
}

impl Tally {
    fn suite(&mut self, proof: &Proof, suite: &Suite, wanted: &Wanted) -> Result<()> {
        let mut command = cargo("test");
        command.args(["--workspace", "--quiet", "--test"]);
        match suite {
            Suite::Program(program) => {
                command.arg(program);
            }
            Suite::Module => {
                // By their full names, since a filter takes every name that holds it.
                let names = tests_of(proof.name)?;
                if names.is_empty() {
                    bail!("there are no tests in `tests/it/{}` yet", proof.name);
                }
                command.args(["it", "--", "--exact", "--nocapture", "--test-threads=1"]).args(names);
            }
        }
        wanted.tell(proof, &mut command);
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().expect("piped just above");
        let mut said = Said::default();
        for line in BufReader::new(stdout).lines() {
            // A program under test may print anything.
            let Ok(line) = line else { continue };
            said.take(&line);
            println!("{line}");
        }
        let status = child.wait()?;
        flush();
        self.add(said, status.success());
        Ok(())
    }

    /// Tests that fail without having counted a failure are one.
    fn add(&mut self, said: Said, is_success: bool) {
        self.passed += said.passed;
        self.failed += if is_success { said.failed } else { said.failed.max(1) };
        self.not_run.extend(said.not_run);
    }
}

/// What the lines of a proof say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    passed: u64,
    failed: u64,
    not_run: Vec<String>,
}

impl Said {
    fn take(&mut self, line: &str) {
        // The harness may have written the name of the test, or dots, in front.
        if let Some((_, reason)) = line.split_once(NOT_RUN) {
            self.not_run.push(reason.trim_start_matches([':', ' ']).to_owned());
        } else if let Some((_, checked)) = line.split_once(CHECKED) {
            self.passed += number_before(checked, "passed");
            self.failed += number_before(checked, "failed");
        }
    }
}

/// The number before the last `word` in `20 cuts: 20 passed, 0 failed`.
fn number_before(text: &str, word: &str) -> u64 {
    let words: Vec<&str> = text.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
    let place = words.iter().rposition(|found| *found == word);
    place.and_then(|place| words.get(place.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

/// Full names of the integration tests in a module.
fn tests_of(module: &str) -> Result<Vec<String>> {
    let mut list = cargo("test");
    list.args(["--workspace", "--test", "it", "--", "--list", "--format=terse"]);
    let output = list.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the integration tests cannot be listed: {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.filter(|name| name.starts_with(&format!("{module}::"))).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn rounds_seeds_and_minutes_are_read_in_both_spellings() {
        let wanted = Wanted { rounds: Some(3), seed: Some(255), minutes: Some(2) };
        for line in ["--rounds 3 --seed 0xff --minutes 2", "--rounds=3 --seed=255 --minutes=2"] {
            assert_eq!(Wanted::parse(&words(line)).expect(line), wanted);
        }
        for line in ["--rounds", "--rounds x", "--round 3", "3"] {
            assert!(Wanted::parse(&words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn minutes_take_the_place_of_rounds_where_the_proof_says_so_and_nobody_asked_for_rounds() {
        let told = |name: &str, line: &str| {
            let proof = PROOFS.iter().find(|proof| proof.name == name).expect("there is such a proof");
            let mut command = Command::new("true");
            Wanted::parse(&words(line)).expect(line).tell(proof, &mut command);
            let rounds = command.get_envs().find(|(variable, _)| *variable == "TRACKWAY_PROVE_ROUNDS");
            rounds.and_then(|(_, value)| value?.to_str()?.parse::<u64>().ok())
        };
        assert_eq!(told("simulate", ""), Some(10_000));
        assert_eq!(told("simulate", "--minutes 3"), Some(u64::MAX));
        assert_eq!(told("simulate", "--minutes 3 --rounds 7"), Some(7));
        assert_eq!(told("kill", "--minutes 3"), Some(100));
    }

    #[test]
    fn an_unknown_proof_is_answered_with_their_names() {
        let text = prove(&words("wings")).expect_err("there is no such proof").to_string();
        for proof in &PROOFS {
            assert!(text.contains(proof.name), "{text}");
        }
    }

    #[test]
    fn what_was_checked_is_counted_and_a_silent_failure_is_one() {
        let mut said = Said::default();
        said.take("test power::x ... CHECKED power cuts, failed or not: 20 passed, 1 failed");
        said.take("CHECKED stores: 4 passed, 0 failed");
        said.take("NOT RUN: failed sync: no device mapper");
        said.take("20 passed, 20 failed");
        assert_eq!(said, Said { passed: 24, failed: 1, not_run: vec!["failed sync: no device mapper".to_owned()] });
        let mut tally = Tally::default();
        tally.add(said, false);
        tally.add(Said::default(), false);
        assert_eq!((tally.passed, tally.failed), (24, 2));
    }
}
