//! What a run that was started anew has of the one that it comes from: its input, and from a step on all that stood
//! before that was asked for. It looks at journals only.

use std::collections::BTreeMap;
use trackway_replay::{Continued, Entry, Kind, Started, StepRequest};
use trackway_storage::RunKey;

use super::journal::Journal;
use super::ledger::{Promise, Restarted};
use super::script::Stage;

pub fn hold(stage: &Stage, journals: &BTreeMap<RunKey, Journal>) {
    let restarted = stage.ledger.lock().restarted.clone();
    for restarted in restarted {
        let Some(journal) = journals.get(&restarted.run) else {
            let what = format!("{restarted:?} was acknowledged and is not there");
            stage.ledger.broken(Promise::Acknowledged, what);
            continue;
        };
        let Some(source) = journals.get(&restarted.from) else { continue };
        for what in flaws(&restarted, source, journal) {
            stage.ledger.broken(Promise::Restarted, format!("{restarted:?}: {what}"));
        }
    }
}

fn flaws(restarted: &Restarted, source: &Journal, journal: &Journal) -> Vec<String> {
    let mut flaws = Vec::new();
    let (Some(old), Some(new)) = (started(source), started(journal)) else { return vec!["no start".to_owned()] };
    if (&old.input, &old.workflow) != (&new.input, &new.workflow) {
        flaws.push(format!(
            "it does {} of {:?}, the other {} of {:?}",
            new.workflow, new.input, old.workflow, old.input
        ));
    }
    let Some(step) = restarted.step else { return flaws };
    if old.seed != new.seed || old.key_seed == new.key_seed {
        flaws.push("it draws other numbers than the other one, or sends the same keys".to_owned());
    }
    // It was ended, or left alone after dying processes had taken it up too often, before it had begun.
    if (journal.entries.len() as u64) < journal.begins().0 {
        return flaws;
    }
    let is_cut = |entry: &Entry| matches!(&entry.kind, Kind::Asked(asked) if asked.step == step);
    let cut = source.entries.iter().position(is_cut).unwrap_or(source.entries.len());
    let before = source.entries.get(1..cut).unwrap_or_default();
    let ends = (journal.begins().0 as usize).min(journal.entries.len());
    let kept = journal.entries.get(2..ends).unwrap_or_default();
    // All of it comes from there, in that order.
    let mut left = before.iter();
    for entry in kept {
        if !left.any(|of| of.time == entry.time && is_copy(&of.kind, &entry.kind)) {
            flaws.push(format!("it keeps {entry:?}, which the other one has not before step {step}"));
            return flaws;
        }
    }
    // And nothing is missing that its workflow did or was given.
    let lasting = |entries: &[Entry]| entries.iter().filter(|entry| is_lasting(&entry.kind)).count();
    if lasting(kept) != lasting(before) {
        flaws.push(format!(
            "it keeps {} of what the workflow did and was given, not {}",
            lasting(kept),
            lasting(before)
        ));
    }
    // Then its workflow does what that of the other one did.
    let next = journal.entries.get(ends..).unwrap_or_default().iter().find(|entry| entry.kind.is_command());
    let was_moved = source.entries.iter().any(|entry| matches!(entry.kind, Kind::Moved(_)));
    if let Some(next) = next.filter(|_| !journal.was_cancelled() && !was_moved)
        && !source.entries.get(cut).is_some_and(|of| is_same_step(&of.kind, &next.kind))
    {
        flaws.push(format!("it goes on with {next:?}, the other one with {:?}", source.entries.get(cut)));
    }
    flaws
}

fn started(journal: &Journal) -> Option<&Started> {
    match &journal.entries.first()?.kind {
        Kind::Started(started) => Some(started),
        _ => None,
    }
}

/// In a restarted run the next round has code, places and a time of its own.
fn is_copy(of: &Kind, kept: &Kind) -> bool {
    let round = |round: &Continued| (round.input.clone(), round.fingerprint, round.seed, round.steps);
    match (of, kept) {
        (Kind::Continued(of), Kind::Continued(kept)) => round(of) == round(kept),
        _ => of == kept,
    }
}

fn is_lasting(kind: &Kind) -> bool {
    let is_given = matches!(
        kind,
        Kind::Answered(_)
            | Kind::Settled(_)
            | Kind::ChildEnded(_)
            | Kind::Signalled(_)
            | Kind::UpdateReceived(_)
            | Kind::Continued(_)
    );
    kind.is_command() || is_given
}

fn is_same_step(of: &Kind, kind: &Kind) -> bool {
    match (of, kind) {
        (Kind::Asked(of), Kind::Asked(asked)) => {
            // By a number that is drawn, and now another one.
            let is_drawn = matches!(asked.request, StepRequest::Entity { .. });
            of.step == asked.step && (is_drawn || of.proof.digest == asked.proof.digest)
        }
        _ => false,
    }
}
