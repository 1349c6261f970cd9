//! Runs that were restarted from a step of another one and have yet to copy what they keep of it: that one is not
//! removed meanwhile. Of a journal it reads where it begins, and no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, RwLock, Semaphore, SemaphorePermit};
use trackway_fair::AtOnce;
use trackway_replay::{Day, Frame, Kind, Position, RunId, Status, TenantId};
use trackway_storage::{Removed, RunKey, RunQuery, Storage};

use super::used;
use super::{Core, Worker};
use crate::Result;

/// Whole journals in memory at once, of those that others are restarted from.
const FORK_READS_MAX: usize = 2;
/// Looked at in one go.
const PAGE_RUNS: usize = 200;

pub(super) struct Forks {
    /// Each with the run that it comes from.
    of: Mutex<BTreeMap<RunId, RunId>>,
    /// Shared by those who remove runs: nobody begins to need one meanwhile.
    removing: RwLock<()>,
    /// Those that an earlier process began are known.
    learned: OnceCell<()>,
    reads: Semaphore,
}

impl Default for Forks {
    fn default() -> Forks {
        let (of, removing, learned) = (Mutex::default(), RwLock::default(), OnceCell::default());
        Forks { of, removing, learned, reads: Semaphore::new(FORK_READS_MAX) }
    }
}

/// A fork that may come to stand: the run that it comes from stays, unless this is dropped before [`Fork::stands`].
pub(super) struct Fork {
    core: Arc<Core>,
    fork: RunId,
    stands: bool,
}

impl Forks {
    /// From here on `source` stays, if it is there, until `fork` has all of it.
    pub async fn need(&self, fork: RunId, source: RunId) {
        let _at_once = trackway_fair::at_once();
        let _nobody_removes = self.removing.write().await;
        self.lock().insert(fork, source);
    }

    /// It has all, or will never be.
    pub fn done(&self, fork: RunId) {
        self.lock().remove(&fork);
    }

    /// Those that an earlier process began and did not live to take up. Each is queued as long as it has not begun.
    async fn learn(&self, storage: &dyn Storage) -> Result<()> {
        let seals = storage.seals();
        for tenant in storage.tenants().await? {
            match self.learn_of(storage, tenant).await {
                // Nobody reads a run of that tenant, and so nobody removes one.
                Err(_) if seals.is_shut(tenant) => {}
                learned => learned?,
            }
        }
        Ok(())
    }

    async fn learn_of(&self, storage: &dyn Storage, tenant: TenantId) -> Result<()> {
        let mut before = None;
        loop {
            let query = RunQuery { status: vec![Status::Queued], before, limit: PAGE_RUNS, ..RunQuery::default() };
            let heads = storage.heads(tenant, query).await?;
            let Some(last) = heads.last() else { return Ok(()) };
            before = Some(last.run);
            for head in heads {
                let first = storage.frames(RunKey { tenant, run: head.run }, Position::FIRST, 1).await?;
                let first = first.first().and_then(|stored| Frame::decode(&stored.frame).ok());
                if let Some(Kind::Forked(forked)) = first.and_then(|it| it.entries.into_iter().nth(1)).map(|it| it.kind)
                {
                    self.lock().insert(head.run, forked.from);
                }
            }
        }
    }

    /// Waits until it may be read what a run is restarted from. Held for as long as that is in memory, and others wait for
    /// it: that takes no turns.
    pub async fn read(&self) -> (AtOnce, SemaphorePermit<'_>) {
        let at_once = trackway_fair::at_once();
        (at_once, self.reads.acquire().await.expect("nobody closes it"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, RunId>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fork {
    pub async fn begin(core: &Arc<Core>, fork: RunId, source: RunId) -> Fork {
        core.forks.need(fork, source).await;
        Fork { core: core.clone(), fork, stands: false }
    }

    /// It is in the store: the run that it comes from stays until whoever takes the fork up has copied from it.
    pub fn stands(mut self) {
        self.stands = true;
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        if !self.stands {
            self.core.forks.done(self.fork);
        }
    }
}

/// What became of the wish to remove a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Done(Removed),
    /// That run has yet to copy what it keeps of it.
    Needed(RunId),
}

impl Worker {
    /// Removes a run that has ended, unless one that was restarted from it still needs it.
    pub async fn remove(&self, run: RunKey) -> Result<Removal> {
        let storage = &self.core.storage;
        let forks = &self.core.forks;
        let _at_once = trackway_fair::at_once();
        let _removing = forks.removing.read().await;
        forks.learned.get_or_try_init(|| forks.learn(&**storage)).await?;
        let of_it: Vec<RunId> =
            forks.lock().iter().filter(|(_, source)| **source == run.run).map(|(fork, _)| *fork).collect();
        for fork in of_it {
            let head = storage.head(RunKey { run: fork, ..run }).await?;
            // One that is not there is about to be; one that was ended, or is stuck, copies nothing any more.
            if head.is_none_or(|head| head.status == Status::Queued) {
                return Ok(Removal::Needed(fork));
            }
            forks.lock().remove(&fork);
        }
        let used = used::removed(&**storage, run, Day::of(self.core.clock.now())).await?;
        let limits = used::limits_of(&self.core, run.tenant).await?;
        let removed = storage.remove(run, used.clone()).await?;
        if removed == Removed::Gone {
            used.iter().for_each(|(day, used)| limits.ledger().add(*day, used));
        }
        Ok(Removal::Done(removed))
    }
}
