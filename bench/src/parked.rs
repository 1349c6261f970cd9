//! What a run costs that waits for something far away: memory of the host, as a difference.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};
use trackway_replay::{Status, TenantId};
use trackway_storage::{RunQuery, Storage};

use crate::host::Host;
use crate::row;

const RUNS: usize = 10_000;
/// Runs before the first look at memory, so that what is allocated once is not counted.
const FIRST: usize = 500;
const PARKED_WITHIN: Duration = Duration::from_secs(300);

pub async fn measure(guests: &Path, folder: &Path) -> Result<()> {
    let host = Host::start(&folder.join("parked"), Duration::ZERO)?;
    let sleeper = host.deploy(guests, "sleeper").await?;
    let sleep = |count: usize| {
        let (host, sleeper) = (&host, &sleeper);
        async move {
            for _ in 0..count {
                host.run(sleeper, "sleeper", "sleeps", "86000000".to_owned()).await?;
            }
            anyhow::Ok(())
        }
    };
    sleep(FIRST).await?;
    all_parked(&host, FIRST).await?;
    let before = resident_bytes()?;
    let begun = Instant::now();
    sleep(RUNS).await?;
    all_parked(&host, FIRST + RUNS).await?;
    let took = begun.elapsed();
    let each = resident_bytes()?.saturating_sub(before) / RUNS as u64;
    row::put("parked", "trackway", "memory each", each as f64, "bytes");
    row::put("parked", "trackway", "started and parked", RUNS as f64 / took.as_secs_f64(), "1/s");
    Ok(host.worker.drain(Duration::ZERO).await?)
}

/// Resolves when that many runs sleep.
async fn all_parked(host: &Host, count: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let query = RunQuery { limit: count + 1, status: vec![Status::Sleeping], ..RunQuery::default() };
        let sleeping = host.storage.heads(TenantId::DEFAULT, query).await?.len();
        if sleeping >= count {
            return Ok(());
        }
        ensure!(begun.elapsed() < PARKED_WITHIN, "only {sleeping} of {count} runs were parked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes * 1_024)
}
