//! Moves a run to other code: everything on record is done again by that code in a sandbox, with nothing
//! leaving it; only if all of it agrees the run is pinned to it, by an entry. Done when the run is taken
//! up, so that its journal stands still meanwhile. It never changes what is on record.

use std::sync::Arc;
use trackway_replay::{Claimed, Digest, Frame, FrameId, Kind, MessageId, Moved, RunState};
use trackway_storage::{Append, InboxBody, InboxItem, Rows, RunKey};

use super::Core;
use super::code::code_of;
use super::load::Journal;
use super::run::sequencer_after;
use super::verify::replay;
use super::write::{self, Outgoing, Written};
use crate::{Code, Error, Result};

/// Whoever asked saw the other code do all that was on record. A move that so many processes after that one
/// did not live to write down brings them down, and is given up.
const PROCESSES_MAX: u64 = 2;

/// What somebody asked for.
pub(super) struct Asked {
    /// Of the latest one, and of those before it that it stands for.
    message: MessageId,
    messages: Vec<MessageId>,
    deployment: Arc<str>,
    component: Digest,
    is_given_up: bool,
}

pub(super) enum Taken {
    Moved,
    /// The run goes on as it is; the messages are read.
    Refused(Vec<MessageId>),
}

/// The latest move that an inbox asks for.
pub(super) fn asked_in(core: &Core, items: &[InboxItem]) -> Option<Asked> {
    let moves = items.iter().filter(|item| matches!(item.body, InboxBody::Move { .. }));
    let messages: Vec<MessageId> = moves.map(|item| item.message).collect();
    items.iter().rev().find_map(|item| match &item.body {
        InboxBody::Move { deployment, component, epoch } => Some(Asked {
            message: item.message,
            messages: messages.clone(),
            deployment: deployment.clone(),
            component: *component,
            is_given_up: core.storage.epoch().0 > epoch.0.saturating_add(PROCESSES_MAX),
        }),
        InboxBody::Cancel { .. }
        | InboxBody::CancelWithin { .. }
        | InboxBody::Terminate { .. }
        | InboxBody::Pause { .. }
        | InboxBody::Resume
        | InboxBody::ChildEnded { .. }
        | InboxBody::Retry { .. }
        | InboxBody::Signal { .. }
        | InboxBody::Answer { .. }
        | InboxBody::AnswerInAttempt { .. }
        | InboxBody::Promise { .. }
        | InboxBody::Update { .. }
        | InboxBody::UpdateWithin { .. } => None,
    })
}

/// Whether a run that is stuck here may get out of it by a move.
pub(super) async fn is_asked(core: &Core, key: RunKey) -> bool {
    match core.storage.inbox(key).await {
        Ok(items) => asked_in(core, &items).is_some_and(|asked| !asked.is_given_up),
        Err(_) => false,
    }
}

/// Moves a run that this worker owns and does not drive, if the other code does all that is on record.
pub(super) async fn take(
    core: &Arc<Core>,
    key: RunKey,
    journal: &mut Journal,
    state: &mut RunState,
    asked: Asked,
) -> Result<Taken> {
    let Asked { message, messages, deployment, component, is_given_up } = asked;
    let proof = if is_given_up { Err(given_up()) } else { prove(core, key, journal, state, component).await };
    if let Err(error) = proof {
        tracing::warn!(run = %key.run, %deployment, %error, "the run is not moved");
        return Ok(Taken::Refused(messages));
    }
    let mut sequencer = sequencer_after(state.last(), core.storage.epoch());
    let (position, now) = (sequencer.next(), core.clock.now());
    let (worker, engine) = (core.options.name.clone(), core.sandbox.engine_name().clone());
    sequencer.push(now, Kind::Claimed(Claimed { worker, engine, component }));
    sequencer.push(now, Kind::Moved(Moved { message, deployment, component }));
    let entries = sequencer.take_frame();
    let unreadable = |why: trackway_replay::BadJournal| Error::new(Code::JournalUnreadable, why.to_string());
    entries.iter().try_for_each(|entry| state.apply(entry)).map_err(unreadable)?;
    let id = FrameId(u128::from_le_bytes(core.random()));
    let append = Append {
        run: key,
        position,
        entries: entries.len() as u32,
        previous: Some(journal.last_frame),
        id,
        frame: Frame::encode(&entries).into(),
        // What brought the process down before was the other code.
        rows: Rows { head: Some(state.head()), read: messages, recalled: true, ..Rows::default() },
    };
    match write::write(core, Outgoing { append, values: Vec::new(), entries: entries.clone() }).await {
        Written::UpTo(_) => {
            journal.entries.extend(entries);
            journal.last_frame = id;
            Ok(Taken::Moved)
        }
        Written::Refused(error) => Err(error.into()),
        Written::Fenced | Written::KeyTaken(_) | Written::GaveUp | Written::Lines(_) => {
            Err(Error::new(Code::Stopping, format!("run {} is not this worker's any more", key.run)))
        }
    }
}

async fn prove(core: &Arc<Core>, key: RunKey, journal: &Journal, state: &RunState, component: Digest) -> Result<()> {
    let code = code_of(core, key.tenant, component).await?;
    let report = replay(core, key, &journal.entries, state, Some((component, code))).await?;
    match report.divergence {
        None => Ok(()),
        Some(divergence) => Err(Error::new(Code::CannotMove, divergence.to_string())),
    }
}

fn given_up() -> Error {
    Error::new(Code::CannotMove, "taking the run up on the other code brought the process down")
}
