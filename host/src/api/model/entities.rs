//! Entities as they go over the wire.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Time;

/// A value of the tenant that its runs share.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Entity {
    pub name: String,
    pub key: String,
    /// No two writes have the same one, and later ones have higher ones.
    pub version: u64,
    pub changed_at: Time,
    #[schema(value_type = serde_json::Value)]
    pub value: Box<RawValue>,
}

/// `GET /v1/entities`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EntityPage {
    pub entities: Vec<Entity>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
