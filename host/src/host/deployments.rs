//! Components and the names that point to them. It never changes what a version holds: a pointer
//! moves, or a version is added.

use bytes::Bytes;
use std::sync::Arc;
use trackway_replay::{Digest, Timestamp};
use trackway_storage::{ComponentRecord, Deployment, Version};

use super::Host;
use super::capability::widens;
use super::catalog::Catalog;
use super::policy::Widening;
use super::proposals::Proposal;
use super::signature::Signature;
use crate::effects::Grants;
use crate::sandbox::Admitted;
use crate::{Code, Error, Result};

/// As names of workflows and functions.
const NAME_MAX_BYTES: usize = 128;
/// A deployment is one row of the store, which holds at most 60 KiB. The oldest versions make room;
/// runs are pinned to components, so none depends on them.
const VERSIONS_MAX: usize = 100;
const VERSIONS_MAX_BYTES: usize = 40 << 10;
/// What one version may list.
const HOSTS_MAX: usize = 64;
const HOSTS_MAX_BYTES: usize = 8 << 10;
/// Somebody else changed the deployment this often while we did: give up and say so.
pub(super) const TRIES_MAX: u32 = 8;

/// An upload's answer.
#[derive(Debug, Clone)]
pub struct Uploaded {
    pub record: ComponentRecord,
    /// The very same bytes had been uploaded before.
    pub existing: bool,
}

/// What a deployment is to point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    Component(Digest),
    /// What another deployment points to now.
    Deployment(String),
}

/// What a deployment is to be.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    pub component: Digest,
    pub allow: Allow<&'a [String]>,
    pub if_revision: Option<u64>,
    pub signature: Option<&'a Signature>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Deployed(Deployment),
    /// It waits for an approval; the deployment is as it was.
    Proposed(Deployment, Proposal),
}

impl Outcome {
    /// As it is now.
    pub fn deployment(&self) -> &Deployment {
        match self {
            Outcome::Deployed(deployment) | Outcome::Proposed(deployment, _) => deployment,
        }
    }
}

impl Host {
    /// Takes a component in: every gate, then the store. Nothing is stored of one that is refused.
    pub async fn upload(&self, bytes: Bytes) -> Result<Uploaded> {
        self.refuse_if_stopping()?;
        let gated = self.sandbox.gate(Arc::from(&*bytes)).await?;
        // What is compiled already costs nobody anything.
        let _turn = match self.sandbox.cached(self.tenant, gated.digest).await? {
            Some(_) => None,
            None => Some(self.compiling.take(self.tenant, self.clock.now()).await?),
        };
        let admitted = self.sandbox.admit_gated(self.tenant, gated).await?;
        Catalog::of(&admitted.manifest)?;
        if let Some(record) = self.storage.component(self.tenant, admitted.digest).await? {
            return Ok(Uploaded { record, existing: true });
        }
        self.check_component_quota(admitted.bytes.len() as u64).await?;
        let record = record_of(&admitted, self.clock.now());
        self.storage.put_component(self.tenant, record.clone(), Bytes::from_owner(admitted.bytes)).await?;
        Ok(Uploaded { record, existing: false })
    }

    pub async fn component(&self, digest: Digest) -> Result<ComponentRecord> {
        let record = self.storage.component(self.tenant, digest).await?;
        record.ok_or_else(|| no_such_component(digest))
    }

    pub(super) async fn component_bytes(&self, digest: Digest) -> Result<Bytes> {
        let bytes = self.storage.component_bytes(self.tenant, digest).await?;
        bytes.ok_or_else(|| no_such_component(digest))
    }

    pub(super) async fn catalog(&self, digest: Digest) -> Result<Arc<Catalog>> {
        match self.catalogs.known(digest) {
            Some(catalog) => Ok(catalog),
            None => self.catalogs.get(&self.component(digest).await?),
        }
    }

    /// Names of the workflows in a component; none where it cannot be read.
    pub async fn workflows_of(&self, digest: Digest) -> Vec<String> {
        let catalog = self.catalog(digest).await;
        catalog.map(|catalog| catalog.names().map(str::to_owned).collect()).unwrap_or_default()
    }

    pub async fn deployments(&self) -> Result<Vec<Deployment>> {
        Ok(self.storage.deployments(self.tenant).await?)
    }

    pub async fn deployment(&self, name: &str) -> Result<Deployment> {
        match self.storage.deployment(self.tenant, name).await? {
            Some(deployment) => Ok(deployment),
            None => Err(self.no_such_deployment(name).await),
        }
    }

