//! The moments at which a run goes on by itself: timers of steps, deadlines of calls, the end of a cancel's
//! grace. It never waits for one.

use std::time::Duration;
use trackway_replay::{Entry, StepId, Timestamp};

use super::Inner;

impl Inner {
    pub fn remove_timer(&mut self, step: StepId) {
        let resting = self.resting.remove(&step).flatten();
        if let Some(due) = resting.or_else(|| self.state.step(step)?.due()) {
            self.timers.remove(&(due, step));
        }
    }

    /// The earliest timer or deadline; but for those of questions, if they are `held`.
    pub fn first_timer(&self, held: bool) -> Option<(Timestamp, StepId)> {
        let timer = self.timers.iter().find(|(_, step)| !held || !self.state.awaits_an_answer(*step)).copied();
        let expiry = self.expiries.first().copied().filter(|_| !held);
        [self.deadlines.first().copied(), expiry, timer].into_iter().flatten().min()
    }

    /// When the step of an entry fails by itself.
    pub(super) fn deadline_of(&self, entry: &Entry) -> Option<(Timestamp, StepId)> {
        let step = entry.kind.step()?;
        Some((self.state.step(step)?.deadline()?, step))
    }

    pub(super) fn move_deadline(&mut self, before: Option<(Timestamp, StepId)>, after: Option<(Timestamp, StepId)>) {
        if before != after {
            before.inspect(|before| _ = self.deadlines.remove(before));
            self.deadlines.extend(after);
        }
    }

    /// When the first question of the attempt that the step of an entry is at is too late.
    pub(super) fn expiry_of(&self, entry: &Entry) -> Option<(Timestamp, StepId)> {
        let step = entry.kind.step()?;
        Some((self.attempt_state(step)?.question_due()?, step))
    }

    pub(super) fn move_expiry(&mut self, before: Option<(Timestamp, StepId)>, after: Option<(Timestamp, StepId)>) {
        if before != after {
            before.inspect(|before| _ = self.expiries.remove(before));
            self.expiries.extend(after);
        }
    }

    /// The earliest moment at which the run goes on by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        let timer = self.first_timer(false).map(|(due, _)| due);
        let attempt = self.attempts.values().filter_map(|live| live.idle.until()).min();
        let grace = self.cancel_deadline();
        let offer = self.state.offer_due().map(|(due, _)| due);
        [timer, offer, attempt, grace, self.state.deadline()].into_iter().flatten().min()
    }

    /// When a run that was asked to cancel is ended by the host.
    pub fn cancel_deadline(&self) -> Option<Timestamp> {
        let grace = self.state.grace().map_or(self.cancel_grace, |set| Duration::from_millis(set.grace_ms));
        self.state.cancel().map(|cancel| cancel.received + grace)
    }
}
