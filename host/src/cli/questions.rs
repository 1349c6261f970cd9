//! `trackway questions`: what runs wait for people to answer.

use std::fmt::Write as _;

use crate::api::model;

use super::exit::{Done, Exit};
use super::output::clean;
use super::run::{fresh_key, read_input};
use super::{Context, args, render};

pub async fn questions(command: args::Questions, context: &Context) -> Done {
    let output = &context.output;
    match command {
        args::Questions::Ls { connect } => {
            let found = context.client(connect)?.questions().await?.questions;
            let id = |question: &model::Question| format!("{} {}", question.run, question.step);
            output.many(&found, id, || found.iter().map(line).collect())?;
        }
        args::Questions::Show(which) => {
            let client = context.client(which.connect)?;
            let run = client.run(&which.run).await?.id;
            let question = client.question(run, which.step).await?;
            output.one(&question, &format!("{run} {}", question.step), || in_full(&question))?;
        }
        args::Questions::Answer(args) => {
            let answer = model::Answer { answer: read_input(&args.input, output)?, by: args.by };
            let client = context.client(args.which.connect)?;
            let run = client.run(&args.which.run).await?.id;
            let key = args.idempotency_key.map_or_else(fresh_key, Ok)?;
            let question = client.answer(run, args.which.step, &answer, &key).await?;
            output.one(&question, &format!("{run} {}", question.step), || {
                format!("answered: {}\n", clean(&question.title))
            })?;
        }
    }
    Ok(Exit::Ok)
}

fn line(question: &model::Question) -> String {
    let who = question.assignee.as_ref().map(|who| format!("  for {}", clean(who))).unwrap_or_default();
    let due = question.due_at.map(|due| format!("  until {}", render::lists::moment(due))).unwrap_or_default();
    format!("{} {}  {}{who}{due}\n", question.run, question.step, clean(&question.title))
}

fn in_full(question: &model::Question) -> String {
    let mut text = line(question);
    if let Some(doc) = &question.form.doc {
        let _ = writeln!(text, "{}", clean(doc));
    }
    for field in &question.form.fields {
        let kind = format!("{:?}", field.kind).to_lowercase();
        let label = field.label.as_ref().map(|label| format!("  {}", clean(label))).unwrap_or_default();
        let options =
            if field.options.is_empty() { String::new() } else { format!(": {}", clean(&field.options.join(", "))) };
        let optional = if field.required { "" } else { ", may be left out" };
        let _ = writeln!(text, "  {}  {kind}{optional}{options}{label}", clean(&field.name));
    }
    if let Some(settled) = &question.settled {
        let by = question.by.as_ref().map(|by| format!(" by {}", clean(by))).unwrap_or_default();
        let _ = writeln!(text, "{settled}{by}");
    }
    text
}
