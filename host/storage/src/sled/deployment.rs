//! Deployments: a row for the pointer, and one for each version, so that no row grows without end.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trackway_replay::TenantId;

use super::draft::Draft;
use super::key::{self, Kind};
use super::row::{DeploymentRow, damaged};
use super::shared::Shared;
use crate::{Deployment, StorageError, Version};

/// Deployments in memory; the others are read each time.
const KNOWN_MAX: usize = 1_000;
/// One that others change all the time meanwhile is no more read than one that is damaged.
const READS_MAX: u32 = 8;

/// Deployments that were read before: every start of a run asks for one.
#[derive(Default)]
pub(super) struct Deployed {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Grows with every change, so that nobody keeps what was read before it.
    generation: u64,
    deployments: HashMap<(TenantId, Arc<str>), Deployment>,
}

impl Deployed {
    /// An error holds the generation that a reader of the tree has to name.
    pub fn get(&self, tenant: TenantId, name: &str) -> Result<Deployment, u64> {
        let known = self.lock();
        known.deployments.get(&(tenant, name.into())).cloned().ok_or(known.generation)
    }

    pub fn keep(&self, tenant: TenantId, deployment: &Deployment, generation: u64) {
        let mut known = self.lock();
        if known.generation == generation && known.deployments.len() < KNOWN_MAX {
            known.deployments.insert((tenant, deployment.name.clone()), deployment.clone());
        }
    }

    /// A change is durable.
    pub fn forget(&self) {
        let mut known = self.lock();
        known.generation += 1;
        known.deployments.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands of a deployment once this batch is written. Without a revision: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    revision: u64,
    versions: u32,
}

impl Shared {
    pub fn deployment(&self, tenant: TenantId, name: &str) -> Result<Option<Deployment>, StorageError> {
        let key = key::named(Kind::Deployment, tenant, name);
        for _ in 0..READS_MAX {
            let Some(row) = self.deployment_row(&key)? else { return Ok(None) };
            let read = self.with_versions(tenant, name, row);
            // Where somebody changed or removed it meanwhile, these versions are of both, or missing.
            if self.deployment_row(&key)? == Some(row) {
                return read.map(Some);
            }
        }
        Err(damaged(&key, "it is another one whenever it is read"))
    }

    pub fn deployments(&self, tenant: TenantId) -> Result<Vec<Deployment>, StorageError> {
        let prefix = key::of_tenant(Kind::Deployment, tenant);
        let mut deployments = Vec::new();
        for row in self.rows(&prefix) {
            let (key, _) = row?;
            let name = std::str::from_utf8(&key[prefix.len()..]).map_err(|error| damaged(&key, &error.to_string()))?;
            deployments.extend(self.deployment(tenant, name)?);
        }
        Ok(deployments)
    }

    fn deployment_row(&self, key: &[u8]) -> Result<Option<DeploymentRow>, StorageError> {
        self.get(key)?.map(|row| row.decode(key)).transpose()
    }

    fn with_versions(&self, tenant: TenantId, name: &str, row: DeploymentRow) -> Result<Deployment, StorageError> {
        let versions = (0..row.versions).map(|place| {
            let key = key::version(tenant, name, place);
            let version = self.get(&key)?.ok_or_else(|| damaged(&key, "it is missing"))?;
            version.decode::<Version>(&key)
        });
        let versions = versions.collect::<Result<Vec<Version>, StorageError>>()?;
        Ok(Deployment { name: name.into(), revision: row.revision, current: row.current, versions })
    }
}

impl Draft {
    pub fn put_deployment(&mut self, tenant: TenantId, deployment: &Deployment) -> Result<bool, StorageError> {
        let of = (tenant, deployment.name.clone());
        let stored = self.standing(&of)?;
        if stored.revision.checked_add(1) != Some(deployment.revision) {
            return Ok(false);
        }
        self.shared.room.check()?;
        // What this batch changed before is not to be read yet.
        let can_be_read = !self.deployments.contains_key(&of);
        for (place, version) in deployment.versions.iter().enumerate() {
            let key = key::version(tenant, &deployment.name, place as u32);
            let row = if can_be_read { self.shared.written(&key)? } else { None };
            let known = row.map(|row| row.decode::<Version>(&key)).transpose()?;
            if known.as_ref() != Some(version) {
                self.stage(&key, version)?;
            }
        }
        let versions = deployment.versions.len() as u32;
        self.remove_versions(&of, versions..stored.versions);
        let row = DeploymentRow { revision: deployment.revision, current: deployment.current, versions };
        self.stage(&key::named(Kind::Deployment, tenant, &deployment.name), &row)?;
        self.deployments.insert(of, Standing { revision: deployment.revision, versions });
        Ok(true)
    }

    pub fn remove_deployment(&mut self, tenant: TenantId, name: Arc<str>, revision: u64) -> Result<bool, StorageError> {
        let of = (tenant, name);
        let stored = self.standing(&of)?;
        if revision == 0 || stored.revision != revision {
            return Ok(false);
        }
        self.remove_versions(&of, 0..stored.versions);
        self.remove(&key::named(Kind::Deployment, tenant, &of.1));
        self.deployments.insert(of, Standing::default());
        Ok(true)
    }

    fn remove_versions(&mut self, (tenant, name): &(TenantId, Arc<str>), places: Range<u32>) {
        for place in places {
            self.remove(&key::version(*tenant, name, place));
        }
    }

    fn standing(&self, of: &(TenantId, Arc<str>)) -> Result<Standing, StorageError> {
        if let Some(standing) = self.deployments.get(of) {
            return Ok(*standing);
        }
        let key = key::named(Kind::Deployment, of.0, &of.1);
        let Some(row) = self.shared.written(&key)? else { return Ok(Standing::default()) };
        let DeploymentRow { revision, current: _, versions } = row.decode(&key)?;
        Ok(Standing { revision, versions })
    }
}
