//! Holds a run whose tenant has used up the fuel of the day: nothing of it computes until the day is over, or the quota
//! is raised. Nobody but people sees it: nothing of it stands in the journal.

use trackway_replay::{Day, Head, Status, code};
use trackway_storage::Owner;

use super::{Driver, Stop};
use crate::quota::Quota;
use crate::worker::reach::in_reach;
use crate::worker::run::Inner;

impl Driver {
    /// Its instance gets nothing to do meanwhile.
    pub(super) fn is_held(inner: &Inner) -> bool {
        inner.state.is_paused() || inner.is_over_fuel
    }

    /// Once nothing is under way. A cancelled run is let to its end, for which it has little time; so is one whose
    /// cancel is still to be read, since nobody but its workflow reads it.
    pub(super) async fn held_by_quota(&mut self) -> Option<Stop> {
        let run = self.active.run.clone();
        let now = run.now();
        let crossing = run.limits.crossed(&[Quota::FuelPerDay], now);
        {
            let mut inner = run.lock();
            let is_cancelled = inner.state.cancel().is_some() || inner.is_to_cancel;
            let crossing = crossing.filter(|_| !is_cancelled && !inner.state.is_paused());
            inner.is_over_fuel = crossing.is_some();
            let is_at_work = !inner.attempts.is_empty() || !inner.starting.is_empty() || inner.effects_in_flight > 0;
            if !inner.is_over_fuel || is_at_work || inner.ending {
                return None;
            }
            // Whatever knocks has it recalled: that is no sign of trouble, however often it is.
            inner.recall_survived = true;
        }
        if let Some(stop) = self.write_all(Owner::Keep).await {
            return Some(stop);
        }
        let midnight = Day::of(now).next().begin();
        // Its timeout is over when it is over, also of one that does nothing.
        let due = run.lock().state.deadline().map_or(midnight, |deadline| deadline.min(midnight));
        let why = crossing.map(|crossing| crossing.to_string()).unwrap_or_default();
        let message = format!("{why}; the run is held until midnight UTC, or until the quota is raised");
        tracing::info!(run = %run.key.run, "{message}");
        let head = Head {
            status: Status::Paused,
            waiting: None,
            due: Some(due),
            changed: now,
            code: Some(code::QUOTA_EXCEEDED.into()),
            message: Some(message.into()),
            ..run.lock().state.head()
        };
        self.writing = None;
        let park = || run.core.storage.park(run.key, Some(due), Some(head.clone()));
        match in_reach(&run.core, run.key.run, park).await {
            Ok(()) => Some(Stop::Laid),
            Err(error) => {
                tracing::error!(run = %run.key.run, %error, "the run cannot be held");
                Some(Stop::Held)
            }
        }
    }
}