    pub(super) async fn no_such_deployment(&self, name: &str) -> Error {
        let error = Error::new(Code::NoSuchDeployment, format!("there is no deployment `{name}`"));
        let known = self.deployments().await.unwrap_or_default();
        match known.as_slice() {
            [] => error.hint("nothing is deployed yet"),
            known => error.hint(format!("there are: {}", join(known.iter().map(|known| &*known.name)))),
        }
    }

    /// Points `name` to a component, as a new version unless it is the current one already; only proposes it where the
    /// tenant's policy wants somebody's approval. With `if_revision` only a deployment at that revision is changed
    /// (0: none).
    pub async fn deploy(&self, name: &str, wish: &Wish<'_>) -> Result<Outcome> {
        self.refuse_if_stopping()?;
        check_wish(name, wish)?;
        let _pointing = self.pointing.of(self.tenant).read_owned().await;
        self.component(wish.component).await?;
        let allow = written(wish.allow);
        self.put_forward(name, wish.component, (wish.if_revision, wish.signature), |_| allow.clone()).await
    }

    /// Points `name` to a component or to what another deployment points to. What its functions may
    /// reach stays as it was, unless it is given: a grant belongs to the deployment.
    pub async fn promote(&self, name: &str, to: &Pointer, allow: Allow<Option<&[String]>>) -> Result<Outcome> {
        self.refuse_if_stopping()?;
        check_name(name)?;
        check_lists(allow.map(Option::unwrap_or_default))?;
        let _pointing = self.pointing.of(self.tenant).read_owned().await;
        let component = match to {
            Pointer::Component(digest) => self.component(*digest).await?.digest,
            Pointer::Deployment(from) => current(&self.deployment(from).await?)?.component,
        };
        self.put_forward(name, component, (None, None), |deployment| {
            let before = current(deployment).map(|version| Allowed::of(&version.allow)).unwrap_or_default();
            written(Allow {
                hosts: allow.hosts.unwrap_or(&before.hosts),
                models: allow.models.unwrap_or(&before.models),
                secrets: allow.secrets.unwrap_or(&before.secrets),
                mcp: allow.mcp.unwrap_or(&before.mcp),
            })
        })
        .await
    }

    /// Makes a version, or a proposal. `allow` says what its functions may reach, seeing the deployment as it is.
    async fn put_forward(
        &self,
        name: &str,
        component: Digest,
        (if_revision, signature): (Option<u64>, Option<&Signature>),
        allow: impl Fn(&Deployment) -> Vec<Arc<str>>,
    ) -> Result<Outcome> {
        let (policy, before) = (self.policy().await?, self.stored(name).await?);
        check_revision(&before, if_revision)?;
        let asked = allow(&before);
        let known = self.signature_of(component, signature).await?;
        policy.admit(&asked, component, known.as_ref())?;
        self.keep_signature(&policy, component, signature).await?;
        let wider = |deployment: &Deployment, asked: &[Arc<str>]| match policy.widening {
            Widening::Free => Vec::new(),
            Widening::NeedsApproval => widens(reached(deployment), asked),
        };
        let more = wider(&before, &asked);
        if !more.is_empty() {
            return self.propose(before, component, asked, more).await;
        }
        let changed = self.change(name, if_revision, |deployment| {
            let asked = allow(deployment);
            // What was not wider may be so by now, where somebody else made the deployment narrower.
            if !wider(deployment, &asked).is_empty() || !policy.beyond(&asked).is_empty() {
                return Err(changed_meanwhile(name));
            }
            self.add_version(deployment, None, component, asked);
            Ok(())
        });
        changed.await.map(Outcome::Deployed)
    }

