//! The limits that the guide states, gone to with the real host: what fits, what is refused, and what
//! it takes in time, memory and disk. `cargo xtask prove limits` goes all the way; the short form goes a
//! part of it.

mod page;

use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use trackway::api::model;
use trackway_replay::{Limits, Status, Value};

use crate::proof;
use crate::server::Server;

/// Of the short form.
const STEPS_SHORT: u64 = 5_000;
const WAITING_SHORT: usize = 600;
/// Of the long form: the limit of a run, and what the project promises.
const WAITING_LONG: usize = 100_000;
const FAN_OUT: u64 = 1_000;
/// Starts that are asked for at once.
const STARTS_AT_ONCE: usize = 64;
/// Longer than the test, so that nobody wakes.
const NAP_MILLIS: u64 = 24 * 3_600_000;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn measured(what: &str, value: impl std::fmt::Display) {
    println!("MEASURED {what}: {value}");
}

async fn server_with(guest: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]).await;
    server.deploy(guest, &[]).await;
    (folder, server)
}

/// Runs longer than the server lets one wait.
async fn wait_for_end(server: &Server, run: trackway_replay::RunId) -> model::Run {
    loop {
        let found = server.wait(run).await;
        if found.finished_at.is_some() || found.status == Status::Stuck {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_many_steps_ends_and_is_recalled() {
    let steps = if proof::is_long() { u64::from(Limits::default().steps) } else { STEPS_SHORT };
    let (folder, server) = server_with("parallel").await;
    let begun = Instant::now();
    let run = server.run("parallel/chain", &json!({ "n": steps })).await;
    let ended = wait_for_end(&server, run).await;
    assert_eq!(ended.output.expect("it succeeds").get(), steps.to_string());
    let took = begun.elapsed();
    measured(
        &format!("a run of {steps} steps, one after the other (limit {})", Limits::default().steps),
        format!("{:.1} s, {:.1} us a step", took.as_secs_f64(), took.as_secs_f64() * 1e6 / steps as f64),
    );
    let bytes = stored_bytes(folder.path());
    measured("disk of that run", format!("{:.1} MiB, {} bytes a step", bytes as f64 / 1_048_576.0, bytes / steps));
    server.kill().await;
    let server = Server::start(folder.path(), &[]).await;
    let begun = Instant::now();
    let report = server.replay(run).await;
    assert!(report.identical, "{report:?}");
    let took = begun.elapsed();
    measured(
        "its replay after a kill",
        format!("{:.1} s, {:.0} steps a second", took.as_secs_f64(), steps as f64 / took.as_secs_f64()),
    );
    server.kill().await;
    proof::checked("a run of many steps", 1, 0);
}

fn stored_bytes(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = walkdir::WalkDir::new(folder.join("data/store")).into_iter().filter_map(Result::ok);
    files
        .filter_map(|file| file.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.blocks() * 512)
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_wait_at_once_and_one_of_them_goes_on() {
    let count = if proof::is_long() { WAITING_LONG } else { WAITING_SHORT };
    let (folder, server) = server_with("sleeper").await;
    // What the first runs cost is not theirs alone.
    let first = server.run("sleeper/sleeps", &json!(1)).await;
    wait_for_end(&server, first).await;
    let before = server.memory_bytes();
    let begun = Instant::now();
    let mut started = 0;
    while started < count {
        let some = STARTS_AT_ONCE.min(count - started);
        join_all((0..some).map(|_| server.run("sleeper/sleeps", &NAP_MILLIS))).await;
        started += some;
    }
    let took = begun.elapsed();
    measured(
        &format!("starting {count} runs that wait"),
        format!("{:.1} s, {:.0} a second", took.as_secs_f64(), count as f64 / took.as_secs_f64()),
    );
    // The last ones are still warm, or on their way to sleep.
    while !awake(&server).await.is_empty() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let grown = server.memory_bytes().saturating_sub(before);
    measured(&format!("memory of the host with {count} runs waiting"), format!("{} MiB more", grown >> 20));
    measured("memory of each of them", format!("{} bytes", grown / count as u64));
    server.kill().await;
    let begun = Instant::now();
    let server = Server::start(folder.path(), &[]).await;
    measured(&format!("start of a host with {count} runs waiting"), format!("{:.2} s", begun.elapsed().as_secs_f64()));
    measured("memory of that host", format!("{} MiB", server.memory_bytes() >> 20));
    // One of them is woken by a cancel, and others are where they were.
    let page: model::RunPage = server.get("runs?status=sleeping&limit=2").await;
    let (woken, other) = (page.runs[0].id, page.runs[1].id);
    let begun = Instant::now();
    let cancelled =
        server.try_post::<model::Run>(&format!("runs/{woken}/cancel"), &json!({ "reason": "enough" })).await;
    assert!(cancelled.is_some(), "{}", server.log());
    assert_eq!(wait_for_end(&server, woken).await.status, Status::Cancelled);
    measured("waking one of them to its end", format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1e3));
    assert_eq!(server.find(other).await.expect("it is there").status, Status::Sleeping);
    server.kill().await;
    proof::checked("runs that wait at once", 1, 0);
}

async fn awake(server: &Server) -> Vec<model::Run> {
    server.get::<model::RunPage>("runs?status=queued,running&limit=1").await.runs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_steps_at_once_all_come_back() {
    let (_folder, server) = server_with("parallel").await;
    let begun = Instant::now();
    let run = server.run("parallel/fan_out", &json!({ "n": FAN_OUT })).await;
    let ended = wait_for_end(&server, run).await;
    let sum = (0..FAN_OUT).map(|number| number * number).sum::<u64>();
    assert_eq!(ended.output.expect("it succeeds").get(), sum.to_string());
    measured(
        &format!("{FAN_OUT} steps at once (limit {})", Limits::default().steps_open),
        format!("{:.0} ms", begun.elapsed().as_secs_f64() * 1e3),
    );
    assert!(server.replay(run).await.identical);
    server.kill().await;
    proof::checked("a thousand steps at once", 1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_sixteen_mebibytes_pass_and_one_byte_more_does_not() {
    let (_folder, server) = server_with("values").await;
    let largest = Value::MAX_BYTES;
    let begun = Instant::now();
    let run = server.run("values/large_output", &json!({ "bytes": largest })).await;
    assert_eq!(wait_for_end(&server, run).await.output.expect("it succeeds").get(), largest.to_string());
    measured(
        &format!("a step that answers {largest} bytes (limit {largest})"),
        format!("{:.0} ms", begun.elapsed().as_secs_f64() * 1e3),
    );
    // With the quotes that make it JSON.
    let text = "x".repeat(largest - 2);
    let begun = Instant::now();
    let run = server.run("values/echo", &text).await;
    let ended = wait_for_end(&server, run).await;
    let output = ended.output.map(|output| output.get().len());
    assert_eq!((ended.status, output), (Status::Succeeded, Some(largest)), "{:?}", ended.failure);
    measured("as input, to a step, back, and as output", format!("{:.0} ms", begun.elapsed().as_secs_f64() * 1e3));
    assert!(server.replay(run).await.identical);

    let run = server.run("values/large_output", &json!({ "bytes": largest + 1 })).await;
    let ended = wait_for_end(&server, run).await;
    assert_eq!((ended.status, ended.code.as_deref()), (Status::Failed, Some("TOO_LARGE")));
    let start = json!({ "workflow": "values/echo", "input": format!("{text}x") });
    assert!(server.try_post::<model::Started>("runs", &start).await.is_none(), "an input over the limit is refused");
    server.kill().await;
    proof::checked("values at their limit", 1, 0);
}
