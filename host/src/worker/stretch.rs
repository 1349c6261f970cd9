//! Reads of a journal what a worker needs to go on: all of it, or what stands since its workflow began
//! anew. Read from the back, so that what came before costs nothing. It never writes.

use futures_util::future::join;
use trackway_replay::{BadJournal, Entry, Frame, FrameId, Kind, Position, RunState};
use trackway_storage::{RunKey, Storage, StoredFrame};

use super::load::Journal;
use crate::{Code, Error, Result};

/// Read in pieces of so many entries.
const PIECE_ENTRIES: u64 = 4_096;
/// A store is asked for so many bytes at most at once, however large the entries are.
const READ_MAX_BYTES: usize = 4 << 20;
/// Fewer are no quicker to read.
const READ_MIN_BYTES: usize = 16 << 10;
/// Entries are not all of one size: one part in so many more is asked for than they should take, so that one read is
/// mostly enough.
const SPARE: u64 = 16;

/// The state of a run, and what its machine is told: since the workflow began anew, with what it took along.
pub(super) async fn read_stretch(storage: &dyn Storage, key: RunKey) -> Result<(RunState, Journal)> {
    let bad = |why: BadJournal| unreadable(key, &why.to_string());
    let (entries, last_frame) = read_back(storage, key).await?;
    let Some((began, rest)) = entries.split_first().filter(|(first, _)| first.position > Position::FIRST) else {
        let state = RunState::of(&entries).map_err(bad)?;
        return Ok((state, Journal { entries, last_frame }));
    };
    let Kind::Continued(continued) = &began.kind else { return Err(unreadable(key, "its beginning is missing")) };
    let mut first = entry_frame(storage, key, Position::FIRST).await?;
    // Whether it is a fork stands behind its start, and behind that its deadline.
    for place in [1, 2] {
        let is_wanted = place == 1 || matches!(first.get(1).map(|entry| &entry.kind), Some(Kind::Forked(_)));
        if is_wanted && first.len() == place && Position(place as u64) < began.position {
            first.extend(entry_frame(storage, key, Position(place as u64)).await?);
        }
    }
    let mut mail: Vec<Entry> = Vec::new();
    let mut frame: Vec<Entry> = Vec::new();
    for place in &continued.mail {
        let find = |entries: &[Entry]| entries.iter().find(|entry| entry.position == *place).cloned();
        let item = match find(&frame) {
            Some(item) => item,
            None => {
                frame = entry_frame(storage, key, *place).await?;
                find(&frame).ok_or_else(|| unreadable(key, &format!("the entry at {place} is missing")))?
            }
        };
        mail.push(item);
    }
    let mut state = RunState::resumed(&first, &mail, began).map_err(bad)?;
    rest.iter().try_for_each(|entry| state.apply(entry)).map_err(bad)?;
    mail.extend(entries);
    Ok((state, Journal { entries: mail, last_frame }))
}

/// The entries from the last `Continued` on, or all, and the id of the last frame.
async fn read_back(storage: &dyn Storage, key: RunKey) -> Result<(Vec<Entry>, FrameId)> {
    let to = storage.end(key).await?;
    let mut back = Back { key, to, before: None, last_frame: None, parts: Vec::new() };
    let (frames, wanted) = read_piece(storage, key, Wanted { to, entry_bytes: u64::MAX }).await?;
    // Most stretches begin in their last piece. Of a longer one a piece is decoded while the one before it is read.
    if !back.take(frames)? {
        let (mut frames, mut wanted) = read_piece(storage, key, wanted).await?;
        loop {
            let (ahead, is_whole) = join(read_piece(storage, key, wanted), async { back.take(frames) }).await;
            if is_whole? {
                break;
            }
            (frames, wanted) = ahead?;
        }
    }
    let Back { last_frame, parts, .. } = back;
    let last_frame =
        last_frame.ok_or_else(|| Error::new(Code::NoSuchRun, format!("run {} has no journal", key.run)))?;
    let mut entries = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    parts.into_iter().rev().for_each(|part| entries.extend(part));
    Ok((entries, last_frame))
}

