//! What a run is up to, folded from its entries: its open steps, its status, its head.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    AttemptFailed, Digest, EffectAnswered, EffectAsked, End, Entry, FORMAT, Failure, Head, Kind, Outcome, Position,
    Started, Status, StepId, StepRequest, Timestamp, Waiting,
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

#[derive(Debug)]
pub struct RunState {
    started: Arc<Started>,
    started_at: Timestamp,
    claims: Vec<Claim>,
    /// Asked for, not answered and not forgotten.
    steps: BTreeMap<StepId, StepState>,
    asked: u32,
    /// How many open steps stand where; the status follows from it without a walk.
    sleeping: usize,
    retrying: usize,
    cancel: Option<CancelState>,
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

/// An open step.
#[derive(Debug)]
pub struct StepState {
    pub request: StepRequest,
    pub asked: Timestamp,
    pub phase: Phase,
    /// The workflow asked to cancel it.
    pub cancel_asked: bool,
}

#[derive(Debug)]
pub enum Phase {
    /// A sleep.
    Sleeping { due: Timestamp },
    /// A call before its first attempt.
    Waiting,
    /// An attempt began and has not ended.
    Attempting(AttemptState),
    /// The last attempt failed; the next one starts at `next_at`.
    Retrying { attempt: u32, next_at: Timestamp },
}

/// What is on record of an unfinished attempt: enough to resume it.
#[derive(Debug)]
pub struct AttemptState {
    pub attempt: u32,
    pub started: Timestamp,
    pub effects: Vec<EffectRecord>,
}

#[derive(Debug, Clone)]
pub struct EffectRecord {
    pub position: Position,
    pub time: Timestamp,
    pub kind: EffectKind,
}

#[derive(Debug, Clone)]
pub enum EffectKind {
    Asked(EffectAsked),
    Answered(EffectAnswered),
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
            claims: Vec::new(),
            steps: BTreeMap::new(),
            asked: 0,
            sleeping: 0,
            retrying: 0,
            cancel: None,
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
        match &entry.kind {
            Kind::Started(_) => return Err(unexpected()),
            Kind::Claimed(claimed) => {
                let claim = Claim { from: at, engine: claimed.engine.clone(), component: claimed.component };
                self.claims.push(claim);
            }
            Kind::Asked(asked) => {
                if asked.step != StepId(self.asked + 1) {
                    return Err(unexpected());
                }
                let phase = match &asked.request {
                    StepRequest::Call { .. } => Phase::Waiting,
                    StepRequest::Sleep { duration_ms, .. } => {
                        Phase::Sleeping { due: asked.now + std::time::Duration::from_millis(*duration_ms) }
                    }
                };
                self.asked += 1;
                self.count(&phase, 1);
                let step = StepState { request: asked.request.clone(), asked: entry.time, phase, cancel_asked: false };
                self.steps.insert(asked.step, step);
            }
            Kind::AttemptStarted(begun) => {
                let attempt = AttemptState { attempt: begun.attempt, started: entry.time, effects: Vec::new() };
                let known = self.set_phase(begun.step, Phase::Attempting(attempt));
                known.ok_or_else(unexpected)?;
            }
            Kind::AttemptResumed(resumed) => {
                self.attempt_mut(resumed.step, resumed.attempt).ok_or_else(unexpected)?;
            }
            Kind::EffectAsked(asked) => {
                let attempt = self.attempt_mut(asked.step, asked.attempt).ok_or_else(unexpected)?;
                let kind = EffectKind::Asked(asked.clone());
                attempt.effects.push(EffectRecord { position: at, time: entry.time, kind });
            }
            Kind::EffectAnswered(answered) => {
                let attempt = self.attempt_mut(answered.step, answered.attempt).ok_or_else(unexpected)?;
                let kind = EffectKind::Answered(answered.clone());
                attempt.effects.push(EffectRecord { position: at, time: entry.time, kind });
            }
            Kind::Failed(AttemptFailed { step, attempt, next_at, .. }) => {
                self.attempt_mut(*step, *attempt).ok_or_else(unexpected)?;
                self.set_phase(*step, Phase::Retrying { attempt: *attempt, next_at: *next_at });
            }
            Kind::Answered(answered) => self.close(answered.step).ok_or_else(unexpected)?,
            // A step may have been answered between the answer's entry and its delivery.
            Kind::Forgotten(forgotten) if forgotten.step.0 <= self.asked => {
                self.close(forgotten.step);
            }
            Kind::StepCancelAsked(asked) if asked.step.0 <= self.asked => {
                if let Some(step) = self.steps.get_mut(&asked.step) {
                    step.cancel_asked = true;
                }
            }
            Kind::Forgotten(_) | Kind::StepCancelAsked(_) => return Err(unexpected()),
            Kind::CancelReceived(cancel) => {
                let state = CancelState { received: entry.time, reason: cancel.reason.clone() };
                self.cancel.get_or_insert(state);
            }
            Kind::Finished(finished) => self.end = Some(finished.end.clone()),
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

    pub fn status(&self) -> Status {
        self.status
    }

    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    pub fn cancel(&self) -> Option<&CancelState> {
        self.cancel.as_ref()
    }

    /// Every claim, in order.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    pub fn steps(&self) -> &BTreeMap<StepId, StepState> {
        &self.steps
    }

