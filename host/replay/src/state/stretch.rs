//! A run that goes on with a new input: what it takes along, and where its recall begins. What stood
//! before is never looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{BadJournal, CancelState, Offers, Post, RunState, Tally};
use crate::{Continued, Cut, Digest, Entry, Kind, Machine, Position, RunRandom, Spending, Timestamp, Topic, Value};

/// From a `Continued` on.
#[derive(Debug)]
pub(super) struct Stretch {
    position: Position,
    since: Timestamp,
    seed: [u8; 32],
    steps: u32,
    commands: u64,
    input: Value,
    mail: BTreeSet<Position>,
    took_cancel: bool,
    began: Timestamp,
    published: BTreeSet<Arc<str>>,
}

impl RunState {
    /// The state after a `Continued`, from it, from the first entries of the run, and from what it takes along.
    ///
    /// # Errors
    /// Where these do not belong together.
    pub fn resumed(first: &[Entry], mail: &[Entry], continued: &Entry) -> Result<RunState, BadJournal> {
        let (started, rest) = first.split_first().ok_or(BadJournal::Empty)?;
        let mut state = RunState::new(started)?;
        // Where a fork cut the run concerns what it draws from.
        if let Some(forked) = rest.first().filter(|entry| matches!(entry.kind, Kind::Forked(_))) {
            state.apply(forked)?;
            if let Some(deadline) = rest.get(1).filter(|entry| matches!(entry.kind, Kind::DeadlineSet(_))) {
                state.apply(deadline)?;
            }
        }
        let at = continued.position;
        let unexpected = || BadJournal::Unexpected { kind: continued.kind.name(), at };
        let Kind::Continued(taken) = &continued.kind else { return Err(unexpected()) };
        for item in mail {
            let (topic, letter) = Topic::of_entry(item).ok_or_else(unexpected)?;
            state.arrivals.insert(item.position, (topic, letter.message));
        }
        let before = at.0.checked_sub(1).ok_or_else(unexpected)?;
        state.last = (Position(before), state.last.1);
        state.asked = taken.steps;
        state.apply(continued)?;
        Ok(state)
    }

    /// Whether a machine of the run as it stands takes in this entry.
    pub fn is_recalled(&self, entry: &Entry) -> bool {
        self.stretch
            .as_ref()
            .is_none_or(|stretch| entry.position > stretch.position || stretch.mail.contains(&entry.position))
    }

    /// A machine that nothing was recalled to yet.
    pub fn machine(&self) -> Machine {
        let fuel = self.started.limits.fuel;
        let Some(stretch) = &self.stretch else { return Machine::new(self.started_at, fuel) };
        let mut machine =
            Machine::new(stretch.since, fuel).counting_on(stretch.steps, stretch.commands, stretch.published.clone());
        // One that came later is recalled from its own entry.
        if let Some(cancel) = self.cancel.as_ref().filter(|_| stretch.took_cancel) {
            machine.cancel_received(stretch.position, stretch.since, cancel.reason.clone());
        }
        machine
    }

    /// What its workflow is given.
    pub fn input(&self) -> &Value {
        self.stretch.as_ref().map_or(&self.started.input, |stretch| &stretch.input)
    }

    /// What was sent before the workflow began anew, and is there for it.
    pub fn mail_taken_along(&self) -> impl Iterator<Item = Position> {
        self.stretch.iter().flat_map(|stretch| stretch.mail.iter().copied())
    }

    /// Where the workflow began anew last, if it did.
    pub fn continued_at(&self) -> Option<Position> {
        self.stretch.as_ref().map(|stretch| stretch.position)
    }

    /// When it was started, as people are told.
    pub fn began(&self) -> Timestamp {
        match (&self.stretch, &self.forked) {
            (Some(stretch), _) => stretch.began,
            (None, Some(forked)) => forked.at,
            (None, None) => self.started_at,
        }
    }

    /// What its workflow draws from.
    pub fn random(&self) -> RunRandom {
        let first = self.stretch.as_ref().map_or(self.started.seed, |stretch| stretch.seed);
        RunRandom::new(first, &self.cuts())
    }

    /// Where forks cut what the workflow draws from, since it began anew: in a stretch that was kept, not in
    /// those that the fork began itself.
    fn cuts(&self) -> Vec<Cut> {
        let Some(forked) = &self.forked else { return Vec::new() };
        let Some(stretch) = &self.stretch else { return forked.cuts.clone() };
        let is_kept = self.is_copied(stretch.position);
        forked.cuts.iter().filter(|cut| is_kept && cut.commands >= stretch.commands).copied().collect()
    }

    /// What the workflow draws from where it goes on after so many commands: the same, however often it is
    /// brought there.
    pub fn next_seed(&self, commands: u64) -> [u8; 32] {
        Digest::of_parts(&[b"stretch", &self.attempt_seed(), &commands.to_le_bytes()]).0
    }

    /// What attempts draw from, and the host for them.
    pub fn attempt_seed(&self) -> [u8; 32] {
        let first = self.stretch.as_ref().map_or(self.started.seed, |stretch| stretch.seed);
        self.cuts().last().map_or(first, |cut| cut.seed)
    }

    /// What stands open is given up; all that is left is what the entry names.
    pub(super) fn go_on_with(&mut self, continued: &Continued, entry: &Entry) -> Option<()> {
        let mail: BTreeSet<Position> = continued.mail.iter().copied().collect();
        if continued.steps != self.asked || !mail.iter().all(|item| self.arrivals.contains_key(item)) {
            return None;
        }
        self.arrivals.retain(|position, _| mail.contains(position));
        // What was taken before is known no more: whoever resumes the run looks at no more than this.
        self.mail = Post::default();
        self.offers = Offers::default();
        for (topic, message) in self.arrivals.values() {
            self.mail.messages.insert(*message);
            if matches!(topic, Topic::Update(_)) {
                self.mail.unanswered.insert(*message);
            }
            self.mail.arrived(topic.clone());
        }
        self.claims.clear();
        self.changed = entry.time;
        self.steps.clear();
        self.orphans.clear();
        self.tally = Tally::default();
        self.pause = None;
        // Said again behind it.
        self.grace = None;
        self.spending = Spending::default();
        self.cancel = continued
            .cancel
            .as_ref()
            .map(|cancel| CancelState { received: cancel.received, reason: cancel.reason.clone() });
        self.deployment = continued.deployment.clone();
        self.component = continued.component;
        self.deadline = continued.deadline;
        self.child_of = continued.child_of.clone();
        // What a fork keeps is older than the run.
        let kept = self.forked.as_ref().filter(|_| self.is_copied(entry.position));
        let began = kept.map_or(continued.began, |forked| forked.at);
        self.stretch = Some(Stretch {
            position: entry.position,
            since: entry.time,
            seed: continued.seed,
            steps: continued.steps,
            commands: continued.fingerprint.commands,
            input: continued.input.clone(),
            mail,
            took_cancel: continued.cancel.is_some(),
            began,
            published: continued.published.iter().cloned().collect(),
        });
        Some(())
    }
}
