//! Works that only Trackway does: each starts the real server on a folder of its own, and looks at it
//! from outside.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::system::{Server, System, exchange};
use super::table::Rows;
use super::{Folder, Pace, free_address, program};
use crate::process::{output, say};

pub const WORKS: [&str; 12] = [
    "coldstart",
    "memory",
    "reads",
    "fan",
    "growth",
    "growth.http",
    "waiting",
    "resume",
    "resume.http",
    "evicted",
    "evicted.http",
    "history",
];

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
            "memory" => bench.memory()?,
            "reads" => bench.reads()?,
            "fan" => bench.fan()?,
            "growth" => bench.growth(work, "chain_pure", if pace.is_quick { 100_000 } else { 1_000_000 })?,
            "growth.http" => bench.growth(work, "chain_http", if pace.is_quick { 10_000 } else { 100_000 })?,
            "waiting" => bench.waiting()?,
            // A run asks for a million operations at most, and the sleep is one of them.
            "resume" => bench.resume(work, "rests", if pace.is_quick { 100_000 } else { 999_999 })?,
            "resume.http" => bench.resume(work, "rests_http", if pace.is_quick { 10_000 } else { 100_000 })?,
            "evicted" => bench.evicted(work, if pace.is_quick { 300 } else { 10_000 })?,
            "evicted.http" => bench.evicted(work, if pace.is_quick { 300 } else { 1_000 })?,
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

    /// What somebody who looks at runs waits, on a quiet host and on a busy one.
    fn reads(&mut self) -> Result<()> {
        let (_folder, server, world) = self.host()?;
        let mut load = server.load("reads.pure", &world);
        load.args(["--levels", "0,64", "--seconds", &self.pace.seconds.to_string()]);
        self.rows.take(&mut load)?;
        server.stop()
    }

    /// Steps all at once, by more and more of them: what each of them costs.
    fn fan(&mut self) -> Result<()> {
        let (_folder, server, world) = self.host()?;
        let _world = World::start(&world)?;
        for (work, workflow) in [("fan.pure", "fan_pure"), ("fan.http", "fan_http")] {
            run_with(&server, workflow, 1_000, &format!("http://{world}/"))?;
            let most = if self.pace.is_quick { 10_000 } else { 100_000 };
            for steps in [1_000, 10_000, 100_000].into_iter().filter(|steps| *steps <= most) {
                let each = self.each_step(&server, workflow, steps, &format!("http://{world}/"))?;
                self.put(work, &format!("each of {steps} at once"), each, "us");
            }
        }
        server.stop()
    }

    /// Steps one after the other, by more and more of them.
    fn growth(&mut self, work: &str, workflow: &str, most: u64) -> Result<()> {
        let (_folder, server, world) = self.host()?;
        let _world = World::start(&world)?;
        let url = format!("http://{world}/");
        run_with(&server, workflow, STEPS_OF_A_LONG_RUN, &url)?;
        for steps in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|steps| *steps <= most) {
            let each = self.each_step(&server, workflow, steps, &url)?;
            self.put(work, &format!("each of {steps} in a row"), each, "us");
        }
        server.stop()
    }

    /// Microseconds for each step of a run.
    fn each_step(&self, server: &Server, workflow: &str, steps: u64, url: &str) -> Result<f64> {
        let begun = Instant::now();
        let run = start(server, workflow, steps, url)?;
        loop {
            let answer = ask(server, &format!("GET /v1/runs/{run}/wait"))?;
            match answer["status"].as_str() {
                Some("succeeded") => return Ok(begun.elapsed().as_secs_f64() * 1e6 / steps as f64),
                Some("running" | "queued") if begun.elapsed() < ENDS_WITHIN => {}
                _ => bail!("a run of {steps} steps did not end well: {answer}"),
            }
        }
    }

    /// Runs that sleep for a day. What the store keeps in memory of its own accord is bounded and fills up
    /// first, so memory is looked at after a start, where it holds next to nothing, and again when it is full.
    fn waiting(&mut self) -> Result<()> {
        let (folder, mut server, _) = self.host()?;
        let count: u64 = if self.pace.is_quick { 10_000 } else { 100_000 };
        let mut started = 0;
        let mut before = None;
        for more in [100, count - 100, count] {
            let begun = Instant::now();
            start_many(&server, "rests", 0, "", more)?;
            wait_for_none(&server, "running")?;
            let each_second = more as f64 / begun.elapsed().as_secs_f64();
            std::thread::sleep(COLD_AFTER);
            let live = resident_bytes(&server)?;
            started += more;
            server.stop()?;
            let begun = Instant::now();
            server = Server::start_bare(System::Trackway, &folder.0)?;
            let took = begun.elapsed().as_secs_f64();
            std::thread::sleep(COLD_AFTER);
            let now = resident_bytes(&server)?;
            if let Some((runs, then)) = before {
                let each = (now - then) / (started - runs) as f64;
                self.put("waiting", "started and parked", each_second, "1/s");
                self.put("waiting", &format!("{started}: start of the host"), took, "s");
                self.put("waiting", &format!("{started}: memory before it"), live / MEBIBYTE, "MiB");
                self.put("waiting", &format!("{started}: memory after it"), now / MEBIBYTE, "MiB");
                self.put("waiting", &format!("{started}: memory each, after it"), each, "bytes");
            } else {
                before = Some((started, now));
            }
        }
        server.stop()
    }

    /// A parked run of many steps is cancelled: it is recalled from its journal to the end, told, and
    /// ends.
    fn resume(&mut self, work: &str, workflow: &str, most: u64) -> Result<()> {
        for steps in [10_000, 100_000, 999_999].into_iter().filter(|steps| *steps <= most) {
            let (folder, mut server, world) = self.host()?;
            let _world = World::start(&world)?;
            let mut runs = Vec::new();
            let tries = if steps > 100_000 { 2 } else { 4 };
            for _ in 0..tries {
                let begun = Instant::now();
                let run = start(&server, workflow, steps, &format!("http://{world}/"))?;
                wait_for(&server, &run, "sleeping")?;
                let each_second = steps as f64 / begun.elapsed().as_secs_f64();
                self.put(&format!("{work}.{steps}"), "live steps", each_second, "1/s");
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
                self.put(&format!("{work}.{steps}"), if is_cold { "cold" } else { "warm" }, took, "ms");
            }
            server.stop()?;
        }
        Ok(())
    }

    fn evicted(&mut self, work: &str, evictions: u32) -> Result<()> {
        let mut engine = program("engine");
        engine.arg("--guests").arg(crate::tree::guests()).arg("--folder").arg(self.folder);
        self.rows.take(engine.args(["--works", work, "--evictions", &evictions.to_string()]))
    }

    /// The host on stores that hold more and more runs that have ended: the first works again on each.
    fn history(&mut self) -> Result<()> {
        let (folder, mut server, world) = self.host()?;
        run(&server, "chain_pure", 3)?;
        let most = if self.pace.is_quick { 20_000 } else { 1_000_000 };
        let data = folder.0.join("data");
        let mut runs = 0;
        for count in [0, 1_000, 10_000, 100_000, 1_000_000].into_iter().map(|count: u64| count.min(most)) {
            if count < runs || (count == runs && count > 0) {
                continue;
            }
            let mark = format!("+{count}");
            server.stop()?;
            if count > runs {
                let mut fill = program("fill");
                let begun = Instant::now();
                output(fill.arg("--data").arg(data.join("store")).args(["--count", &(count - runs).to_string()]))?;
                let each_second = (count - runs) as f64 / begun.elapsed().as_secs_f64();
                self.put("history", &format!("{mark}: written"), each_second, "1/s");
            }
            runs = count;
            let begun = Instant::now();
            server = Server::start_bare(System::Trackway, &folder.0)?;
            self.put("history", &format!("{mark}: start of the host"), begun.elapsed().as_secs_f64(), "s");
            self.put("history", &format!("{mark}: data folder"), size_bytes(&data)? as f64 / MEBIBYTE, "MiB");
            let memory = resident_bytes(&server)? / MEBIBYTE;
            self.put("history", &format!("{mark}: memory after the start"), memory, "MiB");
            let is_compared = count == 0 || count == most;
            let works = if is_compared { "run3.pure,load.pure,run3.http,load.http" } else { "run3.pure,load.pure" };
            for _ in 0..if is_compared { self.pace.rounds } else { 1 } {
                let mut load = server.load(works, &world);
                let levels = ["--levels", "64", "--seconds", &self.pace.seconds.to_string()];
                self.rows.take(load.args(["--mark", &mark]).args(levels))?;
            }
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
        let has_ended = answer["finished_at"].is_string();
        ensure!(!has_ended && begun.elapsed() < ENDS_WITHIN, "the run did not become {status}: {answer}");
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
pub struct World(std::process::Child);

impl World {
    pub fn start(address: &str) -> Result<World> {
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
