//! What a run is up to, folded from its entries: its open steps, its status, its head.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::head;
use crate::{
    AttemptFailed, AttemptFailedKeeping, AttemptParked, ChildOf, Digest, End, Entry, FORMAT, Forked, FuelRule,
    GraceSet, Head, Kind, MessageId, Outcome, Park, Position, Spending, Started, Status, StepId, StepRequest,
    Timestamp, Tokens, Topic,
};

/// Version of the rules in this crate. A run is replayed by the rules that it began under.
pub const RULES: u32 = 1;

/// Journals that cannot be: what a damaged or forged one is refused with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadJournal {
    #[error("the journal is empty")]
    Empty,
    #[error("the journal does not begin with `Started` at position 0")]
    NoStart,
    #[error("position {found} follows position {before}")]
    Gap { before: Position, found: Position },
    #[error("the epoch goes back at position {at}")]
    EpochBack { at: Position },
    #[error("the time goes back at position {at}")]
    TimeBack { at: Position },
    #[error("`{kind}` at position {at} does not fit what came before")]
    Unexpected { kind: &'static str, at: Position },
    #[error("the run was written by rules {found}; this program knows up to {RULES}")]
    NewerRules { found: u32 },
}

mod attempt;
mod offers;
mod post;
mod questions;
mod steps;
mod tally;
#[cfg(test)]
mod tests;

mod stretch;

pub use attempt::{AttemptState, Carried, EffectKind, EffectRecord};
pub use steps::{ParkedState, Phase, StepState};

use self::offers::Offers;
use self::post::Post;
use self::stretch::Stretch;
use self::tally::Tally;

#[derive(Debug)]
pub struct RunState {
    started: Arc<Started>,
    started_at: Timestamp,
    deployment: Arc<str>,
    component: Digest,
    claims: Vec<Claim>,
    /// Asked for, not answered and not forgotten.
    steps: BTreeMap<StepId, StepState>,
    mail: Post,
    offers: Offers,
    asked: u32,
    tally: Tally,
    cancel: Option<CancelState>,
    grace: Option<GraceSet>,
    pause: Option<PauseState>,
    forked: Option<Box<Forked>>,
    child_of: Option<ChildOf>,
    /// Steps that are closed and whose run may have been started, or not: nobody wrote it down.
    orphans: BTreeMap<StepId, StepRequest>,
    /// Where what was sent to the run stands, since it was continued last or before and not taken.
    arrivals: BTreeMap<Position, (Topic, MessageId)>,
    stretch: Option<Stretch>,
    deadline: Option<Timestamp>,
    /// Of a fork: its deadline stands between what says so and what it copies.
    deadline_before_copies: bool,
    tokens: Tokens,
    spending: Spending,
    end: Option<End>,
    last: (Position, Timestamp),
    epoch: crate::Epoch,
    status: Status,
    changed: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Claim {
    /// Entries from here on were written under it.
    pub from: Position,
    pub engine: Arc<str>,
    pub component: Digest,
}

#[derive(Debug, Clone)]
pub struct CancelState {
    pub received: Timestamp,
    pub reason: Arc<str>,
}

/// Somebody holds the run.
#[derive(Debug, Clone)]
pub struct PauseState {
    pub since: Timestamp,
    pub reason: Arc<str>,
}

impl RunState {
    pub fn new(first: &Entry) -> Result<RunState, BadJournal> {
        let Kind::Started(started) = &first.kind else { return Err(BadJournal::NoStart) };
        if first.position != Position::FIRST {
            return Err(BadJournal::NoStart);
        }
        if started.rules > RULES {
            return Err(BadJournal::NewerRules { found: started.rules });
        }
        Ok(RunState {
            started: Arc::new((**started).clone()),
            started_at: first.time,
            deployment: started.deployment.clone(),
            component: started.component,
            claims: Vec::new(),
            steps: BTreeMap::new(),
            mail: Post::default(),
            offers: Offers::default(),
            asked: 0,
            tally: Tally::default(),
            cancel: None,
            grace: None,
            pause: None,
            forked: None,
            child_of: None,
            orphans: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            stretch: None,
            deadline: None,
            deadline_before_copies: false,
            tokens: Tokens::new(started.seed, started.run),
            spending: Spending::default(),
            end: None,
            last: (first.position, first.time),
            epoch: first.epoch,
            status: Status::Queued,
            changed: first.time,
        })
    }

