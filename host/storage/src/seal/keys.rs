//! The data keys of all tenants: a file for each, wrapped under a key of the server. They stand beside the store and not in
//! it, since a store keeps what was removed for a while: a key that is destroyed has to be gone at once, and with it all that
//! was ever sealed under it, wherever it lies.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use trackway_replay::TenantId;
use zeroize::Zeroizing;

use super::{KEY_BYTES, Key, Seal};
use crate::sled::sync::{sync_file, sync_folder};
use crate::{StorageError, StorageErrorKind};

const ABOUT: &[u8] = b"trackway data key 1\0";

/// Keeps the keys of the server, which are never here.
pub trait Wrap: Send + Sync {
    /// As a text without spaces. It unwraps only with the same `about`.
    ///
    /// # Errors
    /// `NoKey` where there is no key of the server.
    fn wrap(&self, about: &[u8], key: &[u8]) -> Result<String, StorageError>;

    /// # Errors
    /// `NoKey` where it is wrapped under a key that is not there, `Damaged` where it was changed.
    fn unwrap(&self, about: &[u8], wrapped: &str) -> Result<Zeroizing<Vec<u8>>, StorageError>;

    /// Whether it is wrapped under the key that wraps from now on.
    fn is_current(&self, wrapped: &str) -> bool;
}

/// What an opening of a store seals, and with what.
#[derive(Clone, Default)]
pub struct Sealing {
    /// Without it a store that holds anything sealed is not opened.
    pub wrap: Option<Arc<dyn Wrap>>,
    /// Makes a data key for each tenant that has none. A tenant that has one is sealed in any case.
    pub every_tenant: bool,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing {{ every_tenant: {} }}", self.every_tenant)
    }
}

/// How much of a tenant is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// From its first row on: whatever is not sealed was not written by this host.
    Whole,
    /// What was written before it got its key is not, and names in keys of rows stand as they are.
    Later,
}

/// A data key as it lies on disk: `TENANT EXTENT WRAPPED`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub tenant: TenantId,
    pub extent: Extent,
    wrapped: String,
}

/// What became of the keys when the key of the server changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    pub moved: u64,
    /// They were under that key before.
    pub kept: u64,
}

impl Extent {
    fn word(self) -> &'static str {
        match self {
            Extent::Whole => "whole",
            Extent::Later => "later",
        }
    }
}

impl fmt::Display for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.tenant.0, self.extent.word(), self.wrapped)
    }
}

impl FromStr for WrappedKey {
    type Err = StorageError;

    fn from_str(line: &str) -> Result<WrappedKey, StorageError> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let extent = |word: &str| [Extent::Whole, Extent::Later].into_iter().find(|extent| extent.word() == word);
        if let [tenant, word, wrapped] = *words.as_slice()
            && let (Ok(tenant), Some(extent)) = (tenant.parse(), extent(word))
        {
            return Ok(WrappedKey { tenant: TenantId(tenant), extent, wrapped: wrapped.to_owned() });
        }
        Err(StorageError::new(StorageErrorKind::Damaged, "it is no data key"))
    }
}

impl WrappedKey {
    fn of(seal: &Seal, tenant: TenantId, wrap: &dyn Wrap) -> Result<WrappedKey, StorageError> {
        let wrapped = wrap.wrap(&about(tenant, seal.extent), &*seal.key)?;
        Ok(WrappedKey { tenant, extent: seal.extent, wrapped })
    }

    /// # Errors
    /// As [`Wrap::unwrap`].
    pub fn unwrap(&self, wrap: &dyn Wrap) -> Result<Seal, StorageError> {
        let named = |error: StorageError| {
            StorageError::new(error.kind, format!("the data key of tenant {}: {}", self.tenant.0, error.message))
        };
        let bytes = wrap.unwrap(&about(self.tenant, self.extent), &self.wrapped).map_err(named)?;
        let mut key = Key::default();
        if bytes.len() != KEY_BYTES {
            return Err(named(StorageError::new(StorageErrorKind::Damaged, "it has another length than a key")));
        }
        key.copy_from_slice(&bytes);
        Seal::of(key, self.extent)
    }
}

/// Nobody who writes to the folder can give a tenant the key of another one.
fn about(tenant: TenantId, extent: Extent) -> Vec<u8> {
    [ABOUT, &tenant.0.to_be_bytes(), extent.word().as_bytes()].concat()
}

/// The keys of one store.
pub struct Seals {
    /// `None`: of a store that seals nothing.
    folder: Option<PathBuf>,
    sealing: Sealing,
    /// Whether there is any key, or will be: else nobody looks further.
    is_on: AtomicBool,
    known: RwLock<BTreeMap<TenantId, Arc<Seal>>>,
    /// Held while files are written.
    writing: Mutex<()>,
}

