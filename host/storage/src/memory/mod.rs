//! A store in memory that can be told to fail, for simulations: it refuses, delays, answers
//! `Unknown`, commits late and crashes, all drawn from one seed. It needs no threads, so it works
//! on one thread with paused time. It must never be used where data matters.

mod doors;
mod faults;
mod standing;
mod state;

pub use faults::Faults;
pub use standing::Snapshot;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trackway_replay::{Digest, Epoch, FrameId, Head, Position, QuestionName, RunId, StepId, TenantId, Timestamp};

use self::doors::Doors;
use self::faults::{Dice, Fate};
use self::state::State;
use crate::desk::Desk;
use crate::watch::Watches;
use crate::{
    Answer, Append, Appended, Claims, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite,
    EntityWritten, InboxItem, Landmark, LogKey, LogLine, OpenQuestion, Removed, RunKey, RunQuery, RunRows, Sent,
    StartKey, Storage, StorageError, StorageErrorKind, StoredFrame,
};

/// One process's way to the store. Others may have theirs at the same time: see [`MemoryStorage::join`].
pub struct MemoryStorage {
    faults: Faults,
    epoch: Epoch,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
}

/// What all processes have in common.
struct Shared {
    inner: Mutex<Inner>,
    watches: Watches,
}

struct Inner {
    state: State,
    dice: Dice,
    /// Of every process that is alive, the newest last.
    doors: Doors,
    epochs: Epoch,
    /// Appends that were answered `Unknown`, and after how many more calls they are carried out.
    late: Vec<(u32, Epoch, Append)>,
    /// Appends that wait for their turn.
    in_flight: BTreeMap<u64, (Epoch, Append)>,
    appends: u64,
}

impl Default for MemoryStorage {
    fn default() -> MemoryStorage {
        MemoryStorage::new()
    }
}

impl MemoryStorage {
    /// Never fails, never delays.
    pub fn new() -> MemoryStorage {
        MemoryStorage::with_faults(0, Faults::default())
    }

    /// What goes wrong depends on `seed` and the order of the calls, on nothing else.
    pub fn with_faults(seed: u64, faults: Faults) -> MemoryStorage {
        let inner = Inner {
            state: State::default(),
            dice: Dice::new(seed),
            doors: Doors::default(),
            epochs: Epoch(0),
            late: Vec::new(),
            in_flight: BTreeMap::new(),
            appends: 0,
        };
        MemoryStorage::open(Arc::new(Shared { inner: Mutex::new(inner), watches: Watches::default() }), faults)
    }

    fn open(shared: Arc<Shared>, faults: Faults) -> MemoryStorage {
        let (epoch, desk) = {
            let mut inner = shared.lock();
            inner.epochs = Epoch(inner.epochs.0 + 1);
            let epoch = inner.epochs;
            let desk = Arc::new(Desk::new(inner.state.ready()));
            inner.doors.open(epoch, desk.clone());
            (epoch, desk)
        };
        MemoryStorage { faults, epoch, desk, shared }
    }

    /// Ends this process like a power cut, and opens another on what was durable, with the same
    /// faults and the next epoch. Appends that were answered `Unknown` and not carried out yet
    /// stand or are gone, as the seed wants it. Every later call of `self` is an error.
    pub fn crash(&self) -> MemoryStorage {
        self.crash_into(self.faults.clone())
    }

    /// As [`MemoryStorage::crash`], with other faults from now on.
    pub fn crash_into(&self, faults: Faults) -> MemoryStorage {
        self.kill();
        self.join(faults)
    }

    /// Ends this process like a power cut; others go on.
    pub fn kill(&self) {
        let mut inner = self.shared.lock();
        let (mine, rest) = std::mem::take(&mut inner.late).into_iter().partition(|(_, epoch, _)| *epoch == self.epoch);
        inner.late = rest;
        let late: Vec<_> = mine;
        for (_, epoch, append) in late {
            if inner.dice.coin() {
                self.shared.commit(&mut inner, epoch, append);
            }
        }
        let under_way: Vec<u64> =
            inner.in_flight.iter().filter(|(_, (epoch, _))| *epoch == self.epoch).map(|(nth, _)| *nth).collect();
        for nth in under_way {
            let Some((epoch, append)) = inner.in_flight.remove(&nth) else { continue };
            if inner.dice.permille(self.faults.crash_stands_permille) {
                self.shared.commit(&mut inner, epoch, append);
            }
        }
        inner.doors.close(self.epoch);
        drop(inner);
        self.shared.watches.all();
    }

    /// Another process opens the same store, although this one may still be alive: it claims what
    /// nobody has parked, also what this one has in hand. From here on this one claims nothing
    /// more, but goes on with what it has, until it is fenced.
    pub fn join(&self, faults: Faults) -> MemoryStorage {
        MemoryStorage::open(self.shared.clone(), faults)
    }

