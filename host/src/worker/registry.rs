//! Which runs this worker has in hand: being driven, or parked with their instance still warm.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;
use trackway_replay::{TenantId, Timestamp};
use trackway_storage::RunKey;

use super::drive::Active;
use super::run::Run;

#[derive(Default)]
pub(super) struct Registry {
    slots: Mutex<Slots>,
    /// How many runs are being driven.
    driven: watch::Sender<usize>,
}

#[derive(Default)]
struct Slots {
    runs: BTreeMap<RunKey, Slot>,
    /// Warm runs, the longest parked first. May name runs that are warm no longer.
    warm: VecDeque<(Timestamp, RunKey)>,
}

enum Slot {
    /// A claim or a start is about to drive it.
    Reserved {
        claimed_again: bool,
    },
    Driven {
        /// Its driver holds it; a driver that died with its process must not be held in memory by this.
        run: Weak<Run>,
        claimed_again: bool,
    },
    Warm {
        since: Timestamp,
        active: Box<Active>,
    },
    /// Stuck and out of anybody's reach until the process starts anew.
    Held,
}

/// What a claim finds here of the run that it got.
pub(super) enum Found {
    Nothing,
    Warm(Box<Active>),
    /// Whoever drives it now goes on with the claim.
    Driven,
    /// It is stuck here.
    Held,
}

/// What becomes of a driver that parked its run.
pub(super) enum Parked {
    /// The run was claimed again meanwhile: drive on.
    ClaimedAgain(Box<Active>),
    Done,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claim of `key` is in; its slot is reserved unless it is driven already.
    pub fn claimed(&self, key: RunKey) -> Found {
        let mut slots = self.lock();
        match slots.runs.get_mut(&key) {
            Some(Slot::Driven { claimed_again, .. } | Slot::Reserved { claimed_again }) => {
                *claimed_again = true;
                return Found::Driven;
            }
            Some(Slot::Held) => return Found::Held,
            Some(Slot::Warm { .. }) | None => {}
        }
        let before = slots.runs.insert(key, Slot::Reserved { claimed_again: false });
        drop(slots);
        self.driven.send_modify(|driven| *driven += 1);
        match before {
            Some(Slot::Warm { active, .. }) => Found::Warm(active),
            Some(Slot::Driven { .. } | Slot::Reserved { .. } | Slot::Held) | None => Found::Nothing,
        }
    }

    /// A run that was just made: nobody else can know it.
    pub fn reserve(&self, key: RunKey) {
        self.lock().runs.insert(key, Slot::Reserved { claimed_again: false });
        self.driven.send_modify(|driven| *driven += 1);
    }

    pub fn driving(&self, run: &Arc<Run>) {
        let mut slots = self.lock();
        if let Some(slot) = slots.runs.get_mut(&run.key) {
            let claimed_again = matches!(slot, Slot::Reserved { claimed_again: true });
            *slot = Slot::Driven { run: Arc::downgrade(run), claimed_again };
        }
    }

    /// Something is in the inbox of a run that is being driven.
    pub fn knock(&self, key: RunKey) {
        let driven = match self.lock().runs.get(&key) {
            Some(Slot::Driven { run, .. }) => run.upgrade(),
            Some(Slot::Reserved { .. } | Slot::Warm { .. } | Slot::Held) | None => None,
        };
        if let Some(run) = driven {
            run.knock();
        }
    }

    pub fn parked(&self, active: Box<Active>, now: Timestamp) -> Parked {
        let key = active.run.key;
        let mut slots = self.lock();
        if let Some(Slot::Driven { claimed_again: claimed_again @ true, .. }) = slots.runs.get_mut(&key) {
            *claimed_again = false;
            return Parked::ClaimedAgain(active);
        }
        slots.runs.insert(key, Slot::Warm { since: now, active });
        slots.warm.push_back((now, key));
        drop(slots);
        self.driven.send_modify(|driven| *driven -= 1);
        Parked::Done
    }

