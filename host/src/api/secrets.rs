//! Secrets of the tenant. Values come in and never go out: no answer holds one, no error and no log.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};

use super::body::{self, Limit};
use super::found::Name;
use super::model::{self, Problem};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use crate::Code;
use crate::effects::{Secret, SecretName};
use crate::host::SecretEntry;

/// Lists secrets by name, without their values.
#[utoipa::path(get, operation_id = "list_secrets", path = "/v1/secrets", tag = "secrets", responses((status = 200, body = model::SecretList)))]
pub async fn list(api: Api) -> Answer<Json<model::SecretList>> {
    let secrets = api.host.secrets().await?.iter().map(view).collect();
    Ok(Json(model::SecretList { secrets }))
}

/// Sets a secret, whatever it was before. Nothing ever answers its value.
#[utoipa::path(
    put,
    operation_id = "set_secret",
    path = "/v1/secrets/{name}",
    tag = "secrets",
    params(("name" = String, Path)),
    request_body = model::SetSecret,
    responses(
        (status = 200, body = model::Secret),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The server has no key to keep it with."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "A name or value that no secret has."),
    )
)]
pub async fn set(api: Api, Name(name): Name, headers: HeaderMap, content: Body) -> Answer<Json<model::Secret>> {
    let name: SecretName = name.parse()?;
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    // What is wrong with it is not said closer: that would be a part of it.
    let asked: model::SetSecret = serde_json::from_slice(&bytes)
        .map_err(|_| Refusal::new(Code::BadRequest, "the body is a JSON object with one field, `value`, a string"))?;
    let value = Secret::new(asked.value)?;
    Ok(Json(view(&api.host.set_secret(&name, &value).await?)))
}

/// Removes a secret: the next request of a function that names it fails.
#[utoipa::path(
    delete,
    operation_id = "remove_secret",
    path = "/v1/secrets/{name}",
    tag = "secrets",
    params(("name" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn remove(api: Api, Name(name): Name) -> Answer<StatusCode> {
    api.host.remove_secret(&name.parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the keys for secrets anew, puts all secrets under the first of them and wraps all data keys under it.
#[utoipa::path(
    post,
    operation_id = "rotate_secrets",
    path = "/v1/store/rotate-secrets",
    tag = "store",
    responses((status = 200, body = model::RotatedSecrets))
)]
pub async fn rotate(api: Api) -> Answer<Json<model::RotatedSecrets>> {
    let rotated = api.host.rotate_secrets().await?;
    let crate::host::Rotated { key, rotated, kept, unreadable, data_keys } = rotated;
    Ok(Json(model::RotatedSecrets { key, rotated, kept, unreadable, data_keys }))
}

fn view(entry: &SecretEntry) -> model::Secret {
    model::Secret {
        name: entry.name.clone(),
        revision: entry.revision,
        created_at: entry.created.into(),
        changed_at: entry.changed.into(),
        key: entry.key.to_string(),
        readable: entry.readable,
    }
}
