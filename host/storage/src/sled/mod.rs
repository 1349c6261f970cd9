//! The embedded store: sled, hardened, with one thread that writes. It must never show what a power
//! cut could still take back, and never block the caller's thread on the disk.
//!
//! ```text
//! append, send, ... -> queue -> committer: one batch, one flush, wake all
//! frames, head, ... -> memory, for runs of a moment ago; else a blocking thread: rows of durable commits only
//! claim             -> the desk in memory, timers from disk
//! ```

mod append;
mod calls;
mod committer;
mod component;
mod counter;
mod deployment;
mod draft;
mod entity;
mod erase;
mod file;
mod folder;
mod holder;
mod inbox;
mod intake;
mod key;
mod open;
mod owner;
mod payload;
mod read;
mod recent;
mod record;
mod remove;
mod room;
mod row;
mod shared;
mod spot;
mod survey;
pub(crate) mod sync;
mod usage;

use futures_util::future::ready;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use trackway_fair::Weights;
use trackway_replay::{Epoch, Position};

use self::committer::{Request, Verb};
use self::shared::{Shared, closed};
use crate::{Answer, RunKey, Sealing, StorageError, StorageErrorKind};

/// A store that is dropped waits so long for reads that were given up, so that the folder is free.
const READS_WAIT_MAX: Duration = Duration::from_secs(1);
const READS_WAIT: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub struct SledOptions {
    /// For sled's pages in memory.
    pub cache_bytes: u64,
    /// New work is refused when the disk has less than this free. It must cover what is written
    /// within a tenth of a second, and sled's own segments.
    pub reserve_bytes: u64,
    /// What share each tenant has of what is written.
    pub weights: Weights,
    /// The epoch of this opening is above this one. A store that takes over the runs of another one must
    /// be ahead of it: the epoch of a run never goes back.
    pub epoch_above: Epoch,
    pub sealing: Sealing,
    #[doc(hidden)]
    pub hardening: Hardening,
    /// Called by the committer between writing a batch and flushing it.
    #[doc(hidden)]
    pub before_flush: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// Anything but `On` loses data. The rest is there so that tests can show that they would notice.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardening {
    On,
    /// sled's own flush, which does not reach the disk.
    PlainFlush,
    /// Everything is acknowledged and shown before it is flushed. Whoever fills a new store, tells nobody,
    /// and has it synced and read again before anybody uses it, may write so.
    NoWait,
    /// A failed sync of the log is taken for one that was done.
    MindNoFailedSync,
}

/// Set by nobody who wants to keep data.
const LOSE_DATA: &str = "TRACKWAY_LOSE_DATA_FOR_TESTS";

impl Hardening {
    /// `On`, unless a test of the whole program asks for a control that loses data.
    #[doc(hidden)]
    pub fn from_environment() -> Hardening {
        let hardening = match std::env::var(LOSE_DATA).as_deref() {
            Ok("no-wait") => Hardening::NoWait,
            Ok("plain-flush") => Hardening::PlainFlush,
            Ok("mind-no-failed-sync") => Hardening::MindNoFailedSync,
            Ok(_) | Err(_) => return Hardening::On,
        };
        eprintln!("warning: {LOSE_DATA} is set: this store LOSES DATA on purpose ({hardening:?})");
        hardening
    }
}

impl Default for SledOptions {
    fn default() -> SledOptions {
        SledOptions {
            cache_bytes: 256 << 20,
            reserve_bytes: 64 << 20,
            weights: Weights::default(),
            epoch_above: Epoch(0),
            sealing: Sealing::default(),
            hardening: Hardening::On,
            before_flush: None,
        }
    }
}

pub struct SledStorage {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Request>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl SledStorage {
    /// Opens the data folder, creating it if it is not there. Blocks on the disk.
    ///
    /// # Errors
    /// `InUse`, `Newer`, `NoKey`, `Damaged`, `Behind`, `Full`, `NotDurable` or `Io`; each message names the folder.
    pub fn open(folder: &Path, options: SledOptions) -> Result<SledStorage, StorageError> {
        let opened = open::open(folder, &options)?;
        let (queue, requests) = mpsc::channel();
        let (shared, counter) = Shared::new(opened, &options);
        let shared = Arc::new(shared);
        open::miss_keys(&shared);
        open::tidy(&shared);
        if let Err(error) = shared.room.check() {
            tracing::warn!("{}", error.message);
        }
        let committer = committer::start(shared.clone(), counter, requests, options).map_err(|error| {
            StorageError::new(StorageErrorKind::Io, format!("cannot start the committer's thread: {error}"))
        })?;
        Ok(SledStorage { shared, queue, committer: Mutex::new(Some(committer)) })
    }

