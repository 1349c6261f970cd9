//! Fills a store with finished runs: copies of one that is there, byte for byte, under other ids. It
//! goes through the store's own door, and stands in for the time that starting them all would take.

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::path::Path;
use trackway_replay::{FrameId, Head, RunId, Status, TenantId};
use trackway_storage::{
    Append, Appended, Owner, Rows, RunKey, RunQuery, SledOptions, SledStorage, Storage, StoredFrame,
};

use crate::arguments::Arguments;

/// Appends in flight: enough for full batches.
const IN_FLIGHT: u64 = 1_024;

/// `fill --data PATH --count N`. No server may use the folder.
pub async fn fill(arguments: &Arguments) -> Result<()> {
    let count: u64 = arguments.get("count")?;
    let storage = SledStorage::open(Path::new(arguments.text("data")?), SledOptions::default())?;
    let query = RunQuery { status: vec![Status::Succeeded], limit: 1, ..RunQuery::default() };
    let head = storage.heads(TenantId::DEFAULT, query).await?.pop().context("no run has succeeded there")?;
    let key = RunKey { tenant: TenantId::DEFAULT, run: head.run };
    let frames = storage.frames(key, trackway_replay::Position::FIRST, usize::MAX).await?;
    let mut copies = FuturesUnordered::new();
    for number in 1..=count {
        copies.push(copy(&storage, &head, &frames, number));
        if number > IN_FLIGHT {
            copies.next().await.context("a copy is on its way")??;
        }
    }
    while let Some(done) = copies.next().await {
        done?;
    }
    storage.close().await?;
    Ok(())
}

async fn copy(storage: &SledStorage, head: &Head, frames: &[StoredFrame], number: u64) -> Result<()> {
    // As far apart as ids of one millisecond are.
    let run = RunId(head.run.0 + (u128::from(number) << 64));
    for (place, stored) in frames.iter().enumerate() {
        let StoredFrame { position, entries, previous, id, frame } = stored.clone();
        let is_last = place + 1 == frames.len();
        let rows = Rows {
            head: is_last.then(|| Head { run, ..head.clone() }),
            owner: if is_last { Owner::End } else { Owner::Keep },
            ..Rows::default()
        };
        let of_copy = |id: FrameId| FrameId(id.0 ^ u128::from(number));
        let (previous, id) = (previous.map(of_copy), of_copy(id));
        let run = RunKey { tenant: TenantId::DEFAULT, run };
        let appended = storage.append(Append { run, position, entries, previous, id, frame, rows }).await;
        ensure!(matches!(appended, Appended::Durable), "a copy was not taken: {appended:?}");
    }
    Ok(())
}
