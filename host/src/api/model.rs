//! What goes over the wire: every request and answer of `/v1`, read and written by the same types
//! on both sides. JSON values of guests are carried as they are, never decoded. Ids, digests and
//! numbers above 2^53 are text. Nothing here decides or fetches anything.

mod children;
mod components;
mod control;
mod entities;
mod identity;
mod journal;
mod plan;
mod quotas;
mod redaction;
mod replay;
mod secrets;
mod spending;
mod store;
mod stream;
mod talk;
mod usage;

pub use children::{Child, Children};
pub use components::{ComponentList, ListedComponent};
pub use control::Move;
pub use entities::{Entity, EntityPage};
pub use identity::{AuditLine, AuditPage, Key, KeyList, MadeKey, NewKey, NewTenant, RotateKey, Tenant, TenantList};
pub use journal::{Entry, JournalPage, Stored, StoredValue};
pub use plan::{
    Capabilities, Change, ChangeKind, ChangeOf, Function, Judge, Plan, PlanVerdict, Policy, Proposed, Reach, TrustedKey,
};
pub use quotas::{NumberOrText, QuotaList, QuotaOf, QuotaUnit, QuotaUsed, SetQuotas};
pub use redaction::{RedactedFields, Redaction};
pub use replay::{Divergence, Replay, ReplayReport};
pub use secrets::{RotatedSecrets, Secret, SecretList, SetSecret};
pub use spending::Spending;
pub use store::{DataKeys, Flaw, StoreReport};
pub use stream::{StreamDelta, StreamEnd, StreamEvent, StreamReset, Streamed};
pub use talk::{Answer, Promise, Question, Questions, Rejection, Sent, State, States, Update};
pub use usage::{DayUsed, QuotaInUse, Usage, Used};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trackway_replay::{Digest, RunId, Status, Waiting};
use utoipa::ToSchema;

use super::time::Time;

/// `GET /v1/health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    pub status: HealthStatus,
    pub version: String,
    /// Of the process: another one after each restart.
    pub epoch: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Ready,
    /// It ends what it has begun and takes no new work.
    Stopping,
}

/// An uploaded component.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Component {
    #[schema(value_type = String)]
    pub digest: Digest,
    pub size_bytes: u64,
    pub uploaded_at: Time,
    /// Its only import is `step`.
    pub pure: bool,
    /// As its `describe` returned it: see the guest contract.
    #[schema(value_type = Object)]
    pub manifest: Box<RawValue>,
}

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "it is there for the OpenAPI document: bodies of bytes are read and written as they come")]
pub struct Binary(Vec<u8>);

/// A named pointer to a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    pub name: String,
    /// Grows by one with each change.
    pub revision: u64,
    /// The version that new runs use.
    pub current: u32,
    /// What the name has pointed to, the newest last.
    pub versions: Vec<Version>,
    /// What waits for an approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposed: Vec<Proposed>,
    /// Which of those is what this request asked for, where it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    pub version: u32,
    #[schema(value_type = String)]
    pub component: Digest,
    pub deployed_at: Time,
    /// What its functions may reach.
    pub allow_hosts: Vec<String>,
    /// The models that its functions may ask.
    #[serde(default)]
    pub allow_models: Vec<String>,
    /// The secrets that its functions may send, and towards which hosts.
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    /// The MCP servers that its functions may ask by their names, each as `NAME=URL`.
    #[serde(default)]
    pub allow_mcp: Vec<String>,
    /// Names of the component's workflows.
    pub workflows: Vec<String>,
}

/// `GET /v1/deployments`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeploymentList {
    pub deployments: Vec<Deployment>,
}

/// `PUT /v1/deployments/{name}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    #[schema(value_type = String)]
    pub component: Digest,
    /// What its functions may reach, as `example.com`, `*.example.com` or `http://127.0.0.1:8080`.
    #[serde(default)]
    pub allow_hosts: Vec<String>,
    /// The models that its functions may ask, as `openai/gpt-4o-mini`, `openai/gpt-4o*` or `anthropic/*`.
    #[serde(default)]
    pub allow_models: Vec<String>,
    /// The secrets that its functions may send and towards which hosts, as `KEY=api.example.com`, or
    /// `KEY:query,body=api.example.com` where it goes elsewhere than into a header.
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    /// The MCP servers that its functions may ask by their names, as `library=https://mcp.example.com/mcp`.
    #[serde(default)]
    pub allow_mcp: Vec<String>,
    /// Refuse if the deployment is not at this revision (0: if there is one already).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Of the component, in base64, where the tenant's policy wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// `POST /v1/deployments/{name}/promote`: one of `component` and `from`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub component: Option<Digest>,
    /// Another deployment: what it points to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Default: what the deployment's current version may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_hosts: Option<Vec<String>>,
    /// Default: the models that the deployment's current version may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_models: Option<Vec<String>>,
    /// Default: the secrets that the deployment's current version may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_secrets: Option<Vec<String>>,
    /// Default: the MCP servers of the deployment's current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_mcp: Option<Vec<String>>,
}