    pub fn of(entries: &[Entry]) -> Result<RunState, BadJournal> {
        let (first, rest) = entries.split_first().ok_or(BadJournal::Empty)?;
        let mut state = RunState::new(first)?;
        rest.iter().try_for_each(|entry| state.apply(entry))?;
        Ok(state)
    }

    /// Takes in the next entry. Checks that it can follow; an error leaves the state as it was.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), BadJournal> {
        self.check_order(entry)?;
        let at = entry.position;
        let unexpected = || BadJournal::Unexpected { kind: entry.kind.name(), at };
        if self.end.is_some() {
            return Err(unexpected());
        }
        // Each arm checks before it changes anything.
        match &entry.kind {
            Kind::Started(_) => return Err(unexpected()),
            Kind::Claimed(claimed) => {
                let claim = Claim { from: at, engine: claimed.engine.clone(), component: claimed.component };
                self.claims.push(claim);
            }
            Kind::Asked(asked) => self.begin_step(asked, (at, entry.time)).ok_or_else(unexpected)?,
            Kind::Patched(_) | Kind::Emitted(_) if self.claims.is_empty() => return Err(unexpected()),
            // Only its guest is told, from the record of its commands, and those who follow it.
            Kind::Patched(_) | Kind::Emitted(_) => {}
            Kind::AttemptEmitted(emitted) => {
                let attempt = self.attempt_mut(emitted.step, emitted.attempt).ok_or_else(unexpected)?;
                attempt.emitted(emitted, at, entry.time);
            }
            Kind::SpanBegun(begun) => {
                let attempt = self.attempt_mut(begun.step, begun.attempt).ok_or_else(unexpected)?;
                attempt.span_begun(begun, at, entry.time).ok_or_else(unexpected)?;
            }
            Kind::SpanEnded(ended) => {
                let attempt = self.attempt_mut(ended.step, ended.attempt).ok_or_else(unexpected)?;
                attempt.span_ended(ended, at, entry.time).ok_or_else(unexpected)?;
            }
            Kind::Continued(continued) => self.go_on_with(continued, entry).ok_or_else(unexpected)?,
            Kind::Moved(moved) => {
                self.deployment = moved.deployment.clone();
                self.component = moved.component;
            }
            Kind::Published(_) if self.claims.is_empty() => return Err(unexpected()),
            Kind::Published(_) => {}
            Kind::AttemptStarted(begun) => self.begin_attempt(begun, entry.time).ok_or_else(unexpected)?,
            Kind::AttemptResumed(resumed) => {
                self.attempt_mut(resumed.step, resumed.attempt).ok_or_else(unexpected)?.verdict = None;
            }
            Kind::EffectAsked(asked) => {
                let place = (at, entry.time);
                self.in_attempt(asked.step, asked.attempt, |attempt| attempt.effect_asked(asked, place))
                    .ok_or_else(unexpected)?;
            }
            Kind::EffectAnswered(answered) => {
                let place = (at, entry.time);
                self.in_attempt(answered.step, answered.attempt, |attempt| attempt.effect_answered(answered, place))
                    .ok_or_else(unexpected)?;
            }
            Kind::EffectSettled(settled) => {
                let place = (at, entry.time);
                self.in_attempt(settled.step, settled.attempt, |attempt| attempt.effect_settled(settled, place))
                    .ok_or_else(unexpected)?;
            }
            Kind::ModelUsed(used) => {
                let attempt = self.attempt_mut(used.step, used.attempt).ok_or_else(unexpected)?;
                if !attempt.is_open(used.effect) {
                    return Err(unexpected());
                }
                if !self.is_copied(at) {
                    self.spending.add(used);
                }
            }
            Kind::FuelUsed(used) => match used.attempt {
                Some((step, attempt)) => _ = self.attempt_mut(step, attempt).ok_or_else(unexpected)?,
                None if self.claims.is_empty() => return Err(unexpected()),
                None => {}
            },
            Kind::SpendingTaken(taken) => {
                if self.continued_at() != Some(self.last.0) {
                    return Err(unexpected());
                }
                self.spending = taken.spending;
            }
            Kind::Failed(AttemptFailed { step, attempt, next_at, .. }) => {
                self.attempt_mut(*step, *attempt).ok_or_else(unexpected)?;
                let (attempt, next_at) = (*attempt, *next_at);
                self.set_phase(*step, |_| Phase::Retrying { attempt, next_at, carried: None });
            }
            Kind::FailedKeeping(AttemptFailedKeeping { step, attempt, next_at, kept, .. }) => {
                self.attempt_mut(*step, *attempt).ok_or_else(unexpected)?;
                let (attempt, next_at) = (*attempt, *next_at);
                self.set_phase(*step, |before| Phase::Retrying { attempt, next_at, carried: before.carried(*kept) });
            }
            Kind::Parked(AttemptParked { step, attempt, park, .. }) => {
                self.attempt_mut(*step, *attempt).ok_or_else(unexpected)?;
                let attempt = *attempt;
                self.set_phase(*step, |before| {
                    Phase::Parked(Box::new(match (park, before) {
                        (Park::Unclear(_), Phase::Attempting(state)) => ParkedState::Unclear(state),
                        (Park::ExhaustedKeeping(kept), before) => {
                            ParkedState::Exhausted { attempt, carried: before.carried(*kept) }
                        }
                        (Park::Unclear(_) | Park::Exhausted, _) => ParkedState::Exhausted { attempt, carried: None },
                    }))
                });
            }
            Kind::RetryReceived(retry) => self.retry(retry, entry.time),
            Kind::Progressed(progressed) => {
                let attempt = self.attempt_mut(progressed.step, progressed.attempt).ok_or_else(unexpected)?;
                attempt.progress = Some(progressed.progress.clone());
            }
            Kind::StepTimed(timed) => self.time_step(timed).ok_or_else(unexpected)?,
            Kind::DeadlineSet(deadline) => {
                // Behind the start, or behind what says there which run this one comes from.
                let has_source = self.child_of.is_some() || self.forked.is_some();
                let is_second = self.last.0 == Position::FIRST;
                if !is_second && (self.last.0 != Position::FIRST.plus(1) || !has_source) {
                    return Err(unexpected());
                }
                self.deadline = Some(deadline.at);
                self.deadline_before_copies = self.forked.is_some();
            }
            Kind::Answered(answered) => {
                self.leave_orphan(answered.step, |step| step.cancel_asked);
                self.give_back(answered.step);
                self.close(answered.step).ok_or_else(unexpected)?;
            }
            // The answer may stand in the journal already, and not have reached the guest.
            Kind::Forgotten(forgotten) => {
                self.was_asked(forgotten.step).ok_or_else(unexpected)?;
                self.leave_orphan(forgotten.step, |_| true);
                self.give_back(forgotten.step);
                self.close(forgotten.step);
            }
            Kind::StepCancelAsked(asked) => {
                self.was_asked(asked.step).ok_or_else(unexpected)?;
                self.give_back(asked.step);
                if let Some(step) = self.steps.get_mut(&asked.step) {
                    step.cancel_asked = true;
                }
            }
            Kind::CancelReceived(cancel) => {
                let state = CancelState { received: entry.time, reason: cancel.reason.clone() };
                self.cancel.get_or_insert(state);
                // The workflow is to be told, and may clean up.
                self.pause = None;
            }
            Kind::GraceSet(set) => self.grace = Some(set.clone()),
            Kind::Paused(paused) => {
                if self.cancel.is_none() {
                    let state = PauseState { since: entry.time, reason: paused.reason.clone() };
                    self.pause.get_or_insert(state);
                }
            }
            Kind::Resumed(_) => self.pause = None,
            Kind::Forked(forked) => {
                if self.last.0 != Position::FIRST {
                    return Err(unexpected());
                }
                self.forked = Some(forked.clone());
            }
            Kind::ChildOf(child_of) => {
                if self.last.0 != Position::FIRST {
                    return Err(unexpected());
                }
                self.child_of = Some(child_of.clone());
            }
            Kind::ChildStarted(started) => {
                let is_open = match self.steps.get(&started.step).map(|step| &step.phase) {
                    Some(Phase::Child { run: None }) => true,
                    Some(_) => return Err(unexpected()),
                    None => false,
                };
                if is_open {
                    let run = started.run;
                    self.set_phase(started.step, |_| Phase::Child { run: Some(run) });
                } else if self.orphans.remove(&started.step).is_none() {
                    return Err(unexpected());
                }
            }
            // Nobody may want to know any more.
            Kind::ChildEnded(ended) => {
                self.was_asked(ended.step).ok_or_else(unexpected)?;
                match self.steps.get(&ended.step).map(|step| &step.phase) {
                    Some(Phase::Child { run }) if run.is_none_or(|run| run == ended.run) => {
                        self.close(ended.step);
                    }
                    Some(_) => return Err(unexpected()),
                    None => {
                        self.orphans.remove(&ended.step);
                    }
                }
            }
            Kind::Finished(finished) => self.end = Some(finished.end.clone()),
            Kind::Signalled(signalled) => {
                if !self.mail.messages.insert(signalled.message) {
                    return Err(unexpected());
                }
                let topic = Topic::Signal(signalled.name.clone());
                self.arrivals.insert(at, (topic.clone(), signalled.message));
                self.mail_arrived(topic);
            }
            Kind::UpdateOffered(offered) => {
                if !self.mail.messages.insert(offered.message) {
                    return Err(unexpected());
                }
                self.offers.put(at, offered);
            }
            Kind::UpdateExpired(expired) => self.offers.take(expired.message).ok_or_else(unexpected)?,
            Kind::UpdateReceived(update) => {
                let was_offered = self.offers.take(update.message).is_some();
                if !was_offered && !self.mail.messages.insert(update.message) {
                    return Err(unexpected());
                }
                self.mail.unanswered.insert(update.message);
                let topic = Topic::Update(update.name.clone());
                self.arrivals.insert(at, (topic.clone(), update.message));
                self.mail_arrived(topic);
            }
            Kind::Replied(replied) => {
                self.was_asked(replied.step).ok_or_else(unexpected)?;
                if !self.mail.unanswered.remove(&replied.message) {
                    return Err(unexpected());
                }
            }
            Kind::Settled(settled) => {
                let phase = self.steps.get(&settled.step).map(|step| &step.phase);
                phase
                    .filter(|phase| matches!(phase, Phase::Asking { .. } | Phase::Promised { .. }))
                    .ok_or_else(unexpected)?;
                self.close(settled.step);
            }
        }
        self.last = (entry.position, entry.time);
        self.epoch = entry.epoch;
        let status = self.fold_status();
        if status != self.status {
            self.status = status;
            self.changed = entry.time;
        }
        Ok(())
    }

