//! What the committer and all readers hold together: the tree, how far it is durable, who owns what.

use ::sled::IVec;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use trackway_replay::Epoch;

use super::SledOptions;
use super::component::InHand;
use super::counter::Counter;
use super::deployment::Deployed;
use super::folder::Folder;
use super::open::{Opened, sled_error};
use super::recent::Recent;
use super::room::Room;
use super::row::Row;
use super::sync::Synced;
use crate::desk::Desk;
use crate::seal::Seals;
use crate::watch::Watches;
use crate::{StorageError, StorageErrorKind};

pub(super) struct Shared {
    // The order matters when this is dropped: sled first, then its syncs, then the lock.
    pub db: ::sled::Db,
    _synced: Synced,
    pub folder: Folder,
    store: PathBuf,
    pub epoch: Epoch,
    pub durable: Durable,
    pub desk: Desk,
    pub watches: Watches,
    pub recent: Recent,
    pub deployed: Deployed,
    pub components: InHand,
    pub room: Room,
    pub seals: Arc<Seals>,
    closed: AtomicBool,
}

pub(super) fn closed() -> StorageError {
    StorageError::new(StorageErrorKind::Closed, "the store is closed")
}

impl Shared {
    pub fn new(opened: Opened, options: &SledOptions) -> (Shared, Counter) {
        let Opened { folder, db, synced, counter, commit, epoch, ready, seals } = opened;
        let room = Room::new(folder.path.clone(), options.reserve_bytes);
        let shared = Shared {
            db,
            _synced: synced,
            store: folder.store(),
            folder,
            epoch,
            durable: Durable::new(commit),
            desk: Desk::new(ready, options.weights.clone()),
            watches: Watches::default(),
            recent: Recent::default(),
            deployed: Deployed::default(),
            components: InHand::default(),
            room,
            seals: Arc::new(seals),
            closed: AtomicBool::new(false),
        };
        (shared, counter)
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nobody gets anything from now on, and nobody waits any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.durable.wake();
        self.watches.all();
    }

    pub fn failed(&self, error: &::sled::Error) -> StorageError {
        sled_error(&self.store, error)
    }

    /// The row as it is written, durable or not: for the committer, whose writes come after it.
    pub fn written(&self, key: &[u8]) -> Result<Option<Row>, StorageError> {
        self.row_at(key)
    }

    /// The row, once it is durable.
    pub fn get(&self, key: &[u8]) -> Result<Option<Row>, StorageError> {
        let row = self.written(key)?;
        if let Some(row) = &row {
            self.wait(row.commit)?;
        }
        Ok(row)
    }

    pub fn wait(&self, commit: u64) -> Result<(), StorageError> {
        self.durable.wait(commit, &self.closed)
    }

    /// Rows under a prefix of the tree, once they are durable, each with the key by which it is asked for, in the order
    /// of the tree.
    pub fn rows<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = Result<(IVec, Row), StorageError>> + use<'a> {
        self.db.scan_prefix(prefix).map(|pair| self.shown(pair))
    }

    pub fn shown(&self, pair: ::sled::Result<(IVec, IVec)>) -> Result<(IVec, Row), StorageError> {
        let (key, row) = self.opened(pair.map_err(|error| self.failed(&error))?)?;
        self.wait(row.commit)?;
        Ok((key, row))
    }
}

/// The commit up to which everything survives a power cut.
pub(super) struct Durable {
    commit: AtomicU64,
    lock: Mutex<()>,
    raised: Condvar,
}

impl Durable {
    fn new(commit: u64) -> Durable {
        Durable { commit: AtomicU64::new(commit), lock: Mutex::new(()), raised: Condvar::new() }
    }

    pub fn commit(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    pub fn raise(&self, commit: u64) {
        self.commit.store(commit, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // Taken so that nobody is between looking and waiting.
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.raised.notify_all();
    }

    /// At most one flush: a commit is flushed right after it is written.
    fn wait(&self, commit: u64, closed: &AtomicBool) -> Result<(), StorageError> {
        if self.commit() >= commit {
            return Ok(());
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.commit() < commit {
            if closed.load(Ordering::Acquire) {
                return Err(self::closed());
            }
            guard = self.raised.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}
