//! Reads of a journal what a worker needs to go on: all of it, or what stands since its workflow began
//! anew. Read from the back, so that what came before costs nothing. It never writes.

use trackway_replay::{BadJournal, Entry, Frame, FrameId, Kind, Position, RunState};
use trackway_storage::{RunKey, Storage, StoredFrame};

use super::load::Journal;
use crate::{Code, Error, Result};

/// Read in pieces of so many entries, and of so many bytes.
const PIECE_ENTRIES: u64 = 4_096;
const PIECE_BYTES: usize = 4 << 20;

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
    // From the last one back. An entry is large, so each is moved once, when it is known how many there are.
    let mut pieces: Vec<Vec<Entry>> = Vec::new();
    let mut last_frame = None;
    let mut before = None;
    let mut to = storage.end(key).await?;
    'back: while to > Position::FIRST {
        let frames = read_piece(storage, key, Position(to.0.saturating_sub(PIECE_ENTRIES)), to).await?;
        for stored in frames.into_iter().rev() {
            let mut entries = decode(key, &stored)?.entries;
            let end = stored.position.plus(entries.len() as u64);
            let begins_there = entries.first().is_some_and(|first| first.position == stored.position);
            if !begins_there || end != to || before.is_some_and(|before| before != stored.id) {
                return Err(unreadable(key, &format!("the frame at {} does not end before {to}", stored.position)));
            }
            (to, before) = (stored.position, stored.previous);
            last_frame.get_or_insert(stored.id);
            let beginning = entries.iter().rposition(|entry| matches!(entry.kind, Kind::Continued(_)));
            pieces.push(match beginning {
                Some(place) => entries.split_off(place),
                None => entries,
            });
            if beginning.is_some() {
                break 'back;
            }
        }
    }
    let last_frame =
        last_frame.ok_or_else(|| Error::new(Code::NoSuchRun, format!("run {} has no journal", key.run)))?;
    let mut entries = Vec::with_capacity(pieces.iter().map(Vec::len).sum());
    pieces.into_iter().rev().for_each(|piece| entries.extend(piece));
    Ok((entries, last_frame))
}

/// The frames from that which holds `from` on, up to `to`; at least one.
async fn read_piece(storage: &dyn Storage, key: RunKey, from: Position, to: Position) -> Result<Vec<StoredFrame>> {
    let mut piece: Vec<StoredFrame> = Vec::new();
    let mut next = from;
    while next < to {
        let frames = storage.frames(key, next, PIECE_BYTES).await?;
        let Some(last) = frames.last() else {
            return Err(unreadable(key, &format!("the frame at {next} is missing")));
        };
        next = last.position.plus(u64::from(last.entries));
        piece.extend(frames);
    }
    piece.retain(|stored| stored.position < to);
    Ok(piece)
}

/// The entries of the frame that holds the one at `place`.
async fn entry_frame(storage: &dyn Storage, key: RunKey, place: Position) -> Result<Vec<Entry>> {
    let stored = storage.frames(key, place, 1).await?.into_iter().next();
    let stored = stored.ok_or_else(|| unreadable(key, &format!("the frame at {place} is missing")))?;
    Ok(decode(key, &stored)?.entries)
}

fn decode(key: RunKey, stored: &StoredFrame) -> Result<Frame> {
    Frame::decode(&stored.frame).map_err(|error| unreadable(key, &error.to_string()))
}

fn unreadable(key: RunKey, why: &str) -> Error {
    Error::new(Code::JournalUnreadable, format!("run {}: {why}", key.run))
}
