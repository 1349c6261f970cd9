//! Runs the tests of a workspace and reads what they say: how many passed, which failed, what could not be done here.
//! A test that hangs is named and ended, and counts as failed.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::process::{flush, works};

/// By this beginning of a line a test says that it could not do what it promises on this machine.
pub const NOT_RUN: &str = "NOT RUN";

/// By this end of a line the harness says that a test takes long.
const TAKES_LONG: &str = " has been running for over 60 seconds";

/// No test takes so long, nor does what is compiled between two of them.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// Runs tests. Their output passes through, but for what passing tests print: of that only what they
/// say they could not do is kept.
pub fn run(mut command: Command, which: &[&str]) -> Result<Report> {
    command.args(["--", "--show-output"]).args(which);
    // What hangs may have begun others: they are ended together.
    let mut child = command.process_group(0).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let lines = lines_of(&mut child);
    let mut report = Report::default();
    loop {
        match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) if report.take(&line) => println!("{line}"),
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                works(Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]));
                report.hang();
                break;
            }
        }
    }
    flush();
    let status = child.wait()?;
    if !status.success() && report.failed == 0 {
        bail!("`cargo test` ended with {status} and names no failed test: did everything compile?");
    }
    Ok(report)
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let stdout = child.stdout.take().expect("piped by whoever started it");
    let (send, lines) = channel();
    std::thread::spawn(move || {
        // A program under test may print anything.
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// What the lines of `cargo test` say.
#[derive(Default)]
pub struct Report {
    pub passed: u64,
    pub failed: u64,
    pub failures: Vec<String>,
    pub not_run: Vec<String>,
    /// Tests that take long and have not ended.
    long: BTreeSet<String>,
    /// Within the output of tests that passed.
    in_passing: bool,
}

impl Report {
    /// Whether the line is for people.
    fn take(&mut self, line: &str) -> bool {
        let words = line.trim();
        if let Some(name) = words.strip_prefix("test ").and_then(|rest| rest.strip_suffix(TAKES_LONG)) {
            self.long.insert(name.to_owned());
        } else if let Some((name, _)) = words.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            self.long.remove(name);
        }
        if let Some(at) = words.find(NOT_RUN).filter(|at| *at == 0) {
            let reason = words[at + NOT_RUN.len()..].trim_start_matches([':', ' ']).to_owned();
            if !self.not_run.contains(&reason) {
                self.not_run.push(reason);
            }
        }
        if let Some(result) = words.strip_prefix("test result: ") {
            self.in_passing = false;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
        } else if words == "successes:" {
            self.in_passing = true;
        } else if words == "failures:" {
            self.in_passing = false;
        } else if let Some(name) = words.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        !self.in_passing
    }

    /// Nothing more was said: what had not ended by then has failed.
    fn hang(&mut self) {
        let mut hung: Vec<String> = std::mem::take(&mut self.long).into_iter().collect();
        if hung.is_empty() {
            hung.push("tests of which none was named".to_owned());
        }
        for name in hung {
            eprintln!("FAILED {name}: it does not end");
            self.failed += 1;
            self.failures.push(format!("{name}: it does not end"));
        }
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; ...`.
fn count(result: &str, word: &str) -> u64 {
    let words: Vec<&str> = result.split([' ', ';']).collect();
    let place = words.iter().position(|found| *found == word);
    place.and_then(|place| words.get(place.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_failures_and_what_was_not_run_are_read_from_the_output_of_tests() {
        let mut report = Report::default();
        let lines = [
            ("running 3 tests", true),
            ("test a ... ok", true),
            ("test b::c ... FAILED", true),
            ("successes:", false),
            ("---- a stdout ----", false),
            ("NOT RUN: power cut: no loop device", false),
            ("failures:", true),
            ("assertion failed", true),
            ("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out", true),
            ("test result: ok. 40 passed; 0 failed; 0 ignored", true),
        ];
        for (line, shown) in lines {
            assert_eq!(report.take(line), shown, "{line}");
        }
        assert_eq!((report.passed, report.failed), (42, 1));
        assert_eq!(report.failures, ["b::c"]);
        assert_eq!(report.not_run, ["power cut: no loop device"]);
    }

    #[test]
    fn what_has_not_ended_is_named_where_all_is_silent() {
        let mut report = Report::default();
        for name in ["a", "b::c"] {
            report.take(&format!("test {name} has been running for over 60 seconds"));
        }
        report.take("test a ... ok");
        report.hang();
        assert_eq!((report.failed, report.failures.as_slice()), (1, ["b::c: it does not end".to_owned()].as_slice()));
    }
}
