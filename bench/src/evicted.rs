//! What it costs to recall a run again and again: each of its steps comes after an eviction, so the
//! host goes through all steps before it each time.

use anyhow::{Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};
use trackway_replay::{Frame, Kind, Position};
use trackway_storage::{RunKey, Storage};

use crate::host::Host;
use crate::row;

/// Several lengths show how the cost grows.
const PARTS: [u32; 3] = [10, 3, 1];
/// Of a journal at once.
const READ_MAX_BYTES: usize = 1 << 20;

/// `work` is the name of the rows, `workflow` one of the guest `work`.
pub async fn measure(guests: &Path, folder: &Path, work: &str, workflow: &str, evictions: u32) -> Result<()> {
    let host = Host::start(&folder.join(workflow), Duration::ZERO)?;
    let guest = host.deploy(guests, "work").await?;
    for part in PARTS {
        let steps = evictions / part;
        let begun = Instant::now();
        let input = format!(r#"{{"n":{steps},"url":"http://world.test"}}"#);
        let run = host.run(&guest, "work", workflow, input).await?;
        host.finish(run).await?;
        let each = begun.elapsed().as_secs_f64() * 1e3 / f64::from(steps);
        let claims = claims(&host, run).await?;
        ensure!(claims > steps, "the run of {steps} sleeps was taken up only {claims} times");
        row::put(work, "trackway", &format!("each of {steps} evictions"), each, "ms");
    }
    Ok(host.worker.drain(Duration::ZERO).await?)
}

/// How often somebody took the run up.
async fn claims(host: &Host, run: RunKey) -> Result<u32> {
    let mut claims = 0;
    let mut next = Position::FIRST;
    loop {
        let frames = host.storage.frames(run, next, READ_MAX_BYTES).await?;
        let Some(last) = frames.last() else { return Ok(claims) };
        next = last.position.plus(u64::from(last.entries));
        for stored in &frames {
            let frame = Frame::decode(&stored.frame)?;
            claims += frame.entries.iter().filter(|entry| matches!(entry.kind, Kind::Claimed(_))).count() as u32;
        }
    }
}
