//! Which versions somebody approved of: a rollback to one of them asks nobody again. It keeps what was approved, and
//! never decides what needs an approval.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trackway_replay::Digest;
use trackway_storage::{Deployment, Shelf, StorageErrorKind, Version};

use super::Host;
use super::deployments::current;
use crate::{Code, Error, Result};

/// In front of the deployment's name and the number, on the shelf of policies.
const PREFIX: &str = "approved/";
/// More than a deployment has versions: what was approved of those that made room goes with the next approval.
const PAGE: usize = 200;

/// What was approved. Its number alone does not say: one whose version was removed is given to another.
#[derive(Serialize, Deserialize)]
struct Body {
    component: Digest,
    #[serde(default)]
    allow: Vec<Arc<str>>,
}

impl Host {
    /// Of the current version. What was approved of versions that made room for others is forgotten.
    pub(super) async fn keep_approval(&self, deployment: &Deployment) -> Result<()> {
        let Version { version, component, allow, .. } = current(deployment)?;
        let body = Body { component: *component, allow: allow.clone() };
        let body =
            serde_json::to_vec(&body).map_err(|error| Error::new(Code::Internal, format!("an approval: {error}")))?;
        self.put_over(&name_of(&deployment.name, *version), body.into()).await?;
        let oldest = deployment.versions.iter().map(|known| known.version).min().unwrap_or_default();
        self.forget_up_to(&deployment.name, oldest.saturating_sub(1)).await
    }

    /// Whether somebody approved of this very version. What cannot be read was approved by nobody.
    pub(super) async fn is_approved(&self, name: &str, version: &Version) -> Result<bool> {
        let record = match self.storage.record(self.tenant, Shelf::Policies, &name_of(name, version.version)).await {
            Err(error) if error.kind == StorageErrorKind::Damaged => None,
            record => record?,
        };
        let approved = record.and_then(|record| serde_json::from_slice::<Body>(&record.body).ok());
        Ok(approved.is_some_and(|approved| approved.component == version.component && approved.allow == version.allow))
    }

    /// The version is gone.
    pub(super) async fn forget_approval(&self, name: &str, version: u32) -> Result<()> {
        let name = name_of(name, version);
        if let Some(record) = self.storage.record(self.tenant, Shelf::Policies, &name).await? {
            self.storage.remove_record(self.tenant, Shelf::Policies, &name, record.revision).await?;
        }
        Ok(())
    }

    /// The deployment is about to go.
    pub(super) async fn forget_approvals(&self, name: &str) -> Result<()> {
        self.forget_up_to(name, u32::MAX).await
    }

    /// Of all versions up to this one.
    async fn forget_up_to(&self, name: &str, version: u32) -> Result<()> {
        let (prefix, last) = (prefix_of(name), name_of(name, version));
        let found = self.storage.records(self.tenant, Shelf::Policies, Some(&prefix), PAGE).await?;
        for record in found.iter().take_while(|record| *record.name <= *last) {
            self.storage.remove_record(self.tenant, Shelf::Policies, &record.name, record.revision).await?;
        }
        Ok(())
    }
}

fn prefix_of(name: &str) -> String {
    format!("{PREFIX}{name}/")
}

/// Sorted by number.
fn name_of(name: &str, version: u32) -> String {
    format!("{}{version:010}", prefix_of(name))
}
