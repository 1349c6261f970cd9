//! Promises of runs, by their tokens.

use axum::Json;
use axum::body::Body;
use axum::http::HeaderMap;
use trackway_replay::{Failure, Outcome, is_code};

use super::body::{self, Limit};
use super::found::Token;
use super::model::{self, Problem};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::signals::VALUE;
use crate::Code;
use crate::host::{Promise, SettleRequest, Settlement, Standing};

/// The code of a rejection that brings none.
const REJECTED: &str = "REJECTED";

/// What became of a promise so far.
#[utoipa::path(
    get,
    operation_id = "get_promise",
    path = "/v1/promises/{token}",
    tag = "promises",
    params(("token" = String, Path)),
    responses(
        (status = 200, body = model::Promise),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(api: Api, Token(token): Token) -> Answer<Json<model::Promise>> {
    Ok(Json(view(&api.host.promise(&token).await?)))
}

/// Resolves a promise, once: the body is the value, any JSON. The same value again is answered in the same way.
#[utoipa::path(
    post,
    operation_id = "resolve_promise",
    path = "/v1/promises/{token}/resolve",
    tag = "promises",
    params(("token" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<serde_json::Value>,
    responses(
        (status = 200, body = model::Promise),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It was settled before \
            with something else, its time is over, nobody waits for it any more, or the run has ended."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "The run's inbox is full."),
    )
)]
pub async fn resolve(api: Api, Token(token): Token, headers: HeaderMap, content: Body) -> Answer<Json<model::Promise>> {
    let idempotency_key = body::idempotency_key(&headers)?;
    let bytes = body::read(&headers, content, VALUE).await?;
    let with = Settlement::Resolved(body::value(&bytes)?);
    drop(bytes);
    let settled = api.host.settle(SettleRequest { token, with, idempotency_key }).await?;
    Ok(Json(view(&settled)))
}

/// Rejects a promise, once: whoever awaits it gets this failure. The same failure again is answered in the same way.
#[utoipa::path(
    post,
    operation_id = "reject_promise",
    path = "/v1/promises/{token}/reject",
    tag = "promises",
    params(("token" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<model::Rejection>,
    responses(
        (status = 200, body = model::Promise),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "As for resolve."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "The run's inbox is full."),
    )
)]
pub async fn reject(api: Api, Token(token): Token, headers: HeaderMap, content: Body) -> Answer<Json<model::Promise>> {
    let idempotency_key = body::idempotency_key(&headers)?;
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let given = match bytes.is_empty() {
        true => None,
        false => body::json::<Option<model::Rejection>>(&bytes, Code::InputNotJson)?,
    };
    let with = Settlement::Rejected(failure(given.unwrap_or_default())?);
    let settled = api.host.settle(SettleRequest { token, with, idempotency_key }).await?;
    Ok(Json(view(&settled)))
}

fn failure(given: model::Rejection) -> Answer<Failure> {
    let model::Rejection { code, message, details } = given;
    let code = code.unwrap_or_else(|| REJECTED.to_owned());
    if !is_code(&code) {
        return Err(Refusal::new(Code::BadRequest, "`code` is 1 to 64 of `A-Z 0-9 _`"));
    }
    let message = if message.is_empty() { "the promise was rejected".to_owned() } else { message };
    Ok(Failure { details, ..Failure::permanent(&code, message) })
}

fn view(promise: &Promise) -> model::Promise {
    let standing = match &promise.standing {
        Standing::Open => "open",
        Standing::Settled(settled) => match (&settled.request, &settled.outcome) {
            (None, _) => "expired",
            (Some(_), Outcome::Succeeded(_)) => "resolved",
            (Some(_), Outcome::Failed(_)) => "rejected",
        },
        Standing::GivenUp => "given up",
        Standing::RunEnded => "run ended",
    };
    model::Promise {
        run: promise.run,
        step: promise.step.0,
        name: promise.name.to_string(),
        made_at: promise.made.into(),
        due_at: promise.due.map(Into::into),
        standing: standing.to_owned(),
    }
}
