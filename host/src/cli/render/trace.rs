//! A trace as a tree, as lines, or one step of it in full. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use trackway_replay::trace::{Activation, Row, RowStatus, Shown, Trace, What};
use trackway_replay::{Failure, Finish, Status, StepId, Timestamp};

use super::{VALUE_WIDTH, indented, json, money, status};
use crate::api::model::Run;
use crate::cli::duration::{show_ms, show_us};
use crate::cli::output::{Paint, clean, cut};

/// Both columns hold every duration that [`show_ms`] gives.
const COLUMN_CHARS: usize = 7;
/// Steps that a line about a restart names; it says how many there are besides.
const NAMED_MAX: usize = 6;

/// A shorter piece of a note says nothing.
const NOTES_MIN_CHARS: usize = 6;

/// How wide and how colourful.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub paint: Paint,
    pub width: Option<usize>,
}

/// The whole run: header, a line for each row, end, totals.
pub fn tree(run: &Run, trace: &Trace, look: Look) -> String {
    let mut text = header(run, trace, look);
    let rows = shown_rows(trace);
    let children = children(&rows);
    let origin = run.started_at.0;
    if !rows.is_empty() {
        let _ =
            writeln!(text, "\n  {}", look.paint.dim(&format!("{:>COLUMN_CHARS$} {:>COLUMN_CHARS$}", "BEGAN", "TOOK")));
    }
    for row in children.get("").into_iter().flatten() {
        branch(&mut text, row, &children, &Branch { lead: "", below: "" }, origin, look);
    }
    text.push_str(&footer(run, trace, look));
    text
}

/// A line for each row, in the order of the journal.
pub fn flat(run: &Run, trace: &Trace, look: Look) -> String {
    let mut rows: Vec<&Row> = trace.rows.iter().collect();
    rows.sort_by_key(|row| row.positions.first().copied());
    let mut text = header(run, trace, look);
    text.push('\n');
    for row in rows {
        text.push_str(&line(row, &format!("{:<7} ", row.id), run.started_at.0, look));
    }
    text.push_str(&footer(run, trace, look));
    text
}

/// A row that has just changed, for who follows.
pub fn change(row: &Row, origin: Timestamp, look: Look) -> String {
    line(row, &format!("{:<7} ", row.id), origin, look)
}

/// Everything about one step, or `None` if there is no such step.
pub fn step(run: &Run, trace: &Trace, step: StepId, look: Look) -> Option<String> {
    let rows: Vec<&Row> = trace.step(step).collect();
    let mut text = String::new();
    for row in &rows {
        text.push_str(&line(row, &format!("{:<7} ", row.id), run.started_at.0, look));
        let below = " ".repeat(2 * COLUMN_CHARS + 13);
        for (name, value) in [("input", &row.input), ("output", &row.output)] {
            if let Some(value) = value {
                text.push_str(&named(name, &shown(value), &below, look.paint));
            }
        }
        if let Some(failure) = &row.failure {
            text.push_str(&named("failure", &failure_in_full(failure), &below, look.paint));
        }
        if let What::Model(model) = &row.what {
            let told = [
                ("answered by", model.answered_by.as_deref().map(clean)),
                ("finish reason", model.finish.map(|finish| finish.name().to_owned())),
                ("tokens", model.usage.as_ref().map(money::tokens)),
                ("cost", model.cost_nanousd.map(money::usd)),
            ];
            let prompts = model.prompts.iter().map(|prompt| clean(&format!("{} {}", prompt.name, prompt.version)));
            prompts.for_each(|prompt| text.push_str(&named("prompt", &prompt, &below, look.paint)));
            for (name, value) in told {
                text.push_str(&value.map(|value| named(name, &value, &below, look.paint)).unwrap_or_default());
            }
        }
        let sent = match &row.what {
            What::Http(http) => Some((&http.tries, &http.idempotency_key)),
            What::Model(model) => Some((&model.tries, &model.idempotency_key)),
            _ => None,
        };
        if let Some((tries, key)) = sent {
            for (number, tried) in tries.iter().enumerate() {
                let status = tried.status.map(|status| status.to_string());
                let what = status.or(tried.error.clone()).unwrap_or_default();
                text.push_str(&named(&format!("try {}", number + 1), &clean(&what), &below, look.paint));
            }
            if let Some(key) = key {
                text.push_str(&named("idempotency key", &clean(key), &below, look.paint));
            }
        }
    }
    (!rows.is_empty()).then_some(text)
}

