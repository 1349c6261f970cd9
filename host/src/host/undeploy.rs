//! Removes what was deployed: a deployment or a version of one, and components that nothing uses any more. It ends no run
//! and removes none: those that are open hold their component.

use std::iter::once;
use trackway_replay::{Digest, Head, RunId, Status};
use trackway_storage::{ComponentRecord, Deployment, RunQuery};

use super::Host;
use super::deployments::{TRIES_MAX, join, no_such_component, no_such_version};
use crate::{Code, Error, Result};

/// Of what uses a component, named by a refusal: enough to begin with.
const USERS_NAMED_MAX: usize = 5;
/// Looked at in one go.
const PAGE_RUNS: usize = 200;
/// A run in one of these goes on some day, and needs its code then.
const OPEN: [Status; 6] =
    [Status::Queued, Status::Running, Status::Sleeping, Status::Waiting, Status::Paused, Status::Stuck];

impl Host {
    /// In the order of their digests.
    pub async fn components(&self) -> Result<Vec<ComponentRecord>> {
        Ok(self.storage.components(self.tenant).await?)
    }

    /// Removes a deployment with all its versions and all that waits for an approval under its name; with `version` only
    /// that one. New runs cannot be started there any more. Runs that are open go on, but their functions reach nothing
    /// when they are taken up next: what they may reach stands with the version.
    ///
    /// # Errors
    /// `DeploymentConflict` if the version is the one that new runs use.
    pub async fn remove_deployment(&self, name: &str, version: Option<u32>) -> Result<()> {
        self.refuse_if_stopping()?;
        let _alone = self.pointing.of(self.tenant).write_owned().await;
        match version {
            Some(version) => self.remove_version(name, version).await,
            None => self.remove_versions(name).await,
        }
    }

    /// Removes a component: its record, its bytes, a signature that was kept for it, and its compiled code unless another
    /// tenant has it too. Runs of it that have ended stay readable; they replay again when the same component is uploaded.
    ///
    /// # Errors
    /// `ComponentInUse` while a version, a proposal or an open run has it.
    pub async fn remove_component(&self, digest: Digest) -> Result<()> {
        self.refuse_if_stopping()?;
        let _alone = self.pointing.of(self.tenant).write_owned().await;
        match self.component(digest).await {
            Ok(_) => {}
            // It can be removed all the same.
            Err(error) if error.code == Code::DataDamaged => {}
            // Somebody was cut off in between: what that left goes now.
            Err(error) if error.code == Code::NoSuchComponent => {
                self.storage.remove_component(self.tenant, digest).await?;
                self.forget_code(self.tenant, once(digest)).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let users = self.users_of(digest).await?;
        if !users.is_empty() {
            return Err(in_use(digest, &users));
        }
        // The component last: whoever is cut off in between asks again, and finds what is left.
        self.forget_signature(digest).await?;
        self.forget_code(self.tenant, once(digest)).await?;
        let was_there = self.storage.remove_component(self.tenant, digest).await?;
        self.catalogs.forget(digest);
        // Somebody may have loaded it meanwhile.
        self.forget_code(self.tenant, once(digest)).await?;
        if !was_there {
            return Err(no_such_component(digest));
        }
        tracing::info!(%digest, "removed a component");
        Ok(())
    }

    /// Of a run whose component may have been removed since it ended. What is compiled of it for another tenant is not
    /// this one's.
    ///
    /// # Errors
    /// `CodeMissing` if it was. What else is wrong with the run or the component is said by whoever reads all of it.
    pub(super) async fn refuse_without_code(&self, run: RunId) -> Result<()> {
        let Ok(Head { component, .. }) = self.head(run).await else { return Ok(()) };
        let Ok(None) = self.storage.component(self.tenant, component).await else { return Ok(()) };
        let why = format!("component {component:.12} of run {run} is not in the store");
        Err(Error::new(Code::CodeMissing, why).hint("upload the same component again: trackway deploy FILE"))
    }

    async fn remove_version(&self, name: &str, version: u32) -> Result<()> {
        self.deployment(name).await?;
        let changed = self.change(name, None, |deployment| {
            if deployment.versions.iter().all(|known| known.version != version) {
                return Err(no_such_version(deployment, Some(version)));
            }
            if deployment.current == version {
                return Err(is_current(deployment));
            }
            deployment.versions.retain(|known| known.version != version);
            Ok(())
        });
        changed.await?;
        self.forget_approval(name, version).await?;
        tracing::info!(deployment = name, version, "removed a version");
        Ok(())
    }

    async fn remove_versions(&self, name: &str) -> Result<()> {
        // First: whoever is cut off behind it has to be approved of anew, and nothing is left for one of that name to come.
        self.forget_approvals(name).await?;
        let was_deployed = self.remove_stored(name).await?;
        let proposals = self.reject_all(name).await?;
        if !was_deployed && proposals == 0 {
            return Err(self.no_such_deployment(name).await);
        }
        tracing::info!(deployment = name, proposals, "removed a deployment");
        Ok(())
    }

    /// Whether there was one.
    async fn remove_stored(&self, name: &str) -> Result<bool> {
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.storage.deployment(self.tenant, name).await? else { return Ok(false) };
            if self.storage.remove_deployment(self.tenant, name, stored.revision).await? {
                return Ok(true);
            }
        }
        let why = format!("deployment `{name}` was changed by others {TRIES_MAX} times meanwhile");
        Err(Error::new(Code::DeploymentConflict, why).hint("try again"))
    }

    /// What holds a component, in words: one more than is named, if there are as many.
    async fn users_of(&self, digest: Digest) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for deployment in self.deployments().await? {
            let of_it = deployment.versions.iter().filter(|version| version.component == digest);
            let name = &deployment.name;
            users.extend(of_it.map(|version| format!("version {} of deployment `{name}`", version.version)));
        }
        for name in self.proposed_names().await? {
            let of_it = self.proposals(&name).await?.into_iter().filter(|proposal| proposal.component == digest);
            users.extend(of_it.map(|proposal| format!("version {} of `{name}`, which is proposed", proposal.version)));
        }
        let mut before = None;
        while users.len() <= USERS_NAMED_MAX {
            let query = RunQuery { status: OPEN.to_vec(), before, limit: PAGE_RUNS, ..RunQuery::default() };
            let heads = self.storage.heads(self.tenant, query).await?;
            let Some(last) = heads.last() else { break };
            before = Some(last.run);
            let of_it = heads.iter().filter(|head| head.component == digest);
            users.extend(of_it.map(|head| format!("run {}, which is {}", head.run, head.status.name())));
        }
        Ok(users)
    }
}

fn in_use(digest: Digest, users: &[String]) -> Error {
    let more = if users.len() > USERS_NAMED_MAX { ", and more" } else { "" };
    let named = join(users.iter().take(USERS_NAMED_MAX));
    Error::new(Code::ComponentInUse, format!("component {digest:.12} is used by {named}{more}")).hint(
        "trackway deployments rm NAME removes a deployment, with --version N a version of it; a run has to end first: \
         trackway runs cancel RUN",
    )
}

fn is_current(deployment: &Deployment) -> Error {
    let Deployment { name, current, .. } = deployment;
    let why = format!("version {current} of deployment `{name}` is the one that new runs use");
    Error::new(Code::DeploymentConflict, why).hint(format!(
        "point it to another one first (trackway deployments rollback {name}), or remove all of it: \
         trackway deployments rm {name}"
    ))
}
