//! One run's journal as it stands at the end, and what must be true of any journal by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trackway_replay::{
    Answered, Asked, AttemptEmitted, EffectAnswered, EffectRequest, EffectSettled, Emitted, End, Entry, Failure, Kind,
    MessageId, Outcome, Position, RunState, StepId, StepRequest, Timestamp, Value, code,
};
use trackway_storage::{LogLine, RunKey, Storage, StoredFrame};

use super::ledger::{Archive, Broken, Promise};
use super::process::{Process, worker_name};

/// Of the function of the guest.
pub const ATTEMPTS_MAX: u32 = 20;

pub struct Journal {
    pub run: RunKey,
    pub frames: Vec<StoredFrame>,
    pub entries: Vec<Entry>,
    /// Of a run that was removed since, which is not in the store any more.
    pub archive: Option<Archive>,
}

impl Journal {
    /// The text of a value, in the journal or beside it.
    pub async fn text(&self, process: &Process, value: &Value) -> Result<String, String> {
        let digest = match value {
            Value::Inline(text) => return Ok(text.to_string()),
            Value::Stored { digest, .. } => *digest,
        };
        let bytes = match &self.archive {
            Some(archive) => Ok(archive.payloads.get(&digest).cloned()),
            None => process.door.store.payload(self.run, digest).await,
        };
        match bytes {
            Ok(Some(bytes)) => String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string()),
            other => Err(format!("payload {digest:.12}: {other:?}")),
        }
    }

    /// Its log.
    pub async fn lines(&self, process: &Process) -> Vec<LogLine> {
        match &self.archive {
            Some(archive) => archive.lines.clone(),
            None => process.door.store.logs(self.run, None, usize::MAX).await.unwrap_or_default(),
        }
    }

    /// Where it begins to do something of its own: behind what it keeps of another run.
    pub fn begins(&self) -> Position {
        match self.entries.get(1).map(|entry| &entry.kind) {
            Some(Kind::Forked(forked)) => Position(2 + forked.entries),
            _ => Position::FIRST,
        }
    }

    /// Of the plan that the run was started with.
    pub fn tag(&self) -> Option<String> {
        let Kind::Started(started) = &self.entries.first()?.kind else { return None };
        let Value::Inline(input) = &started.input else { return None };
        let input: serde_json::Value = serde_json::from_str(input).ok()?;
        input["tag"].as_str().map(str::to_owned)
    }

    /// Or terminated, or one of its children was: by themselves they never fail.
    pub fn was_cancelled(&self) -> bool {
        let is_end = |end: &End| matches!(end, End::Terminated { .. });
        self.entries.iter().any(|entry| match &entry.kind {
            Kind::CancelReceived(_) => true,
            Kind::Finished(finished) => is_end(&finished.end),
            Kind::ChildEnded(ended) => matches!(ended.outcome, Outcome::Failed(_)),
            _ => false,
        })
    }

    /// Some step failed as often as it may.
    pub fn has_used_up_attempts(&self) -> bool {
        let is_last =
            |entry: &Entry| matches!(&entry.kind, Kind::AttemptStarted(begun) if begun.attempt >= ATTEMPTS_MAX);
        self.entries.iter().any(is_last)
    }

    /// Nobody knew of some contact whether it came about, and it counts as failed.
    pub fn was_unclear(&self) -> bool {
        let is_unclear =
            |entry: &Entry| failure_of(&entry.kind).is_some_and(|failure| *failure.code == *code::AMBIGUOUS);
        self.entries.iter().any(is_unclear)
    }

    /// Where an inbox item stands, read or unread.
    pub fn place_of_message(&self, message: MessageId) -> Option<Position> {
        let names_it = |entry: &&Entry| match &entry.kind {
            Kind::CancelReceived(cancel) => cancel.message == message,
            Kind::GraceSet(set) => set.message == message,
            Kind::RetryReceived(retry) => retry.message == message,
            Kind::Signalled(signalled) => signalled.message == message,
            Kind::Finished(finished) => finished.unread.contains(&message),
            _ => false,
        };
        self.entries.iter().find(names_it).map(|entry| entry.position)
    }

    /// Whether the answer to that update stands.
    pub fn has_replied(&self, message: MessageId) -> bool {
        self.entries.iter().any(|entry| matches!(&entry.kind, Kind::Replied(replied) if replied.message == message))
    }

    /// Whether a promise was settled by somebody, or nobody waits for it any more.
    pub fn has_done_with(&self, promise: StepId) -> bool {
        self.entries.iter().any(|entry| match &entry.kind {
            Kind::Settled(settled) => settled.step == promise && settled.request.is_some(),
            Kind::Answered(_) | Kind::Forgotten(_) => entry.kind.step() == Some(promise),
            Kind::Finished(_) => true,
            _ => false,
        })
    }

    /// Whether a step that waited for a person was tried again, or need not be.
    pub fn has_tried_again(&self, parked: StepId, since: Position) -> bool {
        self.entries.iter().filter(|entry| entry.position > since).any(|entry| match &entry.kind {
            Kind::RetryReceived(retry) => retry.step == parked,
            Kind::Answered(_) | Kind::Forgotten(_) => entry.kind.step() == Some(parked),
            Kind::Finished(_) => true,
            _ => false,
        })
    }

    /// What the run told and kept, with its place.
    pub fn told(&self) -> BTreeMap<Position, String> {
        let told = self.entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Emitted(Emitted { name, data: Value::Inline(data), .. })
            | Kind::AttemptEmitted(AttemptEmitted { name, data: Value::Inline(data), .. }) => {
                Some((entry.position, format!("{name} {data}")))
            }
            _ => None,
        });
        told.collect()
    }

    /// Where what was published last under each key stands.
    pub fn published(&self) -> BTreeMap<Arc<str>, Position> {
        let states = self.entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Published(published) => Some((published.key.clone(), entry.position)),
            _ => None,
        });
        states.collect()
    }

    /// Whether what was published under that key stands at that place.
    pub fn has_published(&self, key: &str, position: Position) -> bool {
        let there = self.entries.get(position.0 as usize).map(|entry| &entry.kind);
        matches!(there, Some(Kind::Published(published)) if &*published.key == key)
    }

    /// When each sleep that came to its end was due, and the entry that says so.
    pub fn sleeps(&self) -> Vec<(Timestamp, &Entry)> {
        let mut due: BTreeMap<StepId, Timestamp> = BTreeMap::new();
        let mut sleeps = Vec::new();
        for entry in &self.entries {
            match &entry.kind {
                Kind::Asked(Asked { step, now, request: StepRequest::Sleep { duration_ms, .. }, .. }) => {
                    due.insert(*step, *now + std::time::Duration::from_millis(*duration_ms));
                }
                Kind::Answered(answered) if matches!(answered.outcome, Outcome::Succeeded(_)) => {
                    sleeps.extend(due.get(&answered.step).map(|due| (*due, entry)));
                }
                _ => {}
            }
        }
        sleeps
    }
}

