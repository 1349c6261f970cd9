//! The threads of a runtime, shared among tenants a moment at a time. A runtime serves its tasks in the order in which they
//! became ready, so a tenant with a thousand ready tasks would have a thousand moments for each one of another. Here a task
//! that becomes ready waits for its tenant's turn before the runtime hears of it. It must never poll anything itself, and
//! never cost more than a look while only one tenant does anything.
//!
//! While several tenants are about, one of them never has all threads, so that whoever becomes ready finds one that is not in
//! the middle of something. What counts is the time that a tenant's tasks computed.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use trackway_replay::TenantId;

use crate::{Queue, Turns, Weight, Weights};

#[cfg(test)]
mod tests;

/// Tenants count as being about together for so long after one followed another. It costs them turns, which cost little.
const TOGETHER_FOR: Duration = Duration::from_secs(10);
/// So long a thread is left free for the others, which costs what it could have done.
const LEAVES_FOR: Duration = Duration::from_secs(1);

/// Stands for no tenant.
const NOBODY: u64 = u64::MAX;

pub struct Processors {
    weights: Weights,
    threads: usize,
    /// Whose task became ready last.
    last: AtomicU64,
    together: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When a task of one tenant last followed one of another.
    met: Option<Instant>,
    /// Tasks that may compute, while tenants are about together.
    going: usize,
    of: Turns<TenantId>,
    ready: Queue<TenantId, Arc<Ticket>>,
}

/// Where a task stands.
mod stage {
    /// Not polled yet.
    pub const NEW: u8 = 0;
    /// Waits for something of its own.
    pub const IDLE: u8 = 1;
    /// Waits for a turn.
    pub const READY: u8 = 2;
    /// May compute; nobody counts.
    pub const FREE: u8 = 3;
    /// Has a turn.
    pub const TURN: u8 = 4;
    pub const POLLED: u8 = 5;
    /// Became ready while it was polled.
    pub const POLLED_READY: u8 = 6;
    pub const OVER: u8 = 7;
}

struct Ticket {
    processors: Arc<Processors>,
    tenant: TenantId,
    stage: AtomicU8,
    /// Whoever polls the task.
    outer: Mutex<Option<Waker>>,
}

