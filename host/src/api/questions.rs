//! Questions that runs ask people.

use axum::Json;
use axum::body::Body;
use axum::http::HeaderMap;
use serde::Deserialize;
use std::sync::Arc;
use trackway_replay::{QuestionName, RunId};
use utoipa::IntoParams;

use super::body::{self, Limit, Params};
use super::found::{Asked, Found};
use super::model::{self, Problem, Questions};
use super::problem::Answer;
use super::routes::Api;
use super::runs::bad_cursor;
use crate::Code;
use crate::host::{AnswerRequest, Question};

const QUESTIONS_DEFAULT: usize = 50;
const QUESTIONS_MAX: usize = 500;

/// What names one, in the path.
const QUESTION: &str = "`3` is that of step 3, `3.2` the one that the function of step 3 asks as its effect 2.";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// At most 500; 50 if absent.
    limit: Option<usize>,
    /// Of the page before.
    cursor: Option<String>,
}

/// Lists what people are asked and have not answered, the newest run first.
#[utoipa::path(get, operation_id = "list_questions", path = "/v1/questions", tag = "questions", params(ListParams), responses((status = 200, body = Questions)))]
pub async fn list(api: Api, Params(params): Params<ListParams>) -> Answer<Json<Questions>> {
    let before = params.cursor.map(|cursor| place(&cursor).ok_or_else(|| bad_cursor(&cursor))).transpose()?;
    let limit = params.limit.unwrap_or(QUESTIONS_DEFAULT).clamp(1, QUESTIONS_MAX);
    let page = api.host.questions(before, limit).await?;
    let cursor = page.more.map(|(run, name)| format!("{run}.{name}"));
    Ok(Json(Questions { questions: page.questions.iter().map(view).collect(), cursor }))
}

/// Where a page ended, from its cursor.
fn place(cursor: &str) -> Option<(RunId, QuestionName)> {
    let (run, name) = cursor.split_once('.')?;
    Some((run.parse().ok()?, name.parse().ok()?))
}

/// One question, open or not. `id` names the run.
#[utoipa::path(
    get,
    operation_id = "get_question",
    path = "/v1/questions/{id}/{question}",
    tag = "questions",
    params(("id" = String, Path), ("question" = String, Path, description = QUESTION)),
    responses(
        (status = 200, body = model::Question),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(api: Api, Found(head): Found, Asked(question): Asked) -> Answer<Json<model::Question>> {
    Ok(Json(view(&api.host.question(head.run, question).await?)))
}

/// Answers a question, once. With the same `Idempotency-Key` the same answer is told again.
#[utoipa::path(
    post,
    operation_id = "answer_question",
    path = "/v1/questions/{id}/{question}/answer",
    tag = "questions",
    params(("id" = String, Path), ("question" = String, Path, description = QUESTION), ("Idempotency-Key" = Option<String>, Header)),
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
    api: Api,
    Found(head): Found,
    Asked(question): Asked,
    headers: HeaderMap,
    content: Body,
) -> Answer<Json<model::Question>> {
    let idempotency_key = body::idempotency_key(&headers)?;
    let bytes = body::read(&headers, content, Limit::SMALL).await?;
    let given: model::Answer = body::json(&bytes, Code::InputNotJson)?;
    let answer = Arc::from(given.answer.get());
    api.host.answer(AnswerRequest { run: head.run, question, answer, by: given.by, idempotency_key }).await?;
    Ok(Json(view(&api.host.question(head.run, question).await?)))
}

fn view(question: &Question) -> model::Question {
    let settled = question.settled.as_ref();
    let how = |is_answered: bool| if is_answered { "answered" } else { "expired" };
    model::Question {
        run: question.run,
        workflow: question.workflow.to_string(),
        step: question.id.name.step.0,
        effect: question.id.name.effect.map(|effect| effect.0),
        title: question.form.title.clone(),
        assignee: question.form.assignee.clone(),
        asked_at: question.asked.into(),
        due_at: question.due.map(Into::into),
        form: question.form.clone(),
        settled: settled.map(|settled| how(settled.request.is_some()).to_owned()),
        by: settled.and_then(|settled| settled.by.as_deref().map(str::to_owned)),
    }
}
