//! The replay machine: holds what a guest does against what is on record, and says what it gets next.
//!
//! A journal interleaves two sequences. *Commands* are matched in the order of the program;
//! *completions* are delivered in the order of the journal. There is no switch between replay and
//! live: when the recorded commands are used up, the next one is new. One machine serves a
//! workflow, or one attempt of a function. It never waits and never asks what time it is.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use self::beside::Beside;
use self::compare::Held;
use self::early::Early;
use crate::divergence::describe;
use crate::mail::{Mail, Taken};
use crate::{
    Act, Command, Divergence, EffectKind, EffectRecord, End, Entry, Fingerprint, Finished, Kind, Letter, MessageId,
    Outcome, Position, Proof, Timestamp, Topic,
};

mod beside;
mod compare;
mod early;
mod patches;
mod told;

#[cfg(test)]
mod tests;

pub use beside::NOTED_FUEL_MIN;

/// What to do about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is on record, and so is its answer or that it will be forgotten: nothing to do.
    Recall {
        id: u32,
    },
    /// It is on record without an answer: take it up again once the guest has caught up. Of a
    /// `cancel`: ask again to stop what the id stands for.
    Resume {
        id: u32,
    },
    /// It is new: journal it with this proof and carry it out.
    Perform {
        id: u32,
        proof: Proof,
    },
    /// It names an id that is not open: neither journaled nor counted.
    Ignore,
    Diverged(Box<Divergence>),
}

/// What to do about a guest that asks whether it may do as its newer code does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchDecision {
    /// It is settled: tell it.
    Known(bool),
    /// It may: journal that with this proof.
    Record(Proof),
    /// It asks about more than [`PATCHES_MAX`].
    TooMany,
    Diverged(Box<Divergence>),
}

/// Of one run: more would be a mistake, and each is remembered.
pub const PATCHES_MAX: usize = 1_000;

/// What a guest that asks for a completion gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Deliver(Completion),
    /// Nothing is open, so nothing can ever come.
    NothingOpen,
    Wait,
    Diverged(Box<Divergence>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// Under the id by which the guest knows what it asked for.
    Answer {
        id: u32,
        outcome: Outcome,
    },
    Cancel {
        reason: Arc<str>,
    },
}

/// How much was held against the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Compared {
    /// Commands whose digest, place between deliveries and fuel were compared.
    pub with_fuel: u64,
    /// Commands compared without fuel, because another engine or component recorded them.
    pub without_fuel: u64,
    pub deliveries: u64,
}

impl Compared {
    pub fn add(&mut self, other: Compared) {
        self.with_fuel += other.with_fuel;
        self.without_fuel += other.without_fuel;
        self.deliveries += other.deliveries;
    }
}

/// Whether the fuel on record was counted by the very engine and code that run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuelRule {
    Exact,
    /// Other code or engine: up to [`FUEL_FACTOR`] times the recorded amount.
    Loose,
}

/// Another engine version counts differently, but not by this much.
const FUEL_FACTOR: u64 = 4;
/// Small counts differ by more than a factor.
const FUEL_SLACK: u64 = 100_000;

#[derive(Debug)]
struct Recorded {
    command: Command,
    proof: Proof,
    fuel_rule: FuelRule,
}

#[derive(Debug)]
struct Arrived {
    position: Position,
    time: Timestamp,
    outcome: Outcome,
}

/// The run's cancel.
#[derive(Debug)]
enum Cancel {
    NotReceived,
    Waiting { position: Position, time: Timestamp, reason: Arc<str> },
    Delivered,
}

#[derive(Debug)]
pub struct Machine {
    /// On record and not yet done by the guest, in the order of the program.
    recorded: VecDeque<Recorded>,
    /// Answers on record for ids that the guest has not asked for yet.
    early: Early,
    /// Asked for, neither delivered nor forgotten; with the place of the answer, once it is there.
    open: BTreeMap<u32, Option<Position>>,
    /// The answers of open ids, by their place in the journal.
    deliverable: BTreeMap<Position, (u32, Timestamp, Outcome)>,
    /// Signals, and the open ids that wait for one.
    mail: Mail,
    cancel: Cancel,
    /// Ids whose `forget` is on record and not yet done.
    will_be_forgotten: BTreeSet<u32>,
    /// Ids that the guest has cancelled and that are open.
    cancelled: BTreeSet<u32>,
    /// Updates that were delivered and not answered, by the id that took each.
    updates: BTreeMap<u32, MessageId>,
    /// The keys under which the guest has published.
    published: BTreeSet<Arc<str>>,
    /// Begun and not ended.
    spans: BTreeSet<u32>,
    /// Commands without an id that the guest may give as often as it likes: they count as operations.
    told: u32,
    /// What the guest was told of each patch that it asked about.
    patches: BTreeMap<Arc<str>, bool>,
    ids: u32,
    /// Those before the guest's first one.
    base: u32,
    commands: u64,
    deliveries: u32,
    /// Whose answer was delivered last.
    last: Option<u32>,
    now: Timestamp,
    budget: u64,
    /// How much more than on record the guest has used since the last delivery, because its engine
    /// counts otherwise. Its budget grows by as much, so that a new engine cannot end a run that
    /// the old one let go on.
    excess: u64,
    beside: Beside,
    end: Option<RecordedEnd>,
    compared: Compared,
}

