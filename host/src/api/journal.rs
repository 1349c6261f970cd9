//! The journal itself, for tools and tests.

use axum::Json;
use serde::Deserialize;
use trackway_replay::Position;
use utoipa::IntoParams;

use super::body::Params;
use super::found::{Found, OfDigest};
use super::model::{JournalPage, Problem, StoredValue};
use super::problem::Answer;
use super::routes::Api;
use super::view;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JournalParams {
    /// The position to begin with; 0 if absent.
    from: Option<u64>,
}

/// The durable entries of a run, about a megabyte of them at once.
#[utoipa::path(
    get,
    operation_id = "get_journal",
    path = "/v1/runs/{id}/journal",
    tag = "runs",
    params(("id" = String, Path), JournalParams),
    responses((status = 200, body = JournalPage), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn journal(api: Api, Found(head): Found, Params(params): Params<JournalParams>) -> Answer<Json<JournalPage>> {
    let entries = api.host.entries(head.run, Position(params.from.unwrap_or(0))).await?;
    let next = entries.last().map(|entry| entry.position.0 + 1);
    Ok(Json(JournalPage { entries: entries.iter().map(view::entry).collect(), next }))
}

/// A value of the run that stands beside its journal: what a trace or an entry has only the digest of.
#[utoipa::path(
    get,
    operation_id = "get_value",
    path = "/v1/runs/{id}/values/{digest}",
    tag = "runs",
    params(("id" = String, Path), ("digest" = String, Path)),
    responses((status = 200, body = StoredValue), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn value(api: Api, Found(head): Found, OfDigest(digest): OfDigest) -> Answer<Json<StoredValue>> {
    let text = api.host.value(head.run, digest).await?;
    Ok(Json(StoredValue { digest, value: view::raw(&text) }))
}
