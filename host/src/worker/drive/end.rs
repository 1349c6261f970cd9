//! How a run ends: by its workflow, by the host, or not at all because it is stuck.

use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    CancelTaken, Continued, Digest, End as RunEnd, Failure, Fingerprint, Finished, Head, Kind, Position, SpendingTaken,
    Status, Timestamp, Value, code,
};
use trackway_storage::Owner;

use super::wake::{Ends, asks_to_cancel, receive};
use super::{Driver, Stop};
use crate::sandbox::{End, Ended};
use crate::worker::check;
use crate::worker::child;
use crate::worker::code::code_of;
use crate::worker::reach::in_reach;
use crate::worker::run::{Inner, Run, Stopping};
use crate::{Code, Error};

/// Between two tries to tell other runs of the end, where storage takes nothing.
const CHILDREN_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Long enough for other runs to end, short beside what a person would wait.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Driver {
    pub(super) async fn guest_ended(&mut self, end: End) -> Option<Stop> {
        let run = self.active.run.clone();
        let result = match end.how {
            Ended::Returned(_) if run.lock().goes_on.is_some() => Ok(String::new()),
            Ended::Returned(Ok(output)) => {
                check::value(&output, &run.started.limits, code::BAD_OUTPUT).map(|()| output)
            }
            Ended::Returned(Err(failure)) => Err(Failure::from_guest(&failure)),
            Ended::Trapped(failure) => match trouble_of(&run, &failure) {
                Some(error) => return Some(self.stuck(error).await),
                None => self.fails(failure),
            },
            Ended::HostFailed(error) if error.code == Code::Overloaded => {
                tracing::warn!(run = %run.key.run, %error, "the run is given back until there is room");
                run.core.clock.sleep_until(run.now() + ROOM_AGAIN_AFTER).await;
                return Some(self.release().await);
            }
            Ended::HostFailed(error) => return Some(self.stuck(error).await),
            Ended::Stopped => {
                let stop = run.lock().stop.take();
                match stop {
                    Some(Stopping::Diverged(divergence)) => {
                        return Some(self.stuck(Error::new(Code::Diverged, divergence.to_string())).await);
                    }
                    Some(Stopping::Unreadable(error)) => return Some(self.stuck(error).await),
                    Some(Stopping::GuestFailed(failure)) => self.fails(failure),
                    Some(Stopping::Gone) | None => return Some(Stop::Gone),
                }
            }
        };
        Some(self.returned(result, end.fuel).await)
    }

    /// The workflow has come to its end, by itself.
    pub(super) async fn returned(&mut self, result: Result<String, Failure>, fuel: u64) -> Stop {
        let run = self.active.run.clone();
        let ended = {
            let mut inner = run.lock();
            if inner.goes_on.is_some() && inner.machine.has_caught_up() {
                inner.take_all_offers(run.now());
            }
            match inner.machine.end(fuel) {
                Err(divergence) => Err(Error::new(Code::Diverged, divergence.to_string())),
                Ok(fingerprint) => Ok(match next_of(&mut inner) {
                    Some(Ok(next)) => (Ok(next), fingerprint),
                    Some(Err(failure)) => (Err(end_of(&mut inner, Err(failure))), fingerprint),
                    None => (Err(end_of(&mut inner, result)), fingerprint),
                }),
            }
        };
        match ended {
            Ok((Ok(next), fingerprint)) => self.go_on(next, fingerprint).await,
            Ok((Err(end), fingerprint)) => self.finish(end, Some(fingerprint)).await,
            Err(error) => self.stuck(error).await,
        }
    }

    /// A workflow that traps, or is stopped by an import, has not come to where it would go on.
    fn fails(&self, failure: Failure) -> Result<String, Failure> {
        self.active.run.lock().goes_on = None;
        Err(failure)
    }

    pub(super) async fn finish(&mut self, end: RunEnd, fingerprint: Option<Fingerprint>) -> Stop {
        let run = self.active.run.clone();
        if let Some(stop) = self.let_children_go().await {
            return stop;
        }
        {
            let mut inner = run.lock();
            inner.abandon_all(run.now());
            // An end that the guest came to by itself says so.
            if fingerprint.is_none() {
                inner.note_own_fuel(run.now());
            }
            // What nobody read is named when the frame is written: until then more may come.
            inner.sequence(run.now(), Kind::Finished(Finished { end, fingerprint, unread: Vec::new() }));
            // Nor does its workflow, which may be computing on another thread at this moment.
            inner.stop = Some(Stopping::Gone);
        }
        self.write_all(Owner::End).await.unwrap_or(Stop::Ended)
    }

    /// The workflow begins anew, in the same run: whoever takes it up next recalls nothing from before.
    async fn go_on(&mut self, next: Next, fingerprint: Fingerprint) -> Stop {
        let run = self.active.run.clone();
        if let Some(stop) = self.let_children_go().await {
            return stop;
        }
        let deployment = run.lock().state.deployment().clone();
        let component = newest_code(&run, &deployment).await;
        // So that the head goes with one frame that holds all.
        if let Some(stop) = self.write_all(Owner::Keep).await {
            return stop;
        }
        {
            let mut inner = run.lock();
            inner.abandon_all(run.now());
            // The places of the mail stand in the same entry.
            let input = inner.value(&next.input, Value::EFFECT_INLINE_MAX_BYTES);
            let state = &inner.state;
            let cancel =
                state.cancel().map(|cancel| CancelTaken { received: cancel.received, reason: cancel.reason.clone() });
            let continued = Continued {
                input,
                fingerprint,
                seed: state.next_seed(fingerprint.commands),
                steps: state.asked(),
                mail: next.mail,
                cancel,
                deployment: state.deployment().clone(),
                component,
                began: state.began(),
                deadline: state.deadline(),
                child_of: state.child_of().cloned(),
                published: inner.machine.published(),
            };
            let (grace, spending) = (state.grace().cloned(), state.spending());
            inner.head_written = None;
            inner.sequence(run.now(), Kind::Continued(Box::new(continued)));
            // What comes before is read no more.
            if !spending.is_nothing() {
                inner.sequence(run.now(), Kind::SpendingTaken(SpendingTaken { spending }));
            }
            grace.into_iter().for_each(|grace| _ = inner.sequence(run.now(), Kind::GraceSet(grace)));
            inner.stop = Some(Stopping::Gone);
        }
        match self.write_all(Owner::Keep).await {
            Some(stop) => stop,
            None => self.release().await,
        }
    }

    /// Before the end: every run that is being started stands or does not, and what nobody waits for
    /// any more is cancelled.
    async fn let_children_go(&mut self) -> Option<Stop> {
        let run = self.active.run.clone();
        run.lock().ending = true;
        while !run.lock().starting.is_empty() {
            if let Some(stop) = self.write_all(Owner::Keep).await {
                return Some(stop);
            }
            if !run.lock().starting.is_empty() {
                run.poke.notified().await;
            }
        }
        let children = child::waited_for(&run.lock().state);
        while let Err(error) = child::let_go(&run.core, run.key, &children, run.now()).await {
            tracing::warn!(run = %run.key.run, %error, "the run cannot end yet");
            if run.core.drain_until().is_some_and(|until| until <= run.now()) {
                return Some(Stop::Gone);
            }
            run.core.clock.sleep_until(run.now() + CHILDREN_AGAIN_AFTER).await;
        }
        None
    }

    /// Ends the run if somebody asked to end it at once.
    pub(super) async fn terminated(&mut self) -> Option<Stop> {
        let reason = self.active.run.lock().terminate.take()?;
        Some(self.finish(RunEnd::Terminated { reason }, None).await)
    }

    /// A stuck run can be ended as it is, by a terminate or a cancel: its guest is not asked.
    async fn asked_to_end(&mut self) -> Option<RunEnd> {
        let run = self.active.run.clone();
        let items = in_reach(&run.core, run.key.run, || run.core.storage.inbox(run.key)).await.ok()?;
        let mut inner = run.lock();
        if inner.state.cancel().is_none() && !items.iter().any(asks_to_cancel) {
            return None;
        }
        items.into_iter().for_each(|item| receive(&mut inner, run.now(), item, &mut Ends::new()));
        if let Some(reason) = inner.terminate.take() {
            return Some(RunEnd::Terminated { reason });
        }
        inner.state.cancel().map(|cancel| RunEnd::Cancelled { reason: cancel.reason.clone() })
    }

    /// Keeps the run as it is for somebody to look at: nothing is appended.
    pub(super) async fn stuck(&mut self, error: Error) -> Stop {
        let run = &self.active.run;
        tracing::error!(run = %run.key.run, %error, "the run is stuck");
        if let Some(end) = self.asked_to_end().await {
            return self.finish(end, None).await;
        }
        let run = &self.active.run;
        let head = stuck_head(run.lock().state.head(), run.now(), &error);
        self.writing = None;
        match in_reach(&run.core, run.key.run, || run.core.storage.park(run.key, None, Some(head.clone()))).await {
            Ok(()) => Stop::Ended,
            Err(error) => {
                tracing::error!(run = %run.key.run, %error, "the run cannot be marked as stuck");
                Stop::Held
            }
        }
    }
}

