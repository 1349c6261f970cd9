//! What a durable step costs beside the disk's own sync, and how fast a run is replayed.

use anyhow::{Result, ensure};
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use trackway_storage::RunKey;

use crate::host::Host;
use crate::row;

const ROUNDS: usize = 5;
const STEPS: u32 = 300;
const PURE_STEPS: u32 = 3_000;
const REPLAYED_STEPS: u32 = 50_000;
const REPLAYED_EFFECTS: u32 = 10_000;
/// About what a step writes.
const FRAME_BYTES: usize = 1_024;

/// One step after the other, until all are durable. A pure step goes on while the one before it is being made
/// durable; one with an effect waits for that first.
pub async fn step(guests: &Path, folder: &Path) -> Result<()> {
    let host = Host::start(&folder.join("steps"), Duration::from_secs(3))?;
    let (parallel, effects) = (host.deploy(guests, "parallel").await?, host.deploy(guests, "effects").await?);
    let (mut pure, mut effect, mut sync) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        sync = sync.min(one_sync(folder)?);
        let begun = Instant::now();
        let run = host.run(&parallel, "parallel", "chain", format!(r#"{{"n":{PURE_STEPS}}}"#)).await?;
        host.finish(run).await?;
        pure = pure.min(begun.elapsed() / PURE_STEPS);
        let begun = Instant::now();
        let input = format!(r#"{{"url":"http://world.test","steps":{STEPS}}}"#);
        let run = host.run(&effects, "effects", "posts", input).await?;
        host.finish(run).await?;
        effect = effect.min(begun.elapsed() / STEPS);
    }
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let times = |time: Duration| time.as_secs_f64() / sync.as_secs_f64();
    row::put("step", "floor", "one fdatasync", ms(sync), "ms");
    row::put("step", "trackway", "pure", ms(pure), "ms");
    row::put("step", "trackway", "pure, times one fdatasync", times(pure), "");
    row::put("step", "trackway", "one effect", ms(effect), "ms");
    row::put("step", "trackway", "one effect, times one fdatasync", times(effect), "");
    Ok(host.worker.drain(Duration::ZERO).await?)
}

pub async fn replay(guests: &Path, folder: &Path) -> Result<()> {
    let host = Host::start(&folder.join("replay"), Duration::from_secs(3))?;
    let parallel = host.deploy(guests, "parallel").await?;
    let run = host.run(&parallel, "parallel", "chain", format!(r#"{{"n":{REPLAYED_STEPS}}}"#)).await?;
    replay_of(&host, run, "replay", REPLAYED_STEPS).await?;
    Ok(host.worker.drain(Duration::ZERO).await?)
}

/// The same with one effect in each step.
pub async fn replay_http(guests: &Path, folder: &Path) -> Result<()> {
    let host = Host::start(&folder.join("replay-http"), Duration::from_secs(3))?;
    let effects = host.deploy(guests, "effects").await?;
    let input = format!(r#"{{"url":"http://world.test","steps":{REPLAYED_EFFECTS}}}"#);
    let run = host.run(&effects, "effects", "posts", input).await?;
    replay_of(&host, run, "replay.http", REPLAYED_EFFECTS).await?;
    Ok(host.worker.drain(Duration::ZERO).await?)
}

/// Of a run that has just been started.
async fn replay_of(host: &Host, run: RunKey, work: &str, steps: u32) -> Result<()> {
    let begun = Instant::now();
    host.finish(run).await?;
    let live = f64::from(steps) / begun.elapsed().as_secs_f64();
    row::put(work, "trackway", "live steps", live, "1/s");
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let report = host.worker.replay(run, None).await?;
        best = best.min(begun.elapsed());
        ensure!(report.compared.with_fuel >= u64::from(steps), "not everything was compared: {report:?}");
    }
    let replayed = f64::from(steps) / best.as_secs_f64();
    row::put(work, "trackway", "replayed steps", replayed, "1/s");
    Ok(())
}

/// The mean of many writes in place, each synced, in a file that has its size already.
fn one_sync(folder: &Path) -> Result<Duration> {
    let mut file = std::fs::File::create(folder.join("plain"))?;
    file.write_all(&vec![0; FRAME_BYTES * STEPS as usize])?;
    file.sync_all()?;
    file.rewind()?;
    let begun = Instant::now();
    for _ in 0..STEPS {
        file.write_all(&[1; FRAME_BYTES])?;
        file.sync_data()?;
    }
    Ok(begun.elapsed() / STEPS)
}
