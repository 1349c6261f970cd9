//! `trackway promises`: settling what workflows wait for, by token.

use crate::api::model;

use super::exit::{Done, Exit};
use super::output::clean;
use super::run::{fresh_key, read_input};
use super::{Context, args, render};

pub async fn promises(command: args::Promises, context: &Context) -> Done {
    let output = &context.output;
    let promise = match command {
        args::Promises::Show { token, connect } => context.client(connect)?.promise(&token).await?,
        args::Promises::Resolve(args) => {
            let value = args.value.as_deref().map(|value| read_input(value, output)).transpose()?;
            let key = args.idempotency_key.map_or_else(fresh_key, Ok)?;
            context.client(args.connect)?.resolve_promise(&args.token, value.as_deref(), &key).await?
        }
        args::Promises::Reject(args) => {
            let details = args.details.as_deref().map(|details| read_input(details, output)).transpose()?;
            let rejection = model::Rejection { code: args.code, message: args.message.unwrap_or_default(), details };
            let key = args.idempotency_key.map_or_else(fresh_key, Ok)?;
            context.client(args.connect)?.reject_promise(&args.token, &rejection, &key).await?
        }
    };
    let due = promise.due_at.map(|due| format!("  until {}", render::lists::moment(due))).unwrap_or_default();
    let id = format!("{} {}", promise.run, promise.step);
    output.one(&promise, &id, || format!("{id}  {}: {}{due}\n", clean(&promise.name), promise.standing))?;
    Ok(Exit::Ok)
}
