//! One active run: its machine, its state and the entries that no frame holds yet, behind one lock.
//! The workflow, its attempts and the driver all sequence here, so there is one order.

use bytes::Bytes;
use futures_util::future::{AbortHandle, BoxFuture};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use trackway_replay::{
    Answered, AttemptFailed, AttemptFailedKeeping, Digest, Divergence, Entry, Epoch, Failure, FrameId, Head, Kind,
    Machine, MessageId, Outcome, Position, QuestionId, RunRandom, RunState, Sequencer, Started, StepId, Timestamp,
    Topic, Value, code,
};
use trackway_storage::{EntityWrite, InboxItem, LogKey, LogLine, RunKey, StartKey};

use super::Core;
use super::asking::GoesOn;
use super::durable::{Durable, Gone, Progress};
use super::log::{LogRoom, log_line};
use super::reach::in_reach;
use super::rested::Resting;
use super::used::Counted;
use crate::effects::Grants;
use crate::quota::{Quota, TenantLimits};
use crate::sandbox::Code as GuestCode;

mod begin;

pub(super) use begin::{Given, Loaded};

/// Large values that wait for their frame. An entry that names one is small, so the sequencer's own
/// limit does not see them; two of the largest still go together.
const PAYLOADS_AHEAD_MAX_BYTES: usize = 32 << 20;

/// A line of a guest that computes or waits is shown after this; within it an entry takes most along.
const LOG_LINGER: Duration = Duration::from_millis(200);

mod attempts;
mod held;
mod offers;
mod rows;
mod timers;

pub(super) use attempts::{Idle, LiveAttempt, SettledEffect};
pub(super) use held::read_payload;
pub(super) use rows::Along;
pub use rows::{landmarks_in, messages_in};

pub(crate) struct Run {
    pub key: RunKey,
    pub core: Arc<Core>,
    pub code: Arc<GuestCode>,
    pub grants: Arc<Grants>,
    pub limits: Arc<TenantLimits>,
    pub started: Arc<Started>,
    /// What attempts draw from.
    pub attempt_seed: [u8; 32],
    inner: Mutex<Inner>,
    /// It and the runs above it, once somebody has looked.
    pub depth: OnceLock<u64>,
    /// Wakes the driver.
    pub poke: Notify,
    durable: Progress,
}

pub(super) struct Inner {
    pub machine: Machine,
    pub state: RunState,
    pub sequencer: Sequencer,
    pub random: RunRandom,
    /// The workflow waits in `next`.
    pub guest: Option<Waker>,
    /// Instances that are too far ahead of storage.
    pub waiting_for_room: Vec<Waker>,
    pub timers: BTreeSet<(Timestamp, StepId)>,
    /// When calls fail by themselves. Not among the timers, of which a step has one.
    pub deadlines: BTreeSet<(Timestamp, StepId)>,
    /// When the first question of a step's attempt is too late.
    pub expiries: BTreeSet<(Timestamp, StepId)>,
    /// Steps on record that were refused when they were asked for, and not answered yet.
    pub refused: BTreeMap<StepId, Failure>,
    /// Steps that somebody has just said something to with which they go on.
    pub retried: Vec<StepId>,
    /// Attempts that a task of this worker makes now.
    pub attempts: BTreeMap<StepId, LiveAttempt>,
    /// Attempts that wait and have no instance meanwhile. The time at which one is resumed, if it is by itself, stands
    /// among the timers too.
    pub resting: Resting,
    /// Steps whose run is being started, or whose entity is being read, by a task of this worker.
    pub starting: BTreeSet<StepId>,
    /// The run is about to end: its workflow does nothing more.
    pub ending: bool,
    /// Open steps on record are being taken care of.
    pub taken_up: bool,
    /// Stopped when the entry at the position is durable.
    pub aborts: Vec<(Position, AbortHandle)>,
    held: BTreeMap<Digest, Arc<str>>,
    held_bytes: usize,
    /// Payloads that no frame brought to the store yet.
    pub payloads: Vec<(Digest, Arc<str>)>,
    payload_bytes: usize,
    /// Rows for frames to come; each goes with the frame that reaches its position, not before.
    pub logs: Vec<(Position, LogLine)>,
    pub read: Vec<(Position, MessageId)>,
    pub send: Vec<(Position, RunKey, InboxItem)>,
    /// Questions that were asked, with the place of their entry, or settled.
    questions: Vec<(Position, QuestionId, Option<Position>)>,
    pub entities: Vec<(Position, StepId, EntityWrite)>,
    /// Steps whose write has its answer.
    entities_answered: Vec<(Position, StepId)>,
    /// Inbox items that were read, by a frame or one to come.
    pub seen: BTreeSet<MessageId>,
    pub knocked: bool,
    /// Something may have come into the inbox that does not wait for the workflow to catch up.
    pub rang: bool,
    /// Somebody asked to end the run at once, and why.
    pub terminate: Option<Arc<str>>,
    /// A cancel was in the inbox while the workflow had not caught up to read it.
    pub is_to_cancel: bool,
    /// As its workflow says, or whoever cancels it.
    cancel_grace: Duration,
    /// Everything before this position is wanted durable now.
    pub forced: Position,
    /// When the oldest entry without a frame was sequenced.
    pub pending_since: Timestamp,
    pub previous: Option<FrameId>,
    pub start_key: Option<StartKey>,
    pub head_written: Option<Head>,
    /// Entries other than `Claimed` were sequenced in this activation.
    pub moved_on: bool,
    pub recall_counted: bool,
    /// The recall came to a quiet end, if not further: it did not bring the process down.
    pub recall_survived: bool,
    /// Once the workflow returns, the run goes on with this.
    pub goes_on: Option<GoesOn>,
    pub stop: Option<Stopping>,
    pub drain_until: Option<Timestamp>,
    pub effects_in_flight: usize,
    /// The run is to be taken up anew, at the latest then: somebody asked to move it.
    pub moving: Option<Timestamp>,
    /// The task of an attempt that the driver begins when the workflow waits.
    pub launched: Option<BoxFuture<'static, ()>>,
    log_place: (u64, u32),
    log_room: LogRoom,
    pub counted: Counted,
    /// The last line was dropped.
    dropped_lines: bool,
    /// It is held once nothing is under way: its tenant has used up the day's fuel.
    pub is_over_fuel: bool,
}