/// The value in an entry, if it has one.
pub fn value_of(kind: &Kind) -> Option<&Value> {
    fn of_outcome(outcome: &Outcome) -> Option<&Value> {
        match outcome {
            Outcome::Succeeded(value) | Outcome::Failed(value) => Some(value),
        }
    }
    match kind {
        Kind::Started(started) => Some(&started.input),
        Kind::Asked(Asked {
            request: StepRequest::Call { input, .. } | StepRequest::StartRun { input, .. }, ..
        }) => Some(input),
        Kind::EffectAsked(asked) => match &asked.request {
            EffectRequest::Http { request, .. } | EffectRequest::Model { request, .. } => Some(request),
            EffectRequest::AskPerson { form, .. } => Some(form),
            EffectRequest::Sleep { .. } => None,
        },
        Kind::EffectAnswered(answered) => of_outcome(&answered.outcome),
        Kind::Answered(answered) => of_outcome(&answered.outcome),
        Kind::ChildEnded(ended) => of_outcome(&ended.outcome),
        Kind::Settled(settled) => of_outcome(&settled.outcome),
        Kind::EffectSettled(settled) => of_outcome(&settled.outcome),
        Kind::Replied(replied) => of_outcome(&replied.outcome),
        Kind::Failed(failed) => Some(&failed.failure),
        Kind::FailedKeeping(failed) => Some(&failed.failure),
        Kind::Parked(parked) => Some(&parked.failure),
        Kind::Progressed(progressed) => Some(&progressed.progress),
        Kind::Signalled(signalled) => Some(&signalled.payload),
        Kind::UpdateReceived(update) => Some(&update.payload),
        Kind::UpdateOffered(offered) => Some(&offered.payload),
        Kind::Published(published) => Some(&published.value),
        Kind::Continued(continued) => Some(&continued.input),
        Kind::Emitted(emitted) => Some(&emitted.data),
        Kind::AttemptEmitted(emitted) => Some(&emitted.data),
        Kind::SpanBegun(begun) => Some(&begun.input),
        Kind::SpanEnded(ended) => of_outcome(&ended.outcome),
        Kind::Finished(finished) => match &finished.end {
            End::Succeeded(value) | End::Failed(value) => Some(value),
            End::Cancelled { .. } | End::Terminated { .. } => None,
        },
        Kind::Asked(_)
        | Kind::Claimed(_)
        | Kind::AttemptStarted(_)
        | Kind::AttemptResumed(_)
        | Kind::ModelUsed(_)
        | Kind::SpendingTaken(_)
        | Kind::Forgotten(_)
        | Kind::StepCancelAsked(_)
        | Kind::CancelReceived(_)
        | Kind::Paused(_)
        | Kind::Resumed(_)
        | Kind::Forked(_)
        | Kind::ChildOf(_)
        | Kind::ChildStarted(_)
        | Kind::RetryReceived(_)
        | Kind::DeadlineSet(_)
        | Kind::Patched(_)
        | Kind::StepTimed(_)
        | Kind::GraceSet(_)
        | Kind::UpdateExpired(_)
        | Kind::FuelUsed(_)
        | Kind::Moved(_) => None,
    }
}

