//! Brings a run back from its journal: the frames are read, the entries folded, the machine told
//! what is on record.

use futures_util::future::join;
use std::sync::Arc;
use std::time::Duration;
use trackway_fair::Permit;
use trackway_replay::{
    BadJournal, CancelReceived, Claimed, Digest, End, Entry, Finished, Frame, FrameId, Kind, Machine, Position,
    RunState, Sequencer, Status,
};
use trackway_storage::{Append, Deployment, InboxBody, Landmark, Owner, Rows, RunKey, Storage, StoredFrame, Version};

use super::Core;
use super::check::{self, REASON_MAX_BYTES};
use super::child;
use super::claim;
use super::code::code_of;
use super::drive::{self, Active, stuck_head, terminate_in};
use super::fork;
use super::moving::{self, Taken};
use super::reach::in_reach;
use super::run::{Given, Loaded, Run, sequencer_after};
use super::stretch::{self, read_stretch};
use super::used::{self, Counted};
use super::write::{self, Outgoing, Written};
use crate::effects::Grants;
use crate::{Code, Error, Result};

/// Read in pieces of this size, so that a long journal does not stand in memory twice, and little of it is waited for
/// before the first is decoded.
const READ_MAX_BYTES: usize = 1 << 20;
/// Between two tries to take up a run on a disk that is full.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A run whose recall brought the process down this often is left alone.
const RECALLS_MAX: u32 = 3;

/// A journal as it stands.
pub(crate) struct Journal {
    pub entries: Vec<Entry>,
    pub last_frame: FrameId,
}

pub(crate) async fn read_journal(storage: &dyn Storage, key: RunKey) -> Result<Journal> {
    let mut whole = Whole { key, entries: Vec::new(), last_frame: None };
    let mut frames = storage.frames(key, Position::FIRST, READ_MAX_BYTES).await?;
    while let Some(last) = frames.last() {
        let next = last.position.plus(u64::from(last.entries));
        // A piece is decoded while the one behind it is read.
        let (ahead, taken) = join(storage.frames(key, next, READ_MAX_BYTES), async { whole.take(frames) }).await;
        taken?;
        frames = ahead?;
    }
    match whole.last_frame {
        Some(last_frame) => Ok(Journal { entries: whole.entries, last_frame }),
        None => Err(Error::new(Code::NoSuchRun, format!("run {} has no journal", key.run))),
    }
}

/// What was read of a journal, from its first entry on.
struct Whole {
    key: RunKey,
    entries: Vec<Entry>,
    last_frame: Option<FrameId>,
}

impl Whole {
    fn take(&mut self, frames: Vec<StoredFrame>) -> Result<()> {
        for stored in frames {
            let frame = stretch::decode(self.key, &stored)?;
            let expected = Position(self.entries.len() as u64);
            let is_whole = frame.entries.len() as u64 == u64::from(stored.entries);
            if frame.position() != expected || stored.previous != self.last_frame || !is_whole {
                let why = format!("the frame at {} does not follow position {expected}", stored.position);
                return Err(stretch::unreadable(self.key, &why));
            }
            self.entries.extend(frame.entries);
            self.last_frame = Some(stored.id);
        }
        Ok(())
    }
}

/// The machine of a run that goes on: its recorded commands, and the answers that are there.
pub(super) fn machine_of(state: &RunState, entries: &[Entry], engine: &str) -> Machine {
    machine_of_code(state, entries, engine, state.component())
}

/// The same for other code: what `component` on `engine` is held against.
pub(super) fn machine_of_code(state: &RunState, entries: &[Entry], engine: &str, component: Digest) -> Machine {
    let mut machine = state.machine();
    for entry in entries.iter().filter(|entry| state.is_recalled(entry)) {
        machine.recall(entry, state.fuel_rule(entry.position, engine, component));
    }
    machine
}