    /// Points `name` back: to the version given, or to the one before the current one. It was let through before, but the
    /// policy may have become narrower since, and so may the deployment: what reaches more than the current version is
    /// only proposed where the policy wants that, unless somebody approved of this very version.
    pub async fn rollback(&self, name: &str, version: Option<u32>) -> Result<Outcome> {
        self.refuse_if_stopping()?;
        let _pointing = self.pointing.of(self.tenant).read_owned().await;
        let (policy, before) = (self.policy().await?, self.deployment(name).await?);
        let target = target_of(&before, version)?.clone();
        let signature = self.signature_of(target.component, None).await?;
        policy.admit(&target.allow, target.component, signature.as_ref())?;
        let asks = policy.widening == Widening::NeedsApproval && !self.is_approved(name, &target).await?;
        let wider = |deployment: &Deployment| match asks {
            true => widens(reached(deployment), &target.allow),
            false => Vec::new(),
        };
        let more = wider(&before);
        if !more.is_empty() {
            return self.propose(before, target.component, target.allow.clone(), more).await;
        }
        let changed = self.change(name, None, |deployment| {
            // What was looked at may be another version by now, or reach more than the one that is current now.
            if *target_of(deployment, version)? != target || !wider(deployment).is_empty() {
                return Err(changed_meanwhile(name));
            }
            deployment.current = target.version;
            Ok(())
        });
        changed.await.map(Outcome::Deployed)
    }

    /// As it is stored; one without versions where there is none.
    async fn stored(&self, name: &str) -> Result<Deployment> {
        let stored = self.storage.deployment(self.tenant, name).await?;
        Ok(stored.unwrap_or_else(|| Deployment {
            name: Arc::from(name),
            revision: 0,
            current: 0,
            versions: Vec::new(),
        }))
    }

    /// Reads, changes and writes a deployment; again, if somebody else wrote in between. Nothing is
    /// written where nothing changed.
    pub(super) async fn change(
        &self,
        name: &str,
        if_revision: Option<u64>,
        change: impl Fn(&mut Deployment) -> Result<()>,
    ) -> Result<Deployment> {
        for _ in 0..TRIES_MAX {
            let before = self.stored(name).await?;
            check_revision(&before, if_revision)?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(after);
            }
            after.revision += 1;
            if self.storage.put_deployment(self.tenant, after.clone()).await? {
                return Ok(after);
            }
        }
        let why = format!("deployment `{name}` was changed by others {TRIES_MAX} times meanwhile");
        Err(Error::new(Code::DeploymentConflict, why).hint("try again"))
    }

    /// Under `number` where it is given and newer than all that are there.
    pub(super) fn add_version(
        &self,
        deployment: &mut Deployment,
        number: Option<u32>,
        component: Digest,
        allow: Vec<Arc<str>>,
    ) {
        let same = |version: &&Version| version.component == component && version.allow == allow;
        if current(deployment).ok().filter(same).is_some() {
            return;
        }
        let next = deployment.versions.iter().map(|known| known.version).max().unwrap_or(0) + 1;
        // The oldest make room: under an older number it would be thrown away at once.
        let version = number.unwrap_or(next).max(next);
        let deployed = self.clock.now();
        deployment.versions.push(Version { version, component, deployed, allow });
        deployment.current = version;
        let excess = versions_over_limit(&deployment.versions);
        deployment.versions.drain(..excess);
    }
}

/// Where a rollback goes.
fn target_of(deployment: &Deployment, version: Option<u32>) -> Result<&Version> {
    let mut known = deployment.versions.iter();
    let target = match version {
        Some(version) => known.find(|known| known.version == version),
        None => known.filter(|known| known.version < deployment.current).max_by_key(|known| known.version),
    };
    target.ok_or_else(|| no_such_version(deployment, version))
}

/// What the functions of the current version may reach.
fn reached(deployment: &Deployment) -> &[Arc<str>] {
    current(deployment).map(|version| version.allow.as_slice()).unwrap_or_default()
}

fn changed_meanwhile(name: &str) -> Error {
    let why = format!("deployment `{name}` was changed by somebody else meanwhile");
    Error::new(Code::DeploymentConflict, why).hint("try again")
}

fn check_revision(deployment: &Deployment, wanted: Option<u64>) -> Result<()> {
    match wanted.filter(|wanted| *wanted != deployment.revision) {
        None => Ok(()),
        Some(wanted) => {
            let why = format!("deployment `{}` is at revision {}, not {wanted}", deployment.name, deployment.revision);
            Err(Error::new(Code::DeploymentConflict, why).hint("read it again and decide anew"))
        }
    }
}

/// How many of the oldest have to go.
fn versions_over_limit(versions: &[Version]) -> usize {
    let mut size_bytes = 0;
    let fitting = versions.iter().rev().take(VERSIONS_MAX).take_while(|version| {
        let patterns = version.allow.iter().map(|pattern| pattern.len() + 4);
        size_bytes += 64 + patterns.sum::<usize>();
        size_bytes <= VERSIONS_MAX_BYTES
    });
    versions.len() - fitting.count().max(1)
}

