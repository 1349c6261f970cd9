//! How much compiling each tenant gets: one component at a time, a few that wait, so many an hour. It compiles nothing
//! and stores nothing; what is there already is no affair of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trackway_replay::{TenantId, Timestamp};

use crate::quota::{Allowance, Rate};
use crate::{Code, Error, Result};

/// Of one tenant, so that others' components find the compiler free.
const COMPILES_AT_ONCE: usize = 1;
/// Of one tenant, behind the one that is compiled; each holds its bytes in memory.
const COMPILES_WAITING_MAX: usize = 4;
/// A release of everything that a tenant has in a row, then 720 an hour.
const COMPILES_MAX: Rate = Rate { in_a_row: 120, every: Duration::from_secs(5) };
/// A usual component takes a second or two, an interpreter ten.
const TURN_LIKELY_AFTER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct CompileShares {
    tenants: Mutex<BTreeMap<TenantId, Share>>,
}

/// Held while something is compiled.
#[derive(Debug)]
pub(super) struct Turn {
    #[expect(dead_code, reason = "dropping it lets the next one in")]
    permit: OwnedSemaphorePermit,
}

struct Share {
    allowance: Allowance,
    turns: Arc<Semaphore>,
    waiting: Arc<()>,
}

impl CompileShares {
    /// Waits for the tenant's turn.
    ///
    /// # Errors
    /// [`Code::Overloaded`], naming the quota, where too many wait or too many were compiled lately.
    pub async fn take(&self, tenant: TenantId, now: Timestamp) -> Result<Turn> {
        let (turns, _waiting) = {
            let mut tenants = self.lock();
            // A share that is whole again is as good as none.
            tenants.retain(|known, share| *known == tenant || !share.is_untouched(now));
            let share = tenants.entry(tenant).or_insert_with(|| Share::new(now));
            // The share has one of them itself.
            if Arc::strong_count(&share.waiting) > COMPILES_WAITING_MAX {
                let why = format!("quota `compiles-waiting`: {COMPILES_WAITING_MAX} components of the tenant wait");
                return Err(Error::new(Code::Overloaded, why).hint("try again").retry_after(TURN_LIKELY_AFTER));
            }
            share.allowance.take(now).map_err(|wait| {
                let an_hour = 3_600 / COMPILES_MAX.every.as_secs();
                let in_a_row = COMPILES_MAX.in_a_row;
                let why = format!("quota `compiles`: {in_a_row} components in a row, then {an_hour} an hour");
                Error::new(Code::Overloaded, why).hint(format!("try again in {} s", wait.as_secs())).retry_after(wait)
            })?;
            (Arc::clone(&share.turns), Arc::clone(&share.waiting))
        };
        let permit = turns.acquire_owned().await;
        let permit = permit.map_err(|_| Error::new(Code::Stopping, "nothing is compiled any more"))?;
        Ok(Turn { permit })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Share>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn new(now: Timestamp) -> Share {
        Share {
            allowance: Allowance::new(COMPILES_MAX, now),
            turns: Arc::new(Semaphore::new(COMPILES_AT_ONCE)),
            waiting: Arc::default(),
        }
    }

    fn is_untouched(&self, now: Timestamp) -> bool {
        let idle = self.turns.available_permits() == COMPILES_AT_ONCE && Arc::strong_count(&self.waiting) == 1;
        idle && self.allowance.is_whole(now)
    }
}

#[cfg(test)]
mod tests;
