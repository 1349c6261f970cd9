//! Versions that wait for somebody's approval, and what a deploy would change. A proposal points to nothing: no run
//! uses it until it is approved.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use trackway_replay::{Digest, Timestamp};
use trackway_storage::{Deployment, Record, Shelf};

use super::Host;
use super::capability::{Capabilities, Change, widens};
use super::deployments::{Outcome, Wish, check_wish, current, written};
use super::policy::Widening;
use crate::sandbox::Manifest;
use crate::{Code, Error, Result};

/// In front of the deployment's name and the number, on the shelf of policies.
const PREFIX: &str = "proposed/";
/// Nobody reviews more of one deployment.
const PROPOSALS_MAX: usize = 20;
/// Records that are read at once.
const PAGE: usize = 100;

/// A version that is none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The number of the version that it becomes.
    pub version: u32,
    pub component: Digest,
    pub proposed: Timestamp,
    pub allow: Vec<Arc<str>>,
    /// What it reaches and the version before does not.
    pub widens: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    component: Digest,
    proposed: Timestamp,
    #[serde(default)]
    allow: Vec<Arc<str>>,
    #[serde(default)]
    widens: Vec<String>,
}

/// What a deploy would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub component: Digest,
    /// The version that it would replace.
    pub replaces: Option<u32>,
    pub capabilities: Capabilities,
    pub changes: Vec<Change>,
    /// What it would reach and the version before does not.
    pub widens: Vec<String>,
    pub verdict: PlanVerdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanVerdict {
    /// It is the current version already.
    Unchanged,
    Deploys,
    /// It would wait for an approval.
    Proposes,
    /// It would be refused, for this reason.
    Refused(String),
}

impl Host {
    /// What [`Host::deploy`] would do. Changes nothing.
    pub async fn plan(&self, name: &str, wish: &Wish<'_>) -> Result<Plan> {
        check_wish(name, wish)?;
        let component = self.component(wish.component).await?;
        let before = self.storage.deployment(self.tenant, name).await?;
        let version = before.as_ref().and_then(|deployment| current(deployment).ok());
        let allow = written(wish.allow);
        let capabilities = Capabilities::of(&Manifest::read(&component.manifest)?, component.pure, &allow);
        let reached = match version {
            Some(version) => {
                let component = self.component(version.component).await?;
                Some(Capabilities::of(&Manifest::read(&component.manifest)?, component.pure, &version.allow))
            }
            None => None,
        };
        let changes = capabilities.changes_since(reached.as_ref());
        let wider = widens(version.map(|version| version.allow.as_slice()).unwrap_or_default(), &allow);
        let policy = self.policy().await?;
        let signature = self.signature_of(component.digest, wish.signature).await?;
        let verdict = match policy.admit(&allow, component.digest, signature.as_ref()) {
            Err(error) => PlanVerdict::Refused(error.to_string()),
            Ok(()) if version.is_some_and(|now| now.component == component.digest && now.allow == allow) => {
                PlanVerdict::Unchanged
            }
            Ok(()) if policy.widening == Widening::NeedsApproval && !wider.is_empty() => PlanVerdict::Proposes,
            Ok(()) => PlanVerdict::Deploys,
        };
        let replaces = version.map(|version| version.version);
        Ok(Plan { component: component.digest, replaces, capabilities, changes, widens: wider, verdict })
    }

