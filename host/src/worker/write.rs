//! Brings a run's entries to storage, one frame at a time.

use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join_all};
use std::sync::PoisonError;
use trackway_replay::{Digest, Entry, Frame, FrameId, Head, Kind, MessageId, Position, Status};
use trackway_storage::{
    Append, Appended, FRAME_MAX_BYTES, Landmark, LogLine, Owner, PAYLOAD_ROW_MAX_BYTES, Rows, RunKey, StartKey,
    StorageError,
};

use super::Core;
use super::child;
use super::reach::TRY_AGAIN_AFTER;
use super::run::{Along, Inner, Payloads, Run, landmarks_in};
use super::used::used_by_lines;

/// How a frame's way to storage ended.
pub(super) enum Written {
    /// Everything before this position is durable.
    UpTo(Position),
    /// So many log lines, by themselves.
    Lines(usize),
    /// Another owner wrote there.
    Fenced,
    /// Only of a first frame.
    KeyTaken(StartKey),
    /// Only of a first frame: nobody has been told of the run, so it is dropped.
    Refused(StorageError),
    /// The worker stops, and storage took the frame neither before nor at the end of the grace period.
    GaveUp,
}

pub(super) type Writing = BoxFuture<'static, Written>;

/// Begins to write the next frame. `last` is what the frame does to the ownership if nothing is
/// left after it. `None` if nothing is pending.
pub(super) fn begin(run: &Run, inner: &mut Inner, last: Owner) -> Option<Writing> {
    let entries = inner.sequencer.take_frame();
    let first = entries.first()?;
    let position = first.position;
    let count = entries.len() as u32;
    let core = run.core.clone();
    let frame = Bytes::from(Frame::encode(&entries));
    let id = FrameId(u128::from_le_bytes(run.core.random()));
    let (values, payloads) = inner.take_payloads();
    let Along { asked, settled, logs, read, mut send, entities, entities_answered } =
        inner.take_rows(position.plus(u64::from(count)));
    send.extend(child::told_of_end(run.key, &inner.state, &entries, run.now()));
    let status = inner.state.status();
    let has_more = inner.sequencer.has_pending();
    // The state is that of all that is sequenced. What no frame holds yet must not show in a head.
    let head = match &inner.head_written {
        Some(_) if has_more => None,
        None if has_more => Some(head_of_first(inner, &entries)),
        // How far it is stands there once it waits. While it waits all of it does, since nobody may come by again.
        Some(written) if last == Owner::Keep && (written.status, status) == (Status::Running, Status::Running) => None,
        Some(_) | None => Some(inner.state.head()),
    };
    inner.counted.frame(&entries, frame.len(), &logs);
    let head = head.filter(|head| last != Owner::Keep || inner.head_written.as_ref() != Some(head));
    if let Some(head) = &head {
        inner.head_written = Some(head.clone());
    }
    let owner = if has_more { Owner::Keep } else { last };
    // One row costs the store less than two.
    let is_alone = head.is_none() && owner == Owner::Keep && logs.is_empty() && read.is_empty() && payloads.is_empty();
    let used = inner.counted.bring(!is_alone);
    let mut landmarks = landmarks_in(&entries);
    if !used.is_empty() && inner.counted.marks(owner == Owner::End) {
        landmarks.push((Landmark::Metered, Position(position.0 + u64::from(count) - 1)));
    }
    let rows = Rows {
        head,
        owner,
        read,
        asked,
        settled,
        landmarks,
        used,
        // What a message is told from another by stands beside the inbox.
        brought: Vec::new(),
        logs,
        send,
        entities,
        entities_answered,
        payloads,
        // Storage knows what is in the inbox, and says so.
        unread: Vec::new(),
        start_key: inner.start_key.take(),
        recalled: inner.recall_counted && (inner.moved_on || inner.recall_survived),
    };
    inner.recall_counted &= !rows.recalled;
    let append = Append { run: run.key, position, entries: count, previous: inner.previous, id, frame, rows };
    inner.previous = Some(id);
    let frame = Outgoing { append, values, entries };
    Some(Box::pin(async move { write(&core, frame).await }))
}

/// The head of a run whose first frame does not hold all that it has done.
fn head_of_first(inner: &Inner, entries: &[Entry]) -> Head {
    let asked = entries.iter().filter(|entry| matches!(entry.kind, Kind::Asked(_))).count();
    Head {
        status: Status::Running,
        waiting: None,
        due: None,
        changed: inner.state.started_at(),
        finished: None,
        code: None,
        message: None,
        steps: asked as u32,
        ..inner.state.head()
    }
}

/// In one write: more would make frames of other runs wait.
const LINES_MAX: usize = 64;
/// Of the texts of lines in one write: as much as of a large value.
const LINES_MAX_BYTES: usize = 32 << 10;

/// How many of the lines go in the next write of lines, and whether more could. Only what they tell of is durable may
/// be written without its frame.
fn first_lines(logs: &[(Position, LogLine)], durable: Position) -> (usize, bool) {
    let free = &logs[..logs.partition_point(|(cause, _)| *cause <= durable)];
    let mut size_bytes = 0;
    let fits = |(_, line): &&(Position, LogLine)| {
        let is_first = size_bytes == 0;
        size_bytes += line.message.len() + line.fields.len();
        is_first || size_bytes <= LINES_MAX_BYTES
    };
    let count = free.iter().take(LINES_MAX).take_while(fits).count();
    (count, count < free.len())
}

/// Whether a frame would bring so many lines along that some are written before it.
pub(super) fn has_many_lines(run: &Run, inner: &Inner) -> bool {
    inner.previous.is_some() && first_lines(&inner.logs, run.durable_position()).1
}

