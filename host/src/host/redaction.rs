//! Which fields a tenant wants nobody to see of it: one record of the tenant, and in memory what that says. It knows names
//! only; what becomes of them in an answer is not its.
//!
//! Every request asks, so what stands in memory counts. A change is durable before it is seen there, and seen there before
//! it is answered. That holds while one process writes to the store: with several, each change is still written over the
//! one before it and none is lost, but the others would have to be told of it, or to look at the revision of the record, as
//! with the directory of tenants and keys.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, MutexGuard};
use trackway_fair::AtOnce;
use trackway_replay::TenantId;
use trackway_storage::{Record, Shelf};

use super::Host;
use crate::{Code, Error, Result};

/// On the shelf of policies.
const NAME: &str = "redaction";
/// Somebody else wrote it this often while we did: give up and say so.
const TRIES_MAX: u32 = 8;

/// Names of fields, in lower case.
pub type Fields = Arc<BTreeSet<String>>;

/// The fields of one tenant, as they stand. Whoever holds it sees every change at once.
#[derive(Debug, Default)]
pub struct Redacted(RwLock<Fields>);

impl Redacted {
    pub fn fields(&self) -> Fields {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, fields: Fields) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fields;
    }
}

/// Of all tenants that were asked for.
#[derive(Default)]
pub(super) struct Redactions {
    known: RwLock<HashMap<TenantId, Arc<Redacted>>>,
    /// One at a time reads or writes a record: what was read is never put in the place of what was written since.
    changing: Mutex<()>,
}

impl Redactions {
    /// Whoever asks for anything may wait for it, of all tenants, so it waits for no turn.
    async fn change(&self) -> (AtOnce, MutexGuard<'_, ()>) {
        let at_once = trackway_fair::at_once();
        (at_once, self.changing.lock().await)
    }

    fn known(&self, tenant: TenantId) -> Option<Arc<Redacted>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    fn keep(&self, tenant: TenantId, fields: Fields) -> Arc<Redacted> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let kept = known.entry(tenant).or_default();
        kept.set(fields);
        Arc::clone(kept)
    }

    /// Of a tenant that is gone. Whoever still answers for it keeps what held.
    pub fn forget(&self, tenant: TenantId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    fields: BTreeSet<String>,
}

impl Host {
    /// What nobody is to see of this tenant.
    ///
    /// # Errors
    /// `DataDamaged` where it cannot be read: then nothing may be shown.
    pub async fn redacted(&self) -> Result<Arc<Redacted>> {
        if let Some(known) = self.redactions.known(self.tenant) {
            return Ok(known);
        }
        let _changing = self.redactions.change().await;
        if let Some(known) = self.redactions.known(self.tenant) {
            return Ok(known);
        }
        let record = self.storage.record(self.tenant, Shelf::Policies, NAME).await?;
        let fields = record.map_or_else(|| Ok(BTreeSet::new()), |record| read(&record))?;
        Ok(self.redactions.keep(self.tenant, Arc::new(fields)))
    }

    /// Writes what `change` makes of the fields. Durable when it answers, and held by every answer that begins after.
    /// What cannot be read can be replaced.
    pub async fn redact(
        &self,
        change: impl Fn(Result<BTreeSet<String>>) -> Result<BTreeSet<String>>,
    ) -> Result<Arc<Redacted>> {
        self.refuse_if_stopping()?;
        let _changing = self.redactions.change().await;
        for _ in 0..TRIES_MAX {
            let before = self.storage.record(self.tenant, Shelf::Policies, NAME).await?;
            let revision = before.as_ref().map_or(0, |record| record.revision) + 1;
            let body = Body { fields: change(before.map_or_else(|| Ok(BTreeSet::new()), |record| read(&record)))? };
            let text = serde_json::to_vec(&body)
                .map_err(|error| Error::new(Code::Internal, format!("fields to redact: {error}")))?;
            let record = Record { name: NAME.into(), revision, body: Bytes::from(text) };
            if self.storage.put_record(self.tenant, Shelf::Policies, record).await? {
                return Ok(self.redactions.keep(self.tenant, Arc::new(body.fields)));
            }
        }
        Err(Error::new(Code::DeploymentConflict, "the fields to redact were changed by others meanwhile")
            .hint("try again"))
    }
}

fn read(record: &Record) -> Result<BTreeSet<String>> {
    let Body { fields } = serde_json::from_slice(&record.body).map_err(|error| {
        let why = format!("it cannot be read which fields are redacted, so nothing is shown: {error}");
        Error::new(Code::DataDamaged, why).hint("trackway redact set FIELD..    # says it anew")
    })?;
    Ok(fields.iter().map(|field| field.to_lowercase()).collect())
}
