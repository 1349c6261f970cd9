//! How fast appends become durable, beside a bare file that is written and synced in the same minute
//! on the same disk: `cargo run --release -p trackway-storage --example durable [FOLDER]`.

use bytes::Bytes;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trackway_replay::{FrameId, Position, RunId, TenantId};
use trackway_storage::{Append, Appended, Rows, RunKey, SledOptions, SledStorage, Storage};

const FRAME_BYTES: usize = 1_024;
/// Short rounds in turn: what else goes on at the disk then falls on all alike.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(200);
const MANY: u64 = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Arc::new(SledStorage::open(&folder.path().join("data"), SledOptions::default())?);
    let mut bare_file = std::fs::File::create(folder.path().join("bare"))?;
    let (mut bare, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
    let mut next_run = 0;
    for _ in 0..ROUNDS {
        bare.push(bare_syncs(&mut bare_file)?);
        one.push(runtime.block_on(appends(&store, next_run, 1))?);
        many.push(runtime.block_on(appends(&store, next_run + 1, MANY))?);
        next_run += 1 + MANY;
    }
    print("bare write and fdatasync", &bare);
    print("durable appends, 1 writer", &one);
    print("durable appends, 64 writers", &many);
    let latency = ratios(&one, &bare, |measured| measured.median.as_secs_f64());
    println!("one durable append takes {latency:.2} times a bare one (median of {ROUNDS} rounds)");
    let throughput = ratios(&many, &bare, Measured::per_second);
    println!("64 writers do {throughput:.1} appends for each bare one (median of {ROUNDS} rounds)");
    Ok(())
}

/// The median of what each round gives.
fn ratios(ours: &[Measured], bare: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut ratios: Vec<f64> = ours.iter().zip(bare).map(|(ours, bare)| of(ours) / of(bare)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn print(what: &str, rounds: &[Measured]) {
    let mut medians: Vec<Duration> = rounds.iter().map(|round| round.median).collect();
    medians.sort();
    let mut rates: Vec<f64> = rounds.iter().map(Measured::per_second).collect();
    rates.sort_by(f64::total_cmp);
    println!(
        "{what:<28} {:>7.0} /s (best {:>7.0}), median {:>10.1?} (best {:>9.1?})",
        rates[rates.len() / 2],
        rates[rates.len() - 1],
        medians[medians.len() / 2],
        medians[0]
    );
}

struct Measured {
    count: usize,
    elapsed: Duration,
    median: Duration,
}

impl Measured {
    fn of(mut times: Vec<Duration>, elapsed: Duration) -> Measured {
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        Measured { count: times.len(), elapsed, median }
    }

    fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

fn bare_syncs(file: &mut std::fs::File) -> std::io::Result<Measured> {
    let bytes = [7; FRAME_BYTES];
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < ROUND {
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
    while begun.elapsed() < ROUND {
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