impl Processors {
    /// `threads`: of the runtime that polls.
    pub fn new(threads: usize, weights: Weights) -> Arc<Processors> {
        Arc::new(Processors {
            weights,
            threads: threads.max(1),
            last: AtomicU64::new(NOBODY),
            together: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// `task`, which computes when it is the turn of `tenant`.
    pub fn share<F: Future + Unpin>(self: &Arc<Self>, tenant: TenantId, task: F) -> Fair<F> {
        let ticket = Arc::new(Ticket {
            processors: Arc::clone(self),
            tenant,
            stage: AtomicU8::new(stage::NEW),
            outer: Mutex::new(None),
        });
        let waker = Waker::from(Arc::clone(&ticket));
        Fair { task, ticket, waker }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether tenants are about together, now that a task of `tenant` became ready.
    fn is_shared(&self, tenant: TenantId) -> bool {
        let tenant = number(tenant);
        let last = self.last.load(Ordering::Relaxed);
        if last != tenant {
            self.last.store(tenant, Ordering::Relaxed);
            if last != NOBODY {
                self.lock().met = Some(Instant::now());
                self.together.store(true, Ordering::Relaxed);
            }
        }
        self.together.load(Ordering::Relaxed)
    }

    /// Gives the ticket, which is `READY`, a turn, or a place in the line. True: it may go on.
    fn request(&self, ticket: &Arc<Ticket>) -> bool {
        let becomes = |at| {
            // Unless it is over by now.
            ticket.stage.compare_exchange(stage::READY, at, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        if !self.is_shared(ticket.tenant) {
            return becomes(stage::FREE);
        }
        let mut state = self.lock();
        if !state.met_within(TOGETHER_FOR) {
            state.met = None;
            self.together.store(false, Ordering::Relaxed);
        }
        let weight = self.weights.of(ticket.tenant);
        // Whoever waits is of tenants that have all that they may have: nobody is passed by.
        if self.may_go(&state, ticket.tenant) {
            let goes = becomes(stage::TURN);
            if goes {
                state.ready.pass(ticket.tenant, weight);
                state.begin(ticket.tenant);
            }
            return goes;
        }
        state.ready.push(ticket.tenant, weight, 0, Arc::clone(ticket));
        false
    }

    fn may_go(&self, state: &State, tenant: TenantId) -> bool {
        let leaves = usize::from(state.met_within(LEAVES_FOR));
        let threads_max = self.threads.saturating_sub(leaves).max(1);
        state.going < self.threads && state.of.held(tenant) < threads_max as u64
    }

    /// A turn of `tenant` is over, and took so long: the next ones begin.
    fn end(&self, tenant: TenantId, took: Duration) {
        let next = {
            let mut state = self.lock();
            state.going = state.going.saturating_sub(1);
            state.of.give_back(tenant, 1, Weight::default());
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            state.ready.charge(tenant, self.weights.of(tenant), nanos);
            self.next(&mut state)
        };
        next.into_iter().for_each(|ticket| ticket.wake_outer());
    }

    /// Whoever may go now. One turn ended, so that is one at most.
    fn next(&self, state: &mut State) -> Option<Arc<Ticket>> {
        loop {
            let tenant = state.ready.waiting().find(|tenant| self.may_go(state, *tenant))?;
            let ticket = state.ready.pop_of(tenant, self.weights.of(tenant))?;
            let turn = ticket.stage.compare_exchange(stage::READY, stage::TURN, Ordering::AcqRel, Ordering::Acquire);
            // Of one that is over nothing is left but its place in the line.
            if turn.is_ok() {
                state.begin(tenant);
                return Some(ticket);
            }
        }
    }
}

impl State {
    fn met_within(&self, time: Duration) -> bool {
        self.met.is_some_and(|met| met.elapsed() < time)
    }

    fn begin(&mut self, tenant: TenantId) {
        self.going += 1;
        self.of.hold(tenant, 1, Weight::default());
    }
}

impl Ticket {
    fn register(&self, waker: &Waker) {
        let mut outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *outer {
            Some(known) => known.clone_from(waker),
            None => *outer = Some(waker.clone()),
        }
    }

    fn wake_outer(&self) {
        if let Some(waker) = &*self.outer.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    /// A poll is over, and with it the turn that it had, if it had one.
    fn end(&self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.processors.end(self.tenant, begun.elapsed());
        }
    }
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let becomes = |at: u8| match at {
            stage::IDLE => stage::READY,
            stage::POLLED => stage::POLLED_READY,
            // It is polled after this in any case, or never again.
            at => at,
        };
        let before = self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| Some(becomes(at)));
        if before == Ok(stage::IDLE) && self.processors.request(self) {
            self.wake_outer();
        }
    }
}

/// A task that computes when it is its tenant's turn.
pub struct Fair<F> {
    task: F,
    ticket: Arc<Ticket>,
    /// Of the ticket.
    waker: Waker,
}

impl<F: Future + Unpin> Future for Fair<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Fair { task, ticket, waker } = &mut *self;
        ticket.register(cx.waker());
        let stands = &ticket.stage;
        if stands.compare_exchange(stage::NEW, stage::READY, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            ticket.processors.request(ticket);
        }
        let begun = match stands.load(Ordering::Acquire) {
            stage::FREE => None,
            stage::TURN => Some(Instant::now()),
            _ => return Poll::Pending,
        };
        stands.swap(stage::POLLED, Ordering::AcqRel);
        let polling = Polling { ticket, begun };
        let polled = Pin::new(task).poll(&mut Context::from_waker(waker));
        std::mem::forget(polling);
        if polled.is_ready() {
            stands.store(stage::OVER, Ordering::Release);
            ticket.end(begun);
            return polled;
        }
        if stands.compare_exchange(stage::POLLED, stage::IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            ticket.end(begun);
            return Poll::Pending;
        }
        // It became ready meanwhile: others first.
        stands.store(stage::READY, Ordering::Release);
        ticket.end(begun);
        if ticket.processors.request(ticket) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A poll; dropped if it panics.
struct Polling<'a> {
    ticket: &'a Ticket,
    begun: Option<Instant>,
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.ticket.stage.store(stage::OVER, Ordering::Release);
        self.ticket.end(self.begun);
    }
}

impl<F> Drop for Fair<F> {
    fn drop(&mut self) {
        let before = self.ticket.stage.swap(stage::OVER, Ordering::AcqRel);
        // Whoever polls it is held by its waker.
        let outer = self.ticket.outer.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(outer);
        if before == stage::TURN {
            self.ticket.processors.end(self.ticket.tenant, Duration::ZERO);
        }
    }
}

/// Tells tenants apart, and from nobody.
fn number(tenant: TenantId) -> u64 {
    u64::from(tenant.0)
}
