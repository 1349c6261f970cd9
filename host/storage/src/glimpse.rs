//! What is asked for first about a run, in one read. It must never tell more than its parts do when they are read alone.

use trackway_replay::Head;

use crate::{StorageError, StoredFrame};

/// What [`Storage::glimpse`](crate::Storage::glimpse) shows of a run.
#[derive(Debug, Clone)]
pub struct Glimpse {
    pub head: Head,
    /// The first frame. An error stands beside the head, which is shown of a run that cannot be read, too.
    pub first: Result<Option<StoredFrame>, StorageError>,
    /// The last frame of a run whose head says that it has ended; of another one it is not looked for.
    pub last: Result<Option<StoredFrame>, StorageError>,
}

impl Glimpse {
    /// Of a run whose whole journal is at hand.
    pub(crate) fn of(head: Head, frames: &[StoredFrame]) -> Glimpse {
        let last = if head.status.has_ended() { frames.last().cloned() } else { None };
        Glimpse { head, first: Ok(frames.first().cloned()), last: Ok(last) }
    }
}
