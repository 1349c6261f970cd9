//! Tenants: whose code and data something is. Each has a name for people and a number that is never given again. It
//! decides who there is, and never who may ask.

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;
use trackway_replay::{Digest, Status, TenantId, Timestamp};
use trackway_storage::RunQuery;

use super::Host;
use crate::{Code, Error, Result};

/// All of them are in memory.
pub(super) const TENANTS_MAX: usize = 10_000;
/// A part of paths and of prompts.
const NAME_MAX_BYTES: usize = 64;
/// The tenant of whoever names none. It cannot be made, disabled or deleted.
pub const DEFAULT_TENANT: &str = "default";

/// Runs that are ended at once while a tenant is deleted, and how often it is looked for more of them: what ends may
/// have started others meanwhile. What is open after that is erased as it stands.
const ENDED_AT_ONCE: usize = 16;
const ENDING_PASSES_MAX: usize = 3;
const PAGE_RUNS: usize = 200;
/// How often a tenant is erased until nothing of it is found: what was on its way into the store comes once.
const ERASURES_MAX: usize = 5;

/// A body that stopped coming is given up after half of that.
const CHANGES_WAIT_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: Arc<str>,
    /// `None`: of the default one, which was always there.
    pub created: Option<Timestamp>,
    pub state: TenantState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    Active,
    /// Its keys are refused; its runs go on.
    Disabled,
    /// Everything of it is being removed.
    Deleting,
}

impl TenantState {
    pub fn name(self) -> &'static str {
        match self {
            TenantState::Active => "active",
            TenantState::Disabled => "disabled",
            TenantState::Deleting => "deleting",
        }
    }
}

impl Tenant {
    pub(super) fn default_one() -> Tenant {
        Tenant { id: TenantId::DEFAULT, name: Arc::from(DEFAULT_TENANT), created: None, state: TenantState::Active }
    }
}

/// Changes that are under way by request, by tenant. Whoever has to be alone waits for them.
#[derive(Default)]
pub(super) struct Changes(Mutex<BTreeMap<TenantId, Arc<RwLock<()>>>>);

impl Changes {
    pub(super) fn of(&self, tenant: TenantId) -> Arc<RwLock<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(tenant).or_default())
    }

    /// Waits until none is under way, and lets none begin until it is dropped. A client that holds one up is not
    /// waited for longer than it may be silent.
    async fn end(&self, tenant: TenantId) -> Option<OwnedRwLockWriteGuard<()>> {
        timeout(CHANGES_WAIT_MAX, self.of(tenant).write_owned()).await.ok()
    }
}

impl Host {
    /// Held while something of this tenant is changed by request.
    ///
    /// # Errors
    /// `NoSuchTenant` if it is being deleted, or is gone.
    pub async fn changing(&self) -> Result<Option<OwnedRwLockReadGuard<()>>> {
        if self.tenant == TenantId::DEFAULT {
            return Ok(None);
        }
        let held = self.changes.of(self.tenant).try_read_owned().ok();
        // Only now: it may have been deleted since its key was looked at.
        let tenant = self.directory().await?.tenant_of(self.tenant);
        match tenant.filter(|tenant| tenant.state != TenantState::Deleting) {
            Some(_) if held.is_some() => Ok(held),
            Some(tenant) => Err(no_such_tenant(&tenant.name)),
            None => Err(Error::new(Code::NoSuchTenant, "the tenant is gone")),
        }
    }

    /// The default one first, then by their names; also those that are being deleted.
    pub async fn tenants(&self) -> Result<Vec<Tenant>> {
        let mut tenants = vec![Tenant::default_one()];
        tenants.extend(self.directory().await?.tenants());
        Ok(tenants)
    }

    pub async fn tenant_named(&self, name: &str) -> Result<Tenant> {
        if name == DEFAULT_TENANT {
            return Ok(Tenant::default_one());
        }
        self.directory().await?.tenant(name).ok_or_else(|| no_such_tenant(name))
    }

    /// Makes a tenant. Durable when it answers.
    pub async fn create_tenant(&self, name: &str) -> Result<Tenant> {
        self.refuse_if_stopping()?;
        check_name(name)?;
        let created = Some(self.clock.now());
        self.directory().await?.add_tenant(&*self.storage, name, created).await
    }

    /// Lets its keys in again, or in no more. Durable when it answers.
    pub async fn enable_tenant(&self, name: &str, enable: bool) -> Result<Tenant> {
        refuse_default(name)?;
        let state = if enable { TenantState::Active } else { TenantState::Disabled };
        self.directory().await?.set_state(&*self.storage, name, state).await
    }

