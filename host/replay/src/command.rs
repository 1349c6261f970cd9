//! What a guest commands, in short: enough to hold one command against another and to name it in a
//! message. Values never stand here, only their digest.

use std::fmt;
use std::sync::Arc;

use crate::{
    Asked, AttemptEmitted, Digest, EffectAsked, EffectRequest, Emitted, EntityVerb, Forgotten, Patched, Published,
    Replied, SpanBegun, SpanEnded, SpanKind, StepCancelAsked, StepRequest, Topic,
};

/// What a command does, in short: enough to tell one from another in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Call {
        function: Arc<str>,
    },
    Http,
    Model,
    Sleep {
        duration_ms: u64,
    },
    StartRun {
        workflow: Arc<str>,
    },
    Receive {
        signal: Arc<str>,
    },
    AskPerson,
    Promise {
        name: Arc<str>,
    },
    Entity {
        verb: EntityVerb,
        entity: Arc<str>,
        key: Arc<str>,
    },
    AcceptUpdate {
        update: Arc<str>,
    },
    Publish {
        key: Arc<str>,
    },
    /// To the update that this id took.
    Reply {
        id: u32,
    },
    Forget {
        id: u32,
    },
    Cancel {
        id: u32,
    },
    Patched {
        patch: Arc<str>,
    },
    Emit {
        name: Arc<str>,
    },
    Begin {
        kind: SpanKind,
        name: Arc<str>,
    },
    End {
        id: u32,
    },
}

/// A command, as it stands in the journal or as the guest gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub act: Act,
    pub digest: Digest,
    pub at: Option<Arc<str>>,
}

impl Act {
    /// What it names first, if it names something.
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Act::Call { function: name }
            | Act::StartRun { workflow: name }
            | Act::Receive { signal: name }
            | Act::Promise { name }
            | Act::Entity { entity: name, .. }
            | Act::AcceptUpdate { update: name }
            | Act::Publish { key: name }
            | Act::Patched { patch: name }
            | Act::Emit { name }
            | Act::Begin { name, .. } => Some(name),
            Act::Http
            | Act::Model
            | Act::Sleep { .. }
            | Act::AskPerson
            | Act::Reply { .. }
            | Act::Forget { .. }
            | Act::Cancel { .. }
            | Act::End { .. } => None,
        }
    }

    /// What it waits for, if it waits for something that is sent.
    pub(crate) fn topic(&self) -> Option<Topic> {
        match self {
            Act::Receive { signal } => Some(Topic::Signal(signal.clone())),
            Act::AcceptUpdate { update } => Some(Topic::Update(update.clone())),
            Act::Call { .. }
            | Act::Http
            | Act::Model
            | Act::Sleep { .. }
            | Act::StartRun { .. }
            | Act::AskPerson
            | Act::Promise { .. }
            | Act::Entity { .. }
            | Act::Publish { .. }
            | Act::Reply { .. }
            | Act::Forget { .. }
            | Act::Cancel { .. }
            | Act::Patched { .. }
            | Act::Emit { .. }
            | Act::Begin { .. }
            | Act::End { .. } => None,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Call { function } => write!(f, "call `{function}`"),
            Act::Http => f.write_str("http"),
            Act::Model => f.write_str("model"),
            Act::Sleep { duration_ms } => write!(f, "sleep {duration_ms} ms"),
            Act::StartRun { workflow } => write!(f, "start-run `{workflow}`"),
            Act::Receive { signal } => write!(f, "receive `{signal}`"),
            Act::AskPerson => f.write_str("ask a person"),
            Act::Promise { name } => write!(f, "promise `{name}`"),
            Act::Entity { verb, entity, key } => write!(f, "{} `{entity}/{key}`", verb.operation()),
            Act::AcceptUpdate { update } => write!(f, "accept-update `{update}`"),
            Act::Publish { key } => write!(f, "publish `{key}`"),
            Act::Reply { id } => write!(f, "reply {id}"),
            Act::Forget { id } => write!(f, "forget {id}"),
            Act::Cancel { id } => write!(f, "cancel {id}"),
            Act::Patched { patch } => write!(f, "patched `{patch}`"),
            Act::Emit { name } => write!(f, "emit `{name}`"),
            Act::Begin { kind, name } => write!(f, "begin {} `{name}`", kind.word()),
            Act::End { id } => write!(f, "end {id}"),
        }
    }
}

