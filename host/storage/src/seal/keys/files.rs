//! The files of data keys: one for each tenant, which stands whole or not at all, and is overwritten before it goes. It never
//! unwraps a key, and takes nothing for destroyed that was not marked so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use trackway_replay::TenantId;

use super::WrappedKey;
use crate::sled::sync::{sync_file, sync_folder};
use crate::{StorageError, StorageErrorKind};

/// Behind the name of a file that is not written to its end.
const HALF: &str = "half";
/// Behind a second name of a file that another one takes the place of, until it is overwritten.
const OLD: &str = "old";
/// Behind the name of a mark: the key is destroyed, or is about to be.
const GONE: &str = "gone";

pub(super) struct KeyFiles {
    folder: PathBuf,
}

pub(super) enum Found {
    Key(WrappedKey),
    /// By [`KeyFiles::destroy`], if only half of it before the power failed.
    Destroyed,
}

impl KeyFiles {
    /// The folder need not be there.
    pub fn of(folder: PathBuf) -> KeyFiles {
        KeyFiles { folder }
    }

    pub fn path(&self, tenant: TenantId) -> PathBuf {
        self.folder.join(tenant.0.to_string())
    }

    /// Of all tenants. It changes nothing.
    ///
    /// # Errors
    /// `Damaged`, also of an empty file or one of zeros that is not marked: a copy that was cut off looks like that.
    pub fn all(&self) -> Result<BTreeMap<TenantId, Found>, StorageError> {
        let (mut keys, mut marked) = (BTreeSet::new(), BTreeSet::new());
        let cannot = |error: io::Error| failed(&self.folder, "read", &error);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries.map_err(cannot)?,
        };
        for entry in entries {
            let name = entry.map_err(cannot)?.file_name();
            let number = |name: &str| name.parse().ok().map(TenantId);
            let Some(name) = name.to_str() else { continue };
            match name.split_once('.') {
                None => keys.extend(number(name)),
                Some((name, GONE)) => marked.extend(number(name)),
                Some(_) => {}
            }
        }
        let keys = keys.difference(&marked).map(|tenant| Ok((*tenant, Found::Key(self.read(*tenant)?))));
        keys.chain(marked.iter().map(|tenant| Ok((*tenant, Found::Destroyed)))).collect()
    }

    fn read(&self, tenant: TenantId) -> Result<WrappedKey, StorageError> {
        let path = self.path(tenant);
        let bytes = fs::read(&path).map_err(|error| failed(&path, "read", &error))?;
        // No text has a zero in it.
        if bytes.is_empty() || bytes.contains(&0) {
            let why = format!(
                "it is empty or was overwritten, and no {tenant}.{GONE} beside it says that the key was destroyed",
            );
            return Err(damaged(&path, &why));
        }
        let key: Option<WrappedKey> = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        match key {
            Some(key) if key.tenant == tenant => Ok(key),
            Some(_) => Err(damaged(&path, "it is the data key of another tenant")),
            None => Err(damaged(&path, "it is no data key")),
        }
    }

    /// Whole and durable under its name, or what was there before. What it takes the place of is overwritten.
    pub fn write(&self, key: &WrappedKey) -> Result<(), StorageError> {
        let path = self.path(key.tenant);
        self.put(&path, key).map_err(|error| failed(&path, "written", &error))
    }

    fn put(&self, path: &Path, key: &WrappedKey) -> io::Result<()> {
        let is_new = !self.folder.exists();
        fs::create_dir_all(&self.folder)?;
        if is_new && let Some(above) = self.folder.parent() {
            sync_folder(above)?;
        }
        self.clear_old(path)?;
        // Who dies behind the rename leaves the old version under that name, for whoever comes next. Where a file cannot
        // have two names it goes on without.
        let old = path.with_extension(OLD);
        let is_linked = fs::hard_link(path, &old).is_ok();
        if is_linked {
            sync_folder(&self.folder)?;
        }
        let before = match File::options().read(true).write(true).open(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            opened => opened.ok(),
        };
        let half = path.with_extension(HALF);
        wipe_if_there(&half)?;
        let mut file = File::create(&half)?;
        file.write_all(format!("{key}\n").as_bytes())?;
        sync_file(&half, &file);
        fs::rename(&half, path)?;
        sync_folder(&self.folder)?;
        // What it held was wrapped under the key that is given up.
        if let Some(before) = before {
            wipe(path, before)?;
        }
        if is_linked { remove_if_there(&old) } else { Ok(()) }
    }

    /// Overwrites the old version of the key that a process left which died while it wrote the new one.
    pub fn tidy(&self, tenant: TenantId) -> Result<(), StorageError> {
        let path = self.path(tenant);
        self.clear_old(&path).map_err(|error| failed(&path, "tidied", &error))
    }

    fn clear_old(&self, path: &Path) -> io::Result<()> {
        let old = path.with_extension(OLD);
        let place = |path: &Path| match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(|found| Some((found.dev(), found.ino()))),
        };
        let (here, there) = (place(path)?, place(&old)?);
        if there.is_none() {
            return Ok(());
        }
        // Else the new one never took its place: it only has a name too many.
        if here != there {
            wipe_if_there(&old)?;
        }
        remove_if_there(&old)
    }

    /// Whether there was a key. It is marked first: whoever finds a file that is overwritten has to know that it was meant.
    pub fn destroy(&self, tenant: TenantId) -> Result<bool, StorageError> {
        let path = self.path(tenant);
        if !path.exists() {
            return Ok(false);
        }
        let mark = || -> io::Result<()> {
            let mark = path.with_extension(GONE);
            sync_file(&mark, &File::create(&mark)?);
            sync_folder(&self.folder)
        };
        // A process that died while it wrote the key anew may have left half of a file, or all of it.
        let wiped = || {
            [path.with_extension(HALF), path.with_extension(OLD), path.clone()]
                .iter()
                .try_for_each(|path| wipe_if_there(path))
        };
        mark().and_then(|()| wiped()).map_err(|error| failed(&path, "destroyed", &error))?;
        Ok(true)
    }

    /// Nothing of it comes back, whatever happens to the power.
    pub fn remove(&self, tenant: TenantId) -> Result<(), StorageError> {
        if !self.folder.exists() {
            return Ok(());
        }
        let path = self.path(tenant);
        let removed = || -> io::Result<()> {
            for name in [path.with_extension(HALF), path.with_extension(OLD), path.clone()] {
                remove_if_there(&name)?;
            }
            sync_folder(&self.folder)?;
            // Last: it says of all the others what became of them.
            remove_if_there(&path.with_extension(GONE))?;
            sync_folder(&self.folder)
        };
        removed().map_err(|error| failed(&path, "removed", &error))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn wipe_if_there(path: &Path) -> io::Result<()> {
    match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        opened => wipe(path, opened?),
    }
}

/// Zeros in place of all that it holds, on the disk when it answers.
fn wipe(path: &Path, mut file: File) -> io::Result<()> {
    let length = file.metadata()?.len();
    file.rewind()?;
    file.write_all(&vec![0; usize::try_from(length).unwrap_or_default()])?;
    sync_file(path, &file);
    Ok(())
}

pub(super) fn damaged(path: &Path, why: &str) -> StorageError {
    let message = format!(
        "{} is damaged: {why}. Put it back: from a copy of the folder, or the line of that tenant in the data keys of a \
         backup, which is all that the file holds",
        path.display()
    );
    StorageError::new(StorageErrorKind::Damaged, message)
}

fn failed(path: &Path, what: &str, error: &io::Error) -> StorageError {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageErrorKind::Full,
        _ => StorageErrorKind::Io,
    };
    StorageError::new(kind, format!("{} cannot be {what}: {error}", path.display()))
}
