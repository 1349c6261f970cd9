//! A replay on the wire: what is asked for, and what was compared and found.

use serde::{Deserialize, Serialize};
use trackway_replay::{Digest, RunId};
use utoipa::ToSchema;

/// `POST /v1/runs/{id}/replay`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Another component to replay with. Default: the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub component: Option<Digest>,
}

/// What a replay compared and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayReport {
    #[schema(value_type = String)]
    pub run: RunId,
    #[schema(value_type = String)]
    pub component: Digest,
    /// Everything that was compared was the same. The three counts say how much that is.
    pub identical: bool,
    /// Commands whose digest and fuel were compared.
    pub commands_with_fuel: u64,
    /// Commands whose digest alone was compared: another engine or component.
    pub commands_without_fuel: u64,
    /// Deliveries whose order was compared.
    pub deliveries: u64,
    /// `identical`, `diverged`, `ended_by_host` where the host ended the run before its workflow did, or `not_ended`.
    pub end: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Divergence>,
}

/// Where code and journal part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Divergence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// How many commands agreed before.
    pub commands: u64,
    /// What the journal says.
    pub recorded: String,
    /// What the code did.
    pub produced: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub produced_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub recorded_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub produced_digest: Option<Digest>,
}
