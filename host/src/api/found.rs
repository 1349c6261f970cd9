//! The run that a path names: by its id, the beginning of one, or `@last`. It reads its head and
//! nothing else.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use trackway_replay::Head;

use super::problem::{Answer, Refusal};
use super::routes::Api;
use crate::Code;

/// What `{id}` of the path stands for. No such run, or several, end the request.
pub struct Found(pub Head);

impl FromRequestParts<Api> for Found {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Answer<Found> {
        let id = Path::<String>::from_request_parts(parts, api).await;
        let Path(id) = id.map_err(|rejection| Refusal::new(Code::BadRequest, rejection.body_text()))?;
        Ok(Found(api.host.find(&id).await?))
    }
}