/// Whether the driver knows that there are lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It has to be told.
    First,
    AlongWithOthers,
}

/// Why the workflow's instance was stopped.
#[derive(Debug, Clone)]
pub(super) enum Stopping {
    Diverged(Box<Divergence>),
    /// A value that it needs cannot be read.
    Unreadable(crate::Error),
    /// It ends with this, by an import instead of by returning.
    GuestFailed(Failure),
    Gone,
}

/// Values on their way to the store.
pub(super) type Payloads = Vec<(Digest, Bytes)>;

impl Run {
    pub fn new(given: Given, loaded: Loaded) -> Arc<Run> {
        let Given { key, core, code, grants } = given;
        let started = loaded.state.started().clone();
        let attempt_seed = loaded.state.attempt_seed();
        let said_ms = code.manifest().workflow(&started.workflow).and_then(|workflow| workflow.cancel_grace_ms);
        let cancel_grace = said_ms.map_or(super::drive::CANCEL_GRACE, Duration::from_millis);
        let limits = loaded.counted.limits().clone();
        let inner = Inner {
            random: loaded.state.random(),
            machine: loaded.machine,
            state: loaded.state,
            sequencer: loaded.sequencer,
            guest: None,
            waiting_for_room: Vec::new(),
            timers: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            expiries: BTreeSet::new(),
            refused: BTreeMap::new(),
            retried: Vec::new(),
            attempts: BTreeMap::new(),
            resting: Resting::new(),
            taken_up: false,
            aborts: Vec::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            payloads: Vec::new(),
            payload_bytes: 0,
            logs: Vec::new(),
            read: Vec::new(),
            send: Vec::new(),
            questions: Vec::new(),
            entities: Vec::new(),
            entities_answered: Vec::new(),
            starting: BTreeSet::new(),
            ending: false,
            seen: BTreeSet::new(),
            knocked: true,
            rang: true,
            terminate: None,
            is_to_cancel: false,
            cancel_grace,
            forced: Position::FIRST,
            pending_since: Timestamp::default(),
            previous: loaded.previous,
            start_key: loaded.start_key,
            head_written: loaded.head_written,
            moved_on: false,
            recall_counted: loaded.recall_counted,
            recall_survived: false,
            goes_on: None,
            stop: None,
            drain_until: None,
            effects_in_flight: 0,
            moving: None,
            launched: None,
            log_place: (0, 0),
            log_room: LogRoom::default(),
            counted: loaded.counted,
            dropped_lines: false,
            is_over_fuel: false,
        };
        Arc::new(Run {
            key,
            core,
            code,
            grants,
            limits,
            started,
            attempt_seed,
            inner: Mutex::new(inner),
            poke: Notify::new(),
            depth: OnceLock::new(),
            durable: Progress::new(loaded.durable),
        })
    }