    /// The run is out of hand: ended, fenced or given back. True if it was claimed again meanwhile.
    pub fn gone(&self, key: RunKey) -> bool {
        let slot = self.lock().runs.remove(&key);
        self.left(slot)
    }

    /// Keeps a stuck run from being claimed over and over. True if it was claimed again meanwhile.
    pub fn hold(&self, key: RunKey) -> bool {
        let slot = self.lock().runs.insert(key, Slot::Held);
        self.left(slot)
    }

    /// One that was driven is driven no more.
    fn left(&self, slot: Option<Slot>) -> bool {
        let (Some(Slot::Driven { claimed_again, .. }) | Some(Slot::Reserved { claimed_again })) = slot else {
            return false;
        };
        self.driven.send_modify(|driven| *driven -= 1);
        claimed_again
    }

    /// Takes out the run that has been warm the longest, if it has been since `since` or before.
    /// Dropping it is the eviction.
    pub fn evict(&self, since: Timestamp) -> Option<Box<Active>> {
        let mut slots = self.lock();
        while let Some((parked, key)) = slots.warm.front().copied() {
            let is_current = matches!(slots.runs.get(&key), Some(Slot::Warm { since, .. }) if *since == parked);
            if is_current && parked > since {
                return None;
            }
            slots.warm.pop_front();
            if is_current && let Some(Slot::Warm { active, .. }) = slots.runs.remove(&key) {
                return Some(active);
            }
        }
        None
    }

    /// Takes out a warm run so that `tenant` finds room: the one that has been warm the longest of the tenant that has most
    /// in hand, but of no other that has less than `least`.
    pub fn evict_for(&self, tenant: TenantId, least: u64, held: impl Fn(TenantId) -> u64) -> Option<Box<Active>> {
        let mut slots = self.lock();
        let is_current = |runs: &BTreeMap<RunKey, Slot>, (parked, key): &(Timestamp, RunKey)| matches!(runs.get(key), Some(Slot::Warm { since, .. }) if since == parked);
        let Slots { runs, warm } = &mut *slots;
        warm.retain(|place| is_current(runs, place));
        let mut oldest: BTreeMap<TenantId, usize> = BTreeMap::new();
        for (place, (_, key)) in warm.iter().enumerate() {
            oldest.entry(key.tenant).or_insert(place);
        }
        let most = oldest.into_iter().map(|(whose, place)| (held(whose), whose == tenant, place));
        let (_, _, place) = most.filter(|(held, is_own, _)| *is_own || *held >= least).max()?;
        let (_, key) = warm.remove(place)?;
        match runs.remove(&key) {
            Some(Slot::Warm { active, .. }) => Some(active),
            Some(Slot::Driven { .. } | Slot::Reserved { .. } | Slot::Held) | None => None,
        }
    }

    /// At least as many as are warm.
    pub fn warm_count(&self) -> usize {
        self.lock().warm.len()
    }

    /// When the run that has been warm the longest was parked.
    pub fn warm_since(&self) -> Option<Timestamp> {
        self.lock().warm.front().map(|(since, _)| *since)
    }

    /// Asks every driver to come to its end by `until`, and waits for them.
    pub async fn drain(&self, until: Timestamp) {
        let runs: Vec<Arc<Run>> = {
            let slots = self.lock();
            let driven = slots.runs.values().filter_map(|slot| match slot {
                Slot::Driven { run, .. } => run.upgrade(),
                Slot::Reserved { .. } | Slot::Warm { .. } | Slot::Held => None,
            });
            driven.collect()
        };
        runs.iter().for_each(|run| run.drain(until));
        // The sender is ours, so this cannot fail.
        let _ = self.driven.subscribe().wait_for(|driven| *driven == 0).await;
        while self.evict(Timestamp(u64::MAX)).is_some() {}
    }
}
