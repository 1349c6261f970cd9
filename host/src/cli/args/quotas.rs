//! The words and flags of `trackway tenants quota`. Declares them and what their help says; does nothing.

use clap::Args;

use super::{Connect, OneTenant};

#[derive(Debug, Args)]
pub struct TenantQuota {
    #[command(flatten)]
    pub one: OneTenant,
    /// A limit for this tenant; repeatable
    #[arg(long, value_name = "QUOTA=LIMIT", value_parser = parse_quota)]
    pub set: Vec<QuotaIs>,
    /// From now on as the server has it; repeatable
    #[arg(long, value_name = "QUOTA")]
    pub unset: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Usage {
    /// Only that day of UTC, as 2026-11-22
    #[arg(long, value_name = "DAY")]
    pub day: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

/// One limit, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaIs {
    pub name: String,
    pub limit: String,
}

pub fn parse_quota(text: &str) -> Result<QuotaIs, String> {
    match text.split_once('=') {
        Some((name, limit)) if !name.is_empty() && !limit.is_empty() => {
            Ok(QuotaIs { name: name.to_owned(), limit: limit.to_owned() })
        }
        _ => Err(format!("`{text}` is not QUOTA=LIMIT, as runs=100")),
    }
}
