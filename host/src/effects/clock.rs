//! The system's clock. It never decides anything by the time; it only tells it.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use trackway_replay::Timestamp;

use super::Clock;

/// Monotonic clocks stand still while a machine sleeps and know nothing of a corrected wall clock, so
/// the difference is followed; below this it is noise of reading two clocks one after the other.
const DRIFT_MIN: Duration = Duration::from_millis(100);

/// A sleeper looks at the clock again at the latest after this, so that a timer that came due while the
/// machine was asleep is late by no more.
const NAP_MAX: Duration = Duration::from_secs(10);

/// The wall clock, read as an anchor plus what tokio's clock says has passed since. Under tokio's
/// paused time it is therefore virtual: it stands still and jumps with `tokio::time::advance`.
#[derive(Debug, Clone)]
pub struct SystemClock(Arc<Anchor>);

#[derive(Debug)]
struct Anchor {
    wall: Timestamp,
    tokio: Instant,
    monotonic: std::time::Instant,
    /// By how much the wall clock has left the monotonic one since the anchor.
    drift_micros: AtomicI64,
}

impl SystemClock {
    /// Must be called where tokio's time is (or is not) paused already.
    pub fn new() -> SystemClock {
        SystemClock(Arc::new(Anchor {
            wall: wall(),
            tokio: Instant::now(),
            monotonic: std::time::Instant::now(),
            drift_micros: AtomicI64::new(0),
        }))
    }
}

impl Anchor {
    fn read(&self) -> Timestamp {
        let drift = self.follow_drift();
        let passed = i64::try_from(self.tokio.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.wall.0.saturating_add_signed(passed.saturating_add(drift)))
    }

    fn follow_drift(&self) -> i64 {
        let known = self.drift_micros.load(Ordering::Relaxed);
        let expected = self.wall + self.monotonic.elapsed();
        let seen = i64::try_from(i128::from(wall().0) - i128::from(expected.0)).unwrap_or(known);
        if u128::from(seen.abs_diff(known)) < DRIFT_MIN.as_micros() {
            return known;
        }
        self.drift_micros.store(seen, Ordering::Relaxed);
        seen
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.0.read()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move {
            loop {
                let left = until.since(clock.read());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(NAP_MAX)).await;
            }
        })
    }

    fn elapsed(&self) -> Duration {
        self.0.tokio.elapsed()
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

fn wall() -> Timestamp {
    // A clock set before 1970 reads as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
