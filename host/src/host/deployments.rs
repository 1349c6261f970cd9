//! Components and the names that point to them. It never changes what a version holds: a pointer
//! moves, or a version is added.

use bytes::Bytes;
use std::sync::Arc;
use trackway_replay::{Digest, TenantId, Timestamp};
use trackway_storage::{ComponentRecord, Deployment, Version};

use super::Host;
use super::catalog::Catalog;
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
const TRIES_MAX: u32 = 8;

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

impl Host {
    /// Takes a component in: every gate, then the store. Nothing is stored of one that is refused.
    pub async fn upload(&self, bytes: Bytes) -> Result<Uploaded> {
        self.refuse_if_stopping()?;
        let admitted = self.sandbox.admit(Arc::from(&*bytes)).await?;
        Catalog::of(&admitted.manifest)?;
        if let Some(record) = self.storage.component(TenantId::DEFAULT, admitted.digest).await? {
            return Ok(Uploaded { record, existing: true });
        }
        let record = record_of(&admitted, self.clock.now());
        self.storage.put_component(TenantId::DEFAULT, record.clone(), Bytes::from_owner(admitted.bytes)).await?;
        Ok(Uploaded { record, existing: false })
    }

    pub async fn component(&self, digest: Digest) -> Result<ComponentRecord> {
        let record = self.storage.component(TenantId::DEFAULT, digest).await?;
        record.ok_or_else(|| no_such_component(digest))
    }

    pub(super) async fn component_bytes(&self, digest: Digest) -> Result<Bytes> {
        let bytes = self.storage.component_bytes(TenantId::DEFAULT, digest).await?;
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
        Ok(self.storage.deployments(TenantId::DEFAULT).await?)
    }

    pub async fn deployment(&self, name: &str) -> Result<Deployment> {
        match self.storage.deployment(TenantId::DEFAULT, name).await? {
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

    /// Points `name` to a component, as a new version unless it is the current one already. With
    /// `if_revision` only a deployment at that revision is changed (0: none).
    pub async fn deploy(
        &self,
        name: &str,
        component: Digest,
        allow: Allow<&[String]>,
        if_revision: Option<u64>,
    ) -> Result<Deployment> {
        self.refuse_if_stopping()?;
        check_name(name)?;
        check_lists(allow.hosts, allow.models)?;
        self.component(component).await?;
        self.change(name, if_revision, |deployment| {
            self.add_version(deployment, component, written(allow.hosts, allow.models));
            Ok(())
        })
        .await
    }

    /// Points `name` to a component or to what another deployment points to. What its functions may
    /// reach stays as it was, unless it is given: a grant belongs to the deployment.
    pub async fn promote(&self, name: &str, to: &Pointer, allow: Allow<Option<&[String]>>) -> Result<Deployment> {
        self.refuse_if_stopping()?;
        check_name(name)?;
        check_lists(allow.hosts.unwrap_or_default(), allow.models.unwrap_or_default())?;
        let component = match to {
            Pointer::Component(digest) => self.component(*digest).await?.digest,
            Pointer::Deployment(from) => current(&self.deployment(from).await?)?.component,
        };
        self.change(name, None, |deployment| {
            let before = current(deployment).map(|version| Allowed::of(&version.allow)).unwrap_or_default();
            let hosts = allow.hosts.unwrap_or(&before.hosts);
            let models = allow.models.unwrap_or(&before.models);
            self.add_version(deployment, component, written(hosts, models));
            Ok(())
        })
        .await
    }

    /// Points `name` back: to the version given, or to the one before the current one.
    pub async fn rollback(&self, name: &str, version: Option<u32>) -> Result<Deployment> {
        self.refuse_if_stopping()?;
        self.deployment(name).await?;
        self.change(name, None, |deployment| {
            let mut numbers = deployment.versions.iter().map(|known| known.version);
            let target = match version {
                Some(version) => numbers.find(|known| *known == version),
                None => numbers.filter(|known| *known < deployment.current).max(),
            };
            deployment.current = target.ok_or_else(|| no_such_version(deployment, version))?;
            Ok(())
        })
        .await
    }

    /// Reads, changes and writes a deployment; again, if somebody else wrote in between. Nothing is
    /// written where nothing changed.
    async fn change(
        &self,
        name: &str,
        if_revision: Option<u64>,
        change: impl Fn(&mut Deployment) -> Result<()>,
    ) -> Result<Deployment> {
        for _ in 0..TRIES_MAX {
            let before = self.storage.deployment(TenantId::DEFAULT, name).await?.unwrap_or_else(|| Deployment {
                name: Arc::from(name),
                revision: 0,
                current: 0,
                versions: Vec::new(),
            });
            if let Some(wanted) = if_revision.filter(|wanted| *wanted != before.revision) {
                let why = format!("deployment `{name}` is at revision {}, not {wanted}", before.revision);
                return Err(Error::new(Code::DeploymentConflict, why).hint("read it again and decide anew"));
            }
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok(after);
            }
            after.revision += 1;
            if self.storage.put_deployment(TenantId::DEFAULT, after.clone()).await? {
                return Ok(after);
            }
        }
        let why = format!("deployment `{name}` was changed by others {TRIES_MAX} times meanwhile");
        Err(Error::new(Code::DeploymentConflict, why).hint("try again"))
    }

    fn add_version(&self, deployment: &mut Deployment, component: Digest, allow: Vec<Arc<str>>) {
        let same = |version: &&Version| version.component == component && version.allow == allow;
        if current(deployment).ok().filter(same).is_some() {
            return;
        }
        let version = deployment.versions.iter().map(|known| known.version).max().unwrap_or(0) + 1;
        let deployed = self.clock.now();
        deployment.versions.push(Version { version, component, deployed, allow });
        deployment.current = version;
        let excess = versions_over_limit(&deployment.versions);
        deployment.versions.drain(..excess);
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

/// What the functions of a version may reach, in the two lists that people write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allow<T> {
    pub hosts: T,
    pub models: T,
}

/// The same, as it is read from the one list in which it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    pub hosts: Vec<String>,
    pub models: Vec<String>,
}

impl Allowed {
    pub fn of(patterns: &[Arc<str>]) -> Allowed {
        let mut allowed = Allowed::default();
        for pattern in patterns {
            match Grants::as_model(pattern) {
                Some(model) => allowed.models.push(model.to_owned()),
                None => allowed.hosts.push(pattern.to_string()),
            }
        }
        allowed
    }
}

/// As both stand in one list.
fn written(hosts: &[String], models: &[String]) -> Vec<Arc<str>> {
    let models = models.iter().map(|model| Arc::from(Grants::written_model(model)));
    hosts.iter().map(|host| Arc::from(host.as_str())).chain(models).collect()
}

fn check_lists(hosts: &[String], models: &[String]) -> Result<()> {
    let (count, size_bytes) = (hosts.len() + models.len(), hosts.iter().chain(models).map(String::len).sum::<usize>());
    if count > HOSTS_MAX || size_bytes > HOSTS_MAX_BYTES {
        let why = format!("a version may list {HOSTS_MAX} hosts and models in {HOSTS_MAX_BYTES} bytes");
        return Err(Error::new(Code::BadGrant, why));
    }
    Grants::of(hosts, models).map(drop)
}

fn no_such_component(digest: Digest) -> Error {
    Error::new(Code::NoSuchComponent, format!("there is no component {digest}")).hint("upload it first")
}

fn no_such_version(deployment: &Deployment, wanted: Option<u32>) -> Error {
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
