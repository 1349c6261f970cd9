//! How entries stand on disk: one frame is the 1..n entries of one append.
//!
//! `version (1 byte) | body (postcard) | crc32c of all before (4 bytes, little endian)`. Every format
//! begins with its version and ends with this checksum, so that a newer one is known as such. Bytes
//! from a disk are never trusted: what cannot be read is an error, not a panic.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::{Entry, Epoch, Kind, Position, Timestamp};

/// The format that this crate writes. It reads every one before.
pub const FORMAT: u8 = 1;

const CHECKSUM_BYTES: usize = 4;
/// Room is made for so many entries before they are read, whatever the frame says how many it holds.
const ENTRIES_AT_ONCE_MAX: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// At least one, positions without gaps, one epoch.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("the frame is {size_bytes} bytes short of the smallest one")]
    Short { size_bytes: usize },
    #[error("the frame's checksum is {found:08x}, its bytes give {computed:08x}")]
    Checksum { found: u32, computed: u32 },
    #[error("the frame has format {found}; this program reads up to {FORMAT}")]
    Newer { found: u8 },
    #[error("the frame's checksum holds, but its body cannot be read: {reason}")]
    Body { reason: String },
}

#[cfg(test)]
mod tests;

#[derive(Serialize)]
struct BodyOut<'a> {
    epoch: Epoch,
    position: Position,
    entries: Vec<(Timestamp, &'a Kind)>,
}

#[derive(Deserialize)]
struct BodyIn {
    epoch: Epoch,
    position: Position,
    /// Without their epoch and position.
    #[serde(deserialize_with = "entries_in")]
    entries: Vec<Entry>,
}

/// An entry is large: it is made where it stays.
fn entries_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<Entry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the entries of a frame")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut found: A) -> Result<Vec<Entry>, A::Error> {
            let count = found.size_hint().unwrap_or(0).min(ENTRIES_AT_ONCE_MAX);
            let mut entries = Vec::with_capacity(count);
            while let Some((time, kind)) = found.next_element::<(Timestamp, Kind)>()? {
                entries.push(Entry { position: Position::FIRST, epoch: Epoch(0), time, kind });
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_seq(Entries)
}

impl Frame {
    pub fn position(&self) -> Position {
        self.entries[0].position
    }

    /// `entries` must be those of one owner, in order, at least one.
    pub fn encode(entries: &[Entry]) -> Vec<u8> {
        let first = entries.first().expect("a frame has at least one entry");
        let body = BodyOut {
            epoch: first.epoch,
            position: first.position,
            entries: entries.iter().map(|entry| (entry.time, &entry.kind)).collect(),
        };
        let mut bytes = postcard::to_extend(&body, vec![FORMAT]).expect("entries hold nothing that postcard refuses");
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        let (covered, checksum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .filter(|(covered, _)| !covered.is_empty())
            .ok_or(FrameError::Short { size_bytes: bytes.len() })?;
        let found = u32::from_le_bytes(*checksum);
        let computed = crc32c::crc32c(covered);
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        let bad = |reason: &str| FrameError::Body { reason: reason.to_owned() };
        match covered[0] {
            FORMAT => {}
            0 => return Err(bad("no program ever wrote format 0")),
            found => return Err(FrameError::Newer { found }),
        }
        let (body, rest) =
            postcard::take_from_bytes::<BodyIn>(&covered[1..]).map_err(|error| bad(&error.to_string()))?;
        if !rest.is_empty() {
            return Err(bad("something follows its last entry"));
        }
        if body.entries.is_empty() {
            return Err(bad("it holds no entry"));
        }
        if body.position.0.checked_add(body.entries.len() as u64).is_none() {
            return Err(bad("its positions do not fit a number"));
        }
        let BodyIn { epoch, position, mut entries } = body;
        for (place, entry) in entries.iter_mut().enumerate() {
            (entry.epoch, entry.position) = (epoch, position.plus(place as u64));
        }
        Ok(Frame { entries })
    }
}
