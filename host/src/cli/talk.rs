//! `trackway runs state`: what others see of a run while it runs. It prints; the server says what there is.

use crate::api::model;

use super::exit::{Done, Exit};
use super::output::clean;
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