pub(super) async fn load_and_drive(core: Arc<Core>, key: RunKey, room: Permit) {
    // One that is to end at once is not recalled before.
    if end_if_asked(&core, key, Recallable::MayBe).await {
        core.nudge.notify_one();
        return;
    }
    let loaded = match in_reach(&core, key.run, || core.storage.begin_recall(key)).await {
        Ok(recalls) => in_reach(&core, key.run, || load(&core, key, recalls)).await,
        Err(error) => Err(error),
    };
    match loaded {
        Ok(run) => {
            let active = Box::new(Active::new(run, room, None));
            active.claimed();
            drive::drive(active).await;
        }
        Err(error) if matches!(error.code, Code::DiskFull | Code::StoreIo | Code::Stopping) => {
            tracing::warn!(run = %key.run, %error, "the run is taken up later");
            core.clock.sleep_until(core.clock.now() + ROOM_AGAIN_AFTER).await;
            give_back(&core, key).await;
        }
        Err(error) => {
            tracing::error!(run = %key.run, %error, "the run cannot be taken up");
            if !end_if_asked(&core, key, Recallable::No).await {
                leave_stuck(&core, key, &error).await;
            }
        }
    }
}

/// Lets go of a run that was not taken up: ready for the next claim.
async fn give_back(core: &Arc<Core>, key: RunKey) {
    match in_reach(core, key.run, || core.storage.release(key)).await {
        Ok(()) => {
            if core.registry.gone(key) {
                claim::take(core, key);
            }
        }
        Err(error) => {
            tracing::warn!(run = %key.run, %error, "the run cannot be given back");
            core.registry.hold(key);
        }
    }
    core.nudge.notify_one();
}