    /// A panic while it was held is a bug of one run; the next user of the lock sees a run that
    /// its driver has left.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    pub fn knock(&self) {
        {
            let mut inner = self.lock();
            inner.knocked = true;
            inner.rang = true;
        }
        self.poke.notify_one();
    }

    pub fn drain(&self, until: Timestamp) {
        self.lock().drain_until = Some(until);
        self.poke.notify_one();
    }

    /// Asks for everything before `end` to be made durable, now.
    pub fn force(&self, inner: &mut Inner, end: Position) {
        // An instance that waits for room asks at every poll; only the first time is news.
        if end > inner.forced {
            inner.forced = end;
            self.poke.notify_one();
        }
    }

    /// Resolves when everything before `end` is durable. Must be forced, or be in a frame by itself.
    pub async fn durable(&self, end: Position) -> Result<(), Gone> {
        self.durable.reaches(end).await
    }

    pub fn durable_position(&self) -> Position {
        self.durable.position()
    }

    pub fn set_durable(&self, durable: Durable) {
        self.durable.set(durable);
    }

    /// The text of a value: from the entry, from memory, or from the store.
    pub async fn text(&self, value: &Value) -> crate::Result<Arc<str>> {
        let digest = match value {
            Value::Inline(text) => return Ok(text.clone()),
            Value::Stored { digest, .. } => *digest,
        };
        if let Some(text) = self.lock().held.get(&digest) {
            return Ok(text.clone());
        }
        in_reach(&self.core, self.key.run, || read_payload(&self.core, self.key, digest)).await
    }
}

impl Inner {
    /// Gives `kind` its place. State, machine and timers follow at once, so what is sequenced here
    /// is what everybody sees, in this order.
    pub fn sequence(&mut self, clock: Timestamp, kind: Kind) -> (Position, Timestamp) {
        if !self.sequencer.has_pending() {
            self.pending_since = clock;
        }
        let entry = self.sequencer.entry(clock, kind);
        let asked = rows::questions_in(&self.state, &entry);
        self.note_given_up(&entry);
        let (before, over_before) = (self.deadline_of(&entry), self.expiry_of(&entry));
        // First, so that a mistake of ours would cost a panic and never a journal.
        self.state.apply(&entry).expect("what a worker sequences follows the rules of a journal");
        let asks = rows::questions_in(&self.state, &entry);
        self.move_deadline(before, self.deadline_of(&entry));
        self.move_expiry(over_before, self.expiry_of(&entry));
        let entry = self.sequencer.put(entry);
        let (position, time) = (entry.position, entry.time);
        self.moved_on |= !matches!(entry.kind, Kind::Claimed(_));
        match &entry.kind {
            Kind::Answered(answered) => {
                self.machine.answered(position, time, answered.step.0, answered.outcome.clone());
                self.wake_guest();
            }
            Kind::ChildEnded(ended) => {
                self.machine.answered(position, time, ended.step.0, ended.outcome.clone());
                self.wake_guest();
            }
            Kind::CancelReceived(cancel) => {
                self.machine.cancel_received(position, time, cancel.reason.clone());
                self.wake_guest();
            }
            Kind::Settled(settled) => {
                self.machine.answered(position, time, settled.step.0, settled.outcome.clone());
                self.wake_guest();
            }
            Kind::Signalled(_) | Kind::UpdateReceived(_) => {
                if let Some((topic, letter)) = Topic::of_entry(entry) {
                    self.machine.mail_arrived(topic, letter);
                }
                self.wake_guest();
            }
            Kind::Failed(AttemptFailed { next_at, step, .. })
            | Kind::FailedKeeping(AttemptFailedKeeping { next_at, step, .. }) => {
                self.timers.insert((*next_at, *step));
            }
            Kind::Started(_)
            | Kind::Claimed(_)
            | Kind::Asked(_)
            | Kind::AttemptStarted(_)
            | Kind::AttemptResumed(_)
            | Kind::EffectAsked(_)
            | Kind::EffectAnswered(_)
            | Kind::Forgotten(_)
            | Kind::StepCancelAsked(_)
            | Kind::Finished(_)
            | Kind::Paused(_)
            | Kind::Resumed(_)
            | Kind::Forked(_)
            | Kind::ChildOf(_)
            | Kind::ChildStarted(_)
            | Kind::Parked(_)
            | Kind::RetryReceived(_)
            | Kind::Progressed(_)
            | Kind::DeadlineSet(_)
            | Kind::Patched(_)
            | Kind::StepTimed(_)
            | Kind::GraceSet(_)
            | Kind::Moved(_)
            | Kind::Published(_)
            | Kind::Replied(_)
            | Kind::Continued(_)
            | Kind::Emitted(_)
            | Kind::ModelUsed(_)
            | Kind::SpendingTaken(_)
            | Kind::AttemptEmitted(_)
            | Kind::SpanBegun(_)
            | Kind::SpanEnded(_)
            | Kind::UpdateOffered(_)
            | Kind::UpdateExpired(_)
            | Kind::FuelUsed(_)
            | Kind::EffectSettled(_) => {}
        }
        self.note_questions(position, &asked, &asks);
        (position, time)
    }

