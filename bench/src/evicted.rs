//! What it costs to recall a run again and again: each of its steps comes after an eviction, so the
//! host goes through all steps before it each time.

use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::row;

/// Several lengths show how the cost grows.
const PARTS: [u32; 3] = [10, 3, 1];

pub async fn measure(guests: &Path, folder: &Path, evictions: u32) -> Result<()> {
    let host = Host::start(&folder.join("evicted"), Duration::ZERO)?;
    let work = host.deploy(guests, "work").await?;
    for part in PARTS {
        let steps = evictions / part;
        let begun = Instant::now();
        let run = host.run(&work, "work", "evicted", format!(r#"{{"n":{steps}}}"#)).await?;
        host.finish(run).await?;
        row::put("evicted", "trackway", &format!("{steps} evictions"), begun.elapsed().as_secs_f64(), "s");
    }
    Ok(host.worker.drain(Duration::ZERO).await?)
}
