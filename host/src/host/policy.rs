//! What a tenant's deployments may be granted at most, and whether a version that reaches more than the one before
//! needs somebody's approval. Pure but for reading and writing the one record; it deploys nothing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trackway_replay::Digest;
use trackway_storage::{Record, Shelf};

use super::Host;
use super::capability::widens;
use super::signature::{Signature, TrustedKey};
use crate::effects::Grants;
use crate::{Code, Error, Result};

/// On the shelf of policies; proposals and approvals stand beside it under names of their own.
const NAME: &str = "policy";
/// In front of the digest of a component, whose signature it is.
const SIGNED: &str = "signed/";
/// One record holds it.
const POLICY_MAX_BYTES: usize = 40 << 10;
/// Somebody else wrote it this often while we did: give up and say so.
const TRIES_MAX: u32 = 8;
/// People read them.
const TRUSTED_KEYS_MAX: usize = 32;

/// A tenant without one may grant what it likes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Patterns of hosts of which grants must be a part, and on which MCP servers must be; `None`: any.
    pub hosts: Option<Vec<String>>,
    /// The same of models.
    pub models: Option<Vec<String>>,
    pub widening: Widening,
    /// A component must be signed by one of these; empty: none has to be.
    pub trusted_keys: Vec<TrustedKey>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Widening {
    #[default]
    Free,
    /// A version that reaches more than the one before is only proposed.
    NeedsApproval,
}

impl Policy {
    /// # Errors
    /// [`Code::BadGrant`], where a pattern or key cannot be read.
    pub fn check(&self) -> Result<()> {
        Grants::of(self.hosts.as_deref().unwrap_or_default(), self.models.as_deref().unwrap_or_default(), &[], &[])?;
        if self.trusted_keys.len() > TRUSTED_KEYS_MAX {
            return Err(Error::new(Code::BadGrant, format!("at most {TRUSTED_KEYS_MAX} keys can be trusted")));
        }
        self.trusted_keys.iter().try_for_each(|key| key.check())
    }

    /// What of `granted` is beyond what may be granted.
    pub fn beyond(&self, granted: &[Arc<str>]) -> Vec<String> {
        let mut beyond = Vec::new();
        for (most, is_model) in [(&self.hosts, false), (&self.models, true)] {
            let Some(most) = most else { continue };
            let written = |pattern: &String| match is_model {
                true => Arc::from(Grants::written_model(pattern)),
                false => Arc::from(pattern.as_str()),
            };
            let most: Vec<Arc<str>> = most.iter().map(written).collect();
            let of_kind = |pattern: &&Arc<str>| Grants::as_model(pattern).is_some() == is_model && !is_secret(pattern);
            let asked: Vec<Arc<str>> = granted.iter().filter(of_kind).cloned().collect();
            beyond.extend(widens(&most, &asked));
        }
        beyond
    }

    /// # Errors
    /// [`Code::OverPolicy`], naming what may not be granted.
    pub fn admit_grants(&self, granted: &[Arc<str>]) -> Result<()> {
        let beyond = self.beyond(granted);
        if beyond.is_empty() {
            return Ok(());
        }
        let why = format!("the policy of this tenant does not let it grant {}", beyond.join(", "));
        Err(Error::new(Code::OverPolicy, why).hint("ask the operator of the server to widen the policy"))
    }

    /// # Errors
    /// As [`Policy::admit_grants`]; [`Code::BadSignature`], where one is missing or wrong.
    pub fn admit(&self, granted: &[Arc<str>], component: Digest, signature: Option<&Signature>) -> Result<()> {
        self.admit_grants(granted)?;
        if self.trusted_keys.is_empty() {
            return Ok(());
        }
        match signature {
            Some(signature) if self.trusted_keys.iter().any(|key| key.signed(component, signature)) => Ok(()),
            Some(_) => Err(Error::new(Code::BadSignature, "no key that this tenant trusts made the signature")),
            None => Err(Error::new(Code::BadSignature, "the policy of this tenant wants components to be signed")
                .hint("trackway sign app.wasm --key KEY; then deploy with --signature FILE")),
        }
    }
}

/// A secret goes only to hosts that are granted too.
fn is_secret(pattern: &str) -> bool {
    Grants::as_secret(pattern).is_some()
}

impl Host {
    /// Of this tenant.
    pub async fn policy(&self) -> Result<Policy> {
        let record = self.storage.record(self.tenant, Shelf::Policies, NAME).await?;
        record.map_or_else(|| Ok(Policy::default()), |record| read(&record.body))
    }

    /// Whoever runs the server says so; what was deployed before stays.
    pub async fn set_policy(&self, policy: &Policy) -> Result<()> {
        self.refuse_if_stopping()?;
        policy.check()?;
        let body =
            serde_json::to_vec(policy).map_err(|error| Error::new(Code::Internal, format!("a policy: {error}")))?;
        if body.len() > POLICY_MAX_BYTES {
            return Err(Error::new(Code::BadGrant, format!("a policy has at most {POLICY_MAX_BYTES} bytes")));
        }
        self.put_over(NAME, body.into()).await
    }

    /// The one given, or the one that was given with the component before.
    pub(super) async fn signature_of(&self, component: Digest, given: Option<&Signature>) -> Result<Option<Signature>> {
        if let Some(given) = given {
            return Ok(Some(given.clone()));
        }
        let record = self.storage.record(self.tenant, Shelf::Policies, &format!("{SIGNED}{component}")).await?;
        Ok(record.and_then(|record| std::str::from_utf8(&record.body).ok()?.parse().ok()))
    }

    /// For those who deploy the component again. Only one that counts is kept.
    pub(super) async fn keep_signature(
        &self,
        policy: &Policy,
        component: Digest,
        given: Option<&Signature>,
    ) -> Result<()> {
        let Some(signature) = given.filter(|given| policy.trusted_keys.iter().any(|key| key.signed(component, given)))
        else {
            return Ok(());
        };
        self.put_over(&format!("{SIGNED}{component}"), signature.to_string().into_bytes().into()).await
    }

    /// The component is about to go.
    pub(super) async fn forget_signature(&self, component: Digest) -> Result<()> {
        let name = format!("{SIGNED}{component}");
        if let Some(record) = self.storage.record(self.tenant, Shelf::Policies, &name).await? {
            // Nobody gives another one meanwhile: whoever deploys waits.
            self.storage.remove_record(self.tenant, Shelf::Policies, &name, record.revision).await?;
        }
        Ok(())
    }

    pub(super) async fn put_over(&self, name: &str, body: Bytes) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let before = self.storage.record(self.tenant, Shelf::Policies, name).await?;
            let revision = before.map_or(0, |record| record.revision) + 1;
            let record = Record { name: name.into(), revision, body: body.clone() };
            if self.storage.put_record(self.tenant, Shelf::Policies, record).await? {
                return Ok(());
            }
        }
        Err(Error::new(Code::DeploymentConflict, "the policy was changed by others meanwhile").hint("try again"))
    }
}

/// A policy that cannot be read lets nothing through.
fn read(body: &[u8]) -> Result<Policy> {
    serde_json::from_slice(body)
        .map_err(|error| Error::new(Code::DataDamaged, format!("the policy of the tenant cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