    pub fn started(&self) -> &Arc<Started> {
        &self.started
    }

    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Whose grants count: the deployment through which the run was started, or that it was moved to.
    pub fn deployment(&self) -> &Arc<str> {
        &self.deployment
    }

    /// The code that the run goes on with.
    pub fn component(&self) -> Digest {
        self.component
    }

    /// What its calls of models cost.
    pub fn spending(&self) -> Spending {
        self.spending
    }

    pub fn status(&self) -> Status {
        self.status
    }

    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    pub fn cancel(&self) -> Option<&CancelState> {
        self.cancel.as_ref()
    }

    /// How long the run has after its cancel, where whoever cancelled it said so.
    pub fn grace(&self) -> Option<&GraceSet> {
        self.grace.as_ref()
    }

    /// Since when somebody holds the run, and why.
    pub fn pause(&self) -> Option<&PauseState> {
        self.pause.as_ref()
    }

    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Which step of which run started this one, if one did.
    pub fn child_of(&self) -> Option<&ChildOf> {
        self.child_of.as_ref()
    }

    /// Closed steps of which nobody wrote down whether they started a run, and what they asked for.
    pub fn orphans(&self) -> &BTreeMap<StepId, StepRequest> {
        &self.orphans
    }

    /// Where the run comes from, if it was restarted from a step of another one.
    pub fn forked(&self) -> Option<&Forked> {
        self.forked.as_deref()
    }

