//! What a tenant may grant, and approvals of what reaches more.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};

use super::body::{self, Asked, Limit};
use super::model::{Deploy, Deployment, Judge, Plan, Policy, Problem};
use super::problem::Answer;
use super::routes::Api;
use super::{deployments, view};
use crate::Code;

/// What a deploy with this body would come to. Changes nothing.
#[utoipa::path(
    post,
    operation_id = "plan_deployment",
    path = "/v1/deployments/{name}/plan",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Deploy,
    responses(
        (status = 200, body = Plan),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such component."),
    )
)]
pub async fn plan(
    api: Api,
    Path(name): Path<String>,
    headers: HeaderMap,
    content: axum::body::Body,
) -> Answer<Json<Plan>> {
    let asked = deployments::asked(&headers, content).await?;
    let plan = api.host.plan(&name, &deployments::asking(&asked)?.wish()).await?;
    Ok(Json(Plan::of(&name, plan)))
}

/// Makes a proposed version the current one.
#[utoipa::path(
    post,
    operation_id = "approve_deployment",
    path = "/v1/deployments/{name}/approve",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Judge,
    responses((status = 200, body = Deployment), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn approve(
    api: Api,
    Path(name): Path<String>,
    Asked { body: Judge { version }, .. }: Asked<Judge>,
) -> Answer<Json<Deployment>> {
    let deployment = api.host.approve(&name, version).await?;
    Ok(Json(view::deployment(&api.host, &deployment).await?))
}

/// Throws a proposed version away.
#[utoipa::path(
    post,
    operation_id = "reject_deployment",
    path = "/v1/deployments/{name}/reject",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Judge,
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn reject(
    api: Api,
    Path(name): Path<String>,
    Asked { body: Judge { version }, .. }: Asked<Judge>,
) -> Answer<StatusCode> {
    api.host.reject(&name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What this tenant may grant at most, and what needs an approval.
#[utoipa::path(get, operation_id = "get_policy", path = "/v1/policy", tag = "policy", responses((status = 200, body = Policy)))]
pub async fn get(api: Api) -> Answer<Json<Policy>> {
    Ok(Json(api.host.policy().await?.into()))
}

/// Sets all of it; what was deployed before stays.
#[utoipa::path(
    put,
    operation_id = "set_policy",
    path = "/v1/policy",
    tag = "policy",
    request_body = Policy,
    responses(
        (status = 200, body = Policy),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Bad pattern or key."),
    )
)]
pub async fn set(api: Api, headers: HeaderMap, content: axum::body::Body) -> Answer<Json<Policy>> {
    // Nothing at all is no policy that lets everything through.
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let policy: Policy = body::json(&bytes, Code::BadRequest)?;
    let policy = policy.into();
    api.host.set_policy(&policy).await?;
    Ok(Json(policy.into()))
}