/// What an entry says that went wrong.
pub fn failure_of(kind: &Kind) -> Option<Failure> {
    let failure = match kind {
        Kind::Answered(Answered { outcome: Outcome::Failed(failure), .. })
        | Kind::EffectAnswered(EffectAnswered { outcome: Outcome::Failed(failure), .. })
        | Kind::EffectSettled(EffectSettled { outcome: Outcome::Failed(failure), .. }) => failure,
        Kind::Failed(failed) => &failed.failure,
        Kind::FailedKeeping(failed) => &failed.failure,
        Kind::Parked(parked) => &parked.failure,
        _ => return None,
    };
    Some(Failure::from_value(failure))
}

/// What is wrong with the order in a journal.
pub fn order(journal: &Journal) -> Vec<Broken> {
    let mut found = Vec::new();
    let run = journal.run.run;
    let mut broken = |promise, what: String| found.push(Broken { promise, what: format!("run {run}: {what}") });
    let mut previous = None;
    for frame in &journal.frames {
        if frame.previous != previous {
            broken(Promise::OneOrder, format!("the frame at {} does not follow the one before it", frame.position));
        }
        previous = Some(frame.id);
    }
    let mut before: Option<&Entry> = None;
    for (place, entry) in journal.entries.iter().enumerate() {
        let at = entry.position;
        if at.0 != place as u64 {
            broken(Promise::OneOrder, format!("position {at} stands at {place}"));
        }
        if before.is_some_and(|before| before.time > entry.time) {
            broken(Promise::OneOrder, format!("time goes back at {at}"));
        }
        if before.is_some_and(|before| before.epoch > entry.epoch) {
            broken(Promise::OneOwnerPerEpoch, format!("the epoch goes back at {at}"));
        }
        let is_new = before.is_none_or(|before| before.epoch != entry.epoch);
        match &entry.kind {
            Kind::Started(_) => {}
            // Whoever claims it copies that before anything else.
            _ if at < journal.begins() => {}
            Kind::Claimed(claimed) if claimed.worker == worker_name(entry.epoch) => {}
            Kind::Claimed(claimed) => {
                let what = format!("{} claims in epoch {} at {at}", claimed.worker, entry.epoch);
                broken(Promise::OneOwnerPerEpoch, what);
            }
            _ if is_new => {
                broken(Promise::OneOwnerPerEpoch, format!("epoch {} begins at {at} without a claim", entry.epoch));
            }
            _ => {}
        }
        before = Some(entry);
    }
    if let Err(error) = RunState::of(&journal.entries) {
        broken(Promise::OneOrder, error.to_string());
    }
    twice(journal, &mut broken);
    found
}

