//! One activation of a run, in one task: polls the workflow, writes frames, fires timers, reads the
//! inbox, and parks or ends the run.

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use trackway_replay::{
    CancelReceived, Claimed, End as RunEnd, Failure, Finished, Head, Kind, LINGER, MessageId, Outcome, Phase, Status,
    StepId, Timestamp, Value, code,
};
use trackway_storage::{InboxBody, InboxItem, Owner, StartKey};

use super::attempt::{self, OnRecord};
use super::check;
use super::claim;
use super::registry::Parked;
use super::run::{Durable, Inner, Run, Stopping, cancelled};
use super::workflow::WorkflowHost;
use super::write::{self, Writing, Written};
use crate::sandbox::{End, Ended, GuestCall, Role};
use crate::{Code, Error};

/// From the cancel's entry to the moment at which the host ends the run by itself.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(30);
/// Enough for a person's words; an entry has to fit into a frame.
const REASON_MAX_BYTES: usize = 4 << 10;
/// A shorter wait is not worth a park: the run stays in hand.
const PARK_MIN: Duration = Duration::from_millis(5);

/// A run with its instance, driven or warm.
pub(super) struct Active {
    pub run: Arc<Run>,
    guest: Option<BoxFuture<'static, End>>,
    /// Tells whoever started the run how its first frame fared.
    ack: Option<oneshot::Sender<Result<(), StartTrouble>>>,
    /// Room among the runs in hand.
    _room: OwnedSemaphorePermit,
}

pub(super) enum StartTrouble {
    KeyTaken(StartKey),
    Failed(Error),
}

/// How an activation came to its end.
enum Stop {
    Parked,
    Ended,
    /// Not this worker's any more, or given back; nothing was left undone that was acknowledged.
    Gone,
    /// Given back without having been recalled to the end: ready for anybody.
    Released,
    /// Out of reach until somebody looks after it.
    Held,
}

/// What the driver waits for; the first two are the ways out.
enum Event {
    Wrote(Written),
    GuestEnded(End),
    Poked,
    Due,
}

impl Active {
    pub fn new(
        run: Arc<Run>,
        room: OwnedSemaphorePermit,
        ack: Option<oneshot::Sender<Result<(), StartTrouble>>>,
    ) -> Active {
        let started = &run.started;
        let context = serde_json::json!({
            "run": run.key.run,
            "workflow": started.workflow,
            "deployment": started.deployment,
        });
        let (name, input, limits) = (started.workflow.clone(), started.input.clone(), started.limits.clone());
        let guest: BoxFuture<'static, End> = {
            let run = run.clone();
            Box::pin(async move {
                let input = match run.text(&input).await {
                    Ok(input) => input,
                    Err(error) => return End { how: Ended::HostFailed(error), fuel: 0 },
                };
                let fuel = run.lock().machine.allowance(0);
                let call =
                    GuestCall { role: Role::Workflow, name, input, context: context.to_string().into(), limits, fuel };
                let code = run.code.clone();
                code.call(call, Box::new(WorkflowHost::new(run))).await
            })
        };
        Active { run, guest: Some(guest), ack, _room: room }
    }

    /// Journals that this worker owns the run now. What is open on record is taken up anew.
    pub fn claimed(&self) {
        let run = &self.run;
        let mut inner = run.lock();
        inner.moved_on = false;
        inner.taken_up = false;
        inner.knocked = true;
        let claimed = Claimed {
            worker: run.core.options.name.clone(),
            engine: run.core.sandbox.engine_name().clone(),
            component: run.code.digest(),
        };
        inner.sequence(run.now(), Kind::Claimed(claimed));
    }
}

impl Drop for Active {
    /// The end of an activation or an eviction: the attempts' tasks must not outlive it.
    fn drop(&mut self) {
        let mut inner = self.run.lock();
        if inner.stop.is_none() {
            inner.stop = Some(Stopping::Gone);
        }
        for live in std::mem::take(&mut inner.attempts).into_values() {
            live.abort.abort();
        }
        for (_, abort) in std::mem::take(&mut inner.aborts) {
            abort.abort();
        }
        drop(inner);
        self.run.set_durable(Durable::Never);
    }
}

