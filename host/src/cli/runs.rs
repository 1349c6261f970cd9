//! `trackway runs`, and the views of one run: trace, logs, replay.

use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use trackway_replay::trace::{Row, Shown, Trace, What};
use trackway_replay::{Digest, RunId, Status, StepId, Timestamp};

use crate::api::model;
use crate::{Code, Error, Result};

use super::client::{Client, RunsQuery};
use super::control::{Act, control};
use super::exit::{Done, Exit};
use super::follow::{Follower, until_interrupted};
use super::output::{Format, Output, clean};
use super::render::{self, trace::Look};
use super::run::{fresh_key, read_input};
use super::{Context, args, package, talk};

/// More is a list of its own, which the API gives page by page.
const CHILDREN_SHOWN_MAX: usize = 1_000;
/// Values that one step, or one whole trace, shows: more is nothing that a person reads.
const VALUES_MAX_BYTES: u64 = 64 << 20;
/// What the server gives at once.
const PAGE_MAX: usize = 100;

pub async fn runs(command: args::Runs, context: &Context) -> Done {
    match command {
        args::Runs::Ls(args) => list(args, context).await,
        args::Runs::Describe(args) => {
            let client = context.client(args.connect)?;
            let run = client.run(&args.run).await?;
            let output = &context.output;
            let children =
                if output.format == Format::Id { Vec::new() } else { children(&client, run.id, output).await? };
            let described = Described { run: &run, children: &children };
            let text = || render::lists::describe(&run, &children, output.paint);
            output.one(&described, &run.id.to_string(), text)?;
            Ok(Exit::Ok)
        }
        args::Runs::Cancel(args) => {
            control(Act::Cancel { reason: args.reason, grace: args.grace }, args.which, context).await
        }
        args::Runs::Pause(args) => control(Act::Pause { reason: args.reason }, args.which, context).await,
        args::Runs::Resume(which) => control(Act::Resume, which, context).await,
        args::Runs::Restart(args) => control(Act::Restart { from_step: args.from_step }, args.which, context).await,
        args::Runs::Move(args) => control(Act::Move { to: args.to }, args.which, context).await,
        args::Runs::Rm(which) => control(Act::Remove, which, context).await,
        args::Runs::Terminate(args) => control(Act::Terminate { reason: args.reason }, args.which, context).await,
        args::Runs::Retry(args) => retry(args, context).await,
        args::Runs::Signal(args) => signal(args, context).await,
        args::Runs::Update(args) => talk::update(args, context).await,
        args::Runs::State(args) => talk::state(args, context).await,
        args::Runs::Stream(args) => super::stream::stream(args, context).await,
    }
}

/// A run and what its steps started.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    run: &'a model::Run,
    children: &'a [model::Child],
}

/// What the steps of a run started, as many as are shown.
async fn children(client: &Client, run: RunId, output: &Output) -> Result<Vec<model::Child>> {
    let (mut children, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.children(run, cursor.as_deref()).await?;
        children.extend(page.children);
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(children);
        }
        if children.len() >= CHILDREN_SHOWN_MAX {
            let more = format!("it may have started more: GET /v1/runs/{run}/children lists them");
            output.say(&output.talk_paint.dim(&more));
            return Ok(children);
        }
    }
}

async fn retry(args: args::RunsRetry, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let run = client.run(&args.run).await?;
    let answer = args.answer.map(serde_json::value::RawValue::from_string).transpose();
    let answer = answer.map_err(|error| Error::new(Code::Usage, format!("--answer is not JSON: {error}")))?;
    let retry = model::Retry { step: args.step, with: args.with, effect: args.effect.map(Into::into), answer };
    let retried = client.retry(run.id, &retry).await?;
    let steps: Vec<String> = retried.steps.iter().map(u32::to_string).collect();
    context
        .output
        .one(&retried, &run.id.to_string(), || format!("{} tries step {} again\n", run.id, steps.join(", ")))?;
    Ok(Exit::Ok)
}

async fn signal(args: args::RunsSignal, context: &Context) -> Done {
    let payload = args.input.as_deref().map(|input| read_input(input, &context.output)).transpose()?;
    let client = context.client(args.connect)?;
    let run = client.run(&args.run).await?;
    let key = args.id.map_or_else(fresh_key, Ok)?;
    let sent = client.signal(run.id, &args.name, payload.as_deref(), &key).await?;
    context.output.one(&sent, &sent.run.to_string(), || format!("{} got signal {}\n", sent.run, clean(&args.name)))?;
    Ok(Exit::Ok)
}

