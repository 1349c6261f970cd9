//! What one tenant has used, in memory: as it stands in the store, and what runs in hand used since. It reads nothing by
//! itself, and decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use trackway_replay::{Day, Timestamp, Used};

use super::{Allowance, Crossing, Quota, Rate, UNLIMITED};
use crate::{Error, Result};

/// Starts that whoever was quiet may make in a row, for each that it may make in a second.
const STARTS_IN_A_ROW: u64 = 2;
const SECOND_NANOS: u64 = 1_000_000_000;
/// As fine as time is told: more in a second are no fewer than a million.
const START_EVERY_MIN_NANOS: u64 = 1_000;

#[derive(Debug, Default)]
pub struct Ledger {
    sums: Mutex<Sums>,
    starts: Mutex<Option<(u64, Allowance)>>,
    loaded: OnceCell<()>,
    is_loaded: AtomicBool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    total: Used,
    day: Day,
    today: Used,
    /// Runs on their way to a first frame.
    starting: u64,
}

impl Ledger {
    /// Adds what stands in the store, once: in all, and of that day.
    pub async fn load(&self, read: impl Future<Output = Result<(Used, Day, Used)>>) -> Result<()> {
        if self.is_loaded.load(Ordering::Acquire) {
            return Ok(());
        }
        let loading = self.loaded.get_or_try_init(|| async {
            let (total, day, today) = read.await?;
            let mut sums = self.lock();
            sums.total.add(&total);
            sums.add_today(day, &today);
            Ok::<_, Error>(())
        });
        loading.await?;
        self.is_loaded.store(true, Ordering::Release);
        Ok(())
    }

    pub fn add(&self, day: Day, used: &Used) {
        let mut sums = self.lock();
        sums.total.add(used);
        sums.add_today(day, used);
    }

    /// It was added and does not stand: whoever goes on with the run adds it again.
    pub fn take_back(&self, day: Day, used: &Used) {
        let mut sums = self.lock();
        sums.total = sums.total.without(used);
        if sums.day == day {
            sums.today = sums.today.without(used);
        }
    }

    /// One run more, unless so many are open, or about to be. `Err`: how many are.
    pub(super) fn begin_start(&self, limit: u64) -> std::result::Result<(), u64> {
        let mut sums = self.lock();
        let runs = sums.total.runs_open().saturating_add(sums.starting);
        if runs >= limit {
            return Err(runs);
        }
        sums.starting += 1;
        Ok(())
    }

    /// Its first frame used so much, or it has none: both at once, so that the run is never counted twice.
    pub(super) fn end_start(&self, day: Day, used: &Used) {
        let mut sums = self.lock();
        sums.starting = sums.starting.saturating_sub(1);
        sums.total.add(used);
        sums.add_today(day, used);
    }

    pub fn total(&self) -> Used {
        self.lock().total
    }

    pub fn of_day(&self, day: Day) -> Used {
        let sums = *self.lock();
        if sums.day == day { sums.today } else { Used::default() }
    }

    /// One start more, in this second.
    pub(super) fn take_start(&self, limit: u64, now: Timestamp) -> std::result::Result<(), Crossing> {
        if limit == UNLIMITED {
            return Ok(());
        }
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let in_a_row = u32::try_from(limit.saturating_mul(STARTS_IN_A_ROW)).unwrap_or(u32::MAX);
            let every = Duration::from_nanos((SECOND_NANOS / limit.max(1)).max(START_EVERY_MIN_NANOS));
            (limit, Allowance::new(Rate { in_a_row, every }, now))
        };
        let (of, allowance) = starts.get_or_insert_with(fresh);
        if *of != limit {
            (*of, *allowance) = fresh();
        }
        allowance.take(now).map_err(|wait| Crossing {
            quota: Quota::StartsPerSecond,
            limit,
            used: limit,
            more: 0,
            again_after: Some(wait),
        })
    }

    /// A panic while it was held cannot leave a half-made change that matters: sums of one frame.
    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn add_today(&mut self, day: Day, used: &Used) {
        if day > self.day {
            (self.day, self.today) = (day, Used::default());
        }
        if day == self.day {
            self.today.add(used);
        }
    }
}
