//! Fills a small disk: writes are refused before it is full, reads go on, and so do writes once
//! there is room again.

use trackway_replay::Position;
use trackway_storage::{Append, Appended, Hardening, Rows, SledStorage, Storage, StorageErrorKind};

use crate::disk::Disk;
use crate::writer::{self, frame_id, run_key};

/// More than the disk holds.
const APPENDS_MAX: u64 = 1_000_000;
const BALLAST_BYTES: u64 = 400 << 20;
/// Long enough for the store to look at the disk again.
const APPENDS_AFTER_ROOM: u64 = 100_000;

pub fn check() -> Result<(), String> {
    let disk = Disk::new()?;
    // Most of the disk at once; the store's own writes do the rest.
    let ballast = disk.mount_point().join("ballast");
    let filled = std::fs::File::create(&ballast).and_then(|file| allocate(&file));
    filled.map_err(|error| format!("cannot write the ballast: {error}"))?;
    let data = disk.mount_point().join("data");
    let store = SledStorage::open(&data, writer::options(Hardening::On)).map_err(|error| error.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(fill(&store, &ballast))
}

fn allocate(file: &std::fs::File) -> std::io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES).map_err(Into::into)
}

async fn fill(store: &SledStorage, ballast: &std::path::Path) -> Result<(), String> {
    let mut end = 0;
    loop {
        match append(store, end).await {
            Appended::Durable if end < APPENDS_MAX => end += 1,
            Appended::Refused(error) if error.kind == StorageErrorKind::Full => break,
            other => return Err(format!("append {end} was answered by {other:?}")),
        }
    }
    let read = store.frames(run_key(0), Position::FIRST, usize::MAX).await.map_err(|error| error.to_string())?;
    if read.len() as u64 != end {
        return Err(format!("{} of {end} frames can be read on a full disk", read.len()));
    }
    std::fs::remove_file(ballast).map_err(|error| error.to_string())?;
    for _ in 0..APPENDS_AFTER_ROOM {
        match append(store, end).await {
            Appended::Durable => return Ok(()),
            Appended::Refused(error) if error.kind == StorageErrorKind::Full => {}
            other => return Err(format!("with room again, append {end} was answered by {other:?}")),
        }
    }
    Err("it goes on refusing although there is room".to_owned())
}

async fn append(store: &SledStorage, position: u64) -> Appended {
    let append = Append {
        run: run_key(0),
        position: Position(position),
        entries: 1,
        previous: position.checked_sub(1).map(|before| frame_id(0, before)),
        id: frame_id(0, position),
        frame: bytes::Bytes::from(vec![9; 50_000]),
        rows: Rows::default(),
    };
    store.append(append).await
}
