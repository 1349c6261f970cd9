//! Tenants, for whoever runs the server.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};

use super::body::{self, Limit};
use super::model::{NewTenant, Problem, Tenant, TenantList};
use super::problem::Answer;
use super::routes::Api;
use super::time::Time;
use crate::Code;
use crate::host;

/// All tenants, also those that are being deleted.
#[utoipa::path(get, operation_id = "list_tenants", path = "/v1/tenants", tag = "tenants", responses((status = 200, body = TenantList)))]
pub async fn list(api: Api) -> Answer<Json<TenantList>> {
    Ok(Json(TenantList { tenants: api.host.tenants().await?.iter().map(shown).collect() }))
}

/// Makes a tenant.
#[utoipa::path(
    post,
    operation_id = "create_tenant",
    path = "/v1/tenants",
    tag = "tenants",
    request_body = NewTenant,
    responses(
        (status = 201, body = Tenant),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It is there already."),
    )
)]
pub async fn create(api: Api, headers: HeaderMap, content: axum::body::Body) -> Answer<(StatusCode, Json<Tenant>)> {
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let asked: NewTenant = body::json(&bytes, Code::BadRequest)?;
    Ok((StatusCode::CREATED, Json(shown(&api.host.create_tenant(&asked.name).await?))))
}

/// One tenant.
#[utoipa::path(
    get,
    operation_id = "get_tenant",
    path = "/v1/tenants/{name}",
    tag = "tenants",
    params(("name" = String, Path)),
    responses((status = 200, body = Tenant), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn get(api: Api, Path(name): Path<String>) -> Answer<Json<Tenant>> {
    Ok(Json(shown(&api.host.tenant_named(&name).await?)))
}

/// Refuses the keys of a tenant until it is enabled again. Its runs go on.
#[utoipa::path(
    post,
    operation_id = "disable_tenant",
    path = "/v1/tenants/{name}/disable",
    tag = "tenants",
    params(("name" = String, Path)),
    responses((status = 200, body = Tenant), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn disable(api: Api, Path(name): Path<String>) -> Answer<Json<Tenant>> {
    Ok(Json(shown(&api.host.enable_tenant(&name, false).await?)))
}

/// Lets the keys of a tenant in again.
#[utoipa::path(
    post,
    operation_id = "enable_tenant",
    path = "/v1/tenants/{name}/enable",
    tag = "tenants",
    params(("name" = String, Path)),
    responses((status = 200, body = Tenant), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn enable(api: Api, Path(name): Path<String>) -> Answer<Json<Tenant>> {
    Ok(Json(shown(&api.host.enable_tenant(&name, true).await?)))
}

/// Deletes a tenant with everything that it has: its open runs are ended, and runs, values, components, deployments,
/// entities, keys and its audit log are removed. Answers when nothing of it is stored any more; a server that stops
/// before goes on with it when it starts.
#[utoipa::path(
    delete,
    operation_id = "delete_tenant",
    path = "/v1/tenants/{name}",
    tag = "tenants",
    params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn delete(api: Api, Path(name): Path<String>) -> Answer<StatusCode> {
    api.host.delete_tenant(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(tenant: &host::Tenant) -> Tenant {
    Tenant {
        name: tenant.name.to_string(),
        state: tenant.state.name().to_owned(),
        created_at: tenant.created.map(Time::from),
    }
}
