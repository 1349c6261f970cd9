//! One activation of a run, in one task: polls the workflow, writes frames, fires timers, reads the
//! inbox, and parks or ends the run.

mod end;
mod hold;
mod park;
mod wake;

use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use trackway_fair::Permit;
use trackway_replay::{Claimed, Day, Kind, LINGER, Timestamp};
use trackway_storage::{Owner, StartKey};

use super::claim;
use super::durable::Durable;
use super::registry::Parked;
use super::run::{Inner, Run, Stopping};
use super::workflow::WorkflowHost;
use super::write::{self, Writing, Written};
use crate::Error;
use crate::sandbox::{End, Ended, GuestCall, Role};

pub(super) use end::stuck_head;
pub(super) use wake::terminate_in;

/// From the cancel's entry to the moment at which the host ends the run by itself, where nobody says otherwise.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(30);

/// About as long as a flush takes, which an answer waits for.
const ANSWER_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// A run with its instance, driven or warm.
pub(super) struct Active {
    pub run: Arc<Run>,
    guest: Option<BoxFuture<'static, End>>,
    /// Tells whoever started the run how its first frame fared.
    ack: Option<oneshot::Sender<Result<(), StartTrouble>>>,
    /// Room among the runs in hand.
    _room: Permit,
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
    /// As `Parked`, but it will not go on soon: its instance is dropped.
    Laid,
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
    pub fn new(run: Arc<Run>, room: Permit, ack: Option<oneshot::Sender<Result<(), StartTrouble>>>) -> Active {
        let started = &run.started;
        let context = serde_json::json!({
            "run": run.key.run,
            "workflow": started.workflow,
            "deployment": started.deployment,
        });
        let (name, limits) = (started.workflow.clone(), started.limits.clone());
        let input = run.lock().state.input().clone();
        let guest: BoxFuture<'static, End> = {
            let run = run.clone();
            Box::pin(async move {
                let input = match run.text(&input).await {
                    Ok(input) => input,
                    Err(error) => return End { how: Ended::HostFailed(error), fuel: 0 },
                };
                let fuel = run.lock().machine.allowance(0);
                let (tenant, context) = (run.key.tenant, context.to_string().into());
                let call = GuestCall { tenant, role: Role::Workflow, name, input, context, limits, fuel };
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
        inner.rang = true;
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
        // It holds the run.
        let launched = inner.launched.take();
        let resting = std::mem::take(&mut inner.resting);
        let is_at_rest = inner.state.end().is_none() && !inner.sequencer.has_pending();
        let last_frame = inner.previous.filter(|_| is_at_rest && !resting.is_empty());
        inner.counted.give_back();
        drop(inner);
        drop(launched);
        let run = &self.run;
        if let Some(last_frame) = last_frame {
            run.core.rested.note(run.key, last_frame, resting);
        }
        run.core.deltas.cut(run.key, run.durable_position());
        run.set_durable(Durable::Never);
    }
}

/// Drives a run that is claimed until it is parked, ended or gone.
pub(super) async fn drive(active: Box<Active>) {
    let run = active.run.clone();
    let core = run.core.clone();
    core.registry.driving(&run);
    let mut active = active;
    loop {
        let (stop, back) = Driver { active, writing: None, lines_refused: false }.activation().await;
        active = back;
        match stop {
            Stop::Parked => match core.registry.parked(active, core.clock.now()) {
                Parked::ClaimedAgain(again) => {
                    again.claimed();
                    active = again;
                    continue;
                }
                // Whoever waits for room came before there was anything to evict.
                Parked::Done => claim::give_way(&core, run.key.tenant),
            },
            Stop::Held => {
                drop(active);
                if core.registry.hold(run.key) {
                    claim::take(&core, run.key);
                }
            }
            Stop::Ended | Stop::Laid | Stop::Gone | Stop::Released => {
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
    /// Storage took no lines by themselves when it was asked last: frames do not wait for them.
    lines_refused: bool,
}

impl Driver {
    async fn activation(mut self) -> (Stop, Box<Active>) {
        loop {
            if let Some(stop) = self.stopped() {
                return (stop, self.active);
            }
            self.take_up();
            self.look_for_end().await;
            self.read_inbox_and_timers().await;
            if let Some(stop) = self.terminated().await {
                return (stop, self.active);
            }
            begin_launched(self.active.run.clone()).await;
            if let Some(stop) = self.drained_or_idle().await {
                return (stop, self.active);
            }
            if let Some(stop) = self.held_by_quota().await {
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
        let is_held = Self::is_held(&run.lock());
        let timer = async {
            match wake_at {
                Some(at) => run.core.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            written = poll_some(&mut self.writing) => Event::Wrote(written),
            end = poll_some(&mut self.active.guest), if !is_draining && !is_held => Event::GuestEnded(end),
            () = run.poke.notified() => Event::Poked,
            () = timer => Event::Due,
        }
    }

    /// The next moment at which the driver has something to do by itself.
    fn wake_at(&self) -> Option<Timestamp> {
        let inner = self.active.run.lock();
        let is_pending = self.writing.is_none() && inner.sequencer.has_pending() && has_news(&inner);
        let linger = is_pending.then(|| inner.pending_since + LINGER);
        let lines = inner.lines_due().filter(|_| self.writing.is_none());
        let lines =
            lines.map(|due| if inner.sequencer.has_pending() { due.max(inner.pending_since + LINGER) } else { due });
        let fires = inner.taken_up && !inner.state.is_paused();
        let timer = if fires { self.next_timer(&inner) } else { None };
        let offer = inner.state.offer_due().map(|(due, _)| due).filter(|_| fires);
        let fuel = inner.is_over_fuel.then(|| Day::of(self.active.run.now()).next().begin());
        let ends = [offer, fuel, inner.cancel_deadline(), inner.state.deadline(), inner.drain_until, inner.moving];
        [linger, lines, timer].into_iter().chain(ends).flatten().min()
    }

    /// Questions and promises whose time is over are looked at again while an answer is on its way.
    fn next_timer(&self, inner: &Inner) -> Option<Timestamp> {
        let run = &self.active.run;
        let (due, step) = inner.first_timer(false)?;
        if !inner.state.awaits_an_answer(step) || !run.core.answers.are_under_way(run.key) {
            return Some(due);
        }
        let again = due.max(run.now() + ANSWER_AGAIN_AFTER);
        Some(inner.first_timer(true).map_or(again, |(other, _)| other.min(again)))
    }

    fn write_if_due(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let run = self.active.run.clone();
        let mut inner = run.lock();
        let is_forced = inner.forced > run.durable_position();
        let are_lines_due = inner.lines_due().is_some_and(|due| due <= run.now());
        let is_late = || run.now() >= inner.pending_since + LINGER;
        if !inner.sequencer.has_pending() {
            self.writing = if are_lines_due { write::begin_lines(&run, &inner) } else { None };
        } else if is_forced || ((has_news(&inner) || are_lines_due) && is_late()) {
            self.writing = self.begin_next(&mut inner, Owner::Keep);
        }
    }

    /// Begins to write the next frame; before one that would bring along many lines of the log, some of those.
    fn begin_next(&self, inner: &mut Inner, owner: Owner) -> Option<Writing> {
        let run = &self.active.run;
        let lines_first = !self.lines_refused && inner.sequencer.has_pending() && write::has_many_lines(run, inner);
        if lines_first { write::begin_lines(run, inner) } else { write::begin(run, inner, owner) }
    }

    fn wrote(&mut self, written: Written) -> Option<Stop> {
        let run = self.active.run.clone();
        run.lock().counted.went(&written);
        match written {
            Written::UpTo(position) => {
                self.lines_refused = false;
                run.set_durable(Durable::UpTo(position));
                if let Some(ack) = self.active.ack.take() {
                    // Whoever asked may have gone away; the run goes on.
                    let _ = ack.send(Ok(()));
                }
                let mut inner = run.lock();
                let (due, rest) =
                    std::mem::take(&mut inner.aborts).into_iter().partition(|(cause, _)| *cause < position);
                inner.aborts = rest;
                inner.trim_held();
                inner.waiting_for_room.drain(..).for_each(std::task::Waker::wake);
                drop(inner);
                let due: Vec<_> = due;
                due.into_iter().for_each(|(_, abort)| abort.abort());
                None
            }
            Written::Lines(count) => {
                self.lines_refused = count == 0;
                let mut inner = run.lock();
                let lines: Vec<_> = inner.logs.drain(..count).map(|(_, line)| line).collect();
                inner.counted.lines(&lines);
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
            Written::GaveUp => Some(Stop::Gone),
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
                self.writing = self.begin_next(&mut inner, owner);
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

    /// Looks at why the workflow's instance was stopped, if it was.
    fn stopped(&self) -> Option<Stop> {
        match self.active.run.lock().stop.as_ref()? {
            // The instance ends by itself with `Stopped`; until then it is polled.
            Stopping::Diverged(_) | Stopping::GuestFailed(_) | Stopping::Unreadable(_) => None,
            Stopping::Gone => Some(Stop::Gone),
        }
    }
}

/// Goes as far with an attempt as it goes without waiting: a function that touches nothing is done
/// then. The rest is a task of its own.
async fn begin_launched(run: Arc<Run>) {
    let Some(mut task) = run.lock().launched.take() else { return };
    let polled = std::future::poll_fn(|cx| Poll::Ready(task.as_mut().poll(cx))).await;
    if polled.is_pending() {
        run.core.spawn(run.key.tenant, task);
    }
}

/// A frame is worth writing by itself if it says more than whose the run is.
fn has_news(inner: &Inner) -> bool {
    inner.moved_on || inner.state.asked() == 0
}

async fn poll_some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