    /// Deletes a tenant with all that it has: runs, payloads, components, entities, keys, records. When it answers
    /// nothing of it is stored any more. From its first moment on nobody gets in for the tenant; a process that dies
    /// in between goes on with it at its next start.
    pub async fn delete_tenant(&self, name: &str) -> Result<()> {
        refuse_default(name)?;
        let tenant = self.directory().await?.set_state(&*self.storage, name, TenantState::Deleting).await?;
        self.finish_deletion(&tenant).await
    }

    /// Ends what a process that died had begun to delete.
    pub(super) async fn finish_deletions(&self) {
        let tenants = match self.directory().await {
            Ok(directory) => directory.tenants(),
            Err(error) => return tracing::error!(%error, "it cannot be read which tenants there are"),
        };
        for tenant in tenants.iter().filter(|tenant| tenant.state == TenantState::Deleting) {
            if let Err(error) = self.finish_deletion(tenant).await {
                tracing::error!(tenant = %tenant.name, %error, "the tenant is not deleted yet; delete it again");
            }
        }
    }

    async fn finish_deletion(&self, tenant: &Tenant) -> Result<()> {
        let directory = self.directory().await?;
        directory.remove_keys(&*self.storage, tenant.id).await?;
        // Nobody gets in any more. What was let in before comes to its end first, and no line of the log comes after.
        let _alone = self.changes.end(tenant.id).await;
        self.flush_audit().await?;
        let view = self.of(tenant.id);
        for _ in 0..ENDING_PASSES_MAX {
            if view.end_all().await == 0 {
                break;
            }
        }
        let components = self.storage.components(tenant.id).await.unwrap_or_default();
        let digests = || components.iter().map(|component| component.digest);
        // Also before: who goes on after a kill finds no components any more that would name the code.
        self.forget_code(tenant.id, digests()).await?;
        for _ in 0..ERASURES_MAX {
            self.storage.erase(tenant.id).await?;
            if !self.storage.tenants().await?.contains(&tenant.id) {
                self.forget_code(tenant.id, digests()).await?;
                directory.remove_tenant(&*self.storage, tenant).await?;
                self.worker.quotas().forget(tenant.id);
                self.redactions.forget(tenant.id);
                tracing::info!(tenant = %tenant.name, "deleted");
                return Ok(());
            }
        }
        let why = format!("something of tenant `{}` is stored again and again while it is deleted", tenant.name);
        Err(Error::new(Code::Internal, why).hint("delete it again when its runs have ended"))
    }

    /// Ends every open run of the tenant, as far as that can be done now. Answers how many there were.
    async fn end_all(&self) -> usize {
        let (mut before, mut count) = (None, 0);
        let status =
            vec![Status::Queued, Status::Running, Status::Sleeping, Status::Waiting, Status::Paused, Status::Stuck];
        loop {
            let query = RunQuery { status: status.clone(), before, limit: PAGE_RUNS, ..RunQuery::default() };
            let heads = self.storage.heads(self.tenant, query).await.unwrap_or_default();
            let Some(last) = heads.last() else { return count };
            before = Some(last.run);
            count += heads.len();
            let endings: Vec<_> =
                heads.iter().map(|head| self.terminate(head.run, "its tenant is deleted", None)).collect();
            // One that cannot be ended is erased all the same.
            stream::iter(endings).buffer_unordered(ENDED_AT_ONCE).map(drop).collect::<()>().await;
        }
    }

    /// Removes compiled code that no tenant but `of` has a component for. Where that cannot be told, it stays.
    pub(super) async fn forget_code(&self, of: TenantId, digests: impl Iterator<Item = Digest>) -> Result<()> {
        let tenants = self.storage.tenants().await?;
        for digest in digests {
            let mut is_needed = false;
            for tenant in tenants.iter().filter(|tenant| **tenant != of) {
                is_needed = is_needed || !matches!(self.storage.component(*tenant, digest).await, Ok(None));
            }
            if !is_needed {
                self.sandbox.forget(digest).await?;
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len());
    let is_word = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits && is_word && !name.starts_with('-') {
        return refuse_default(name);
    }
    let why = format!("the name of a tenant is 1 to {NAME_MAX_BYTES} of a-z 0-9 -, and does not begin with -");
    Err(Error::new(Code::BadRequest, why))
}

fn refuse_default(name: &str) -> Result<()> {
    if name == DEFAULT_TENANT {
        return Err(Error::new(Code::BadRequest, format!("tenant `{DEFAULT_TENANT}` is always there")));
    }
    Ok(())
}

pub(super) fn no_such_tenant(name: &str) -> Error {
    Error::new(Code::NoSuchTenant, format!("there is no tenant `{name}`")).hint("`trackway tenants ls` lists them")
}
