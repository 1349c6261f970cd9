//! Which fields nobody gets to see, as that goes over the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/redaction`: names of fields, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Redaction {
    /// Of this tenant.
    pub fields: Vec<String>,
    /// Of whoever runs the server, for all tenants.
    pub server_fields: Vec<String>,
}

/// `PUT /v1/redaction`, `POST /v1/redaction/add` and `/remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactedFields {
    /// Names of fields, in any case: letters, digits, spaces and `_ - .`, up to 100 bytes. At most 100 of a tenant.
    pub fields: Vec<String>,
}
