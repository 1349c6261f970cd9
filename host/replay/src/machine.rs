//! The replay machine: holds what a guest does against what is on record, and says what it gets next.
//!
//! A journal interleaves two sequences. *Commands* are matched in the order of the program;
//! *completions* are delivered in the order of the journal. There is no switch between replay and
//! live: when the recorded commands are used up, the next one is new. One machine serves a
//! workflow, or one attempt of a function. It never waits and never asks what time it is.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Asked, Digest, EffectAsked, EffectRequest, Fingerprint, Outcome, Position, Proof, StepRequest, Timestamp};

/// What a command does, in short: enough to tell one from another in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Call { function: Arc<str> },
    Http,
    Sleep { duration_ms: u64 },
    Forget { id: u32 },
    Cancel { id: u32 },
}

/// A command, as it stands in the journal or as the guest gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub act: Act,
    pub digest: Digest,
    pub at: Option<Arc<str>>,
}

/// What to do about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is on record, and so is all that can come of it: nothing to do.
    Recall {
        id: u32,
    },
    /// It is on record without an answer: take it up again once the guest has caught up.
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
    Answer { id: u32, outcome: Outcome },
    Cancel { reason: Arc<str> },
}

/// The first difference between what is on record and what the guest did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The id of the operation, where it is about one.
    pub id: Option<u32>,
    /// How many commands agreed before.
    pub commands: u64,
    pub recorded: String,
    pub produced: String,
    pub recorded_at: Option<String>,
    pub produced_at: Option<String>,
    pub recorded_digest: Option<Digest>,
    pub produced_digest: Option<Digest>,
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

#[derive(Debug)]
struct Cancel {
    position: Position,
    time: Timestamp,
    reason: Arc<str>,
}

#[derive(Debug)]
pub struct Machine {
    /// On record and not yet done by the guest, in the order of the program.
    recorded: VecDeque<Recorded>,
    /// Answers on record for ids that the guest has not asked for yet.
    early: BTreeMap<u32, Arrived>,
    /// Asked for, neither delivered nor forgotten; with the place of the answer, once it is there.
    open: BTreeMap<u32, Option<Position>>,
    /// The answers of open ids, by their place in the journal.
    deliverable: BTreeMap<Position, (u32, Timestamp, Outcome)>,
    cancel: Option<Cancel>,
    ids: u32,
    commands: u64,
    deliveries: u32,
    now: Timestamp,
    budget: u64,
    end: Option<RecordedEnd>,
    compared: Compared,
}

#[derive(Debug)]
struct RecordedEnd {
    fingerprint: Fingerprint,
    out_of_fuel: bool,
    fuel_rule: FuelRule,
}

impl Machine {
    /// `now` is the guest's time until the first delivery, `budget` its fuel between deliveries.
    pub fn new(now: Timestamp, budget: u64) -> Machine {
        Machine {
            recorded: VecDeque::new(),
            early: BTreeMap::new(),
            open: BTreeMap::new(),
            deliverable: BTreeMap::new(),
            cancel: None,
            ids: 0,
            commands: 0,
            deliveries: 0,
            now,
            budget,
            end: None,
            compared: Compared::default(),
        }
    }

    /// A command that is on record. All of these come before the guest's first one.
    pub fn expect(&mut self, command: Command, proof: Proof, fuel_rule: FuelRule) {
        self.recorded.push_back(Recorded { command, proof, fuel_rule });
    }

    /// The end that is on record, when a finished run is replayed.
    pub fn expect_end(&mut self, fingerprint: Fingerprint, out_of_fuel: bool, fuel_rule: FuelRule) {
        self.end = Some(RecordedEnd { fingerprint, out_of_fuel, fuel_rule });
    }

    /// An answer stands in the journal: on record, or just sequenced. The first one of an id counts.
    pub fn answered(&mut self, position: Position, time: Timestamp, id: u32, outcome: Outcome) {
        if id > self.ids {
            self.early.entry(id).or_insert(Arrived { position, time, outcome });
        } else if let Some(answer @ None) = self.open.get_mut(&id) {
            *answer = Some(position);
            self.deliverable.insert(position, (id, time, outcome));
        }
    }

    /// The run's cancel stands in the journal. Delivered once.
    pub fn cancel_received(&mut self, position: Position, time: Timestamp, reason: Arc<str>) {
        if self.cancel.is_none() {
            self.cancel = Some(Cancel { position, time, reason });
        }
    }

    /// The guest gives a command that starts something.
    pub fn ask(&mut self, command: Command, fuel: u64) -> Decision {
        let id = self.ids + 1;
        let decision = match self.hold_against_record(&command, Some(id), fuel) {
            Held::New(proof) => Decision::Perform { id, proof },
            Held::Same if self.early.contains_key(&id) => Decision::Recall { id },
            Held::Same => Decision::Resume { id },
            Held::Diverged(divergence) => return Decision::Diverged(divergence),
        };
        self.ids = id;
        let arrived = self.early.remove(&id);
        self.open.insert(id, arrived.as_ref().map(|arrived| arrived.position));
        if let Some(arrived) = arrived {
            self.deliverable.insert(arrived.position, (id, arrived.time, arrived.outcome));
        }
        decision
    }

