//! Replaying a run for whoever asks.

use axum::Json;

use super::body::Asked;
use super::found::Found;
use super::model::{Problem, Replay, ReplayReport};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::view;
use crate::Code;

/// Re-executes a run from its journal and compares. Nothing leaves the host. A divergence is an
/// answer, not an error.
#[utoipa::path(
    post,
    operation_id = "replay_run",
    path = "/v1/runs/{id}/replay",
    tag = "runs",
    params(("id" = String, Path)),
    request_body = Option<Replay>,
    responses(
        (status = 200, body = ReplayReport),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Others are going on."),
    )
)]
pub async fn replay(
    api: Api,
    Found(head): Found,
    Asked { body: asked, .. }: Asked<Replay>,
) -> Answer<Json<ReplayReport>> {
    let permit = api.replays.try_acquire();
    let _permit = permit.map_err(|_| Refusal::new(Code::Overloaded, "other replays are going on").hint("try again"))?;
    let report = api.host.replay(head.run, asked.component).await?;
    Ok(Json(view::replay(&head, asked.component, report)))
}