/// Which run, and how it stands.
fn header(run: &Run, trace: &Trace, look: Look) -> String {
    let name = clean(&format!("{}/{}", run.deployment, run.workflow));
    let took = run.finished_at.map(|end| end.0.0.saturating_sub(run.started_at.0.0));
    let took = took.map(|us| format!(", took {}", show_us(us))).unwrap_or_default();
    let line = format!("{} {}  {name}  {}{took}\n", look.paint.bold("run"), run.id, status(run.status, look.paint));
    let told = trace.run.as_ref();
    let forked = told.and_then(|run| run.forked.as_ref()).map(|forked| {
        format!("restarted from step {} of run {}; what came before is from there", forked.step, forked.run)
    });
    let by = told.and_then(|run| run.parent.as_ref());
    let parent = by.map(|by| format!("started by step {} of run {}", by.step, by.run));
    let more = [forked, parent].into_iter().flatten().map(|said| format!("  {}\n", look.paint.dim(&said)));
    line + &more.collect::<String>()
}

fn footer(run: &Run, trace: &Trace, look: Look) -> String {
    let mut text = String::from("\n");
    for activation in trace.activations.iter().filter(|activation| activation.restart) {
        let _ = writeln!(text, "  {}", look.paint.yellow(&restart(trace, activation, run.started_at.0)));
    }
    let header = trace.run.as_ref();
    if let Some(output) = header.and_then(|header| header.output.as_ref()) {
        text.push_str(&named("output", &shown(output), "  ", look.paint));
    }
    if let Some(failure) = header.and_then(|header| header.failure.as_ref()) {
        text.push_str(&named("failure", &failure_in_full(failure), "  ", look.paint));
    }
    if let Some(reason) = header.and_then(|header| header.reason.as_ref()) {
        text.push_str(&named("reason", &clean(reason), "  ", look.paint));
    }
    // What a run is stuck on stands in no journal.
    if let (Status::Stuck, Some(message)) = (run.status, &run.message) {
        let code = run.code.as_deref().unwrap_or_default();
        text.push_str(&named("because", &clean(&format!("{code}: {message}")), "  ", look.paint));
        run.next.iter().for_each(|way| text.push_str(&named("next", &clean(way), "  ", look.paint)));
    }
    let _ = writeln!(text, "  {}", look.paint.dim(&totals(trace)));
    text
}

fn totals(trace: &Trace) -> String {
    let totals = &trace.totals;
    let mut parts = vec![counted(totals.steps, "step")];
    let states = [
        (totals.steps_failed, "failed"),
        (totals.steps_cancelled, "cancelled"),
        (totals.steps_forgotten, "forgotten"),
        (totals.steps_open, "open"),
    ];
    parts.extend(states.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {state}")));
    let mut text = parts.join(", ");
    let _ = write!(text, "; {}", counted(totals.attempts, "attempt"));
    if totals.attempts_failed > 0 {
        let _ = write!(text, ", {} failed", totals.attempts_failed);
    }
    let _ = write!(text, "; {}; {}", counted(totals.effects, "effect"), counted_entries(totals.entries));
    if totals.restarts > 0 {
        let _ = write!(text, "; {}", counted(totals.restarts, "restart"));
    }
    if let Some(spent) = money::spending(&totals.spending) {
        let _ = write!(text, "; {spent}");
    }
    text
}

/// What a restart did not do again, and what it may have.
fn restart(trace: &Trace, activation: &Activation, origin: Timestamp) -> String {
    let recalled = trace.recalled(activation);
    let when = show_us(activation.claimed.0.saturating_sub(origin.0));
    let mut text = format!("restarted after {when}: ");
    match recalled.steps.len() {
        0 => text.push_str("no step had been answered"),
        count => {
            let _ = write!(text, "{} not repeated ({})", counted(count, "answered step"), names(&recalled.steps));
        }
    }
    if !recalled.effects.is_empty() {
        let _ = write!(text, ", {} not repeated", counted(recalled.effects.len(), "answered effect"));
    }
    if !recalled.open.is_empty() {
        let _ = write!(text, "; {} in flight, so perhaps sent twice", counted(recalled.open.len(), "request"));
    }
    text
}

fn names(rows: &[&Row]) -> String {
    let mut ids: Vec<String> = rows.iter().take(NAMED_MAX).map(|row| row.id.clone()).collect();
    if rows.len() > NAMED_MAX {
        ids.push(format!("and {} more", rows.len() - NAMED_MAX));
    }
    ids.join(", ")
}

/// How a row hangs on the one above.
struct Branch<'a> {
    lead: &'a str,
    /// Before everything that hangs on it.
    below: &'a str,
}

fn branch(
    text: &mut String,
    row: &Row,
    children: &BTreeMap<&str, Vec<&Row>>,
    place: &Branch<'_>,
    origin: Timestamp,
    look: Look,
) {
    let is_step = place.lead.is_empty() && row.step().is_some();
    let number = if is_step { format!("{} ", row.id) } else { String::new() };
    text.push_str(&line(row, &format!("{}{number}", place.lead), origin, look));
    let below = children.get(row.id.as_str()).map(Vec::as_slice).unwrap_or_default();
    for (number, child) in below.iter().enumerate() {
        let (knot, line) = if number + 1 == below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let indent = if place.lead.is_empty() { "  " } else { place.below };
        let place = Branch { lead: &format!("{indent}{knot}"), below: &format!("{indent}{line}") };
        branch(text, child, children, &place, origin, look);
    }
}