    /// The run was held and is not any more: what is open is looked at anew.
    pub fn go_on(&mut self) {
        self.taken_up = false;
        self.wake_guest();
        self.waiting_for_room.drain(..).for_each(Waker::wake);
    }

    pub fn wake_guest(&mut self) {
        if let Some(waker) = self.guest.take() {
            waker.wake();
        }
    }

    /// The position after the last sequenced entry.
    pub fn end(&self) -> Position {
        self.sequencer.next()
    }

    pub fn answer(&mut self, clock: Timestamp, step: StepId, outcome: Outcome) {
        self.note_fuel(clock, step);
        self.sequence(clock, Kind::Answered(Answered { step, outcome }));
    }

    pub fn answer_failed(&mut self, clock: Timestamp, step: StepId, failure: &Failure) {
        self.answer(clock, step, Outcome::Failed(failure.to_value()));
    }

    /// Keeps a line for the frame that holds all that came before it.
    pub fn log(&mut self, line: Option<LogLine>) -> Told {
        let line = line.and_then(|line| self.within_quota(line));
        let cause = self.end();
        let (before, has_frame) = (self.logs.len(), self.moved_on && self.sequencer.has_pending());
        self.logs.extend(line.map(|line| (cause, line)));
        if before == 0 && self.logs.len() > before && !has_frame { Told::First } else { Told::AlongWithOthers }
    }

    /// The line; once the tenant has logged as much as it may, one that says so, and then none.
    fn within_quota(&mut self, line: LogLine) -> Option<LogLine> {
        let crossing = self.counted.limits().crossed(&[Quota::LogBytesPerDay], line.time);
        let is_first = crossing.is_some() && !self.dropped_lines;
        self.dropped_lines = crossing.is_some();
        match crossing {
            None => Some(line),
            Some(crossing) => is_first.then(|| LogLine {
                level: "warn".into(),
                message: format!("{crossing}; lines are dropped until midnight UTC").into(),
                fields: "".into(),
                ..line
            }),
        }
    }

    /// When the lines that wait are written, if no frame takes them along before.
    pub fn lines_due(&self) -> Option<Timestamp> {
        self.logs.first().map(|(_, line)| line.time + LOG_LINGER)
    }

    /// The instances of the run must wait until storage has caught up.
    pub fn is_too_far_ahead(&self) -> bool {
        self.sequencer.is_too_far_ahead() || self.payload_bytes >= PAYLOADS_AHEAD_MAX_BYTES
    }

    /// Wakes the instance of `waker` when storage has caught up a little.
    pub fn wait_for_room(&mut self, waker: &Waker) {
        if !self.waiting_for_room.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting_for_room.push(waker.clone());
        }
    }

    /// Keeps a line of the workflow's log, unless it is on record already.
    pub fn log_workflow(&mut self, time: Timestamp, level: &str, message: &str, fields: &str) -> Told {
        let commands = self.machine.commands();
        if self.log_place.0 != commands {
            self.log_place = (commands, 0);
        }
        let step = u32::try_from(commands).unwrap_or(u32::MAX);
        let key = LogKey { step, attempt: 0, effect: 0, line: self.log_place.1 };
        self.log_place.1 += 1;
        let place = self.log_room.take(message, fields);
        if !self.machine.has_caught_up() {
            return Told::AlongWithOthers;
        }
        self.log(log_line(key, time, place, [level, message, fields]))
    }
}

pub(super) fn cancelled(message: &str) -> Failure {
    Failure::permanent(code::CANCELLED, message)
}

pub(super) fn first_state(entry: &Entry) -> RunState {
    RunState::new(entry).expect("a worker begins a journal with `Started`")
}

pub(super) fn sequencer_after(last: (Position, Timestamp), epoch: Epoch) -> Sequencer {
    Sequencer::new(last.0.plus(1), epoch, last.1)
}