/// Drives a run that is claimed until it is parked, ended or gone.
pub(super) async fn drive(active: Box<Active>) {
    let run = active.run.clone();
    let core = run.core.clone();
    core.registry.driving(&run);
    let mut active = active;
    loop {
        let (stop, back) = Driver { active, writing: None }.activation().await;
        active = back;
        match stop {
            Stop::Parked => match core.registry.parked(active, core.clock.now()) {
                Parked::ClaimedAgain(again) => {
                    again.claimed();
                    active = again;
                    continue;
                }
                Parked::Done => {}
            },
            Stop::Held => {
                drop(active);
                core.registry.hold(run.key);
            }
            Stop::Ended | Stop::Gone | Stop::Released => {
                drop(active);
                if core.registry.gone(run.key) {
                    claim::take(&core, run.key);
                }
            }
        }
        core.nudge.notify_one();
        return;
    }
}

struct Driver {
    active: Box<Active>,
    writing: Option<Writing>,
}

impl Driver {
    async fn activation(mut self) -> (Stop, Box<Active>) {
        loop {
            if let Some(stop) = self.stopped() {
                return (stop, self.active);
            }
            self.take_up();
            self.read_inbox_and_timers().await;
            if let Some(stop) = self.drained_or_idle().await {
                return (stop, self.active);
            }
            self.write_if_due();
            match self.event().await {
                Event::Wrote(written) => {
                    self.writing = None;
                    if let Some(stop) = self.wrote(written) {
                        return (stop, self.active);
                    }
                }
                Event::GuestEnded(end) => {
                    self.active.guest = None;
                    if let Some(stop) = self.guest_ended(end).await {
                        return (stop, self.active);
                    }
                }
                Event::Poked | Event::Due => {}
            }
        }
    }

