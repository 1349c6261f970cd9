//! Whether the server is there and takes work, and what it can be asked.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::model::{Health, HealthStatus};
use super::routes::{self, Common};
use crate::host::Readiness;

/// Whether the server takes work. Needs no key.
#[utoipa::path(get, operation_id = "get_health", path = "/v1/health", tag = "server", security(()), responses((status = 200, body = Health)))]
pub async fn health(State(common): State<Common>) -> Json<Health> {
    let health = common.host.health();
    let status = match health.readiness {
        Readiness::Ready => HealthStatus::Ready,
        Readiness::Stopping => HealthStatus::Stopping,
    };
    Json(Health { status, version: env!("CARGO_PKG_VERSION").to_owned(), epoch: health.epoch.0 })
}

/// This document.
#[utoipa::path(
    get,
    operation_id = "get_openapi",
    path = "/v1/openapi.json",
    tag = "server",
    responses((status = 200, body = serde_json::Value, content_type = "application/json"))
)]
pub async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], routes::openapi())
}
