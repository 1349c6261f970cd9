//! Which entries of a run another one keeps that goes on from one of its steps. Pure: the caller
//! brings the journal and writes the new one.
//!
//! Kept is what stood before the step was asked for, but of steps without an answer there only that
//! they were asked for: what was under way begins anew, under keys of the new run.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{Continued, Cut, Digest, Entry, Kind, Position, StepId, Timestamp};

/// A fork of a fork of a fork: each has to name the cuts of all, in one entry.
pub const FORK_DEPTH_MAX: usize = 100;

/// What a fork keeps.
#[derive(Debug)]
pub struct Kept<'a> {
    /// Without `Started`, in their order; the new run gives them places of its own.
    pub entries: Vec<Cow<'a, Entry>>,
    /// Through which deployment, and with which code, the new run begins.
    pub deployment: Arc<str>,
    pub component: Digest,
    /// How many of them are the workflow's commands.
    pub commands: u64,
    /// Where the guest's randomness changed before.
    pub cuts: Vec<Cut>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotFork {
    #[error("it has asked for {steps} steps, so there is no step {step}")]
    NoSuchStep { step: StepId, steps: u32 },
    #[error("it was asked to cancel before step {step}")]
    Cancelled { step: StepId },
    #[error("it comes from {FORK_DEPTH_MAX} restarts, one after the other")]
    TooDeep,
}

#[cfg(test)]
mod tests;

/// The steps that these entries close.
pub fn closed<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<StepId> {
    let closed = entries.into_iter().filter_map(|entry| match &entry.kind {
        Kind::Answered(answered) => Some(answered.step),
        Kind::Settled(settled) => Some(settled.step),
        Kind::Forgotten(forgotten) => Some(forgotten.step),
        Kind::ChildEnded(ended) => Some(ended.step),
        _ => None,
    });
    closed.collect()
}