/// Ends a run as it stands, without its code, if somebody asked to end it at once, or to cancel one
/// that cannot be recalled. Only for runs that this worker owns and does not drive.
pub(super) async fn end_if_asked(core: &Arc<Core>, key: RunKey, recallable: Recallable) -> bool {
    match in_reach(core, key.run, || try_end(core, key, recallable)).await {
        Ok(has_ended) => {
            // The run has ended: a claim that came meanwhile has nothing to find.
            if has_ended {
                core.registry.gone(key);
            }
            has_ended
        }
        Err(error) => {
            tracing::error!(run = %key.run, %error, "the run cannot be ended as it stands");
            false
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recallable {
    /// Its workflow can be told of a cancel.
    MayBe,
    No,
}

/// What the end of a run is appended after.
struct Tail {
    last_frame: FrameId,
    sequencer: Sequencer,
    /// Absent where the journal cannot be read: then only its frames are there, and the head.
    state: Option<RunState>,
    /// Where the journal cannot be read, of what is written now: nobody knows more.
    counted: Counted,
}

async fn tail(core: &Core, key: RunKey) -> Result<Tail> {
    let (state, Journal { last_frame, entries }) = read_stretch(&*core.storage, key).await?;
    let sequencer = sequencer_after(state.last(), core.storage.epoch());
    let counted = counted(core, key, &state, &entries).await?;
    Ok(Tail { last_frame, sequencer, state: Some(state), counted })
}

/// The same, of frames whose content makes no sense.
async fn unread_tail(core: &Core, key: RunKey) -> Result<Tail> {
    let no_run = || Error::new(Code::NoSuchRun, format!("run {} has no journal", key.run));
    let (next, head) = (core.storage.end(key).await?, core.storage.head(key).await?.ok_or_else(no_run)?);
    let last = Position(next.0.checked_sub(1).ok_or_else(no_run)?);
    let last_frame = core.storage.frames(key, last, 1).await?.pop().ok_or_else(no_run)?.id;
    let sequencer = Sequencer::new(next, core.storage.epoch(), head.changed);
    let counted = Counted::unknown(used::limits_of(core, key.tenant).await?);
    Ok(Tail { last_frame, sequencer, state: None, counted })
}

async fn try_end(core: &Arc<Core>, key: RunKey, recallable: Recallable) -> Result<bool> {
    let items = core.storage.inbox(key).await?;
    let terminate = terminate_in(&items);
    let cancel = items.iter().find_map(|item| match &item.body {
        InboxBody::Cancel { reason } | InboxBody::CancelWithin { reason, .. } => {
            let reason = check::cut(reason, REASON_MAX_BYTES).into();
            Some(CancelReceived { message: item.message, reason })
        }
        InboxBody::Terminate { .. }
        | InboxBody::Pause { .. }
        | InboxBody::Resume
        | InboxBody::ChildEnded { .. }
        | InboxBody::Retry { .. }
        | InboxBody::Signal { .. }
        | InboxBody::Answer { .. }
        | InboxBody::AnswerInAttempt { .. }
        | InboxBody::Promise { .. }
        | InboxBody::Move { .. }
        | InboxBody::Update { .. }
        | InboxBody::UpdateWithin { .. } => None,
    });
    if recallable == Recallable::MayBe && terminate.is_none() {
        return Ok(false);
    }
    let Tail { last_frame, mut sequencer, state, mut counted } = match tail(core, key).await {
        Ok(tail) => tail,
        Err(_) if terminate.is_some() => unread_tail(core, key).await?,
        Err(_) if cancel.is_none() => return Ok(false),
        Err(error) => return Err(error),
    };
    // A cancel that is on record already was acknowledged too, and there is no guest that could answer it.
    let on_record = state.as_ref().and_then(RunState::cancel).map(|cancel| cancel.reason.clone());
    let to_cancel = on_record.or_else(|| cancel.as_ref().map(|cancel| cancel.reason.clone()));
    let end = match (terminate, to_cancel) {
        (Some((_, reason)), _) => End::Terminated { reason },
        (None, Some(reason)) => End::Cancelled { reason },
        (None, None) => return Ok(false),
    };
    let position = sequencer.next();
    let now = core.clock.now();
    let component = state.as_ref().map(RunState::component);
    let claimed = component.map(|component| {
        Kind::Claimed(Claimed {
            worker: core.options.name.clone(),
            engine: core.sandbox.engine_name().clone(),
            component,
        })
    });
    let read = cancel.iter().map(|cancel| cancel.message).collect();
    let finished = Finished { end, fingerprint: None, unread: Vec::new() };
    let kinds = [claimed, cancel.map(Kind::CancelReceived), Some(Kind::Finished(finished.clone()))];
    kinds.into_iter().flatten().for_each(|kind| {
        sequencer.push(now, kind);
    });
    let entries = sequencer.take_frame();
    let (head, send) = match state {
        Some(mut state) => {
            child::let_go(core, key, &child::waited_for(&state), now).await?;
            let send = child::told_of_end(key, &state, &entries, now);
            let unreadable = |why: BadJournal| Error::new(Code::JournalUnreadable, format!("run {}: {why}", key.run));
            entries.iter().try_for_each(|entry| state.apply(entry)).map_err(unreadable)?;
            (Some(state.head()), send)
        }
        None => {
            let send = child::end_item_of_unreadable(core, key, now).await?.into_iter().collect();
            let head = core.storage.head(key).await?;
            (head.map(|head| head.ended(&finished.end, sequencer.last_time())), send)
        }
    };
    let frame = Frame::encode(&entries);
    counted.frame(&entries, frame.len(), &[]);
    let used = counted.bring(true);
    let last = Position(position.0 + entries.len() as u64 - 1);
    let landmarks = if counted.marks(true) { vec![(Landmark::Metered, last)] } else { Vec::new() };
    let append = Append {
        run: key,
        position,
        entries: entries.len() as u32,
        previous: Some(last_frame),
        id: FrameId(u128::from_le_bytes(core.random())),
        frame: frame.into(),
        rows: Rows { head, owner: Owner::End, read, send, used, landmarks, ..Rows::default() },
    };
    let written = write::write(core, Outgoing { append, values: Vec::new(), entries }).await;
    counted.went(&written);
    match written {
        Written::UpTo(_) => Ok(true),
        Written::Fenced | Written::KeyTaken(_) | Written::GaveUp | Written::Lines(_) => Ok(false),
        Written::Refused(error) => Err(error.into()),
    }
}

/// Gives a run that is stuck here, and was claimed for something in its inbox, back as it was. One that is
/// stuck no more was brought on by a worker that had it before and did not know better: it goes on.
pub(super) async fn leave_held(core: &Arc<Core>, key: RunKey) {
    let parked = match in_reach(core, key.run, || core.storage.head(key)).await {
        Ok(Some(head)) if head.status == Status::Stuck => {
            in_reach(core, key.run, || core.storage.park(key, None, Some(head.clone()))).await
        }
        Ok(Some(head)) if !head.status.has_ended() => {
            core.registry.gone(key);
            return give_back(core, key).await;
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = parked {
        tracing::warn!(run = %key.run, %error, "the stuck run cannot be given back");
    }
}

async fn leave_stuck(core: &Arc<Core>, key: RunKey, error: &Error) {
    let parked = match in_reach(core, key.run, || core.storage.head(key)).await {
        Ok(Some(head)) => {
            let head = stuck_head(head, core.clock.now(), error);
            in_reach(core, key.run, || core.storage.park(key, None, Some(head.clone()))).await
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = parked {
        tracing::error!(run = %key.run, %error, "the run cannot be marked as stuck");
    }
    // What is in its inbox would make it ready again at once. A cancel that came since it was looked
    // for has made a claim of its own.
    if core.registry.hold(key) {
        claim::take(core, key);
    }
}

async fn load(core: &Arc<Core>, key: RunKey, recalls: u32) -> Result<Arc<Run>> {
    let asked = moving::asked_in(core, &core.storage.inbox(key).await?);
    if recalls > RECALLS_MAX && asked.is_none() {
        return Err(quarantined());
    }
    let unreadable = |why: BadJournal| Error::new(Code::JournalUnreadable, format!("run {}: {why}", key.run));
    let (mut state, mut journal) = read_stretch(&*core.storage, key).await?;
    if state.fork_lacks() > 0 {
        let whole = read_journal(&*core.storage, key).await?;
        let of_all = RunState::of(&whole.entries).map_err(unreadable)?;
        fork::complete(core, key, whole, of_all).await?;
        (state, journal) = read_stretch(&*core.storage, key).await?;
    }
    // What this worker would write next must be able to follow.
    let (last, _) = state.last();
    if state.end().is_some() {
        return Err(unreadable(BadJournal::Unexpected { kind: "Claimed", at: last.plus(1) }));
    }
    if journal.entries.last().is_some_and(|last| last.epoch > core.storage.epoch()) {
        return Err(unreadable(BadJournal::EpochBack { at: last.plus(1) }));
    }
    let mut refused = None;
    if let Some(asked) = asked {
        match moving::take(core, key, &mut journal, &mut state, asked).await? {
            Taken::Moved => {}
            Taken::Refused(_) if recalls > RECALLS_MAX => return Err(quarantined()),
            Taken::Refused(messages) => refused = Some(messages),
        }
    }
    let Journal { entries, last_frame } = journal;
    let code = code_of(core, key.tenant, state.component()).await?;
    let grants = grants_of(core, key, state.deployment(), state.component()).await?;
    let machine = machine_of(&state, &entries, core.sandbox.engine_name());
    let durable = state.last().0.plus(1);
    let sequencer = sequencer_after(state.last(), core.storage.epoch());
    let counted = counted(core, key, &state, &entries).await?;
    let loaded = Loaded {
        machine,
        state,
        sequencer,
        previous: Some(last_frame),
        start_key: None,
        head_written: None,
        recall_counted: true,
        durable,
        counted,
    };
    let run = Run::new(Given { key, core: core.clone(), code, grants }, loaded);
    run.lock().lay(core.rested.take(key, last_frame));
    if let Some(messages) = refused {
        let mut inner = run.lock();
        let end = inner.end();
        inner.seen.extend(&messages);
        inner.read.extend(messages.into_iter().map(|message| (end, message)));
    }
    Ok(run)
}

/// What a run used whose stretch that is.
async fn counted(core: &Core, key: RunKey, state: &RunState, entries: &[Entry]) -> Result<Counted> {
    let limits = used::limits_of(core, key.tenant).await?;
    let begun = state.continued_at().unwrap_or(Position::FIRST);
    Ok(Counted::after(limits, used::catch_up(core, key, entries, begun).await?))
}

fn quarantined() -> Error {
    let message = format!("taking up the run did not get beyond its claim {RECALLS_MAX} times");
    Error::new(Code::Quarantined, message)
}

/// What the functions of a run may reach: what the deployment was granted with this component.
pub(super) async fn grants_of(core: &Core, key: RunKey, deployment: &str, component: Digest) -> Result<Arc<Grants>> {
    let Some(deployment) = core.storage.deployment(key.tenant, deployment).await? else {
        return Ok(Arc::new(Grants::default()));
    };
    let version = version_of(&deployment, component);
    let patterns = version.map(|version| version.allow.as_slice()).unwrap_or_default();
    Grants::parse(patterns).map(Arc::new)
}

/// The version whose grants count for a run of `component`.
fn version_of(deployment: &Deployment, component: Digest) -> Option<&Version> {
    let has_it = |version: &&Version| version.component == component;
    // The current one, if it is of this component: a rollback takes grants back too.
    let current = deployment.versions.iter().find(|version| version.version == deployment.current).filter(has_it);
    current.or_else(|| deployment.versions.iter().rev().find(has_it))
}

#[cfg(test)]
mod tests;