/// What begins while somebody holds the run. What was under way comes to its end.
pub fn held(journal: &Journal) -> Vec<Broken> {
    let mut found = Vec::new();
    let (mut is_held, mut is_cancelled) = (false, false);
    for entry in &journal.entries {
        let begins = matches!(entry.kind, Kind::AttemptStarted(_) | Kind::AttemptResumed(_) | Kind::Continued(_));
        match &entry.kind {
            Kind::Paused(_) => is_held = !is_cancelled,
            Kind::Resumed(_) => is_held = false,
            Kind::CancelReceived(_) => (is_held, is_cancelled) = (false, true),
            kind if is_held && (begins || kind.is_command()) => {
                let what = format!("run {} is held, and at {} there is {kind:?}", journal.run.run, entry.position);
                found.push(Broken { promise: Promise::Held, what });
            }
            _ => {}
        }
    }
    found
}

/// What is wrong with the code that claims say, which is that of the start, of a move or of a new round.
pub fn code(journal: &Journal) -> Vec<Broken> {
    let mut found = Vec::new();
    let mut component = None;
    for (place, entry) in journal.entries.iter().enumerate() {
        match &entry.kind {
            Kind::Started(started) => component = Some(started.component),
            Kind::Continued(continued) => component = Some(continued.component),
            Kind::Moved(moved) => component = Some(moved.component),
            Kind::Claimed(claimed) if entry.position >= journal.begins() => {
                let moves = match journal.entries.get(place + 1).map(|next| &next.kind) {
                    Some(Kind::Moved(moved)) => Some(moved.component),
                    _ => None,
                };
                if moves.or(component) != Some(claimed.component) {
                    let what = format!(
                        "run {}: {claimed:?} at {}, and it is on {component:?}",
                        journal.run.run, entry.position
                    );
                    found.push(Broken { promise: Promise::Replays, what });
                }
            }
            _ => {}
        }
    }
    found
}

/// What may stand once at most.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Once {
    Attempt(StepId, u32),
    EffectAsked(StepId, u32, u32),
    EffectAnswered(StepId, u32, u32),
    Failed(StepId, u32),
    Answered(StepId),
    Settled(StepId),
    ModelUsed(StepId, u32, u32),
    SpanBegun(StepId, u32, u32),
    SpanEnded(StepId, u32, u32),
    Message(MessageId),
    Replied(MessageId),
}

fn twice(journal: &Journal, broken: &mut impl FnMut(Promise, String)) {
    let mut stood = BTreeSet::new();
    for entry in &journal.entries {
        let once = match &entry.kind {
            Kind::AttemptStarted(begun) => Once::Attempt(begun.step, begun.attempt),
            Kind::EffectAsked(asked) => Once::EffectAsked(asked.step, asked.attempt, asked.effect.0),
            Kind::EffectAnswered(answered) => Once::EffectAnswered(answered.step, answered.attempt, answered.effect.0),
            // Both are its answer.
            Kind::EffectSettled(settled) => Once::EffectAnswered(settled.step, settled.attempt, settled.effect.0),
            Kind::ModelUsed(used) => Once::ModelUsed(used.step, used.attempt, used.effect.0),
            Kind::SpanBegun(begun) => Once::SpanBegun(begun.step, begun.attempt, begun.span.0),
            Kind::SpanEnded(ended) => Once::SpanEnded(ended.step, ended.attempt, ended.span.0),
            Kind::Failed(failed) => Once::Failed(failed.step, failed.attempt),
            Kind::FailedKeeping(failed) => Once::Failed(failed.step, failed.attempt),
            Kind::Answered(answered) => Once::Answered(answered.step),
            Kind::Settled(settled) => Once::Settled(settled.step),
            Kind::CancelReceived(cancel) => Once::Message(cancel.message),
            Kind::Signalled(signalled) => Once::Message(signalled.message),
            Kind::UpdateReceived(update) => Once::Message(update.message),
            Kind::RetryReceived(retry) => Once::Message(retry.message),
            Kind::Replied(replied) => Once::Replied(replied.message),
            _ => continue,
        };
        if !stood.insert(once) {
            broken(Promise::NotTwice, format!("{} stands again at {}", entry.kind.name(), entry.position));
        }
    }
}