#[derive(Debug)]
struct RecordedEnd {
    fingerprint: Fingerprint,
    trapped: bool,
    fuel_rule: FuelRule,
}

impl Machine {
    /// `now` is the guest's time until the first delivery, `budget` its fuel between deliveries.
    pub fn new(now: Timestamp, budget: u64) -> Machine {
        Machine {
            recorded: VecDeque::new(),
            early: Early::default(),
            open: BTreeMap::new(),
            deliverable: BTreeMap::new(),
            mail: Mail::default(),
            cancel: Cancel::NotReceived,
            will_be_forgotten: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            updates: BTreeMap::new(),
            published: BTreeSet::new(),
            spans: BTreeSet::new(),
            told: 0,
            patches: BTreeMap::new(),
            ids: 0,
            base: 0,
            commands: 0,
            deliveries: 0,
            last: None,
            now,
            budget,
            excess: 0,
            beside: Beside::default(),
            end: None,
            compared: Compared::default(),
        }
    }

    /// The machine of a run that was continued: `steps` and `commands` count on, the guest sees its own.
    pub(crate) fn counting_on(self, steps: u32, commands: u64, published: BTreeSet<Arc<str>>) -> Machine {
        Machine { ids: steps, base: steps, commands, published, ..self }
    }

    /// The step that the guest knows under this id: its own count from 1.
    pub fn step_of(&self, guest: u32) -> u32 {
        // 0 is nobody's; with steps before, it must not become one of those.
        if guest == 0 { 0 } else { guest.saturating_add(self.base) }
    }

    /// The keys under which the run has published.
    pub fn published(&self) -> Vec<Arc<str>> {
        self.published.iter().cloned().collect()
    }

    /// Under which id the guest knows the step.
    pub fn guest_id(&self, step: u32) -> u32 {
        step.saturating_sub(self.base)
    }

    /// Where what was sent to the run stands, in order, that nobody has taken, or that these steps took and
    /// give back.
    pub fn mail_left(&self, unused: &[u32]) -> Vec<Position> {
        // An update that has no answer is there again.
        self.mail.left(unused, self.updates.keys().copied())
    }

