//! A process as its tasks see it: it runs, stands still, or is dead, from one poll to the next. Nothing
//! of a dead process is ever polled again, so it can die at any point at which it waits.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::time::Instant;

/// More polls without any time passing: it goes round in circles.
const POLLS_AT_ONCE_MAX: u64 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    Paused,
    Dead,
}

pub struct Gate {
    state: Mutex<State>,
    died: Notify,
}

struct State {
    life: Life,
    waiting: Vec<Waker>,
    polls: u64,
    dies_at: Option<u64>,
    /// Since when no time passed, and the polls until then.
    instant: (Instant, u64),
    pub spins: bool,
}

impl Gate {
    pub fn new() -> Arc<Gate> {
        let state = State {
            life: Life::Running,
            waiting: Vec::new(),
            polls: 0,
            dies_at: None,
            instant: (Instant::now(), 0),
            spins: false,
        };
        Arc::new(Gate { state: Mutex::new(state), died: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, life: Life) {
        let waiting = {
            let mut state = self.lock();
            if state.life != Life::Dead {
                state.life = life;
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
        if life == Life::Dead {
            self.died.notify_waiters();
        }
    }

    pub fn life(&self) -> Life {
        self.lock().life
    }

    /// It dies by itself after so many more polls.
    pub fn dies_after(&self, polls: u64) {
        let mut state = self.lock();
        state.dies_at = Some(state.polls + polls);
    }

    /// It went on and on without any time passing.
    pub fn spins(&self) -> bool {
        self.lock().spins
    }

    pub async fn death(&self) {
        let died = self.died.notified();
        if self.life() != Life::Dead {
            died.await;
        }
    }

    fn may_pass(&self, cx: &mut Context<'_>) -> bool {
        match self.life() {
            Life::Dead => false,
            Life::Paused => {
                self.lock().waiting.push(cx.waker().clone());
                false
            }
            Life::Running => {
                let now = Instant::now();
                let mut state = self.lock();
                state.polls += 1;
                if state.instant.0 != now {
                    state.instant = (now, state.polls);
                }
                state.spins |= state.polls - state.instant.1 > POLLS_AT_ONCE_MAX;
                let dies = state.spins || state.dies_at.is_some_and(|at| state.polls >= at);
                drop(state);
                if dies {
                    self.set(Life::Dead);
                }
                !dies
            }
        }
    }
}

/// A future of the process behind the gate.
pub struct Behind<F> {
    gate: Arc<Gate>,
    future: Pin<Box<F>>,
}

pub fn behind<F: Future>(gate: &Arc<Gate>, future: F) -> Behind<F> {
    Behind { gate: gate.clone(), future: Box::pin(future) }
}

impl<F: Future> Future for Behind<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.gate.may_pass(cx) {
            true => self.future.as_mut().poll(cx),
            false => Poll::Pending,
        }
    }
}