    /// From when on a time counts that is said to begin at `at`: what a restarted run keeps was asked for long ago,
    /// by another one.
    pub fn own_time(&self, at: Timestamp) -> Timestamp {
        self.forked.as_ref().map_or(at, |forked| at.max(forked.at))
    }

    /// How many entries it still lacks of the run that it was forked from. Above zero it has not begun.
    pub fn fork_lacks(&self) -> u64 {
        self.copied_until().map_or(0, |until| until.0.saturating_sub(self.last.0.0))
    }

    /// Where the last entry stands that a fork copies.
    fn copied_until(&self) -> Option<Position> {
        let before = 1 + u64::from(self.deadline_before_copies);
        self.forked.as_ref().map(|forked| Position(forked.entries.saturating_add(before)))
    }

    /// When the host ends the run, if it was started so.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// How long it has from its beginning to that.
    pub fn timeout(&self) -> Option<Duration> {
        self.deadline.map(|at| at.since(self.began()))
    }

    /// Of the promises that the run makes.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Every claim, in order.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// By what rule the fuel of an entry is compared: exactly, if the same engine and code counted it.
    pub fn fuel_rule(&self, position: Position, engine: &str, component: Digest) -> FuelRule {
        let after = self.claims.partition_point(|claim| claim.from <= position);
        let claim = after.checked_sub(1).and_then(|last| self.claims.get(last));
        claim.map_or(FuelRule::Loose, |claim| claim.fuel_rule(engine, component))
    }

