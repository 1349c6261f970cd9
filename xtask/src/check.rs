//! The whole check: sets up what is missing, builds everything, runs every check and test, and ends
//! with what did not run and one line of counts. A check that cannot run is never silent.

use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

use crate::process::{self, flush, run, say, seconds};
use crate::suite::{self, NOT_RUN};
use crate::{foreign, guests, setup, tree};

/// Tests that compare how long things take: beside others they would measure those.
const ALONE: &str = "typed::fair::";

#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    not_run: Vec<String>,
}

/// Runs everything; an error says how much of it failed.
pub fn check() -> Result<()> {
    let begun = Instant::now();
    let mut tally = Tally::default();
    tally.needed("set-up", prepare());
    // Needed by a few tests only, which say so where they are not there.
    if let Err(why) = setup::litellm() {
        tally.not_run.push(format!("a model server that others wrote, which cannot be installed: {why:#}"));
    }
    if let Err(why) = setup::schemathesis() {
        tally.not_run.push(format!("the API against its document: schemathesis cannot be installed: {why:#}"));
    }
    tally.stage("formatting", run("formatting", cargo("fmt").args(["--all", "--check"])));
    let clippy = ["--workspace", "--all-targets", "--", "-D", "warnings"];
    tally.stage("lints", run("lints", cargo("clippy").args(clippy)));
    guests_look_good(&mut tally);
    tally.stage("licences and sources", licences());
    advisories(&mut tally);
    // The program and the tests at once: one after the other would build the engine's users twice, with
    // other features.
    let built = run("building everything", cargo("build").args(["--workspace", "--all-targets"]));
    let can_test = built.is_ok();
    tally.stage("building everything", built);
    if can_test {
        let mut all = cargo("test");
        all.args(["--workspace", "--no-fail-fast"]);
        tally.tests("tests", all, &["--skip", ALONE]);
        let mut alone = cargo("test");
        alone.args(["--workspace", "--test", "it"]);
        tally.tests("tests that need the machine to themselves", alone, &["--test-threads=1", ALONE]);
    }
    // Guests of the tests have no tests of their own; examples do, as whoever copies one finds.
    for (workspace, command) in guests::native("test").into_iter().filter(|(name, _)| name.starts_with("examples/")) {
        tally.tests(&format!("tests in {workspace}"), command, &[]);
    }
    tally.summary();
    println!("    in all: {}", seconds(begun.elapsed()));
    println!("{} passed, {} failed", tally.passed, tally.failed);
    flush();
    if tally.failed > 0 { bail!("{} failed", tally.failed) } else { Ok(()) }
}

/// What tests need beside a compiler, set up or said to be missing.
fn prepare() -> Vec<(&'static str, Result<()>)> {
    say("setting up");
    vec![
        ("guests in Rust and examples", guests::build()),
        ("guests in Python and JavaScript", foreign::build()),
        ("an MCP server that others wrote", setup::mcp()),
        ("file systems for the power-cut test", setup::file_systems()),
    ]
}

fn cargo(task: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(task).current_dir(tree::root());
    command
}

fn licences() -> Result<()> {
    let mut command = Command::new(setup::cargo_deny()?);
    run("licences and sources", command.args(["check", "bans", "licenses", "sources"]).current_dir(tree::root()))
}

/// Known weaknesses of dependencies: from a database that is not everywhere within reach.
fn advisories(tally: &mut Tally) {
    say("advisories");
    let Ok(program) = setup::cargo_deny() else { return };
    let mut command = Command::new(program);
    match command.args(["check", "advisories"]).current_dir(tree::root()).output() {
        Ok(output) if output.status.success() => tally.stage("advisories", Ok(())),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            if text.contains("failed to fetch advisory database") {
                tally.not_run.push("advisories of dependencies: the advisory database cannot be reached".to_owned());
            } else {
                tally.stage("advisories", Err(anyhow::anyhow!("{}", text.trim_end())));
            }
        }
        Err(error) => tally.stage("advisories", Err(error.into())),
    }
}

/// Guests and examples are workspaces of their own, so they are looked at one by one.
fn guests_look_good(tally: &mut Tally) {
    for (workspace, mut command) in guests::native("fmt") {
        let what = format!("formatting of {workspace}");
        tally.stage(&what, run(&what, command.args(["--all", "--check"])));
    }
    for (workspace, mut command) in guests::native("clippy") {
        let what = format!("lints of {workspace}");
        tally.stage(&what, run(&what, command.args(["--all-targets", "--", "-D", "warnings"])));
    }
}

impl Tally {
    fn needed(&mut self, what: &str, parts: Vec<(&'static str, Result<()>)>) {
        for (part, result) in parts {
            self.stage(&format!("{what}: {part}"), result);
        }
    }

    fn tests(&mut self, what: &str, command: Command, which: &[&str]) {
        say(what);
        match suite::run(command, which) {
            Ok(report) => {
                self.passed += report.passed;
                self.failed += report.failed;
                self.failures.extend(report.failures);
                self.not_run.extend(report.not_run);
            }
            Err(error) => self.stage(what, Err(error)),
        }
    }

    fn stage(&mut self, what: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("\nFAILED {what}\n{error:#}");
                self.failed += 1;
                self.failures.push(what.to_owned());
            }
        }
    }

    fn summary(&self) {
        say("summary");
        for failure in &self.failures {
            println!("    FAILED  {failure}");
        }
        for reason in &self.not_run {
            println!("    {NOT_RUN} {reason}");
        }
        if self.not_run.is_empty() {
            println!("    everything was run");
        } else {
            println!(
                "    {} NOT RUN, see above: what they promise was not checked on this machine",
                self.not_run.len()
            );
        }
        process::flush();
    }
}
