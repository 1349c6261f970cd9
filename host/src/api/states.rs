//! What runs publish of themselves.

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::Params;
use super::found::{Found, Key};
use super::model::{self, Problem};
use super::problem::Answer;
use super::routes::Api;
use super::view;
use crate::host;

/// Of values in one answer; the last one may pass it.
const PAGE_MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StateParams {
    /// Of the page before: go on after it.
    cursor: Option<String>,
}

/// What the run has published, the last value of each key, about a megabyte at once. At any time: also while the
/// run sleeps or waits, and after its end.
#[utoipa::path(
    get,
    operation_id = "list_state",
    path = "/v1/runs/{id}/state",
    tag = "runs",
    params(("id" = String, Path), StateParams),
    responses((status = 200, body = model::States), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn list(api: Api, Found(head): Found, Params(params): Params<StateParams>) -> Answer<Json<model::States>> {
    let page = api.host.states(head.run, params.cursor.as_deref(), PAGE_MAX_BYTES).await?;
    let state = page.states.iter().map(shown).collect();
    Ok(Json(model::States { run: head.run, state, cursor: page.more.map(|key| key.to_string()) }))
}

/// What the run published last under that key.
#[utoipa::path(
    get,
    operation_id = "get_state",
    path = "/v1/runs/{id}/state/{key}",
    tag = "runs",
    params(("id" = String, Path), ("key" = String, Path)),
    responses(
        (status = 200, body = model::State),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such run, or \
            nothing was published under that key."),
    )
)]
pub async fn get(api: Api, Found(head): Found, Key(key): Key) -> Answer<Json<model::State>> {
    Ok(Json(shown(&api.host.state(head.run, &key).await?)))
}

fn shown(state: &host::State) -> model::State {
    model::State {
        key: state.key.to_string(),
        value: view::raw(&state.value),
        published_at: state.published.into(),
        position: state.position.0,
    }
}
