//! Asking a run for something, and its answer.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::sync::Arc;
use trackway_replay::{MessageId, RunId};
use utoipa::IntoParams;

use super::body::Params;
use super::found::{Found, Name};
use super::model::{self, Problem};
use super::problem::Answer;
use super::routes::Api;
use super::runs::{WAIT_MAX, patience, seconds};
use super::signals::sent;
use super::view;
use crate::host::{UpdateAnswer, UpdateRequest};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UpdateParams {
    /// Seconds to wait, at most 60, which is also the default.
    timeout: Option<f64>,
    /// Seconds after which it is too late for the workflow to take the update: it is refused as `EXPIRED` then. By
    /// default it waits until the run ends. One that was taken in time is answered, however long that takes.
    expires_in: Option<f64>,
}

/// Asks the workflow for something and waits for its answer: the body is what is asked, any JSON. With the same
/// `Idempotency-Key` it is asked once and answered in the same way, so whoever got no answer asks again.
#[utoipa::path(
    post,
    operation_id = "send_update",
    path = "/v1/runs/{id}/updates/{name}",
    tag = "runs",
    params(
        ("id" = String, Path),
        ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header),
        UpdateParams,
    ),
    request_body = Option<serde_json::Value>,
    responses(
        (status = 200, body = model::Update, description = "The workflow's answer, also where it refuses."),
        (status = 202, body = model::Update, description = "It stands in the inbox, and the time is up: ask again."),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such run, or its \
            workflow declares its updates and that is none of them."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The run has ended, before \
            it was asked or before it answered; or the key was used for another request."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Breaks the schema."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn send(
    api: Api,
    Found(head): Found,
    Name(name): Name,
    Params(params): Params<UpdateParams>,
    headers: HeaderMap,
    content: Body,
) -> Answer<(StatusCode, Json<model::Update>)> {
    let patience = params.timeout.map_or(Ok(WAIT_MAX), patience)?;
    let expires_in = params.expires_in.map(seconds).transpose()?;
    let (idempotency_key, payload) = sent(&headers, content).await?;
    let request = UpdateRequest { run: head.run, name: Arc::from(name), payload, idempotency_key, expires_in };
    let message = api.host.update(request).await?;
    let answer = tokio::select! {
        answer = api.host.update_answer(head.run, message, patience) => answer?,
        () = api.stopped() => None,
    };
    let status = if answer.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(shown(head.run, message, answer))))
}

fn shown(run: RunId, message: MessageId, answer: Option<UpdateAnswer>) -> model::Update {
    let (outcome, output, failure) = match answer {
        None => ("open", None, None),
        Some(UpdateAnswer::Output(output)) => ("succeeded", Some(view::raw(&output)), None),
        Some(UpdateAnswer::Refused(failure)) => ("failed", None, Some(view::raw(&failure))),
    };
    model::Update { run, message: view::message(message), outcome: outcome.to_owned(), output, failure }
}
