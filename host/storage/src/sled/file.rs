//! Payloads that are files: under their digest, or sealed. A sealed file says which payload it holds in a first part of its
//! own, so that a list need not open all of it:
//!
//! `digest, sealed (72) | payload, sealed`

use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use trackway_replay::{Digest, TenantId};

use super::folder::io_error;
use super::key;
use super::shared::Shared;
use crate::seal::{SEALED_MORE_BYTES, Seal};
use crate::{RunKey, StorageError, StorageErrorKind};

/// Behind the name of a sealed file.
const SEALED: &str = ".sealed";
const DIGEST_BYTES: usize = 32;
const HEAD_BYTES: usize = DIGEST_BYTES + SEALED_MORE_BYTES;

impl Shared {
    pub fn put_payload_file(&self, run: RunKey, digest: Digest, bytes: &[u8]) -> Result<(), StorageError> {
        self.room.check()?;
        let folder = self.payloads(run);
        let Some(seal) = self.seal_for_writing(run.tenant)? else {
            return self.folder.put(&folder, &digest.to_string(), bytes);
        };
        let name = sealed_name(run, digest, &seal);
        let mut sealed = Vec::with_capacity(HEAD_BYTES + bytes.len() + SEALED_MORE_BYTES);
        seal.seal_onto(&mut sealed, &about_name(run, &name), &digest.0);
        seal.seal_onto(&mut sealed, &about(run, digest), bytes);
        self.folder.put(&folder, &name, &sealed)
    }

    pub fn payload_file(&self, run: RunKey, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        if let Some(seal) = self.seals.of(run.tenant) {
            let found = self.read_payload_file(run, &sealed_name(run, digest, &seal), digest)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        self.read_payload_file(run, &digest.to_string(), digest)
    }

    /// What that file holds, if it is that payload.
    pub fn read_payload_file(&self, run: RunKey, name: &str, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        let path = self.payloads(run).join(name);
        if !name.ends_with(SEALED) {
            return self.digested(&path, digest);
        }
        let Some(bytes) = self.folder.read(&path)? else { return Ok(None) };
        let seal = self.seals.of(run.tenant).ok_or_else(|| unreadable(&path))?;
        let opened = bytes.get(HEAD_BYTES..).and_then(|sealed| seal.open(&about(run, digest), sealed));
        opened.map(|bytes| Some(bytes.into())).ok_or_else(|| unreadable(&path))
    }

    pub fn payload_files(&self, run: RunKey) -> Result<Vec<String>, StorageError> {
        names_in(&self.payloads(run))
    }

    /// `None`: the file is no payload.
    pub fn digest_of_file(&self, run: RunKey, name: &str) -> Result<Option<Digest>, StorageError> {
        if !name.ends_with(SEALED) {
            return Ok(name.parse().ok());
        }
        let path = self.payloads(run).join(name);
        let mut head = [0; HEAD_BYTES];
        match File::open(&path).and_then(|mut file| file.read_exact(&mut head)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(unreadable(&path)),
            Err(error) => return Err(io_error(&path, "cannot read", &error)),
        }
        let opened = self.seals.of(run.tenant).and_then(|seal| seal.open(&about_name(run, name), &head));
        let digest = opened.and_then(|digest| digest.try_into().ok()).ok_or_else(|| unreadable(&path))?;
        Ok(Some(Digest(digest)))
    }

    pub fn unsealed_files(&self, tenant: TenantId) -> Result<u64, StorageError> {
        let folder = self.folder.path.join("payloads").join(tenant.to_string());
        let mut count = 0;
        for run in names_in(&folder)? {
            let names = names_in(&folder.join(run))?;
            count += names.iter().filter(|name| !name.ends_with(SEALED)).count() as u64;
        }
        Ok(count)
    }
}

pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, StorageError> {
    let failed = |error: io::Error| io_error(folder, "cannot read", &error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(failed)
}

fn sealed_name(run: RunKey, digest: Digest, seal: &Seal) -> String {
    if !seal.is_whole() {
        return format!("{digest}{SEALED}");
    }
    let name = seal.name(&key::payload(run, digest));
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    hex + SEALED
}

/// No row is sealed about something that begins so: their kinds are capital letters.
fn about(run: RunKey, digest: Digest) -> Vec<u8> {
    [b"file\0".as_slice(), &key::payload(run, digest)].concat()
}

fn about_name(run: RunKey, name: &str) -> Vec<u8> {
    [b"name\0".as_slice(), &key::of_run(key::Kind::Payload, run), name.as_bytes()].concat()
}

fn unreadable(path: &Path) -> StorageError {
    let why = "it does not open with the data key of its tenant, or did not stand here";
    StorageError::new(StorageErrorKind::Damaged, format!("{} is damaged: {why}", path.display()))
}
