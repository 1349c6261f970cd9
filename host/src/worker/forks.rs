//! Runs that were restarted from a step of another one and have yet to copy what they keep of it: that one is not
//! removed meanwhile. It never reads a journal.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use trackway_replay::{RunId, Status};
use trackway_storage::{Removed, RunKey};

use super::Worker;
use crate::Result;

#[derive(Default)]
pub(super) struct Forks {
    /// Each with the run that it comes from.
    of: Mutex<BTreeMap<RunId, RunId>>,
    /// Held by who removes a run: nobody begins to need it meanwhile.
    removing: tokio::sync::Mutex<()>,
}

/// The run that it comes from stays, unless this is dropped before [`Fork::stands`].
pub(super) struct Fork<'a> {
    forks: &'a Forks,
    fork: RunId,
    stands: bool,
}

impl Forks {
    /// From here on `source` stays, if it is there.
    pub async fn begin(&self, fork: RunId, source: RunId) -> Fork<'_> {
        let _nobody_removes = self.removing.lock().await;
        self.lock().insert(fork, source);
        Fork { forks: self, fork, stands: false }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, RunId>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fork<'_> {
    /// It is in the store: the run that it comes from stays until whoever takes the fork up has copied from it.
    pub fn stands(mut self) {
        self.stands = true;
    }
}

impl Drop for Fork<'_> {
    fn drop(&mut self) {
        if !self.stands {
            self.forks.lock().remove(&self.fork);
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
        let _removing = forks.removing.lock().await;
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
        Ok(Removal::Done(storage.remove(run).await?))
    }
}