    /// Carries out late appends whose time has come, and draws what becomes of this call.
    fn draw(&self) -> Fate {
        let mut inner = self.shared.lock();
        let mut come = Vec::new();
        inner.late.retain_mut(|(calls, epoch, append)| {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                come.push((*epoch, append.clone()));
            }
            *calls > 0
        });
        for (epoch, append) in come {
            self.shared.commit(&mut inner, epoch, append);
        }
        inner.dice.draw(&self.faults)
    }

    /// Every call but an append: delay, refuse if it is a write, then do.
    async fn call<T>(
        &self,
        access: Access,
        act: impl FnOnce(&mut State, &Doors) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let fate = self.draw();
        fate.wait().await;
        let mut inner = self.shared.lock();
        if !inner.doors.is_open(self.epoch) {
            return Err(closed());
        }
        if access == Access::Write && fate.refuses() {
            return Err(full());
        }
        if access == Access::Read && fate.is_out_of_reach() {
            return Err(out_of_reach());
        }
        let Inner { state, doors, .. } = &mut *inner;
        act(state, doors)
    }

    fn read<'a, T: Send + 'a>(&'a self, act: impl FnOnce(&State) -> T + Send + 'a) -> Answer<'a, T> {
        Box::pin(self.call(Access::Read, move |state, _| Ok(act(state))))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, inner: &mut Inner, epoch: Epoch, append: Append) -> Appended {
        let run = append.run;
        let Inner { state, doors, .. } = inner;
        let appended = state.append(append, epoch, doors);
        if matches!(appended, Appended::Durable) {
            self.watches.grew([run]);
        }
        appended
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn closed() -> StorageError {
    StorageError::new(StorageErrorKind::Closed, "the store in memory was closed or has crashed")
}

fn out_of_reach() -> StorageError {
    StorageError::new(StorageErrorKind::Io, "the store in memory plays a disk that is out of reach")
}

fn full() -> StorageError {
    StorageError::new(StorageErrorKind::Full, "the store in memory plays a full disk")
}

fn invalid(message: impl Into<String>) -> StorageError {
    StorageError::new(StorageErrorKind::Invalid, message)
}

impl Storage for MemoryStorage {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Appended> {
        Box::pin(async move {
            if let Err(error) = append.check() {
                return Appended::Refused(error);
            }
            let fate = self.draw();
            let nth = {
                let mut inner = self.shared.lock();
                if !inner.doors.is_open(self.epoch) {
                    return Appended::Refused(closed());
                }
                inner.appends += 1;
                let nth = inner.appends;
                inner.in_flight.insert(nth, (self.epoch, append));
                nth
            };
            fate.wait().await;
            let mut inner = self.shared.lock();
            // A crash came in between.
            let Some((epoch, append)) = inner.in_flight.remove(&nth) else { return Appended::Unknown };
            match fate.outcome {
                faults::Outcome::Done | faults::Outcome::Unread => self.shared.commit(&mut inner, epoch, append),
                faults::Outcome::Refused => Appended::Refused(full()),
                faults::Outcome::UnknownStands => {
                    self.shared.commit(&mut inner, epoch, append);
                    Appended::Unknown
                }
                faults::Outcome::UnknownLost => Appended::Unknown,
                faults::Outcome::UnknownLate { calls } => {
                    inner.late.push((calls, epoch, append));
                    Appended::Unknown
                }
            }
        })
    }

    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>> {
        self.read(move |state| state.frames(run, from, max_bytes))
    }

    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, _| {
            state.payloads.insert((run, digest), bytes);
            Ok(())
        }))
    }

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |state| state.payloads.get(&(run, digest)).cloned())
    }

    fn claim(&self, now: Timestamp, max: usize) -> Answer<'_, Claims> {
        Box::pin(self.call(Access::Read, move |state, doors| {
            let claims = match doors.is_newest(self.epoch) {
                true => self.desk.claim(now, max, state.timers.iter().copied().map(Ok))?,
                // Another process claims now; this one is told of what came for the runs that it has.
                false => self.desk.claim(Timestamp::default(), 0, std::iter::empty())?,
            };
            claims.runs.iter().for_each(|run| state.own(*run, self.epoch));
            Ok(claims)
        }))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.desk.changed())
    }

    fn release(&self, run: RunKey) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Read, move |state, doors| {
            state.release(run, self.epoch, doors);
            Ok(())
        }))
    }

    fn remove(&self, run: RunKey) -> Answer<'_, Removed> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.remove(run))))
    }

    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32> {
        Box::pin(self.call(Access::Write, move |state, _| state.begin_recall(run)))
    }

    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, doors| state.park(run, due, head, self.epoch, doors)))
    }

    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent> {
        Box::pin(self.call(Access::Write, move |state, doors| Ok(state.send(run, item, doors))))
    }

    fn known(&self, run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>> {
        self.read(move |state| state.known(run, &item))
    }

    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>> {
        self.read(move |state| state.runs.get(&run).map(|run| run.inbox.clone()).unwrap_or_default())
    }

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>> {
        self.read(move |state| state.runs.get(&run).and_then(|run| run.head.clone()))
    }

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>> {
        self.read(move |state| state.heads(tenant, &query))
    }

    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let watch = self.shared.watches.watch(run);
            let grown = watch.notify.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            {
                let inner = self.shared.lock();
                if !inner.doors.is_open(self.epoch) || inner.state.end_of(run) > seen {
                    return;
                }
            }
            grown.await;
        })
    }

    fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>> {
        self.read(move |state| {
            let Some(run) = state.runs.get(&run) else { return Vec::new() };
            let lines = run.logs.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
            lines.map(|(_, line)| line.clone()).take(max).collect()
        })
    }

    fn log(&self, run: RunKey, last: FrameId, lines: Vec<LogLine>) -> Answer<'_, bool> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.log(run, last, lines))))
    }

    fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Answer<'_, Vec<OpenQuestion>> {
        self.read(move |state| state.questions(tenant, before, max))
    }

    fn landmark(&self, run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>> {
        self.read(move |state| state.runs.get(&run)?.landmarks.get(&landmark).copied())
    }

    fn states(&self, run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>> {
        self.read(move |state| state.states(run))
    }

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>> {
        let key = (tenant, key.into());
        self.read(move |state| state.start_keys.get(&key).cloned())
    }

    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, _| {
            state.components.entry((tenant, record.digest)).or_insert((record, bytes));
            Ok(())
        }))
    }

    fn component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>> {
        self.read(move |state| state.components.get(&(tenant, digest)).map(|(record, _)| record.clone()))
    }

    fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |state| state.components.get(&(tenant, digest)).map(|(_, bytes)| bytes.clone()))
    }

    fn components(&self, tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>> {
        self.read(move |state| {
            let own = state.components.iter().filter(|((owner, _), _)| *owner == tenant);
            own.map(|(_, (record, _))| record.clone()).collect()
        })
    }

    fn deployment(&self, tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>> {
        let key = (tenant, name.into());
        self.read(move |state| state.deployments.get(&key).cloned())
    }

    fn deployments(&self, tenant: TenantId) -> Answer<'_, Vec<Deployment>> {
        self.read(move |state| {
            let own = state.deployments.iter().filter(|((owner, _), _)| *owner == tenant);
            own.map(|(_, deployment)| deployment.clone()).collect()
        })
    }

    fn put_deployment(&self, tenant: TenantId, deployment: Deployment) -> Answer<'_, bool> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.put_deployment(tenant, deployment))))
    }

    fn write_entity(&self, tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten> {
        Box::pin(self.call(Access::Write, move |state, _| {
            write.check()?;
            Ok(state.write_entity(tenant, &write))
        }))
    }

    fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>> {
        let place = (name.into(), key.into());
        self.read(move |state| state.entities.get(&tenant)?.of.get(&place).cloned())
    }

    fn entities(&self, tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>> {
        self.read(move |state| state.entities_of(tenant, &query))
    }

    fn entity_version(&self, tenant: TenantId) -> Answer<'_, u64> {
        self.read(move |state| state.entities.get(&tenant).map_or(0, |entities| entities.tally.version))
    }

    fn receipt(&self, run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>> {
        self.read(move |state| state.runs.get(&run)?.receipts.get(&step).copied())
    }

    fn receipts(&self, run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)> {
        self.read(move |state| {
            let receipts = state.runs.get(&run).into_iter().flat_map(|run| &run.receipts);
            (state.end_of(run), receipts.map(|(step, written)| (*step, *written)).collect())
        })
    }

    fn restore_entity(&self, tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, _| {
            state.restore_entity(tenant, restore);
            Ok(())
        }))
    }

    fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>> {
        self.read(move |state| {
            let own = state.runs.keys().filter(|key| key.tenant == tenant).map(|key| key.run);
            own.filter(|run| after.is_none_or(|after| *run > after)).take(max).collect()
        })
    }

    fn end(&self, run: RunKey) -> Answer<'_, Position> {
        self.read(move |state| state.end_of(run))
    }

    fn payloads(&self, run: RunKey) -> Answer<'_, Vec<Digest>> {
        self.read(move |state| state.payloads.keys().filter(|(of, _)| *of == run).map(|(_, digest)| *digest).collect())
    }

    fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>> {
        let after = after.map(str::to_owned);
        self.read(move |state| {
            let own = state.start_keys.iter().filter(|((owner, _), _)| *owner == tenant).map(|(_, key)| key);
            let later = own.filter(|key| after.as_deref().is_none_or(|after| &*key.key > after));
            later.take(max).cloned().collect()
        })
    }

    fn check_run(&self, run: RunKey) -> Answer<'_, RunRows> {
        self.read(move |state| state.rows(run))
    }

    fn check_rest(&self, _: TenantId) -> Answer<'_, Vec<String>> {
        self.read(|_| Vec::new())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.shared.lock().doors.close(self.epoch);
            self.shared.watches.all();
            Ok(())
        })
    }
}
