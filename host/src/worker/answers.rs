//! Answers of people: those that are on their way into an inbox, and how one reaches the attempt that asked. A
//! question is not given up while one is on its way: an answer that came in time counts, also where it becomes durable
//! a moment after the time is over. It never says whether an answer fits.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use trackway_replay::{EffectSettled, Failure, Kind, Outcome, StepId, Timestamp, code};
use trackway_storage::RunKey;

use super::run::{Idle, Inner, SettledEffect};

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

/// Journals what became of a question that an attempt asks, and lets the attempt have it: its machine where it is
/// in hand, else it is to be taken up again.
pub(super) fn settle(inner: &mut Inner, now: Timestamp, settled: EffectSettled) {
    let EffectSettled { step, attempt, effect, ref outcome, .. } = settled;
    let outcome = outcome.clone();
    let (position, time) = inner.sequence(now, Kind::EffectSettled(settled));
    match inner.attempts.get_mut(&step).filter(|live| live.attempt == attempt) {
        Some(live) => {
            live.settled.push(SettledEffect { effect, position, time, outcome });
            live.idle = Idle::No;
            live.poke.notify_one();
        }
        None => {
            inner.rouse(step);
            inner.retried.push(step);
        }
    }
}

/// Nobody answered the questions of the step's attempt that were to be answered by `due`.
pub(super) fn expire(inner: &mut Inner, now: Timestamp, due: Timestamp, step: StepId) {
    for question in inner.state.questions_over(step, due) {
        let Some(effect) = question.name.effect else { continue };
        let outcome = Outcome::Failed(Failure::permanent(code::EXPIRED, "nobody answered in time").to_value());
        let attempt = question.attempt;
        settle(inner, now, EffectSettled { step, attempt, effect, request: None, outcome, by: None });
    }
}
