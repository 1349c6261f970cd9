//! The process that writes until its disk is gone, and says what was acknowledged.

use bytes::Bytes;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use trackway_replay::{Digest, FrameId, Position, RunId, TenantId};
use trackway_storage::{Append, Appended, Hardening, Rows, RunKey, SledOptions, SledStorage, Storage};

/// Runs that are written at once.
pub const RUNS: u64 = 8;
const FRAME_BYTES: usize = 1_024;
/// Of every other payload: as many pieces, each a row of the log.
const CUT_PAYLOAD_BYTES: usize = 40_000;
/// Of the others: more than is kept as pieces, so each is a file, which is written, synced and renamed, and its folder
/// synced.
const FILE_PAYLOAD_BYTES: usize = 1_200_000;
/// Of a run: with more of them all runs together would fill the disk of the quickest machine.
const FILE_PAYLOADS_MAX: u64 = 20;
/// Every so many frames name a payload.
const PAYLOAD_EVERY: u64 = 64;

pub fn options(hardening: Hardening) -> SledOptions {
    SledOptions { cache_bytes: 32 << 20, reserve_bytes: 16 << 20, hardening, ..SledOptions::default() }
}

pub fn run_key(number: u64) -> RunKey {
    RunKey { tenant: TenantId::DEFAULT, run: RunId(u128::from(number)) }
}

pub fn frame_id(run: u64, position: u64) -> FrameId {
    FrameId((u128::from(run) << 64) | u128::from(position + 1))
}

/// Every frame has bytes of its own.
pub fn frame(run: u64, position: u64) -> Bytes {
    filled(FRAME_BYTES, run, position)
}

/// What has to be there before the frame is.
pub fn payload(run: u64, position: u64) -> Option<Bytes> {
    // The runs are as far as each other, and their payloads are not to come all at once.
    let turn = position + run * PAYLOAD_EVERY / RUNS;
    if turn % PAYLOAD_EVERY != PAYLOAD_EVERY - 1 {
        return None;
    }
    let nth = turn / PAYLOAD_EVERY;
    let is_file = nth.is_multiple_of(2) && nth / 2 < FILE_PAYLOADS_MAX;
    let size_bytes = if is_file { FILE_PAYLOAD_BYTES } else { CUT_PAYLOAD_BYTES };
    Some(filled(size_bytes, run, position))
}

fn filled(size_bytes: usize, run: u64, position: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(size_bytes);
    for place in 0..size_bytes as u64 / 8 {
        let word = (run << 48) ^ (position << 16) ^ place.wrapping_mul(0x9e37_79b9);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.into()
}

/// Never returns while the disk works.
pub fn write(folder: &Path, hardening: &str) -> ExitCode {
    let hardening = match hardening {
        "on" => Hardening::On,
        // Payload files are synced by hand, and on ext4 a sync of one file saves all the others:
        // the control writes none.
        _ => Hardening::PlainFlush,
    };
    let store = Arc::new(SledStorage::open(folder, options(hardening)).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let writers = (0..RUNS).map(|run| tokio::spawn(write_run(store.clone(), run, hardening)));
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
    ExitCode::FAILURE
}

async fn write_run(store: Arc<SledStorage>, run: u64, hardening: Hardening) {
    for position in 0.. {
        if hardening == Hardening::On
            && let Some(bytes) = payload(run, position)
            && let Err(error) = store.put_payload(run_key(run), Digest::of(&bytes), bytes).await
        {
            // The disk is gone: the frame meets that in the log, which ends the process. Else it is acknowledged
            // without its payload, and counts as lost.
            eprintln!("{error}");
        }
        let append = Append {
            run: run_key(run),
            position: Position(position),
            entries: 1,
            previous: position.checked_sub(1).map(|before| frame_id(run, before)),
            id: frame_id(run, position),
            frame: frame(run, position),
            rows: Rows::default(),
        };
        match store.append(append).await {
            Appended::Durable => {}
            other => panic!("the append was answered by {other:?}"),
        }
        // One write for each line: what was read is what was acknowledged.
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(format!("{run} {position}\n").as_bytes()).unwrap();
        stdout.flush().unwrap();
    }
}
