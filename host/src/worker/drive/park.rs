//! When a run has nothing to do for now, or the worker is to let go of it.

use std::time::Duration;
use trackway_replay::{End as RunEnd, Failure, Timestamp, code};
use trackway_storage::Owner;

use super::{Driver, Stop};
use crate::worker::reach::in_reach;
use crate::worker::run::{Inner, Stopping};
use crate::worker::write;

/// A shorter wait is not worth a park: the run stays in hand.
const PARK_MIN: Duration = Duration::from_millis(5);

impl Driver {
    /// Whether the run is to be given back, or has nothing to do for now.
    pub(super) async fn drained_or_idle(&mut self) -> Option<Stop> {
        let run = self.active.run.clone();
        let now = run.now();
        let overdue = {
            let inner = run.lock();
            let is_over = inner.cancel_deadline().is_some_and(|deadline| deadline <= now);
            inner.state.cancel().filter(|_| is_over).map(|cancel| cancel.reason.clone())
        };
        if let Some(reason) = overdue {
            tracing::info!(run = %run.key.run, "the run did not end after its cancel; the host ends it");
            return Some(self.finish(RunEnd::Cancelled { reason }, None).await);
        }
        let is_late = run.lock().state.deadline().is_some_and(|deadline| deadline <= now);
        if is_late {
            let failure =
                Failure::permanent(code::TIMEOUT, "the run took longer than its timeout, so the host ended it");
            return Some(self.finish(RunEnd::Failed(failure.to_value()), None).await);
        }
        let (is_drained, due) = {
            let mut inner = run.lock();
            let drain_until = inner.drain_until;
            let is_over = |until: Timestamp| inner.effects_in_flight == 0 || until <= now;
            let is_moving = inner.moving.is_some_and(is_over);
            let is_drained = is_moving
                || run.core.is_draining() && (inner.effects_in_flight == 0 || drain_until.is_some_and(is_over));
            if is_drained {
                // From here on nothing is written for them; a resume goes on where they are.
                inner.attempts.values().for_each(|live| live.abort.abort());
                inner.attempts.clear();
                inner.stop = Some(Stopping::Gone);
                inner.recall_survived = true;
            }
            (is_drained, may_park(&inner, now))
        };
        if is_drained {
            let stop = self.write_all(Owner::Keep).await;
            return Some(match stop {
                Some(stop) => stop,
                None => self.release().await,
            });
        }
        match due {
            Park::No => None,
            Park::Until(due) => self.park(due).await,
        }
    }

    pub(super) async fn park(&mut self, due: Option<Timestamp>) -> Option<Stop> {
        let run = self.active.run.clone();
        {
            // They wait for nothing but time; a resume recalls them when it has come.
            let mut inner = run.lock();
            let idle: Vec<_> = inner.attempts.keys().copied().collect();
            idle.into_iter().for_each(|step| inner.rest(step));
            inner.recall_survived = true;
        }
        let (is_pending, is_paused) = {
            let inner = run.lock();
            (inner.sequencer.has_pending(), inner.state.is_paused())
        };
        let parked = if is_paused { Stop::Laid } else { Stop::Parked };
        if is_pending {
            return Some(self.write_all(Owner::Park { due }).await.unwrap_or(parked));
        }
        loop {
            if self.writing.is_none() && !self.lines_refused {
                self.writing = write::begin_lines(&run, &run.lock());
            }
            if self.writing.is_none() {
                break;
            }
            if let Some(stop) = self.write_all(Owner::Park { due }).await {
                return Some(stop);
            }
        }
        match in_reach(&run.core, run.key.run, || run.core.storage.park(run.key, due, None)).await {
            Ok(()) => Some(parked),
            Err(error) => {
                tracing::warn!(run = %run.key.run, %error, "the run cannot be parked");
                Some(self.release().await)
            }
        }
    }

    pub(super) async fn release(&mut self) -> Stop {
        let run = &self.active.run;
        if let Err(error) = in_reach(&run.core, run.key.run, || run.core.storage.release(run.key)).await {
            tracing::warn!(run = %run.key.run, %error, "the run cannot be given back");
            return Stop::Held;
        }
        Stop::Released
    }
}

enum Park {
    No,
    Until(Option<Timestamp>),
}

/// Whether nothing can happen in the run before a timer, an inbox item or a retry.
fn may_park(inner: &Inner, now: Timestamp) -> Park {
    let attempts_idle = inner.attempts.values().all(|live| live.idle.lasts_beyond(now + PARK_MIN));
    if inner.state.is_paused() {
        // Whatever is due waits until somebody resumes it; what is under way comes to its end first.
        return if attempts_idle && !inner.knocked && inner.starting.is_empty() { Park::Until(None) } else { Park::No };
    }
    let is_starting = !inner.starting.is_empty();
    let is_waiting =
        inner.taken_up && !is_starting && inner.guest.is_some() && inner.machine.would_wait() && !inner.knocked;
    if !is_waiting || !attempts_idle {
        return Park::No;
    }
    match inner.next_due() {
        Some(due) if due <= now + PARK_MIN => Park::No,
        due => Park::Until(due),
    }
}
