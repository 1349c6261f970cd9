//! The clock of a rig: virtual time that goes on over crashes, and can be set. It never wakes anybody by itself.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use trackway::effects::{Clock, SystemClock};
use trackway_replay::Timestamp;

/// A sleeper looks again after so long, as that of the system does, in case the clock was set.
const NAP_MAX: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Wall {
    straight: SystemClock,
    set_by_micros: Arc<AtomicI64>,
}

impl Wall {
    pub fn new() -> Wall {
        Wall { straight: SystemClock::new(), set_by_micros: Arc::default() }
    }

    pub fn set_back(&self, by: Duration) {
        self.set_by_micros.fetch_sub(by.as_micros() as i64, Ordering::Relaxed);
    }
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(self.straight.now().0.saturating_add_signed(self.set_by_micros.load(Ordering::Relaxed)))
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let left = until.since(clock.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(NAP_MAX)).await;
            }
        })
    }

    fn elapsed(&self) -> Duration {
        self.straight.elapsed()
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.straight.wait(time)
    }
}
