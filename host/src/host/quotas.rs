//! Quotas of tenants: what was said of each, as it stands in the store, and what counts now. It counts nothing.

use trackway_replay::TenantId;
use trackway_storage::{Record, Shelf, Storage};

use super::Host;
use super::tenants::Tenant;
use crate::quota::{Book, Quota, Quotas};
use crate::{Code, Error, Result};

/// On the shelf of policies.
const NAME: &str = "quotas";
/// Somebody else wrote it this often while we did: give up and say so.
const TRIES_MAX: u32 = 8;

/// One quota of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimit {
    pub quota: Quota,
    pub limit: u64,
    /// Of a tenant of which nothing is said.
    pub default: u64,
    /// Whether the limit was said of this tenant.
    pub is_said: bool,
}

/// What is to be said of a tenant, each as people write it.
#[derive(Debug, Clone, Default)]
pub struct QuotaChange {
    pub set: Vec<(String, String)>,
    /// From here on as the server has it.
    pub unset: Vec<String>,
}

/// Reads what was said of these tenants.
pub(super) async fn load(storage: &dyn Storage, book: &Book, tenants: &[TenantId]) -> Result<()> {
    for tenant in tenants {
        if let Some(record) = storage.record(*tenant, Shelf::Policies, NAME).await? {
            book.set(*tenant, &read(&record)?);
        }
    }
    Ok(())
}

impl Host {
    /// All quotas of a tenant.
    pub async fn quotas(&self, tenant: &Tenant) -> Result<Vec<QuotaLimit>> {
        let said = self.said(tenant.id).await?.1;
        let (book, limits) = (self.worker.quotas(), self.worker.quotas().of(tenant.id));
        let line = |quota: &Quota| QuotaLimit {
            quota: *quota,
            limit: limits.get(*quota),
            default: book.default_of(*quota),
            is_said: said.get(*quota).is_some(),
        };
        Ok(Quota::ALL.iter().map(line).collect())
    }

    /// Counts from its answer on, also for runs that go on. Durable when it answers.
    pub async fn change_quotas(&self, tenant: &Tenant, change: &QuotaChange) -> Result<()> {
        self.refuse_if_stopping()?;
        // Whoever deletes the tenant waits, and nothing is said of one that is gone.
        let view = self.of(tenant.id);
        let _changing = view.changing().await?;
        for _ in 0..TRIES_MAX {
            let (revision, mut said) = self.said(tenant.id).await?;
            for name in &change.unset {
                said.unset(Quota::named(name)?);
            }
            change.set.iter().try_for_each(|(name, limit)| said.set_text(name, limit))?;
            let body = serde_json::to_vec(&said)
                .map_err(|error| Error::new(Code::Internal, format!("the quotas of a tenant: {error}")))?;
            let record = Record { name: NAME.into(), revision: revision + 1, body: body.into() };
            if self.storage.put_record(tenant.id, Shelf::Policies, record).await? {
                self.worker.quotas().set(tenant.id, &said);
                return self.worker.quotas_changed(tenant.id).await;
            }
        }
        Err(Error::new(Code::DeploymentConflict, "the quotas were changed by others meanwhile").hint("try again"))
    }

    /// Looks again at what a process before held: the quotas of the server may be others, and one that was raised at the
    /// last moment reached nobody.
    pub(super) async fn wake_held(&self) {
        if let Err(error) = self.worker.wake_all_held().await {
            tracing::error!(%error, "it cannot be read whose runs a quota holds: they go on at midnight UTC");
        }
    }

    async fn said(&self, tenant: TenantId) -> Result<(u64, Quotas)> {
        match self.storage.record(tenant, Shelf::Policies, NAME).await? {
            Some(record) => Ok((record.revision, read(&record)?)),
            None => Ok((0, Quotas::default())),
        }
    }
}

/// Quotas that cannot be read are no reason to give everything.
fn read(record: &Record) -> Result<Quotas> {
    serde_json::from_slice(&record.body)
        .map_err(|error| Error::new(Code::DataDamaged, format!("the quotas of a tenant cannot be read: {error}")))
}
