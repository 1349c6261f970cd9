//! Brings a run's entries to storage, one frame at a time.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Frame, FrameId, Position};
use trackway_storage::{Append, Appended, Owner, Rows, StartKey, StorageError};

use super::Core;
use super::run::{Inner, Payloads, Run};

/// Between two tries of an append whose outcome is not known, or that found no room.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How a frame's way to storage ended.
pub(super) enum Written {
    /// Everything before this position is durable.
    UpTo(Position),
    /// Another owner wrote there.
    Fenced,
    /// Only of a first frame.
    KeyTaken(StartKey),
    /// Only of a first frame: nobody has been told of the run, so it is dropped.
    Refused(StorageError),
}

pub(super) type Writing = BoxFuture<'static, Written>;

/// Begins to write the next frame. `last` is what the frame does to the ownership if nothing is
/// left after it. `None` if nothing is pending.
pub(super) fn begin(run: &Run, inner: &mut Inner, last: Owner) -> Option<Writing> {
    let entries = inner.sequencer.take_frame();
    let first = entries.first()?;
    let position = first.position;
    let count = entries.len() as u32;
    let frame = Bytes::from(Frame::encode(&entries));
    let id = FrameId(u128::from_le_bytes(run.core.random()));
    let (files, payloads) = inner.take_payloads();
    let status = inner.state.status();
    let has_more = inner.sequencer.has_pending();
    let head = (inner.head_written != Some(status) || last != Owner::Keep).then(|| inner.state.head());
    inner.head_written = Some(status);
    let rows = Rows {
        head,
        owner: if has_more { Owner::Keep } else { last },
        read: std::mem::take(&mut inner.read),
        logs: std::mem::take(&mut inner.logs),
        payloads,
        start_key: inner.start_key.take(),
        recalled: inner.recall_counted && inner.moved_on,
    };
    inner.recall_counted &= !inner.moved_on;
    let append = Append { run: run.key, position, entries: count, previous: inner.previous, id, frame, rows };
    inner.previous = Some(id);
    inner.trim_held();
    Some(Box::pin(write(run.core.clone(), append, files)))
}

async fn write(core: Arc<Core>, append: Append, files: Payloads) -> Written {
    let end = append.position.plus(u64::from(append.entries));
    let is_first = append.position == Position::FIRST;
    for (digest, bytes) in files {
        while let Err(error) = core.storage.put_payload(append.run, digest, bytes.clone()).await {
            if is_first {
                return Written::Refused(error);
            }
            wait_for_room(&core, &append, &error).await;
        }
    }
    loop {
        match core.storage.append(append.clone()).await {
            Appended::Durable => return Written::UpTo(end),
            Appended::Fenced => return Written::Fenced,
            Appended::KeyTaken(key) => return Written::KeyTaken(key),
            Appended::Refused(error) if is_first => return Written::Refused(error),
            Appended::Refused(error) => wait_for_room(&core, &append, &error).await,
            Appended::Unknown => core.clock.sleep_until(core.clock.now() + TRY_AGAIN_AFTER).await,
        }
    }
}

async fn wait_for_room(core: &Core, append: &Append, error: &StorageError) {
    tracing::warn!(run = %append.run.run, %error, "storage takes nothing; the run waits");
    core.clock.sleep_until(core.clock.now() + TRY_AGAIN_AFTER).await;
}
