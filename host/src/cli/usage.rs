//! `trackway usage`: what a tenant uses, beside what it may.

use crate::api::model::{DayUsed, QuotaInUse, QuotaUnit};
use crate::quota::{UNLIMITED, Unit, shown};

use super::exit::{Done, Exit};
use super::{Context, args, render};

pub async fn usage(args: args::Usage, context: &Context) -> Done {
    let output = &context.output;
    let usage = context.client(args.connect)?.usage(args.day.as_deref()).await?;
    let text = || {
        let quotas = usage.quotas.iter().filter(|quota| quota.used.is_some() || quota.limit.is_some());
        let quotas = render::lists::table(&["QUOTA", "USED", "LIMIT"], quotas.map(quota_row), output.width);
        let days = render::lists::table(
            &["DAY", "FUEL", "RUNS", "STEPS", "JOURNAL", "VALUES", "EGRESS", "LOGS", "TOKENS", "COST"],
            usage.days.iter().map(day_row),
            output.width,
        );
        format!("{quotas}\n{days}")
    };
    output.one(&usage, &usage.today, text)?;
    Ok(Exit::Ok)
}

fn quota_row(quota: &QuotaInUse) -> Vec<String> {
    let unit = quota.unit.into();
    let used = quota.used.map(|used| exact(quota.unit, used)).unwrap_or_default();
    vec![quota.name.clone(), used, shown(unit, quota.limit.unwrap_or(UNLIMITED))]
}

fn day_row(day: &DayUsed) -> Vec<String> {
    let used = &day.used;
    let counts = [used.fuel, used.runs_started, used.steps, used.journal_bytes, used.payload_bytes];
    let more = [used.egress_requests, used.log_bytes, used.model_tokens];
    let numbers = counts.into_iter().chain(more).map(|number| number.to_string());
    std::iter::once(day.day.clone())
        .chain(numbers)
        .chain([exact(QuotaUnit::NanoUsd, used.model_cost_nanousd)])
        .collect()
}

/// Every digit: people compare them.
fn exact(unit: QuotaUnit, number: u64) -> String {
    match unit {
        QuotaUnit::NanoUsd => shown(Unit::NanoUsd, number),
        QuotaUnit::Fuel | QuotaUnit::Bytes | QuotaUnit::Count => number.to_string(),
    }
}
