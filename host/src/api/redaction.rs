//! Which fields nobody gets to see of a tenant. What is masked by them is in `mask`.

use axum::Json;
use axum::http::HeaderMap;
use std::collections::BTreeSet;

use super::body::{self, Limit};
use super::mask::{check_count, names_of_fields};
use super::model::{Problem, RedactedFields, Redaction};
use super::problem::Answer;
use super::routes::Api;
use crate::host::Redacted;
use crate::{Code, Error};

/// Fields that are masked in every answer about this tenant: its own, and those of the server.
#[utoipa::path(get, operation_id = "get_redaction", path = "/v1/redaction", tag = "redaction", responses((status = 200, body = Redaction)))]
pub async fn get(api: Api) -> Answer<Json<Redaction>> {
    let redacted = api.host.redacted().await?;
    Ok(shown(&api, &redacted))
}

/// Sets all fields of this tenant, whatever they were. Those of the server stay. Every answer that begins afterwards is
/// masked by them, and what is still to come of an open stream.
#[utoipa::path(
    put,
    operation_id = "set_redaction",
    path = "/v1/redaction",
    tag = "redaction",
    request_body = RedactedFields,
    responses(
        (status = 200, body = Redaction),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No name of a field, \
            a field of the API itself, or too many."),
    )
)]
pub async fn set(api: Api, headers: HeaderMap, content: axum::body::Body) -> Answer<Json<Redaction>> {
    let wanted = named(&headers, content).await?;
    let redacted = api.host.redact(|_| Ok(wanted.clone())).await?;
    Ok(shown(&api, &redacted))
}

/// Adds fields to those of this tenant.
#[utoipa::path(
    post,
    operation_id = "add_redaction",
    path = "/v1/redaction/add",
    tag = "redaction",
    request_body = RedactedFields,
    responses(
        (status = 200, body = Redaction),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "No name of a field, \
            a field of the API itself, or too many."),
    )
)]
pub async fn add(api: Api, headers: HeaderMap, content: axum::body::Body) -> Answer<Json<Redaction>> {
    let wanted = named(&headers, content).await?;
    let redacted = api.host.redact(|before| {
        let fields = &before? | &wanted;
        check_count(&fields, Code::BadRequest)?;
        Ok(fields)
    });
    Ok(shown(&api, &*redacted.await?))
}

/// Removes fields from those of this tenant. Those of the server stay.
#[utoipa::path(
    post,
    operation_id = "remove_redaction",
    path = "/v1/redaction/remove",
    tag = "redaction",
    request_body = RedactedFields,
    responses(
        (status = 200, body = Redaction),
        (status = 400, body = Problem, content_type = "application/problem+json", description = "The tenant does not \
            redact one of them."),
    )
)]
pub async fn remove(api: Api, headers: HeaderMap, content: axum::body::Body) -> Answer<Json<Redaction>> {
    let wanted: BTreeSet<String> = asked(&headers, content).await?.iter().map(|field| field.to_lowercase()).collect();
    let redacted = api.host.redact(|before| {
        let before = before?;
        match wanted.iter().find(|field| !before.contains(*field)) {
            Some(field) => Err(not_of_tenant(field, api.mask.fields())),
            None => Ok(&before - &wanted),
        }
    });
    Ok(shown(&api, &*redacted.await?))
}

/// What can be redacted.
async fn named(headers: &HeaderMap, content: axum::body::Body) -> Answer<BTreeSet<String>> {
    let fields = asked(headers, content).await?;
    Ok(names_of_fields(fields.iter().map(String::as_str), Code::BadRequest)?)
}

async fn asked(headers: &HeaderMap, content: axum::body::Body) -> Answer<Vec<String>> {
    let bytes = body::read(headers, content, Limit::SMALL).await?;
    let RedactedFields { fields } = body::json(&bytes, Code::BadRequest)?;
    Ok(fields)
}

fn not_of_tenant(field: &str, of_server: &BTreeSet<String>) -> Error {
    let field_shown = field.escape_debug();
    match of_server.contains(field) {
        true => Error::new(Code::BadRequest, format!("`{field_shown}` is redacted by whoever runs the server"))
            .hint("no tenant can take that back"),
        false => Error::new(Code::BadRequest, format!("`{field_shown}` is not among the fields of this tenant"))
            .hint("trackway redact show    # lists them"),
    }
}

fn shown(api: &Api, redacted: &Redacted) -> Json<Redaction> {
    let names = |fields: &BTreeSet<String>| fields.iter().cloned().collect();
    Json(Redaction { fields: names(&redacted.fields()), server_fields: names(api.mask.fields()) })
}
