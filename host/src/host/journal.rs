//! Reading journals: frames from the store become entries, stored values become text. What is read
//! is checked; a journal that makes no sense is an error with its place, never a panic.

use std::sync::Arc;
use trackway_replay::{BadJournal, ChildOf, Entry, Frame, GraceSet, Kind, MessageId, Position, RunState, Topic, Value};
use trackway_storage::{RunKey, Storage, StoredFrame};

use super::room::Held;
use crate::{Code, Error, Result};

/// One read of the store: large enough that a long journal takes few, small enough to hold many.
const READ_BYTES: usize = 1 << 20;
/// The start of a run, what says where it comes from, its deadline and its grace.
const BEGINNING_ENTRIES: usize = 4;

/// Entries from `from` on, up to about `READ_BYTES` of frames; empty past the end.
pub async fn read(storage: &dyn Storage, run: RunKey, from: Position) -> Result<Vec<Entry>> {
    entries_of(run, from, &storage.frames(run, from, READ_BYTES).await?)
}

fn entries_of(run: RunKey, from: Position, frames: &[StoredFrame]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for frame in frames {
        entries.extend(decode(run, frame)?.into_iter().filter(|entry| entry.position >= from));
    }
    let gap = entries.iter().zip(from.0..).find(|(entry, position)| entry.position.0 != *position);
    match gap {
        Some((entry, expected)) => {
            Err(unreadable(run, format!("entry {expected} is missing; entry {} follows", entry.position)))
        }
        None => Ok(entries),
    }
}

/// Appends to `entries`, which must begin with the first one, everything that is durable by now; for each piece there
/// is room first.
pub async fn extend(storage: &dyn Storage, run: RunKey, entries: &mut Vec<Entry>, held: &mut Held) -> Result<()> {
    loop {
        let from = Position(entries.len() as u64);
        let frames = storage.frames(run, from, READ_BYTES).await?;
        held.grow(frames.iter().map(|frame| frame.frame.len()).sum())?;
        let more = entries_of(run, from, &frames)?;
        if more.is_empty() {
            return Ok(());
        }
        entries.extend(more);
    }
}

/// What a run is up to by all that is durable by now, each entry of which is shown. Nothing else of it is held.
pub async fn fold(storage: &dyn Storage, run: RunKey, mut show: impl FnMut(&Entry)) -> Result<RunState> {
    let (mut state, mut from) = (None::<RunState>, Position::FIRST);
    loop {
        let entries = read(storage, run, from).await?;
        let Some(last) = entries.last() else { break };
        from = last.position.plus(1);
        for entry in &entries {
            let taken = match &mut state {
                Some(state) => state.apply(entry),
                None => RunState::new(entry).map(|new| state = Some(new)),
            };
            taken.map_err(|why| unreadable(run, why.to_string()))?;
            show(entry);
        }
    }
    state.ok_or_else(|| unreadable(run, BadJournal::Empty.to_string()))
}

/// The entry at a position, if it is durable.
pub async fn at(storage: &dyn Storage, run: RunKey, position: Position) -> Result<Option<Entry>> {
    let frames = storage.frames(run, position, 1).await?;
    match frames.first() {
        Some(frame) => Ok(decode(run, frame)?.into_iter().find(|entry| entry.position == position)),
        None => Ok(None),
    }
}

/// The entries of a frame of the run, if there is one.
pub fn of_frame(run: RunKey, frame: Option<&StoredFrame>) -> Result<Vec<Entry>> {
    frame.map_or(Ok(Vec::new()), |frame| decode(run, frame))
}

fn decode(run: RunKey, stored: &StoredFrame) -> Result<Vec<Entry>> {
    let place = stored.position;
    let frame = Frame::decode(&stored.frame).map_err(|error| unreadable(run, format!("frame at {place}: {error}")))?;
    let agrees = frame.position() == place && frame.entries.len() as u64 == u64::from(stored.entries);
    if !agrees {
        return Err(unreadable(run, format!("frame at {place}: its key and its content do not agree")));
    }
    Ok(frame.entries)
}

/// The text of a value, from the entry or from beside the journal.
pub async fn text(storage: &dyn Storage, run: RunKey, value: &Value) -> Result<Arc<str>> {
    let digest = match value {
        Value::Inline(text) => return Ok(Arc::clone(text)),
        Value::Stored { digest, .. } => *digest,
    };
    let bytes = storage.payload(run, digest).await?;
    let bytes = bytes.ok_or_else(|| damaged(run, format!("payload {digest:?} is missing")))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Arc::from(text)),
        Err(_) => Err(damaged(run, format!("payload {digest:?} is not text"))),
    }
}

/// What a run was started with.
pub async fn input(storage: &dyn Storage, run: RunKey) -> Result<Option<Arc<str>>> {
    let frames = storage.frames(run, Position::FIRST, 1).await?;
    input_of(storage, run, &of_frame(run, frames.first())?).await
}

