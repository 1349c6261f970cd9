//! What a tenant uses, as it goes over the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::QuotaUnit;

/// `GET /v1/usage`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Of UTC.
    pub today: String,
    pub quotas: Vec<QuotaInUse>,
    /// Over all days.
    pub total: Used,
    /// The newest first; days on which nothing was used are not there.
    pub days: Vec<DayUsed>,
}

/// A quota of the tenant, and how much of it is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaInUse {
    pub name: String,
    pub unit: QuotaUnit,
    /// Absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Absent where it is of a run, or of a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DayUsed {
    /// Of UTC, as `2026-11-22`.
    pub day: String,
    pub used: Used,
}

macro_rules! used {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// How much of each thing was used.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub struct Used { $($(#[doc = $doc])* pub $name: u64,)* }

        impl From<&trackway_replay::Used> for Used {
            fn from(used: &trackway_replay::Used) -> Used {
                Used { $($name: used.$name,)* }
            }
        }

        impl Used {
            /// Each number with its name.
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

used! {
    /// As the journals say.
    fuel,
    runs_started,
    runs_ended,
    steps,
    attempts,
    journal_bytes,
    journal_bytes_removed,
    payload_bytes,
    payload_bytes_removed,
    log_bytes,
    /// Calls of HTTP and of models.
    egress_requests,
    egress_bytes,
    /// In and out.
    model_tokens,
    /// Thousand millionths of a dollar, as far as the price is known.
    model_cost_nanousd,
}
