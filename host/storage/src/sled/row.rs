//! How a row stands on disk, whatever its kind:
//!
//! `version (1) | crc32c of key and rest (4) | commit (8) | body`, numbers little endian
//!
//! The commit is the batch that wrote the row: a reader shows it only when that batch is durable. In a row of the second
//! version the body is sealed, bound to key and commit; where the tenant's names are hidden, it begins with the name that
//! is missing in the key, behind its length (2).

use ::sled::IVec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use trackway_replay::{FrameId, Position, Timestamp};

use super::key;
use super::spot::{Spot, hides_name, is_sealed};
use crate::seal::{Seal, Seals};
use crate::{Append, RunKey, StorageError, StorageErrorKind, StoredFrame};

const VERSION: u8 = 1;
const VERSION_SEALED: u8 = 2;
const COMMIT_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + 4 + COMMIT_BYTES;
const FRAME_HEADER_BYTES: usize = 4 + 16 + 16;
const NAME_LENGTH_BYTES: usize = 2;

/// sled writes a larger value to a file of its own that it never syncs: one above 64 KiB. What sealing adds fits in
/// between, so that what can be stored does not depend on it.
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

/// A row whose checksum holds, and which is opened if it was sealed.
pub(super) struct Row {
    pub commit: u64,
    value: Value,
}

enum Value {
    Plain(IVec),
    Opened {
        bytes: Vec<u8>,
        /// Of what was sealed, without the name in front of it.
        body: Range<usize>,
        name: Option<Range<usize>>,
    },
}

impl Row {
    pub fn open(key: &[u8], value: IVec, seals: &Seals) -> Result<Row, StorageError> {
        let Some((header, body)) = value.split_first_chunk::<HEADER_BYTES>() else {
            return Err(damaged(key, "it is too short"));
        };
        if !matches!(header[0], VERSION | VERSION_SEALED) {
            return Err(damaged(key, &format!("its version is {}, not {VERSION} or {VERSION_SEALED}", header[0])));
        }
        let [version, c0, c1, c2, c3, commit @ ..] = *header;
        let found = u32::from_le_bytes([c0, c1, c2, c3]);
        let computed = checksum(key, &commit, body);
        if found != computed {
            return Err(damaged(key, &format!("its checksum is {found:08x}, its bytes give {computed:08x}")));
        }
        let commit = u64::from_le_bytes(commit);
        if version == VERSION_SEALED {
            let value = opened(key, body, commit, seals)?;
            return Ok(Row { commit, value });
        }
        if is_sealed(key) && seal_of(key, seals).is_some_and(|seal| seal.is_whole()) {
            return Err(damaged(key, "it is not sealed, and everything of its tenant is"));
        }
        Ok(Row { commit, value: Value::Plain(value) })
    }

    /// Whether the body of that value is sealed.
    pub fn is_sealed(value: &[u8]) -> bool {
        value.first() == Some(&VERSION_SEALED)
    }

    pub fn body(&self) -> &[u8] {
        match &self.value {
            Value::Plain(value) => &value[HEADER_BYTES..],
            Value::Opened { bytes, body, .. } => &bytes[body.clone()],
        }
    }

