//! The clock of a simulation: virtual time, plus jumps that wake whoever sleeps. Each process reads it
//! with a small error of its own.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use trackway::effects::Clock;
use trackway_replay::Timestamp;

/// Some day in 2026.
pub const BEGINNING: Timestamp = Timestamp(1_790_000_000_000_000);

#[derive(Clone)]
pub struct Time {
    begun: Instant,
    jumped_micros: Arc<AtomicI64>,
    jumps: Arc<Notify>,
}

impl Time {
    pub fn new() -> Time {
        Time { begun: Instant::now(), jumped_micros: Arc::default(), jumps: Arc::default() }
    }

    pub fn jump(&self, by: Duration, is_back: bool) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.jumped_micros.fetch_add(if is_back { -by } else { by }, Ordering::Relaxed);
        self.jumps.notify_waiters();
    }

    /// How a process reads it that is so much ahead of the others.
    pub fn skewed(&self, ahead: Duration) -> SimulatedClock {
        SimulatedClock { time: self.clone(), ahead }
    }

    fn now(&self) -> Timestamp {
        let straight = BEGINNING + self.begun.elapsed();
        Timestamp(straight.0.saturating_add_signed(self.jumped_micros.load(Ordering::Relaxed)))
    }
}

#[derive(Clone)]
pub struct SimulatedClock {
    time: Time,
    ahead: Duration,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.time.now() + self.ahead
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let jump = clock.time.jumps.notified();
                let left = until.since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    biased;
                    () = jump => {}
                    () = tokio::time::sleep(left) => {}
                }
            }
        })
    }

    fn elapsed(&self) -> Duration {
        self.time.begun.elapsed()
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}