    pub fn step(&self, step: StepId) -> Option<&StepState> {
        self.steps.get(&step)
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
        self.steps.values().filter_map(StepState::due).min()
    }

    pub fn head(&self) -> Head {
        let (code, message) = match &self.end {
            Some(End::Failed(failure)) => {
                let failure = Failure::from_value(failure);
                (Some(failure.code.into()), Some(failure.message.into()))
            }
            Some(End::Cancelled { reason } | End::Terminated { reason }) => (None, Some(reason.clone())),
            Some(End::Succeeded(_)) | None => (None, None),
        };
        let is_idle = matches!(self.status, Status::Sleeping | Status::Waiting);
        Head {
            run: self.started.run,
            workflow: self.started.workflow.clone(),
            deployment: self.started.deployment.clone(),
            component: self.started.component,
            status: self.status,
            waiting: (self.status == Status::Waiting).then_some(Waiting::Retry),
            due: is_idle.then(|| self.due()).flatten(),
            started: self.started_at,
            changed: self.changed,
            finished: self.end.as_ref().map(|_| self.last.1),
            code,
            message,
            steps: self.asked,
            format: FORMAT,
            rules: self.started.rules,
        }
    }

    fn fold_status(&self) -> Status {
        match &self.end {
            Some(End::Succeeded(_)) => Status::Succeeded,
            Some(End::Failed(_)) => Status::Failed,
            Some(End::Cancelled { .. } | End::Terminated { .. }) => Status::Cancelled,
            None if self.claims.is_empty() => Status::Queued,
            None if self.steps.is_empty() || self.sleeping + self.retrying < self.steps.len() => Status::Running,
            None if self.retrying > 0 => Status::Waiting,
            None => Status::Sleeping,
        }
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

    fn attempt_mut(&mut self, step: StepId, attempt: u32) -> Option<&mut AttemptState> {
        match &mut self.steps.get_mut(&step)?.phase {
            Phase::Attempting(state) if state.attempt == attempt => Some(state),
            Phase::Attempting(_) | Phase::Sleeping { .. } | Phase::Waiting | Phase::Retrying { .. } => None,
        }
    }

    fn set_phase(&mut self, step: StepId, phase: Phase) -> Option<()> {
        self.count(&phase, 1);
        let Some(state) = self.steps.get_mut(&step) else {
            self.count(&phase, -1);
            return None;
        };
        let before = std::mem::replace(&mut state.phase, phase);
        self.count(&before, -1);
        Some(())
    }

    fn close(&mut self, step: StepId) -> Option<()> {
        let state = self.steps.remove(&step)?;
        self.count(&state.phase, -1);
        Some(())
    }

    fn count(&mut self, phase: &Phase, by: isize) {
        match phase {
            Phase::Sleeping { .. } => self.sleeping = self.sleeping.saturating_add_signed(by),
            Phase::Retrying { .. } => self.retrying = self.retrying.saturating_add_signed(by),
            Phase::Waiting | Phase::Attempting(_) => {}
        }
    }
}

impl StepState {
    /// When something happens to it by itself.
    pub fn due(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Sleeping { due } => Some(*due),
            Phase::Retrying { next_at, .. } => Some(*next_at),
            Phase::Waiting | Phase::Attempting(_) => None,
        }
    }
}

impl AttemptState {
    /// The sleeps of the attempt that are not over, by effect, with the time they are due at.
    pub fn open_effects(&self) -> impl Iterator<Item = &EffectAsked> {
        let answered = |effect| {
            self.effects.iter().any(|record| match &record.kind {
                EffectKind::Answered(answered) => answered.effect == effect,
                EffectKind::Asked(_) => false,
            })
        };
        self.effects.iter().filter_map(move |record| match &record.kind {
            EffectKind::Asked(asked) => (!answered(asked.effect)).then_some(asked),
            EffectKind::Answered(_) => None,
        })
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
