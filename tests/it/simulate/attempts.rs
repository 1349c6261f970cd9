//! What journals say of the attempts of functions: what each is told of those before it, and when the host may
//! break one off.

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    AttemptFailed, AttemptFailedKeeping, AttemptParked, EffectAnswered, EffectAsked, EffectRequest, EffectSettled,
    EffectVerdict, Kind, Outcome, Park, RetryReceived, StepId, StepRequest, Timestamp, Value, code,
};
use trackway_storage::RunKey;

use super::contacts::Contacts;
use super::journal::{ATTEMPTS_MAX, Journal, failure_of};
use super::ledger::Promise;
use super::process::Process;
use super::script::{SKEW_STEP, Stage};

/// What the function of the guest logs first, if it is told how far an earlier attempt was.
const WAS_TOLD: &str = "was told ";

pub async fn hold(stage: &Stage, process: &Process, journals: &BTreeMap<RunKey, Journal>) {
    for journal in journals.values() {
        progress(stage, process, journal).await;
        budgets(stage, journal);
        kept(stage, journal);
        at_most_once(stage, journal);
        if stage.setup.has_one_time() {
            heartbeats(stage, journal);
        }
    }
}

/// What a function says of itself stands before what it does next, and the next attempt is told the last of it.
async fn progress(stage: &Stage, process: &Process, journal: &Journal) {
    let run = journal.run;
    let broken = |what: String| stage.ledger.broken(Promise::Progress, format!("run {}: {what}", run.run));
    let mut said: BTreeMap<StepId, Arc<str>> = BTreeMap::new();
    let mut told: BTreeMap<(StepId, u32), Option<Arc<str>>> = BTreeMap::new();
    let mut ended: Vec<(StepId, u32)> = Vec::new();
    // One that goes on with what another one did is told what that one was told.
    let mut resumed: BTreeSet<StepId> = BTreeSet::new();
    for entry in &journal.entries {
        match &entry.kind {
            Kind::AttemptStarted(begun) => {
                told.insert((begun.step, begun.attempt), said.get(&begun.step).cloned());
            }
            Kind::Progressed(progressed) => {
                if let Some(text) = inline(&progressed.progress) {
                    said.insert(progressed.step, text);
                }
            }
            Kind::FailedKeeping(AttemptFailedKeeping { step, .. }) => _ = resumed.insert(*step),
            Kind::Parked(AttemptParked { step, park: Park::ExhaustedKeeping(_), .. }) => _ = resumed.insert(*step),
            Kind::EffectAsked(asked) => {
                let beat = beat_of(asked);
                let is_said = said.get(&asked.step).is_some_and(|said| said.ends_with(&format!(".{beat:x}~\"")));
                if beat > 0 && !is_said {
                    let (place, said) = (entry.position, said.get(&asked.step));
                    broken(format!("at {place} it is in its beat {beat}, and the last on record is {said:?}"));
                }
            }
            // Log lines are not kept by a restarted run.
            Kind::Answered(answered)
                if matches!(answered.outcome, Outcome::Succeeded(_)) && entry.position >= journal.begins() =>
            {
                ended.extend(told.keys().filter(|(step, _)| *step == answered.step).max());
            }
            _ => {}
        }
    }
    let lines = journal.lines(process).await;
    let mut heard = BTreeMap::new();
    for line in lines.iter().filter(|line| line.key.attempt > 0) {
        if let Some(words) = line.message.strip_prefix(WAS_TOLD) {
            heard.insert((StepId(line.key.step), line.key.attempt), format!("\"{words}\""));
        }
    }
    for (attempt, heard) in heard.iter().filter(|((step, _), _)| !resumed.contains(step)) {
        let expected = told.get(attempt).cloned().flatten();
        if expected.as_deref() != Some(heard.as_str()) {
            broken(format!("attempt {attempt:?} was told {heard}, and on record was {expected:?}"));
        }
    }
    for attempt in ended.into_iter().filter(|(step, _)| !resumed.contains(step)) {
        if let Some(Some(expected)) = told.get(&attempt)
            && !heard.contains_key(&attempt)
        {
            broken(format!("attempt {attempt:?} was told nothing, and on record was {expected}"));
        }
    }
}

