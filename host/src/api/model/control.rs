//! What is asked for when a run is moved to other code.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/runs/{id}/move`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The deployment whose current code the run goes on with, and whose grants it then has.
    pub to: String,
    /// Only look whether it can be.
    #[serde(default)]
    pub dry_run: bool,
}
