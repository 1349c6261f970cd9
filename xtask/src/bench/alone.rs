//! Works that only Trackway does: each starts the real server on a folder of its own, and looks at it
//! from outside.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::system::{Server, System, exchange};
use super::table::Rows;
use super::{Folder, Pace, free_address, paced, program};
use crate::process::{output, say};

pub const WORKS: [&str; 7] = ["coldstart", "disk", "memory", "waiting", "resume", "evicted", "history"];

const SYSTEM: &str = "trackway";
/// Cold and warm starts, of which the median counts.
const TRIES: u32 = 5;
/// A run that is parked keeps its instance for a few seconds; after that nothing of it is left.
const COLD_AFTER: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const ENDS_WITHIN: Duration = Duration::from_secs(600);
/// Runs that hold an instance at once: below the limit of a host.
const RUNNING: u64 = 200;
const STEPS_OF_A_LONG_RUN: u64 = 1_000;

/// What every work here is given.
struct Bench<'a> {
    pace: Pace,
    folder: &'a Path,
    rows: &'a mut Rows,
}

pub fn measure(works: &[&str], pace: Pace, folder: &Path, rows: &mut Rows) -> Result<()> {
    let mut bench = Bench { pace, folder, rows };
    for work in WORKS.into_iter().filter(|work| works.contains(work)) {
        say(&format!("trackway alone: {work}"));
        match work {
            "coldstart" => bench.coldstart()?,
            "disk" => bench.disk()?,
            "memory" => bench.memory()?,
            "waiting" => bench.waiting()?,
            "resume" => bench.resume()?,
            "evicted" => bench.evicted()?,
            _ => bench.history()?,
        }
    }
    Ok(())
}