    /// Takes in an entry that was on record before the guest began: whatever its workflow did or
    /// got. `fuel_rule` is that of the claim under which it was written.
    pub fn recall(&mut self, entry: &Entry, fuel_rule: FuelRule) {
        let (position, time) = (entry.position, entry.time);
        match &entry.kind {
            Kind::Asked(asked) => self.expect(asked.into(), asked.proof, fuel_rule),
            Kind::Forgotten(forgotten) => self.expect(forgotten.into(), forgotten.proof, fuel_rule),
            Kind::StepCancelAsked(asked) => self.expect(asked.into(), asked.proof, fuel_rule),
            Kind::Patched(patched) => self.expect(patched.into(), patched.proof, fuel_rule),
            Kind::Emitted(emitted) => self.expect(emitted.into(), emitted.proof, fuel_rule),
            Kind::Answered(answered) => self.answered(position, time, answered.step.0, answered.outcome.clone()),
            Kind::ChildEnded(ended) => self.answered(position, time, ended.step.0, ended.outcome.clone()),
            Kind::CancelReceived(cancel) => self.cancel_received(position, time, cancel.reason.clone()),
            Kind::Settled(settled) => self.answered(position, time, settled.step.0, settled.outcome.clone()),
            Kind::Signalled(_) | Kind::UpdateReceived(_) => {
                if let Some((topic, letter)) = Topic::of_entry(entry) {
                    self.mail_arrived(topic, letter);
                }
            }
            Kind::Published(published) => self.expect(published.into(), published.proof, fuel_rule),
            Kind::Replied(replied) => self.expect(replied.into(), replied.proof, fuel_rule),
            Kind::Finished(Finished { end, fingerprint: Some(fingerprint), .. }) => {
                // What a guest had used when it trapped is counted only up to the engine's last look,
                // so it does not bound how far a replay has to go to trap there again.
                let trapped = matches!(end, End::Failed(_));
                self.expect_end(*fingerprint, trapped, fuel_rule);
            }
            Kind::Continued(continued) => self.expect_end(continued.fingerprint, false, fuel_rule),
            Kind::FuelUsed(used) if used.attempt.is_none() => self.beside.noted(used.fuel),
            Kind::Finished(Finished { fingerprint: None, .. })
            | Kind::Started(_)
            | Kind::Claimed(_)
            | Kind::AttemptStarted(_)
            | Kind::AttemptResumed(_)
            | Kind::EffectAsked(_)
            | Kind::EffectAnswered(_)
            | Kind::Failed(_)
            | Kind::Paused(_)
            | Kind::Resumed(_)
            | Kind::Forked(_)
            | Kind::ChildOf(_)
            | Kind::ChildStarted(_)
            | Kind::FailedKeeping(_)
            | Kind::Parked(_)
            | Kind::RetryReceived(_)
            | Kind::Progressed(_)
            | Kind::Moved(_)
            | Kind::StepTimed(_)
            | Kind::GraceSet(_)
            | Kind::AttemptEmitted(_)
            | Kind::ModelUsed(_)
            | Kind::SpendingTaken(_)
            | Kind::SpanBegun(_)
            | Kind::SpanEnded(_)
            // Only what was taken reaches the guest.
            | Kind::UpdateOffered(_)
            | Kind::UpdateExpired(_)
            | Kind::EffectSettled(_)
            | Kind::FuelUsed(_)
            | Kind::DeadlineSet(_) => {}
        }
    }

    /// The same for the machine of an attempt.
    pub fn recall_effect(&mut self, record: &EffectRecord, fuel_rule: FuelRule) {
        match &record.kind {
            EffectKind::Asked(asked) => self.expect(asked.into(), asked.proof, fuel_rule),
            EffectKind::Emitted(emitted) => self.expect(emitted.into(), emitted.proof, fuel_rule),
            EffectKind::Begun(begun) => self.expect(begun.into(), begun.proof, fuel_rule),
            EffectKind::Ended(ended) => self.expect(ended.into(), ended.proof, fuel_rule),
            EffectKind::Answered(answered) => {
                self.answered(record.position, record.time, answered.effect.0, answered.outcome.clone());
            }
        }
    }

    /// A command that is on record. All of these come before the guest's first one.
    pub fn expect(&mut self, command: Command, proof: Proof, fuel_rule: FuelRule) {
        if let Act::Forget { id } = command.act {
            self.will_be_forgotten.insert(id);
        }
        self.recorded.push_back(Recorded { command, proof, fuel_rule });
    }

    /// The end that is on record, when a finished run is replayed.
    pub fn expect_end(&mut self, fingerprint: Fingerprint, trapped: bool, fuel_rule: FuelRule) {
        self.end = Some(RecordedEnd { fingerprint, trapped, fuel_rule });
    }

    /// Something that was sent to the run stands in the journal: on record, or just sequenced.
    pub fn mail_arrived(&mut self, topic: Topic, letter: Letter) {
        self.mail.arrived(topic, letter);
    }

    /// An answer stands in the journal: on record, or just sequenced. The first one of an id counts.
    /// An id that waits for mail is answered only together with a command of the guest (refused, or
    /// cancelled), and takes none from then on.
    pub fn answered(&mut self, position: Position, time: Timestamp, id: u32, outcome: Outcome) {
        self.mail.close(id);
        if id > self.ids {
            self.early.arrived(id, Arrived { position, time, outcome });
        } else if let Some(answer @ None) = self.open.get_mut(&id) {
            *answer = Some(position);
            self.deliverable.insert(position, (id, time, outcome));
        }
    }

    /// The run's cancel stands in the journal. Delivered once.
    pub fn cancel_received(&mut self, position: Position, time: Timestamp, reason: Arc<str>) {
        if matches!(self.cancel, Cancel::NotReceived) {
            self.cancel = Cancel::Waiting { position, time, reason };
        }
    }