    pub fn steps(&self) -> &BTreeMap<StepId, StepState> {
        &self.steps
    }

    pub fn step(&self, step: StepId) -> Option<&StepState> {
        self.steps.get(&step)
    }

    /// The item of the inbox was copied into the journal before.
    pub fn has_message(&self, message: MessageId) -> bool {
        self.mail.messages.contains(&message)
    }

    /// Steps asked for so far.
    pub fn asked(&self) -> u32 {
        self.asked
    }

    /// Place and time of the last entry.
    pub fn last(&self) -> (Position, Timestamp) {
        self.last
    }

    /// When the run goes on by itself, if nothing else happens: the earliest timer.
    pub fn due(&self) -> Option<Timestamp> {
        let first = |dues: &BTreeSet<(Timestamp, StepId)>| dues.first().map(|(due, _)| *due);
        let offer = self.offer_due().map(|(due, _)| due);
        [first(&self.tally.dues), first(&self.tally.deadlines), offer].into_iter().flatten().min()
    }

    /// The steps whose timer is due at `now`, the earliest first.
    pub fn steps_due(&self, now: Timestamp) -> impl Iterator<Item = StepId> {
        self.tally.dues.range(..=(now, StepId(u32::MAX))).map(|(_, step)| *step)
    }

    pub fn head(&self) -> Head {
        let (code, message) = match &self.end {
            Some(end) => {
                let (_, code, message) = head::told(end);
                (code, message)
            }
            None => (None, None),
        };
        let is_idle = matches!(self.status, Status::Sleeping | Status::Waiting);
        Head {
            run: self.started.run,
            workflow: self.started.workflow.clone(),
            deployment: self.deployment.clone(),
            component: self.component,
            status: self.status,
            waiting: (self.status == Status::Waiting).then(|| self.tally.waiting()),
            due: is_idle.then(|| self.due()).flatten(),
            started: self.began(),
            changed: self.changed,
            finished: self.end.as_ref().map(|_| self.last.1),
            code,
            message,
            steps: self.asked,
            format: FORMAT,
            rules: self.started.rules,
            spending: self.spending,
        }
    }

    fn fold_status(&self) -> Status {
        match &self.end {
            Some(End::Succeeded(_)) => Status::Succeeded,
            Some(End::Failed(_)) => Status::Failed,
            Some(End::Cancelled { .. } | End::Terminated { .. }) => Status::Cancelled,
            None if self.claims.is_empty() && self.stretch.is_none() || self.fork_lacks() > 0 => Status::Queued,
            None if self.pause.is_some() => Status::Paused,
            None if self.steps.is_empty() || self.tally.idle() < self.steps.len() => Status::Running,
            None if self.tally.idle() > self.tally.sleeping => Status::Waiting,
            None => Status::Sleeping,
        }
    }

    /// Whether what stands there is a copy of what another run did.
    fn is_copied(&self, at: Position) -> bool {
        self.copied_until().is_some_and(|until| at <= until)
    }

    fn check_order(&self, entry: &Entry) -> Result<(), BadJournal> {
        let (before, time) = self.last;
        if entry.position != before.plus(1) {
            return Err(BadJournal::Gap { before, found: entry.position });
        }
        if entry.epoch < self.epoch {
            return Err(BadJournal::EpochBack { at: entry.position });
        }
        if entry.time < time {
            return Err(BadJournal::TimeBack { at: entry.position });
        }
        Ok(())
    }
}

impl Claim {
    /// How far the fuel of entries that were written under this claim binds a guest that runs on
    /// this engine and code.
    pub fn fuel_rule(&self, engine: &str, component: Digest) -> FuelRule {
        if *self.engine == *engine && self.component == component { FuelRule::Exact } else { FuelRule::Loose }
    }
}

/// What the guest of a finished run gave back, or why there is nothing.
pub fn outcome_of(end: &End) -> Option<Outcome> {
    match end {
        End::Succeeded(value) => Some(Outcome::Succeeded(value.clone())),
        End::Failed(failure) => Some(Outcome::Failed(failure.clone())),
        End::Cancelled { .. } | End::Terminated { .. } => None,
    }
}