impl Bench<'_> {
    fn put(&mut self, work: &str, metric: &str, value: f64, unit: &str) {
        self.rows.put(work, SYSTEM, metric, value, unit);
    }

    fn host(&self) -> Result<(Folder, Server, String)> {
        let folder = Folder(self.folder.join("alone"));
        let world = free_address()?;
        let server = Server::start(System::Trackway, &folder.0, &world)?;
        Ok((folder, server, world))
    }

    /// A deployed component is started by a host that has not run it yet.
    fn coldstart(&mut self) -> Result<()> {
        let (folder, mut server, _) = self.host()?;
        run(&server, "chain_pure", 3)?;
        for _ in 0..TRIES {
            server.stop()?;
            let begun = Instant::now();
            server = Server::start_bare(System::Trackway, &folder.0)?;
            self.put("coldstart", "start of the host", millis(begun), "ms");
            let begun = Instant::now();
            run(&server, "chain_pure", 3)?;
            self.put("coldstart", "first run", millis(begun), "ms");
            let begun = Instant::now();
            run(&server, "chain_pure", 3)?;
            self.put("coldstart", "second run", millis(begun), "ms");
        }
        server.stop()
    }

    /// How much the data folder grows.
    fn disk(&mut self) -> Result<()> {
        let (folder, server, world) = self.host()?;
        let _world = World::start(&world)?;
        let data = folder.0.join("data");
        let count = if self.pace.is_quick { 20 } else { 100 };
        run(&server, "chain_pure", STEPS_OF_A_LONG_RUN)?;
        for (work, workflow) in [("disk.pure", "chain_pure"), ("disk.http", "chain_http")] {
            let before = size_bytes(&data)?;
            for _ in 0..count {
                run_with(&server, workflow, STEPS_OF_A_LONG_RUN, &format!("http://{world}/"))?;
            }
            let steps = (count * STEPS_OF_A_LONG_RUN) as f64;
            let grown = size_bytes(&data)?.saturating_sub(before);
            self.put(work, "bytes per step", grown as f64 / steps, "bytes");
        }
        server.stop()
    }

    fn memory(&mut self) -> Result<()> {
        let (_folder, server, world) = self.host()?;
        let _world = World::start(&world)?;
        self.put("memory", "idle host, nothing run", resident_bytes(&server)? / MEBIBYTE, "MiB");
        // What is allocated once is not to be counted for each.
        start_many(&server, "chain_http", 1, &format!("http://{world}/after/100"), RUNNING)?;
        wait_for_none(&server, "running")?;
        std::thread::sleep(COLD_AFTER);
        let before = resident_bytes(&server)?;
        self.put("memory", "idle host", before / MEBIBYTE, "MiB");
        start_many(&server, "chain_http", 1, &format!("http://{world}/after/10000"), RUNNING)?;
        std::thread::sleep(Duration::from_secs(3));
        let each = (resident_bytes(&server)? - before).max(0.0) / RUNNING as f64;
        self.put("memory", "each running run", each / 1_024.0, "KiB");
        wait_for_none(&server, "running")?;
        server.stop()
    }

    /// Runs that sleep for a day.
    fn waiting(&mut self) -> Result<()> {
        let (folder, server, _) = self.host()?;
        let count: u64 = if self.pace.is_quick { 10_000 } else { 100_000 };
        start_many(&server, "rests", 0, "", count / 10)?;
        wait_for_none(&server, "running")?;
        std::thread::sleep(COLD_AFTER);
        let before = resident_bytes(&server)?;
        let begun = Instant::now();
        start_many(&server, "rests", 0, "", count)?;
        self.put("waiting", "started and parked", count as f64 / begun.elapsed().as_secs_f64(), "1/s");
        wait_for_none(&server, "running")?;
        std::thread::sleep(COLD_AFTER);
        let each = (resident_bytes(&server)? - before).max(0.0) / count as f64;
        self.put("waiting", &format!("memory each of {count}"), each, "bytes");
        server.stop()?;
        let begun = Instant::now();
        let server = Server::start_bare(System::Trackway, &folder.0)?;
        self.put("waiting", &format!("start of the host on {count}"), begun.elapsed().as_secs_f64(), "s");
        std::thread::sleep(COLD_AFTER);
        // The store in memory and the host itself are in it.
        self.put("waiting", "memory after that start", resident_bytes(&server)? / MEBIBYTE, "MiB");
        server.stop()
    }

    /// A parked run of many steps is cancelled: it is recalled from its journal to the end, told, and
    /// ends.
    fn resume(&mut self) -> Result<()> {
        let lengths: &[u64] = if self.pace.is_quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
        for steps in lengths {
            let (folder, mut server, _) = self.host()?;
            let mut runs = Vec::new();
            for _ in 0..4 {
                let begun = Instant::now();
                let run = start(&server, "rests", *steps, "")?;
                wait_for(&server, &run, "sleeping")?;
                let each_second = *steps as f64 / begun.elapsed().as_secs_f64();
                self.put(&format!("resume.{steps}"), "live steps", each_second, "1/s");
                runs.push(run);
            }
            for (number, run) in runs.iter().enumerate() {
                server.stop()?;
                server = Server::start_bare(System::Trackway, &folder.0)?;
                // The code is in memory, the journal is not.
                self::run(&server, "chain_pure", 3)?;
                let is_cold = number % 2 == 0;
                if is_cold {
                    drop_from_page_cache(&folder.0.join("data"))?;
                }
                let begun = Instant::now();
                ask(&server, &format!("POST /v1/runs/{run}/cancel\n{{\"reason\":\"measured\"}}"))?;
                ask(&server, &format!("GET /v1/runs/{run}/wait"))?;
                let took = millis(begun);
                wait_for(&server, run, "cancelled")?;
                self.put(&format!("resume.{steps}"), if is_cold { "cold" } else { "warm" }, took, "ms");
            }
            server.stop()?;
        }
        Ok(())
    }

    fn evicted(&mut self) -> Result<()> {
        let evictions = if self.pace.is_quick { "1000" } else { "10000" };
        let mut engine = program("engine");
        engine.arg("--guests").arg(crate::tree::guests()).arg("--folder").arg(self.folder);
        self.rows.take(engine.args(["--works", "evicted", "--evictions", evictions]))
    }

    /// The host on a store that is full of runs that have ended, and the first works again on it.
    fn history(&mut self) -> Result<()> {
        let (folder, server, world) = self.host()?;
        run(&server, "chain_pure", 3)?;
        server.stop()?;
        let count = if self.pace.is_quick { 20_000 } else { 1_000_000 };
        let data = folder.0.join("data");
        let mut fill = program("fill");
        output(fill.arg("--data").arg(data.join("store")).args(["--count", &count.to_string()]))?;
        self.put("history", "finished runs", f64::from(count), "");
        self.put("history", "data folder", size_bytes(&data)? as f64 / MEBIBYTE, "MiB");
        let begun = Instant::now();
        let server = Server::start_bare(System::Trackway, &folder.0)?;
        self.put("history", "start of the host", begun.elapsed().as_secs_f64(), "s");
        self.put("history", "memory after the start", resident_bytes(&server)? / MEBIBYTE, "MiB");
        for _ in 0..self.pace.rounds {
            let mut load = server.load("run3.pure,load.pure,run3.http,load.http,steps1000.pure", &world);
            self.rows.take(paced(load.args(["--mark", "+history"]), self.pace))?;
        }
        self.put("history", "memory after the work", resident_bytes(&server)? / MEBIBYTE, "MiB");
        server.stop()
    }
}

