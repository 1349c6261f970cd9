//! Quotas of tenants, for whoever runs the server.

use axum::Json;
use axum::extract::Path;

use super::body::Asked;
use super::model::{Problem, QuotaList, SetQuotas};
use super::problem::Answer;
use super::routes::Api;
use crate::host::{QuotaChange, Tenant};

/// Every quota of a tenant, with its limit.
#[utoipa::path(
    get,
    operation_id = "get_quotas",
    path = "/v1/tenants/{name}/quotas",
    tag = "tenants",
    params(("name" = String, Path)),
    responses((status = 200, body = QuotaList), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn get(api: Api, Path(name): Path<String>) -> Answer<Json<QuotaList>> {
    list(&api, &api.host.tenant_named(&name).await?).await
}

/// Changes some quotas of a tenant; the others stay. Counts from the answer on, also for runs that go on, but for what
/// a run pins when it starts.
#[utoipa::path(
    patch,
    operation_id = "set_quotas",
    path = "/v1/tenants/{name}/quotas",
    tag = "tenants",
    params(("name" = String, Path)),
    request_body = Option<SetQuotas>,
    responses(
        (status = 200, body = QuotaList),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No such quota or limit."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set(
    api: Api,
    Path(name): Path<String>,
    Asked { body: SetQuotas { set, unset }, .. }: Asked<SetQuotas>,
) -> Answer<Json<QuotaList>> {
    let tenant = api.host.tenant_named(&name).await?;
    let set = set.into_iter().map(|(name, limit)| (name, limit.to_string())).collect();
    api.host.change_quotas(&tenant, &QuotaChange { set, unset }).await?;
    list(&api, &tenant).await
}

async fn list(api: &Api, tenant: &Tenant) -> Answer<Json<QuotaList>> {
    let quotas = api.host.quotas(tenant).await?;
    Ok(Json(QuotaList { quotas: quotas.iter().map(Into::into).collect() }))
}