    /// The guest gives a command that starts something.
    pub fn ask(&mut self, command: Command, fuel: u64) -> Decision {
        let id = self.ids.saturating_add(1);
        let held = self.hold_against_record(&command, Some(id), fuel);
        let topic = command.act.topic();
        if let Held::Diverged(divergence) = held {
            return Decision::Diverged(divergence);
        }
        self.ids = id;
        let arrived = self.early.take(id);
        if arrived.is_none()
            && let Some(topic) = topic
        {
            self.mail.open(id, topic);
        }
        let is_settled = arrived.is_some() || self.will_be_forgotten.contains(&id);
        self.open.insert(id, arrived.as_ref().map(|arrived| arrived.position));
        if let Some(Arrived { position, time, outcome }) = arrived {
            self.deliverable.insert(position, (id, time, outcome));
        }
        match held {
            Held::New(proof) => Decision::Perform { id, proof },
            Held::Same if is_settled => Decision::Recall { id },
            Held::Same => Decision::Resume { id },
            Held::Diverged(divergence) => Decision::Diverged(divergence),
        }
    }

    /// The guest of a run gives a command about an id: `forget` or `cancel`. Those of an attempt
    /// are not journaled, its function repeats them by itself: see [`Machine::close`].
    pub fn about(&mut self, id: u32, command: Command, fuel: u64) -> Decision {
        let Some(answer) = self.open.get(&id) else {
            return Decision::Ignore;
        };
        let is_pending = answer.is_none();
        if matches!(command.act, Act::Cancel { .. }) && !self.cancelled.insert(id) && !self.is_recorded_next(&command) {
            // It changes nothing, and a guest could fill any disk by it. Journals of before have it on record.
            return Decision::Ignore;
        }
        let decision = match self.hold_against_record(&command, Some(id), fuel) {
            Held::New(proof) => Decision::Perform { id, proof },
            Held::Same
                if command.act == (Act::Cancel { id }) && is_pending && !self.will_be_forgotten.contains(&id) =>
            {
                Decision::Resume { id }
            }
            Held::Same => Decision::Recall { id },
            Held::Diverged(divergence) => return Decision::Diverged(divergence),
        };
        match command.act {
            Act::Forget { .. } => self.close(id),
            // From here on it is completed by the answer that says so, and by nothing else.
            Act::Cancel { .. } => self.mail.close(id),
            Act::Call { .. }
            | Act::Http
            | Act::Model
            | Act::Sleep { .. }
            | Act::StartRun { .. }
            | Act::Receive { .. }
            | Act::Patched { .. }
            | Act::Emit { .. }
            | Act::Begin { .. }
            | Act::End { .. }
            | Act::AskPerson
            | Act::Promise { .. }
            | Act::Entity { .. }
            | Act::AcceptUpdate { .. }
            | Act::Publish { .. }
            | Act::Reply { .. } => {}
        }
        decision
    }

    /// Closes an id without a command: an effect's `forget`, which its function repeats by itself.
    pub fn close(&mut self, id: u32) {
        self.will_be_forgotten.remove(&id);
        self.cancelled.remove(&id);
        self.mail.close(id);
        if let Some(Some(position)) = self.open.remove(&id) {
            self.deliverable.remove(&position);
        }
    }

    /// The guest asks for the next completion.
    pub fn deliver(&mut self) -> Next {
        if self.open.is_empty() {
            return Next::NothingOpen;
        }
        self.pass_over_patches(None);
        if let Some(divergence) = self.too_many_deliveries() {
            return Next::Diverged(divergence);
        }
        let answer = self.deliverable.first_key_value().map(|(position, _)| *position);
        let mail = self.mail.first();
        let first = [answer, mail].into_iter().flatten().min();
        if let Cancel::Waiting { position, time, reason } = &self.cancel
            && first.is_none_or(|first| *position < first)
        {
            let (time, reason) = (*time, reason.clone());
            self.cancel = Cancel::Delivered;
            self.delivered(time);
            return Next::Deliver(Completion::Cancel { reason });
        }
        if mail.is_some()
            && mail == first
            && let Some(Taken { id, topic, letter }) = self.mail.take_first()
        {
            self.open.remove(&id);
            if let Topic::Update(_) = topic {
                self.updates.insert(id, letter.message);
            }
            self.delivered(letter.time);
            let id = self.guest_id(id);
            return Next::Deliver(Completion::Answer { id, outcome: Outcome::Succeeded(letter.body) });
        }
        if let Some((_, (id, time, outcome))) = self.deliverable.pop_first() {
            self.open.remove(&id);
            self.cancelled.remove(&id);
            self.last = Some(id);
            self.delivered(time);
            return Next::Deliver(Completion::Answer { id: self.guest_id(id), outcome });
        }
        match self.before_what_is_recorded() {
            None => Next::Wait,
            Some(divergence) => Next::Diverged(Box::new(Divergence { produced: self.describe_wait(), ..divergence })),
        }
    }

