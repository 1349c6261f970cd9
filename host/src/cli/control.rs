//! What people do to runs: cancel, pause, resume, restart; one, or all that fit a filter. Those are
//! found page by page, the newest first, so runs that are started meanwhile are left alone, and however
//! many there are, none is missed and none is met twice. Decides nothing about a run.

use serde::Serialize;
use std::time::Duration;
use trackway_replay::{RunId, Status};

use super::Context;
use super::args::control::Which;
use super::client::{Client, RunsQuery};
use super::exit::{Done, Exit};
use super::output::{Format, Output, clean};
use super::run::fresh_key;
use super::runs::now;
use crate::api::model;
use crate::{Code, Error, Result};

/// The largest page that a server gives.
const PAGE_MAX: usize = 500;

/// What is done to a run.
#[derive(Debug, Clone)]
pub enum Act {
    Cancel { reason: String, grace: Option<Duration> },
    Terminate { reason: String },
    Pause { reason: String },
    Resume,
    Remove,
    Restart { from_step: Option<u32> },
    Move { to: String },
}

/// What became of one of many.
#[derive(Debug, Serialize)]
struct Outcome {
    run: RunId,
    workflow: String,
    deployment: String,
    /// Before it was done.
    status: Status,
    done: bool,
    /// The new run of a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_run: Option<RunId>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub async fn control(act: Act, which: Which, context: &Context) -> Done {
    let client = context.client(which.connect.clone())?;
    let Some(run) = &which.run else { return all(&act, which, &client, &context.output).await };
    let run = client.run(run).await?;
    let (run, said) = match &act {
        _ if which.dry_run => {
            let run = match &act {
                // Whether it can be is for the server to say.
                Act::Move { to } => client.move_run(run.id, &model::Move { to: to.clone(), dry_run: true }).await?,
                _ => run,
            };
            let said = format!("{} would be {}\n", run.id, act.past());
            (run, said)
        }
        Act::Restart { .. } => {
            let new = act.on(&client, run.id).await?;
            let said = format!("{}\n", new.id);
            (new, said)
        }
        Act::Terminate { .. } => {
            let run = act.on(&client, run.id).await?;
            let word = if run.status.has_ended() { "is terminated" } else { "is being terminated" };
            let said = format!("{} {word}\n", run.id);
            (run, said)
        }
        Act::Move { to } => {
            let run = act.on(&client, run.id).await?;
            let word = if run.deployment == *to { "is moved" } else { "is being moved" };
            let said = format!("{} {word} to {}\n", run.id, clean(to));
            (run, said)
        }
        Act::Remove => {
            client.remove(run.id).await?;
            let said = format!("{} is removed\n", run.id);
            (run, said)
        }
        Act::Cancel { .. } | Act::Pause { .. } | Act::Resume => {
            let said = format!("{} is {}\n", run.id, act.past());
            (act.on(&client, run.id).await?, said)
        }
    };
    context.output.one(&run, &run.id.to_string(), || said)?;
    Ok(Exit::Ok)
}