/// The rows worth a line: the only attempt of a step that went well says nothing by itself, unless it
/// tells how far it is.
fn shown_rows(trace: &Trace) -> Vec<(&Row, Option<&str>)> {
    let mut attempts: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &trace.rows {
        if let (What::Attempt { .. }, Some(parent)) = (&row.what, &row.parent) {
            *attempts.entry(parent).or_default() += 1;
        }
    }
    let mut hidden: BTreeMap<&str, &str> = BTreeMap::new();
    let mut rows = Vec::new();
    for row in &trace.rows {
        if let (What::Attempt { resumed, progress, .. }, Some(parent)) = (&row.what, &row.parent) {
            let plain = matches!(row.status, RowStatus::Succeeded | RowStatus::Running | RowStatus::Aborted);
            let tells = progress.is_some() && !row.status.has_ended();
            if plain && !tells && resumed.is_empty() && attempts.get(parent.as_str()) == Some(&1) {
                hidden.insert(&row.id, parent);
                continue;
            }
        }
        let parent = row.parent.as_deref().map(|parent| hidden.get(parent).copied().unwrap_or(parent));
        rows.push((row, parent));
    }
    rows
}

fn children<'a>(rows: &[(&'a Row, Option<&'a str>)]) -> BTreeMap<&'a str, Vec<&'a Row>> {
    let mut children: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for (row, parent) in rows {
        children.entry(parent.unwrap_or_default()).or_default().push(row);
    }
    children
}

fn line(row: &Row, lead: &str, origin: Timestamp, look: Look) -> String {
    let began = show_us(row.started.0.saturating_sub(origin.0));
    let took = row.duration_us.map(show_us).unwrap_or_default();
    let columns = format!("  {began:>COLUMN_CHARS$} {took:>COLUMN_CHARS$}");
    let (mark, paint): (&str, fn(Paint, &str) -> String) = match row.status {
        RowStatus::Succeeded => ("✓", Paint::green),
        RowStatus::Failed => ("✗", Paint::red),
        RowStatus::Running => ("●", Paint::cyan),
        RowStatus::Waiting => ("…", Paint::cyan),
        RowStatus::Retrying => ("↻", Paint::yellow),
        RowStatus::Parked => ("?", Paint::yellow),
        RowStatus::Queued => ("○", Paint::cyan),
        RowStatus::Cancelled | RowStatus::Forgotten | RowStatus::Aborted => ("–", Paint::yellow),
    };
    let label = row.label.as_ref().map(|label| format!(" “{}”", clean(label))).unwrap_or_default();
    let mut what = format!("{}{label}", clean(&title(row)));
    let mut notes = notes(row).join(", ");
    let at = row.at.as_ref().map(|at| clean(at)).unwrap_or_default();
    if let Some(width) = look.width {
        // Lead and columns stay whole; what a row is goes before what is said about it.
        let left = width.saturating_sub(columns.chars().count() + 3 + lead.chars().count());
        what = cut(&what, left);
        let left = left.saturating_sub(what.chars().count() + 2);
        notes = if left < NOTES_MIN_CHARS { String::new() } else { cut(&notes, left) };
    }
    let mut text = format!("{columns} {} {lead}{what}", paint(look.paint, mark));
    let mut used = columns.chars().count() + 3 + lead.chars().count() + what.chars().count();
    if !notes.is_empty() {
        used += 2 + notes.chars().count();
        let _ = write!(text, "  {}", paint(look.paint, &notes));
    }
    if !at.is_empty() && look.width.is_none_or(|width| used + 2 + at.chars().count() <= width) {
        let _ = write!(text, "  {}", look.paint.dim(&at));
    }
    text.push('\n');
    text
}

fn title(row: &Row) -> String {
    match &row.what {
        What::Sleep { duration_ms, .. } => format!("sleep {}", show_ms(*duration_ms)),
        What::Call { .. }
        | What::Run { .. }
        | What::Attempt { .. }
        | What::Http(_)
        | What::Model(_)
        | What::Receive { .. }
        | What::Question { .. }
        | What::Promise { .. }
        | What::Entity { .. }
        | What::Accept { .. }
        | What::Publish { .. }
        | What::Reply { .. }
        | What::Update { .. }
        | What::Signal { .. }
        | What::Cancel { .. }
        | What::Patch { .. }
        | What::Event { .. }
        | What::Span { .. }
        | What::Move { .. }
        | What::Continue
        | What::Pause { .. } => row.title(),
    }
}

