//! How fast appends become durable, beside a bare file that is written and synced in the same minute
//! on the same disk: `cargo run --release -p trackway-storage --example durable [FOLDER]`.
//!
//! A file that grows costs the file system a journal commit with every sync. sled extends its log
//! by whole segments, so the file that is fair to compare with has its length from the start.

use bytes::Bytes;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trackway_replay::{FrameId, Position, RunId, TenantId};
use trackway_storage::{Append, Appended, Rows, RunKey, SledOptions, SledStorage, Storage};

const FRAME_BYTES: usize = 1_024;
const BARE_BYTES: u64 = 64 << 20;
const MEASURED: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let growing = bare_file(&folder.path().join("growing"), 0)?;
    let bare = bare_file(&folder.path().join("bare"), BARE_BYTES)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(SledStorage::open(&folder.path().join("data"), SledOptions::default())?);
    let one = runtime.block_on(appends(&store, 0, 1))?;
    let many = runtime.block_on(appends(&store, 1, 64))?;
    let again = bare_file(&folder.path().join("again"), BARE_BYTES)?;

    println!("write and fdatasync, growing file    {growing}");
    println!("write and fdatasync, fixed length    {bare}");
    println!("write and fdatasync, once more       {again}");
    println!("durable appends, 1 writer            {one}");
    println!("durable appends, 64 writers          {many}");
    let bare_per_second = bare.per_second().max(again.per_second());
    println!("1 writer: {:.2} appends for one bare sync", one.per_second() / bare_per_second);
    println!("64 writers: {:.1} appends for one bare sync", many.per_second() / bare_per_second);
    Ok(())
}

struct Measured {
    count: usize,
    elapsed: Duration,
    median: Duration,
    p99: Duration,
}

impl Measured {
    fn of(mut times: Vec<Duration>, elapsed: Duration) -> Measured {
        times.sort();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
        Measured { count: times.len(), elapsed, median: at(50), p99: at(99) }
    }

    fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>8.0} /s, median {:?}, p99 {:?}", self.per_second(), self.median, self.p99)
    }
}

fn bare_file(path: &Path, size_bytes: u64) -> std::io::Result<Measured> {
    let mut file = std::fs::File::create(path)?;
    file.set_len(size_bytes)?;
    let bytes = [7; FRAME_BYTES];
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < MEASURED {
        let append = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(append.elapsed());
    }
    Ok(Measured::of(times, begun.elapsed()))
}

async fn appends(
    store: &Arc<SledStorage>,
    first_run: u64,
    writers: u64,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let writers = (0..writers).map(|writer| tokio::spawn(append_to(store.clone(), first_run + writer, begun)));
    let mut times = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        times.extend(writer.await??);
    }
    Ok(Measured::of(times, begun.elapsed()))
}

async fn append_to(store: Arc<SledStorage>, run: u64, begun: Instant) -> Result<Vec<Duration>, String> {
    let run = RunKey { tenant: TenantId::DEFAULT, run: RunId(u128::from(run)) };
    let frame = Bytes::from(vec![7; FRAME_BYTES]);
    let mut times = Vec::new();
    let mut position = 0;
    while begun.elapsed() < MEASURED {
        let append = Append {
            run,
            position: Position(position),
            entries: 1,
            previous: position.checked_sub(1).map(|before| FrameId(u128::from(before))),
            id: FrameId(u128::from(position)),
            frame: frame.clone(),
            rows: Rows::default(),
        };
        let asked = Instant::now();
        match store.append(append).await {
            Appended::Durable => times.push(asked.elapsed()),
            other => return Err(format!("{other:?}")),
        }
        position += 1;
    }
    Ok(times)
}
