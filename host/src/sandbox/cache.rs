//! Compiled code on disk, one file for each component and engine. A file is used only if it carries
//! our own seal; any other is removed and made anew. It never compiles.

use crate::{Code, Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use trackway_replay::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

const SEAL_BYTES: usize = 32;

pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    /// Engine, profile and processor; part of the seal.
    engine: String,
}

impl Cache {
    /// The folder is made if it is missing, and closed to everybody else: code in it is executed.
    pub fn open(folder: &Path, key: [u8; 32], engine: String) -> Result<Cache> {
        let folder = folder.join(format!("{:.16}", Digest::of(engine.as_bytes())));
        let failed = |error| unusable(&folder, &error);
        fs::create_dir_all(&folder).map_err(failed)?;
        close_to_others(&folder).map_err(failed)?;
        Ok(Cache { folder, key, engine })
    }

    /// The component's code, if there is a file and its seal is ours. A file that is not is reported,
    /// removed and taken as missing.
    pub fn load(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        match self.read(engine, digest) {
            Ok(found) => found,
            Err(problem) => {
                tracing::warn!(component = %digest, problem, "cached code refused; it will be compiled again");
                self.remove(digest);
                None
            }
        }
    }

    fn read(&self, engine: &Engine, digest: Digest) -> std::result::Result<Option<Component>, String> {
        let path = self.code(digest);
        let code = match fs::read(&path) {
            Ok(code) => code,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let seal = match fs::read(self.seal(digest)) {
            Ok(seal) => seal,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err("no seal".to_owned()),
            Err(error) => return Err(format!("seal: {error}")),
        };
        self.mac(digest, &code).verify_slice(&seal).map_err(|_| "the seal does not fit the file".to_owned())?;
        map_sealed(engine, &path).map(Some).map_err(|error| format!("{error:#}"))
    }

    /// Seals `code` and puts it where [`Cache::load`] finds it.
    pub fn save(&self, digest: Digest, code: &[u8]) -> Result<()> {
        let seal = self.mac(digest, code).finalize().into_bytes();
        debug_assert_eq!(seal.len(), SEAL_BYTES, "the seal is a sha256");
        self.replace(&self.code(digest), code)?;
        self.replace(&self.seal(digest), &seal)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = |error| unusable(path, &error);
        // Made with mode 0600, and in the same folder, so the rename is atomic.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.persist(path).map_err(|error| unusable(path, &error.error))?;
        Ok(())
    }

    fn remove(&self, digest: Digest) {
        for path in [self.code(digest), self.seal(digest)] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "refused code cannot be removed");
            }
        }
    }

    fn mac(&self, digest: Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any size");
        mac.update(&(self.engine.len() as u64).to_le_bytes());
        mac.update(self.engine.as_bytes());
        mac.update(&digest.0);
        mac.update(code);
        mac
    }

    fn code(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.code"))
    }

    fn seal(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}.seal"))
    }
}

/// Maps compiled code from a file whose seal was just found to be ours.
#[allow(unsafe_code, reason = "running compiled code is what the cache is for")]
fn map_sealed(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file's HMAC was verified with our key, so these are bytes that our own compiler
    // made for this engine. Between that look and this mapping nobody else can change them: the
    // folder has mode 0700, and we ourselves replace files only by renaming others over them.
    unsafe { Component::deserialize_file(engine, path) }
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    let code = if error.kind() == ErrorKind::StorageFull { Code::DiskFull } else { Code::File };
    Error::new(code, format!("the code cache cannot use {}: {error}", path.display()))
}

#[cfg(unix)]
fn close_to_others(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn close_to_others(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
