//! A run on its way to its first frame. It takes a place among the runs of its tenant until that frame is counted, so
//! several that start at once are not more than there is room for. It never outlives whoever starts the run.

use std::sync::Arc;
use trackway_replay::{Day, Used};

use super::{Crossing, Quota, TenantLimits};

#[derive(Debug)]
pub struct Starting {
    limits: Arc<TenantLimits>,
    is_counted: bool,
}

impl Starting {
    pub(super) fn begin(limits: &Arc<TenantLimits>) -> Result<Starting, Crossing> {
        let limit = limits.get(Quota::Runs);
        match limits.ledger().begin_start(limit) {
            Ok(()) => Ok(Starting { limits: Arc::clone(limits), is_counted: false }),
            Err(used) => Err(Crossing { quota: Quota::Runs, limit, used, more: 0, again_after: None }),
        }
    }

    pub fn limits(&self) -> &Arc<TenantLimits> {
        &self.limits
    }

    /// The first frame is about to be written, and used so much. From here on the run is counted like any other.
    pub fn counted(mut self, day: Day, used: &Used) {
        self.limits.ledger().end_start(day, used);
        self.is_counted = true;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.is_counted {
            self.limits.ledger().end_start(Day::default(), &Used::default());
        }
    }
}
