//! Questions that runs ask people.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use std::sync::Arc;

use super::body::{self, Limit};
use super::found::{Found, Step};
use super::model::{self, Problem, Questions};
use super::problem::Answer;
use super::routes::Api;
use crate::Code;
use crate::host::{AnswerRequest, Question};

/// Lists what runs wait for a person to answer.
#[utoipa::path(get, operation_id = "list_questions", path = "/v1/questions", tag = "questions", responses((status = 200, body = Questions)))]
pub async fn list(State(api): State<Api>) -> Answer<Json<Questions>> {
    let questions = api.host.questions().await?;
    Ok(Json(Questions { questions: questions.iter().map(view).collect() }))
}

/// One question, open or not. `id` names the run.
#[utoipa::path(
    get,
    operation_id = "get_question",
    path = "/v1/questions/{id}/{step}",
    tag = "questions",
    params(("id" = String, Path), ("step" = u32, Path)),
    responses(
        (status = 200, body = model::Question),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(State(api): State<Api>, Found(head): Found, Step(step): Step) -> Answer<Json<model::Question>> {
    Ok(Json(view(&api.host.question(head.run, step).await?)))
}

/// Answers a question, once. With the same `Idempotency-Key` the same answer is told again.
#[utoipa::path(
    post,
    operation_id = "answer_question",
    path = "/v1/questions/{id}/{step}/answer",
    tag = "questions",
    params(("id" = String, Path), ("step" = u32, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = model::Answer,
    responses(
        (status = 200, body = model::Question),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "It was answered before, \
            its time is over, or the run has ended."),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Does not fit the form."),
    )
)]
pub async fn answer(
    State(api): State<Api>,
    Found(head): Found,
    Step(step): Step,
    headers: HeaderMap,
    content: Body,
) -> Answer<Json<model::Question>> {
    let idempotency_key = body::idempotency_key(&headers)?;
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let given: model::Answer = body::json(&bytes, Code::InputNotJson)?;
    let answer = Arc::from(given.answer.get());
    api.host.answer(AnswerRequest { run: head.run, step, answer, by: given.by, idempotency_key }).await?;
    Ok(Json(view(&api.host.question(head.run, step).await?)))
}

fn view(question: &Question) -> model::Question {
    let settled = question.settled.as_ref();
    let how = |is_answered: bool| if is_answered { "answered" } else { "expired" };
    model::Question {
        run: question.run,
        workflow: question.workflow.to_string(),
        step: question.step.0,
        title: question.form.title.clone(),
        assignee: question.form.assignee.clone(),
        asked_at: question.asked.into(),
        due_at: question.due.map(Into::into),
        form: question.form.clone(),
        settled: settled.map(|settled| how(settled.request.is_some()).to_owned()),
        by: settled.and_then(|settled| settled.by.as_deref().map(str::to_owned)),
    }
}
