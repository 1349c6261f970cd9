//! Runs: starting, finding, waiting for, cancelling and reading them.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{EffectVerdict, Head, RunId, StepId, Timestamp, Value};
use trackway_storage::RunQuery;
use utoipa::IntoParams;

use super::body::{self, Asked, Limit, Params};
use super::found::{Found, FoundDetail};
use super::model::{
    Cancel, EffectWord, LogPage, Problem, Retried, Retry, Run, RunPage, Start, Started, Terminate, Trace,
};
use super::problem::{Answer, Refusal};
use super::routes::Api;
use super::time::{BadTime, Time};
use super::view;
use crate::Code;
use crate::host::{Growth, Held, RetryRequest, StartRequest};

/// An input of the largest size, with what stands around it.
const START: Limit = Limit { max_bytes: Value::MAX_BYTES + (64 << 10), code: Code::InputTooLarge };
/// Proxies end what is silent for longer; a client asks again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);
const RUNS_DEFAULT: usize = 50;
const RUNS_MAX: usize = 500;
const LINES_DEFAULT: usize = 500;
const LINES_MAX: usize = 5_000;
/// Of a trace on its way out.
const PIECE_BYTES: usize = 64 << 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StartParams {
    /// Seconds to wait for the run to end, at most 60.
    wait: Option<f64>,
}

/// Starts a run, and answers when it is durable. With the same `Idempotency-Key` the same request
/// answers the same run.
#[utoipa::path(
    post,
    operation_id = "start_run",
    path = "/v1/runs",
    tag = "runs",
    params(StartParams, ("Idempotency-Key" = Option<String>, Header)),
    request_body = Start,
    responses(
        (status = 201, body = Started),
        (status = 200, body = Started, description = "The key had started this run before."),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The key started another \
            request, or several deployments have the workflow."),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Breaks the schema."),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "No run made room in time, \
            or the server is stopping: try again."),
    )
)]
pub async fn start(
    api: Api,
    Params(params): Params<StartParams>,
    headers: HeaderMap,
    content: Body,
) -> Answer<impl IntoResponse> {
    let patience = params.wait.map(patience).transpose()?;
    let idempotency_key = body::idempotency_key(&headers)?;
    let bytes = body::read(&headers, content, START).await?;
    let asked: Start = body::json(&bytes, Code::InputNotJson)?;
    drop(bytes);
    let input = asked.input.as_ref().map(|input| Arc::from(input.get()));
    let (run_timeout_ms, cancel_grace_ms) = (asked.run_timeout_ms, asked.cancel_grace_ms);
    let request = StartRequest { workflow: asked.workflow, input, idempotency_key, run_timeout_ms, cancel_grace_ms };
    let answer = api.host.start(request).await?;
    let run = match patience {
        Some(patience) => {
            let head = wait_for(&api, answer.run, patience).await?;
            detail(&api, head.run).await?
        }
        None => view::run(&api.host.head(answer.run).await?),
    };
    Ok(started(answer.existing, run))
}

/// What starting answers: whether the run was there before, where it is, and what it is.
pub(super) fn started(existing: bool, run: Run) -> impl IntoResponse {
    let status = if existing { StatusCode::OK } else { StatusCode::CREATED };
    let location = AppendHeaders([(header::LOCATION, format!("/v1/runs/{}", run.id))]);
    (status, location, Json(Started { existing, run }))
}

/// What is asked of a run is durable and happens soon; the run is answered as it is.
pub(super) type Accepted = (StatusCode, Json<Run>);

pub(super) async fn accepted(api: &Api, run: RunId) -> Answer<Accepted> {
    Ok((StatusCode::ACCEPTED, Json(view::run(&api.host.head(run).await?))))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    workflow: Option<String>,
    deployment: Option<String>,
    /// One status, or several with commas between them.
    status: Option<String>,
    /// Only runs that failed with this code, or are stuck on it.
    code: Option<String>,
    /// Only runs that were started at this time or later, as `2026-11-21T02:00:00Z`.
    since: Option<String>,
    /// Only runs that were started before this time.
    until: Option<String>,
    /// Only runs whose calls of models cost at least so many billionths of a dollar by now.
    min_cost_nanousd: Option<u64>,
    /// At most 500; 50 if absent.
    limit: Option<usize>,
    /// Of the page before.
    cursor: Option<String>,
}

