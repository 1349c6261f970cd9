//! Payloads of a run: small ones are rows, those up to a megabyte are rows for their pieces, each of which stands once,
//! and larger ones are files. Never shared between runs.

use bytes::{Bytes, BytesMut};
use std::path::PathBuf;
use std::sync::OnceLock;
use trackway_replay::Digest;

use super::draft::Draft;
use super::key;
use super::row::{Row, damaged};
use super::shared::Shared;
use crate::pieces::{is_cut, pieces};
use crate::{RunKey, StorageError, StorageErrorKind};

const DIGEST_BYTES: usize = 32;
/// Of a payload in one request. Neither a piece nor a list of pieces is larger.
const PART_MAX_BYTES: usize = 32 << 10;

impl Shared {
    pub fn payloads(&self, run: RunKey) -> PathBuf {
        self.folder.payloads(run)
    }

    pub fn payload(&self, run: RunKey, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        if let Some(row) = self.get(&key::payload(run, digest))? {
            return Ok(Some(Bytes::copy_from_slice(row.body())));
        }
        if let Some(list) = self.get(&key::pieces(run, digest))? {
            return self.joined(run, digest, &list).map(Some);
        }
        self.payload_file(run, digest)
    }

    /// The payload that `list` has the pieces of.
    pub fn joined(&self, run: RunKey, digest: Digest, list: &Row) -> Result<Bytes, StorageError> {
        let key = key::pieces(run, digest);
        let (digests, rest) = list.body().as_chunks::<DIGEST_BYTES>();
        if !rest.is_empty() {
            return Err(damaged(&key, "it is no list of digests"));
        }
        let mut bytes = BytesMut::new();
        for piece in digests {
            let row = self.get(&key::piece(run, Digest(*piece)))?;
            let row = row.ok_or_else(|| damaged(&key, &format!("its piece {:.12} is missing", Digest(*piece))))?;
            bytes.extend_from_slice(row.body());
        }
        match Digest::of(&bytes) == digest {
            true => Ok(bytes.freeze()),
            false => Err(damaged(&key, "its pieces together have another digest than its key")),
        }
    }

    /// A file whose name is the digest of what it holds.
    pub fn digested(&self, path: &std::path::Path, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        let Some(bytes) = self.folder.read(path)? else { return Ok(None) };
        let found = Digest::of(&bytes);
        if found != digest {
            let message = format!("{} is damaged: it should have the digest {digest}, it has {found}", path.display());
            return Err(StorageError::new(StorageErrorKind::Damaged, message));
        }
        Ok(Some(bytes.into()))
    }
}

/// What is written for a payload.
pub(super) enum PayloadRow {
    Whole(Digest, Bytes),
    Piece(Digest, Bytes),
    /// Of the pieces, which stand before it.
    List(Digest, Bytes),
}

/// A payload that is on its way in parts, so that nobody waits for all of it.
#[derive(Default)]
pub(super) struct InParts(OnceLock<StorageError>);

impl PayloadRow {
    pub fn len(&self) -> usize {
        match self {
            PayloadRow::Whole(_, bytes) | PayloadRow::Piece(_, bytes) | PayloadRow::List(_, bytes) => bytes.len(),
        }
    }
}

/// In the order in which they are written.
pub(super) fn rows(digest: Digest, bytes: &Bytes) -> Vec<PayloadRow> {
    if !is_cut(bytes.len()) {
        return vec![PayloadRow::Whole(digest, bytes.clone())];
    }
    let mut list = BytesMut::new();
    let pieces = pieces(bytes).map(|piece| {
        let digest = Digest::of(piece);
        list.extend_from_slice(&digest.0);
        PayloadRow::Piece(digest, bytes.slice_ref(piece))
    });
    let mut rows: Vec<_> = pieces.collect();
    rows.push(PayloadRow::List(digest, list.freeze()));
    rows
}

/// The same in the same order, as many at a time as one request brings.
pub(super) fn parts(rows: Vec<PayloadRow>) -> Vec<Vec<PayloadRow>> {
    let mut parts: Vec<Vec<PayloadRow>> = Vec::new();
    let mut room = 0;
    for row in rows {
        if room < row.len() || parts.is_empty() {
            parts.push(Vec::new());
            room = PART_MAX_BYTES;
        }
        room = room.saturating_sub(row.len());
        parts.last_mut().expect("one was just pushed").push(row);
    }
    parts
}

impl Draft {
    pub fn put_payload(&mut self, run: RunKey, rows: &[PayloadRow], whole: &InParts) -> Result<(), StorageError> {
        // No list may stand without its pieces.
        if let Some(error) = whole.0.get() {
            return Err(error.clone());
        }
        let put = self.shared.room.check().and_then(|()| self.stage_payload(run, rows));
        put.inspect_err(|error| _ = whole.0.set(error.clone()))
    }

    pub fn stage_payload(&mut self, run: RunKey, rows: &[PayloadRow]) -> Result<(), StorageError> {
        rows.iter().try_for_each(|row| match row {
            PayloadRow::Whole(digest, bytes) => self.stage_bytes(&key::payload(run, *digest), bytes),
            PayloadRow::List(digest, bytes) => self.stage_bytes(&key::pieces(run, *digest), bytes),
            PayloadRow::Piece(digest, bytes) => {
                let key = key::piece(run, *digest);
                // What an earlier batch wrote is durable. One that cannot be read is written anew.
                match self.shared.written(&key) {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) | Err(_) => self.stage_bytes(&key, bytes),
                }
            }
        })
    }
}

#[cfg(test)]
#[path = "payload/tests.rs"]
mod tests;
