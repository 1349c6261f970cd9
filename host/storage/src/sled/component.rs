//! Components: bytes and manifest are files, what else is known of them is a row. The row is written
//! last, so a component that is listed is whole.

use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use trackway_replay::{Digest, TenantId};

use super::draft::Draft;
use super::key::{self, Kind};
use super::shared::Shared;
use crate::{ComponentRecord, StorageError, StorageErrorKind};

impl Shared {
    fn components_folder(&self, tenant: TenantId) -> PathBuf {
        self.folder.path.join("components").join(tenant.to_string())
    }

    pub fn put_component_files(
        &self,
        tenant: TenantId,
        record: &ComponentRecord,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        if self.get(&key::component(tenant, record.digest))?.is_some() {
            return Ok(());
        }
        self.room.check()?;
        let folder = self.components_folder(tenant);
        self.folder.put(&folder, &format!("{}.wasm", record.digest), bytes)?;
        self.folder.put(&folder, &format!("{}.manifest", record.digest), record.manifest.as_bytes())
    }

    pub fn component(&self, tenant: TenantId, digest: Digest) -> Result<Option<ComponentRecord>, StorageError> {
        let key = key::component(tenant, digest);
        let Some(row) = self.get(&key)? else { return Ok(None) };
        self.with_manifest(tenant, row.decode(&key)?).map(Some)
    }

    pub fn components(&self, tenant: TenantId) -> Result<Vec<ComponentRecord>, StorageError> {
        let rows = self.rows(&key::of_tenant(Kind::Component, tenant));
        rows.map(|row| row.and_then(|(key, row)| self.with_manifest(tenant, row.decode(&key)?))).collect()
    }

    pub fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Result<Option<Bytes>, StorageError> {
        if self.get(&key::component(tenant, digest))?.is_none() {
            return Ok(None);
        }
        let path = self.components_folder(tenant).join(format!("{digest}.wasm"));
        match self.digested(&path, digest)? {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(missing(&path)),
        }
    }

    fn with_manifest(&self, tenant: TenantId, record: ComponentRecord) -> Result<ComponentRecord, StorageError> {
        let path = self.components_folder(tenant).join(format!("{}.manifest", record.digest));
        // An early version wrote rows without it.
        let bytes = match record.manifest.parse::<Digest>() {
            Ok(digest) => self.digested(&path, digest)?,
            Err(_) => self.folder.read(&path)?.map(Bytes::from),
        };
        let bytes = bytes.ok_or_else(|| missing(&path))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            StorageError::new(StorageErrorKind::Damaged, format!("{} is damaged: {error}", path.display()))
        })?;
        Ok(ComponentRecord { manifest: text.into(), ..record })
    }
}

fn missing(path: &std::path::Path) -> StorageError {
    StorageError::new(StorageErrorKind::Damaged, format!("{} is missing", path.display()))
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
}
