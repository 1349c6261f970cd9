//! Opens the data folder: lock, format, copy aside after a power cut, the check against the counter,
//! the proof that a flush reaches the disk. It must show nothing before all that holds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trackway_replay::Epoch;

use super::counter::{Counter, Last, Stop};
use super::draft::UNMARKED_COMMITS_MAX;
use super::folder::{Folder, Found, io_error};
use super::key::{self, Kind};
use super::remove;
use super::row::{Row, Writer};
use super::shared::Shared;
use super::spot::Spot;
use super::sync::{self, Synced};
use super::{Hardening, SledOptions};
use crate::seal::Seals;
use crate::{RunKey, StorageError, StorageErrorKind};

/// Fixed at creation: sled refuses to open a store under another one. With less, a page of sixteen
/// of our largest rows would go into one of sled's files that are never synced.
const SEGMENT_BYTES: usize = 8 << 20;

/// Between two runs of sled's own flusher, which is where it collects garbage.
const FLUSH_EVERY_MS: u64 = 500;

/// For sled's threads of a store that was dropped just before, which write nothing any more.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_WAIT: Duration = Duration::from_millis(2);

/// A store that has proved itself.
pub(super) struct Opened {
    pub folder: Folder,
    pub db: ::sled::Db,
    pub synced: Synced,
    pub counter: Counter,
    pub commit: u64,
    pub epoch: Epoch,
    pub ready: Vec<RunKey>,
    pub seals: Seals,
}

pub(super) fn open(path: &Path, options: &SledOptions) -> Result<Opened, StorageError> {
    let (folder, found) = Folder::open(path)?;
    // Before anything is changed: without the right key nothing here is of use.
    let seals = Seals::open(folder.keys(), options.sealing.clone())?;
    let counter_path = folder.counter();
    let opening = |error: std::io::Error| io_error(&counter_path, "cannot open", &error);
    let (mut counter, last) = Counter::open(&counter_path).map_err(opening)?;
    let aside = prepare(&folder, found, last)?;
    let synced = Synced::log(&folder.log(), options.hardening)
        .map_err(|error| io_error(&folder.log(), "cannot open", &error))?;
    let db = open_sled(&folder, options).map_err(|error| naming(error, aside.as_deref()))?;
    let commit = stored_commit(&db).map_err(|error| naming(error, aside.as_deref()))?;
    let expected = last.map_or(0, |last| last.commit);
    if commit < expected {
        return Err(naming(behind(&folder, commit, expected), aside.as_deref()));
    }
    // After a kill the log holds what is in memory only. Nobody may see it before it is durable.
    sync_store(&folder)?;
    counter.settle(commit, Stop::Open).map_err(opening)?;
    // Above every row that is there, also of commits that did not write their number down.
    let commit = commit + UNMARKED_COMMITS_MAX + 1;
    let epoch = raise_epoch(&db, &synced, &folder, commit, options)?;
    remove::finish(&db, &folder)?;
    let ready = ready_runs(&db)?;
    if let Some(aside) = aside {
        // The store opened and is where it should be: the copy has nothing that it lacks.
        std::fs::remove_dir_all(&aside).map_err(|error| io_error(&aside, "cannot remove", &error))?;
    }
    Ok(Opened { folder, db, synced, counter, commit, epoch, ready, seals })
}

/// A store of which a part cannot be read is opened all the same: what can be read is served.
pub(super) fn miss_keys(shared: &Shared) {
    let looked = catch_unwind(AssertUnwindSafe(|| shared.miss_keys()));
    match looked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "it cannot be told whether data keys are missing"),
        Err(_) => tracing::error!("it cannot be told whether data keys are missing: the store is damaged"),
    }
}

/// Files that no row names would be kept for nothing. They are in nobody's way, so an opening does not fail for them.
pub(super) fn tidy(shared: &Shared) {
    let tidied = catch_unwind(AssertUnwindSafe(|| shared.remove_left_components()));
    match tidied {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "files of components that were removed may be left"),
        Err(_) => tracing::warn!("files of components that were removed may be left: the store is damaged"),
    }
}

/// Before sled touches its files. Returns the copy, where one was needed.
fn prepare(folder: &Folder, found: Found, last: Option<Last>) -> Result<Option<PathBuf>, StorageError> {
    let Some(last) = last.filter(|_| found == Found::Store) else { return Ok(None) };
    if !folder.log().exists() {
        return if last.commit == 0 { Ok(None) } else { Err(behind(folder, 0, last.commit)) };
    }
    let unclean = last.stop == Stop::Open;
    if unclean && !last.boot.is_same(super::counter::Boot::now()) {
        tracing::warn!(folder = %folder.path.display(), "the machine stopped with the store open: copying it aside");
        return folder.copy_aside(last.commit).map(Some);
    }
    Ok(None)
}

fn naming(mut error: StorageError, aside: Option<&Path>) -> StorageError {
    if let Some(aside) = aside {
        error.message.push_str(&format!("; a copy from before it was opened is in {}", aside.display()));
    }
    error
}