/// What was read from the end of a journal back to `to`.
struct Back {
    key: RunKey,
    to: Position,
    /// The frame that ends there, as far as the one behind it tells.
    before: Option<FrameId>,
    last_frame: Option<FrameId>,
    /// The last one first. An entry is large, so each is moved once, when it is known how many there are.
    parts: Vec<Vec<Entry>>,
}

impl Back {
    /// Takes in the frames before all that was taken in, and says whether nothing is wanted before them.
    fn take(&mut self, frames: Vec<StoredFrame>) -> Result<bool> {
        for stored in frames.into_iter().rev() {
            let mut entries = decode(self.key, &stored)?.entries;
            let (end, to) = (stored.position.plus(entries.len() as u64), self.to);
            let begins_there = entries.first().is_some_and(|first| first.position == stored.position);
            if !begins_there || end != to || self.before.is_some_and(|before| before != stored.id) {
                let why = format!("the frame at {} does not end before {to}", stored.position);
                return Err(unreadable(self.key, &why));
            }
            (self.to, self.before) = (stored.position, stored.previous);
            self.last_frame.get_or_insert(stored.id);
            if let Some(place) = entries.iter().rposition(|entry| matches!(entry.kind, Kind::Continued(_))) {
                self.parts.push(entries.split_off(place));
                return Ok(true);
            }
            self.parts.push(entries);
        }
        Ok(self.to == Position::FIRST)
    }
}

/// The piece that is read next: what stands before `to`, each entry of about so many bytes.
#[derive(Clone, Copy)]
struct Wanted {
    to: Position,
    entry_bytes: u64,
}

/// The frames from that on which holds the first entry of the piece, and the piece before it. At least one frame,
/// unless nothing is before the piece's end.
async fn read_piece(storage: &dyn Storage, key: RunKey, wanted: Wanted) -> Result<(Vec<StoredFrame>, Wanted)> {
    let Wanted { to, mut entry_bytes } = wanted;
    let missing = |place: Position| unreadable(key, &format!("the frame at {place} is missing"));
    let mut piece: Vec<StoredFrame> = Vec::new();
    let mut next = Position(to.0.saturating_sub(PIECE_ENTRIES));
    let mut size_bytes = 0;
    while next < to {
        let expected = usize::try_from((to.0 - next.0).saturating_mul(entry_bytes));
        let max_bytes = expected.unwrap_or(READ_MAX_BYTES).clamp(READ_MIN_BYTES, READ_MAX_BYTES);
        let frames = storage.frames(key, next, max_bytes).await?;
        let Some(last) = frames.last() else { return Err(missing(next)) };
        next = last.position.plus(u64::from(last.entries));
        size_bytes += frames.iter().map(|stored| stored.frame.len() as u64).sum::<u64>();
        piece.extend(frames);
        let entries: u64 = piece.iter().map(|stored| u64::from(stored.entries)).sum();
        entry_bytes = (size_bytes + size_bytes / SPARE) / entries.max(1) + 1;
    }
    piece.retain(|stored| stored.position < to);
    let before = match piece.first() {
        Some(first) => first.position,
        None if to == Position::FIRST => to,
        None => return Err(missing(to)),
    };
    Ok((piece, Wanted { to: before, entry_bytes }))
}

/// The entries of the frame that holds the one at `place`.
async fn entry_frame(storage: &dyn Storage, key: RunKey, place: Position) -> Result<Vec<Entry>> {
    let stored = storage.frames(key, place, 1).await?.into_iter().next();
    let stored = stored.ok_or_else(|| unreadable(key, &format!("the frame at {place} is missing")))?;
    Ok(decode(key, &stored)?.entries)
}

pub(super) fn decode(key: RunKey, stored: &StoredFrame) -> Result<Frame> {
    Frame::decode(&stored.frame).map_err(|error| unreadable(key, &error.to_string()))
}

pub(super) fn unreadable(key: RunKey, why: &str) -> Error {
    Error::new(Code::JournalUnreadable, format!("run {}: {why}", key.run))
}

#[cfg(test)]
mod tests;
