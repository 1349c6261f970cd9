//! What an attempt was at when it did something, as its trace tells it. Guests say in what they ask for within which
//! agents and tools they do.

use std::collections::BTreeMap;
use trackway_replay::trace::{Row, RowStatus, What, trace};
use trackway_replay::{EffectRequest, Kind};
use trackway_storage::RunKey;

use super::journal::{self, Journal};
use super::ledger::Promise;
use super::process::Process;
use super::script::Stage;

pub async fn hold(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    for journal in journals.values() {
        let broken = |what: String| stage.ledger.broken(Promise::Nested, format!("run {}: {what}", journal.run.run));
        let trace = trace(&journal.entries);
        if !trace.unplaced.is_empty() {
            let entries: Vec<_> = trace.unplaced.iter().map(|at| journal.entries.get(at.0 as usize)).collect();
            broken(format!("there is no place in its trace for {entries:?}"));
        }
        let mut rows: BTreeMap<&str, &Row> = BTreeMap::new();
        for row in &trace.rows {
            let above = row.parent.as_deref().map(|parent| rows.get(parent).copied());
            match above {
                Some(None) => broken(format!("row {} stands before the row above it", row.id)),
                Some(Some(above)) => {
                    if let Some(what) = outside(row, above) {
                        broken(what);
                    }
                }
                None => {}
            }
            if rows.insert(&row.id, row).is_some() {
                broken(format!("row {} stands twice", row.id));
            }
        }
        for entry in &journal.entries {
            let Kind::EffectAsked(asked) = &entry.kind else { continue };
            if matches!(asked.request, EffectRequest::Sleep { .. }) {
                continue;
            }
            let Some(value) = journal::value_of(&entry.kind) else { continue };
            let text = journal.text(process, value).await.unwrap_or_default();
            let Some(said) = within(&text) else { continue };
            let id = format!("{}.{}.{}", asked.step, asked.attempt, asked.effect);
            let shown = rows.get(id.as_str()).map(|row| path(row, &rows));
            if shown.as_deref() != Some(said) {
                broken(format!("{id} was asked for within {said:?}, its row stands within {shown:?}"));
            }
        }
    }
}

/// What belongs to a span begins and ends within it, unless nobody ended it.
fn outside(row: &Row, above: &Row) -> Option<String> {
    if !matches!(above.what, What::Span { .. }) {
        return None;
    }
    let is_early = row.started < above.started;
    let ended = row.ended.filter(|_| row.status != RowStatus::Aborted);
    let is_late = above.ended.zip(ended).is_some_and(|(above, ended)| ended > above);
    (is_early || is_late).then(|| format!("{} is from {:?} to {:?}, but {row:?}", above.id, above.started, above.ended))
}

/// What the guest of a simulation says.
fn within(text: &str) -> Option<&str> {
    let said = text.split("&in=").nth(1)?;
    said.split(|end: char| !(end.is_ascii_alphanumeric() || end == '.' || end == '-')).next()
}

/// The names of the spans around a row, from the attempt on.
fn path(row: &Row, rows: &BTreeMap<&str, &Row>) -> String {
    let above = |row: &&Row| row.parent.as_deref().and_then(|parent| rows.get(parent).copied());
    let around = std::iter::successors(above(&row), above);
    let names = around.filter_map(|row| match &row.what {
        What::Span { name, .. } => Some(&**name),
        _ => None,
    });
    let mut names: Vec<&str> = names.collect();
    names.reverse();
    names.join(".")
}