/// The same, of a run that begins with these entries.
pub async fn input_of(storage: &dyn Storage, run: RunKey, beginning: &[Entry]) -> Result<Option<Arc<str>>> {
    match beginning.first().map(|entry| &entry.kind) {
        Some(Kind::Started(started)) => Ok(Some(text(storage, run, &started.input).await?)),
        Some(other) => Err(unreadable(run, format!("it begins with {}", other.name()))),
        None => Ok(None),
    }
}

/// Which step of which run started a run that begins with these entries, if one did: it stands right behind the start.
pub fn child_of(beginning: &[Entry]) -> Option<ChildOf> {
    match beginning.get(1).map(|entry| &entry.kind) {
        Some(Kind::ChildOf(child_of)) => Some(child_of.clone()),
        Some(_) | None => None,
    }
}

/// The time that a run was given when it began.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub run_timeout_ms: Option<u64>,
    /// For its end after a cancel.
    pub cancel_grace_ms: Option<u64>,
}

/// Of a journal that cannot be read to there, what can.
pub async fn given(storage: &dyn Storage, run: RunKey) -> Result<Given> {
    let mut first: Vec<Entry> = Vec::new();
    while first.len() < BEGINNING_ENTRIES {
        let next = Position(first.len() as u64);
        let entries = match storage.frames(run, next, 1).await?.first() {
            Some(frame) => decode(run, frame).unwrap_or_default(),
            None => Vec::new(),
        };
        if entries.is_empty() {
            break;
        }
        first.extend(entries);
    }
    let Some(mut state) = first.first().and_then(|started| RunState::new(started).ok()) else {
        return Ok(Given::default());
    };
    // Each stands as far as those before it do.
    let _ = first.iter().take(BEGINNING_ENTRIES).skip(1).try_for_each(|entry| state.apply(entry));
    let grace = state.grace().filter(|grace| grace.message == GraceSet::FROM_THE_START);
    Ok(Given {
        run_timeout_ms: state.timeout().and_then(|timeout| u64::try_from(timeout.as_millis()).ok()),
        cancel_grace_ms: grace.map(|grace| grace.grace_ms),
    })
}

/// What a signal or an update brought that the run has read.
pub async fn letter(storage: &dyn Storage, run: RunKey, message: MessageId) -> Result<Option<(Topic, Value)>> {
    let mut from = Position::FIRST;
    loop {
        let entries = read(storage, run, from).await?;
        let Some(last) = entries.last() else { return Ok(None) };
        from = last.position.plus(1);
        let mut letters = entries.iter().filter_map(letter_in);
        if let Some((_, topic, body)) = letters.find(|(brought, ..)| *brought == message) {
            return Ok(Some((topic, body)));
        }
    }
}

fn letter_in(entry: &Entry) -> Option<(MessageId, Topic, Value)> {
    if let Kind::UpdateOffered(offered) = &entry.kind {
        return Some((offered.message, Topic::Update(offered.name.clone()), offered.payload.clone()));
    }
    Topic::of_entry(entry).map(|(topic, letter)| (letter.message, topic, letter.body))
}

/// Whether an inbox item got into the journal, read or unread.
pub async fn has_message(storage: &dyn Storage, run: RunKey, message: MessageId) -> Result<bool> {
    let mut from = Position::FIRST;
    loop {
        let entries = read(storage, run, from).await?;
        let Some(last) = entries.last() else { return Ok(false) };
        from = last.position.plus(1);
        let names_it = |entry: &Entry| match &entry.kind {
            Kind::CancelReceived(cancel) => cancel.message == message,
            Kind::Paused(paused) => paused.message == message,
            Kind::Resumed(resumed) => resumed.message == message,
            Kind::ChildEnded(ended) => ended.message == message,
            Kind::RetryReceived(retry) => retry.message == message,
            Kind::Signalled(signalled) => signalled.message == message,
            Kind::UpdateReceived(update) => update.message == message,
            Kind::UpdateOffered(offered) => offered.message == message,
            Kind::Moved(moved) => moved.message == message,
            // Its message is that of the question, not of the request.
            Kind::Settled(_) => false,
            Kind::Finished(finished) => finished.unread.contains(&message),
            _ => false,
        };
        if entries.iter().any(names_it) {
            return Ok(true);
        }
    }
}

fn unreadable(run: RunKey, why: String) -> Error {
    Error::new(Code::JournalUnreadable, format!("the journal of run {} cannot be read: {why}", run.run))
}

fn damaged(run: RunKey, why: String) -> Error {
    Error::new(Code::DataDamaged, format!("run {}: {why}", run.run))
}

#[cfg(test)]
mod tests;