/// An attempt that is broken off for its silence was held for as long as it may be silent.
fn heartbeats(stage: &Stage, journal: &Journal) {
    let mut timeouts: BTreeMap<StepId, Duration> = BTreeMap::new();
    let mut taken_up: BTreeMap<StepId, Timestamp> = BTreeMap::new();
    for entry in &journal.entries {
        match &entry.kind {
            Kind::Asked(asked) => {
                if let StepRequest::Call { options, .. } = &asked.request
                    && let Some(timeout) = duration_of(options, "heartbeat_timeout_ms")
                {
                    timeouts.insert(asked.step, timeout);
                }
            }
            Kind::AttemptStarted(begun) => _ = taken_up.insert(begun.step, entry.time),
            Kind::AttemptResumed(resumed) => _ = taken_up.insert(resumed.step, entry.time),
            Kind::Failed(AttemptFailed { step, .. })
            | Kind::FailedKeeping(AttemptFailedKeeping { step, .. })
            | Kind::Parked(AttemptParked { step, .. })
                if failure_of(&entry.kind).is_some_and(|failure| *failure.code == *code::HEARTBEAT_TIMEOUT) =>
            {
                let (since, timeout) = (taken_up.get(step), timeouts.get(step));
                let may = since.zip(timeout).map(|(since, timeout)| *since + *timeout);
                if may.is_none_or(|may| entry.time + SKEW_STEP < may) {
                    let (run, place) = (journal.run.run, entry.position);
                    let what = format!("run {run} at {place}: silent for too long since {since:?}, within {timeout:?}");
                    stage.ledger.broken(Promise::InTime, what);
                }
            }
            _ => {}
        }
    }
}

/// No step is tried more often than it may be, or fails while it may be tried or a person asked.
fn budgets(stage: &Stage, journal: &Journal) {
    let broken = |what: String| stage.ledger.broken(Promise::NotTwice, format!("run {}: {what}", journal.run.run));
    let mut budgets: BTreeMap<StepId, Budget> = BTreeMap::new();
    for entry in &journal.entries {
        let place = entry.position;
        if let Kind::Asked(asked) = &entry.kind
            && let StepRequest::Call { options, .. } = &asked.request
        {
            budgets.insert(asked.step, Budget::of(options));
        }
        let Some(budget) = entry.kind.step().and_then(|step| budgets.get_mut(&step)) else { continue };
        match &entry.kind {
            Kind::AttemptStarted(begun) => {
                budget.begun += 1;
                if budget.begun > budget.attempts {
                    broken(format!("at {place} step {} is tried more than {} times", begun.step, budget.attempts));
                }
            }
            // A person who asks for another one gives all of them.
            Kind::RetryReceived(_) => budget.begun = 0,
            // Another attempt would begin when its time is over.
            Kind::StepTimed(timed) => budget.is_short |= timed.close_by.is_some(),
            Kind::Parked(parked) if !matches!(parked.park, Park::Unclear(_)) => {
                let is_final = failure_of(&entry.kind).is_some_and(|failure| !failure.retryable);
                let is_used_up = budget.begun >= budget.attempts || is_final || budget.is_short;
                if !budget.parks || !is_used_up {
                    broken(format!("at {place} step {} is parked after {} attempts", parked.step, budget.begun));
                }
            }
            Kind::Answered(answered) => {
                let failure = failure_of(&entry.kind);
                let is_over = |code: &str| [code::CANCELLED, code::START_TIMEOUT, code::CLOSE_TIMEOUT].contains(&code);
                if budget.parks && failure.is_some_and(|failure| !is_over(&failure.code)) {
                    broken(format!("at {place} step {} fails without a person having been asked", answered.step));
                }
            }
            _ => {}
        }
    }
}

