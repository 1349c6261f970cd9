//! The kinds of entry, each with its own small struct. New kinds are added at the end: a kind is
//! known on disk by its place in [`Kind`]. It never says what they add up to.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{
    Digest, EffectRequest, EntityAct, Epoch, Limits, MessageId, Outcome, Position, RunId, Spending, StepId,
    StepRequest, Timestamp, Value,
};

mod attempts;
mod others;

pub use attempts::{
    AttemptEmitted, AttemptFailed, AttemptFailedKeeping, AttemptParked, AttemptResumed, AttemptStarted, EffectAnswered,
    EffectAsked, EffectSettled, EffectVerdict, FuelUsed, Kept, ModelUsed, Park, Progressed, RetryReceived, SpanBegun,
    SpanEnded, SpanKind, With,
};
pub use others::{
    CancelReceived, ChildEnded, ChildOf, ChildStarted, GraceSet, Moved, Paused, Resumed, Settled, Signalled, Tie,
    UpdateExpired, UpdateOffered, UpdateReceived,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    /// Whose: the epoch of the owner that wrote it.
    pub epoch: Epoch,
    /// Never before the entry before it.
    pub time: Timestamp,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Started(Box<Started>),
    Claimed(Claimed),
    Asked(Asked),
    AttemptStarted(AttemptStarted),
    AttemptResumed(AttemptResumed),
    EffectAsked(EffectAsked),
    EffectAnswered(EffectAnswered),
    /// An attempt failed; the step goes on.
    Failed(AttemptFailed),
    /// The checkpoint: a step has its answer.
    Answered(Answered),
    Forgotten(Forgotten),
    StepCancelAsked(StepCancelAsked),
    /// The run's cancel, copied from the inbox.
    CancelReceived(CancelReceived),
    /// The only end.
    Finished(Finished),
    /// Somebody holds the run: nothing is begun and nothing delivered until it is resumed.
    Paused(Paused),
    Resumed(Resumed),
    /// The run goes on from a place in another one. Only right behind `Started`.
    Forked(Box<Forked>),
    /// The run was started by a step of another one. Only right behind `Started`.
    ChildOf(ChildOf),
    /// What a step was to start stands.
    ChildStarted(ChildStarted),
    /// The checkpoint of a step that waits for a run: how that run ended, copied from the inbox.
    ChildEnded(ChildEnded),
    /// As `Failed`, where the next attempt goes on with what this one had done.
    FailedKeeping(AttemptFailedKeeping),
    /// An attempt is over or broken off, and the step waits for a person.
    Parked(AttemptParked),
    /// A person's answer to that, copied from the inbox.
    RetryReceived(RetryReceived),
    /// How far an attempt says it is.
    Progressed(Progressed),
    /// When the run is ended by the host, right after its start.
    DeadlineSet(DeadlineSet),
    /// A signal, copied from the inbox.
    Signalled(Signalled),
    /// A question or a promise has its outcome from outside, or its time is over.
    Settled(Settled),
    /// The guest asked whether it may do as its newer code does, and may.
    Patched(Patched),
    /// From here on the run goes on with other code, which does all that is on record.
    Moved(Moved),
    /// By when a call has to begin and to be answered, right behind what asked for it.
    StepTimed(StepTimed),
    /// The workflow shows something of itself.
    Published(Published),
    /// A request to the workflow, copied from the inbox.
    UpdateReceived(UpdateReceived),
    /// The workflow's answer to one.
    Replied(Replied),
    /// The workflow begins anew in the same run. What stands before it is recalled no more.
    Continued(Box<Continued>),
    /// How long the run has after its cancel. The last one counts.
    GraceSet(GraceSet),
    /// The workflow told something to those who follow the run.
    Emitted(Emitted),
    /// A function did.
    AttemptEmitted(AttemptEmitted),
    /// What a call of a model used, right before its answer.
    ModelUsed(ModelUsed),
    /// What calls of models had cost before the run was continued, right behind that.
    SpendingTaken(SpendingTaken),
    /// An attempt begins something that its next effects belong to.
    SpanBegun(SpanBegun),
    SpanEnded(SpanEnded),
    /// A request to the workflow that it is to take by some time, copied from the inbox. Once a step waits for it,
    /// `UpdateReceived` follows.
    UpdateOffered(UpdateOffered),
    /// It was not taken by then.
    UpdateExpired(UpdateExpired),
    /// A question of an attempt has its outcome from outside, or its time is over.
    EffectSettled(EffectSettled),
    /// What a guest has computed that no proof tells of.
    FuelUsed(FuelUsed),
}

