//! A store in memory that can be told to fail, for simulations: it refuses, delays, answers
//! `Unknown`, commits late and crashes, all drawn from one seed. It needs no threads, so it works
//! on one thread with paused time. It must never be used where data matters.

mod faults;
mod state;

pub use faults::Faults;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::{Mutex, MutexGuard, PoisonError};
use trackway_replay::{Digest, Epoch, FrameId, Head, Position, RunId, TenantId, Timestamp};

use self::faults::{Dice, Fate};
use self::state::State;
use crate::desk::Desk;
use crate::watch::Watches;
use crate::{
    Answer, Append, Appended, Claims, ComponentRecord, Deployment, INBOX_MAX, InboxItem, LogKey, LogLine, RunKey,
    RunQuery, RunRows, Sent, StartKey, Storage, StorageError, StorageErrorKind, StoredFrame,
};

pub struct MemoryStorage {
    faults: Faults,
    epoch: Epoch,
    inner: Mutex<Inner>,
    desk: Desk,
    watches: Watches,
}

struct Inner {
    state: State,
    dice: Dice,
    /// Appends that were answered `Unknown`, and after how many more calls they are carried out.
    late: Vec<(u32, Append)>,
    life: Life,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Closed,
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
        MemoryStorage::over(State::default(), Dice::new(seed), faults, Epoch(1))
    }

    fn over(state: State, dice: Dice, faults: Faults, epoch: Epoch) -> MemoryStorage {
        let desk = Desk::new(state.ready());
        let inner = Inner { state, dice, late: Vec::new(), life: Life::Open };
        MemoryStorage { faults, epoch, inner: Mutex::new(inner), desk, watches: Watches::default() }
    }

    /// Ends this store like a power cut, and opens another on what was durable, with the same
    /// faults and the next epoch. Appends that were answered `Unknown` and not carried out yet
    /// stand or are gone, as the seed wants it. Every later call of `self` is an error.
    pub fn crash(&self) -> MemoryStorage {
        let faults = self.faults.clone();
        self.reopen(faults)
    }

    /// As [`MemoryStorage::crash`], with other faults from now on.
    pub fn crash_into(&self, faults: Faults) -> MemoryStorage {
        self.reopen(faults)
    }

    fn reopen(&self, faults: Faults) -> MemoryStorage {
        let mut inner = self.lock();
        for (_, append) in std::mem::take(&mut inner.late) {
            if inner.dice.coin() {
                self.commit(&mut inner, append);
            }
        }
        inner.life = Life::Closed;
        let state = std::mem::take(&mut inner.state);
        let dice = inner.dice.clone();
        drop(inner);
        self.watches.all();
        MemoryStorage::over(state, dice, faults, Epoch(self.epoch.0 + 1))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out late appends whose time has come, and draws what becomes of this call.
    fn draw(&self) -> Fate {
        let mut inner = self.lock();
        let mut come = Vec::new();
        inner.late.retain_mut(|(calls, append)| {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                come.push(append.clone());
            }
            *calls > 0
        });
        for append in come {
            self.commit(&mut inner, append);
        }
        inner.dice.draw(&self.faults)
    }

    fn commit(&self, inner: &mut Inner, append: Append) -> Appended {
        let run = append.run;
        let appended = inner.state.append(append, &self.desk);
        if matches!(appended, Appended::Durable) {
            self.watches.grew([run]);
        }
        appended
    }

    /// Every call but an append: delay, refuse if it is a write, then do.
    async fn call<T>(
        &self,
        access: Access,
        act: impl FnOnce(&mut State) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let fate = self.draw();
        fate.wait().await;
        let mut inner = self.lock();
        if inner.life == Life::Closed {
            return Err(closed());
        }
        if access == Access::Write && fate.refuses() {
            return Err(full());
        }
        act(&mut inner.state)
    }

    fn read<'a, T: Send + 'a>(&'a self, act: impl FnOnce(&State) -> T + Send + 'a) -> Answer<'a, T> {
        Box::pin(self.call(Access::Read, move |state| Ok(act(state))))
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
            fate.wait().await;
            let mut inner = self.lock();
            if inner.life == Life::Closed {
                return if fate.waited() { Appended::Unknown } else { Appended::Refused(closed()) };
            }
            match fate.outcome {
                faults::Outcome::Done => self.commit(&mut inner, append),
                faults::Outcome::Refused => Appended::Refused(full()),
                faults::Outcome::UnknownStands => {
                    self.commit(&mut inner, append);
                    Appended::Unknown
                }
                faults::Outcome::UnknownLost => Appended::Unknown,
                faults::Outcome::UnknownLate { calls } => {
                    inner.late.push((calls, append));
                    Appended::Unknown
                }
            }
        })
    }

    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>> {
        self.read(move |state| state.frames(run, from, max_bytes))
    }

    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state| {
            state.payloads.insert((run, digest), bytes);
            Ok(())
        }))
    }

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |state| state.payloads.get(&(run, digest)).cloned())
    }

    fn claim(&self, now: Timestamp, max: usize) -> Answer<'_, Claims> {
        Box::pin(self.call(Access::Read, move |state| self.desk.claim(now, max, state.timers.iter().copied().map(Ok))))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.desk.changed())
    }

    fn release(&self, run: RunKey) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Read, move |_| {
            self.desk.ready(run);
            Ok(())
        }))
    }

    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32> {
        Box::pin(self.call(Access::Write, move |state| {
            let run = state.open_run(run).ok_or_else(|| invalid(format!("run {} is not open", run.run)))?;
            run.recalls = run.recalls.saturating_add(1);
            Ok(run.recalls)
        }))
    }

    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state| state.park(run, due, head, &self.desk)))
    }

    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent> {
        Box::pin(self.call(Access::Write, move |state| Ok(state.send(run, item, INBOX_MAX, &self.desk))))
    }

    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>> {
        self.read(move |state| state.runs.get(&run).map(|run| run.inbox.clone()).unwrap_or_default())
    }

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>> {
        self.read(move |state| state.runs.get(&run).and_then(|run| run.head.clone()))
    }

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>> {
        self.read(move |state| {
            let low = RunKey { tenant, run: query.from.unwrap_or(RunId(0)) };
            let high = RunKey { tenant, run: RunId(u128::MAX) };
            let newest_first = state.runs.range(low..=high).rev();
            let wanted = newest_first.filter(|(key, _)| query.before.is_none_or(|before| key.run < before));
            let heads = wanted.filter_map(|(_, run)| run.head.clone());
            heads.filter(|head| query.wants(head)).take(query.limit).collect()
        })
    }

    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let watch = self.watches.watch(run);
            let grown = watch.notify.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            {
                let inner = self.lock();
                if inner.life == Life::Closed || inner.state.end_of(run) > seen {
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
        Box::pin(self.call(Access::Write, move |state| Ok(state.log(run, last, lines))))
    }

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>> {
        let key = (tenant, key.into());
        self.read(move |state| state.start_keys.get(&key).cloned())
    }

    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state| {
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
        Box::pin(self.call(Access::Write, move |state| Ok(state.put_deployment(tenant, deployment))))
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
        self.read(move |state| RunRows { mark: state.mark(run), flaws: Vec::new() })
    }

    fn check_rest(&self, _: TenantId) -> Answer<'_, Vec<String>> {
        self.read(|_| Vec::new())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.lock().life = Life::Closed;
            self.watches.all();
            Ok(())
        })
    }
}
