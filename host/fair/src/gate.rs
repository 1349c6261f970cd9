//! Places that are held for a while, shared among tenants, and within a tenant among its parts: its runs, say. It must
//! never take a place back, and never know what it is for.
//!
//! Nobody can say how long a place is held, so whoever takes all of them could keep the next one waiting for ever. Hence
//! whoever holds some leaves some: with a portion of 7 a tenant may hold seven times as many as it leaves free, so one
//! alone has seven eighths, two have seven fifteenths each, and whoever comes finds a free one until there are as many
//! tenants as places. Of those that wait, the tenant that holds the least for its weight is next. It is passed by only
//! where a part of it has had too much, or where it holds all that it may ever hold: its cap.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{Notify, oneshot};
use trackway_replay::TenantId;

use crate::{Turns, Weight, Weights};

#[cfg(test)]
mod tests;

/// How many places one may hold for each that it leaves free.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    pub tenant: u64,
    /// Of one part of a tenant.
    pub part: u64,
}

/// What a tenant may hold at most. Asked each time, so that a change counts from the next place on.
pub type Cap = Box<dyn Fn(TenantId) -> u64 + Send + Sync>;

pub struct Gate<P: Ord + Copy = ()> {
    state: Mutex<State<P>>,
    weights: Weights,
    portion: Portion,
    cap: Cap,
    freed: Notify,
}

struct State<P: Ord + Copy> {
    free: u64,
    tenants: Turns<TenantId>,
    /// Of tenants that hold something or wait.
    parts: BTreeMap<TenantId, Parts<P>>,
    /// Numbers those that wait.
    last: u64,
}

struct Parts<P: Ord + Copy> {
    turns: Turns<P>,
    /// In the order in which they came.
    waiting: BTreeMap<P, BTreeMap<u64, Waiter<P>>>,
}

struct Waiter<P: Ord + Copy> {
    places: u64,
    permit: oneshot::Sender<Permit<P>>,
}

/// Places, until it is dropped.
pub struct Permit<P: Ord + Copy = ()> {
    gate: Arc<Gate<P>>,
    tenant: TenantId,
    part: P,
    places: u64,
}

/// A place in the line. Dropping it is enough to leave.
pub struct Waiting<P: Ord + Copy = ()> {
    gate: Arc<Gate<P>>,
    tenant: TenantId,
    part: P,
    number: u64,
    permit: oneshot::Receiver<Permit<P>>,
}

impl<P: Ord + Copy> Gate<P> {
    pub fn new(places: usize, portion: Portion, weights: Weights) -> Arc<Gate<P>> {
        Gate::capped(places, portion, weights, Box::new(|_| u64::MAX))
    }

    /// `cap` must not ask the gate.
    pub fn capped(places: usize, portion: Portion, weights: Weights, cap: Cap) -> Arc<Gate<P>> {
        let state = State { free: places as u64, tenants: Turns::default(), parts: BTreeMap::new(), last: 0 };
        Arc::new(Gate { state: Mutex::new(state), weights, portion, cap, freed: Notify::new() })
    }

    /// No change is made in two steps that a panic could come between.
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place.
    pub async fn take(self: &Arc<Self>, tenant: TenantId, part: P) -> Permit<P> {
        self.take_many(tenant, part, 1).await
    }

    /// Waits for so many at once. More than there are never come.
    pub async fn take_many(self: &Arc<Self>, tenant: TenantId, part: P, places: u64) -> Permit<P> {
        match self.line_up(tenant, part, places) {
            Ok(permit) => permit,
            Err(waiting) => waiting.await,
        }
    }

    /// Only if that needs no waiting.
    pub fn try_take(self: &Arc<Self>, tenant: TenantId, part: P, places: u64) -> Option<Permit<P>> {
        let mut state = self.lock();
        if !state.is_let_in(self, tenant, part, places) {
            return None;
        }
        state.hold(&self.weights, tenant, part, places);
        Some(self.permit(tenant, part, places))
    }

    /// Takes places, or takes a place in the line.
    pub fn line_up(self: &Arc<Self>, tenant: TenantId, part: P, places: u64) -> Result<Permit<P>, Waiting<P>> {
        let mut state = self.lock();
        if state.is_let_in(self, tenant, part, places) {
            state.hold(&self.weights, tenant, part, places);
            return Ok(self.permit(tenant, part, places));
        }
        let (granted, mut permit) = oneshot::channel();
        let number = state.line_up(tenant, part, Waiter { places, permit: granted }, self.weights.of(tenant));
        drop(state);
        // Somebody who held it up may have gone meanwhile.
        self.serve();
        match permit.try_recv() {
            Ok(permit) => Ok(permit),
            Err(_) => Err(Waiting { gate: Arc::clone(self), tenant, part, number, permit }),
        }
    }

    /// For what is held from now on.
    fn permit(self: &Arc<Self>, tenant: TenantId, part: P, places: u64) -> Permit<P> {
        Permit { gate: Arc::clone(self), tenant, part, places }
    }

