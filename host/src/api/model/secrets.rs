//! Secrets on the wire: what can be told of one, and a value on its way in. No answer holds a value.

use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

use crate::api::Time;

/// `PUT /v1/secrets/{name}`
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSecret {
    /// 8 to 16,384 bytes of text.
    pub value: String,
}

/// What can be told of a secret: all but its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    pub name: String,
    /// Grows by one with each value.
    pub revision: u64,
    pub created_at: Time,
    pub changed_at: Time,
    /// The id of the key under which it is kept.
    pub key: String,
    /// Whether the server has that key.
    pub readable: bool,
}

/// `GET /v1/secrets`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    pub secrets: Vec<Secret>,
}

/// `POST /v1/store/rotate-secrets`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedSecrets {
    /// The id of the key under which all are kept now; absent where the server has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Those that were kept under another key before.
    pub rotated: u64,
    /// Those that were kept under that key before.
    pub kept: u64,
    /// Those that stay as they are, since the server has not their key or they are damaged.
    pub unreadable: u64,
    /// Data keys of sealed tenants that were wrapped under another key before.
    #[serde(default)]
    pub data_keys: u64,
}

impl fmt::Debug for SetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetSecret(..)")
    }
}
