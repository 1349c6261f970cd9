//! The data keys of all tenants: a file for each, wrapped under a key of the server. They stand beside the store and not in
//! it, since a store keeps what was removed for a while: a key that is destroyed has to be gone at once, and with it all that
//! was ever sealed under it, wherever it lies.

mod files;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use trackway_replay::TenantId;
use zeroize::Zeroizing;

use self::files::{Found, KeyFiles, damaged};
use super::{KEY_BYTES, Key, Seal};
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
    files: Option<KeyFiles>,
    sealing: Sealing,
    /// Whether there is any key, or will be, or should be: else nobody looks further.
    is_on: AtomicBool,
    known: RwLock<BTreeMap<TenantId, Held>>,
    /// Held while files are written.
    writing: Mutex<()>,
}

/// What is known of the key of a tenant.
enum Held {
    Key(Arc<Seal>),
    /// The tenant is being erased. What is left does not open any more, and what is still written is sealed with this one,
    /// which nobody keeps.
    Destroyed(Arc<Seal>),
    /// Something of the tenant is sealed, and its key is not there.
    Missing,
}

impl Seals {
    /// Of a store that seals nothing.
    pub fn none() -> Seals {
        Seals {
            files: None,
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
        let files = KeyFiles::of(folder);
        let mut known = BTreeMap::new();
        for (tenant, found) in files.all()? {
            let held = match found {
                Found::Key(key) => Held::Key(Arc::new(opened(&key, &files, &sealing)?)),
                Found::Destroyed => Held::Destroyed(Arc::new(Seal::random(Extent::Whole)?)),
            };
            known.insert(tenant, held);
        }
        if sealing.every_tenant {
            let wrap = sealing.wrap.as_deref().ok_or_else(|| no_key("everything is to be sealed"))?;
            wrap.wrap(ABOUT, &[0; KEY_BYTES])?;
        }
        let is_on = AtomicBool::new(sealing.every_tenant || !known.is_empty());
        Ok(Seals { files: Some(files), sealing, is_on, known: RwLock::new(known), writing: Mutex::new(()) })
    }

    /// What is of that tenant is sealed with this one, if it is sealed at all and its key is there.
    pub fn of(&self, tenant: TenantId) -> Option<Arc<Seal>> {
        self.found(tenant).ok().flatten()
    }

    /// As [`Seals::of`].
    ///
    /// # Errors
    /// `NoKey` where the key of the tenant is missing.
    pub(crate) fn found(&self, tenant: TenantId) -> Result<Option<Arc<Seal>>, StorageError> {
        if !self.is_on() {
            return Ok(None);
        }
        match self.known.read().unwrap_or_else(PoisonError::into_inner).get(&tenant) {
            Some(Held::Key(seal) | Held::Destroyed(seal)) => Ok(Some(seal.clone())),
            Some(Held::Missing) => Err(missing(tenant)),
            None => Ok(None),
        }
    }

    /// Whether nothing of the tenant can be read that is sealed: it is being erased, or its key is missing.
    pub fn is_shut(&self, tenant: TenantId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        matches!(known.get(&tenant), Some(Held::Destroyed(_) | Held::Missing))
    }

    /// Whether the tenant is being erased.
    pub(crate) fn is_destroyed(&self, tenant: TenantId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        matches!(known.get(&tenant), Some(Held::Destroyed(_)))
    }

    /// As [`Seals::of`], for what is to be written: the key is made where there is none and should be one. Durable when it
    /// answers. `is_new`: whether nothing of the tenant is stored yet that would be sealed.
    ///
    /// # Errors
    /// `NoKey` where what stands of the tenant is sealed under a key that is missing; `Full`, `Io`.
    pub(crate) fn of_writer(
        &self,
        tenant: TenantId,
        is_new: impl FnOnce() -> Result<bool, StorageError>,
    ) -> Result<Option<Arc<Seal>>, StorageError> {
        let found = self.found(tenant)?;
        if found.is_some() || !self.sealing.every_tenant {
            return Ok(found);
        }
        let _alone = self.alone();
        if let Some(seal) = self.found(tenant)? {
            return Ok(Some(seal));
        }
        let extent = if is_new()? { Extent::Whole } else { Extent::Later };
        let seal = Seal::random(extent)?;
        self.write(&WrappedKey::of(&seal, tenant, self.wrap()?)?)?;
        Ok(Some(self.keep(tenant, seal)))
    }

    /// Something of the tenant is sealed, and there is no key: from here on nothing is written of it, neither plain nor
    /// under a new key, so that all is well once the right one was put back.
    pub(crate) fn miss(&self, tenant: TenantId) {
        let is_new = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let is_new = !known.contains_key(&tenant);
            known.entry(tenant).or_insert(Held::Missing);
            is_new
        };
        if is_new {
            self.is_on.store(true, Ordering::Release);
            tracing::error!("{}", missing(tenant).message);
        }
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
    ///
    /// # Errors
    /// `NoKey` where one is missing: what is kept of this takes the place of what was kept before, which may have it.
    pub fn wrapped(&self) -> Result<Vec<WrappedKey>, StorageError> {
        let Some(files) = &self.files else { return Ok(Vec::new()) };
        let _alone = self.alone();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((tenant, _)) = known.iter().find(|(_, held)| matches!(held, Held::Missing)) {
            return Err(missing(*tenant));
        }
        drop(known);
        let keys = files.all()?.into_values().filter_map(|found| match found {
            Found::Key(key) => Some(key),
            Found::Destroyed => None,
        });
        Ok(keys.collect())
    }

    /// Whether anything is sealed, or will be.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Wraps all of them under the key that the server has now. Cut off in between it can be done again: each is wrapped
    /// under one key or the other, and old versions that were left are overwritten.
    pub fn rewrap(&self) -> Result<Rewrapped, StorageError> {
        let mut rewrapped = Rewrapped::default();
        let Some(files) = &self.files else { return Ok(rewrapped) };
        let _alone = self.alone();
        for (tenant, found) in files.all()? {
            let Found::Key(key) = found else { continue };
            files.tidy(tenant)?;
            let wrap = self.wrap()?;
            if wrap.is_current(&key.wrapped) {
                rewrapped.kept += 1;
                continue;
            }
            // As it was opened at the start: the key under which it lies may be gone by now.
            let Some(seal) = self.of(tenant) else { continue };
            self.write(&WrappedKey::of(&seal, tenant, wrap)?)?;
            rewrapped.moved += 1;
        }
        Ok(rewrapped)
    }

    /// From here on nothing opens that was sealed for the tenant; durable when it answers. What is still written of it is
    /// sealed under a key that nobody keeps. The file stays, with nothing in it, until [`Seals::forget`].
    pub(crate) fn destroy(&self, tenant: TenantId) -> Result<(), StorageError> {
        let _alone = self.alone();
        let Some(files) = &self.files else { return Ok(()) };
        if files.destroy(tenant)? {
            self.hold(tenant, Held::Destroyed(Arc::new(Seal::random(Extent::Whole)?)));
        }
        Ok(())
    }

    /// Nothing is left of the tenant; durable when it answers.
    pub(crate) fn forget(&self, tenant: TenantId) -> Result<(), StorageError> {
        let _alone = self.alone();
        let Some(files) = &self.files else { return Ok(()) };
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        files.remove(tenant)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrap(&self) -> Result<&dyn Wrap, StorageError> {
        self.sealing.wrap.as_deref().ok_or_else(|| no_key("a data key is to be wrapped"))
    }

    fn write(&self, key: &WrappedKey) -> Result<(), StorageError> {
        let files = self.files.as_ref().ok_or_else(|| no_key("a store without a folder keeps no keys"))?;
        files.write(key)
    }

    fn keep(&self, tenant: TenantId, seal: Seal) -> Arc<Seal> {
        let seal = Arc::new(seal);
        self.hold(tenant, Held::Key(seal.clone()));
        seal
    }

    fn hold(&self, tenant: TenantId, held: Held) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, held);
        self.is_on.store(true, Ordering::Release);
    }
}

fn opened(key: &WrappedKey, files: &KeyFiles, sealing: &Sealing) -> Result<Seal, StorageError> {
    let path = files.path(key.tenant);
    let sealed = || no_key(&format!("{} and all that is sealed under it cannot be opened", path.display()));
    let wrap = sealing.wrap.as_deref().ok_or_else(sealed)?;
    key.unwrap(wrap).map_err(|error| match error.kind {
        StorageErrorKind::Damaged => damaged(&path, &error.message),
        _ => error,
    })
}

fn no_key(why: &str) -> StorageError {
    StorageError::new(StorageErrorKind::NoKey, format!("{why}, and there is no key of the server"))
}

pub(crate) fn missing(tenant: TenantId) -> StorageError {
    let message = format!(
        "the data key of tenant {tenant} is missing: something of it is sealed, and there is no keys/{tenant} in the store. \
         Nothing more is written of that tenant. Put the file back, from a copy of the folder or as its line in the data keys \
         of a backup, and start again"
    );
    StorageError::new(StorageErrorKind::NoKey, message)
}
