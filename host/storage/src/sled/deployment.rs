//! Deployments: a row for the pointer, and one for each version, so that no row grows without end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trackway_replay::TenantId;

use super::draft::Draft;
use super::key::{self, Kind};
use super::row::{DeploymentRow, damaged};
use super::shared::Shared;
use crate::{Deployment, StorageError, Version};

/// Deployments in memory; the others are read each time.
const KNOWN_MAX: usize = 1_000;

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

impl Shared {
    pub fn deployment(&self, tenant: TenantId, name: &str) -> Result<Option<Deployment>, StorageError> {
        let key = key::named(Kind::Deployment, tenant, name);
        match self.get(&key)? {
            None => Ok(None),
            Some(row) => self.with_versions(tenant, name, row.decode(&key)?).map(Some),
        }
    }

    pub fn deployments(&self, tenant: TenantId) -> Result<Vec<Deployment>, StorageError> {
        let prefix = key::of_tenant(Kind::Deployment, tenant);
        let rows = self.rows(&prefix).map(|row| {
            let (key, row) = row?;
            let name = std::str::from_utf8(&key[prefix.len()..]).map_err(|error| damaged(&key, &error.to_string()))?;
            self.with_versions(tenant, name, row.decode(&key)?)
        });
        rows.collect()
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
        let place = (tenant, deployment.name.clone());
        let key = key::named(Kind::Deployment, tenant, &deployment.name);
        let stored = match self.revisions.get(&place) {
            Some(revision) => *revision,
            None => match self.shared.written(&key)? {
                Some(row) => row.decode::<DeploymentRow>(&key)?.revision,
                None => 0,
            },
        };
        if stored.checked_add(1) != Some(deployment.revision) {
            return Ok(false);
        }
        self.shared.room.check()?;
        for (place, version) in deployment.versions.iter().enumerate() {
            let key = key::version(tenant, &deployment.name, place as u32);
            let known = self.shared.written(&key)?.map(|row| row.decode::<Version>(&key)).transpose()?;
            if known.as_ref() != Some(version) {
                self.stage(&key, version)?;
            }
        }
        let row = DeploymentRow {
            revision: deployment.revision,
            current: deployment.current,
            versions: deployment.versions.len() as u32,
        };
        self.stage(&key, &row)?;
        self.revisions.insert(place, deployment.revision);
        Ok(true)
    }
}
