//! Names that point to components.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;

use super::body::{self, Asked, Limit};
use super::model::{Deploy, Deployment, DeploymentList, Problem, Promote, Rollback};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;
use crate::host::{Allow, Pointer};

/// All deployments, by name.
#[utoipa::path(get, operation_id = "list_deployments", path = "/v1/deployments", tag = "deployments", responses((status = 200, body = DeploymentList)))]
pub async fn list(State(api): State<Api>) -> Answer<Json<DeploymentList>> {
    let mut deployments = Vec::new();
    for deployment in api.host.deployments().await? {
        deployments.push(view::deployment(&api.host, &deployment).await);
    }
    Ok(Json(DeploymentList { deployments }))
}

/// One deployment with its versions.
#[utoipa::path(
    get,
    operation_id = "get_deployment",
    path = "/v1/deployments/{name}",
    tag = "deployments",
    params(("name" = String, Path)),
    responses((status = 200, body = Deployment), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn get(State(api): State<Api>, Path(name): Path<String>) -> Answer<Json<Deployment>> {
    let deployment = api.host.deployment(&name).await?;
    Ok(Json(view::deployment(&api.host, &deployment).await))
}

/// Points a name to a component, making the deployment where there is none.
#[utoipa::path(
    put,
    operation_id = "deploy",
    path = "/v1/deployments/{name}",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Deploy,
    responses(
        (status = 200, body = Deployment),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such component."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another revision."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Bad pattern of a host or model."),
    )
)]
pub async fn deploy(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer<Json<Deployment>> {
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let asked: Deploy = body::json(&bytes, Code::BadRequest)?;
    let allow = Allow { hosts: asked.allow_hosts.as_slice(), models: asked.allow_models.as_slice() };
    let deployment = api.host.deploy(&name, asked.component, allow, asked.if_revision).await?;
    Ok(Json(view::deployment(&api.host, &deployment).await))
}

/// Points a name to a component or to what another deployment points to. What its functions may
/// reach stays, unless it is given.
#[utoipa::path(
    post,
    operation_id = "promote_deployment",
    path = "/v1/deployments/{name}/promote",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Promote,
    responses((status = 200, body = Deployment), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn promote(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked { body: asked, .. }: Asked<Promote>,
) -> Answer<Json<Deployment>> {
    let pointer = match (asked.component, asked.from) {
        (Some(component), None) => Pointer::Component(component),
        (None, Some(from)) => Pointer::Deployment(from),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Refusal::new(Code::BadRequest, "exactly one of `component` and `from` must be given"));
        }
    };
    let allow = Allow { hosts: asked.allow_hosts.as_deref(), models: asked.allow_models.as_deref() };
    let deployment = api.host.promote(&name, &pointer, allow).await?;
    Ok(Json(view::deployment(&api.host, &deployment).await))
}

/// Points a name back: to the version given, or to the one before the current one.
#[utoipa::path(
    post,
    operation_id = "rollback_deployment",
    path = "/v1/deployments/{name}/rollback",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Rollback,
    responses((status = 200, body = Deployment), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn rollback(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked { body: asked, .. }: Asked<Rollback>,
) -> Answer<Json<Deployment>> {
    let deployment = api.host.rollback(&name, asked.version).await?;
    Ok(Json(view::deployment(&api.host, &deployment).await))
}