    /// The guest gives a command about an id: `forget` or `cancel`.
    pub fn about(&mut self, id: u32, command: Command, fuel: u64) -> Decision {
        if !self.open.contains_key(&id) {
            return Decision::Ignore;
        }
        let decision = match self.hold_against_record(&command, Some(id), fuel) {
            Held::New(proof) => Decision::Perform { id, proof },
            Held::Same => Decision::Recall { id },
            Held::Diverged(divergence) => return Decision::Diverged(divergence),
        };
        if matches!(command.act, Act::Forget { .. }) {
            self.close(id);
        }
        decision
    }

    /// Closes an id without a command: an effect's `forget`, which its function repeats by itself.
    pub fn close(&mut self, id: u32) {
        if let Some(Some(position)) = self.open.remove(&id) {
            self.deliverable.remove(&position);
        }
    }

    /// The guest asks for the next completion.
    pub fn deliver(&mut self) -> Next {
        if self.open.is_empty() {
            return Next::NothingOpen;
        }
        if let Some(divergence) = self.too_many_deliveries() {
            return Next::Diverged(divergence);
        }
        let first = self.deliverable.first_key_value().map(|(position, _)| *position);
        let cancel_first = match (&self.cancel, first) {
            (Some(cancel), Some(first)) => !self.cancel_is_delivered() && cancel.position < first,
            (Some(_), None) => !self.cancel_is_delivered(),
            (None, _) => false,
        };
        if cancel_first && let Some(cancel) = &mut self.cancel {
            let reason = cancel.reason.clone();
            let time = cancel.time;
            cancel.position = Position(u64::MAX);
            self.delivered(time);
            return Next::Deliver(Completion::Cancel { reason });
        }
        if let Some((_, (id, time, outcome))) = self.deliverable.pop_first() {
            self.open.remove(&id);
            self.delivered(time);
            return Next::Deliver(Completion::Answer { id, outcome });
        }
        match self.before_what_is_recorded() {
            None => Next::Wait,
            Some(divergence) => Next::Diverged(Box::new(Divergence { produced: self.describe_wait(), ..divergence })),
        }
    }

    /// The guest has come to its end. Says how it came there, or how that differs from the record.
    pub fn end(&mut self, fuel: u64) -> Result<Fingerprint, Box<Divergence>> {
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
        let ends_so = self.recorded.is_empty() && self.end.as_ref().is_some_and(|end| end.out_of_fuel);
        let divergence = self.before_what_is_recorded().filter(|_| !ends_so)?;
        Some(Box::new(Divergence { produced, ..divergence }))
    }

