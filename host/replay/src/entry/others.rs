//! Entries of what others do to a run, or have to do with it: people, programs and other runs. It never says what
//! becomes of them.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{Digest, MessageId, Outcome, RunId, StepId, Timestamp, Value};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildOf {
    pub parent: RunId,
    pub step: StepId,
    pub tie: Tie,
}

/// What a run that was started by another one still has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tie {
    /// The other run is told of its end.
    Awaited,
    Detached,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStarted {
    pub step: StepId,
    pub run: RunId,
    pub deployment: Arc<str>,
    /// What it is pinned to.
    pub component: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildEnded {
    pub message: MessageId,
    pub step: StepId,
    pub run: RunId,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelReceived {
    pub message: MessageId,
    pub reason: Arc<str>,
}

/// Copied from the inbox, before the cancel that it came with; or near the start, as whoever started the run said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraceSet {
    pub message: MessageId,
    /// From the first cancel to the moment at which the host ends the run.
    pub grace_ms: u64,
}

impl GraceSet {
    /// In place of a message: nobody sent it.
    pub const FROM_THE_START: MessageId = MessageId(0);
}

/// Copied from the inbox. Of a run that was asked to cancel it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    pub message: MessageId,
    pub reason: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    pub message: MessageId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled {
    pub message: MessageId,
    pub name: Arc<str>,
    pub payload: Value,
    /// The run that sent it, if a run did.
    pub from: Option<RunId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Of the question or the promise.
    pub step: StepId,
    /// The request that settled it; absent where its time was over.
    pub request: Option<MessageId>,
    pub outcome: Outcome,
    /// Who answered, as far as they said.
    pub by: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateReceived {
    pub message: MessageId,
    pub name: Arc<str>,
    pub payload: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateOffered {
    pub message: MessageId,
    pub name: Arc<str>,
    pub payload: Value,
    /// From then on it is too late.
    pub due: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateExpired {
    pub message: MessageId,
}

/// Copied from the inbox, once the other code was held against everything before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub message: MessageId,
    /// Whose grants count from here on.
    pub deployment: Arc<str>,
    pub component: Digest,
}