impl Seals {
    /// Of a store that seals nothing.
    pub fn none() -> Seals {
        Seals {
            folder: None,
            sealing: Sealing::default(),
            is_on: AtomicBool::new(false),
            known: RwLock::default(),
            writing: Mutex::new(()),
        }
    }

    /// Reads all keys in `folder`, which need not be there. It changes nothing.
    ///
    /// # Errors
    /// `NoKey` where the server has not the key for one of them, or shall seal and has none; `Damaged`; `Io`.
    pub fn open(folder: PathBuf, sealing: Sealing) -> Result<Seals, StorageError> {
        let mut known = BTreeMap::new();
        for (tenant, path) in files(&folder)? {
            let seal = match read(&path)? {
                Some(key) if key.tenant == tenant => opened(&key, &path, &sealing)?,
                Some(_) => return Err(damaged(&path, "it is the data key of another tenant")),
                // It was destroyed, and the tenant is being erased: what is left does not open any more.
                None => Seal::random(Extent::Whole)?,
            };
            known.insert(tenant, Arc::new(seal));
        }
        if sealing.every_tenant {
            let wrap = sealing.wrap.as_deref().ok_or_else(|| no_key("everything is to be sealed"))?;
            wrap.wrap(ABOUT, &[0; KEY_BYTES])?;
        }
        let is_on = AtomicBool::new(sealing.every_tenant || !known.is_empty());
        Ok(Seals { folder: Some(folder), sealing, is_on, known: RwLock::new(known), writing: Mutex::new(()) })
    }

    /// What is of that tenant is sealed with this one, if it is sealed at all.
    pub fn of(&self, tenant: TenantId) -> Option<Arc<Seal>> {
        if !self.is_on() {
            return None;
        }
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    /// As [`Seals::of`], for what is to be written: the key is made where there is none and should be one. Durable when it
    /// answers. `is_new`: whether nothing of the tenant is stored yet that would be sealed.
    pub(crate) fn of_writer(
        &self,
        tenant: TenantId,
        is_new: impl FnOnce() -> Result<bool, StorageError>,
    ) -> Result<Option<Arc<Seal>>, StorageError> {
        match self.of(tenant) {
            None if self.sealing.every_tenant => {}
            seal => return Ok(seal),
        }
        let _alone = self.alone();
        if let Some(seal) = self.of(tenant) {
            return Ok(Some(seal));
        }
        let extent = if is_new()? { Extent::Whole } else { Extent::Later };
        let seal = Seal::random(extent)?;
        self.write(&WrappedKey::of(&seal, tenant, self.wrap()?)?)?;
        Ok(Some(self.keep(tenant, seal)))
    }

    /// Takes a key that a backup came with, for a store that has none of that tenant.
    ///
    /// # Errors
    /// As [`Wrap::unwrap`]; `Io`.
    pub fn adopt(&self, key: &WrappedKey) -> Result<(), StorageError> {
        let _alone = self.alone();
        let wrap = self.wrap()?;
        let Seal { key: bytes, .. } = key.unwrap(wrap)?;
        // Whatever it was before: all that is written from here on is sealed.
        let seal = Seal::of(bytes, Extent::Whole)?;
        self.write(&WrappedKey::of(&seal, key.tenant, wrap)?)?;
        self.keep(key.tenant, seal);
        Ok(())
    }

    /// All of them as they lie there, for a backup.
    pub fn wrapped(&self) -> Result<Vec<WrappedKey>, StorageError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let _alone = self.alone();
        let keys = files(folder)?.into_iter().map(|(_, path)| read(&path));
        keys.filter_map(Result::transpose).collect()
    }

    /// Whether anything is sealed, or will be.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Wraps all of them under the key that the server has now. Cut off in between it can be done again: each is wrapped
    /// under one key or the other.
    pub fn rewrap(&self) -> Result<Rewrapped, StorageError> {
        let mut rewrapped = Rewrapped::default();
        let Some(folder) = &self.folder else { return Ok(rewrapped) };
        let _alone = self.alone();
        for (_, path) in files(folder)? {
            let Some(key) = read(&path)? else { continue };
            let wrap = self.wrap()?;
            if wrap.is_current(&key.wrapped) {
                rewrapped.kept += 1;
                continue;
            }
            // As it was opened at the start: the key under which it lies may be gone by now.
            let Some(seal) = self.of(key.tenant) else { continue };
            self.write(&WrappedKey::of(&seal, key.tenant, wrap)?)?;
            rewrapped.moved += 1;
        }
        Ok(rewrapped)
    }

