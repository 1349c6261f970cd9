//! `trackway questions`: what runs wait for people to answer.

use std::fmt::Write as _;

use crate::api::model;

use super::exit::{Done, Exit, Stop};
use super::output::{Format, clean};
use super::run::{fresh_key, read_input};
use super::{Context, args, render};

/// What the server gives at once.
const PAGE_MAX: usize = 100;

pub async fn questions(command: args::Questions, context: &Context) -> Done {
    let output = &context.output;
    match command {
        args::Questions::Ls(args) => list(args, context).await?,
        args::Questions::Show(which) => {
            let client = context.client(which.connect)?;
            let run = client.run(&which.run).await?.id;
            let question = client.question(run, which.question).await?;
            output.one(&question, &format!("{run} {}", question.name()), || in_full(&question))?;
        }
        args::Questions::Answer(args) => {
            let answer = model::Answer { answer: read_input(&args.input, output)?, by: args.by };
            let client = context.client(args.which.connect)?;
            let run = client.run(&args.which.run).await?.id;
            let key = args.idempotency_key.map_or_else(fresh_key, Ok)?;
            let question = client.answer(run, args.which.question, &answer, &key).await?;
            output.one(&question, &format!("{run} {}", question.name()), || {
                format!("answered: {}\n", clean(&question.title))
            })?;
        }
    }
    Ok(Exit::Ok)
}

async fn list(args: args::QuestionsLs, context: &Context) -> Result<(), Stop> {
    let client = context.client(args.connect)?;
    let (output, limit) = (&context.output, args.limit as usize);
    let mut found: Vec<model::Question> = Vec::new();
    let mut cursor = None;
    let more = loop {
        let page = client.questions((limit - found.len()).min(PAGE_MAX), cursor.as_deref()).await?;
        found.extend(page.questions);
        cursor = page.cursor;
        if cursor.is_none() || found.len() >= limit {
            break cursor.is_some();
        }
    };
    let id = |question: &model::Question| format!("{} {}", question.run, question.name());
    output.many(&found, id, || found.iter().map(line).collect())?;
    if more && output.format == Format::Text {
        output.say(&output.talk_paint.dim(&format!("there are more: --limit {}", limit.saturating_mul(5))));
    }
    Ok(())
}

fn line(question: &model::Question) -> String {
    let who = question.assignee.as_ref().map(|who| format!("  for {}", clean(who))).unwrap_or_default();
    let due = question.due_at.map(|due| format!("  until {}", render::lists::moment(due))).unwrap_or_default();
    format!("{} {}  {}{who}{due}\n", question.run, question.name(), clean(&question.title))
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