/// Begins to write log lines by themselves. Only while no frame is on its way. `None` if there are no lines that tell of
/// nothing but what is durable.
pub(super) fn begin_lines(run: &Run, inner: &Inner) -> Option<Writing> {
    let (count, _) = first_lines(&inner.logs, run.durable_position());
    let lines: Vec<LogLine> = inner.logs.iter().take(count).map(|(_, line)| line.clone()).collect();
    let (last, core, key) = (inner.previous?, run.core.clone(), run.key);
    let used = used_by_lines(&lines);
    let write = async move {
        match core.storage.log(key, last, lines, used).await {
            Ok(true) => Written::Lines(count),
            Ok(false) => Written::Fenced,
            Err(error) => {
                tracing::warn!(run = %key.run, %error, "log lines cannot be written; the run goes on");
                core.clock.sleep_until(core.clock.now() + TRY_AGAIN_AFTER).await;
                Written::Lines(0)
            }
        }
    };
    (count > 0).then(|| -> Writing { Box::pin(write) })
}

/// A frame on its way, with what has to be there before it.
pub(super) struct Outgoing {
    pub append: Append,
    pub values: Payloads,
    /// What the frame holds.
    pub entries: Vec<Entry>,
}

/// Small values of one frame that are on their way at once, so that one flush does for several. Each of the larger ones is
/// worth a flush of its own.
const SMALL_AT_ONCE: usize = 16;

async fn put(core: &Core, run: RunKey, values: &[(Digest, Bytes)]) -> Result<(), StorageError> {
    let is_small = |(_, bytes): &&(Digest, Bytes)| bytes.len() <= PAYLOAD_ROW_MAX_BYTES;
    let (small, large): (Vec<_>, Vec<_>) = values.iter().partition(is_small);
    let at_once = large.chunks(1).chain(small.chunks(SMALL_AT_ONCE));
    for values in at_once {
        let put: Vec<_> =
            values.iter().map(|(digest, bytes)| core.storage.put_payload(run, *digest, bytes.clone())).collect();
        try_join_all(put).await?;
    }
    Ok(())
}

pub(super) async fn write(core: &Core, outgoing: Outgoing) -> Written {
    let Outgoing { mut append, values, mut entries } = outgoing;
    let end = append.position.plus(u64::from(append.entries));
    let is_first = append.position == Position::FIRST;
    // What is written twice stands once.
    while let Err(error) = put(core, append.run, &values).await {
        if is_first {
            return Written::Refused(error);
        }
        if wait_for_room(core, &append, error).await == Room::GaveUp {
            return Written::GaveUp;
        }
    }
    // Once its outcome was unknown the frame may come to stand, whatever is said of it later.
    let mut may_stand = false;
    loop {
        match core.storage.append(append.clone()).await {
            Appended::Durable => return Written::UpTo(end),
            Appended::Fenced => return Written::Fenced,
            Appended::KeyTaken(key) => return Written::KeyTaken(key),
            Appended::Refused(error) if is_first && !may_stand => return Written::Refused(error),
            Appended::Refused(error) => {
                if wait_for_room(core, &append, error).await == Room::GaveUp {
                    return Written::GaveUp;
                }
            }
            Appended::Missed(items) => name_unread(core, &mut append, &mut entries, &items),
            Appended::Unknown => {
                may_stand = true;
                core.clock.sleep_until(core.clock.now() + TRY_AGAIN_AFTER).await;
            }
        }
    }
}

/// The most bytes that the id of a message takes in an entry.
const MESSAGE_MAX_BYTES: usize = 19;
/// What the length of a list may grow by.
const LENGTH_MAX_BYTES: usize = 8;

/// Somebody sent to the run while it ended, and was told that it stands in the inbox: the end names
/// it, as far as a frame has room for that. The frame that missed it will never stand, so this one takes its place.
fn name_unread(core: &Core, append: &mut Append, entries: &mut [Entry], items: &[MessageId]) {
    let room = room_for_unread(append.frame.len());
    let before = append.frame.len();
    append.frame = named_in(entries, items.get(..room).unwrap_or(items));
    // It was counted before it grew.
    if let Some((_, used)) = append.rows.used.last_mut() {
        used.journal_bytes += append.frame.len().saturating_sub(before) as u64;
    }
    if items.len() > room {
        let unnamed = items.len() - room;
        tracing::info!(run = %append.run.run, unnamed, "the run ended with more unread messages than its end can name");
    }
    append.rows.unread.extend_from_slice(items);
    append.id = FrameId(u128::from_le_bytes(core.random()));
}

/// How many more ids a frame of that size has room for.
fn room_for_unread(frame_bytes: usize) -> usize {
    FRAME_MAX_BYTES.saturating_sub(frame_bytes + LENGTH_MAX_BYTES) / MESSAGE_MAX_BYTES
}

fn named_in(entries: &mut [Entry], items: &[MessageId]) -> Bytes {
    if let Some(Kind::Finished(finished)) = entries.last_mut().map(|entry| &mut entry.kind) {
        finished.unread.extend_from_slice(items);
    }
    Bytes::from(Frame::encode(entries))
}

#[derive(PartialEq, Eq)]
enum Room {
    MayBe,
    GaveUp,
}

/// Waits a moment for room, but not for ever where the worker is to stop.
async fn wait_for_room(core: &Core, append: &Append, error: StorageError) -> Room {
    let now = core.clock.now();
    if core.drain_until().is_some_and(|until| until <= now) {
        core.undone.lock().unwrap_or_else(PoisonError::into_inner).insert(append.run, error);
        return Room::GaveUp;
    }
    tracing::warn!(run = %append.run.run, %error, "storage takes nothing; the run waits");
    core.clock.sleep_until(now + TRY_AGAIN_AFTER).await;
    Room::MayBe
}

#[cfg(test)]
mod tests;
