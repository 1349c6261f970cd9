//! The store as a whole: looking at all of it, and taking a copy of it.

use axum::Json;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use std::io;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::model::{Binary, DataKeys, Problem, StoreReport};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;

/// Pieces of a backup that wait for a slow client; a piece is at most a component or a value.
const PIECES: usize = 16;

/// Reads everything that is stored and says what is not as it should be. Damage is an answer, not an
/// error. Takes as long as reading the data folder.
#[utoipa::path(
    post,
    operation_id = "check_store",
    path = "/v1/store/check",
    tag = "store",
    responses(
        (status = 200, body = StoreReport),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Another is going on."),
    )
)]
pub async fn check(api: Api) -> Answer<Json<StoreReport>> {
    let _permit = permit(&api)?;
    tokio::select! {
        report = api.host.check_store() => Ok(Json(view::store_report(report?))),
        () = api.stopped() => Err(Refusal::new(Code::Stopping, "the server is stopping")),
    }
}

/// A backup of everything, as a stream. What ends early is no backup: `trackway backup` and `trackway
/// restore` know.
#[utoipa::path(
    get,
    operation_id = "get_backup",
    path = "/v1/store/backup",
    tag = "store",
    responses(
        (status = 200, body = Binary, content_type = "application/octet-stream"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Another is going on."),
    )
)]
pub async fn backup(api: Api) -> Answer<Response> {
    let permit = permit(&api)?;
    let (sink, pieces) = mpsc::channel(PIECES);
    let (done, ended) = oneshot::channel();
    tokio::spawn(async move {
        let result = tokio::select! {
            result = api.host.backup(sink) => result.map_err(|error| error.to_string()),
            () = api.stopped() => Err("the server is stopping".to_owned()),
        };
        // Nobody listens where the client has gone.
        let _ = done.send(result);
    });
    let body = Body::from_stream(unfold(Some(Pieces { pieces, ended, _permit: permit }), next));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// The data keys of all sealed tenants, wrapped under the key of the server. They stand in no backup: what a backup holds of
/// a sealed tenant opens with both.
#[utoipa::path(
    get,
    operation_id = "get_data_keys",
    path = "/v1/store/data-keys",
    tag = "store",
    responses((status = 200, body = DataKeys))
)]
pub async fn data_keys(api: Api) -> Answer<Json<DataKeys>> {
    Ok(Json(DataKeys { data_keys: api.host.data_keys().await? }))
}

fn permit(api: &Api) -> Answer<OwnedSemaphorePermit> {
    let permit = api.whole_store.clone().try_acquire_owned();
    permit.map_err(|_| Refusal::new(Code::Overloaded, "another check or backup is going on").hint("try again"))
}

struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    ended: oneshot::Receiver<Result<(), String>>,
    _permit: OwnedSemaphorePermit,
}

/// An error cuts the stream off, so that its client learns of it.
async fn next(state: Option<Pieces>) -> Option<(io::Result<Bytes>, Option<Pieces>)> {
    let mut state = state?;
    if let Some(piece) = state.pieces.recv().await {
        return Some((Ok(piece), Some(state)));
    }
    match state.ended.await {
        Ok(Ok(())) => None,
        Ok(Err(why)) => {
            tracing::warn!(why, "a backup was not finished");
            Some((Err(io::Error::other(why)), None))
        }
        Err(_) => Some((Err(io::Error::other("the backup was given up")), None)),
    }
}