/// What is worth saying beside the mark.
fn notes(row: &Row) -> Vec<String> {
    let mut notes = Vec::new();
    match &row.what {
        What::Http(http) => {
            notes.extend(http.status.map(|status| status.to_string()));
            if !http.tries.is_empty() {
                notes.push(format!("{} tries", http.tries.len() + 1));
            }
            if http.interrupted > 0 {
                notes.push("cut off by a crash, perhaps sent twice".to_owned());
            }
        }
        What::Model(model) => {
            notes.extend(model.usage.as_ref().map(money::tokens));
            notes.extend(model.cost_nanousd.map(money::usd));
            // That it came to its end is what is expected of it.
            let finish = model.finish.filter(|finish| *finish != Finish::Stop);
            notes.extend(finish.map(|finish| finish.name().to_owned()));
            if !model.tries.is_empty() {
                notes.push(format!("{} tries", model.tries.len() + 1));
            }
            if model.interrupted > 0 {
                notes.push("cut off by a crash, perhaps sent twice".to_owned());
            }
        }
        What::Attempt { resumed, continues, with, progress, .. } => {
            notes.extend(with.as_ref().map(|with| format!("with {}", clean(with))));
            notes.extend(continues.map(|attempt| format!("went on after attempt {attempt}")));
            match resumed.len() {
                0 => {}
                1 => notes.push("went on after a crash".to_owned()),
                count => notes.push(format!("went on after {count} crashes")),
            }
            // What it has come to says more, once it is over.
            let progress = progress.as_ref().filter(|_| !row.status.has_ended());
            notes.extend(progress.map(|progress| format!("at {}", shown(progress))));
        }
        What::Span { .. } if row.status == RowStatus::Aborted => {
            notes.push("never ended".to_owned());
            return notes;
        }
        What::Event { .. } => notes.extend(row.input.as_ref().map(shown)),
        What::Cancel { reason, grace_ms } => {
            notes.push(clean(reason));
            notes.extend(grace_ms.map(|grace_ms| format!("with {} to end", show_ms(grace_ms))));
        }
        What::Pause { reason } => notes.push(clean(reason)),
        What::Run { run, .. } => notes.extend(run.map(|run| run.to_string())),
        What::Receive { from: Some(run), .. } | What::Signal { from: Some(run), .. } => {
            notes.push(format!("from run {run}"));
        }
        What::Question { by: Some(by), .. } => notes.push(format!("by {}", clean(by))),
        // Who can see the trace may settle it.
        What::Promise { token, .. } if !row.status.has_ended() => notes.push(token.clone()),
        What::Call { start_by, close_by, .. } if !row.status.has_ended() => {
            let within = |by: Timestamp| show_us(by.0.saturating_sub(row.started.0));
            let begins = start_by.filter(|_| row.status == RowStatus::Queued);
            notes.extend(begins.map(|by| format!("to begin within {}", within(by))));
            notes.extend(close_by.map(|by| format!("to be done within {}", within(by))));
        }
        What::Call { .. }
        | What::Promise { .. }
        | What::Question { by: None, .. }
        | What::Entity { .. }
        | What::Sleep { .. }
        | What::Receive { .. }
        | What::Accept { .. }
        | What::Publish { .. }
        | What::Reply { .. }
        | What::Update { .. }
        | What::Span { .. }
        | What::Patch { .. }
        | What::Move { .. }
        | What::Continue
        | What::Signal { .. } => {}
    }
    if row.cancel_asked.is_some() {
        notes.push("asked to cancel".to_owned());
    }
    match (&row.failure, row.status) {
        (Some(failure), _) => notes.push(clean(&failure.to_string())),
        (None, RowStatus::Succeeded) => {}
        (None, RowStatus::Parked) => notes.push("waits for a person: trackway runs retry".to_owned()),
        (None, status) => notes.push(status.name().to_owned()),
    }
    notes
}

fn named(name: &str, value: &str, indent: &str, paint: Paint) -> String {
    match value.contains('\n') {
        true => format!("{indent}{}\n{}", paint.dim(name), indented(value, &format!("{indent}  "))),
        false => format!("{indent}{} {value}\n", paint.dim(name)),
    }
}

fn shown(value: &Shown) -> String {
    match value {
        Shown::Json(value) => json(value, VALUE_WIDTH),
        Shown::Payload { digest, size_bytes } => format!("({size_bytes} bytes beside the journal, {digest:.12})"),
    }
}

fn failure_in_full(failure: &Failure) -> String {
    let mut text = clean(&failure.to_string());
    if let Some(at) = &failure.at {
        let _ = write!(text, "\nat {}", clean(at));
    }
    if let Some(details) = &failure.details {
        let _ = write!(text, "\n{}", json(details, VALUE_WIDTH));
    }
    text
}

fn counted(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn counted_entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

#[cfg(test)]
mod tests;
