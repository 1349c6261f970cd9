//! Payloads of a run: small ones are rows, those up to a megabyte are rows for their pieces, each of which stands once,
//! and larger ones are files. Never shared between runs.

use bytes::{Bytes, BytesMut};
use std::path::PathBuf;
use trackway_replay::Digest;

use super::draft::Draft;
use super::key;
use super::row::{Row, damaged};
use super::shared::Shared;
use crate::pieces::{is_cut, pieces};
use crate::{RunKey, StorageError, StorageErrorKind};

const DIGEST_BYTES: usize = 32;

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

impl Draft {
    pub fn put_payload(&mut self, run: RunKey, digest: Digest, bytes: &[u8]) -> Result<(), StorageError> {
        self.shared.room.check()?;
        self.stage_payload(run, digest, bytes)
    }

    pub fn stage_payload(&mut self, run: RunKey, digest: Digest, bytes: &[u8]) -> Result<(), StorageError> {
        if !is_cut(bytes.len()) {
            return self.stage_bytes(&key::payload(run, digest), bytes);
        }
        let list = self.stage_pieces(run, bytes)?;
        self.stage_bytes(&key::pieces(run, digest), &list)
    }

    /// Those that do not stand yet; gives the list of all.
    fn stage_pieces(&mut self, run: RunKey, bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
        let mut list = Vec::new();
        for piece in pieces(bytes) {
            let digest = Digest::of(piece);
            list.extend_from_slice(&digest.0);
            let key = key::piece(run, digest);
            // What an earlier batch wrote is durable. One that cannot be read is written anew.
            if !matches!(self.shared.written(&key), Ok(Some(_))) {
                self.stage_bytes(&key, piece)?;
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
#[path = "payload/tests.rs"]
mod tests;