/// An attempt that goes on with what a failed one did gets no answer again that that one had, but for the last; and
/// what it asks for again it asks for under the same key.
fn kept(stage: &Stage, journal: &Journal) {
    let broken = |what: String| stage.ledger.broken(Promise::NotTwice, format!("run {}: {what}", journal.run.run));
    let mut steps: BTreeMap<StepId, Contacts> = BTreeMap::new();
    let mut keys: BTreeMap<(StepId, String), Option<Arc<str>>> = BTreeMap::new();
    for entry in &journal.entries {
        let place = entry.position;
        let Some(step) = entry.kind.step() else { continue };
        let contacts = steps.entry(step).or_default();
        match &entry.kind {
            Kind::EffectAsked(asked) => {
                let before = keys.insert((step, request_of(asked)), asked.key.clone());
                if before.as_ref().is_some_and(|before| *before != asked.key) {
                    broken(format!("at {place} step {step} asks again under another key than {before:?}: {asked:?}"));
                }
            }
            Kind::EffectAnswered(EffectAnswered { effect, .. }) | Kind::EffectSettled(EffectSettled { effect, .. })
                if contacts.has_answer(*effect) =>
            {
                broken(format!("at {place} effect {effect} of step {step} is answered again"));
            }
            _ => {}
        }
        contacts.apply(&entry.kind);
    }
}

fn request_of(asked: &EffectAsked) -> String {
    match &asked.request {
        EffectRequest::Http { request: Value::Inline(request), .. }
        | EffectRequest::Model { request: Value::Inline(request), .. } => request.to_string(),
        EffectRequest::Http { .. }
        | EffectRequest::Sleep { .. }
        | EffectRequest::Model { .. }
        | EffectRequest::AskPerson { .. } => format!("{} of {}", asked.effect, asked.attempt),
    }
}

/// A step that wants no request to be repeated of which nobody knows whether it came about has none repeated, unless a
/// person says so.
fn at_most_once(stage: &Stage, journal: &Journal) {
    let reached = stage.world.reached();
    let mut steps: BTreeSet<StepId> = BTreeSet::new();
    let mut urls: BTreeSet<(StepId, String)> = BTreeSet::new();
    for entry in &journal.entries {
        match &entry.kind {
            Kind::Asked(asked) => {
                if let StepRequest::Call { options, .. } = &asked.request
                    && options.contains("\"ambiguous\"")
                {
                    steps.insert(asked.step);
                }
            }
            Kind::RetryReceived(RetryReceived { step, verdict: Some(EffectVerdict::Repeat), .. }) => {
                steps.remove(step);
            }
            Kind::EffectAsked(asked) => {
                if let EffectRequest::Http { request: Value::Inline(request), .. } = &asked.request
                    && let Ok(request) = serde_json::from_str::<Json>(request)
                    && request["method"] == "POST"
                    && let Some(url) = request["url"].as_str()
                {
                    urls.insert((asked.step, url.to_owned()));
                }
                if let (EffectRequest::Model { .. }, Some(key)) = (&asked.request, &asked.key) {
                    urls.insert((asked.step, key.to_string()));
                }
            }
            _ => {}
        }
    }
    for (step, url) in urls.into_iter().filter(|(step, _)| steps.contains(step)) {
        if let Some(times) = reached.get(&url).filter(|times| **times > 1) {
            let what = format!("run {}: step {step} reached {url} {times} times", journal.run.run);
            stage.ledger.broken(Promise::NotTwice, what);
        }
    }
}

/// How often a step is tried by itself.
struct Budget {
    attempts: u32,
    parks: bool,
    begun: u32,
    is_short: bool,
}

impl Budget {
    fn of(options: &str) -> Budget {
        let options: Json = serde_json::from_str(options).unwrap_or_default();
        let attempts = options["retry"]["attempts"].as_u64().and_then(|attempts| attempts.try_into().ok());
        let parks = options["retry"]["exhausted"] == "park";
        Budget { attempts: attempts.unwrap_or(ATTEMPTS_MAX), parks, begun: 0, is_short: false }
    }
}

/// Of an option in milliseconds.
fn duration_of(options: &str, name: &str) -> Option<Duration> {
    let options: Json = serde_json::from_str(options).ok()?;
    options[name].as_u64().map(Duration::from_millis)
}

/// What the function had said by then: so many times.
fn beat_of(asked: &EffectAsked) -> u32 {
    let EffectRequest::Http { request: Value::Inline(request), .. } = &asked.request else { return 0 };
    let said = request.split("&beat=").nth(1).unwrap_or_default();
    let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn inline(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Inline(text) => Some(text.clone()),
        Value::Stored { .. } => None,
    }
}
