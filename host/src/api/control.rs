//! What people do to runs beside starting and ending them: holding them, and starting them anew.

use axum::extract::State;
use axum::response::IntoResponse;
use trackway_replay::StepId;

use super::body::Asked;
use super::found::Found;
use super::model::{Pause, Problem, Restart, Resume, Run, Started};
use super::problem::Answer;
use super::routes::Api;
use super::runs::{Accepted, accepted, started};
use super::view;

/// Holds a run: it begins nothing and gets nothing until it is resumed or cancelled. What is under way
/// comes to its end.
#[utoipa::path(
    post,
    operation_id = "pause_run",
    path = "/v1/runs/{id}/pause",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Pause,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn pause(
    State(api): State<Api>,
    Found(head): Found,
    Asked { key, body: asked }: Asked<Pause>,
) -> Answer<Accepted> {
    api.host.pause(head.run, &asked.reason, key.as_deref()).await?;
    accepted(&api, head.run).await
}

/// Lets a held run go on where it was.
#[utoipa::path(
    post,
    operation_id = "resume_run",
    path = "/v1/runs/{id}/resume",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Resume,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn resume(
    State(api): State<Api>,
    Found(head): Found,
    Asked { key, body: Resume {} }: Asked<Resume>,
) -> Answer<Accepted> {
    api.host.resume(head.run, key.as_deref()).await?;
    accepted(&api, head.run).await
}

/// Starts a run anew, or from one of its steps; the run itself stays as it is. Answers when the new
/// one is durable. With the same `Idempotency-Key` the same request answers the same new run.
#[utoipa::path(
    post,
    operation_id = "restart_run",
    path = "/v1/runs/{id}/restart",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Restart,
    responses(
        (status = 201, body = Started),
        (status = 200, body = Started, description = "The key had started this run before."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has no such step, or \
            the key started another request."),
    )
)]
pub async fn restart(
    State(api): State<Api>,
    Found(head): Found,
    Asked { key, body: asked }: Asked<Restart>,
) -> Answer<impl IntoResponse> {
    let answer = api.host.restart(head.run, asked.from_step.map(StepId), key).await?;
    let run = view::run(&api.host.head(answer.run).await?);
    Ok(started(answer.existing, run))
}