impl From<&Asked> for Command {
    fn from(asked: &Asked) -> Command {
        let act = match &asked.request {
            StepRequest::Call { function, .. } => Act::Call { function: function.clone() },
            StepRequest::Sleep { duration_ms, .. } => Act::Sleep { duration_ms: *duration_ms },
            StepRequest::StartRun { workflow, .. } => Act::StartRun { workflow: workflow.clone() },
            StepRequest::Receive { signal, .. } => Act::Receive { signal: signal.clone() },
            StepRequest::AskPerson { .. } => Act::AskPerson,
            StepRequest::Promise { name, .. } => Act::Promise { name: name.clone() },
            StepRequest::Entity { entity, key, act, .. } => {
                Act::Entity { verb: act.verb(), entity: entity.clone(), key: key.clone() }
            }
            StepRequest::AcceptUpdate { update, .. } => Act::AcceptUpdate { update: update.clone() },
        };
        Command { act, digest: asked.proof.digest, at: asked.at.clone() }
    }
}

impl From<&EffectAsked> for Command {
    fn from(asked: &EffectAsked) -> Command {
        let act = match &asked.request {
            EffectRequest::Http { .. } => Act::Http,
            EffectRequest::Model { .. } => Act::Model,
            EffectRequest::AskPerson { .. } => Act::AskPerson,
            EffectRequest::Sleep { duration_ms, .. } => Act::Sleep { duration_ms: *duration_ms },
        };
        Command { act, digest: asked.proof.digest, at: asked.at.clone() }
    }
}

impl From<&Forgotten> for Command {
    fn from(forgotten: &Forgotten) -> Command {
        Command { act: Act::Forget { id: forgotten.step.0 }, digest: forgotten.proof.digest, at: None }
    }
}

impl From<&Published> for Command {
    fn from(published: &Published) -> Command {
        let act = Act::Publish { key: published.key.clone() };
        Command { act, digest: published.proof.digest, at: published.at.clone() }
    }
}

impl From<&Replied> for Command {
    fn from(replied: &Replied) -> Command {
        let act = Act::Reply { id: replied.step.0 };
        Command { act, digest: replied.proof.digest, at: replied.at.clone() }
    }
}

impl From<&StepCancelAsked> for Command {
    fn from(asked: &StepCancelAsked) -> Command {
        Command { act: Act::Cancel { id: asked.step.0 }, digest: asked.proof.digest, at: None }
    }
}

impl From<&Patched> for Command {
    fn from(patched: &Patched) -> Command {
        Command { act: Act::Patched { patch: patched.id.clone() }, digest: patched.proof.digest, at: None }
    }
}

impl From<&Emitted> for Command {
    fn from(emitted: &Emitted) -> Command {
        let act = Act::Emit { name: emitted.name.clone() };
        Command { act, digest: emitted.proof.digest, at: emitted.at.clone() }
    }
}

impl From<&AttemptEmitted> for Command {
    fn from(emitted: &AttemptEmitted) -> Command {
        let act = Act::Emit { name: emitted.name.clone() };
        Command { act, digest: emitted.proof.digest, at: emitted.at.clone() }
    }
}

impl From<&SpanBegun> for Command {
    fn from(begun: &SpanBegun) -> Command {
        let act = Act::Begin { kind: begun.kind, name: begun.name.clone() };
        Command { act, digest: begun.proof.digest, at: begun.at.clone() }
    }
}

impl From<&SpanEnded> for Command {
    fn from(ended: &SpanEnded) -> Command {
        Command { act: Act::End { id: ended.span.0 }, digest: ended.proof.digest, at: ended.at.clone() }
    }
}
