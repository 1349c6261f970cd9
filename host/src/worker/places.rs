//! Places for attempts: each attempt holds one while its instance lives. Tenants share them, and the runs of a tenant what
//! it has. It must never know what an attempt does, and never hold anybody up but by letting it wait for its turn.
//!
//! A run may hold as many places as it leaves free. So one alone takes half of them, two take a third
//! each, and all runs of a tenant leave some for the next tenant. Of those that wait, the tenant that holds the fewest for
//! its weight is served first, and of its runs the one that holds the fewest.
//!
//! A place whose attempt only sleeps is asked back as soon as somebody waits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use trackway_fair::{Cap, Gate, Permit, Portion, Weights};
use trackway_replay::{RunId, TenantId};
use trackway_storage::RunKey;

use super::TENANT_PORTION;

#[cfg(test)]
mod tests;

const PORTION: Portion = Portion { tenant: TENANT_PORTION, part: 1 };

pub(super) struct Places {
    gate: Arc<Gate<RunId>>,
    /// Places that may be asked back.
    resting: Mutex<BTreeMap<RunKey, BTreeMap<u64, oneshot::Sender<()>>>>,
    /// Numbers places.
    last: AtomicU64,
}

/// Held for as long as the attempt's instance lives.
pub(super) struct Place {
    places: Arc<Places>,
    run: RunKey,
    number: u64,
    #[expect(dead_code, reason = "dropping it gives the place back")]
    permit: Permit<RunId>,
}

/// Resolves when somebody waits for the place of an attempt that rests.
pub(super) type Wanted = oneshot::Receiver<()>;

impl Places {
    /// `cap`: the attempts of a tenant.
    pub fn new(places: usize, weights: Weights, cap: Cap) -> Arc<Places> {
        let gate = Gate::capped(places, PORTION, weights, cap);
        Arc::new(Places { gate, resting: Mutex::default(), last: AtomicU64::new(0) })
    }

    /// No change is made in two steps that a panic could come between.
    fn resting(&self) -> MutexGuard<'_, BTreeMap<RunKey, BTreeMap<u64, oneshot::Sender<()>>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Giving up waiting is enough to leave the queue.
    pub async fn take(self: &Arc<Self>, run: RunKey) -> Place {
        let permit = match self.gate.line_up(run.tenant, run.run, 1) {
            Ok(permit) => permit,
            Err(waiting) => {
                self.ask_back(run);
                waiting.await
            }
        };
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        Place { places: Arc::clone(self), run, number, permit }
    }

    /// Asks one resting place back, so that `run` gets it or what becomes free for it.
    fn ask_back(&self, run: RunKey) {
        let mut resting = self.resting();
        while let Some(whose) = self.whose(run, &resting) {
            let Some(places) = resting.get_mut(&whose) else { return };
            let asked = places.pop_first();
            if places.is_empty() {
                resting.remove(&whose);
            }
            // One that has just gone is no answer.
            if asked.is_some_and(|(_, wanted)| wanted.send(()).is_ok()) {
                return;
            }
        }
    }

    /// Caps may have been raised.
    pub fn look_again(&self) {
        self.gate.serve();
        // Whoever waited for its own places may wait for those of others now.
        if let Some((tenant, run)) = self.gate.next() {
            self.ask_back(RunKey { tenant, run });
        }
    }

    /// Rather one of `run` itself than of others of its tenant; of another tenant only if that holds as many at least, and
    /// only for one that may have more.
    fn whose(&self, run: RunKey, resting: &BTreeMap<RunKey, BTreeMap<u64, oneshot::Sender<()>>>) -> Option<RunKey> {
        if resting.contains_key(&run) {
            return Some(run);
        }
        let first_of = |tenant: TenantId| RunKey { tenant, run: RunId(0) };
        if self.gate.is_capped(run.tenant) {
            let own = resting.range(first_of(run.tenant)..).next().map(|(key, _)| *key);
            return own.filter(|key| key.tenant == run.tenant);
        }
        let mut next = Some(first_of(TenantId(0)));
        let mut found: Option<(u64, RunKey)> = None;
        while let Some((key, _)) = next.and_then(|from| resting.range(from..).next()) {
            if key.tenant == run.tenant {
                return Some(*key);
            }
            let held = self.gate.held(key.tenant);
            if held >= self.gate.held(run.tenant) && found.is_none_or(|(most, _)| held > most) {
                found = Some((held, *key));
            }
            next = key.tenant.0.checked_add(1).map(|tenant| first_of(TenantId(tenant)));
        }
        found.map(|(_, key)| key)
    }

    /// For others of `tenant`, where these wait for nothing but its own places, else for whoever is next.
    fn ask_back_if_wanted(&self, tenant: TenantId) {
        let of_its_own = self.gate.next_under_cap(tenant).map(|run| (tenant, run));
        if let Some((tenant, run)) = of_its_own.or_else(|| self.gate.next()) {
            self.ask_back(RunKey { tenant, run });
        }
    }

    /// False if it was not resting, or was asked back.
    fn wake(&self, run: RunKey, number: u64) -> bool {
        let mut resting = self.resting();
        let Some(places) = resting.get_mut(&run) else { return false };
        let was_resting = places.remove(&number).is_some();
        if places.is_empty() {
            resting.remove(&run);
        }
        was_resting
    }
}

impl Place {
    /// The attempt only sleeps: somebody else may have its place.
    pub fn rest(&self) -> Wanted {
        let (asked, wanted) = oneshot::channel();
        self.places.resting().entry(self.run).or_default().insert(self.number, asked);
        self.places.ask_back_if_wanted(self.run.tenant);
        wanted
    }

    /// The attempt goes on. If it had been asked to leave, another one is.
    pub fn wake(&self) {
        if !self.places.wake(self.run, self.number) {
            self.places.ask_back_if_wanted(self.run.tenant);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.wake(self.run, self.number);
    }
}