/// The version that new runs use.
pub(super) fn current(deployment: &Deployment) -> Result<&Version> {
    let version = deployment.versions.iter().find(|known| known.version == deployment.current);
    version.ok_or_else(|| {
        let why = format!("deployment `{}` points to version {}, which it lacks", deployment.name, deployment.current);
        Error::new(Code::DataDamaged, why)
    })
}

pub(super) fn check_wish(name: &str, wish: &Wish<'_>) -> Result<()> {
    check_name(name)?;
    check_lists(wish.allow)
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len());
    let has_more_than_dots = name.bytes().any(|byte| byte != b'.');
    if fits && has_more_than_dots && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return Ok(());
    }
    let why = format!("the name of a deployment is 1 to {NAME_MAX_BYTES} of A-Z a-z 0-9 _ - ., not dots alone");
    Err(Error::new(Code::BadRequest, why))
}

/// What is stored beside the bytes of a component.
pub fn record_of(admitted: &Admitted, uploaded: Timestamp) -> ComponentRecord {
    ComponentRecord {
        digest: admitted.digest,
        size_bytes: admitted.bytes.len() as u64,
        uploaded,
        manifest: admitted.manifest.text.clone(),
        pure: admitted.pure,
    }
}

/// What the functions of a version may reach, in the lists that people write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allow<T> {
    pub hosts: T,
    pub models: T,
    pub secrets: T,
    /// MCP servers, each as `NAME=URL`.
    pub mcp: T,
}

impl<T> Allow<T> {
    fn map<U>(self, change: impl Fn(T) -> U) -> Allow<U> {
        let (hosts, models) = (change(self.hosts), change(self.models));
        Allow { hosts, models, secrets: change(self.secrets), mcp: change(self.mcp) }
    }
}

/// The same, as it is read from the one list in which it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    pub hosts: Vec<String>,
    pub models: Vec<String>,
    pub secrets: Vec<String>,
    pub mcp: Vec<String>,
}

impl Allowed {
    pub fn of(patterns: &[Arc<str>]) -> Allowed {
        let mut allowed = Allowed::default();
        for pattern in patterns {
            match (Grants::as_model(pattern), Grants::as_secret(pattern), Grants::as_mcp(pattern)) {
                (Some(model), _, _) => allowed.models.push(model.to_owned()),
                (None, Some(secret), _) => allowed.secrets.push(secret),
                (None, None, Some(server)) => allowed.mcp.push(server.to_owned()),
                (None, None, None) => allowed.hosts.push(pattern.to_string()),
            }
        }
        allowed
    }
}

/// As all stand in one list.
pub(super) fn written(allow: Allow<&[String]>) -> Vec<Arc<str>> {
    let models = allow.models.iter().map(|model| Arc::from(Grants::written_model(model)));
    let secrets = allow.secrets.iter().map(|secret| Arc::from(Grants::written_secret(secret)));
    let mcp = allow.mcp.iter().map(|server| Arc::from(Grants::written_mcp(server)));
    allow.hosts.iter().map(|host| Arc::from(host.as_str())).chain(models).chain(secrets).chain(mcp).collect()
}

fn check_lists(allow: Allow<&[String]>) -> Result<()> {
    let Allow { hosts, models, secrets, mcp } = allow;
    let all = || hosts.iter().chain(models).chain(secrets).chain(mcp);
    if all().count() > HOSTS_MAX || all().map(String::len).sum::<usize>() > HOSTS_MAX_BYTES {
        let why =
            format!("a version may list {HOSTS_MAX} hosts, models, secrets and MCP servers in {HOSTS_MAX_BYTES} bytes");
        return Err(Error::new(Code::BadGrant, why));
    }
    Grants::of(hosts, models, secrets, mcp).map(drop)
}

pub(super) fn no_such_component(digest: Digest) -> Error {
    Error::new(Code::NoSuchComponent, format!("there is no component {digest}")).hint("upload it first")
}

pub(super) fn no_such_version(deployment: &Deployment, wanted: Option<u32>) -> Error {
    let name = &deployment.name;
    let why = match wanted {
        Some(version) => format!("deployment `{name}` has no version {version}"),
        None => format!("deployment `{name}` has no version before {}", deployment.current),
    };
    let known = join(deployment.versions.iter().map(|known| known.version));
    Error::new(Code::NoSuchDeployment, why).hint(format!("there are: {known}"))
}

pub(super) fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
