//! Who waits for a run to grow. It holds memory for runs that somebody watches, and for no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use crate::RunKey;

#[derive(Default)]
pub(crate) struct Watches {
    runs: Mutex<BTreeMap<RunKey, Arc<Notify>>>,
}

/// One watcher of a run, for as long as it lives.
pub(crate) struct Watch<'a> {
    watches: &'a Watches,
    run: RunKey,
    pub notify: Arc<Notify>,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunKey, Arc<Notify>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn watch(&self, run: RunKey) -> Watch<'_> {
        let notify = self.lock().entry(run).or_default().clone();
        Watch { watches: self, run, notify }
    }

    pub fn grew(&self, runs: impl IntoIterator<Item = RunKey>) {
        let watched = self.lock();
        if watched.is_empty() {
            return;
        }
        for run in runs {
            if let Some(notify) = watched.get(&run) {
                notify.notify_waiters();
            }
        }
    }

    /// The store closes: nobody waits for ever.
    pub fn all(&self) {
        self.lock().values().for_each(|notify| notify.notify_waiters());
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut runs = self.watches.lock();
        // One is in the map, one is this.
        if Arc::strong_count(&self.notify) <= 2 {
            runs.remove(&self.run);
        }
    }
}