/// What is kept by a run that goes on from before `step`, and is ended by the host at `deadline`. The same for every
/// longer journal.
pub fn kept(journal: &[Entry], step: StepId, deadline: Option<Timestamp>) -> Result<Kept<'_>, CannotFork> {
    let asked = |entry: &Entry| matches!(&entry.kind, Kind::Asked(asked) if asked.step == step);
    let Some(cut) = journal.iter().position(asked) else {
        let steps = journal.iter().filter(|entry| matches!(entry.kind, Kind::Asked(_))).count() as u32;
        return Err(CannotFork::NoSuchStep { step, steps });
    };
    let before = journal.get(1..cut).unwrap_or_default();
    let closed = closed(before);
    // Each stretch goes on with the code that its workflow was on at last, which does all of it.
    let mut codes = codes_of(journal).into_iter();
    let (deployment, component) = codes.next().ok_or(CannotFork::NoSuchStep { step, steps: 0 })?;
    let mut kept = Kept { entries: Vec::new(), deployment, component, commands: 0, cuts: Vec::new() };
    // Where each kept entry stands in the new run, behind `Started`, `Forked` and its deadline.
    let first = 2 + u64::from(deadline.is_some());
    let mut places: BTreeMap<Position, Position> = BTreeMap::new();
    for entry in before {
        let is_kept = match &entry.kind {
            Kind::AttemptStarted(begun) => closed.contains(&begun.step),
            Kind::AttemptResumed(resumed) => closed.contains(&resumed.step),
            Kind::EffectAsked(asked) => closed.contains(&asked.step),
            Kind::EffectAnswered(answered) => closed.contains(&answered.step),
            Kind::ModelUsed(used) => closed.contains(&used.step),
            // The other run has paid for it.
            Kind::SpendingTaken(_) => false,
            Kind::Failed(failed) => closed.contains(&failed.step),
            Kind::FailedKeeping(failed) => closed.contains(&failed.step),
            Kind::Parked(parked) => closed.contains(&parked.step),
            Kind::RetryReceived(retry) => closed.contains(&retry.step),
            Kind::Progressed(progressed) => closed.contains(&progressed.step),
            Kind::StepTimed(timed) => closed.contains(&timed.step),
            Kind::AttemptEmitted(emitted) => closed.contains(&emitted.step),
            Kind::SpanBegun(begun) => closed.contains(&begun.step),
            Kind::SpanEnded(ended) => closed.contains(&ended.step),
            Kind::EffectSettled(settled) => closed.contains(&settled.step),
            Kind::FuelUsed(used) => used.attempt.is_none_or(|(step, _)| closed.contains(&step)),
            // A new run has time of its own.
            Kind::DeadlineSet(_) => false,
            // Of the other run: a new one has what its workflow or its cancel says.
            Kind::GraceSet(_) => false,
            Kind::CancelReceived(_) => return Err(CannotFork::Cancelled { step }),
            Kind::Forked(forked) => {
                kept.cuts.clone_from(&forked.cuts);
                false
            }
            Kind::Continued(_) => true,
            Kind::ChildStarted(started) => closed.contains(&started.step),
            // Nobody waits for the new run.
            Kind::ChildOf(_) => false,
            // It is on that code from its start.
            Kind::Moved(_) => false,
            Kind::Paused(_) | Kind::Resumed(_) => false,
            Kind::Started(_)
            | Kind::Claimed(_)
            | Kind::Asked(_)
            | Kind::Answered(_)
            | Kind::Forgotten(_)
            | Kind::StepCancelAsked(_)
            | Kind::ChildEnded(_)
            | Kind::Signalled(_)
            | Kind::Settled(_)
            | Kind::Patched(_)
            | Kind::Published(_)
            | Kind::UpdateReceived(_)
            | Kind::UpdateOffered(_)
            | Kind::UpdateExpired(_)
            | Kind::Replied(_)
            | Kind::Emitted(_)
            | Kind::Finished(_) => true,
        };
        if is_kept {
            kept.commands += u64::from(entry.kind.is_command());
            places.insert(entry.position, Position(first + kept.entries.len() as u64));
            kept.entries.push(match &entry.kind {
                Kind::Continued(continued) => {
                    let code = codes.next().unwrap_or_else(|| (continued.deployment.clone(), continued.component));
                    let kind = Kind::Continued(Box::new(in_a_fork(continued, &places, code, deadline)));
                    Cow::Owned(Entry { kind, ..entry.clone() })
                }
                _ => Cow::Borrowed(entry),
            });
        }
    }
    let commands = kept.commands;
    kept.cuts.retain(|cut| cut.commands <= commands);
    if kept.cuts.len() >= FORK_DEPTH_MAX {
        return Err(CannotFork::TooDeep);
    }
    Ok(kept)
}

/// The code that each stretch of a journal was on when it ended, or is on.
fn codes_of(journal: &[Entry]) -> Vec<(Arc<str>, Digest)> {
    let mut codes: Vec<(Arc<str>, Digest)> = Vec::new();
    for entry in journal {
        match &entry.kind {
            Kind::Started(started) => codes.push((started.deployment.clone(), started.component)),
            Kind::Continued(continued) => codes.push((continued.deployment.clone(), continued.component)),
            Kind::Moved(moved) => {
                if let Some(code) = codes.last_mut() {
                    *code = (moved.deployment.clone(), moved.component);
                }
            }
            _ => {}
        }
    }
    codes
}

/// With the places of the new run, and without what was the other run's alone.
fn in_a_fork(
    continued: &Continued,
    places: &BTreeMap<Position, Position>,
    code: (Arc<str>, Digest),
    deadline: Option<Timestamp>,
) -> Continued {
    let (deployment, component) = code;
    Continued {
        deployment,
        component,
        mail: continued.mail.iter().filter_map(|item| places.get(item).copied()).collect(),
        deadline,
        child_of: None,
        ..continued.clone()
    }
}
