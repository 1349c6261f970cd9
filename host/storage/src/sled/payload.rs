//! Payloads of a run: small ones are rows, larger ones are files. Never shared between runs.

use bytes::Bytes;
use std::path::PathBuf;
use trackway_replay::Digest;

use super::draft::Draft;
use super::key;
use super::shared::Shared;
use crate::{RunKey, StorageError, StorageErrorKind};

impl Shared {
    pub fn payloads(&self, run: RunKey) -> PathBuf {
        self.folder.payloads(run)
    }

    pub fn put_payload_file(&self, run: RunKey, digest: Digest, bytes: &[u8]) -> Result<(), StorageError> {
        self.room.check()?;
        self.folder.put(&self.payloads(run), &digest.to_string(), bytes)
    }

    pub fn payload(&self, run: RunKey, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        if let Some(row) = self.get(&key::payload(run, digest))? {
            return Ok(Some(Bytes::copy_from_slice(row.body())));
        }
        let path = self.payloads(run).join(digest.to_string());
        self.digested(&path, digest)
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
        self.stage_payload(run, digest, bytes);
        Ok(())
    }

    pub fn stage_payload(&mut self, run: RunKey, digest: Digest, bytes: &[u8]) {
        let key = key::payload(run, digest);
        let value = self.writer.bytes(&key, self.commit, bytes);
        self.insert(&key, value);
    }
}
