//! What no durable host can be quicker than: the bytes of the work, appended to a file and synced as
//! often as the work's causes demand, by a bare program. With effects also with the requests.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::client::Connection;
use crate::row::{self, millis, quantile};
use crate::world;

/// What Trackway writes of a run of three pure steps, and of each such step beyond.
const PURE_RUN_BYTES: usize = 2_000;
const PURE_STEP_BYTES: usize = 450;
/// What it writes between two effects.
const EFFECT_BYTES: usize = 1_000;

const STEPS_OF_A_RUN: usize = 3;
const STEPS_OF_A_LONG_RUN: usize = 1_000;
const LONG_RUNS: usize = 3;

struct Floor {
    file: File,
    /// Where effects go, if they are done.
    world: Option<(Connection, Vec<u8>)>,
    system: &'static str,
}

/// A part of a work: bytes that are made durable together, and whether an effect follows.
#[derive(Clone, Copy)]
struct Flush {
    bytes: usize,
    effect: bool,
}

/// `floor --folder PATH --world HOST:PORT --works WORK,... [--seconds S] [--levels N,...]`
pub async fn measure(arguments: &Arguments) -> Result<()> {
    let folder = Path::new(arguments.text("folder")?);
    let address = arguments.text("world")?;
    let time = Duration::from_secs_f64(arguments.get_or("seconds", 3.0)?);
    world::serve(address)?;
    let request = format!("POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1\r\n\r\n1").into_bytes();
    let with_world = Some((Connection::open(address).await?, request));
    for (system, world) in [("floor", None), ("floor+http", with_world)] {
        let path = folder.join("floor");
        let file = File::options().create(true).append(true).open(&path)?;
        let mut floor = Floor { file, world, system };
        for work in arguments.list("works")? {
            let (kind, effect) = work.split_once('.').with_context(|| format!("`{work}` is no work"))?;
            if effect == "pure" && floor.world.is_some() {
                continue;
            }
            let run = |steps: usize| match effect {
                "pure" => {
                    vec![Flush { bytes: PURE_RUN_BYTES + PURE_STEP_BYTES * (steps - STEPS_OF_A_RUN), effect: false }]
                }
                _ => {
                    let mut flushes = vec![Flush { bytes: EFFECT_BYTES, effect: true }; steps];
                    flushes.push(Flush { bytes: EFFECT_BYTES, effect: false });
                    flushes
                }
            };
            match kind {
                "run3" => floor.run3(work, &run(STEPS_OF_A_RUN), time).await?,
                // Requests of many runs go side by side, which one connection cannot do.
                "load" if floor.world.is_some() => {}
                "load" => {
                    for level in arguments.list("levels")? {
                        floor.load(work, &run(STEPS_OF_A_RUN), level.parse()?, time).await?;
                    }
                }
                "steps1000" => floor.long(work, &run(STEPS_OF_A_LONG_RUN)).await?,
                // All that is asked at once is durable at once.
                "fan1000" => {
                    let bytes = STEPS_OF_A_LONG_RUN * if effect == "pure" { PURE_STEP_BYTES } else { EFFECT_BYTES };
                    floor.long(work, &[Flush { bytes, effect: false }]).await?;
                }
                _ => bail!("`{work}` is no work"),
            }
        }
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

impl Floor {
    /// As many runs at once, whose flushes all fall together.
    async fn once(&mut self, run: &[Flush], at_once: usize) -> Result<Duration> {
        let begun = Instant::now();
        for flush in run {
            self.file.write_all(&vec![b'x'; flush.bytes * at_once])?;
            self.file.sync_data()?;
            if let Some((connection, request)) = self.world.as_mut().filter(|_| flush.effect) {
                for _ in 0..at_once {
                    connection.ask(request).await?;
                }
            }
        }
        Ok(begun.elapsed())
    }

    async fn run3(&mut self, work: &str, run: &[Flush], time: Duration) -> Result<()> {
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < time {
            took.push(self.once(run, 1).await?);
        }
        took.sort_unstable();
        row::put(work, self.system, "p50", millis(quantile(&took, 500)), "ms");
        row::put(work, self.system, "p99", millis(quantile(&took, 990)), "ms");
        Ok(())
    }

    async fn load(&mut self, work: &str, run: &[Flush], level: usize, time: Duration) -> Result<()> {
        let (begun, mut runs) = (Instant::now(), 0);
        while begun.elapsed() < time {
            self.once(run, level).await?;
            runs += level;
        }
        let each_second = runs as f64 / begun.elapsed().as_secs_f64();
        row::put(work, self.system, &format!("runs/s at {level}"), each_second, "1/s");
        Ok(())
    }

    async fn long(&mut self, work: &str, run: &[Flush]) -> Result<()> {
        let mut took = Vec::new();
        for _ in 0..LONG_RUNS {
            took.push(self.once(run, 1).await?);
        }
        took.sort_unstable();
        row::put(work, self.system, "time", millis(quantile(&took, 500)), "ms");
        Ok(())
    }
}
