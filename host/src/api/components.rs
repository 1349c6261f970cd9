//! Uploads.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use trackway_replay::Digest;

use super::body::Limit;
use super::model::{Binary, Component, Problem};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;
use crate::host::UPLOAD_MAX_BYTES;

const UPLOAD: Limit = Limit { max_bytes: UPLOAD_MAX_BYTES, code: Code::UploadTooLarge };

/// Uploads a component: its bytes, as they are. Answers 200 where the same one is there already.
#[utoipa::path(
    post,
    operation_id = "upload_component",
    path = "/v1/components",
    tag = "components",
    request_body(content = Binary, content_type = "application/wasm"),
    responses(
        (status = 201, body = Component),
        (status = 200, body = Component, description = "It had been uploaded before."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Refused by a gate."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Too many are sent or compiled."),
    )
)]
pub async fn upload(api: Api, headers: HeaderMap, content: Body) -> Answer<(StatusCode, Json<Component>)> {
    let (bytes, _place) = api.intake.read(api.host.tenant(), &headers, content, UPLOAD).await?;
    let uploaded = api.host.upload(bytes).await?;
    let status = if uploaded.existing { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(view::component(&uploaded.record))))
}

/// What is known of a component.
#[utoipa::path(
    get,
    operation_id = "get_component",
    path = "/v1/components/{digest}",
    tag = "components",
    params(("digest" = String, Path)),
    responses((status = 200, body = Component), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn get(api: Api, Path(digest): Path<String>) -> Answer<Json<Component>> {
    let digest: Digest = digest.parse().map_err(|_| {
        Refusal::new(Code::NoSuchComponent, format!("`{digest}` is no digest")).hint("it has 64 hexadecimal digits")
    })?;
    Ok(Json(view::component(&api.host.component(digest).await?)))
}