/// Lists runs, the newest first.
#[utoipa::path(get, operation_id = "list_runs", path = "/v1/runs", tag = "runs", params(ListParams), responses((status = 200, body = RunPage)))]
pub async fn list(api: Api, Params(params): Params<ListParams>) -> Answer<Json<RunPage>> {
    let status = params.status.as_deref().map_or(Ok(Vec::new()), view::statuses)?;
    let before = params.cursor.map(|cursor| cursor.parse::<RunId>().map_err(|_| bad_cursor(&cursor))).transpose()?;
    let limit = params.limit.unwrap_or(RUNS_DEFAULT).clamp(1, RUNS_MAX);
    let query = RunQuery {
        workflow: params.workflow,
        deployment: params.deployment,
        status,
        code: params.code,
        since: params.since.map(time_of).transpose()?,
        until: params.until.map(time_of).transpose()?,
        min_cost_nanousd: params.min_cost_nanousd,
        before,
        from: None,
        // One more says whether there is another page.
        limit: limit + 1,
    };
    let mut heads = api.host.list(query).await?;
    let more = heads.len() > limit;
    heads.truncate(limit);
    let cursor = heads.last().filter(|_| more).map(|head| head.run.to_string());
    Ok(Json(RunPage { runs: heads.iter().map(view::run).collect(), cursor }))
}

/// One run, with input and output or failure.
#[utoipa::path(
    get,
    operation_id = "get_run",
    path = "/v1/runs/{id}",
    tag = "runs",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "Several runs fit."),
    )
)]
pub async fn get(FoundDetail(detail): FoundDetail) -> Json<Run> {
    Json(view::detail(&detail))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitParams {
    /// Seconds to wait, at most 60, which is also the default.
    timeout: Option<f64>,
}

/// Waits for a run to end or to be stuck; answers it as it is when the time is up.
#[utoipa::path(
    get,
    operation_id = "wait_for_run",
    path = "/v1/runs/{id}/wait",
    tag = "runs",
    params(("id" = String, Path), WaitParams),
    responses((status = 200, body = Run), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn wait(api: Api, Found(head): Found, Params(params): Params<WaitParams>) -> Answer<Json<Run>> {
    let patience = patience_of(&params)?;
    let head = wait_for(&api, head.run, patience).await?;
    detail(&api, head.run).await.map(Json)
}

async fn detail(api: &Api, run: RunId) -> Answer<Run> {
    Ok(view::detail(&api.host.detail(run).await?))
}

async fn wait_for(api: &Api, run: RunId, patience: Duration) -> Answer<Head> {
    tokio::select! {
        head = api.host.wait(run, patience) => Ok(head?),
        () = api.stopped() => Ok(api.host.head(run).await?),
    }
}

pub(super) fn patience_of(params: &WaitParams) -> Answer<Duration> {
    params.timeout.map_or(Ok(WAIT_MAX), patience)
}

pub(super) fn patience(seconds: f64) -> Answer<Duration> {
    self::seconds(seconds).map(|patience| patience.min(WAIT_MAX))
}

pub(super) fn seconds(seconds: f64) -> Answer<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Refusal::new(Code::BadRequest, format!("`{seconds}` is no number of seconds")))
}

/// Asks a run to cancel. The workflow is told once and may clean up, until the host ends the run.
#[utoipa::path(
    post,
    operation_id = "cancel_run",
    path = "/v1/runs/{id}/cancel",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<Cancel>,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn cancel(api: Api, Found(head): Found, Asked { key, body: asked }: Asked<Cancel>) -> Answer<Accepted> {
    api.host.cancel(head.run, &asked.reason, asked.grace_ms, key.as_deref()).await?;
    accepted(&api, head.run).await
}