    /// From here on nothing opens that was sealed for the tenant; durable when it answers. What is still written of it is
    /// sealed under a key that nobody keeps. The file stays, with nothing in it, until [`Seals::forget`].
    pub(crate) fn destroy(&self, tenant: TenantId) -> Result<(), StorageError> {
        let _alone = self.alone();
        let Some(path) = self.path(tenant).filter(|path| path.exists()) else { return Ok(()) };
        // A process that died while it wrote the key anew may have left half of a file, or all of it.
        for path in [path.with_extension(HALF), path] {
            let wiped = match File::options().read(true).write(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                opened => opened.and_then(|file| wipe(&path, file)),
            };
            wiped.map_err(|error| failed(&path, "destroyed", &error))?;
        }
        self.keep(tenant, Seal::random(Extent::Whole)?);
        Ok(())
    }

    /// Nothing is left of the tenant.
    pub(crate) fn forget(&self, tenant: TenantId) -> Result<(), StorageError> {
        let _alone = self.alone();
        let Some(path) = self.path(tenant) else { return Ok(()) };
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        for path in [path.with_extension(HALF), path] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, "removed", &error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self) -> Result<&dyn Wrap, StorageError> {
        self.sealing.wrap.as_deref().ok_or_else(|| no_key("a data key is to be wrapped"))
    }

    fn path(&self, tenant: TenantId) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(tenant.0.to_string()))
    }

    fn keep(&self, tenant: TenantId, seal: Seal) -> Arc<Seal> {
        let seal = Arc::new(seal);
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, seal.clone());
        self.is_on.store(true, Ordering::Release);
        seal
    }

    /// Whole and durable under its name, or what was there before.
    fn write(&self, key: &WrappedKey) -> Result<(), StorageError> {
        let (Some(folder), Some(path)) = (&self.folder, self.path(key.tenant)) else {
            return Err(no_key("a store without a folder keeps no keys"));
        };
        let cannot = |error: io::Error| failed(&path, "written", &error);
        let is_new = !folder.exists();
        fs::create_dir_all(folder).map_err(cannot)?;
        if is_new && let Some(above) = folder.parent() {
            sync_folder(above).map_err(cannot)?;
        }
        let before = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
            opened => opened.ok(),
        };
        let temporary = path.with_extension(HALF);
        let mut file = File::create(&temporary).map_err(cannot)?;
        file.write_all(format!("{key}\n").as_bytes()).map_err(cannot)?;
        sync_file(&temporary, &file);
        fs::rename(&temporary, &path).map_err(cannot)?;
        sync_folder(folder).map_err(cannot)?;
        // It has no name any more; what it held was wrapped under the key that is given up.
        if let Some(before) = before {
            wipe(&path, before).map_err(cannot)?;
        }
        Ok(())
    }
}

/// Behind the name of a file that is not written to its end.
const HALF: &str = "half";

fn files(folder: &Path) -> Result<Vec<(TenantId, PathBuf)>, StorageError> {
    let cannot = |error: io::Error| failed(folder, "read", &error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        let tenant = path.file_name().and_then(|name| name.to_str()?.parse().ok()).map(TenantId);
        files.extend(tenant.map(|tenant| (tenant, path)));
    }
    files.sort();
    Ok(files)
}

/// `None`: it was destroyed, if only half of it before the power failed. No text has a zero in it.
fn read(path: &Path) -> Result<Option<WrappedKey>, StorageError> {
    let bytes = fs::read(path).map_err(|error| failed(path, "read", &error))?;
    if bytes.is_empty() || bytes.contains(&0) {
        return Ok(None);
    }
    let key = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    key.map(Some).ok_or_else(|| damaged(path, "it is no data key"))
}

fn opened(key: &WrappedKey, path: &Path, sealing: &Sealing) -> Result<Seal, StorageError> {
    let sealed = || no_key(&format!("{} and all that is sealed under it cannot be opened", path.display()));
    let wrap = sealing.wrap.as_deref().ok_or_else(sealed)?;
    key.unwrap(wrap).map_err(|error| match error.kind {
        StorageErrorKind::Damaged => damaged(path, &error.message),
        _ => error,
    })
}

/// Zeros in place of all that it holds, on the disk when it answers.
fn wipe(path: &Path, mut file: File) -> io::Result<()> {
    let length = file.metadata()?.len();
    file.rewind()?;
    file.write_all(&vec![0; usize::try_from(length).unwrap_or_default()])?;
    sync_file(path, &file);
    Ok(())
}

fn no_key(why: &str) -> StorageError {
    StorageError::new(StorageErrorKind::NoKey, format!("{why}, and there is no key of the server"))
}

fn damaged(path: &Path, why: &str) -> StorageError {
    let message = format!("{} is damaged: {why}. A copy of it stands in the keys of a backup", path.display());
    StorageError::new(StorageErrorKind::Damaged, message)
}

fn failed(path: &Path, what: &str, error: &io::Error) -> StorageError {
    let kind = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageErrorKind::Full,
        _ => StorageErrorKind::Io,
    };
    StorageError::new(kind, format!("{} cannot be {what}: {error}", path.display()))
}
