//! What a function tells while it works: how far it is, events, and pieces of what is on its way. Nothing of it
//! is ever delivered to the function.

use trackway_replay::{AttemptEmitted, Decision, Kind};

use super::{Attempt, AttemptInner, AttemptStop, FunctionHost, Job};
use crate::sandbox::Stop;
use crate::worker::check;
use crate::worker::deltas::Delta;
use crate::worker::emit;
use crate::worker::progress::Told;

impl FunctionHost {
    pub(super) fn progress(&self, text: &str) -> Result<(), Stop> {
        let mut inner = self.attempt.lock();
        if let Err(failure) = check::progress(text) {
            return Err(inner.stopped(AttemptStop::Failed(failure)));
        }
        let now = self.attempt.run.core.clock.elapsed();
        inner.telling.beat = now;
        // What was said before a recorded effect stands in the journal before it.
        if !inner.machine.has_caught_up() {
            return Ok(());
        }
        match inner.telling.tell(text, now) {
            Told::Now => self.attempt.tell_with(&mut inner),
            Told::Waits(after) => inner.send(Job::Tell { after }),
            Told::AlongWithOthers => {}
        }
        Ok(())
    }

    pub(super) fn emit(&self, event: &str, data: &str, at: Option<&str>, fuel: u64) -> Result<(), Stop> {
        let mut inner = self.attempt.lock();
        self.check_room(&mut inner)?;
        let failed = |inner: &mut AttemptInner, failure| inner.stopped(AttemptStop::Failed(failure));
        let produced = emit::produced(event, data, at).map_err(|failure| failed(&mut inner, failure))?;
        let at = produced.at.clone();
        let proof = match inner.machine.emit(produced, fuel) {
            Decision::Recall { .. } | Decision::Resume { .. } | Decision::Ignore => return Ok(()),
            Decision::Perform { proof, .. } => proof,
            Decision::Diverged(divergence) => {
                return Err(inner.stopped(AttemptStop::NotResumable(divergence.to_string())));
            }
        };
        let Attempt { run, step, number, .. } = &*self.attempt;
        let mut journal = run.lock();
        if !journal.is_live(*step, *number) || run.core.is_draining() {
            return Err(inner.stopped(AttemptStop::Gone));
        }
        let (step, attempt, data) = (*step, *number, emit::data(data));
        let emitted = AttemptEmitted { step, attempt, name: event.into(), data, proof, at };
        journal.sequence(run.now(), Kind::AttemptEmitted(emitted));
        run.poke.notify_one();
        Ok(())
    }

    /// Told anew by an instance that recalls its attempt: those who follow the run are told that it does.
    pub(super) fn delta(&self, event: &str, data: &str) -> Result<(), Stop> {
        let mut inner = self.attempt.lock();
        if let Err(failure) = emit::delta(event, data) {
            return Err(inner.stopped(AttemptStop::Failed(failure)));
        }
        let Some(number) = inner.delta_room.take(event, data) else { return Ok(()) };
        let Attempt { run, step, number: attempt, .. } = &*self.attempt;
        let journal = run.lock();
        if !journal.is_live(*step, *attempt) {
            return Err(inner.stopped(AttemptStop::Gone));
        }
        let (step, attempt, cause) = (*step, *attempt, journal.end());
        // While it is locked, so that places and causes have one order.
        run.core.deltas.tell(run.key, Delta { step, attempt, number, cause, name: event.into(), data: data.into() });
        Ok(())
    }
}