/// Asks for the next attempt of steps that wait for a person, or for their retry.
#[utoipa::path(
    post,
    operation_id = "retry_run",
    path = "/v1/runs/{id}/retry",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<Retry>,
    responses(
        (status = 202, body = Retried),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended, or has \
            nothing to try again."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn retry(
    api: Api,
    Found(head): Found,
    Asked { key, body: asked }: Asked<Retry>,
) -> Answer<(StatusCode, Json<Retried>)> {
    let verdict = match (asked.effect, asked.answer) {
        (Some(EffectWord::Answer), Some(answer)) => Some(EffectVerdict::Answer(Value::inline(answer.get()))),
        (Some(EffectWord::Repeat), None) => Some(EffectVerdict::Repeat),
        (Some(EffectWord::Fail), None) => Some(EffectVerdict::Fail),
        (None, None) => None,
        (_, answer) => {
            let why = match answer {
                Some(_) => "`answer` goes with `effect` as `answer`",
                None => "`effect` as `answer` needs an `answer`",
            };
            return Err(Refusal::new(Code::BadRequest, why));
        }
    };
    let request = RetryRequest { step: asked.step.map(StepId), with: asked.with, verdict };
    let steps = api.host.retry(head.run, request, key.as_deref()).await?;
    let run = view::run(&api.host.head(head.run).await?);
    Ok((StatusCode::ACCEPTED, Json(Retried { steps: steps.into_iter().map(|step| step.0).collect(), run })))
}

/// Ends a run at once: its workflow is not asked and cannot clean up. Works on any run that has not
/// ended, also on one that computes for ever or is stuck. Answers when it is done, or 2 s later.
#[utoipa::path(
    post,
    operation_id = "terminate_run",
    path = "/v1/runs/{id}/terminate",
    tag = "runs",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = Option<Terminate>,
    responses(
        (status = 202, body = Run),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It has ended."),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Its inbox is full."),
    )
)]
pub async fn terminate(api: Api, Found(head): Found, Asked { key, body: asked }: Asked<Terminate>) -> Answer<Accepted> {
    api.host.terminate(head.run, &asked.reason, key.as_deref()).await?;
    accepted(&api, head.run).await
}

/// The trace of what is durable by now.
#[utoipa::path(
    get,
    operation_id = "get_trace",
    path = "/v1/runs/{id}/trace",
    tag = "runs",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Trace),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "Others look at so much \
            that there is no memory for this."),
    )
)]
pub async fn trace(api: Api, Found(head): Found) -> Answer<Response> {
    let Growth { position, head, trace, mut held, .. } = api.host.trace(head.run).await?;
    let text = serde_json::to_vec(&Trace { run: view::run(&head), position: position.0, trace })
        .map_err(|error| Refusal::new(Code::Internal, format!("a trace could not be written: {error}")))?;
    held.keep(text.len());
    let headers =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_LENGTH, text.len().to_string())];
    Ok((headers, Body::from_stream(unfold((Bytes::from(text), held), next_piece))).into_response())
}

/// In pieces, so that its room is given back when about all of it has gone out.
async fn next_piece((mut text, held): (Bytes, Held)) -> Option<(io::Result<Bytes>, (Bytes, Held))> {
    let piece = text.split_to(text.len().min(PIECE_BYTES));
    (!piece.is_empty()).then_some((Ok(piece), (text, held)))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogParams {
    /// At most 5,000; 500 if absent.
    limit: Option<usize>,
    /// Of the page before, or the id of a line: go on after it.
    cursor: Option<String>,
}

/// What workflow and functions logged, in the order of the steps.
#[utoipa::path(
    get,
    operation_id = "get_logs",
    path = "/v1/runs/{id}/logs",
    tag = "runs",
    params(("id" = String, Path), LogParams),
    responses((status = 200, body = LogPage), (status = 404, body = Problem, content_type = "application/problem+json"))
)]
pub async fn logs(api: Api, Found(head): Found, Params(params): Params<LogParams>) -> Answer<Json<LogPage>> {
    let after = params.cursor.map(|cursor| view::log_key(&cursor).ok_or_else(|| bad_cursor(&cursor))).transpose()?;
    let limit = params.limit.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX);
    let mut lines = api.host.logs(head.run, after, limit + 1).await?;
    let more = lines.len() > limit;
    lines.truncate(limit);
    let lines: Vec<_> = lines.iter().map(view::log_line).collect();
    let cursor = lines.last().filter(|_| more).map(|line| line.id.clone());
    Ok(Json(LogPage { lines, cursor }))
}

fn time_of(text: String) -> Answer<Timestamp> {
    let time: Time = text.parse().map_err(|error: BadTime| Refusal::new(Code::BadRequest, error.to_string()))?;
    Ok(time.0)
}

pub(super) fn bad_cursor(cursor: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("`{cursor}` is no cursor of this list"))
}
