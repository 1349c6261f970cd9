//! Uploads, and what is there of them.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use std::collections::{BTreeMap, BTreeSet};
use trackway_replay::Digest;

use super::body::Limit;
use super::model::{Binary, Component, ComponentList, ListedComponent, Problem};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;
use crate::host::UPLOAD_MAX_BYTES;
use crate::sandbox::Manifest;

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
    Ok(Json(view::component(&api.host.component(digest_of(&digest)?).await?)))
}

/// All components, in the order of their digests, without their manifests.
#[utoipa::path(get, operation_id = "list_components", path = "/v1/components", tag = "components", responses((status = 200, body = ComponentList)))]
pub async fn list(api: Api) -> Answer<Json<ComponentList>> {
    let mut deployments: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    for deployment in api.host.deployments().await? {
        for version in &deployment.versions {
            deployments.entry(version.component).or_default().insert(deployment.name.to_string());
        }
    }
    let mut components = Vec::new();
    for record in api.host.components().await? {
        // One that an earlier version took in, and this one cannot read, is there all the same.
        let manifest = Manifest::read(&record.manifest);
        let workflows = manifest.map(|manifest| manifest.workflows).unwrap_or_default();
        components.push(ListedComponent {
            digest: record.digest,
            size_bytes: record.size_bytes,
            uploaded_at: record.uploaded.into(),
            pure: record.pure,
            workflows: workflows.iter().map(|workflow| workflow.name.to_string()).collect(),
            deployments: deployments.remove(&record.digest).unwrap_or_default().into_iter().collect(),
        });
    }
    Ok(Json(ComponentList { components }))
}

/// Removes a component that nothing uses: no version of a deployment, no proposal, no open run. Runs of it that have ended
/// stay readable, and replay again when the same component is uploaded.
#[utoipa::path(
    delete,
    operation_id = "remove_component",
    path = "/v1/components/{digest}",
    tag = "components",
    params(("digest" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Something uses it."),
    )
)]
pub async fn remove(api: Api, Path(digest): Path<String>) -> Answer<StatusCode> {
    api.host.remove_component(digest_of(&digest)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn digest_of(text: &str) -> Answer<Digest> {
    text.parse().map_err(|_| {
        Refusal::new(Code::NoSuchComponent, format!("`{text}` is no digest")).hint("it has 64 hexadecimal digits")
    })
}
