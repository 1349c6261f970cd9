//! Backups of sealed tenants: the data keys that stand beside one, and what it takes to open it. It never writes a data key
//! that is not wrapped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use trackway_replay::TenantId;
use trackway_storage::dump::Openers;
use trackway_storage::{Seal, Sealing, WrappedKey};

use super::{Host, KeySource, ServerKeys};
use crate::{Code, Error, Result};

/// The data keys of a backup, and the keys of the server that they are wrapped under.
#[derive(Default)]
pub struct DataKeys {
    wrapped: Vec<WrappedKey>,
    openers: Openers,
    sealing: Sealing,
}

impl DataKeys {
    /// `file`: a line for each data key. `every_tenant`: what is made of the backup is sealed also where the backup is not.
    ///
    /// # Errors
    /// `File` or `DataDamaged`; `NoDataKey` where one of them is wrapped under a key that is not among `keys`.
    pub fn read(file: Option<&Path>, keys: KeySource, every_tenant: bool) -> Result<DataKeys> {
        let server = ServerKeys::read(keys)?;
        let text = file.map(text_of).transpose()?.unwrap_or_default();
        let wrapped: Vec<WrappedKey> = text.lines().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let open = |key: &WrappedKey| Ok((key.tenant, key.unwrap(&*server)?));
        let openers: BTreeMap<TenantId, Seal> = wrapped.iter().map(open).collect::<Result<_>>()?;
        let sealing = Sealing { wrap: Some(server), every_tenant };
        Ok(DataKeys { wrapped, openers: Arc::new(openers), sealing })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wrapped.is_empty()
    }

    pub(super) fn openers(&self) -> Openers {
        self.openers.clone()
    }

    pub(super) fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    pub(super) fn of(&self, tenant: TenantId) -> Option<&WrappedKey> {
        self.wrapped.iter().find(|key| key.tenant == tenant)
    }
}

fn text_of(file: &Path) -> Result<String> {
    let cannot = |error| Error::new(Code::File, format!("{} cannot be read: {error}", file.display()));
    std::fs::read_to_string(file).map_err(cannot)
}

impl Host {
    /// The data keys of all sealed tenants, each wrapped under a key of the server: a line for each, as they are kept
    /// beside a backup. Without them nobody opens it.
    pub async fn data_keys(&self) -> Result<Vec<String>> {
        let seals = self.storage.seals();
        let reading = tokio::task::spawn_blocking(move || seals.wrapped()).await;
        let keys = reading.map_err(|error| Error::new(Code::Internal, format!("reading data keys: {error}")))??;
        Ok(keys.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests;
