//! Quotas, as they go over the wire.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;

use crate::host::QuotaLimit;
use crate::quota::{UNLIMITED, Unit};

/// `GET /v1/tenants/{name}/quotas`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaList {
    pub quotas: Vec<QuotaOf>,
}

/// One quota of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaOf {
    pub name: String,
    pub unit: QuotaUnit,
    /// Absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Of a tenant of which nothing is said. Absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<u64>,
    /// Whether the limit was set for this tenant.
    pub set: bool,
}

/// A quota as it stood when it was used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaUsed {
    pub name: String,
    pub limit: u64,
    pub used: u64,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaUnit {
    Fuel,
    Bytes,
    Count,
    /// A thousand millionth of a dollar.
    NanoUsd,
}

/// `PATCH /v1/tenants/{name}/quotas`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuotas {
    /// By name: a number, or text as `4GiB`, `10k`, `2.50usd` or `unlimited`.
    #[serde(default)]
    pub set: BTreeMap<String, NumberOrText>,
    /// Names of quotas that are as the server has them from here on.
    #[serde(default)]
    pub unset: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum NumberOrText {
    Number(u64),
    Text(String),
}

impl fmt::Display for NumberOrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NumberOrText::Number(number) => number.fmt(f),
            NumberOrText::Text(text) => f.write_str(text),
        }
    }
}

impl From<&QuotaLimit> for QuotaOf {
    fn from(quota: &QuotaLimit) -> QuotaOf {
        let limited = |limit: u64| (limit != UNLIMITED).then_some(limit);
        QuotaOf {
            name: quota.quota.name().to_owned(),
            unit: quota.quota.unit().into(),
            limit: limited(quota.limit),
            default: limited(quota.default),
            set: quota.is_said,
        }
    }
}

impl From<Unit> for QuotaUnit {
    fn from(unit: Unit) -> QuotaUnit {
        match unit {
            Unit::Fuel => QuotaUnit::Fuel,
            Unit::Bytes => QuotaUnit::Bytes,
            Unit::Count => QuotaUnit::Count,
            Unit::NanoUsd => QuotaUnit::NanoUsd,
        }
    }
}

impl From<QuotaUnit> for Unit {
    fn from(unit: QuotaUnit) -> Unit {
        match unit {
            QuotaUnit::Fuel => Unit::Fuel,
            QuotaUnit::Bytes => Unit::Bytes,
            QuotaUnit::Count => Unit::Count,
            QuotaUnit::NanoUsd => Unit::NanoUsd,
        }
    }
}
