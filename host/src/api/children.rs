//! Runs that the steps of a run started.

use axum::Json;
use serde::Deserialize;
use trackway_replay::Position;
use utoipa::IntoParams;

use super::body::Params;
use super::found::Found;
use super::model::{self, Problem};
use super::problem::Answer;
use super::routes::Api;
use super::runs::bad_cursor;
use crate::host;

const CHILDREN_DEFAULT: usize = 50;
const CHILDREN_MAX: usize = 500;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChildParams {
    /// At most 500; 50 if absent.
    limit: Option<usize>,
    /// Of the page before.
    cursor: Option<String>,
}

/// Runs that the steps of the run started, waited for or detached, in the order in which they came to stand. A page
/// may hold fewer than asked for, or none, and still name the next one.
#[utoipa::path(
    get,
    operation_id = "list_children",
    path = "/v1/runs/{id}/children",
    tag = "runs",
    params(("id" = String, Path), ChildParams),
    responses((status = 200, body = model::Children), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn list(api: Api, Found(head): Found, Params(params): Params<ChildParams>) -> Answer<Json<model::Children>> {
    let from = params.cursor.map(|cursor| cursor.parse::<u64>().map_err(|_| bad_cursor(&cursor))).transpose()?;
    let limit = params.limit.unwrap_or(CHILDREN_DEFAULT).clamp(1, CHILDREN_MAX);
    let page = api.host.children(head.run, Position(from.unwrap_or_default()), limit).await?;
    let children = page.children.iter().map(shown).collect();
    Ok(Json(model::Children { run: head.run, children, cursor: page.more.map(|place| place.to_string()) }))
}

fn shown(child: &host::Child) -> model::Child {
    let head = child.head.as_ref();
    model::Child {
        id: child.run,
        step: child.step.0,
        deployment: child.deployment.to_string(),
        workflow: head.map(|head| head.workflow.to_string()),
        status: head.map(|head| head.status),
    }
}