/// `POST /v1/deployments/{name}/rollback`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Default: the one before the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// `POST /v1/runs`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// `DEPLOYMENT/WORKFLOW`, or `WORKFLOW` where only one deployment has it.
    pub workflow: String,
    /// Any JSON; `null` where absent. The workflow gets exactly these bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// The host ends the run after so many milliseconds, as failed with code `TIMEOUT`. Default: as the
    /// workflow's manifest says, else never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout_ms: Option<u64>,
    /// How long the run may go on after a cancel, 1 ms to a day. Default: as the workflow's manifest says, else 30 s.
    /// Whoever cancels it may say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_grace_ms: Option<u64>,
}

/// The answer of `POST /v1/runs`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// The idempotency key had started this run before.
    pub existing: bool,
    pub run: Run,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Run {
    #[schema(value_type = String)]
    pub id: RunId,
    pub workflow: String,
    pub deployment: String,
    #[schema(value_type = String)]
    pub component: Digest,
    #[schema(inline, value_type = RunStatus)]
    pub status: Status,
    /// For what, where the status is `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<RunWaiting>)]
    pub waiting: Option<Waiting>,
    /// When it goes on by itself, where it sleeps or waits for a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    pub started_at: Time,
    /// When the status changed last.
    pub changed_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Steps asked for so far.
    pub steps: u32,
    /// What its calls of models used and cost, where it made any. What it keeps of a run that it was restarted from is
    /// not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spending: Option<Spending>,
    /// Code of the failure, or of what it is stuck on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One line for people beside the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Only where one run is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Box<RawValue>>,
    /// Of a succeeded run; only where one run is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Box<RawValue>>,
    /// Of a failed run: `code`, `message`, `retryable`, `details`, `at`; only where one run is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Box<RawValue>>,
    /// Why a cancelled run was cancelled; only where one run is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What started it, if another run did; only where one run is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// What a person can do about it, where it does not go on by itself: commands, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

/// A step of a run that started another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parent {
    #[schema(value_type = String)]
    pub run: RunId,
    pub step: u32,
}

/// The state of a run, in one word.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it is there for the OpenAPI document; the pure crate owns the type")]
enum RunStatus {
    Queued,
    Running,
    Sleeping,
    Waiting,
    Stuck,
    Succeeded,
    Failed,
    Cancelled,
    Paused,
}

/// For what a waiting run waits.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it is there for the OpenAPI document; the pure crate owns the type")]
enum RunWaiting {
    Retry,
    Child,
    Signal,
    Person,
    Promise,
}

/// `GET /v1/runs`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    /// The newest first.
    pub runs: Vec<Run>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `POST /v1/runs/{id}/cancel`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[serde(default)]
    pub reason: String,
    /// After how long the host ends the run, at most a day; else as its workflow says, or 30 s. Said to a run that was
    /// cancelled before, it counts from that cancel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// `POST /v1/runs/{id}/terminate`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminate {
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/runs/{id}/pause`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/runs/{id}/resume`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {}

/// `POST /v1/runs/{id}/restart`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Keep what stood before this step was asked for. Default: begin anew, on what the deployment
    /// points to now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<u32>,
}

/// `POST /v1/runs/{id}/retry`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Default: every step that waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// The deployment whose current code makes the attempts from here on. Default: the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// About effects of which nobody knows whether they were carried out. Default: `repeat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectWord>,
    /// The effect's answer, where `effect` is `answer`: for HTTP an object with `status`, `headers` and `body`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub answer: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EffectWord {
    /// Ask again, under the same idempotency key.
    Repeat,
    /// The function gets a failure with code `AMBIGUOUS`.
    Fail,
    /// The function gets `answer`.
    Answer,
}

/// The answer of `POST /v1/runs/{id}/retry`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Retried {
    /// The steps that are tried again.
    pub steps: Vec<u32>,
    pub run: Run,
}

/// `GET /v1/runs/{id}/trace`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    pub run: Run,
    /// How many journal entries it was made of.
    pub position: u64,
    /// Header, rows, activations and totals.
    #[schema(value_type = Object)]
    pub trace: trackway_replay::trace::Trace,
}

/// One event of `GET /v1/runs/{id}/events`. Its id is `position`; its name is `progress`, or `end`
/// for the last one.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunEvent {
    /// How many journal entries were durable.
    pub position: u64,
    /// The run; with output or failure in the last event.
    pub run: Run,
    /// Rows of the trace that are new or changed since the event before, in the order of the trace.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<trackway_replay::trace::Row>,
}

/// `GET /v1/runs/{id}/logs`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    pub lines: Vec<LogLine>,
    /// Where to go on; absent where this is all for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Names the line: the same on every replay.
    pub id: String,
    pub time: Time,
    pub level: String,
    pub message: String,
    /// What the guest gave beside the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub fields: Option<Box<RawValue>>,
    /// The step whose function wrote it; absent for the workflow itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// The body of every error: `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:trackway:error:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every error of the code.
    pub title: String,
    /// Of HTTP.
    pub status: u16,
    /// What happened, where and why.
    pub detail: String,
    /// Stable, as `TW0303`.
    pub code: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where a quota of the tenant is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaUsed>,
}

/// Reads a field that is there, so that JSON's `null` is told apart from absence.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
