//! Input that nobody meant, for everything that reads what guests, strangers and disks give: whatever
//! it is, an answer comes. A panic, an abort, a hang and a hunger for memory are failures. Bugs that
//! are planted show that they would be found.

mod api;
mod backup;
mod child;
mod component;
mod config;
mod imports;
mod journal;
mod manifest;
mod mutate;
mod parent;
mod planted;
mod request;
mod target;
mod words;

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use trackway::api::model;

use self::api::Api;
use self::child::{Plant, Watcher};
use self::parent::{Budget, Report};
use self::target::{KINDS, kind};
use crate::proof;
use crate::server::{Server, check_store};

/// Requests of the short form, and one in so many rounds of the long one.
const REQUESTS_SHORT: u64 = 300;
const REQUESTS_WEIGHT: u64 = 50;
/// Modules and components that are made for the long form.
const MADE: u64 = 400;
/// Of one input in a report.
const SHOWN_BYTES_MAX: usize = 300;

fn rounds(short: u64, weight: u64) -> u64 {
    // For as long as it is asked to, however many that are.
    match proof::time() {
        Some(_) => u64::MAX,
        None if proof::is_long() => (proof::rounds(short) / weight).max(1),
        None => short,
    }
}

/// Each target's part of the time; the requests are one more.
fn time() -> Duration {
    proof::time().map_or(Duration::from_secs(24 * 3_600), |time| time / (KINDS.len() as u32 + 1))
}

fn fuzz(name: &str) {
    let kind = kind(name);
    let seed = proof::seed(1);
    let budget = Budget {
        seed,
        rounds: rounds(kind.rounds_short, kind.weight),
        time: time(),
        input_time_max: Duration::MAX,
        plant: Plant::None,
    };
    judge(name, seed, &parent::feed(kind, &budget));
}

fn judge(name: &str, seed: u64, report: &Report) {
    for found in &report.found {
        println!("{name} FAILED: {}", found.message);
        let shown = &found.input[..found.input.len().min(SHOWN_BYTES_MAX)];
        println!("  seed {}, {} bytes: {}", found.seed, found.input.len(), shown.escape_ascii());
        println!("  saved as {}; mend it and move it to `tests/corpora/{name}`", found.saved.display());
        println!("  again by `cargo xtask prove fuzz --seed {seed}`, or once it is there by `cargo test fuzz::child`");
    }
    println!("{name}: {} inputs in {:.1} s, {} of them new", report.inputs, report.took.as_secs_f64(), report.new);
    proof::checked(&format!("inputs of {name}"), report.inputs.saturating_sub(report.failed), report.failed);
    assert!(report.found.is_empty(), "{name}: {} inputs were not answered", report.failed);
}

#[test]
fn whatever_a_journal_holds_it_is_read_folded_and_replayed_or_refused() {
    fuzz("journal");
}

#[test]
fn whatever_a_manifest_says_it_is_taken_or_refused() {
    fuzz("manifest");
}

#[test]
fn whatever_schema_a_component_brings_inputs_are_checked() {
    fuzz("schema");
}

#[test]
fn whatever_a_function_wants_to_send_it_is_understood_or_refused() {
    fuzz("request");
}

#[test]
fn whatever_is_granted_is_written_as_it_is_read() {
    fuzz("grants");
}

#[test]
fn whatever_is_given_as_an_id_is_one_or_none() {
    fuzz("ids");
}

#[test]
fn whatever_stands_in_a_project_file_is_read_or_refused() {
    fuzz("config");
}

#[test]
fn whatever_a_backup_holds_it_is_read_or_refused() {
    fuzz("backup");
}

#[test]
fn whatever_is_restored_is_sound() {
    fuzz("restore");
}

#[test]
fn whatever_is_uploaded_it_is_admitted_or_refused() {
    if proof::is_long()
        && let Err(why) = component::make(proof::seed(1), MADE)
    {
        proof::not_run("components that wasm-smith makes", &why);
    }
    fuzz("component");
}

#[test]
fn whatever_a_client_sends_the_server_answers_and_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = runtime.block_on(Server::start(folder.path(), &[]));
    let digest = runtime.block_on(async {
        server.deploy("values", &[]).await;
        server.deploy("sleeper", &[]).await;
        server.deploy("raw", &["http://127.0.0.1:1".to_owned()]).await;
        let run = server.run("sleeper/sleeps", &1).await;
        server.wait(run).await;
        server.upload("sleeper").await.digest.to_string()
    });
    let address = server.url.trim_start_matches("http://").parse().expect("an address");
    let seed = proof::seed(1);
    let budget = child::Budget { seed, rounds: rounds(REQUESTS_SHORT, REQUESTS_WEIGHT), time: time() };
    let (runtime, server) = (std::rc::Rc::new(runtime), std::rc::Rc::new(server));
    let looks = {
        let (runtime, server) = (runtime.clone(), server.clone());
        Box::new(move || look(&runtime, &server))
    };
    let mut target = Api::new(address, digest, looks);
    let report = feed_here("api", &mut target, &budget, Plant::None);
    drop(target);
    let sound = look(&runtime, &server);
    judge("api", seed, &report);
    assert_eq!(sound, Ok(()));
    let server = std::rc::Rc::into_inner(server).expect("nobody else has it");
    runtime.block_on(server.kill());
    assert_eq!(runtime.block_on(check_store(&folder.path().join("data"))), Ok(()));
}

/// Whether the server still serves, and has not said anything about a bug.
fn look(runtime: &Runtime, server: &Server) -> Result<(), String> {
    let health = runtime.block_on(server.try_get::<model::Health>("health"));
    let log = server.log();
    let bug = log.lines().find(|line| line.contains("TW0001") || line.contains("panicked"));
    match (health, bug) {
        (_, Some(bug)) => Err(bug.to_owned()),
        (None, None) => Err(format!("it serves no more: {log}")),
        (Some(_), None) => Ok(()),
    }
}

/// In this process: for a target that is a process of its own.
fn feed_here(name: &'static str, target: &mut Api, budget: &child::Budget, plant: Plant) -> Report {
    let begun = Instant::now();
    let mut here = Here { name, plant, seed: budget.seed, input: Vec::new(), report: Report::default() };
    let count = child::feed(target, child::kept(name), budget, plant, &mut here);
    Report { inputs: count.inputs, failed: count.panics, took: begun.elapsed(), ..here.report }
}

struct Here {
    name: &'static str,
    plant: Plant,
    seed: u64,
    input: Vec<u8>,
    report: Report,
}

impl Watcher for Here {
    fn before(&mut self, input: &[u8]) {
        self.input = input.to_vec();
    }

    fn kept(&mut self, input: &[u8]) {
        self.report.new += 1;
        if self.plant == Plant::None {
            parent::save("corpora", self.name, input);
        }
    }

    fn found(&mut self, input: &[u8], message: &str) {
        let what = if self.plant == Plant::None { "found" } else { "planted" };
        let saved = parent::save(what, self.name, input);
        let found = parent::Found { message: message.to_owned(), input: input.to_vec(), saved, seed: self.seed };
        self.report.found.push(found);
    }
}

/// A target on a server that is not the real one.
fn api_at(address: SocketAddr, look: impl FnMut() -> Result<(), String> + 'static) -> Api {
    Api::new(address, String::new(), Box::new(look))
}
