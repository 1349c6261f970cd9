//! The embedded store: sled, hardened, with one thread that writes. It must never show what a power
//! cut could still take back, and never block the caller's thread on the disk.
//!
//! ```text
//! append, send, ... -> queue -> committer: one batch, one flush, wake all
//! frames, head, ... -> memory, for runs of a moment ago; else a blocking thread: rows of durable commits only
//! claim             -> the desk in memory, timers from disk
//! ```

mod append;
mod committer;
mod component;
mod counter;
mod deployment;
mod draft;
mod entity;
mod folder;
mod holder;
mod inbox;
mod key;
mod open;
mod owner;
mod payload;
mod read;
mod recent;
mod remove;
mod room;
mod row;
mod shared;
mod survey;
mod sync;

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use trackway_replay::{Digest, Epoch, FrameId, Head, Position, QuestionName, RunId, StepId, TenantId, Timestamp};

use self::committer::{Request, Verb};
use self::owner::Claimed;
use self::shared::{Shared, closed};
use crate::{
    Answer, Append, Appended, Claims, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite,
    EntityWritten, InboxItem, Landmark, LogKey, LogLine, OpenQuestion, PAYLOAD_ROW_MAX_BYTES, Removed, RunKey,
    RunQuery, RunRows, Sent, StartKey, Storage, StorageError, StorageErrorKind, StoredFrame,
};

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
    /// The epoch of this opening is above this one. A store that takes over the runs of another one must
    /// be ahead of it: the epoch of a run never goes back.
    pub epoch_above: Epoch,
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
            epoch_above: Epoch(0),
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
    /// `InUse`, `Newer`, `Damaged`, `Behind`, `Full`, `NotDurable` or `Io`; each message names the folder.
    pub fn open(folder: &Path, options: SledOptions) -> Result<SledStorage, StorageError> {
        let opened = open::open(folder, &options)?;
        let (queue, requests) = mpsc::channel();
        let (shared, counter) = Shared::new(opened, &options);
        let shared = Arc::new(shared);
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

impl Storage for SledStorage {
    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Appended> {
        let asked = append.check().and_then(|()| self.ask(|answer| Verb::Append(Box::new(append), answer)));
        Box::pin(async move {
            match asked {
                Ok(answered) => answered.await.unwrap_or(Appended::Unknown),
                Err(error) => Appended::Refused(error),
            }
        })
    }

    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>> {
        let known = |shared: &Shared| shared.recent.frames(run, from, max_bytes);
        self.look(known, move |shared| shared.frames(run, from, max_bytes))
    }

    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()> {
        if bytes.len() <= PAYLOAD_ROW_MAX_BYTES {
            return self.write(|answer| Verb::Payload { run, digest, bytes, answer });
        }
        self.read(move |shared| shared.put_payload_file(run, digest, &bytes))
    }

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |shared| shared.payload(run, digest))
    }

    fn claim(&self, now: Timestamp, max: usize) -> Answer<'_, Claims> {
        let holder = self.shared.clone();
        let claimed = self.read(move |shared| Ok(Claimed { claims: shared.claim(now, max)?, shared: holder }));
        Box::pin(async move { Ok(claimed.await?.hand_over()) })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.desk.changed())
    }

    fn release(&self, run: RunKey) -> Answer<'_, ()> {
        self.write(|answer| Verb::Release { run, answer })
    }

    fn remove(&self, run: RunKey) -> Answer<'_, Removed> {
        Box::pin(async move {
            let removed = self.write(|answer| Verb::Remove { run, answer }).await?;
            if removed == Removed::Gone {
                // It is gone: what is left of it now goes at the next opening at the latest.
                blocking(self.shared.clone(), move |shared| shared.remove_files(run)).await?;
                self.write(|answer| Verb::Forget { run, answer }).await?;
            }
            Ok(removed)
        })
    }

    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32> {
        self.write(|answer| Verb::BeginRecall { run, answer })
    }

    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()> {
        self.write(|answer| Verb::Park { run, due, head: head.map(Box::new), answer })
    }

    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent> {
        self.write(|answer| Verb::Send { run, item, answer })
    }

    fn known(&self, run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>> {
        self.read(move |shared| shared.known(run, &item))
    }

    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>> {
        self.read(move |shared| shared.inbox(run))
    }

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>> {
        self.look(|shared| shared.recent.head(run).map(Some), move |shared| shared.head(run))
    }

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>> {
        self.read(move |shared| shared.heads(tenant, &query))
    }

    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let watch = self.shared.watches.watch(run);
            let grown = watch.notify.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            match self.end(run).await {
                Ok(end) if end <= seen => grown.await,
                // On an error the reader that comes back meets it itself.
                Ok(_) | Err(_) => {}
            }
        })
    }

    fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>> {
        self.read(move |shared| shared.logs(run, after, max))
    }

    fn log(&self, run: RunKey, last: FrameId, lines: Vec<LogLine>) -> Answer<'_, bool> {
        self.write(|answer| Verb::Log { run, last, lines, answer })
    }

    fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Answer<'_, Vec<OpenQuestion>> {
        self.read(move |shared| shared.questions(tenant, before, max))
    }

    fn landmark(&self, run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>> {
        self.read(move |shared| shared.landmark(run, &landmark))
    }

    fn states(&self, run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>> {
        self.read(move |shared| shared.states(run))
    }

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>> {
        let key = key.to_owned();
        self.read(move |shared| shared.start_key(tenant, &key))
    }

    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(async move {
            let shared = self.shared.clone();
            let record = blocking(shared, move |shared| {
                shared.put_component_files(tenant, &record, &bytes)?;
                Ok(record)
            });
            let record = record.await?;
            self.write(|answer| Verb::Component { tenant, record: Box::new(record), answer }).await
        })
    }

    fn component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>> {
        self.read(move |shared| shared.component(tenant, digest))
    }

    fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |shared| shared.component_bytes(tenant, digest))
    }

    fn components(&self, tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>> {
        self.read(move |shared| shared.components(tenant))
    }

    fn deployment(&self, tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>> {
        let generation = match self.shared.deployed.get(tenant, name) {
            Ok(deployment) if !self.shared.is_closed() => return Box::pin(ready(Ok(Some(deployment)))),
            Ok(_) => 0,
            Err(generation) => generation,
        };
        let name = name.to_owned();
        self.read(move |shared| {
            let deployment = shared.deployment(tenant, &name)?;
            if let Some(deployment) = &deployment {
                shared.deployed.keep(tenant, deployment, generation);
            }
            Ok(deployment)
        })
    }

    fn deployments(&self, tenant: TenantId) -> Answer<'_, Vec<Deployment>> {
        self.read(move |shared| shared.deployments(tenant))
    }

    fn put_deployment(&self, tenant: TenantId, deployment: Deployment) -> Answer<'_, bool> {
        self.write(|answer| Verb::Deployment { tenant, deployment: Box::new(deployment), answer })
    }

    fn write_entity(&self, tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten> {
        match write.check() {
            Ok(()) => self.write(|answer| Verb::Entity { tenant, write: Box::new(write), answer }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>> {
        let (name, key) = (name.to_owned(), key.to_owned());
        Box::pin(async move {
            let entity = self.read(move |shared| shared.entity(tenant, &name, &key)).await?;
            if entity.is_none() {
                self.settled().await?;
            }
            Ok(entity)
        })
    }

    fn entities(&self, tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>> {
        Box::pin(async move {
            let entities = self.read(move |shared| shared.entities(tenant, &query)).await?;
            self.settled().await?;
            Ok(entities)
        })
    }

    fn entity_version(&self, tenant: TenantId) -> Answer<'_, u64> {
        self.read(move |shared| shared.entity_version(tenant))
    }

    fn receipt(&self, run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>> {
        self.read(move |shared| shared.receipt(run, step))
    }

    fn receipts(&self, run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)> {
        self.write(|answer| Verb::Receipts { run, answer })
    }

    fn restore_entity(&self, tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()> {
        self.write(|answer| Verb::RestoreEntity { tenant, restore: Box::new(restore), answer })
    }

    fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>> {
        self.read(move |shared| shared.runs(tenant, after, max))
    }

    fn end(&self, run: RunKey) -> Answer<'_, Position> {
        self.look(|shared| shared.recent.end(run), move |shared| shared.durable_end(run))
    }

    fn payloads(&self, run: RunKey) -> Answer<'_, Vec<Digest>> {
        self.read(move |shared| shared.payload_digests(run))
    }

    fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>> {
        let after = after.map(str::to_owned);
        self.read(move |shared| shared.start_keys(tenant, after.as_deref(), max))
    }

    fn check_run(&self, run: RunKey) -> Answer<'_, RunRows> {
        self.read(move |shared| shared.check_run(run))
    }

    fn check_rest(&self, tenant: TenantId) -> Answer<'_, Vec<String>> {
        self.read(move |shared| shared.check_rest(tenant))
    }

    fn close(&self) -> Answer<'_, ()> {
        let (answer, answered) = oneshot::channel();
        let asked = self.queue.send(Request::Close(answer)).map_err(|_| closed());
        Box::pin(async move {
            asked?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }
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