    async fn event(&mut self) -> Event {
        let run = self.active.run.clone();
        let wake_at = self.wake_at();
        let is_draining = run.core.is_draining();
        let timer = async {
            match wake_at {
                Some(at) => run.core.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            written = poll_some(&mut self.writing) => Event::Wrote(written),
            end = poll_some(&mut self.active.guest), if !is_draining => Event::GuestEnded(end),
            () = run.poke.notified() => Event::Poked,
            () = timer => Event::Due,
        }
    }

    /// The next moment at which the driver has something to do by itself.
    fn wake_at(&self) -> Option<Timestamp> {
        let inner = self.active.run.lock();
        let is_pending = self.writing.is_none() && inner.sequencer.has_pending() && has_news(&inner);
        let linger = is_pending.then(|| inner.pending_since + LINGER);
        let timer = if inner.taken_up { inner.timers.first().map(|(due, _)| *due) } else { None };
        [linger, timer, inner.cancel_deadline(), inner.drain_until].into_iter().flatten().min()
    }

    fn write_if_due(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let run = self.active.run.clone();
        let mut inner = run.lock();
        let is_forced = inner.forced > run.durable_position();
        let is_late = || run.now() >= inner.pending_since + LINGER;
        if inner.sequencer.has_pending() && (is_forced || (has_news(&inner) && is_late())) {
            self.writing = write::begin(&run, &mut inner, Owner::Keep);
        }
    }

    fn wrote(&mut self, written: Written) -> Option<Stop> {
        let run = self.active.run.clone();
        match written {
            Written::UpTo(position) => {
                run.set_durable(Durable::UpTo(position));
                if let Some(ack) = self.active.ack.take() {
                    // Whoever asked may have gone away; the run goes on.
                    let _ = ack.send(Ok(()));
                }
                let mut inner = run.lock();
                let (due, rest) =
                    std::mem::take(&mut inner.aborts).into_iter().partition(|(cause, _)| *cause < position);
                inner.aborts = rest;
                inner.wake_guest();
                inner.waiting_for_room.drain(..).for_each(std::task::Waker::wake);
                drop(inner);
                let due: Vec<_> = due;
                due.into_iter().for_each(|(_, abort)| abort.abort());
                None
            }
            Written::Fenced => {
                tracing::warn!(run = %run.key.run, "another owner wrote to the run; this worker lets go of it");
                Some(Stop::Gone)
            }
            Written::KeyTaken(key) => {
                if let Some(ack) = self.active.ack.take() {
                    let _ = ack.send(Err(StartTrouble::KeyTaken(key)));
                }
                Some(Stop::Gone)
            }
            Written::Refused(error) => {
                if let Some(ack) = self.active.ack.take() {
                    let _ = ack.send(Err(StartTrouble::Failed(error.into())));
                }
                Some(Stop::Gone)
            }
        }
    }

    /// Carries what is pending to storage; the last frame does `owner` to the run.
    async fn write_all(&mut self, owner: Owner) -> Option<Stop> {
        loop {
            if self.writing.is_none() {
                let run = self.active.run.clone();
                let mut inner = run.lock();
                self.writing = write::begin(&run, &mut inner, owner);
            }
            let Some(writing) = &mut self.writing else { return None };
            let written = writing.await;
            self.writing = None;
            if let Some(stop) = self.wrote(written) {
                return Some(stop);
            }
            if !self.active.run.lock().sequencer.has_pending() {
                return None;
            }
        }
    }

    /// Takes up what is open on record, once the workflow has done all that is on record.
    fn take_up(&mut self) {
        let run = self.active.run.clone();
        let mut inner = run.lock();
        if inner.taken_up || !inner.machine.has_caught_up() || run.core.is_draining() {
            return;
        }
        inner.taken_up = true;
        let clock = run.now();
        let open: Vec<StepId> = inner.state.steps().keys().copied().collect();
        for step in open {
            if let Some(failure) = inner.refused.remove(&step) {
                inner.answer_failed(clock, step, &failure);
                continue;
            }
            let Some(state) = inner.state.step(step) else { continue };
            if state.cancel_asked {
                inner.remove_timer(step);
                inner.answer_failed(clock, step, &cancelled("the workflow cancelled this step"));
                continue;
            }
            match &state.phase {
                Phase::Sleeping { due } | Phase::Retrying { next_at: due, .. } => {
                    let due = *due;
                    inner.timers.insert((due, step));
                }
                Phase::Waiting if !inner.attempts.contains_key(&step) => {
                    attempt::launch(&run, &mut inner, step, 1, None);
                }
                Phase::Attempting(on_record) if !inner.attempts.contains_key(&step) => {
                    let number = on_record.attempt;
                    let on_record = OnRecord { started: on_record.started, effects: on_record.effects.clone() };
                    attempt::launch(&run, &mut inner, step, number, Some(on_record));
                }
                Phase::Waiting | Phase::Attempting(_) => {}
            }
        }
    }

    /// Copies the inbox into the journal and answers what is due, both in the order of their times;
    /// on a tie the inbox comes first.
    async fn read_inbox_and_timers(&mut self) {
        let run = self.active.run.clone();
        let now = run.now();
        let (knocked, is_due) = {
            let mut inner = run.lock();
            // Nothing is appended before the workflow has done all that is on record.
            if !inner.taken_up {
                return;
            }
            let is_due = inner.timers.first().is_some_and(|(due, _)| *due <= now);
            (std::mem::take(&mut inner.knocked), is_due)
        };
        if !knocked && !is_due {
            return;
        }
        // Read anew before each timer, so that what came in time counts as in time.
        let items = match run.core.storage.inbox(run.key).await {
            Ok(items) => items,
            Err(error) => {
                tracing::warn!(run = %run.key.run, %error, "the inbox cannot be read; it is tried again");
                run.lock().knocked = true;
                return;
            }
        };
        let mut inner = run.lock();
        let unseen: Vec<InboxItem> = items.into_iter().filter(|item| !inner.seen.contains(&item.message)).collect();
        let mut items = unseen.into_iter().peekable();
        loop {
            let due = inner.timers.first().copied().filter(|(due, _)| *due <= now);
            let is_inbox_first = |item: &InboxItem| due.is_none_or(|(due, _)| item.arrived <= due);
            if let Some(item) = items.next_if(is_inbox_first) {
                receive(&mut inner, now, item);
            } else if let Some((due, step)) = due {
                inner.timers.remove(&(due, step));
                fire(&run, &mut inner, now.max(due), step);
            } else {
                break;
            }
        }
    }

    /// Whether the run is to be given back, or has nothing to do for now.
    async fn drained_or_idle(&mut self) -> Option<Stop> {
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
        let (is_drained, due) = {
            let mut inner = run.lock();
            let drain_until = inner.drain_until;
            let is_drained = run.core.is_draining()
                && (inner.effects_in_flight == 0 || drain_until.is_some_and(|until| until <= now));
            if is_drained {
                // From here on nothing is written for them; a resume goes on where they are.
                inner.attempts.values().for_each(|live| live.abort.abort());
                inner.attempts.clear();
                inner.stop = Some(Stopping::Gone);
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

    async fn park(&mut self, due: Option<Timestamp>) -> Option<Stop> {
        let run = self.active.run.clone();
        {
            // They wait for nothing but time; a resume recalls them when it has come.
            let mut inner = run.lock();
            std::mem::take(&mut inner.attempts).into_values().for_each(|live| live.abort.abort());
        }
        let is_pending = run.lock().sequencer.has_pending();
        if is_pending {
            return Some(self.write_all(Owner::Park { due }).await.unwrap_or(Stop::Parked));
        }
        if self.writing.is_some()
            && let Some(stop) = self.write_all(Owner::Park { due }).await
        {
            return Some(stop);
        }
        match run.core.storage.park(run.key, due, None).await {
            Ok(()) => Some(Stop::Parked),
            Err(error) => {
                tracing::warn!(run = %run.key.run, %error, "the run cannot be parked");
                Some(self.release().await)
            }
        }
    }

    async fn release(&mut self) -> Stop {
        let run = &self.active.run;
        if let Err(error) = run.core.storage.release(run.key).await {
            tracing::warn!(run = %run.key.run, %error, "the run cannot be given back");
            return Stop::Held;
        }
        Stop::Released
    }

    /// Looks at why the workflow's instance was stopped, if it was.
    fn stopped(&self) -> Option<Stop> {
        match self.active.run.lock().stop.as_ref()? {
            // The instance ends by itself with `Stopped`; until then it is polled.
            Stopping::Diverged(_) | Stopping::GuestFailed(_) | Stopping::Unreadable(_) => None,
            Stopping::Gone => Some(Stop::Gone),
        }
    }

    async fn guest_ended(&mut self, end: End) -> Option<Stop> {
        let run = self.active.run.clone();
        let result = match end.how {
            Ended::Returned(Ok(output)) => {
                check::value(&output, &run.started.limits, code::BAD_OUTPUT).map(|()| output)
            }
            Ended::Returned(Err(failure)) => Err(Failure::from_guest(&failure)),
            Ended::Trapped(failure) => match trouble_of(&run, &failure) {
                Some(error) => return Some(self.stuck(error).await),
                None => Err(failure),
            },
            Ended::HostFailed(error) => {
                tracing::error!(run = %run.key.run, %error, "the workflow's instance failed on the host's side");
                return Some(self.release().await);
            }
            Ended::Stopped => {
                let stop = run.lock().stop.take();
                match stop {
                    Some(Stopping::Diverged(divergence)) => {
                        return Some(self.stuck(Error::new(Code::Diverged, divergence.to_string())).await);
                    }
                    Some(Stopping::Unreadable(error)) => return Some(self.stuck(error).await),
                    Some(Stopping::GuestFailed(failure)) => Err(failure),
                    Some(Stopping::Gone) | None => return Some(Stop::Gone),
                }
            }
        };
        Some(self.returned(result, end.fuel).await)
    }

    /// The workflow has come to its end, by itself.
    async fn returned(&mut self, result: Result<String, Failure>, fuel: u64) -> Stop {
        let run = self.active.run.clone();
        let ended = {
            let mut inner = run.lock();
            match inner.machine.end(fuel) {
                Err(divergence) => Err(Error::new(Code::Diverged, divergence.to_string())),
                Ok(fingerprint) => Ok((end_of(&mut inner, result), fingerprint)),
            }
        };
        match ended {
            Ok((end, fingerprint)) => self.finish(end, Some(fingerprint)).await,
            Err(error) => self.stuck(error).await,
        }
    }

    async fn finish(&mut self, end: RunEnd, fingerprint: Option<trackway_replay::Fingerprint>) -> Stop {
        let run = self.active.run.clone();
        let unread = match run.core.storage.inbox(run.key).await {
            Ok(items) => items.into_iter().map(|item| item.message).collect::<Vec<MessageId>>(),
            Err(_) => Vec::new(),
        };
        {
            let mut inner = run.lock();
            // From here on no attempt writes; they are stopped when the end is durable.
            let live = std::mem::take(&mut inner.attempts);
            let last = inner.end();
            inner.aborts.extend(live.into_values().map(|live| (last, live.abort)));
            let unread = unread.into_iter().filter(|message| !inner.seen.contains(message)).collect();
            inner.sequence(run.now(), Kind::Finished(Finished { end, fingerprint, unread }));
        }
        self.write_all(Owner::End).await.unwrap_or(Stop::Ended)
    }

    /// A stuck run can be cancelled as it is: its guest is not asked.
    async fn asked_to_cancel(&mut self) -> Option<Arc<str>> {
        let run = self.active.run.clone();
        let items = run.core.storage.inbox(run.key).await.ok()?;
        let mut inner = run.lock();
        items.into_iter().for_each(|item| receive(&mut inner, run.now(), item));
        inner.state.cancel().map(|cancel| cancel.reason.clone())
    }

    /// Keeps the run as it is for somebody to look at: nothing is appended.
    async fn stuck(&mut self, error: Error) -> Stop {
        let run = &self.active.run;
        tracing::error!(run = %run.key.run, %error, "the run is stuck");
        if let Some(reason) = self.asked_to_cancel().await {
            return self.finish(RunEnd::Cancelled { reason }, None).await;
        }
        let run = &self.active.run;
        let head = stuck_head(run.lock().state.head(), run.now(), &error);
        self.writing = None;
        match run.core.storage.park(run.key, None, Some(head)).await {
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

pub(super) fn stuck_head(head: Head, now: Timestamp, error: &Error) -> Head {
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

/// How the run ends, from what its workflow returned. A workflow that gives its cancel back ends
/// as cancelled.
pub(super) fn end_of(inner: &mut Inner, result: Result<String, Failure>) -> RunEnd {
    match result {
        Ok(output) => RunEnd::Succeeded(inner.value(&output, Value::INLINE_MAX_BYTES)),
        Err(failure) if failure.code == code::CANCELLED && inner.machine.cancel_was_delivered() => {
            let reason = inner.state.cancel().map(|cancel| cancel.reason.clone()).unwrap_or_default();
            RunEnd::Cancelled { reason }
        }
        Err(failure) => RunEnd::Failed(failure.to_value()),
    }
}

/// A frame is worth writing by itself if it says more than whose the run is.
fn has_news(inner: &Inner) -> bool {
    inner.moved_on || inner.state.asked() == 0
}

enum Park {
    No,
    Until(Option<Timestamp>),
}

/// Whether nothing can happen in the run before a timer, an inbox item or a retry.
fn may_park(inner: &Inner, now: Timestamp) -> Park {
    let is_waiting = inner.taken_up && inner.guest.is_some() && inner.machine.would_wait() && !inner.knocked;
    let attempts_idle = inner.attempts.values().all(|live| live.idle_until.is_some_and(|due| due > now + PARK_MIN));
    if !is_waiting || !attempts_idle {
        return Park::No;
    }
    match inner.next_due() {
        Some(due) if due <= now + PARK_MIN => Park::No,
        due => Park::Until(due),
    }
}

fn receive(inner: &mut Inner, now: Timestamp, item: InboxItem) {
    inner.seen.insert(item.message);
    inner.read.push(item.message);
    match item.body {
        InboxBody::Cancel { reason } => {
            let reason = check::cut(&reason, REASON_MAX_BYTES).into();
            inner.sequence(now, Kind::CancelReceived(CancelReceived { message: item.message, reason }));
        }
    }
}

/// A timer is due: a sleep is over, or an attempt follows a failed one.
fn fire(run: &Arc<Run>, inner: &mut Inner, now: Timestamp, step: StepId) {
    match inner.state.step(step).map(|state| &state.phase) {
        Some(Phase::Sleeping { .. }) => inner.answer(now, step, Outcome::Succeeded(Value::null())),
        Some(Phase::Retrying { attempt, .. }) => {
            let number = attempt + 1;
            attempt::launch(run, inner, step, number, None);
        }
        Some(Phase::Waiting | Phase::Attempting(_)) | None => {}
    }
}

async fn poll_some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
