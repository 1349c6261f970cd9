//! The same work for every system that runs workflows behind HTTP: started by a POST that is answered
//! when the run has ended. It counts only runs that ended well.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::client::{Acknowledges, Connection};
use crate::row::{self, millis, quantile};
use crate::world;

pub const STEPS_OF_A_RUN: u32 = 3;
const STEPS_OF_A_LONG_RUN: u32 = 1_000;
/// Before anything is counted: code is loaded and compiled, connections are opened.
const WARM_UP: u32 = 5;
/// A host remembers the last runs, 4,096 of them; one that began before so many others is read from its store.
const RUNS_SINCE: u32 = 5_000;
/// So that reading is no load by itself.
const BETWEEN_READS: Duration = Duration::from_millis(1);
/// Starts in flight.
const STARTERS: usize = 64;

/// A server that is measured, as whoever has the key.
#[derive(Clone)]
pub struct Target {
    system: String,
    pub address: String,
    /// Where requests of steps go.
    pub world: String,
    key: String,
    /// How often each thing is done takes as long.
    pub time: Duration,
    /// Behind the name of the work, where the same is measured under other conditions.
    mark: String,
}

/// `load --system NAME --address HOST:PORT --world HOST:PORT --works WORK,... [--key KEY]
/// [--seconds S] [--levels N,...] [--long-runs N] [--mark TEXT]`
pub async fn measure(arguments: &Arguments) -> Result<()> {
    let target = Arc::new(Target::read(arguments)?);
    world::serve(&target.world)?;
    for work in arguments.list("works")? {
        let (kind, effect) = work.split_once('.').with_context(|| format!("`{work}` is no work"))?;
        ensure!(["pure", "http"].contains(&effect), "`{work}`: steps are pure or http");
        match kind {
            "run3" => run3(&target, work, effect).await?,
            "load" => {
                for level in arguments.list("levels")? {
                    load(&target, work, effect, level.parse()?).await?;
                }
            }
            "steps1000" => long(&target, work, &format!("chain_{effect}"), arguments.get("long-runs")?).await?,
            "fan1000" => long(&target, work, &format!("fan_{effect}"), arguments.get("long-runs")?).await?,
            "reads" => {
                for level in arguments.list("levels")? {
                    reads(&target, work, effect, level.parse()?).await?;
                }
            }
            _ => bail!("`{work}` is no work"),
        }
    }
    Ok(())
}

