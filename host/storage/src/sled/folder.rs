//! The data folder: who has it open, which format it has, and where its parts are. Nothing here
//! reads or writes what is stored.
//!
//! ```text
//! lock          held while a process has the folder open; holds its process id
//! format        version of all below
//! counter       how far the store had come (see `counter`)
//! store/        sled
//! payloads/     TENANT/RUN/DIGEST, larger payloads
//! components/   TENANT/DIGEST.wasm and .manifest
//! keys/         TENANT, the data key of a sealed tenant, wrapped (see `seal`)
//! tmp/          half-written files; emptied at the start
//! aside-N/      copy of a store that was at commit N when the power failed
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::holder::{Holder, Patience};
use super::sync;
use crate::{RunKey, StorageError, StorageErrorKind};

/// Of the folder and of every row in it. A higher one was written by a newer program.
pub(super) const FORMAT: u32 = 1;

/// The file that is locked.
const LOCK: &str = "lock";

pub(super) struct Folder {
    pub path: PathBuf,
    /// Held, not read: the lock ends with it.
    _lock: File,
    temporary: AtomicU64,
}

/// Whether there was anything before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Store,
}

pub(super) fn io_error(path: &Path, what: &str, error: &io::Error) -> StorageError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageErrorKind::Full,
        _ => StorageErrorKind::Io,
    };
    StorageError::new(kind, format!("{what} {}: {error}", path.display()))
}

impl Folder {
    pub fn open(path: &Path) -> Result<(Folder, Found), StorageError> {
        create_folder(path).map_err(|error| io_error(path, "cannot create the data folder", &error))?;
        let path = fs::canonicalize(path).map_err(|error| io_error(path, "cannot find the data folder", &error))?;
        let mut patience = Patience::new();
        let lock = lock(&path, |id, holder| patience.wait(&path, id, holder))?;
        let folder = Folder { path, _lock: lock, temporary: AtomicU64::new(0) };
        let found = folder.check_format()?;
        folder.empty_temporary().map_err(|error| io_error(&folder.path, "cannot clean up in", &error))?;
        for part in ["store", "tmp"] {
            let part = folder.path.join(part);
            create_folder(&part).map_err(|error| io_error(&part, "cannot create", &error))?;
        }
        if found == Found::Nothing {
            // Last: a folder without it holds nothing yet, whatever a crash left behind.
            folder.put(&folder.path, "format", format!("{FORMAT}\n").as_bytes())?;
        }
        Ok((folder, found))
    }

    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    pub fn payloads(&self, run: RunKey) -> PathBuf {
        self.path.join("payloads").join(run.tenant.to_string()).join(run.run.to_string())
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("store").join("db")
    }

    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    pub fn counter(&self) -> PathBuf {
        self.path.join("counter")
    }

    fn check_format(&self) -> Result<Found, StorageError> {
        let path = self.path.join("format");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.counter().exists() => {
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(io_error(&path, "cannot read", &error)),
        };
        match text.trim().parse::<u32>() {
            Ok(found) if found > FORMAT => Err(StorageError::new(
                StorageErrorKind::Newer,
                format!(
                    "the data folder {} has format {found}, this program reads formats up to {FORMAT}: \
                     use the newer program that wrote it",
                    self.path.display()
                ),
            )),
            Ok(FORMAT) => Ok(Found::Store),
            Ok(_) | Err(_) => Err(StorageError::new(
                StorageErrorKind::Damaged,
                format!("{} does not name a format: `{}`", path.display(), text.trim()),
            )),
        }
    }

    fn empty_temporary(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.path.join("tmp")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a file that is whole and durable, or not there, when this returns. A file of that
    /// name and size is only synced again: names are digests, or there is one writer.
    pub fn put(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = folder.join(name);
        let failed = |error: io::Error| io_error(&path, "cannot write", &error);
        create_folder(folder).map_err(failed)?;
        match File::open(&path) {
            Ok(file) if file.metadata().map_err(failed)?.len() == bytes.len() as u64 => {
                sync::sync_file(&path, &file);
                return sync::sync_folder(folder).map_err(failed);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.path.join("tmp").join(format!("{name}.{number}"));
        let written = write_whole(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path));
        if let Err(error) = written {
            // Whatever is left of it is removed at the next start at the latest.
            let _ = fs::remove_file(&temporary);
            return Err(failed(error));
        }
        sync::sync_folder(folder).map_err(failed)
    }

    /// `None` if there is no such file.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(path, "cannot read", &error)),
        }
    }

    /// Copies the store before sled repairs it, for sled's repair cuts off what it cannot read and
    /// says nothing. An older copy of the same commit is kept: it is the less repaired one.
    pub fn copy_aside(&self, commit: u64) -> Result<PathBuf, StorageError> {
        let aside = self.path.join(format!("aside-{commit}"));
        if aside.exists() {
            return Ok(aside);
        }
        let half = self.path.join("tmp").join("aside");
        let copied = copy_folder(&self.store(), &half).and_then(|()| fs::rename(&half, &aside));
        if let Err(error) = copied {
            let _ = fs::remove_dir_all(&half);
            let what = "the store was not closed before the machine stopped, and cannot be copied aside to";
            return Err(io_error(&aside, what, &error));
        }
        Ok(aside)
    }
}

/// Waits as long as a process that had `folder` open is on its way out. For whoever wants more of
/// that process's than the folder, as its address; it takes no lock and makes no file.
pub(super) fn wait_for_dying(folder: &Path) {
    let mut patience = Patience::new();
    while let Ok(id) = fs::read_to_string(folder.join(LOCK))
        && Holder::of(&id) == Holder::Dying
        && patience.wait(folder, &id, Holder::Dying)
    {}
}

/// `wait` waits a moment for the process with that id, or says that it will not let go.
fn lock(folder: &Path, mut wait: impl FnMut(&str, Holder) -> bool) -> Result<File, StorageError> {
    let path = folder.join(LOCK);
    let failed = |error: io::Error| io_error(&path, "cannot lock", &error);
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                // Read each time: it may be the next one's already.
                let id = fs::read_to_string(&path).unwrap_or_default();
                let holder = Holder::of(&id);
                if !wait(&id, holder) {
                    return Err(in_use(folder, id.trim(), holder));
                }
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

fn in_use(folder: &Path, id: &str, holder: Holder) -> StorageError {
    let who = match holder {
        _ if id.is_empty() => String::new(),
        Holder::Alive | Holder::Gone => format!(" (process {id})"),
        Holder::Dying => format!(" (process {id}, which was told to end and does not)"),
    };
    let message = format!("the data folder {} is in use by another process{who}", folder.display());
    StorageError::new(StorageErrorKind::InUse, message)
}

/// With every folder above that is missing, each name durable.
fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    sync::sync_folder(path)?;
    sync::sync_folder(parent)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    sync::sync_file(path, &file);
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            // On Linux this shares the blocks where the file system can.
            fs::copy(entry.path(), &target)?;
            sync::sync_file(&target, &File::open(&target)?);
        }
    }
    sync::sync_folder(to)
}

#[cfg(test)]
#[path = "folder/tests.rs"]
mod tests;
