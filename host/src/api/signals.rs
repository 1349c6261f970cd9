//! Sending to a run.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use std::sync::Arc;
use trackway_replay::Value;

use super::body::{self, Limit};
use super::found::{Found, Name};
use super::model::{Problem, Sent};
use super::problem::Answer;
use super::routes::Api;
use super::view;
use crate::Code;
use crate::host::SignalRequest;

/// A value of the largest size; a longer body is not read.
pub const VALUE: Limit = Limit { max_bytes: Value::MAX_BYTES, code: Code::InputTooLarge };

/// Sends a signal: the body is its payload, any JSON. It stays until the run takes it. With the same
/// `Idempotency-Key` it is sent once.
#[utoipa::path(
    post,
    operation_id = "send_signal",
    path = "/v1/runs/{id}/signals/{name}",
    tag = "runs",
    params(("id" = String, Path), ("name" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<serde_json::Value>,
    responses(
        (status = 202, body = Sent),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such run, or its \
            workflow declares its signals and that is none of them."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Breaks the schema."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn send(
    api: Api,
    Found(head): Found,
    Name(name): Name,
    headers: HeaderMap,
    content: Body,
) -> Answer<(StatusCode, Json<Sent>)> {
    let (idempotency_key, payload) = sent(&headers, content).await?;
    let request = SignalRequest { run: head.run, name: Arc::from(name), payload, idempotency_key };
    let message = api.host.signal(request).await?;
    Ok((StatusCode::ACCEPTED, Json(Sent { run: head.run, message: view::message(message) })))
}

/// What is sent to a run: its key, if it has one, and the JSON text as it is.
pub async fn sent(headers: &HeaderMap, content: Body) -> Answer<(Option<String>, Arc<str>)> {
    let idempotency_key = body::idempotency_key(headers)?;
    let bytes = body::read(headers, content, VALUE).await?;
    Ok((idempotency_key, body::value(&bytes)?))
}
