//! Starts a run that goes on from a step of another one. Its first frame says so and is the
//! acknowledgement; what it keeps of the other run is copied when it is taken up, before anything
//! of it runs, so a crash in between leaves nothing half done.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use trackway_replay::{
    BadJournal, Cut, DeadlineSet, Entry, Forked, Frame, FrameId, Kind, Position, RunState, Sequencer, Started, StepId,
    Value, fork,
};
use trackway_storage::{Append, Landmark, Owner, Rows, RunKey, StartKey};

use super::code::missing;
use super::entity;
use super::forks::Fork;
use super::load::{Journal, read_journal};
use super::reach::in_reach;
use super::run::{Payloads, first_state, landmarks_in, sequencer_after};
use super::start::existing;
use super::used::{Counted, limits_of};
use super::write::{self, Outgoing, Written};
use super::{Core, StartAnswer, StartKeyRequest, Worker};
use crate::{Code, Error, Result};

impl Worker {
    /// Starts a run that keeps what stood in `source` before `step` was asked for. Answers when it
    /// is durable.
    pub async fn fork(&self, source: RunKey, step: StepId, wanted: Option<StartKeyRequest>) -> Result<StartAnswer> {
        let core = &self.core;
        if let Some(wanted) = &wanted
            && let Some(known) = core.storage.start_key(source.tenant, &wanted.key).await?
        {
            return existing(wanted, known);
        }
        let now = core.clock.now();
        let limits = limits_of(core, source.tenant).await?;
        let starting = limits.admit_start(now).map_err(|crossing| crossing.error())?;
        let key = RunKey { tenant: source.tenant, run: core.next_run(now) };
        let needs = Fork::begin(core, key.run, source.run).await;
        let reading = core.forks.read().await;
        let Journal { entries, .. } = read_journal(&*core.storage, source).await?;
        let before = RunState::of(&entries).map_err(|why| unreadable(source, &why))?;
        if before.fork_lacks() > 0 {
            let why = format!("run {} has not begun: it is being restarted itself", source.run);
            return Err(Error::new(Code::CannotRestart, why).hint("try again in a moment"));
        }
        let now = core.clock.now();
        let deadline = before.timeout().map(|timeout| now + timeout);
        let kept = fork::kept(&entries, step, deadline).map_err(|why| {
            let why = format!("run {} cannot be restarted from there: {why}", source.run);
            Error::new(Code::CannotRestart, why).hint(format!("`trackway trace {}` lists its steps", source.run))
        })?;
        // It may have been removed since the run had it, and what is compiled of it for another tenant is not this one's.
        if core.storage.component(source.tenant, kept.component).await?.is_none() {
            return Err(missing(kept.component));
        }
        let started = Started {
            run: key.run,
            key_seed: core.random(),
            deployment: kept.deployment.clone(),
            component: kept.component,
            ..(**before.started()).clone()
        };
        let input = payloads_of(core, source, &[&started.input]).await?;
        let cut = Cut { commands: kept.commands, seed: core.random() };
        let forked = Forked {
            from: source.run,
            step,
            entries: kept.entries.len() as u64,
            at: now,
            cuts: kept.cuts.into_iter().chain([cut]).collect(),
        };
        let mut sequencer = Sequencer::new(Position::FIRST, core.storage.epoch(), before.started_at());
        let mut state = first_state(sequencer.push(before.started_at(), Kind::Started(Box::new(started))));
        let forked = sequencer.push(before.started_at(), Kind::Forked(Box::new(forked)));
        state.apply(forked).map_err(|why| unreadable(key, &why))?;
        if let Some(at) = deadline {
            let deadline = sequencer.push(before.started_at(), Kind::DeadlineSet(DeadlineSet { at }));
            state.apply(deadline).map_err(|why| unreadable(key, &why))?;
        }
        let start_key = wanted.as_ref().map(|it| StartKey { key: it.key.clone(), run: key.run, request: it.request });
        let rows = Rows { head: Some(state.head()), start_key, ..Rows::default() };
        let (_, mut first) = outgoing(core, key, None, sequencer.take_frame(), input, rows);
        let mut counted = Counted::starting(starting);
        counted.frame(&first.entries, first.append.frame.len(), &[]);
        let end = first.append.position.plus(u64::from(first.append.entries));
        first.append.rows.used = counted.bring(true);
        first.append.rows.landmarks.push((Landmark::Metered, Position(end.0 - 1)));
        drop(kept.entries);
        drop(entries);
        drop(reading);
        let (ack, acknowledged) = oneshot::channel();
        let task_core = core.clone();
        // In a task of its own: whoever asked may go away before the run is given to whoever claims it.
        core.spawner.spawn(Box::pin(async move {
            let written = write::write(&task_core, first).await;
            counted.went(&written);
            if matches!(written, Written::UpTo(_)) {
                needs.stands();
                if let Err(error) = in_reach(&task_core, key.run, || task_core.storage.release(key)).await {
                    tracing::warn!(run = %key.run, %error, "the restarted run cannot be given to a worker");
                }
            }
            // Nobody listens any more; the run goes on all the same.
            let _ = ack.send(written);
        }));
        let stopping = |_| Error::new(Code::Stopping, "the server is stopping and starts no more runs");
        match (acknowledged.await.map_err(stopping)?, wanted) {
            (Written::UpTo(_), _) => Ok(StartAnswer { run: key.run, existing: false }),
            (Written::KeyTaken(known), Some(wanted)) => existing(&wanted, known),
            (Written::Refused(error), _) => Err(error.into()),
            (Written::KeyTaken(_) | Written::Fenced | Written::GaveUp | Written::Lines(_), _) => {
                Err(Error::new(Code::Internal, format!("the first frame of run {} was not taken", key.run)))
            }
        }
    }
}

