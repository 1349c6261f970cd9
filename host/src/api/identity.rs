//! Keys of the caller's tenant, and its audit log.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

use super::body::{self, Asked, Limit, Params};
use super::model::{AuditLine, AuditPage, Key, KeyList, MadeKey, NewKey, Problem, RotateKey};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::time::Time;
use crate::Code;
use crate::host::{self, AUDIT_PAGE_MAX, Scope, Scopes};

const AUDIT_PAGE_DEFAULT: usize = 100;

/// Keys of the tenant, without their texts.
#[utoipa::path(get, operation_id = "list_keys", path = "/v1/keys", tag = "keys", responses((status = 200, body = KeyList)))]
pub async fn list(api: Api) -> Answer<Json<KeyList>> {
    Ok(Json(KeyList { keys: api.host.keys().await?.iter().map(shown).collect() }))
}

/// Makes a key of the tenant. Its text is in this answer and nowhere else.
#[utoipa::path(
    post,
    operation_id = "create_key",
    path = "/v1/keys",
    tag = "keys",
    request_body = NewKey,
    responses(
        (status = 201, body = MadeKey),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There are too many."),
    )
)]
pub async fn create(api: Api, headers: HeaderMap, content: axum::body::Body) -> Answer<(StatusCode, Json<MadeKey>)> {
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let NewKey { name, scopes, expires_in_s } = body::json(&bytes, Code::BadRequest)?;
    let scopes = scopes.iter().map(|scope| scope.parse::<Scope>()).collect::<Result<Scopes, String>>();
    let scopes = scopes.map_err(|why| Refusal::new(Code::BadRequest, why))?;
    let expires = expires_in_s.map(|seconds| api.host.now() + Duration::from_secs(seconds));
    let made = api.host.create_key(host::NewKey { name, scopes, expires }).await?;
    Ok((StatusCode::CREATED, Json(made_shown(&made))))
}

/// Makes a key that allows what another one does, and ends that one: at once, or after a while.
#[utoipa::path(
    post,
    operation_id = "rotate_key",
    path = "/v1/keys/{id}/rotate",
    tag = "keys",
    params(("id" = String, Path)),
    request_body = Option<RotateKey>,
    responses(
        (status = 201, body = MadeKey),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    api: Api,
    Path(id): Path<String>,
    Asked { body: asked, .. }: Asked<RotateKey>,
) -> Answer<(StatusCode, Json<MadeKey>)> {
    let overlap = Duration::from_secs(asked.overlap_s.unwrap_or(0));
    let made = api.host.rotate_key(&id, overlap).await?;
    Ok((StatusCode::CREATED, Json(made_shown(&made))))
}

/// Removes a key of the tenant. From the answer on it is refused.
#[utoipa::path(
    delete,
    operation_id = "remove_key",
    path = "/v1/keys/{id}",
    tag = "keys",
    params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn remove(api: Api, Path(id): Path<String>) -> Answer<StatusCode> {
    api.host.remove_key(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParams {
    /// Only what was done at this time or later.
    since: Option<String>,
    /// The `cursor` of the page before.
    cursor: Option<String>,
    /// About so many lines, at most 1,000.
    limit: Option<usize>,
}

/// What was changed by request in the tenant, or was to be: who, what, when, from where, and what came of it. The
/// oldest first.
#[utoipa::path(
    get,
    operation_id = "list_audit",
    path = "/v1/audit",
    tag = "keys",
    params(AuditParams),
    responses((status = 200, body = AuditPage))
)]
pub async fn audit(api: Api, Params(params): Params<AuditParams>) -> Answer<Json<AuditPage>> {
    let since = params.since.map(|since| since.parse::<Time>());
    let since = since.transpose().map_err(|error| Refusal::new(Code::BadRequest, error.to_string()))?;
    let limit = params.limit.unwrap_or(AUDIT_PAGE_DEFAULT).clamp(1, AUDIT_PAGE_MAX);
    let page = api.host.audit_log(since.map(|since| since.0), params.cursor.as_deref(), limit).await?;
    Ok(Json(AuditPage { lines: page.lines.into_iter().map(line).collect(), cursor: page.next }))
}

fn line(line: host::AuditLine) -> AuditLine {
    let host::AuditLine { time, who, name, from, what, status, code } = line;
    AuditLine { time: Time::from(time), who, name, from, what, status, code }
}

fn shown(key: &host::Key) -> Key {
    Key {
        id: key.id.to_string(),
        name: key.name.to_string(),
        scopes: key.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        created_at: Time::from(key.created),
        expires_at: key.expires.map(Time::from),
        last_used_at: key.last_used.map(Time::from),
    }
}

fn made_shown(made: &host::MadeKey) -> MadeKey {
    MadeKey { key: shown(&made.key), bearer: made.text.clone() }
}