    /// Gives free places to those that wait and may have them. To be called where a cap was raised.
    pub fn serve(self: &Arc<Self>) {
        loop {
            let (waiter, permit) = {
                let mut state = self.lock();
                let Some((tenant, part, waiter)) = state.next_in_turn(self) else { return };
                state.hold(&self.weights, tenant, part, waiter.places);
                let permit = self.permit(tenant, part, waiter.places);
                (waiter, permit)
            };
            // Without the lock: if nobody waits for it any more, the places come back at once.
            drop(waiter.permit.send(permit));
        }
    }

    fn give_back(self: &Arc<Self>, tenant: TenantId, part: P, places: u64) {
        let is_wanted = {
            let mut state = self.lock();
            state.free += places;
            let weight = state.weight_in_line(&self.weights, tenant);
            state.tenants.give_back(tenant, places, weight);
            if let Some(parts) = state.parts.get_mut(&tenant) {
                parts.turns.give_back(part, places, Weight::default());
            }
            state.forget(tenant);
            !state.tenants.is_empty()
        };
        if is_wanted {
            self.serve();
        }
        self.freed.notify_waiters();
    }

    /// Places that nobody holds.
    pub fn free(&self) -> usize {
        usize::try_from(self.lock().free).unwrap_or(usize::MAX)
    }

    /// Resolves when there is a free place, whoever may have it.
    pub async fn freed(&self) {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            if self.lock().free > 0 {
                return;
            }
            freed.await;
        }
    }

    pub fn held(&self, tenant: TenantId) -> u64 {
        self.lock().tenants.held(tenant)
    }

    /// Whoever is next in line, of those that are not at their caps.
    pub fn next(&self) -> Option<(TenantId, P)> {
        let state = self.lock();
        let tenant = state.tenants.waiting().find(|tenant| !state.is_capped(self, *tenant, 1))?;
        Some((tenant, state.next_of(tenant)?))
    }

    /// Which part of a tenant is next, where the tenant waits and is at its cap.
    pub fn next_under_cap(&self, tenant: TenantId) -> Option<P> {
        let state = self.lock();
        if state.is_capped(self, tenant, 1) { state.next_of(tenant) } else { None }
    }

    /// Whether it holds all that it may ever hold.
    pub fn is_capped(&self, tenant: TenantId) -> bool {
        self.lock().is_capped(self, tenant, 1)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let state = self.lock();
        let lines = state.tenants.waiting().filter_map(|tenant| state.parts.get(&tenant));
        lines.flat_map(|parts| parts.waiting.values()).map(BTreeMap::len).sum()
    }

    /// The tenants that wait. None, most of the time.
    pub fn waiting_tenants(&self) -> Vec<TenantId> {
        self.lock().tenants.waiting().collect()
    }
}

impl<P: Ord + Copy> State<P> {
    /// Nobody who would be next is passed by.
    fn is_let_in(&self, gate: &Gate<P>, tenant: TenantId, part: P, places: u64) -> bool {
        let is_next = || self.tenants.would_be_next(tenant, gate.weights.of(tenant));
        (self.tenants.is_empty() || is_next())
            && !self.is_capped(gate, tenant, places)
            && self.tenant_may_take(gate.portion, tenant, places)
            && self.part_may_take(gate.portion, tenant, part, places)
    }

    /// Whoever holds nothing gets something, whatever the cap is: many at once may be more than that.
    fn is_capped(&self, gate: &Gate<P>, tenant: TenantId, places: u64) -> bool {
        let held = self.tenants.held(tenant);
        held > 0 && held.saturating_add(places) > (gate.cap)(tenant)
    }

    fn next_of(&self, tenant: TenantId) -> Option<P> {
        self.parts.get(&tenant)?.turns.next()
    }

    fn tenant_may_take(&self, portion: Portion, tenant: TenantId, places: u64) -> bool {
        places <= self.free && self.leaves(self.tenants.held(tenant), places, portion.tenant)
    }

    fn part_may_take(&self, portion: Portion, tenant: TenantId, part: P, places: u64) -> bool {
        let held = self.parts.get(&tenant).map_or(0, |parts| parts.turns.held(part));
        self.leaves(held, places, portion.part)
    }

    /// Many places are judged as one after the other would be.
    fn leaves(&self, held: u64, places: u64, portion: u64) -> bool {
        let free = (self.free + 1).saturating_sub(places);
        held == 0 || held + places <= free.saturating_mul(portion)
    }

    fn hold(&mut self, weights: &Weights, tenant: TenantId, part: P, places: u64) {
        self.free -= places;
        let weight = self.weight_in_line(weights, tenant);
        self.tenants.hold(tenant, places, weight);
        self.parts.entry(tenant).or_default().turns.hold(part, places, Weight::default());
    }

    /// It matters only where somebody waits.
    fn weight_in_line(&self, weights: &Weights, tenant: TenantId) -> Weight {
        if self.tenants.is_empty() { Weight::default() } else { weights.of(tenant) }
    }

