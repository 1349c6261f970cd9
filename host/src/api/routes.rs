//! Every path, who may ask for it, and the OpenAPI document of them all.

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document;
use super::gate::{self, Gate};
use super::intake::Intake;
use super::problem::{Answer, Refusal};
use super::{
    Door, Mask, children, components, control, deployments, entities, events, health, identity, journal, policy,
    promises, questions, quotas, redaction, replay, runs, secrets, signals, states, store, stream, tenants, updates,
    usage,
};
use crate::Code;
use crate::host::Host;

/// Replays at once: each keeps a core busy.
const REPLAYS_AT_ONCE: usize = 2;
/// Checks and backups of the whole store at once: each reads all of it.
const WHOLE_STORE_AT_ONCE: usize = 1;
/// What one request may use: the host as its caller's tenant sees it. It is made at the door, for a route that says
/// who may ask for it; without it no handler does anything.
#[derive(Clone)]
pub struct Api {
    pub host: Arc<Host>,
    pub intake: Intake,
    pub replays: Arc<Semaphore>,
    pub whole_store: Arc<Semaphore>,
    pub mask: Mask,
    /// True when streams and waits are to end.
    pub stopping: watch::Receiver<bool>,
}

/// What the handlers share.
#[derive(Clone)]
pub struct Common {
    /// As the default tenant sees it.
    pub host: Arc<Host>,
    intake: Intake,
    replays: Arc<Semaphore>,
    whole_store: Arc<Semaphore>,
    mask: Mask,
    stopping: watch::Receiver<bool>,
}

impl Common {
    /// For one request of a caller who may ask.
    pub fn api(&self, host: Arc<Host>) -> Api {
        let Common { intake, replays, whole_store, mask, stopping, .. } = self.clone();
        Api { host, intake, replays, whole_store, mask, stopping }
    }
}

impl FromRequestParts<Common> for Api {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Common) -> Answer<Api> {
        let api = parts.extensions.get::<Api>().cloned();
        api.ok_or_else(|| Refusal::new(Code::Internal, "nobody said who may ask for this path"))
    }
}

impl Api {
    /// Resolves when streams and waits are to end.
    pub async fn stopped(&self) {
        // An error means that the server is gone, which is a stop as well.
        self.stopping.clone().wait_for(|stopping| *stopping).await.map(drop).unwrap_or_default();
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Trackway", description = "Durable workflows in a WebAssembly sandbox. Errors are \
        `application/problem+json` with a stable `code`. A run is named by its id, by the beginning of \
        one that fits no other, or by `@last`."),
    modifiers(&BearerKey),
    security(("key" = [])),
)]
struct Document;

struct BearerKey;

impl Modify for BearerKey {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

fn paths() -> OpenApiRouter<Common> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::openapi))
        .routes(routes!(components::list, components::upload))
        .routes(routes!(components::get, components::remove))
        .routes(routes!(deployments::list))
        .routes(routes!(deployments::get, deployments::deploy, deployments::remove))
        .routes(routes!(deployments::promote))
        .routes(routes!(deployments::rollback))
        .routes(routes!(policy::plan))
        .routes(routes!(policy::approve))
        .routes(routes!(policy::reject))
        .routes(routes!(policy::get, policy::set))
        .routes(routes!(redaction::get, redaction::set))
        .routes(routes!(redaction::add))
        .routes(routes!(redaction::remove))
        .routes(routes!(runs::start, runs::list))
        .routes(routes!(runs::get, control::remove))
        .routes(routes!(runs::wait))
        .routes(routes!(children::list))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::terminate))
        .routes(routes!(control::pause))
        .routes(routes!(control::resume))
        .routes(routes!(control::restart))
        .routes(routes!(control::move_run))
        .routes(routes!(runs::retry))
        .routes(routes!(signals::send))
        .routes(routes!(promises::get))
        .routes(routes!(promises::resolve))
        .routes(routes!(promises::reject))
        .routes(routes!(entities::list))
        .routes(routes!(entities::get, entities::set, entities::delete))
        .routes(routes!(updates::send))
        .routes(routes!(states::list))
        .routes(routes!(states::get))
        .routes(routes!(questions::list))
        .routes(routes!(questions::get))
        .routes(routes!(questions::answer))
        .routes(routes!(runs::trace))
        .routes(routes!(journal::value))
        .routes(routes!(runs::logs))
        .routes(routes!(events::events))
        .routes(routes!(stream::stream))
        .routes(routes!(journal::journal))
        .routes(routes!(replay::replay))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::remove))
        .routes(routes!(secrets::rotate))
        .routes(routes!(store::check))
        .routes(routes!(store::backup))
        .routes(routes!(store::data_keys))
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::delete))
        .routes(routes!(tenants::disable))
        .routes(routes!(tenants::enable))
        .routes(routes!(quotas::get, quotas::set))
        .routes(routes!(usage::get))
        .routes(routes!(identity::list, identity::create))
        .routes(routes!(identity::remove))
        .routes(routes!(identity::rotate))
        .routes(routes!(identity::audit))
}

/// The OpenAPI document, as it is checked in.
pub fn openapi() -> String {
    let (_, mut document) = paths().split_for_parts();
    document::complete(&mut document);
    let mut text = document.to_pretty_json().expect("the document holds only text and numbers");
    text.push('\n');
    text
}

pub fn router(host: Arc<Host>, door: Arc<Door>, stopping: watch::Receiver<bool>) -> Router {
    let common = Common {
        host,
        intake: Intake::default(),
        replays: Arc::new(Semaphore::new(REPLAYS_AT_ONCE)),
        whole_store: Arc::new(Semaphore::new(WHOLE_STORE_AT_ONCE)),
        mask: door.mask.clone(),
        stopping,
    };
    let (router, _) = paths().split_for_parts();
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        .layer(from_fn_with_state(Arc::new(Gate { door, common: common.clone() }), gate::pass))
        .with_state(common)
}

async fn no_such_path(request: Request) -> Refusal {
    let why = format!("there is no path {}", request.uri().path());
    Refusal::new(Code::NoSuchPath, why).hint("GET /v1/openapi.json lists them all")
}

async fn wrong_method(request: Request) -> Refusal {
    let why = format!("{} does not take {}", request.uri().path(), request.method());
    Refusal::new(Code::BadRequest, why).status(StatusCode::METHOD_NOT_ALLOWED)
}