    /// Blocks as long as a process that had the folder open is seen to be ending, up to a minute.
    /// [`SledStorage::open`] does so too; this is for what else of that process is wanted.
    pub fn wait_for_dying_owner(folder: &Path) {
        folder::wait_for_dying(folder);
    }

    /// Hands a verb to the committer. An error means that it was never carried out.
    fn ask<T>(&self, verb: impl FnOnce(oneshot::Sender<T>) -> Verb) -> Result<oneshot::Receiver<T>, StorageError> {
        if self.shared.is_closed() {
            return Err(closed());
        }
        let (answer, answered) = oneshot::channel();
        self.queue.send(Request::Do(verb(answer))).map_err(|_| closed())?;
        Ok(answered)
    }

    fn write<T: Send + 'static>(
        &self,
        verb: impl FnOnce(oneshot::Sender<Result<T, StorageError>>) -> Verb,
    ) -> Answer<'_, T> {
        let asked = self.ask(verb);
        Box::pin(async move { asked?.await.unwrap_or_else(|_| Err(closed())) })
    }

    /// Reads on a thread that may block.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, StorageError> + Send + 'static,
    ) -> Answer<'_, T> {
        let shared = self.shared.clone();
        Box::pin(blocking(shared, read))
    }

    /// For what is read, written and asked for in one piece: whoever waits for it may give up, it is done to its end.
    fn asking(&self) -> Asking {
        Asking(self.queue.clone())
    }

    /// As [`SledStorage::read`]; that nothing is there is as durable as what is.
    fn found<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<Option<T>, StorageError> + Send + 'static,
    ) -> Answer<'_, Option<T>> {
        Box::pin(async move {
            let found = self.read(read).await?;
            if found.is_none() {
                self.settled().await?;
            }
            Ok(found)
        })
    }

    /// Resolves when all that could be read by now is durable, also that rows are gone.
    fn settled(&self) -> Answer<'_, ()> {
        self.write(|answer| Verb::Settle { answer })
    }

    /// As [`SledStorage::read`], unless what is asked for is in memory.
    fn look<T: Send + 'static>(
        &self,
        known: impl FnOnce(&Shared) -> Option<T>,
        read: impl FnOnce(&Shared) -> Result<T, StorageError> + Send + 'static,
    ) -> Answer<'_, T> {
        let known = if self.shared.is_closed() { None } else { known(&self.shared) };
        match known {
            Some(known) => Box::pin(ready(Ok(known))),
            None => self.read(read),
        }
    }

    /// Flips a bit in a stored frame, for tests of what happens then.
    #[doc(hidden)]
    pub fn damage_frame(&self, run: RunKey, position: Position) -> Result<bool, StorageError> {
        self.shared.recent.forget(run);
        self.shared.damage_frame(run, position)
    }
}

/// Hands verbs to the committer, from a thread that may block.
struct Asking(mpsc::Sender<Request>);

impl Asking {
    /// Waits until it is carried out, or the store is closed.
    fn ask<T>(&self, verb: impl FnOnce(oneshot::Sender<Result<T, StorageError>>) -> Verb) -> Result<T, StorageError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request::Do(verb(answer))).map_err(|_| closed())?;
        answered.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}

async fn blocking<T: Send + 'static>(
    shared: Arc<Shared>,
    act: impl FnOnce(&Shared) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    if shared.is_closed() {
        return Err(closed());
    }
    let done = tokio::task::spawn_blocking(move || act(&shared)).await;
    done.unwrap_or_else(|error| {
        // sled asserts where it meets damage that it did not expect.
        Err(StorageError::new(StorageErrorKind::Damaged, format!("reading the store failed: {error}")))
    })
}

impl Drop for SledStorage {
    /// Without a close before, the next opening counts this one as killed.
    fn drop(&mut self) {
        // Fails only if the committer has stopped already.
        let _ = self.queue.send(Request::Stop);
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(committer) = committer {
            // A panic there has stopped the store, and was printed.
            let _ = committer.join();
        }
        // A read that nobody waits for any more may still hold the store, and with it the folder.
        let begun = Instant::now();
        while Arc::strong_count(&self.shared) > 1 && begun.elapsed() < READS_WAIT_MAX {
            std::thread::sleep(READS_WAIT);
        }
    }
}
