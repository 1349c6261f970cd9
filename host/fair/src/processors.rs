//! The threads of a runtime, shared among tenants a moment at a time. A runtime serves its tasks in the order in which they
//! became ready, so a tenant with a thousand ready tasks would have a thousand moments for each one of another. Here a task
//! that becomes ready waits for its tenant's turn before the runtime hears of it. It must never poll anything itself, and
//! never cost more than a look while only one tenant does anything.
//!
//! The runtime never has more than a few ready tasks of a tenant that is alone, so that whoever comes finds no long line
//! there. While several tenants are about, one of them never has all threads, so that whoever becomes ready finds one that
//! is not in the middle of something. What counts is the time that a tenant's tasks computed.
//!
//! Whoever holds what others wait for, of whatever tenant, says so ([`at_once`]) and waits for no turn.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
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
/// Tasks that the runtime may have of whoever is alone, for each of its threads: enough to find work without asking, and so
/// few that whoever comes is soon served.
const ALONE_PER_THREAD: usize = 4;

thread_local! {
    /// Of the task that this thread polls.
    static POLLS: RefCell<Option<Arc<Ticket>>> = const { RefCell::new(None) };
}

pub struct Processors {
    weights: Weights,
    threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose task became ready last.
    last: Option<TenantId>,
    /// When a task of one tenant last followed one of another.
    met: Option<Instant>,
    /// Tasks that may compute.
    going: usize,
    /// Of those, tasks that became ready while tenants were about together.
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
    /// May compute; no account is kept.
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
    /// How many things it holds that others wait for.
    urgent: AtomicUsize,
    /// Whoever polls the task.
    outer: Mutex<Option<Waker>>,
}

/// While it is kept, the task that made it waits for no turn.
#[must_use]
pub struct AtOnce(Option<Arc<Ticket>>);

/// For the task that is polled here, if it takes turns: it is about to hold what tasks of others wait for too, and would keep
/// them waiting for as long as it waits for a turn.
pub fn at_once() -> AtOnce {
    let ticket = POLLS.with_borrow(Clone::clone);
    if let Some(ticket) = &ticket {
        ticket.urgent.fetch_add(1, Ordering::Relaxed);
    }
    AtOnce(ticket)
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        if let Some(ticket) = &self.0 {
            ticket.urgent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Processors {
    /// `threads`: of the runtime that polls.
    pub fn new(threads: usize, weights: Weights) -> Arc<Processors> {
        Arc::new(Processors { weights, threads: threads.max(1), state: Mutex::default() })
    }

    /// `task`, which computes when it is the turn of `tenant`.
    pub fn share<F: Future + Unpin>(self: &Arc<Self>, tenant: TenantId, task: F) -> Fair<F> {
        let ticket = Arc::new(Ticket {
            processors: Arc::clone(self),
            tenant,
            stage: AtomicU8::new(stage::NEW),
            urgent: AtomicUsize::new(0),
            outer: Mutex::new(None),
        });
        let waker = Waker::from(Arc::clone(&ticket));
        Fair { task, ticket, waker }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the ticket, which is `READY`, a turn, or a place in the line. True: it may go on.
    fn request(&self, ticket: &Arc<Ticket>) -> bool {
        let becomes = |at| {
            // Unless it is over by now.
            ticket.stage.compare_exchange(stage::READY, at, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        let mut state = self.lock();
        let is_shared = state.is_shared(ticket.tenant);
        let is_urgent = ticket.urgent.load(Ordering::Relaxed) > 0;
        // Whoever waits is of tenants that have all that they may have: nobody is passed by.
        let may_go = is_urgent || self.may_go(&state, ticket.tenant);
        if may_go && !is_shared && state.ready.is_empty() {
            let goes = becomes(stage::FREE);
            state.going += usize::from(goes);
            return goes;
        }
        let weight = self.weights.of(ticket.tenant);
        if may_go {
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
        if state.met.is_none() {
            return state.going < self.threads * ALONE_PER_THREAD;
        }
        let leaves = usize::from(state.met_within(LEAVES_FOR));
        let threads_max = self.threads.saturating_sub(leaves).max(1);
        state.going < self.threads && state.of.held(tenant) < threads_max as u64
    }

    /// A task is done with its moment: the next ones begin. `took`: of one that had a turn.
    fn end(&self, tenant: TenantId, took: Option<Duration>) {
        let next = {
            let mut state = self.lock();
            state.going = state.going.saturating_sub(1);
            if let Some(took) = took {
                state.of.give_back(tenant, 1, Weight::default());
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                state.ready.charge(tenant, self.weights.of(tenant), nanos);
            }
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
    /// Whether tenants are about together, now that a task of `tenant` became ready.
    fn is_shared(&mut self, tenant: TenantId) -> bool {
        if self.last.replace(tenant).is_some_and(|last| last != tenant) {
            self.met = Some(Instant::now());
        } else if self.met.is_some_and(|met| met.elapsed() >= TOGETHER_FOR) {
            self.met = None;
        }
        self.met.is_some()
    }

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

    /// A poll is over.
    fn end(&self, begun: Option<Instant>) {
        self.processors.end(self.tenant, begun.map(|begun| begun.elapsed()));
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
        let polling = Polling::new(ticket, begun);
        let polled = Pin::new(task).poll(&mut Context::from_waker(waker));
        polling.end();
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

/// A poll.
struct Polling<'a> {
    ticket: &'a Ticket,
    begun: Option<Instant>,
    /// What this thread polls around it.
    around: Option<Arc<Ticket>>,
    panics: bool,
}

impl Polling<'_> {
    fn new(ticket: &Arc<Ticket>, begun: Option<Instant>) -> Polling<'_> {
        let around = POLLS.replace(Some(Arc::clone(ticket)));
        Polling { ticket, begun, around, panics: true }
    }

    fn end(mut self) {
        self.panics = false;
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        POLLS.set(self.around.take());
        if self.panics {
            self.ticket.stage.store(stage::OVER, Ordering::Release);
            self.ticket.end(self.begun);
        }
    }
}

impl<F> Drop for Fair<F> {
    fn drop(&mut self) {
        let before = self.ticket.stage.swap(stage::OVER, Ordering::AcqRel);
        // Whoever polls it is held by its waker.
        let outer = self.ticket.outer.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(outer);
        match before {
            stage::TURN => self.ticket.processors.end(self.ticket.tenant, Some(Duration::ZERO)),
            stage::FREE => self.ticket.processors.end(self.ticket.tenant, None),
            _ => {}
        }
    }
}