/// The first entry of a run. It pins everything about the host that the guest can observe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub run: RunId,
    pub workflow: Arc<str>,
    pub deployment: Arc<str>,
    pub component: Digest,
    pub input: Value,
    /// What `random` is made of.
    pub seed: [u8; 32],
    /// What idempotency keys are made of. A fork gets another one.
    pub key_seed: [u8; 32],
    pub limits: Limits,
    /// Version of the rules in this crate that the run began under.
    pub rules: u32,
}

/// Somebody owns the run now. In the first frame of each activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    pub worker: Arc<str>,
    /// Full name and version of the engine that runs the code. Fuel is compared only between equals.
    pub engine: Arc<str>,
    pub component: Digest,
}

/// By what a command is recognised on replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Of the request.
    pub digest: Digest,
    /// How many completions had been delivered to the guest before.
    pub deliveries: u32,
    /// Fuel used since the last delivery.
    pub fuel: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub step: StepId,
    pub request: StepRequest,
    pub proof: Proof,
    /// When it was asked for, on the guest's clock: the time of the last delivery. A sleep is
    /// due at this time plus its duration.
    pub now: Timestamp,
    #[serde(default, deserialize_with = "crate::text::maybe_text")]
    pub at: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineSet {
    pub at: Timestamp,
}

/// Wall time, counted from when the step was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTimed {
    pub step: StepId,
    /// When its first attempt has begun, or it fails.
    pub start_by: Option<Timestamp>,
    /// When it is answered, or it fails.
    pub close_by: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub step: StepId,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    pub step: StepId,
    pub proof: Proof,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCancelAsked {
    pub step: StepId,
    pub proof: Proof,
}

/// Where a run comes from that was restarted from one of its steps. The entries that it keeps of the
/// other run follow; until they all stand the run has not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    pub from: RunId,
    /// Everything before it was asked for is kept.
    pub step: StepId,
    /// How many entries are kept of the other run.
    pub entries: u64,
    /// When it was forked. The entry itself has the time of `Started`, which is the guest's.
    pub at: Timestamp,
    /// Where the guest's randomness changes, in order: the cuts of the other run that are kept, and
    /// this one.
    pub cuts: Vec<Cut>,
}

/// A guest that has given so many commands draws from this seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub commands: u64,
    pub seed: [u8; 32],
}

/// One for each id: from here on the answer is yes. Where it is no, nothing is on record: see
/// [`crate::Machine::patched`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patched {
    pub id: Arc<str>,
    pub proof: Proof,
}

/// What the workflow shows under a key, until it publishes something else there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub key: Arc<str>,
    pub value: Value,
    pub proof: Proof,
    pub at: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replied {
    /// That had taken the update.
    pub step: StepId,
    pub message: MessageId,
    pub outcome: Outcome,
    pub proof: Proof,
    pub at: Option<Arc<str>>,
}

/// All that the run takes along: with `Started` alone a worker can go on from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continued {
    pub input: Value,
    /// How the guest came to the end of the stretch before.
    pub fingerprint: Fingerprint,
    /// What `random` is made of from here on.
    pub seed: [u8; 32],
    /// Steps asked for before: their numbers run on, while the guest counts its ids from 1 again.
    pub steps: u32,
    /// What was sent to the run and nobody took, or answered: the places of those entries.
    pub mail: Vec<Position>,
    pub cancel: Option<CancelTaken>,
    pub deployment: Arc<str>,
    pub component: Digest,
    /// When the run began, for people.
    pub began: Timestamp,
    pub deadline: Option<Timestamp>,
    pub child_of: Option<ChildOf>,
    /// The keys under which the run has published.
    pub published: Vec<Arc<str>>,
}

/// The sum so far, for who reads no further back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendingTaken {
    pub spending: Spending,
}

/// A cancel of the run from before it was continued. Its workflow, which begins anew, is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelTaken {
    pub received: Timestamp,
    pub reason: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    pub name: Arc<str>,
    pub data: Value,
    pub proof: Proof,
    pub at: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub end: End,
    /// How the guest came to its end; absent when the host ended it from outside.
    pub fingerprint: Option<Fingerprint>,
    /// Inbox items that nobody read.
    pub unread: Vec<MessageId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Succeeded(Value),
    /// The text of a [`crate::Failure`].
    Failed(Value),
    Cancelled {
        reason: Arc<str>,
    },
    Terminated {
        reason: Arc<str>,
    },
}

/// What a guest did in all, from its first instruction to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub commands: u64,
    pub deliveries: u32,
    /// Since the last delivery.
    pub fuel: u64,
}