async fn list(args: args::RunsLs, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let mut query = RunsQuery::of(args.filter, now());
    let mut runs: Vec<model::Run> = Vec::new();
    let more = loop {
        query.limit = (args.limit - runs.len()).min(PAGE_MAX);
        let page = client.runs(&query).await?;
        runs.extend(page.runs);
        query.cursor = page.cursor;
        if query.cursor.is_none() || runs.len() >= args.limit {
            break query.cursor.is_some();
        }
    };
    let output = &context.output;
    output.many(&runs, |run| run.id.to_string(), || render::lists::runs(&runs, now(), output.width))?;
    if output.format == Format::Text
        && let Some(run) = runs.iter().find(|run| run.status == Status::Stuck)
    {
        let next = format!("what to do about a stuck run: trackway runs describe {}", run.id);
        output.say(&output.talk_paint.dim(&next));
    }
    if more && output.format == Format::Text {
        output.say(&output.talk_paint.dim(&format!("there are more: --limit {}", args.limit.saturating_mul(5))));
    }
    Ok(Exit::Ok)
}

pub async fn trace(run: String, view: args::TraceView, connect: args::Connect, context: &Context) -> Done {
    let output = &context.output;
    if view.full && matches!(output.format, Format::Text | Format::Id) {
        return Err(Error::new(Code::Usage, "--full goes with -o json or -o jsonl")
            .hint("--step N shows one step")
            .into());
    }
    let client = context.client(connect)?;
    let run = client.run(&run).await?;
    if view.follow && !run.status.has_ended() {
        let id = run.id.to_string();
        until_interrupted(&id, output, follow_trace(&client, &run, output)).await?;
        if output.format != Format::Text {
            return Ok(Exit::Ok);
        }
    }
    let mut found = client.trace(run.id).await?;
    let look = Look { paint: output.paint, width: output.width };
    if let Some(number) = view.step {
        let rows = found.trace.rows.iter_mut().filter(|row| row.step() == Some(StepId(number)));
        let left_out = bring_values(&client, run.id, rows.flat_map(values_of).collect()).await?;
        say_left_out(left_out, output);
        let text = render::trace::step(&found.run, &found.trace, StepId(number), look).ok_or_else(|| {
            let steps = found.trace.totals.steps;
            Error::new(Code::Usage, format!("run {} has no step {number}; it has {steps} so far", run.id))
        })?;
        let rows: Vec<_> = found.trace.step(StepId(number)).cloned().collect();
        output.many(&rows, |row| row.id.clone(), || text)?;
        return Ok(Exit::Ok);
    }
    if view.full {
        let left_out = bring_values(&client, run.id, values_of_all(&mut found.trace)).await?;
        say_left_out(left_out, output);
    }
    match output.format {
        Format::Jsonl => output.many(&found.trace.rows, |row| row.id.clone(), String::new)?,
        Format::Text | Format::Json | Format::Id => {
            output.one(&found.trace, &run.id.to_string(), || match view.flat {
                true => render::trace::flat(&found.run, &found.trace, look),
                false => render::trace::tree(&found.run, &found.trace, look),
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn say_left_out(count: u32, output: &Output) {
    if count > 0 {
        let why = format!("{count} values stay digests: together they are over {VALUES_MAX_BYTES} bytes");
        output.say(&output.talk_paint.dim(&why));
    }
}

/// What is shown only the digest of is brought. Gives how many values were too much; those stay digests.
async fn bring_values(client: &Client, run: RunId, shown: Vec<&mut Shown>) -> Result<u32> {
    let (mut left_bytes, mut left_out) = (VALUES_MAX_BYTES, 0);
    // The same value stands in many rows: what one call gave, the next is asked with.
    let mut known: BTreeMap<Digest, Box<RawValue>> = BTreeMap::new();
    for shown in shown {
        let Shown::Payload { digest, size_bytes } = *shown else { continue };
        let Some(left) = left_bytes.checked_sub(size_bytes) else {
            left_out += 1;
            continue;
        };
        left_bytes = left;
        let value = match known.get(&digest) {
            Some(value) => value.clone(),
            None => {
                let value = client.value(run, digest).await?.value;
                known.insert(digest, value.clone());
                value
            }
        };
        *shown = Shown::Json(value);
    }
    Ok(left_out)
}

/// Everything that a row shows of what went in and out.
fn values_of(row: &mut Row) -> impl Iterator<Item = &mut Shown> {
    let progress = if let What::Attempt { progress, .. } = &mut row.what { progress.as_mut() } else { None };
    [row.input.as_mut(), row.output.as_mut(), progress].into_iter().flatten()
}

/// As [`values_of`] for the whole trace, that of the run itself first.
fn values_of_all(trace: &mut Trace) -> Vec<&mut Shown> {
    let of_run = trace.run.iter_mut().flat_map(|run| [Some(&mut run.input), run.output.as_mut()]).flatten();
    of_run.chain(trace.rows.iter_mut().flat_map(values_of)).collect()
}

/// Prints what changes: a line for each row on a terminal, an event a line for programs.
async fn follow_trace(client: &Client, run: &model::Run, output: &Output) -> Result<(), super::exit::Stop> {
    let mut follower = Follower::new(client, run.id);
    while let Some(event) = follower.next(output).await? {
        match output.format {
            Format::Text => {
                let look = Look { paint: output.talk_paint, width: output.width };
                for row in follower.news(&event.rows) {
                    output.say_raw(&render::trace::change(row, run.started_at.0, look));
                }
            }
            Format::Json | Format::Jsonl => output.jsonl(&event)?,
            Format::Id => follower.news(&event.rows).iter().try_for_each(|row| output.line(&row.id))?,
        }
    }
    Ok(())
}

/// How often `logs --follow` looks for lines of a function that does nothing but compute or wait.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub async fn logs(args: args::Logs, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let output = &context.output;
    let run = client.run(&args.run).await?;
    let mut shown = BTreeSet::new();
    print_logs(&client, &run, &mut shown, output, args.follow).await?;
    if args.follow && !run.status.has_ended() {
        let id = run.id.to_string();
        until_interrupted(&id, output, async {
            let mut follower = Follower::new(&client, run.id);
            loop {
                let next = follower.next(output);
                tokio::pin!(next);
                // A line need not come with an event.
                let event = loop {
                    tokio::select! {
                        event = &mut next => break event?,
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                    print_logs(&client, &run, &mut shown, output, true).await?;
                };
                if event.is_none() {
                    return Ok(());
                }
                print_logs(&client, &run, &mut shown, output, true).await?;
            }
        })
        .await?;
    }
    Ok(Exit::Ok)
}

/// Prints the lines that were not shown yet, in the order of their times. Lines of functions that
/// run beside each other are stored in the order of their steps, so new ones appear anywhere.
async fn print_logs(
    client: &Client,
    run: &model::Run,
    shown: &mut BTreeSet<String>,
    output: &Output,
    follow: bool,
) -> Result<(), super::exit::Stop> {
    let mut lines: Vec<model::LogLine> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = client.logs(run.id, cursor.as_deref()).await?;
        lines.extend(page.lines.into_iter().filter(|line| !shown.contains(&line.id)));
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    lines.sort_by_key(|line| line.time);
    shown.extend(lines.iter().map(|line| line.id.clone()));
    match output.format {
        Format::Text => output.raw(&render::lists::logs(&lines, run.started_at.0, output.paint)),
        Format::Json if follow => lines.iter().try_for_each(|line| output.jsonl(line)),
        Format::Json | Format::Jsonl | Format::Id => output.many(&lines, |line| line.id.clone(), String::new),
    }
}

pub async fn replay(args: args::Replay, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let output = &context.output;
    let run = client.run(&args.run).await?;
    let component = match &args.with {
        Some(file) => Some(client.upload(package::read_component(file)?).await?.digest),
        None => None,
    };
    let report = client.replay(run.id, component).await?;
    output.one(&report, &report.run.to_string(), || render::lists::replay(&report, output.paint))?;
    let compared = report.commands_with_fuel + report.commands_without_fuel + report.deliveries;
    match (report.identical, &report.divergence) {
        (_, Some(_)) => Ok(Exit::Conflict),
        (true, None) => Ok(Exit::Ok),
        (false, None) => {
            output.say(&output.talk_paint.red(&format!("nothing is proved: {compared} compared, end {}", report.end)));
            Ok(Exit::Other)
        }
    }
}

pub(super) fn now() -> Timestamp {
    use crate::effects::Clock as _;
    crate::effects::SystemClock::new().now()
}