const MEBIBYTE: f64 = 1_048_576.0;

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Runs a workflow to its end, which has to be a good one.
fn run(server: &Server, workflow: &str, steps: u64) -> Result<()> {
    run_with(server, workflow, steps, "")
}

fn run_with(server: &Server, workflow: &str, steps: u64, url: &str) -> Result<()> {
    let answer = ask(server, &format!("POST /v1/runs?wait=60\n{}", start_body(workflow, steps, url)))?;
    ensure!(answer["run"]["status"] == "succeeded", "a run did not end well: {answer}");
    Ok(())
}

/// The id of a run that was started.
fn start(server: &Server, workflow: &str, steps: u64, url: &str) -> Result<String> {
    let answer = ask(server, &format!("POST /v1/runs\n{}", start_body(workflow, steps, url)))?;
    Ok(answer["run"]["id"].as_str().with_context(|| format!("no id in {answer}"))?.to_owned())
}

fn start_body(workflow: &str, steps: u64, url: &str) -> Value {
    json!({ "workflow": format!("work/{workflow}"), "input": { "n": steps, "url": url } })
}

fn start_many(server: &Server, workflow: &str, steps: u64, url: &str, count: u64) -> Result<()> {
    let mut start = program("start");
    start.args(["--system", SYSTEM, "--address", &server.address, "--key", &server.key, "--world", "-"]);
    start.args(["--workflow", workflow, "--url", url]);
    output(start.args(["--steps", &steps.to_string(), "--count", &count.to_string()])).map(drop)
}

fn wait_for(server: &Server, run: &str, status: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let answer = ask(server, &format!("GET /v1/runs/{run}"))?;
        if answer["status"] == status {
            return Ok(());
        }
        ensure!(begun.elapsed() < ENDS_WITHIN, "the run did not become {status}: {answer}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until no run has that status.
fn wait_for_none(server: &Server, status: &str) -> Result<()> {
    let begun = Instant::now();
    while ask(server, &format!("GET /v1/runs?status={status}&limit=1"))?["runs"]
        .as_array()
        .is_none_or(|runs| !runs.is_empty())
    {
        ensure!(begun.elapsed() < ENDS_WITHIN, "there are still runs that are {status}");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn ask(server: &Server, request: &str) -> Result<Value> {
    let (status, body) = exchange(&server.address, &server.key, request)?;
    ensure!((200..300).contains(&status), "{request}: {status} {body}");
    serde_json::from_str(&body).with_context(|| format!("`{body}` is no JSON"))
}

fn resident_bytes(server: &Server) -> Result<f64> {
    let mut kibibytes = 0.0;
    for process in server.processes() {
        let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
        kibibytes += line.trim().trim_end_matches(" kB").trim().parse::<f64>()?;
    }
    Ok(kibibytes * 1_024.0)
}

/// What a folder takes on disk.
fn size_bytes(folder: &Path) -> Result<u64> {
    let text = output(Command::new("du").args(["--summarize", "--block-size=1"]).arg(folder))?;
    Ok(text.split_whitespace().next().context("du said nothing")?.parse()?)
}

/// So that every file has to be read from the disk again.
fn drop_from_page_cache(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_from_page_cache(&path)?;
            continue;
        }
        let of = |name: &str| format!("{name}={}", path.display());
        // What is not on disk yet cannot be dropped.
        output(Command::new("sync").arg(&path))?;
        output(Command::new("dd").args([of("if").as_str(), "iflag=nocache", "count=0", "status=none"]))?;
    }
    Ok(())
}

/// Answers requests until it is dropped.
struct World(std::process::Child);

impl World {
    fn start(address: &str) -> Result<World> {
        let child = program("world").args(["--address", address]).spawn().context("cannot start the world")?;
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(begun.elapsed() < COLD_AFTER, "the world does not come up");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(World(child))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Already gone if it failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
