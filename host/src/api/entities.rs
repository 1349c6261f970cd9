//! Entities: values of the tenant that its runs share.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use trackway_storage::{Entity, EntityQuery};
use utoipa::IntoParams;

use super::body::{self, Limit, Params};
use super::found::{Key, Name};
use super::model::{self, Problem};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use crate::Code;

const PAGE_DEFAULT: usize = 50;
/// Each may be as large as an entity may be.
const PAGE_MAX: usize = 200;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Only entities of this name.
    name: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    /// At most 200.
    limit: Option<usize>,
}

/// Lists entities: those of shorter names first, then in the order of names and keys.
#[utoipa::path(
    get,
    operation_id = "list_entities",
    path = "/v1/entities",
    tag = "entities",
    params(ListParams),
    responses((status = 200, body = model::EntityPage))
)]
pub async fn list(api: Api, Params(params): Params<ListParams>) -> Answer<Json<model::EntityPage>> {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let after = params.after.as_deref().map(|after| {
        // A name has no slash.
        let (name, key) = after.split_once('/').unwrap_or((after, ""));
        (Arc::from(name), Arc::from(key))
    });
    let query = EntityQuery { name: params.name.map(Into::into), after, limit };
    let entities = api.host.entities(query).await?;
    let next = entities.last().filter(|_| entities.len() == limit).map(|last| format!("{}/{}", last.name, last.key));
    Ok(Json(model::EntityPage { entities: entities.iter().map(view).collect::<Answer<_>>()?, next }))
}

/// One entity. Its version is the `ETag` too.
#[utoipa::path(
    get,
    operation_id = "get_entity",
    path = "/v1/entities/{name}/{key}",
    tag = "entities",
    params(("name" = String, Path), ("key" = String, Path)),
    responses(
        (status = 200, body = model::Entity),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(api: Api, Name(name): Name, Key(key): Key) -> Answer<impl IntoResponse> {
    found(&api.host.entity(&name, &key).await?)
}

/// Sets an entity to the body, a JSON value; with `If-Match` only if it is at that version, with
/// `If-None-Match: *` only if there is none.
#[utoipa::path(
    put,
    operation_id = "set_entity",
    path = "/v1/entities/{name}/{key}",
    tag = "entities",
    params(
        ("name" = String, Path),
        ("key" = String, Path),
        ("If-Match" = Option<String>, Header),
        ("If-None-Match" = Option<String>, Header),
    ),
    request_body = Option<serde_json::Value>,
    responses(
        (status = 200, body = model::Entity),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "There are too many."),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "It is at another version."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set(
    api: Api,
    Name(name): Name,
    Key(key): Key,
    headers: HeaderMap,
    content: Body,
) -> Answer<impl IntoResponse> {
    let if_version = if_version(&headers)?;
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let value = body::value(&bytes)?;
    found(&api.host.set_entity(&name, &key, value, if_version).await?)
}

/// Deletes an entity; with `If-Match` only if it is at that version.
#[utoipa::path(
    delete,
    operation_id = "delete_entity",
    path = "/v1/entities/{name}/{key}",
    tag = "entities",
    params(("name" = String, Path), ("key" = String, Path), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "It is at another version."),
    )
)]
pub async fn delete(api: Api, Name(name): Name, Key(key): Key, headers: HeaderMap) -> Answer<StatusCode> {
    let if_version = if_version(&headers)?;
    api.host.delete_entity(&name, &key, if_version).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn if_version(headers: &HeaderMap) -> Answer<Option<u64>> {
    let bad = |why: &str| Refusal::new(Code::BadRequest, why.to_owned());
    let none = headers.get(header::IF_NONE_MATCH);
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return match none {
            Some(any) if any.as_bytes() == b"*" => Ok(Some(0)),
            Some(_) => Err(bad("If-None-Match can only be `*`")),
            None => Ok(None),
        };
    };
    let version = wanted.to_str().ok().and_then(|tag| tag.trim_matches('"').parse().ok());
    match (version, none) {
        (Some(version), None) => Ok(Some(version)),
        (None, None) => Err(bad("If-Match is not a version of an entity")),
        (_, Some(_)) => Err(bad("If-Match and If-None-Match exclude each other")),
    }
}

fn found(entity: &Entity) -> Answer<impl IntoResponse + use<>> {
    let tag = AppendHeaders([(header::ETAG, format!("\"{}\"", entity.version))]);
    Ok((tag, Json(view(entity)?)))
}

fn view(entity: &Entity) -> Answer<model::Entity> {
    let value = RawValue::from_string(entity.value.to_string())
        .map_err(|error| Refusal::new(Code::DataDamaged, format!("the value of an entity is not JSON: {error}")))?;
    Ok(model::Entity {
        name: entity.name.to_string(),
        key: entity.key.to_string(),
        version: entity.version,
        changed_at: entity.changed.into(),
        value,
    })
}
