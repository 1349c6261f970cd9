//! Every path, who may ask for it, and the OpenAPI document of them all.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, watch};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Refusal;
use super::{
    Door, children, components, control, deployments, entities, events, health, journal, promises, questions, replay,
    runs, signals, states, store, stream, updates,
};
use crate::Code;
use crate::host::Host;

/// Uploads that are read or compiled at once; each may hold its bytes in memory.
const UPLOADS_AT_ONCE: usize = 4;
/// Replays at once: each keeps a core busy.
const REPLAYS_AT_ONCE: usize = 2;
/// Checks and backups of the whole store at once: each reads all of it.
const WHOLE_STORE_AT_ONCE: usize = 1;
/// The one path that needs no key.
const OPEN_PATH: &str = "/v1/health";

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    pub host: Arc<Host>,
    pub uploads: Arc<Semaphore>,
    pub replays: Arc<Semaphore>,
    pub whole_store: Arc<Semaphore>,
    /// True when streams and waits are to end.
    pub stopping: watch::Receiver<bool>,
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

fn paths() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::openapi))
        .routes(routes!(components::upload))
        .routes(routes!(components::get))
        .routes(routes!(deployments::list))
        .routes(routes!(deployments::get, deployments::deploy))
        .routes(routes!(deployments::promote))
        .routes(routes!(deployments::rollback))
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
        .routes(routes!(store::check))
        .routes(routes!(store::backup))
}

/// The OpenAPI document, as it is checked in.
pub fn openapi() -> String {
    let (_, document) = paths().split_for_parts();
    let mut text = document.to_pretty_json().expect("the document holds only text and numbers");
    text.push('\n');
    text
}

pub fn router(host: Arc<Host>, door: Door, stopping: watch::Receiver<bool>) -> Router {
    let api = Api {
        host,
        uploads: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)),
        replays: Arc::new(Semaphore::new(REPLAYS_AT_ONCE)),
        whole_store: Arc::new(Semaphore::new(WHOLE_STORE_AT_ONCE)),
        stopping,
    };
    let (router, _) = paths().split_for_parts();
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        .layer(from_fn_with_state(Arc::new(door), guard))
        .with_state(api)
}

/// Lets in who may ask, masks what nobody is to see, and answers for a handler that panicked.
async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if request.uri().path() != OPEN_PATH {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        if let Err(error) = door.keys.check(header(header::AUTHORIZATION), header(header::HOST)) {
            return Refusal::from(error).into_response();
        }
    }
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let answered =
        AssertUnwindSafe(async { door.mask.apply(&path, next.run(request).await).await }).catch_unwind().await;
    let response = answered
        .unwrap_or_else(|_| Refusal::new(Code::Internal, "a bug in the server ended this request").into_response());
    tracing::debug!(%method, path, status = response.status().as_u16(), elapsed = ?began.elapsed(), "answered");
    response
}

async fn no_such_path(request: Request) -> Refusal {
    let why = format!("there is no path {}", request.uri().path());
    Refusal::new(Code::NoSuchPath, why).hint("GET /v1/openapi.json lists them all")
}

async fn wrong_method(request: Request) -> Refusal {
    let why = format!("{} does not take {}", request.uri().path(), request.method());
    Refusal::new(Code::BadRequest, why).status(StatusCode::METHOD_NOT_ALLOWED)
}
