//! How a row stands on disk, whatever its kind:
//!
//! `version (1) | crc32c of key and rest (4) | commit (8) | body`, numbers little endian
//!
//! The commit is the batch that wrote the row: a reader shows it only when that batch is durable.

use ::sled::IVec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trackway_replay::{FrameId, Position, Timestamp};

use super::key;
use crate::{Append, RunKey, StorageError, StorageErrorKind, StoredFrame};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 + 8;
const FRAME_HEADER_BYTES: usize = 4 + 16 + 16;

/// sled writes a larger value to a file of its own that it never syncs.
pub(super) const ROW_MAX_BYTES: usize = 64_000;

/// Beside an open run: in its `Parked` or `Ready` row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenRow {
    pub due: Option<Timestamp>,
    pub recalls: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeploymentRow {
    pub revision: u64,
    pub current: u32,
    pub versions: u32,
}

/// A row whose checksum holds.
pub(super) struct Row {
    pub commit: u64,
    value: IVec,
}

impl Row {
    pub fn open(key: &[u8], value: IVec) -> Result<Row, StorageError> {
        let Some((header, body)) = value.split_first_chunk::<HEADER_BYTES>() else {
            return Err(damaged(key, "it is too short"));
        };
        if header[0] != VERSION {
            return Err(damaged(key, &format!("its version is {}, not {VERSION}", header[0])));
        }
        let [_, c0, c1, c2, c3, commit @ ..] = *header;
        let found = u32::from_le_bytes([c0, c1, c2, c3]);
        let computed = checksum(key, &commit, body);
        if found != computed {
            return Err(damaged(key, &format!("its checksum is {found:08x}, its bytes give {computed:08x}")));
        }
        Ok(Row { commit: u64::from_le_bytes(commit), value })
    }

    pub fn body(&self) -> &[u8] {
        &self.value[HEADER_BYTES..]
    }

    pub fn decode<T: for<'a> Deserialize<'a>>(&self, key: &[u8]) -> Result<T, StorageError> {
        postcard::from_bytes(self.body()).map_err(|error| damaged(key, &error.to_string()))
    }

    pub fn frame(&self, key: &[u8]) -> Result<StoredFrame, StorageError> {
        let position = key::number_of(key).map(Position).ok_or_else(|| damaged(key, "its key has no position"))?;
        let Some((header, frame)) = self.body().split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Err(damaged(key, "it is too short for a frame"));
        };
        let tail = read_tail(position, header);
        Ok(StoredFrame {
            position,
            entries: tail.entries,
            previous: tail.previous,
            id: tail.id,
            frame: Bytes::copy_from_slice(frame),
        })
    }

    /// As [`Row::frame`], without the frame.
    pub fn tail(&self, key: &[u8]) -> Result<Tail, StorageError> {
        let position = key::number_of(key).map(Position).ok_or_else(|| damaged(key, "its key has no position"))?;
        let header = self.body().first_chunk().ok_or_else(|| damaged(key, "it is too short for a frame"))?;
        Ok(read_tail(position, header))
    }
}

/// The end of a journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub position: Position,
    pub entries: u32,
    pub previous: Option<FrameId>,
    pub id: FrameId,
}

impl Tail {
    pub fn end(&self) -> Position {
        self.position.plus(u64::from(self.entries))
    }
}

fn read_tail(position: Position, header: &[u8; FRAME_HEADER_BYTES]) -> Tail {
    let (mut entries, mut previous, mut id) = ([0; 4], [0; 16], [0; 16]);
    entries.copy_from_slice(&header[..4]);
    previous.copy_from_slice(&header[4..20]);
    id.copy_from_slice(&header[20..]);
    Tail {
        position,
        entries: u32::from_le_bytes(entries),
        previous: (position != Position::FIRST).then_some(FrameId(u128::from_le_bytes(previous))),
        id: FrameId(u128::from_le_bytes(id)),
    }
}

/// Writes values, one after the other, in one buffer.
#[derive(Default)]
pub(super) struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    fn begin(&mut self, commit: u64) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        self.buffer.extend_from_slice(&commit.to_le_bytes());
    }

    fn end(&mut self, key: &[u8]) -> IVec {
        let (header, body) = self.buffer.split_at_mut(HEADER_BYTES);
        let checksum = checksum(key, &header[5..], body);
        header[1..5].copy_from_slice(&checksum.to_le_bytes());
        IVec::from(self.buffer.as_slice())
    }

    pub fn frame(&mut self, key: &[u8], commit: u64, append: &Append) -> IVec {
        self.begin(commit);
        self.buffer.extend_from_slice(&append.entries.to_le_bytes());
        self.buffer.extend_from_slice(&append.previous.unwrap_or_default().0.to_le_bytes());
        self.buffer.extend_from_slice(&append.id.0.to_le_bytes());
        self.buffer.extend_from_slice(&append.frame);
        self.end(key)
    }

    pub fn bytes(&mut self, key: &[u8], commit: u64, body: &[u8]) -> IVec {
        self.begin(commit);
        self.buffer.extend_from_slice(body);
        self.end(key)
    }

    /// An error where the row is larger than sled may hold.
    pub fn row(&mut self, key: &[u8], commit: u64, body: &impl Serialize) -> Result<IVec, StorageError> {
        self.begin(commit);
        let refused = |why: String| StorageError::new(StorageErrorKind::Invalid, why);
        self.buffer = postcard::to_extend(body, std::mem::take(&mut self.buffer))
            .map_err(|error| refused(format!("a row cannot be written: {error}")))?;
        if self.buffer.len() > ROW_MAX_BYTES {
            return Err(refused(format!("a row of {} bytes is over the limit of {ROW_MAX_BYTES}", self.buffer.len())));
        }
        Ok(self.end(key))
    }
}

fn checksum(key: &[u8], commit: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), commit), body)
}

/// Names the row for people: which run, where the key has one.
pub(super) fn damaged(key: &[u8], why: &str) -> StorageError {
    let kind = key.first().map_or('?', |kind| char::from(*kind));
    let of_run = matches!(kind, 'F' | 'H' | 'I' | 'J' | 'L' | 'M' | 'P' | 'Q' | 'R' | 'S' | 'W' | 'Y' | 'Z');
    let whose = match (of_run, key::run_of(key)) {
        (true, Some(run)) => format!(" of run {}", run.run),
        _ => String::new(),
    };
    let place = match (kind, key::number_of(key)) {
        ('F', Some(position)) => format!(" at position {position}"),
        _ => String::new(),
    };
    let message = format!("a row of kind `{kind}`{whose}{place} is damaged: {why}");
    StorageError::new(StorageErrorKind::Damaged, message)
}

pub(super) fn gap(run: RunKey, position: Position) -> StorageError {
    let message = format!("the journal of run {} has a gap before position {position}", run.run);
    StorageError::new(StorageErrorKind::Damaged, message)
}
