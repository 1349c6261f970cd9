//! `trackway runs state` and `trackway runs update`: what others see of a run while it runs, and ask of it. It
//! prints; the server says what there is.

use trackway_replay::Failure;

use crate::api::model;
use crate::{Code, Error};

use super::exit::{Done, Exit};
use super::output::clean;
use super::run::{fresh_key, read_input};
use super::{Context, args, render};

/// What is left of a value beside its key.
const VALUE_WIDTH: usize = 100;

pub async fn state(args: args::RunsState, context: &Context) -> Done {
    let client = context.client(args.connect)?;
    let output = &context.output;
    let run = client.run(&args.run).await?.id;
    if let Some(key) = args.key {
        let state = client.state(run, &key).await?;
        output.one(&state.value, &state.key, || format!("{}\n", clean(state.value.get())))?;
        return Ok(Exit::Ok);
    }
    let mut states: Vec<model::State> = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.states(run, cursor.as_deref()).await?;
        states.extend(page.state);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let wide = states.iter().map(|state| state.key.len()).max().unwrap_or_default();
    let line = |state: &model::State| {
        format!("{:<wide$}  {}\n", clean(&state.key), clean(&render::json(&state.value, VALUE_WIDTH)))
    };
    output.many(&states, |state| state.key.clone(), || states.iter().map(line).collect())?;
    Ok(Exit::Ok)
}

pub async fn update(args: args::RunsUpdate, context: &Context) -> Done {
    let output = &context.output;
    let payload = args.input.as_deref().map(|input| read_input(input, output)).transpose()?;
    let client = context.client(args.connect)?;
    let run = client.run(&args.run).await?.id;
    let key = args.id.map_or_else(fresh_key, Ok)?;
    let asking = client.update(run, &args.name, payload.as_deref(), &key, args.expires_in);
    let answered = match args.timeout {
        Some(timeout) => tokio::time::timeout(timeout, asking).await,
        None => Ok(asking.await),
    };
    let Ok(update) = answered else {
        let name = clean(&args.name);
        let why = format!("run {run} has not answered update `{name}` yet; it is done once, however often it is asked");
        return Err(Error::new(Code::GaveUpWaiting, why)
            .hint(format!("trackway runs update {run} {name} --id {key} ..."))
            .into());
    };
    let update = update?;
    match (&update.output, &update.failure) {
        (_, Some(failure)) => {
            let failure = Failure::from_guest(failure.get());
            output.say(&output.talk_paint.red(&format!("refused: {}", clean(&failure.to_string()))));
            Ok(Exit::RunFailed)
        }
        (Some(value), None) => {
            output.one(value, &update.message, || format!("{}\n", render::json(value, render::VALUE_WIDTH)))?;
            Ok(Exit::Ok)
        }
        (None, None) => Ok(Exit::Ok),
    }
}
