//! What journals say of time: nothing is early, nothing that came in time counts as late, and nobody goes on
//! for longer than they may.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use trackway_replay::{End, Entry, Kind, StepId, StepTimed, Timestamp, code};
use trackway_storage::RunKey;

use super::journal::{Journal, failure_of};
use super::ledger::Promise;
use super::script::{SKEW_STEP, Stage};

/// What a worker needs between reading the inbox and firing a timer, and what clocks may differ by.
const IN_TIME_SLACK: Duration = Duration::from_millis(20);
/// How long the workflow of the guest has to end after a cancel, as its manifest says.
const GRACE: Duration = Duration::from_secs(10);
/// In which whoever takes a run up where all goes well has ended it, if its time is over.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

pub fn hold(stage: &Stage, journals: &BTreeMap<RunKey, Journal>) {
    sleeps(stage, journals);
    for journal in journals.values() {
        grace(stage, journal);
        deadlines(stage, journal);
    }
}

/// What came before a timer was due, and was acknowledged by then, stands before its answer.
fn sleeps(stage: &Stage, journals: &BTreeMap<RunKey, Journal>) {
    let broken = |what: String| stage.ledger.broken(Promise::InTime, what);
    for journal in journals.values() {
        for (due, answered) in journal.sleeps() {
            if answered.time < due {
                broken(format!("run {}: a timer that is due at {due:?} fired at {:?}", journal.run.run, answered.time));
            }
        }
    }
    if !stage.setup.has_one_time() {
        return;
    }
    let cancels = stage.ledger.lock().cancels.clone();
    for cancel in cancels {
        let Some(journal) = journals.get(&cancel.run) else { continue };
        let place = journal.place_of_message(cancel.message);
        let slack = IN_TIME_SLACK + stage.setup.faults.delay_max + SKEW_STEP * 10;
        for (due, answered) in journal.sleeps() {
            let fired = stage.virtual_time(answered.time);
            let is_before = place.is_none_or(|place| answered.position < place);
            if cancel.arrived <= due && is_before && fired > cancel.acknowledged + slack {
                let run = cancel.run.run;
                broken(format!("run {run}: a cancel of {:?} stands behind a timer of {due:?}", cancel.arrived));
            }
        }
    }
}

/// A run that was asked to cancel is ended by the host when its grace is over: not before, and not long after.
fn grace(stage: &Stage, journal: &Journal) {
    let broken = |what: String| stage.ledger.broken(Promise::InTime, format!("run {}: {what}", journal.run.run));
    let cancelled = journal.entries.iter().find(|entry| matches!(entry.kind, Kind::CancelReceived(_)));
    let Some((cancelled, last)) = cancelled.zip(journal.entries.last()) else { return };
    let by = (cancelled.time + grace_of(&journal.entries)).max(told_last(&journal.entries));
    let Kind::Finished(finished) = &last.kind else { return };
    let is_by_host = finished.fingerprint.is_none() && matches!(finished.end, End::Cancelled { .. });
    // One that is stuck is ended as it is, at once.
    let may_be_stuck = stage.setup.recalls_max() > 3;
    if is_by_host && last.time < by && !may_be_stuck {
        broken(format!("the host ended it at {:?}, and it had until {by:?}", last.time));
    }
    let calm_since = stage.ledger.lock().calm_since;
    if let Some(calm_since) = calm_since.filter(|_| stage.setup.has_one_time()) {
        let until = stage.virtual_time(by).max(calm_since) + ENDED_WITHIN;
        if stage.virtual_time(last.time) > until {
            broken(format!("it ended at {:?}, and had until {by:?} after its cancel", last.time));
        }
    }
}

/// A step that has to begin or to be answered by some time fails then: not before, and nothing begins or counts
/// after it.
fn deadlines(stage: &Stage, journal: &Journal) {
    let broken = |what: String| stage.ledger.broken(Promise::InTime, format!("run {}: {what}", journal.run.run));
    // Clocks that are set make an entry later than its moment.
    let slack = stage.setup.has_one_time().then(|| IN_TIME_SLACK + stage.setup.faults.delay_max + SKEW_STEP * 10);
    let is_late = |time: Timestamp, by: Timestamp| slack.is_some_and(|slack| time > by + slack);
    let mut timed: BTreeMap<StepId, StepTimed> = BTreeMap::new();
    let mut begun: BTreeSet<StepId> = BTreeSet::new();
    let mut given_up: BTreeMap<StepId, Timestamp> = BTreeMap::new();
    for entry in &journal.entries {
        let (time, place) = (entry.time, entry.position);
        let Some(of) = entry.kind.step() else { continue };
        match (&entry.kind, timed.get(&of)) {
            (Kind::StepCancelAsked(_), _) => _ = given_up.insert(of, time),
            (Kind::StepTimed(set), None) => _ = timed.insert(of, set.clone()),
            (Kind::StepTimed(_), Some(before)) => broken(format!("at {place} {before:?} is set anew")),
            (Kind::AttemptStarted(attempt), times) => {
                let by = times.and_then(|times| if attempt.attempt == 1 { times.start_by } else { None });
                let by = [by, times.and_then(|times| times.close_by)].into_iter().flatten().min();
                if by.is_some_and(|by| is_late(time, by)) {
                    broken(format!("at {place} an attempt of step {of} begins, after {by:?}"));
                }
                begun.insert(of);
            }
            (Kind::Answered(_), times) => {
                let code = failure_of(&entry.kind).map(|failure| failure.code);
                let (start_by, close_by) = times.map_or((None, None), |times| (times.start_by, times.close_by));
                let is_right = match code.as_deref() {
                    Some(code::START_TIMEOUT) => start_by.is_some_and(|by| by <= time) && !begun.contains(&of),
                    Some(code::CLOSE_TIMEOUT) => close_by.is_some_and(|by| by <= time),
                    // A workflow that was held up can give up a step that is late in the moment in which it goes on.
                    Some(code::CANCELLED) => {
                        let asked = given_up.get(&of).copied().unwrap_or_default();
                        close_by.is_none_or(|by| !is_late(time, by.max(asked)))
                    }
                    Some(_) | None => close_by.is_none_or(|by| !is_late(time, by)),
                };
                if !is_right {
                    broken(format!("at {place} step {of} is answered {code:?} at {time:?}, and had {times:?}"));
                }
            }
            _ => {}
        }
    }
}

/// When somebody said last how long it has.
fn told_last(entries: &[Entry]) -> Timestamp {
    let is_told = |entry: &&Entry| matches!(entry.kind, Kind::GraceSet(_));
    entries.iter().rev().find(is_told).map(|entry| entry.time).unwrap_or_default()
}

/// What was said last counts.
fn grace_of(entries: &[Entry]) -> Duration {
    let said = entries.iter().rev().find_map(|entry| match &entry.kind {
        Kind::GraceSet(set) => Some(Duration::from_millis(set.grace_ms)),
        _ => None,
    });
    said.unwrap_or(GRACE)
}