    /// What its key has a digest of.
    pub fn name(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Plain(_) => None,
            Value::Opened { bytes, name, .. } => Some(&bytes[name.clone()?]),
        }
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

fn seal_of(key: &[u8], seals: &Seals) -> Option<Arc<Seal>> {
    seals.of(key::tenant_of(key)?)
}

fn opened(key: &[u8], sealed: &[u8], commit: u64, seals: &Seals) -> Result<Value, StorageError> {
    let seal = seal_of(key, seals).ok_or_else(|| {
        let file = key::tenant_of(key).map(|tenant| format!(": put keys/{tenant} back")).unwrap_or_default();
        damaged(key, &format!("it is sealed, and the data key of its tenant is not there{file}"))
    })?;
    let mut bytes = sealed.to_vec();
    let about = about(key, commit);
    let Some(mut body) = seal.open_in(&about, &mut bytes) else {
        return Err(damaged(key, "it does not open with the data key of its tenant, or did not stand here"));
    };
    let mut name = None;
    if hides_name(key, &seal) {
        let length = bytes[body.clone()].first_chunk().map(|length| usize::from(u16::from_le_bytes(*length)));
        let begin = body.start + NAME_LENGTH_BYTES;
        let end = length.map(|length| begin + length).filter(|end| *end <= body.end);
        let end = end.ok_or_else(|| damaged(key, "it is too short for its name"))?;
        name = Some(begin..end);
        body.start = end;
    }
    Ok(Value::Opened { bytes, body, name })
}

/// What binds a sealed body to its row.
fn about(key: &[u8], commit: u64) -> Vec<u8> {
    [key, &commit.to_le_bytes()].concat()
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
    about: Vec<u8>,
}

impl Writer {
    fn begin(&mut self, spot: &Spot<'_>, commit: u64) {
        let version = if spot.seal.is_some() { VERSION_SEALED } else { VERSION };
        self.buffer.clear();
        self.buffer.extend_from_slice(&[version, 0, 0, 0, 0]);
        self.buffer.extend_from_slice(&commit.to_le_bytes());
        let Some(seal) = &spot.seal else { return };
        seal.begin(&mut self.buffer);
        if let Some(name) = spot.name {
            // Names are parts of keys, which have limits far below that.
            self.buffer.extend_from_slice(&(name.len() as u16).to_le_bytes());
            self.buffer.extend_from_slice(name);
        }
    }

    fn end(&mut self, spot: &Spot<'_>) -> IVec {
        if let Some(seal) = &spot.seal {
            self.about.clear();
            self.about.extend_from_slice(&spot.key);
            self.about.extend_from_slice(&self.buffer[HEADER_BYTES - COMMIT_BYTES..HEADER_BYTES]);
            seal.end(&mut self.buffer, HEADER_BYTES, &self.about);
        }
        let (header, body) = self.buffer.split_at_mut(HEADER_BYTES);
        let checksum = checksum(&spot.key, &header[5..], body);
        header[1..5].copy_from_slice(&checksum.to_le_bytes());
        IVec::from(self.buffer.as_slice())
    }

    pub fn frame(&mut self, spot: &Spot<'_>, commit: u64, append: &Append) -> IVec {
        self.begin(spot, commit);
        self.buffer.extend_from_slice(&append.entries.to_le_bytes());
        self.buffer.extend_from_slice(&append.previous.unwrap_or_default().0.to_le_bytes());
        self.buffer.extend_from_slice(&append.id.0.to_le_bytes());
        self.buffer.extend_from_slice(&append.frame);
        self.end(spot)
    }

    pub fn bytes(&mut self, spot: &Spot<'_>, commit: u64, body: &[u8]) -> IVec {
        self.begin(spot, commit);
        self.buffer.extend_from_slice(body);
        self.end(spot)
    }

    /// An error where the row is larger than sled may hold.
    pub fn row(&mut self, spot: &Spot<'_>, commit: u64, body: &impl Serialize) -> Result<IVec, StorageError> {
        self.begin(spot, commit);
        let before = self.buffer.len() - HEADER_BYTES;
        let refused = |why: String| StorageError::new(StorageErrorKind::Invalid, why);
        self.buffer = postcard::to_extend(body, std::mem::take(&mut self.buffer))
            .map_err(|error| refused(format!("a row cannot be written: {error}")))?;
        let size_bytes = self.buffer.len() - before;
        if size_bytes > ROW_MAX_BYTES {
            return Err(refused(format!("a row of {size_bytes} bytes is over the limit of {ROW_MAX_BYTES}")));
        }
        Ok(self.end(spot))
    }
}

fn checksum(key: &[u8], commit: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), commit), body)
}

/// What somebody would write who moves a row, or changes one.
#[cfg(test)]
pub(super) fn with_checksum(key: &[u8], value: &[u8]) -> IVec {
    let mut value = value.to_vec();
    let checksum = checksum(key, &value[5..HEADER_BYTES], &value[HEADER_BYTES..]);
    value[1..5].copy_from_slice(&checksum.to_le_bytes());
    IVec::from(value)
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
