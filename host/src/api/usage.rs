//! What the caller's tenant uses, beside what it may.

use axum::Json;
use serde::Deserialize;
use trackway_replay::Day;
use utoipa::IntoParams;

use super::body::Params;
use super::model::{DayUsed, Problem, QuotaInUse, Usage};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::time::Time;
use crate::Code;
use crate::quota::UNLIMITED;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageParams {
    /// Only that day of UTC, as `2026-11-22`.
    day: Option<String>,
}

/// What the tenant uses: each quota with its limit and use, and the days, the newest first.
#[utoipa::path(
    get,
    operation_id = "get_usage",
    path = "/v1/usage",
    tag = "usage",
    params(UsageParams),
    responses((status = 200, body = Usage), (status = 400, body = Problem, content_type = "application/problem+json"))
)]
pub async fn get(api: Api, Params(UsageParams { day }): Params<UsageParams>) -> Answer<Json<Usage>> {
    let day = day.as_deref().map(day_of).transpose()?;
    let usage = api.host.usage(day).await?;
    let quotas = usage.quotas.iter().map(|(quota, used)| QuotaInUse {
        name: quota.quota.name().to_owned(),
        unit: quota.quota.unit().into(),
        limit: (quota.limit != UNLIMITED).then_some(quota.limit),
        used: *used,
    });
    let days = usage.days.iter().map(|(day, used)| DayUsed { day: shown(*day), used: used.into() });
    Ok(Json(Usage {
        today: shown(usage.today),
        quotas: quotas.collect(),
        total: (&usage.total).into(),
        days: days.collect(),
    }))
}

fn shown(day: Day) -> String {
    let time = Time(day.begin()).to_string();
    time.split('T').next().unwrap_or_default().to_owned()
}

fn day_of(text: &str) -> Answer<Day> {
    let time = format!("{text}T00:00:00Z").parse::<Time>();
    time.map(|time| Day::of(time.0)).map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        Refusal::new(Code::BadRequest, format!("`{shown}` is no day; write it as 2026-11-22"))
    })
}
