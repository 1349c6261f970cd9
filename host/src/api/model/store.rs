//! What is said of a store as a whole.

use serde::{Deserialize, Serialize};
use trackway_replay::RunId;
use utoipa::ToSchema;

/// `POST /v1/store/check`: what a look at everything came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreReport {
    pub runs: u64,
    pub entries: u64,
    /// Values that stand beside the journals.
    pub payloads: u64,
    pub components: u64,
    /// Empty: everything is as it should be.
    pub flaws: Vec<Flaw>,
    /// How many more there are than are listed.
    pub more: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flaw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// In the run's journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    pub what: String,
    /// What to do about it.
    pub advice: String,
}