/// Copies what a fork, whose journal so far is given, still lacks of the run that it comes from.
pub(super) async fn complete(core: &Core, key: RunKey, journal: Journal, state: RunState) -> Result<()> {
    let Some(forked) = state.forked().cloned() else { return Ok(()) };
    // Also where this does not get to its end, and is tried again.
    core.forks.need(key.run, forked.from).await;
    let _reading = core.forks.read().await;
    let mut last_frame = journal.last_frame;
    let source = RunKey { run: forked.from, ..key };
    let from = read_journal(&*core.storage, source).await.map_err(|error| {
        let why = format!("run {} was to be restarted from run {}: {}", key.run, source.run, error.message);
        Error { message: why, ..error }
    })?;
    let changed = || {
        let why = format!("run {} does not hold any more what run {} was to keep of it", source.run, key.run);
        Error::new(Code::JournalUnreadable, why)
    };
    let kept = fork::kept(&from.entries, forked.step, state.deadline()).map_err(|_| changed())?;
    if kept.entries.len() as u64 != forked.entries {
        return Err(changed());
    }
    let closed: BTreeSet<StepId> = fork::closed(kept.entries.iter().map(AsRef::as_ref));
    let there = kept.entries.len() - state.fork_lacks() as usize;
    let mut state = state;
    let mut sequencer = sequencer_after(state.last(), core.storage.epoch());
    let mut left = kept.entries.into_iter().skip(there).peekable();
    while left.peek().is_some() {
        while let Some(entry) = left.next_if(|_| !sequencer.is_too_far_ahead()) {
            // With the time that the guest of the other run saw.
            let copy = sequencer.put(sequencer.entry(entry.time, entry.kind.clone()));
            state.apply(copy).map_err(|why| unreadable(key, &why))?;
        }
        while sequencer.has_pending() {
            let entries = sequencer.take_frame();
            let values: Vec<&Value> = entries.iter().flat_map(|entry| entry.kind.value()).collect();
            let large = payloads_of(core, source, &values).await?;
            let is_last = left.peek().is_none() && !sequencer.has_pending();
            let asked = if is_last { state.questions().collect() } else { Vec::new() };
            // What had no answer begins anew, so its write is this run's own.
            let entities = entity::writes_of(&entries, &closed, core.clock.now());
            let rows = Rows { head: is_last.then(|| state.head()), asked, entities, ..Rows::default() };
            let (frame, outgoing) = outgoing(core, key, Some(last_frame), entries, large, rows);
            match write::write(core, outgoing).await {
                Written::UpTo(_) => last_frame = frame,
                Written::Refused(error) => return Err(error.into()),
                Written::Fenced | Written::KeyTaken(_) | Written::GaveUp | Written::Lines(_) => {
                    return Err(Error::new(Code::Stopping, format!("run {} is not this worker's any more", key.run)));
                }
            }
        }
    }
    core.forks.done(key.run);
    Ok(())
}

fn outgoing(
    core: &Core,
    key: RunKey,
    previous: Option<FrameId>,
    entries: Vec<Entry>,
    values: Payloads,
    rows: Rows,
) -> (FrameId, Outgoing) {
    let id = FrameId(u128::from_le_bytes(core.random()));
    let append = Append {
        run: key,
        position: entries.first().map_or(Position::FIRST, |entry| entry.position),
        entries: entries.len() as u32,
        previous,
        id,
        frame: Frame::encode(&entries).into(),
        rows: Rows { owner: Owner::Keep, landmarks: landmarks_in(&entries), ..rows },
    };
    (id, Outgoing { append, values, entries })
}

/// What stands beside the journal of `source` for these values. A payload belongs to one run.
async fn payloads_of(core: &Core, source: RunKey, values: &[&Value]) -> Result<Payloads> {
    let mut payloads = Vec::new();
    for value in values {
        if let Value::Stored { digest, .. } = value {
            let text: Arc<str> = super::run::read_payload(core, source, *digest).await?;
            payloads.push((*digest, Bytes::copy_from_slice(text.as_bytes())));
        }
    }
    Ok(payloads)
}

fn unreadable(key: RunKey, why: &BadJournal) -> Error {
    Error::new(Code::JournalUnreadable, format!("run {}: {why}", key.run))
}