fn behind(folder: &Folder, commit: u64, expected: u64) -> StorageError {
    let message = format!(
        "the store in {} is at commit {commit}, but {expected} had been acknowledged: data is missing. \
         No run was changed. Restore the whole folder from one backup",
        folder.path.display()
    );
    StorageError::new(StorageErrorKind::Behind, message)
}

fn open_sled(folder: &Folder, options: &SledOptions) -> Result<::sled::Db, StorageError> {
    let config = ::sled::Config::new()
        .path(folder.store())
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(options.cache_bytes)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let begun = Instant::now();
    loop {
        // Damage that sled does not expect ends in one of its assertions.
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) if is_locked(&error) && begun.elapsed() < LOCK_WAIT_MAX => {
                std::thread::sleep(LOCK_WAIT);
            }
            Ok(Err(error)) => return Err(sled_error(&folder.store(), &error)),
            Err(_) => {
                let message = format!("the store in {} cannot be opened: it is damaged", folder.store().display());
                return Err(StorageError::new(StorageErrorKind::Damaged, message));
            }
        }
    }
}

/// sled locks its log too. We hold the folder, so that lock can only be of a store of this process
/// that was dropped a moment ago and whose last thread is about to let go.
fn is_locked(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

pub(super) fn sled_error(store: &Path, error: &::sled::Error) -> StorageError {
    match error {
        ::sled::Error::Io(error) => io_error(store, "cannot read or write", error),
        ::sled::Error::Corruption { .. } => {
            StorageError::new(StorageErrorKind::Damaged, format!("the store in {} is damaged", store.display()))
        }
        ::sled::Error::CollectionNotFound(_) | ::sled::Error::Unsupported(_) | ::sled::Error::ReportableBug(_) => {
            StorageError::new(StorageErrorKind::Io, format!("the store in {}: {error}", store.display()))
        }
    }
}

fn stored_commit(db: &::sled::Db) -> Result<u64, StorageError> {
    match get(db, &key::META_COMMIT)? {
        Some(row) => Ok(row.commit),
        None => Ok(0),
    }
}

fn get(db: &::sled::Db, key: &[u8]) -> Result<Option<Row>, StorageError> {
    let value = db.get(key).map_err(|error| sled_error(Path::new("store"), &error))?;
    value.map(|value| Row::open(key, value, &Seals::none())).transpose()
}

fn sync_store(folder: &Folder) -> Result<(), StorageError> {
    let store = folder.store();
    let failed = |error: std::io::Error| io_error(&store, "cannot sync", &error);
    for entry in std::fs::read_dir(&store).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            sync::sync_file(&path, &std::fs::File::open(&path).map_err(failed)?);
        }
    }
    sync::sync_folder(&store).map_err(failed)?;
    sync::sync_folder(&folder.path).map_err(failed)
}

/// Writes the next epoch, and with it proves that a flush reaches the disk.
fn raise_epoch(
    db: &::sled::Db,
    synced: &Synced,
    folder: &Folder,
    commit: u64,
    options: &SledOptions,
) -> Result<Epoch, StorageError> {
    let last = match get(db, &key::META_EPOCH)? {
        Some(row) => row.decode::<u64>(&key::META_EPOCH)?,
        None => 0,
    };
    let Some(epoch) = last.max(options.epoch_above.0).checked_add(1) else {
        return Err(StorageError::new(
            StorageErrorKind::Damaged,
            "the epoch of the store is the last one there can be",
        ));
    };
    let mut writer = Writer::default();
    let mut batch = ::sled::Batch::default();
    batch.insert(&key::META_EPOCH, writer.row(&Spot::open(&key::META_EPOCH), commit, &epoch)?);
    batch.insert(&key::META_COMMIT, writer.bytes(&Spot::open(&key::META_COMMIT), commit, &[]));
    let before = synced.calls();
    let failed = |error: ::sled::Error| sled_error(&folder.store(), &error);
    db.apply_batch(batch).map_err(failed)?;
    db.flush().map_err(failed)?;
    match (before, synced.calls(), options.hardening) {
        (Some(before), Some(after), Hardening::On | Hardening::NoWait) if after == before => Err(StorageError::new(
            StorageErrorKind::NotDurable,
            format!("a flush of {} did not reach the disk: this program was linked wrongly", folder.log().display()),
        )),
        (_, _, Hardening::On | Hardening::NoWait | Hardening::PlainFlush | Hardening::MindNoFailedSync) => {
            Ok(Epoch(epoch))
        }
    }
}

/// Runs that were owned or ready when the store was last open.
fn ready_runs(db: &::sled::Db) -> Result<Vec<RunKey>, StorageError> {
    let mut ready = Vec::new();
    for key in db.scan_prefix([Kind::Ready as u8]).keys() {
        let key = key.map_err(|error| sled_error(Path::new("store"), &error))?;
        ready.push(key::run_of(&key).ok_or_else(|| super::row::damaged(&key, "its key is too short"))?);
    }
    // The oldest first.
    ready.sort_by_key(|run: &RunKey| (run.run, run.tenant));
    Ok(ready)
}