impl Kind {
    /// The word for people and tools.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Started(_) => "Started",
            Kind::Claimed(_) => "Claimed",
            Kind::Asked(_) => "Asked",
            Kind::AttemptStarted(_) => "AttemptStarted",
            Kind::AttemptResumed(_) => "AttemptResumed",
            Kind::EffectAsked(_) => "EffectAsked",
            Kind::EffectAnswered(_) => "EffectAnswered",
            Kind::Failed(_) => "Failed",
            Kind::Answered(_) => "Answered",
            Kind::Forgotten(_) => "Forgotten",
            Kind::StepCancelAsked(_) => "StepCancelAsked",
            Kind::CancelReceived(_) => "CancelReceived",
            Kind::Finished(_) => "Finished",
            Kind::Paused(_) => "Paused",
            Kind::Resumed(_) => "Resumed",
            Kind::Forked(_) => "Forked",
            Kind::ChildOf(_) => "ChildOf",
            Kind::ChildStarted(_) => "ChildStarted",
            Kind::ChildEnded(_) => "ChildEnded",
            Kind::FailedKeeping(_) => "FailedKeeping",
            Kind::Parked(_) => "Parked",
            Kind::RetryReceived(_) => "RetryReceived",
            Kind::Progressed(_) => "Progressed",
            Kind::DeadlineSet(_) => "DeadlineSet",
            Kind::Signalled(_) => "Signalled",
            Kind::Settled(_) => "Settled",
            Kind::Patched(_) => "Patched",
            Kind::Moved(_) => "Moved",
            Kind::StepTimed(_) => "StepTimed",
            Kind::Published(_) => "Published",
            Kind::UpdateReceived(_) => "UpdateReceived",
            Kind::Replied(_) => "Replied",
            Kind::Continued(_) => "Continued",
            Kind::GraceSet(_) => "GraceSet",
            Kind::Emitted(_) => "Emitted",
            Kind::AttemptEmitted(_) => "AttemptEmitted",
            Kind::ModelUsed(_) => "ModelUsed",
            Kind::SpendingTaken(_) => "SpendingTaken",
            Kind::SpanBegun(_) => "SpanBegun",
            Kind::SpanEnded(_) => "SpanEnded",
            Kind::UpdateOffered(_) => "UpdateOffered",
            Kind::UpdateExpired(_) => "UpdateExpired",
            Kind::EffectSettled(_) => "EffectSettled",
            Kind::FuelUsed(_) => "FuelUsed",
        }
    }

    /// The step that it tells of, if it tells of one.
    pub fn step(&self) -> Option<StepId> {
        match self {
            Kind::Asked(asked) => Some(asked.step),
            Kind::AttemptStarted(begun) => Some(begun.step),
            Kind::AttemptResumed(resumed) => Some(resumed.step),
            Kind::EffectAsked(asked) => Some(asked.step),
            Kind::EffectAnswered(answered) => Some(answered.step),
            Kind::Failed(failed) => Some(failed.step),
            Kind::FailedKeeping(failed) => Some(failed.step),
            Kind::Parked(parked) => Some(parked.step),
            Kind::RetryReceived(retry) => Some(retry.step),
            Kind::Progressed(progressed) => Some(progressed.step),
            Kind::Answered(answered) => Some(answered.step),
            Kind::Settled(settled) => Some(settled.step),
            Kind::Forgotten(forgotten) => Some(forgotten.step),
            Kind::StepCancelAsked(asked) => Some(asked.step),
            Kind::ChildStarted(started) => Some(started.step),
            Kind::ChildEnded(ended) => Some(ended.step),
            Kind::StepTimed(timed) => Some(timed.step),
            Kind::Replied(replied) => Some(replied.step),
            Kind::AttemptEmitted(emitted) => Some(emitted.step),
            Kind::ModelUsed(used) => Some(used.step),
            Kind::SpanBegun(begun) => Some(begun.step),
            Kind::SpanEnded(ended) => Some(ended.step),
            Kind::EffectSettled(settled) => Some(settled.step),
            Kind::FuelUsed(used) => used.attempt.map(|(step, _)| step),
            Kind::Started(_)
            | Kind::Claimed(_)
            | Kind::CancelReceived(_)
            | Kind::Signalled(_)
            | Kind::Finished(_)
            | Kind::Paused(_)
            | Kind::Resumed(_)
            | Kind::Forked(_)
            | Kind::ChildOf(_)
            | Kind::DeadlineSet(_)
            | Kind::Patched(_)
            | Kind::GraceSet(_)
            | Kind::Moved(_)
            | Kind::Published(_)
            | Kind::UpdateReceived(_)
            | Kind::UpdateOffered(_)
            | Kind::UpdateExpired(_)
            | Kind::Continued(_)
            | Kind::SpendingTaken(_)
            | Kind::Emitted(_) => None,
        }
    }

    /// The attempt of that step.
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Kind::AttemptStarted(begun) => Some(begun.attempt),
            Kind::AttemptResumed(resumed) => Some(resumed.attempt),
            Kind::EffectAsked(asked) => Some(asked.attempt),
            Kind::EffectAnswered(answered) => Some(answered.attempt),
            Kind::Failed(failed) => Some(failed.attempt),
            Kind::FailedKeeping(failed) => Some(failed.attempt),
            Kind::Parked(parked) => Some(parked.attempt),
            Kind::Progressed(progressed) => Some(progressed.attempt),
            Kind::AttemptEmitted(emitted) => Some(emitted.attempt),
            Kind::ModelUsed(used) => Some(used.attempt),
            Kind::SpanBegun(begun) => Some(begun.attempt),
            Kind::SpanEnded(ended) => Some(ended.attempt),
            Kind::EffectSettled(settled) => Some(settled.attempt),
            Kind::FuelUsed(used) => used.attempt.map(|(_, number)| number),
            _ => None,
        }
    }

    /// The value in it that may stand beside the journal: no entry has more than one.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Kind::Started(started) => Some(&started.input),
            Kind::Asked(Asked {
                request: StepRequest::Call { input, .. } | StepRequest::StartRun { input, .. },
                ..
            }) => Some(input),
            Kind::EffectAsked(EffectAsked {
                request: EffectRequest::Http { request, .. } | EffectRequest::Model { request, .. },
                ..
            }) => Some(request),
            Kind::EffectAnswered(EffectAnswered { outcome, .. })
            | Kind::Answered(Answered { outcome, .. })
            | Kind::ChildEnded(ChildEnded { outcome, .. })
            | Kind::Settled(Settled { outcome, .. })
            | Kind::Replied(Replied { outcome, .. })
            | Kind::EffectSettled(EffectSettled { outcome, .. })
            | Kind::SpanEnded(SpanEnded { outcome, .. }) => match outcome {
                Outcome::Succeeded(value) | Outcome::Failed(value) => Some(value),
            },
            Kind::SpanBegun(begun) => Some(&begun.input),
            Kind::Continued(continued) => Some(&continued.input),
            Kind::Failed(failed) => Some(&failed.failure),
            Kind::FailedKeeping(failed) => Some(&failed.failure),
            Kind::Parked(parked) => Some(&parked.failure),
            Kind::Progressed(progressed) => Some(&progressed.progress),
            Kind::Emitted(Emitted { data, .. }) | Kind::AttemptEmitted(AttemptEmitted { data, .. }) => Some(data),
            Kind::RetryReceived(RetryReceived { verdict: Some(EffectVerdict::Answer(value)), .. }) => Some(value),
            Kind::Signalled(signalled) => Some(&signalled.payload),
            Kind::Published(published) => Some(&published.value),
            Kind::UpdateReceived(update) => Some(&update.payload),
            Kind::UpdateOffered(offered) => Some(&offered.payload),
            Kind::Asked(Asked { request: StepRequest::AskPerson { form, .. }, .. })
            | Kind::EffectAsked(EffectAsked { request: EffectRequest::AskPerson { form, .. }, .. }) => Some(form),
            Kind::Finished(Finished { end: End::Succeeded(value) | End::Failed(value), .. }) => Some(value),
            Kind::Asked(Asked { request: StepRequest::Entity { act, .. }, .. }) => match act {
                EntityAct::Set { value } => Some(value),
                EntityAct::Get | EntityAct::Delete => None,
            },
            Kind::Asked(Asked {
                request:
                    StepRequest::Sleep { .. }
                    | StepRequest::Receive { .. }
                    | StepRequest::Promise { .. }
                    | StepRequest::AcceptUpdate { .. },
                ..
            })
            | Kind::EffectAsked(EffectAsked { request: EffectRequest::Sleep { .. }, .. })
            | Kind::Finished(Finished { end: End::Cancelled { .. } | End::Terminated { .. }, .. })
            | Kind::Claimed(_)
            | Kind::AttemptStarted(_)
            | Kind::AttemptResumed(_)
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
            | Kind::ModelUsed(_)
            | Kind::SpendingTaken(_)
            | Kind::UpdateExpired(_)
            | Kind::FuelUsed(_)
            | Kind::Moved(_) => None,
        }
    }

    /// Something that a workflow did: it has a proof and counts as one of its commands.
    pub fn is_command(&self) -> bool {
        matches!(
            self,
            Kind::Asked(_)
                | Kind::Forgotten(_)
                | Kind::StepCancelAsked(_)
                | Kind::Patched(_)
                | Kind::Published(_)
                | Kind::Replied(_)
                | Kind::Emitted(_)
        )
    }
}