    fn line_up(&mut self, tenant: TenantId, part: P, waiter: Waiter<P>, weight: Weight) -> u64 {
        self.last += 1;
        let number = self.last;
        let parts = self.parts.entry(tenant).or_default();
        let waiting = parts.waiting.entry(part).or_default();
        waiting.insert(number, waiter);
        if waiting.len() == 1 {
            parts.turns.wait(part, number, Weight::default());
        }
        if parts.waiting.len() == 1 && parts.waiting.values().all(|waiting| waiting.len() == 1) {
            self.tenants.wait(tenant, number, weight);
        }
        number
    }

    /// Takes the next one out of the line that may have what it waits for.
    fn next_in_turn(&mut self, gate: &Gate<P>) -> Option<(TenantId, P, Waiter<P>)> {
        let (tenant, part, number) = self.first_that_may(gate)?;
        let waiter = self.leave(tenant, part, number, gate.weights.of(tenant))?;
        Some((tenant, part, waiter))
    }

    fn first_that_may(&self, gate: &Gate<P>) -> Option<(TenantId, P, u64)> {
        for tenant in self.tenants.waiting() {
            let parts = self.parts.get(&tenant)?;
            for part in parts.turns.waiting() {
                let (number, waiter) = parts.waiting.get(&part)?.first_key_value()?;
                // What it waits for are its own places: nobody else is passed over for it.
                if self.is_capped(gate, tenant, waiter.places) {
                    break;
                }
                // Nobody passes by a tenant, and least of all one that wants many: it would never find them.
                if !self.tenant_may_take(gate.portion, tenant, waiter.places) {
                    return None;
                }
                // Other runs of it, and other tenants, have not had what this one had.
                if self.part_may_take(gate.portion, tenant, part, waiter.places) {
                    return Some((tenant, part, *number));
                }
            }
        }
        None
    }

    fn leave(&mut self, tenant: TenantId, part: P, number: u64, weight: Weight) -> Option<Waiter<P>> {
        let parts = self.parts.get_mut(&tenant)?;
        let waiting = parts.waiting.get_mut(&part)?;
        let waiter = waiting.remove(&number)?;
        match waiting.first_key_value() {
            Some((first, _)) => parts.turns.wait(part, *first, Weight::default()),
            None => {
                parts.waiting.remove(&part);
                parts.turns.leave(part);
            }
        }
        let next = parts.turns.next().and_then(|part| parts.waiting.get(&part)?.first_key_value());
        match next.map(|(first, _)| *first) {
            Some(first) => self.tenants.wait(tenant, first, weight),
            None => self.tenants.leave(tenant),
        }
        self.forget(tenant);
        Some(waiter)
    }

    fn forget(&mut self, tenant: TenantId) {
        if self.tenants.held(tenant) == 0 && self.parts.get(&tenant).is_some_and(|parts| parts.waiting.is_empty()) {
            self.parts.remove(&tenant);
        }
    }
}

impl<P: Ord + Copy> Default for Parts<P> {
    fn default() -> Parts<P> {
        Parts { turns: Turns::default(), waiting: BTreeMap::new() }
    }
}

impl<P: Ord + Copy> Permit<P> {
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub fn places(&self) -> u64 {
        self.places
    }

    /// Holds so many more, if they are free: whoever is half-way is let on.
    pub fn grow(&mut self, places: u64) -> bool {
        let mut state = self.gate.lock();
        if places > state.free {
            return false;
        }
        state.hold(&self.gate.weights, self.tenant, self.part, places);
        drop(state);
        self.places += places;
        true
    }

    /// Holds no more than so many from here on.
    pub fn shrink_to(&mut self, places: u64) {
        let over = self.places.saturating_sub(places);
        if over > 0 {
            self.places -= over;
            self.gate.give_back(self.tenant, self.part, over);
        }
    }
}

impl<P: Ord + Copy> Drop for Permit<P> {
    fn drop(&mut self) {
        if self.places > 0 {
            self.gate.give_back(self.tenant, self.part, self.places);
        }
    }
}

/// Nothing in it is pinned.
impl<P: Ord + Copy> Unpin for Waiting<P> {}

impl<P: Ord + Copy> Future for Waiting<P> {
    type Output = Permit<P>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<P>> {
        match Pin::new(&mut self.permit).poll(cx) {
            Poll::Ready(Ok(permit)) => Poll::Ready(permit),
            // Nobody drops a waiter that still waits.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<P: Ord + Copy> Drop for Waiting<P> {
    fn drop(&mut self) {
        let weight = self.gate.weights.of(self.tenant);
        let left = self.gate.lock().leave(self.tenant, self.part, self.number, weight);
        // Others may have stood behind it.
        if left.is_some() {
            self.gate.serve();
        }
    }
}

impl<P: Ord + Copy> std::fmt::Debug for Permit<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("tenant", &self.tenant).field("places", &self.places).finish()
    }
}
