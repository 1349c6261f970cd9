//! What people do to runs beside starting and ending them: holding them, and starting them anew.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use trackway_replay::StepId;

use super::body::Asked;
use super::found::Found;
use super::model::{Move, Pause, Problem, Restart, Resume, Run, Started};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::runs::{Accepted, accepted, started};
use super::view;
use crate::Code;
use crate::host::MoveRequest;

/// Holds a run: it begins nothing and gets nothing until it is resumed or cancelled. What is under way
/// comes to its end.
#[utoipa::path(
    post,
    operation_id = "pause_run",
    path = "/v1/runs/{id}/pause",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<Pause>,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn pause(api: Api, Found(head): Found, Asked { key, body: asked }: Asked<Pause>) -> Answer<Accepted> {
    api.host.pause(head.run, &asked.reason, key.as_deref()).await?;
    accepted(&api, head.run).await
}

/// Removes a run that has ended, for good: its journal, its values, its log lines and its idempotency key.
#[utoipa::path(
    delete,
    operation_id = "remove_run",
    path = "/v1/runs/{id}",
    tag = "runs",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has not ended, or \
            the run that started it has not read its end."),
    )
)]
pub async fn remove(api: Api, Found(head): Found) -> Answer<StatusCode> {
    api.host.remove(head.run).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a held run go on where it was.
#[utoipa::path(
    post,
    operation_id = "resume_run",
    path = "/v1/runs/{id}/resume",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<Resume>,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn resume(api: Api, Found(head): Found, Asked { key, body: Resume {} }: Asked<Resume>) -> Answer<Accepted> {
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
    request_body = Option<Restart>,
    responses(
        (status = 201, body = Started),
        (status = 200, body = Started, description = "The key had started this run before."),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has no such step, or \
            the key started another request."),
    )
)]
pub async fn restart(
    api: Api,
    Found(head): Found,
    Asked { key, body: asked }: Asked<Restart>,
) -> Answer<impl IntoResponse> {
    let answer = api.host.restart(head.run, asked.from_step.map(StepId), key).await?;
    let run = view::run(&api.host.head(answer.run).await?);
    Ok(started(answer.existing, run))
}

/// Lets a run go on with the current code of a deployment: also one that is stuck. That code is first held
/// against everything on record, with nothing leaving the host; where it does something else the run stays
/// as it is. Answers when the run was moved, or 10 s later when something under way keeps it from being so yet.
#[utoipa::path(
    post,
    operation_id = "move_run",
    path = "/v1/runs/{id}/move",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Move,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended, or the \
            code does something else than its journal says."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full, or \
            other replays are going on."),
    )
)]
pub async fn move_run(
    api: Api,
    Found(head): Found,
    Asked { key, body: Move { to, dry_run } }: Asked<Move>,
) -> Answer<Accepted> {
    let permit = api.replays.try_acquire();
    let _permit = permit.map_err(|_| Refusal::new(Code::Overloaded, "other replays are going on").hint("try again"))?;
    api.host.move_run(MoveRequest { run: head.run, to, dry_run, idempotency_key: key }).await?;
    accepted(&api, head.run).await
}
