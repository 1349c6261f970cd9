//! Components: bytes and manifest are files, what else is known of them is a row. The row is written last and removed
//! first, so a component that is listed is whole, and files without a row are left over from somebody who was cut off.
//! It never removes a file while its row stands.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trackway_replay::{Digest, TenantId};

use super::Asking;
use super::committer::Verb;
use super::draft::Draft;
use super::file::names_in;
use super::folder::io_error;
use super::key::{self, Kind};
use super::shared::Shared;
use crate::{ComponentRecord, StorageError, StorageErrorKind};

const BYTES: &str = "wasm";
const MANIFEST: &str = "manifest";

/// Components of which row and files are being changed. Whoever brings one and whoever removes it do so one after the
/// other, since its files stand for a while without a row.
#[derive(Default)]
pub(super) struct InHand {
    held: Mutex<BTreeSet<(TenantId, Digest)>>,
    freed: Condvar,
}

struct Hold<'a> {
    of: &'a InHand,
    component: (TenantId, Digest),
}

impl InHand {
    /// Waits for whoever has it: as long as two files and a flush take.
    fn hold(&self, tenant: TenantId, digest: Digest) -> Hold<'_> {
        let component = (tenant, digest);
        let free = self.freed.wait_while(self.lock(), |held| held.contains(&component));
        free.unwrap_or_else(PoisonError::into_inner).insert(component);
        Hold { of: self, component }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(TenantId, Digest)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.of.lock().remove(&self.component);
        self.of.freed.notify_all();
    }
}

impl Shared {
    fn components_folder(&self, tenant: TenantId) -> PathBuf {
        self.folder.path.join("components").join(tenant.to_string())
    }

    fn component_file(&self, tenant: TenantId, digest: Digest, ending: &str) -> PathBuf {
        self.components_folder(tenant).join(format!("{digest}.{ending}"))
    }

    pub fn put_component(
        &self,
        tenant: TenantId,
        record: ComponentRecord,
        bytes: &[u8],
        asking: &Asking,
    ) -> Result<(), StorageError> {
        let _hold = self.components.hold(tenant, record.digest);
        if self.get(&key::component(tenant, record.digest))?.is_some() {
            return Ok(());
        }
        self.room.check()?;
        let folder = self.components_folder(tenant);
        self.folder.put(&folder, &format!("{}.{BYTES}", record.digest), bytes)?;
        self.folder.put(&folder, &format!("{}.{MANIFEST}", record.digest), record.manifest.as_bytes())?;
        asking.ask(|answer| Verb::Component { tenant, record: Box::new(record), answer })
    }

    pub fn remove_component(&self, tenant: TenantId, digest: Digest, asking: &Asking) -> Result<bool, StorageError> {
        let _hold = self.components.hold(tenant, digest);
        let was_there = asking.ask(|answer| Verb::RemoveComponent { tenant, digest, answer })?;
        // Also where there was none: somebody who was cut off may have left them. Those that are left now go at the
        // next opening.
        for ending in [BYTES, MANIFEST] {
            remove_file(&self.component_file(tenant, digest, ending))?;
        }
        Ok(was_there)
    }

    /// Files of uploads and removals that were cut off. Nobody else may use the store yet.
    pub fn remove_left_components(&self) -> Result<(), StorageError> {
        let folder = self.folder.path.join("components");
        for tenant in names_in(&folder)? {
            let Ok(id) = tenant.parse().map(TenantId) else { continue };
            for name in names_in(&folder.join(&tenant))? {
                let Some(digest) = component_of(&name) else { continue };
                let key = key::component(id, digest);
                if !self.db.contains_key(key).map_err(|error| self.failed(&error))? {
                    remove_file(&folder.join(&tenant).join(&name))?;
                }
            }
        }
        Ok(())
    }

    pub fn component(&self, tenant: TenantId, digest: Digest) -> Result<Option<ComponentRecord>, StorageError> {
        let key = key::component(tenant, digest);
        let Some(row) = self.get(&key)? else { return Ok(None) };
        self.with_manifest(tenant, row.decode(&key)?)
    }

    pub fn components(&self, tenant: TenantId) -> Result<Vec<ComponentRecord>, StorageError> {
        let mut records = Vec::new();
        for row in self.rows(&key::of_tenant(Kind::Component, tenant)) {
            let (key, row) = row?;
            records.extend(self.with_manifest(tenant, row.decode(&key)?)?);
        }
        Ok(records)
    }

    pub fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        if self.get(&key::component(tenant, digest))?.is_none() {
            return Ok(None);
        }
        self.file_of(tenant, digest, BYTES, |path| self.digested(path, digest))
    }

    /// `None`: it was removed meanwhile.
    fn with_manifest(
        &self,
        tenant: TenantId,
        record: ComponentRecord,
    ) -> Result<Option<ComponentRecord>, StorageError> {
        let bytes = self.file_of(tenant, record.digest, MANIFEST, |path| match record.manifest.parse::<Digest>() {
            Ok(digest) => self.digested(path, digest),
            // An early version wrote rows without it.
            Err(_) => Ok(self.folder.read(path)?.map(Bytes::from)),
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let path = self.component_file(tenant, record.digest, MANIFEST);
            StorageError::new(StorageErrorKind::Damaged, format!("{} is damaged: {error}", path.display()))
        })?;
        Ok(Some(ComponentRecord { manifest: text.into(), ..record }))
    }

    /// A file of a component whose row was there a moment ago. `None`: it was removed meanwhile.
    fn file_of(
        &self,
        tenant: TenantId,
        digest: Digest,
        ending: &str,
        read: impl Fn(&Path) -> Result<Option<Bytes>, StorageError>,
    ) -> Result<Option<Bytes>, StorageError> {
        let path = self.component_file(tenant, digest, ending);
        if let Some(bytes) = read(&path)? {
            return Ok(Some(bytes));
        }
        // Whoever was removing it, or bringing it back, has done so then.
        let _hold = self.components.hold(tenant, digest);
        if self.get(&key::component(tenant, digest))?.is_none() {
            return Ok(None);
        }
        let missing = || StorageError::new(StorageErrorKind::Damaged, format!("{} is missing", path.display()));
        read(&path)?.ok_or_else(missing).map(Some)
    }
}

/// Whose file it is. `None`: no component's.
fn component_of(name: &str) -> Option<Digest> {
    let (digest, ending) = name.split_once('.')?;
    if [BYTES, MANIFEST].contains(&ending) { digest.parse().ok() } else { None }
}

fn remove_file(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(path, "cannot remove", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Draft {
    pub fn put_component(&mut self, tenant: TenantId, record: &ComponentRecord) -> Result<(), StorageError> {
        let key = key::component(tenant, record.digest);
        if self.shared.written(&key)?.is_some() {
            return Ok(());
        }
        self.shared.room.check()?;
        // In its place the row has the digest of the file that holds it.
        let manifest = Arc::from(Digest::of(record.manifest.as_bytes()).to_string());
        let bare = ComponentRecord { manifest, ..record.clone() };
        self.stage(&key, &bare)
    }

    /// At most one verb about a component is on its way: whoever sends it has it in hand.
    pub fn remove_component(&mut self, tenant: TenantId, digest: Digest) -> Result<bool, StorageError> {
        let key = key::component(tenant, digest);
        let is_there = self.shared.db.contains_key(key).map_err(|error| self.shared.failed(&error))?;
        if is_there {
            self.remove(&key);
        }
        Ok(is_there)
    }
}
