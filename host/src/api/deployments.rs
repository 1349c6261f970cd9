//! Names that point to components.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{self, Asked, Limit, Params};
use super::model::{Deploy, Deployment, DeploymentList, Problem, Promote, Rollback};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;
use crate::host::{Allow, Outcome, Pointer, Signature, Wish};

/// All deployments, by name.
#[utoipa::path(get, operation_id = "list_deployments", path = "/v1/deployments", tag = "deployments", responses((status = 200, body = DeploymentList)))]
pub async fn list(api: Api) -> Answer<Json<DeploymentList>> {
    let mut deployments = Vec::new();
    for deployment in api.host.deployments().await? {
        deployments.push(view::deployment(&api.host, &deployment).await?);
    }
    // Of these there is no version yet.
    for name in api.host.proposed_names().await? {
        if deployments.iter().all(|known| known.name != name) {
            let none =
                trackway_storage::Deployment { name: name.into(), revision: 0, current: 0, versions: Vec::new() };
            deployments.push(view::deployment(&api.host, &none).await?);
        }
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
pub async fn get(api: Api, Path(name): Path<String>) -> Answer<Json<Deployment>> {
    let deployment = api.host.deployment(&name).await?;
    Ok(Json(view::deployment(&api.host, &deployment).await?))
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
        (status = 202, body = Deployment, description = "It waits for an approval: see `proposed`."),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "Beyond the tenant's policy."),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such component."),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Another revision."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Bad pattern of a host, model or secret, or no address of an MCP server."),
    )
)]
pub async fn deploy(
    api: Api,
    Path(name): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer<(StatusCode, Json<Deployment>)> {
    let asked = asked(&headers, content).await?;
    let outcome = api.host.deploy(&name, &asking(&asked)?.wish()).await?;
    answer(&api, outcome).await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemoveParams {
    /// Only this version of it, which must not be the current one.
    version: Option<u32>,
}

/// Removes a deployment with all its versions and all that waits for an approval under its name; with `version` only that
/// one. Runs that are open go on; what their functions may reach goes with the version.
#[utoipa::path(
    delete,
    operation_id = "remove_deployment",
    path = "/v1/deployments/{name}",
    tag = "deployments",
    params(("name" = String, Path), RemoveParams),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "New runs use that version."),
    )
)]
pub async fn remove(
    api: Api,
    Path(name): Path<String>,
    Params(RemoveParams { version }): Params<RemoveParams>,
) -> Answer<StatusCode> {
    api.host.remove_deployment(&name, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn asked(headers: &HeaderMap, content: Body) -> Answer<Deploy> {
    let bytes = body::read(headers, content, Limit::SMALL).await?;
    body::json(&bytes, Code::BadRequest)
}

/// What a body asks for, with its signature read.
pub(super) struct Asking<'a> {
    asked: &'a Deploy,
    signature: Option<Signature>,
}

pub(super) fn asking(asked: &Deploy) -> Answer<Asking<'_>> {
    let signature = asked.signature.as_deref().map(str::parse).transpose()?;
    Ok(Asking { asked, signature })
}

impl Asking<'_> {
    pub fn wish(&self) -> Wish<'_> {
        let Deploy { component, allow_hosts, allow_models, allow_secrets, allow_mcp, if_revision, signature: _ } =
            self.asked;
        let (hosts, models) = (allow_hosts.as_slice(), allow_models.as_slice());
        let allow = Allow { hosts, models, secrets: allow_secrets.as_slice(), mcp: allow_mcp.as_slice() };
        Wish { component: *component, allow, if_revision: *if_revision, signature: self.signature.as_ref() }
    }
}

/// 202 where it waits for an approval.
async fn answer(api: &Api, outcome: Outcome) -> Answer<(StatusCode, Json<Deployment>)> {
    let (status, waits) = match &outcome {
        Outcome::Deployed(_) => (StatusCode::OK, None),
        Outcome::Proposed(_, proposal) => (StatusCode::ACCEPTED, Some(proposal.version)),
    };
    let shown = view::deployment(&api.host, outcome.deployment()).await?;
    Ok((status, Json(Deployment { waits, ..shown })))
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
    responses(
        (status = 200, body = Deployment),
        (status = 202, body = Deployment, description = "It waits for an approval: see `proposed`."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn promote(
    api: Api,
    Path(name): Path<String>,
    Asked { body: asked, .. }: Asked<Promote>,
) -> Answer<(StatusCode, Json<Deployment>)> {
    let pointer = match (asked.component, asked.from) {
        (Some(component), None) => Pointer::Component(component),
        (None, Some(from)) => Pointer::Deployment(from),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Refusal::new(Code::BadRequest, "exactly one of `component` and `from` must be given"));
        }
    };
    let (hosts, models) = (asked.allow_hosts.as_deref(), asked.allow_models.as_deref());
    let (secrets, mcp) = (asked.allow_secrets.as_deref(), asked.allow_mcp.as_deref());
    let allow = Allow { hosts, models, secrets, mcp };
    let outcome = api.host.promote(&name, &pointer, allow).await?;
    answer(&api, outcome).await
}

/// Points a name back: to the version given, or to the one before the current one. Where the tenant's policy wants
/// approvals, one that reaches more than the current version and was never approved is only proposed.
#[utoipa::path(
    post,
    operation_id = "rollback_deployment",
    path = "/v1/deployments/{name}/rollback",
    tag = "deployments",
    params(("name" = String, Path)),
    request_body = Option<Rollback>,
    responses(
        (status = 200, body = Deployment),
        (status = 202, body = Deployment, description = "It waits for an approval: see `proposed`."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rollback(
    api: Api,
    Path(name): Path<String>,
    Asked { body: asked, .. }: Asked<Rollback>,
) -> Answer<(StatusCode, Json<Deployment>)> {
    let outcome = api.host.rollback(&name, asked.version).await?;
    answer(&api, outcome).await
}