async fn all(act: &Act, which: Which, client: &Client, output: &Output) -> Done {
    let mut query = RunsQuery { limit: PAGE_MAX, ..RunsQuery::of(which.filter, now()) };
    if query.status.is_empty() {
        query.status = act.usual();
    }
    let mut results = Vec::new();
    let (mut done, mut not_done) = (0_u64, 0_u64);
    loop {
        let page = client.runs(&query).await?;
        for run in page.runs {
            let result = match (act, which.dry_run) {
                // Whether it can be is for the server to say.
                (Act::Move { to }, true) => would_move(client, run.id, to).await?,
                (_, true) => Ok(None),
                (_, false) => act.on_one_of_many(client, run.id).await?,
            };
            *(if result.is_ok() { &mut done } else { &mut not_done }) += 1;
            let result = Outcome {
                run: run.id,
                workflow: run.workflow,
                deployment: run.deployment,
                status: run.status,
                done: result.is_ok() && !which.dry_run,
                new_run: result.as_ref().ok().copied().flatten(),
                error: result.err().map(|error| error.to_string()),
            };
            match output.format {
                Format::Text => output.raw(&line(act, &result, which.dry_run))?,
                Format::Jsonl => output.jsonl(&result)?,
                Format::Id => output.line(&result.new_run.unwrap_or(result.run).to_string())?,
                Format::Json => results.push(result),
            }
        }
        query.cursor = page.cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    if output.format == Format::Json {
        output.many(&results, |result| result.run.to_string(), String::new)?;
    }
    let would = if which.dry_run { " would be" } else { "" };
    output.say(&format!("{}{would} {}", counted(done), act.past()));
    if not_done > 0 {
        output.say(&output.talk_paint.yellow(&format!("{} not {}", counted(not_done), act.past())));
    }
    Ok(if not_done == 0 { Exit::Ok } else { Exit::Conflict })
}

impl Act {
    async fn on(&self, client: &Client, run: RunId) -> Result<model::Run> {
        match self {
            Act::Cancel { reason, grace } => {
                let grace_ms = grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
                client.cancel(run, &model::Cancel { reason: reason.clone(), grace_ms }).await
            }
            Act::Terminate { reason } => client.terminate(run, &model::Terminate { reason: reason.clone() }).await,
            Act::Pause { reason } => client.pause(run, &model::Pause { reason: reason.clone() }).await,
            Act::Resume => client.resume(run).await,
            Act::Remove => {
                let gone = client.run(&run.to_string()).await?;
                client.remove(run).await?;
                Ok(gone)
            }
            Act::Restart { from_step } => {
                let restart = model::Restart { from_step: *from_step };
                Ok(client.restart(run, &restart, &fresh_key()?).await?.run)
            }
            Act::Move { to } => client.move_run(run, &model::Move { to: to.clone(), dry_run: false }).await,
        }
    }

    /// The new run, where there is one. What is wrong with one run is no reason to leave out the rest;
    /// what is wrong with the server is.
    async fn on_one_of_many(&self, client: &Client, run: RunId) -> Result<Result<Option<RunId>>> {
        told_apart(self.on(client, run).await.map(|answer| (answer.id != run).then_some(answer.id)))
    }

    fn past(&self) -> &'static str {
        match self {
            Act::Cancel { .. } => "asked to cancel",
            Act::Terminate { .. } => "terminated",
            Act::Pause { .. } => "asked to pause",
            Act::Resume => "asked to resume",
            Act::Remove => "removed",
            Act::Restart { .. } => "restarted",
            Act::Move { .. } => "moved",
        }
    }

    /// To which runs it is done where nobody says it.
    fn usual(&self) -> Vec<String> {
        let statuses: &[Status] = match self {
            Act::Cancel { .. } | Act::Terminate { .. } | Act::Move { .. } => {
                &[Status::Queued, Status::Running, Status::Sleeping, Status::Waiting, Status::Stuck, Status::Paused]
            }
            Act::Pause { .. } => &[Status::Queued, Status::Running, Status::Sleeping, Status::Waiting],
            Act::Resume => &[Status::Paused],
            Act::Restart { .. } => &[Status::Failed],
            Act::Remove => &[Status::Succeeded, Status::Failed, Status::Cancelled],
        };
        statuses.iter().map(|status| status.name().to_owned()).collect()
    }
}

async fn would_move(client: &Client, run: RunId, to: &str) -> Result<Result<Option<RunId>>> {
    let asked = model::Move { to: to.to_owned(), dry_run: true };
    told_apart(client.move_run(run, &asked).await.map(|_| None))
}

fn told_apart<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if !is_about_the_run(&error) => Err(error),
        result => Ok(result),
    }
}

fn is_about_the_run(error: &Error) -> bool {
    !matches!(
        error.code,
        Code::Unreachable | Code::Unauthorized | Code::Stopping | Code::DiskFull | Code::StoreClosed | Code::Internal
    )
}

fn line(act: &Act, result: &Outcome, dry_run: bool) -> String {
    let name = clean(&format!("{}/{}", result.deployment, result.workflow));
    let what = match (&result.error, result.new_run) {
        (Some(error), _) => format!("not {}: {}", act.past(), clean(error)),
        (None, Some(new)) => format!("{} as {new}", act.past()),
        (None, None) if dry_run => format!("would be {}", act.past()),
        (None, None) => act.past().to_owned(),
    };
    format!("{}  {name}  {}  {what}\n", result.run, result.status.name())
}

fn counted(count: u64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}
