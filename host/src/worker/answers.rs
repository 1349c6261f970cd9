//! Answers of people that are on their way into an inbox. A question is not given up while one is: an answer
//! that came in time counts, also where it becomes durable a moment after the time is over. It never looks at one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use trackway_storage::RunKey;

/// How many are on their way to each run.
#[derive(Default)]
pub(super) struct Answers(Mutex<BTreeMap<RunKey, u32>>);

impl Answers {
    pub fn begin(&self, run: RunKey) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_default() += 1;
    }

    pub fn end(&self, run: RunKey) {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&run) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&run);
            }
        }
    }

    pub fn are_under_way(&self, run: RunKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&run)
    }
}
