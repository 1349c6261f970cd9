//! Components as a list shows them: without their manifests, which may be long.

use serde::{Deserialize, Serialize};
use trackway_replay::Digest;
use utoipa::ToSchema;

use crate::api::time::Time;

/// `GET /v1/components`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComponentList {
    pub components: Vec<ListedComponent>,
}

/// One of a list of components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ListedComponent {
    #[schema(value_type = String)]
    pub digest: Digest,
    pub size_bytes: u64,
    pub uploaded_at: Time,
    /// Its only import is `step`.
    pub pure: bool,
    /// Names of its workflows.
    pub workflows: Vec<String>,
    /// Names of deployments of which a version points to it.
    pub deployments: Vec<String>,
}