/// A trap while the workflow does again what is on record is never the run's end.
fn trouble_of(run: &Run, failure: &Failure) -> Option<Error> {
    let inner = run.lock();
    let ran_past = if failure.code == code::OUT_OF_FUEL { inner.machine.ran_past_record() } else { None };
    match ran_past {
        Some(divergence) => Some(Error::new(Code::Diverged, divergence.to_string())),
        None if !inner.machine.has_caught_up() => Some(Error::new(Code::RecallTrapped, failure.to_string())),
        None => None,
    }
}

pub(in crate::worker) fn stuck_head(head: Head, now: Timestamp, error: &Error) -> Head {
    Head {
        status: Status::Stuck,
        waiting: None,
        due: None,
        changed: now,
        code: Some(error.code.text().into()),
        message: Some(error.message.clone().into()),
        ..head
    }
}

/// With what a run goes on whose workflow has returned.
struct Next {
    input: Arc<str>,
    mail: Vec<Position>,
}

/// What the run goes on with, if it does, or why it cannot.
fn next_of(inner: &mut Inner) -> Option<Result<Next, Failure>> {
    let goes_on = inner.goes_on.take()?;
    Some(goes_on.mail(&inner.machine).map(|mail| Next { input: goes_on.input, mail }))
}

/// What the deployment of a run points to now, if that has its workflow: nothing on record binds a workflow
/// that begins anew.
async fn newest_code(run: &Run, deployment: &str) -> Digest {
    let (core, mine) = (&run.core, run.code.digest());
    let newest = match core.storage.deployment(run.key.tenant, deployment).await {
        Ok(Some(found)) => found.versions.iter().find(|it| it.version == found.current).map(|it| it.component),
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(run = %run.key.run, %error, "the run goes on with the code that it has");
            None
        }
    };
    let Some(newest) = newest.filter(|newest| *newest != mine) else { return mine };
    match code_of(core, run.key.tenant, newest).await {
        Ok(code) if code.manifest().workflow(&run.started.workflow).is_some() => newest,
        Ok(_) => mine,
        Err(error) => {
            tracing::warn!(run = %run.key.run, %error, "the run goes on with the code that it has");
            mine
        }
    }
}

/// How the run ends, from what its workflow returned. A workflow that gives its cancel back ends
/// as cancelled.
fn end_of(inner: &mut Inner, result: Result<String, Failure>) -> RunEnd {
    match result {
        Ok(output) => RunEnd::Succeeded(inner.value(&output, Value::INLINE_MAX_BYTES)),
        Err(failure) if failure.code == code::CANCELLED && inner.machine.cancel_was_delivered() => {
            let reason = inner.state.cancel().map(|cancel| cancel.reason.clone()).unwrap_or_default();
            RunEnd::Cancelled { reason }
        }
        Err(failure) => RunEnd::Failed(failure.to_value()),
    }
}