    /// Deployments of which something waits for an approval, by name.
    pub async fn proposed_names(&self) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        let mut after = PREFIX.to_owned();
        loop {
            let found = self.storage.records(self.tenant, Shelf::Policies, Some(&after), PAGE).await?;
            for record in &found {
                let Some((name, _)) = record.name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')) else {
                    return Ok(names);
                };
                names.insert(name.to_owned());
            }
            match found.last().filter(|_| found.len() == PAGE) {
                Some(last) => after = last.name.to_string(),
                None => return Ok(names),
            }
        }
    }

    /// What waits for an approval, by number.
    pub async fn proposals(&self, name: &str) -> Result<Vec<Proposal>> {
        let prefix = prefix_of(name);
        let found = self.storage.records(self.tenant, Shelf::Policies, Some(&prefix), PROPOSALS_MAX + 1).await?;
        let of_name = found.iter().take_while(|record| record.name.starts_with(&prefix));
        of_name.map(|record| read(&prefix, record)).collect()
    }

    /// Makes the proposal the current version. Twice is once.
    pub async fn approve(&self, name: &str, version: u32) -> Result<Deployment> {
        self.refuse_if_stopping()?;
        let _pointing = self.pointing.of(self.tenant).read_owned().await;
        let (record, proposal) = self.proposal(name, version).await?;
        let signature = self.signature_of(proposal.component, None).await?;
        self.policy().await?.admit(&proposal.allow, proposal.component, signature.as_ref())?;
        // It may have been removed meanwhile.
        self.component(proposal.component).await?;
        let deployment = self.change(name, None, |deployment| {
            self.add_version(deployment, Some(version), proposal.component, proposal.allow.clone());
            Ok(())
        });
        let deployment = deployment.await?;
        self.keep_approval(&deployment).await?;
        // Somebody else may have done so, which is as good.
        self.storage.remove_record(self.tenant, Shelf::Policies, &record.name, record.revision).await?;
        Ok(deployment)
    }

    /// Throws the proposal away.
    pub async fn reject(&self, name: &str, version: u32) -> Result<()> {
        self.refuse_if_stopping()?;
        let (record, _) = self.proposal(name, version).await?;
        self.storage.remove_record(self.tenant, Shelf::Policies, &record.name, record.revision).await?;
        Ok(())
    }

    /// Throws all of them away. Answers how many there were.
    pub(super) async fn reject_all(&self, name: &str) -> Result<usize> {
        let prefix = prefix_of(name);
        let found = self.storage.records(self.tenant, Shelf::Policies, Some(&prefix), PROPOSALS_MAX + 1).await?;
        let mut count = 0;
        for record in found.iter().take_while(|record| record.name.starts_with(&prefix)) {
            self.storage.remove_record(self.tenant, Shelf::Policies, &record.name, record.revision).await?;
            count += 1;
        }
        Ok(count)
    }

    /// Keeps what was asked for until somebody approves of it. The same again is the same proposal.
    pub(super) async fn propose(
        &self,
        before: Deployment,
        component: Digest,
        allow: Vec<Arc<str>>,
        widens: Vec<String>,
    ) -> Result<Outcome> {
        let name = Arc::clone(&before.name);
        let known = self.proposals(&name).await?;
        if let Some(same) = known.iter().find(|known| known.component == component && known.allow == allow) {
            return Ok(Outcome::Proposed(before, same.clone()));
        }
        if known.len() >= PROPOSALS_MAX {
            let why = format!("{PROPOSALS_MAX} versions of `{name}` wait for an approval already");
            return Err(Error::new(Code::DeploymentConflict, why).hint("approve or reject some of them"));
        }
        let numbers = before.versions.iter().map(|version| version.version);
        let mut version = numbers.chain(known.iter().map(|known| known.version)).max().unwrap_or(0) + 1;
        let proposed = self.clock.now();
        let body = Body { component, proposed, allow: allow.clone(), widens: widens.clone() };
        let body =
            serde_json::to_vec(&body).map_err(|error| Error::new(Code::Internal, format!("a proposal: {error}")))?;
        loop {
            let record = Record { name: name_of(&name, version).into(), revision: 1, body: body.clone().into() };
            if self.storage.put_record(self.tenant, Shelf::Policies, record).await? {
                let proposal = Proposal { version, component, proposed, allow, widens };
                return Ok(Outcome::Proposed(before, proposal));
            }
            // Somebody else proposed in this moment.
            version += 1;
        }
    }

    async fn proposal(&self, name: &str, version: u32) -> Result<(Record, Proposal)> {
        let record = self.storage.record(self.tenant, Shelf::Policies, &name_of(name, version)).await?;
        let record = record.ok_or_else(|| {
            let why = format!("no version {version} of `{name}` waits for an approval");
            Error::new(Code::NoSuchDeployment, why).hint("trackway deployments ls    # shows those that do")
        })?;
        let proposal = read(&prefix_of(name), &record)?;
        Ok((record, proposal))
    }
}

fn prefix_of(name: &str) -> String {
    format!("{PREFIX}{name}/")
}

/// Sorted by number.
fn name_of(name: &str, version: u32) -> String {
    format!("{}{version:010}", prefix_of(name))
}

fn read(prefix: &str, record: &Record) -> Result<Proposal> {
    let damaged = || Error::new(Code::DataDamaged, format!("the record `{}` cannot be read", record.name));
    let version = record.name.strip_prefix(prefix).and_then(|number| number.parse().ok()).ok_or_else(damaged)?;
    let Body { component, proposed, allow, widens } = serde_json::from_slice(&record.body).map_err(|_| damaged())?;
    Ok(Proposal { version, component, proposed, allow, widens })
}