/// `start --system trackway --address HOST:PORT --key KEY --workflow NAME --steps N --url URL --count N`:
/// starts runs and waits for none.
pub async fn start(arguments: &Arguments) -> Result<()> {
    let target = Arc::new(Target::read(arguments)?);
    let (workflow, steps) = (arguments.text("workflow")?, arguments.get::<u32>("steps")?);
    let input = format!(r#"{{"n":{steps},"url":"{}"}}"#, arguments.text("url")?);
    let body = format!(r#"{{"workflow":"work/{workflow}","input":{input}}}"#);
    let request: Arc<[u8]> = target.post("/v1/runs", &body).into();
    let left = Arc::new(AtomicU32::new(arguments.get("count")?));
    let tasks: Vec<_> = (0..STARTERS)
        .map(|_| {
            let (target, request, left) = (target.clone(), request.clone(), left.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(&target.address).await?;
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let answer = connection.ask(&request).await?;
                    ensure!(answer.status == 201, "a run was not started: {}", String::from_utf8_lossy(answer.body));
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

impl Target {
    pub fn read(arguments: &Arguments) -> Result<Target> {
        Ok(Target {
            system: arguments.text("system")?.to_owned(),
            address: arguments.text("address")?.to_owned(),
            world: arguments.text("world")?.to_owned(),
            key: arguments.get_or("key", String::new())?,
            time: Duration::from_secs_f64(arguments.get_or("seconds", 3.0)?),
            mark: arguments.get_or("mark", String::new())?,
        })
    }

    /// The same server, asked by somebody else.
    pub fn with_key(&self, key: &str) -> Target {
        Target { key: key.to_owned(), ..self.clone() }
    }

    pub fn put(&self, work: &str, metric: &str, value: f64, unit: &str) {
        row::put(&format!("{work}{}", self.mark), &self.system, metric, value, unit);
    }

    /// A whole request that starts a workflow and waits for its end.
    pub fn request(&self, workflow: &str, steps: u32) -> Vec<u8> {
        let url = format!("http://{}/", self.world);
        let input = format!(r#"{{"n":{steps},"url":"{url}"}}"#);
        let (path, body) = match self.system.as_str() {
            "trackway" => {
                ("/v1/runs?wait=60".to_owned(), format!(r#"{{"workflow":"work/{workflow}","input":{input}}}"#))
            }
            "obelisk" => {
                let function = format!("bench:work/runs.{}", workflow.replace('_', "-"));
                let body = format!(r#"{{"ffqn":"{function}","params":[{steps},"{url}"]}}"#);
                ("/v1/executions?follow=true".to_owned(), body)
            }
            _ => (format!("/work/{workflow}"), input),
        };
        self.post(&path, &body)
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{}\r\n", self.address, self.authorization()).into_bytes()
    }

    fn authorization(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!("authorization: Bearer {}\r\n", self.key) }
    }

    pub fn post(&self, path: &str, body: &str) -> Vec<u8> {
        self.post_as("application/json", path, body.as_bytes())
    }

    pub fn post_as(&self, content_type: &str, path: &str, body: &[u8]) -> Vec<u8> {
        let (address, key, length) = (&self.address, self.authorization(), body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\n{key}content-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    }

    /// Runs once; the run has to end well.
    pub async fn run(&self, connection: &mut Connection, request: &[u8]) -> Result<Duration> {
        let begun = Instant::now();
        let answer = connection.ask(request).await?;
        let took = begun.elapsed();
        let is_good = match self.system.as_str() {
            "trackway" => has(answer.body, br#""status":"succeeded""#),
            // Its status is sent before the end is known.
            "obelisk" => has(answer.body, br#""ok":"#),
            _ => true,
        };
        ensure!(
            is_good && (200..300).contains(&answer.status),
            "{}: a run did not end well: {} {}",
            self.system,
            answer.status,
            String::from_utf8_lossy(answer.body)
        );
        Ok(took)
    }

    async fn open(&self) -> Result<Connection> {
        let acknowledges = if self.system == "obelisk" { Acknowledges::AtOnce } else { Acknowledges::Whenever };
        Connection::open_with(&self.address, acknowledges).await
    }

    pub async fn warm(&self, request: &[u8], times: u32) -> Result<Connection> {
        let mut connection = self.open().await?;
        for _ in 0..times {
            self.run(&mut connection, request).await?;
        }
        Ok(connection)
    }
}

pub fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The id of a run of Trackway, which the request starts.
pub async fn started(connection: &mut Connection, request: &[u8]) -> Result<String> {
    let answer = connection.ask(request).await?;
    let body: Value = serde_json::from_slice(answer.body)?;
    ensure!(answer.status == 201, "a run was not started: {} {body}", answer.status);
    Ok(body["run"]["id"].as_str().with_context(|| format!("no id in {body}"))?.to_owned())
}

/// One run after the other.
async fn run3(target: &Target, work: &str, effect: &str) -> Result<()> {
    let request = target.request(&format!("chain_{effect}"), STEPS_OF_A_RUN);
    let mut connection = target.warm(&request, WARM_UP * 4).await?;
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < target.time {
        took.push(target.run(&mut connection, &request).await?);
    }
    took.sort_unstable();
    target.put(work, "p50", millis(quantile(&took, 500)), "ms");
    target.put(work, "p99", millis(quantile(&took, 990)), "ms");
    Ok(())
}

/// So many runs in flight all the time, each on a connection of its own.
async fn load(target: &Arc<Target>, work: &str, effect: &str, level: usize) -> Result<()> {
    let request: Arc<[u8]> = target.request(&format!("chain_{effect}"), STEPS_OF_A_RUN).into();
    let mut connections = Vec::new();
    for _ in 0..level {
        connections.push(target.warm(&request, 1).await?);
    }
    let begun = Instant::now();
    let until = begun + target.time;
    let tasks = connections.into_iter().map(|mut connection| {
        let (target, request) = (target.clone(), request.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < until {
                took.push(target.run(&mut connection, &request).await?);
            }
            anyhow::Ok(took)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    // Those that were in flight when the time was up count, and so does the time until they ended.
    let each_second = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    target.put(work, &format!("runs/s at {level}"), each_second, "1/s");
    target.put(work, &format!("p99 at {level}"), millis(quantile(&took, 990)), "ms");
    Ok(())
}

/// Whoever looks at runs and at the list of them while so many others are in flight, beside which no run stays a recent
/// one.
async fn reads(target: &Arc<Target>, work: &str, effect: &str, level: usize) -> Result<()> {
    let request: Arc<[u8]> = target.request(&format!("chain_{effect}"), STEPS_OF_A_RUN).into();
    let mut connection = target.warm(&request, WARM_UP).await?;
    let older = started(&mut connection, &request).await?;
    for _ in 0..RUNS_SINCE {
        target.run(&mut connection, &request).await?;
    }
    let recent = started(&mut connection, &request).await?;
    let read = |run: &str| target.get(&format!("/v1/runs/{run}"));
    let mut requests = vec![("older run", read(&older)), ("list", target.get("/v1/runs?limit=20"))];
    if level == 0 {
        requests.push(("recent run", read(&recent)));
    }
    let ended = Arc::new(AtomicBool::new(false));
    let mut others = Vec::new();
    for _ in 0..level {
        let (target, request, ended) = (target.clone(), request.clone(), ended.clone());
        others.push(tokio::spawn(async move {
            let mut connection = target.warm(&request, 1).await?;
            while !ended.load(Relaxed) {
                target.run(&mut connection, &request).await?;
            }
            anyhow::Ok(())
        }));
    }
    for (name, request) in requests {
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < target.time {
            tokio::time::sleep(BETWEEN_READS).await;
            let begun = Instant::now();
            let answer = connection.ask(&request).await?;
            took.push(begun.elapsed());
            ensure!(answer.status == 200, "a read was refused: {}", String::from_utf8_lossy(answer.body));
        }
        took.sort_unstable();
        target.put(work, &format!("{name}, p50 at {level}"), millis(quantile(&took, 500)), "ms");
        target.put(work, &format!("{name}, p99 at {level}"), millis(quantile(&took, 990)), "ms");
    }
    ended.store(true, Relaxed);
    for other in others {
        other.await??;
    }
    Ok(())
}

/// A single run of many steps, and again.
async fn long(target: &Target, work: &str, workflow: &str, times: u32) -> Result<()> {
    let request = target.request(workflow, STEPS_OF_A_LONG_RUN);
    let mut connection = target.warm(&target.request(workflow, STEPS_OF_A_RUN), WARM_UP).await?;
    let mut took = Vec::new();
    for _ in 0..times {
        took.push(target.run(&mut connection, &request).await?);
    }
    took.sort_unstable();
    target.put(work, "time", millis(quantile(&took, 500)), "ms");
    Ok(())
}
