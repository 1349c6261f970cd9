//! What a deploy would change, and what waits for an approval.

use serde::{Deserialize, Serialize};
use trackway_replay::Digest;
use utoipa::ToSchema;

use crate::api::time::Time;
use crate::host;

/// `POST /v1/deployments/{name}/plan`: what a deploy with the same body would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    pub deployment: String,
    #[schema(value_type = String)]
    pub component: Digest,
    /// The version that it would replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u32>,
    pub verdict: PlanVerdict,
    /// Of one that would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it would reach and the version before does not.
    pub widens: Vec<String>,
    pub capabilities: Capabilities,
    /// From the version that it would replace; everything is new where there is none.
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlanVerdict {
    /// It is the current version already.
    Unchanged,
    Deploys,
    /// It would wait for an approval.
    Proposes,
    Refused,
}

/// What a component holds, what its functions want, and what they are granted. What is not granted cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capabilities {
    /// Its only import is `step`: it cannot reach anything.
    pub pure: bool,
    pub workflows: Vec<String>,
    pub functions: Vec<Function>,
    /// What its agents may call.
    pub tools: Vec<String>,
    pub hosts: Reach,
    pub models: Reach,
    pub secrets: Reach,
}

/// One function, and what it says that it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = FunctionWishes)]
pub struct Function {
    pub name: String,
    pub hosts: Vec<String>,
    pub models: Vec<String>,
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// Patterns, as people write them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reach {
    pub wanted: Vec<String>,
    pub granted: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    pub what: ChangeOf,
    pub name: String,
    pub change: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOf {
    /// It imports `effect`, or does so no longer.
    Import,
    Workflow,
    Function,
    Tool,
    HostWanted,
    ModelWanted,
    SecretWanted,
    Host,
    Model,
    Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Added,
    Removed,
}

/// A version that waits for an approval: no run uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proposed {
    /// The number that it gets.
    pub version: u32,
    #[schema(value_type = String)]
    pub component: Digest,
    pub proposed_at: Time,
    /// What it reaches and the version before does not.
    pub widens: Vec<String>,
}

/// `POST /v1/deployments/{name}/approve` and `/reject`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    pub version: u32,
}

/// `GET` and `PUT /v1/policy`: what a tenant may grant at most, and what needs an approval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Patterns of hosts of which every grant must be a part. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// The same of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// `free` (default), or `needs-approval`: a version that reaches more than the one before is only proposed.
    #[serde(default)]
    #[schema(value_type = String)]
    pub widening: host::Widening,
    /// Components must be signed by one of these. Default: by none.
    #[serde(default)]
    #[schema(value_type = Vec<TrustedKey>)]
    pub trusted_keys: Vec<host::TrustedKey>,
}

/// A public key, in base64, and a name for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrustedKey {
    pub name: String,
    pub key: String,
}

impl From<host::Policy> for Policy {
    fn from(policy: host::Policy) -> Policy {
        let host::Policy { hosts, models, widening, trusted_keys } = policy;
        Policy { hosts, models, widening, trusted_keys }
    }
}

impl From<Policy> for host::Policy {
    fn from(policy: Policy) -> host::Policy {
        let Policy { hosts, models, widening, trusted_keys } = policy;
        host::Policy { hosts, models, widening, trusted_keys }
    }
}

impl PlanVerdict {
    pub fn name(self) -> &'static str {
        match self {
            PlanVerdict::Unchanged => "unchanged",
            PlanVerdict::Deploys => "deploys",
            PlanVerdict::Proposes => "proposes",
            PlanVerdict::Refused => "refused",
        }
    }
}

impl Plan {
    pub fn of(deployment: &str, plan: host::Plan) -> Plan {
        let (verdict, why) = match plan.verdict {
            host::PlanVerdict::Unchanged => (PlanVerdict::Unchanged, None),
            host::PlanVerdict::Deploys => (PlanVerdict::Deploys, None),
            host::PlanVerdict::Proposes => (PlanVerdict::Proposes, None),
            host::PlanVerdict::Refused(why) => (PlanVerdict::Refused, Some(why)),
        };
        Plan {
            deployment: deployment.to_owned(),
            component: plan.component,
            replaces: plan.replaces,
            verdict,
            why,
            widens: plan.widens,
            capabilities: plan.capabilities.into(),
            changes: plan.changes.into_iter().map(Change::from).collect(),
        }
    }
}

impl From<host::Capabilities> for Capabilities {
    fn from(found: host::Capabilities) -> Capabilities {
        let host::Capabilities { pure, workflows, functions, tools, wanted, granted } = found;
        let list = |set: std::collections::BTreeSet<String>| set.into_iter().collect::<Vec<_>>();
        Capabilities {
            pure,
            workflows: list(workflows),
            functions: functions
                .into_iter()
                .map(|host::Function { name, hosts, models, secrets }| Function {
                    name,
                    hosts: list(hosts),
                    models: list(models),
                    secrets: list(secrets),
                })
                .collect(),
            tools: list(tools),
            hosts: Reach { wanted: list(wanted.hosts), granted: list(granted.hosts) },
            models: Reach { wanted: list(wanted.models), granted: list(granted.models) },
            secrets: Reach { wanted: list(wanted.secrets), granted: list(granted.secrets) },
        }
    }
}

impl From<host::Change> for Change {
    fn from(change: host::Change) -> Change {
        let what = match change.what {
            host::What::Purity => ChangeOf::Import,
            host::What::Workflow => ChangeOf::Workflow,
            host::What::Function => ChangeOf::Function,
            host::What::Tool => ChangeOf::Tool,
            host::What::HostWanted => ChangeOf::HostWanted,
            host::What::ModelWanted => ChangeOf::ModelWanted,
            host::What::SecretWanted => ChangeOf::SecretWanted,
            host::What::HostGranted => ChangeOf::Host,
            host::What::ModelGranted => ChangeOf::Model,
            host::What::SecretGranted => ChangeOf::Secret,
        };
        let kind = match change.how {
            host::How::Added => ChangeKind::Added,
            host::How::Removed => ChangeKind::Removed,
        };
        Change { what, name: change.name, change: kind }
    }
}

impl From<host::Proposal> for Proposed {
    fn from(proposal: host::Proposal) -> Proposed {
        let host::Proposal { version, component, proposed, allow: _, widens } = proposal;
        Proposed { version, component, proposed_at: proposed.into(), widens }
    }
}