    /// The guest has come to its end. Says how it came there, or how that differs from the record.
    pub fn end(&mut self, fuel: u64) -> Result<Fingerprint, Box<Divergence>> {
        self.pass_over_patches(None);
        if let Some(recorded) = self.recorded.front() {
            return Err(Box::new(Divergence { produced: "the end".to_owned(), ..self.divergence(recorded) }));
        }
        let fingerprint = Fingerprint { commands: self.commands, deliveries: self.deliveries, fuel };
        match &self.end {
            Some(end) if !end.agrees_with(&fingerprint) => {
                let produced = format!("the end {}", describe(&fingerprint));
                Err(Box::new(Divergence { produced, ..self.divergence_from_end(end) }))
            }
            Some(_) | None => Ok(fingerprint),
        }
    }

    /// The guest used up what it was allowed before its next recorded command or end.
    pub fn ran_past_record(&self) -> Option<Box<Divergence>> {
        let produced = format!("more computing than that after {} deliveries", self.deliveries);
        let ends_so = self.recorded.is_empty() && self.end.as_ref().is_some_and(|end| end.trapped);
        let divergence = self.before_what_is_recorded().filter(|_| !ends_so)?;
        Some(Box::new(Divergence { produced, ..divergence }))
    }

    /// How much fuel the guest may still use, having used `fuel` since the last delivery.
    pub fn allowance(&self, fuel: u64) -> u64 {
        let (bound, fuel_rule) = match (self.recorded.front(), &self.end) {
            // One more than recorded, since the engine stops a guest that has none left at a check
            // between its last counted instruction and the command.
            (Some(recorded), _) if recorded.proof.deliveries == self.deliveries => {
                (recorded.proof.fuel.saturating_add(1), recorded.fuel_rule)
            }
            (None, Some(end)) if !end.trapped && end.fingerprint.deliveries == self.deliveries => {
                (end.fingerprint.fuel.saturating_add(1), end.fuel_rule)
            }
            // The guest goes on to another delivery, so it stayed within its budget here.
            (Some(recorded), _) => (u64::MAX, recorded.fuel_rule),
            (None, Some(end)) if end.fingerprint.deliveries != self.deliveries => (u64::MAX, end.fuel_rule),
            (None, _) => (u64::MAX, FuelRule::Exact),
        };
        // What a forged record allows is bounded by the budget too.
        let bound = match fuel_rule {
            FuelRule::Exact => bound.min(self.budget.saturating_add(self.excess)),
            FuelRule::Loose => bound.min(self.budget).saturating_mul(FUEL_FACTOR).saturating_add(FUEL_SLACK),
        };
        bound.saturating_sub(fuel)
    }

    /// What the guest does next, if it does what is on record.
    pub fn next_on_record(&self) -> Option<&Command> {
        self.recorded.front().map(|recorded| &recorded.command)
    }

    /// Nothing on record is left to be done by the guest: what it does from here on is new.
    pub fn has_caught_up(&self) -> bool {
        self.recorded.is_empty()
    }

    /// The guest's time: that of its last delivery.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// How many completions the guest has got, and whose answer was the last.
    pub fn delivered_last(&self) -> (u32, Option<u32>) {
        (self.deliveries, self.last)
    }

    pub fn is_open(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// How many ids the guest was given.
    pub fn ids(&self) -> u32 {
        self.ids - self.base
    }

    /// Whether a guest that asks for the next completion would get [`Next::Wait`].
    pub fn would_wait(&self) -> bool {
        !self.open.is_empty()
            && self.deliverable.is_empty()
            && self.mail.first().is_none()
            && !matches!(self.cancel, Cancel::Waiting { .. })
            && self.recorded.is_empty()
            && self.end.is_none()
    }

    /// The cancel has reached the guest.
    pub fn cancel_was_delivered(&self) -> bool {
        matches!(self.cancel, Cancel::Delivered)
    }

    pub fn compared(&self) -> Compared {
        self.compared
    }

    fn delivered(&mut self, time: Timestamp) {
        self.deliveries = self.deliveries.saturating_add(1);
        self.excess = 0;
        self.beside.delivered();
        self.now = self.now.max(time);
        self.compared.deliveries += u64::from(!self.recorded.is_empty() || self.end.is_some());
    }
}
