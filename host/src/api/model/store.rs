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
    /// Tenants whose data is sealed on disk.
    #[serde(default)]
    pub sealed: u64,
    /// Rows and files of those tenants that are not, since they were written before.
    #[serde(default)]
    pub unsealed: u64,
    /// Empty: everything is as it should be.
    pub flaws: Vec<Flaw>,
    /// How many more there are than are listed.
    pub more: u64,
}

/// `GET /v1/store/data-keys`: what a backup of sealed tenants is opened with, together with the key of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DataKeys {
    /// A line for each sealed tenant: its number, how much of it is sealed, and its data key, wrapped.
    pub data_keys: Vec<String>,
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
