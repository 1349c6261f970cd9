//! The runs that the steps of a run started. Shapes only.

use serde::{Deserialize, Serialize};
use trackway_replay::{RunId, Status};
use utoipa::ToSchema;

use super::RunStatus;

/// `GET /v1/runs/{id}/children`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Children {
    #[schema(value_type = String)]
    pub run: RunId,
    /// In the order in which they came to stand.
    pub children: Vec<Child>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A run that a step of another one started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Child {
    #[schema(value_type = String)]
    pub id: RunId,
    /// Of the run that started it.
    pub step: u32,
    /// Whose workflow was meant.
    pub deployment: String,
    /// Absent where the run was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Absent where the run was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(inline, value_type = Option<RunStatus>)]
    pub status: Option<Status>,
}