    /// How much fuel the guest may still use, having used `fuel` since the last delivery.
    pub fn allowance(&self, fuel: u64) -> u64 {
        let budget = self.budget.saturating_sub(fuel);
        let (bound, fuel_rule) = match (self.recorded.front(), &self.end) {
            (Some(recorded), _) if recorded.proof.deliveries == self.deliveries => {
                (recorded.proof.fuel, recorded.fuel_rule)
            }
            (None, Some(end)) if !end.out_of_fuel && end.fingerprint.deliveries == self.deliveries => {
                (end.fingerprint.fuel, end.fuel_rule)
            }
            (Some(_), _) | (None, _) => return budget,
        };
        match fuel_rule {
            // One more than recorded, since the engine stops a guest that has none left at a check
            // between its last counted instruction and the command.
            FuelRule::Exact => bound.saturating_add(1).saturating_sub(fuel),
            FuelRule::Loose => bound.saturating_mul(FUEL_FACTOR).saturating_add(FUEL_SLACK).saturating_sub(fuel),
        }
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

    pub fn is_open(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// How many ids have been given out.
    pub fn ids(&self) -> u32 {
        self.ids
    }

    /// Whether a guest that asks for the next completion would get something at once.
    pub fn would_wait(&self) -> bool {
        !self.open.is_empty()
            && self.deliverable.is_empty()
            && (self.cancel.is_none() || self.cancel_is_delivered())
            && self.recorded.is_empty()
    }

    /// The cancel has reached the guest.
    pub fn cancel_was_delivered(&self) -> bool {
        self.cancel.is_some() && self.cancel_is_delivered()
    }

    pub fn compared(&self) -> Compared {
        self.compared
    }

    fn cancel_is_delivered(&self) -> bool {
        self.cancel.as_ref().is_some_and(|cancel| cancel.position == Position(u64::MAX))
    }

    fn delivered(&mut self, time: Timestamp) {
        self.deliveries += 1;
        self.now = self.now.max(time);
        self.compared.deliveries += u64::from(!self.recorded.is_empty() || self.end.is_some());
    }

    fn hold_against_record(&mut self, command: &Command, id: Option<u32>, fuel: u64) -> Held {
        let proof = Proof { digest: command.digest, deliveries: self.deliveries, fuel };
        let Some(recorded) = self.recorded.front() else {
            if let Some(end) = &self.end {
                return Held::Diverged(Box::new(self.divergence_from_end(end).against(id, command, &proof)));
            }
            self.commands += 1;
            return Held::New(proof);
        };
        if !recorded.agrees_with(command, &proof) {
            return Held::Diverged(Box::new(self.divergence(recorded).against(id, command, &proof)));
        }
        match recorded.fuel_rule {
            FuelRule::Exact => self.compared.with_fuel += 1,
            FuelRule::Loose => self.compared.without_fuel += 1,
        }
        self.recorded.pop_front();
        self.commands += 1;
        Held::Same
    }

    fn too_many_deliveries(&self) -> Option<Box<Divergence>> {
        let allowed = match (self.recorded.front(), &self.end) {
            (Some(recorded), _) => recorded.proof.deliveries,
            (None, Some(end)) => end.fingerprint.deliveries,
            (None, None) => return None,
        };
        let divergence = self.before_what_is_recorded().filter(|_| allowed <= self.deliveries)?;
        Some(Box::new(Divergence { produced: self.describe_wait(), ..divergence }))
    }

    fn describe_wait(&self) -> String {
        format!("wait for a completion after {} deliveries", self.deliveries)
    }

    /// A divergence from the next command or end on record, if there is any.
    fn before_what_is_recorded(&self) -> Option<Divergence> {
        match (self.recorded.front(), &self.end) {
            (Some(recorded), _) => Some(self.divergence(recorded)),
            (None, Some(end)) => Some(self.divergence_from_end(end)),
            (None, None) => None,
        }
    }

    fn divergence(&self, recorded: &Recorded) -> Divergence {
        Divergence {
            id: None,
            commands: self.commands,
            recorded: format!("{} {}", recorded.command.act, describe_proof(&recorded.proof)),
            produced: String::new(),
            recorded_at: recorded.command.at.as_deref().map(str::to_owned),
            produced_at: None,
            recorded_digest: Some(recorded.proof.digest),
            produced_digest: None,
        }
    }

    fn divergence_from_end(&self, end: &RecordedEnd) -> Divergence {
        Divergence {
            id: None,
            commands: self.commands,
            recorded: format!("the end {}", describe(&end.fingerprint)),
            produced: String::new(),
            recorded_at: None,
            produced_at: None,
            recorded_digest: None,
            produced_digest: None,
        }
    }
}

impl Recorded {
    fn agrees_with(&self, command: &Command, proof: &Proof) -> bool {
        self.proof.digest == proof.digest
            && self.command.act == command.act
            && self.proof.deliveries == proof.deliveries
            && (self.fuel_rule == FuelRule::Loose || self.proof.fuel == proof.fuel)
    }
}

impl RecordedEnd {
    fn agrees_with(&self, produced: &Fingerprint) -> bool {
        self.fingerprint.commands == produced.commands
            && self.fingerprint.deliveries == produced.deliveries
            && (self.fuel_rule == FuelRule::Loose || self.fingerprint.fuel == produced.fuel)
    }
}

impl Divergence {
    fn against(self, id: Option<u32>, command: &Command, proof: &Proof) -> Divergence {
        Divergence {
            id,
            produced: format!("{} {}", command.act, describe_proof(proof)),
            produced_at: command.at.as_deref().map(str::to_owned),
            produced_digest: Some(command.digest),
            ..self
        }
    }
}

enum Held {
    New(Proof),
    Same,
    Diverged(Box<Divergence>),
}

fn describe(fingerprint: &Fingerprint) -> String {
    format!(
        "after {} commands, {} deliveries and {} fuel since the last one",
        fingerprint.commands, fingerprint.deliveries, fingerprint.fuel
    )
}

fn describe_proof(proof: &Proof) -> String {
    format!("after {} deliveries and {} fuel since the last one", proof.deliveries, proof.fuel)
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Call { function } => write!(f, "call `{function}`"),
            Act::Http => f.write_str("http"),
            Act::Sleep { duration_ms } => write!(f, "sleep {duration_ms} ms"),
            Act::Forget { id } => write!(f, "forget {id}"),
            Act::Cancel { id } => write!(f, "cancel {id}"),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.id {
            write!(f, "step {id}: ")?;
        }
        write!(f, "recorded: {}", self.recorded)?;
        if let Some(at) = &self.recorded_at {
            write!(f, " ({at})")?;
        }
        write!(f, "; produced: {}", self.produced)?;
        if let Some(at) = &self.produced_at {
            write!(f, " ({at})")?;
        }
        Ok(())
    }
}

impl From<&Asked> for Command {
    fn from(asked: &Asked) -> Command {
        let act = match &asked.request {
            StepRequest::Call { function, .. } => Act::Call { function: function.clone() },
            StepRequest::Sleep { duration_ms, .. } => Act::Sleep { duration_ms: *duration_ms },
        };
        Command { act, digest: asked.proof.digest, at: asked.at.clone() }
    }
}

impl From<&EffectAsked> for Command {
    fn from(asked: &EffectAsked) -> Command {
        let act = match &asked.request {
            EffectRequest::Http { .. } => Act::Http,
            EffectRequest::Sleep { duration_ms, .. } => Act::Sleep { duration_ms: *duration_ms },
        };
        Command { act, digest: asked.proof.digest, at: asked.at.clone() }
    }
}
