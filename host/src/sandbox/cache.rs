//! Compiled code on disk, one file for each component and engine. A file is used only if it carries
//! our own seal; any other is removed and made anew. It never compiles.
//!
//! ```text
//! DIGEST OF THE ENGINE'S NAME/
//!   engine            that name; locked, shared, while somebody uses the folder
//!   COMPONENT.code    with its .seal
//! ```

use crate::{Code, Error, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use trackway_replay::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

const SEAL_BYTES: usize = 32;

/// In each folder that a cache made; nothing without it is ever removed.
const ENGINE: &str = "engine";
/// Of the digest in a folder's name.
const NAME_CHARS: usize = 16;
/// What a folder is called while it is being removed.
const REMOVED: &str = "removed";
/// Each means that another process removed the folder between two steps of ours.
const TRIES_MAX: usize = 10;

pub struct Cache {
    folder: PathBuf,
    /// Held, not read: nobody removes the folder while it is.
    _used: File,
    key: [u8; 32],
    /// Engine, profile and processor; part of the seal.
    engine: String,
}

impl Cache {
    /// The folder is made if it is missing, and closed to everybody else: code in it is executed.
    /// Folders of other engines, which nobody uses any more, are removed.
    pub fn open(parent: &Path, key: [u8; 32], engine: String) -> Result<Cache> {
        let folder = parent.join(name_of(&engine));
        let used = (0..TRIES_MAX).find_map(|_| take(&folder, &engine).transpose());
        let gone = || Err(io::Error::new(ErrorKind::NotFound, "it is removed again and again"));
        let used = used.unwrap_or_else(gone).map_err(|error| unusable(&folder, &error))?;
        if let Err(error) = remove_unused(parent) {
            tracing::warn!(folder = %parent.display(), %error, "code of older engines cannot be removed");
        }
        Ok(Cache { folder, _used: used, key, engine })
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

    pub fn remove(&self, digest: Digest) {
        for path in [self.code(digest), self.seal(digest)] {
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "code that is not wanted cannot be removed");
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

fn name_of(engine: &str) -> String {
    format!("{:.*}", NAME_CHARS, Digest::of(engine.as_bytes()))
}

/// Makes the folder and marks it as used. `None` if somebody removed it meanwhile.
fn take(folder: &Path, engine: &str) -> io::Result<Option<File>> {
    fs::create_dir_all(folder)?;
    close_to_others(folder)?;
    let marker = folder.join(ENGINE);
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(&marker);
    let mut used = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // Waits for one that is removing it just now.
    used.lock_shared()?;
    let found = match fs::read(&marker) {
        Ok(found) if is_same(&used.metadata()?, &fs::metadata(&marker)?) => found,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if found != engine.as_bytes() {
        // Just made, or left half-written by a crash; whoever else opens it writes the same.
        used.set_len(0)?;
        used.write_all(engine.as_bytes())?;
    }
    Ok(Some(used))
}

/// Removes what caches made here and nobody uses now: who uses a folder holds its marker.
fn remove_unused(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let (folder, name) = (entry.path(), entry.file_name());
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let is_half_removed = name.to_str().and_then(|name| name.split_once('.')).is_some_and(|(name, ending)| {
            ending == REMOVED && name.len() == NAME_CHARS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if is_half_removed {
            fs::remove_dir_all(&folder)?;
            continue;
        }
        let Ok(marker) = File::open(folder.join(ENGINE)) else { continue };
        let is_ours = fs::read_to_string(folder.join(ENGINE)).is_ok_and(|engine| name == *name_of(&engine));
        if is_ours && marker.try_lock().is_ok() {
            tracing::info!(folder = %folder.display(), "removing the compiled code of another engine");
            // At once gone under its name: whoever wants it from here on makes it anew.
            let removed = folder.with_extension(REMOVED);
            fs::rename(&folder, &removed)?;
            fs::remove_dir_all(&removed)?;
        }
    }
    Ok(())
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
    // An error of a temporary file would name that file too.
    let why = if error.get_ref().is_some() { error.kind().to_string() } else { error.to_string() };
    Error::new(code, format!("the code cache cannot use {}: {why}", path.display()))
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &fs::Metadata, _other: &fs::Metadata) -> bool {
    true
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
