//! What a guest asked for, and the digest by which a replay recognises it.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{Digest, RunId, Value};

/// What a workflow asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepRequest {
    Call {
        #[serde(deserialize_with = "crate::text::text")]
        function: Arc<str>,
        input: Value,
        #[serde(deserialize_with = "crate::text::text")]
        options: Arc<str>,
    },
    Sleep {
        duration_ms: u64,
        options: Arc<str>,
    },
    /// Starts another run.
    StartRun {
        workflow: Arc<str>,
        input: Value,
        options: Arc<str>,
    },
    /// Waits for a signal of that name.
    Receive {
        signal: Arc<str>,
        options: Arc<str>,
    },
    /// A question to a person.
    AskPerson {
        form: Value,
        options: Arc<str>,
    },
    /// Something that is settled from outside, by whoever has its token.
    Promise {
        name: Arc<str>,
        /// The run that its token names: another one than its own where a restarted run keeps it.
        owner: RunId,
        options: Arc<str>,
    },
    /// Reads or writes an entity of the tenant.
    Entity {
        entity: Arc<str>,
        key: Arc<str>,
        act: EntityAct,
        options: Arc<str>,
    },
    /// Waits for an update of that name.
    AcceptUpdate {
        update: Arc<str>,
        options: Arc<str>,
    },
}

/// What is done with an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntityAct {
    Get,
    Set { value: Value },
    Delete,
}

/// The same without the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityVerb {
    Get,
    Set,
    Delete,
}

impl EntityAct {
    pub fn verb(&self) -> EntityVerb {
        match self {
            EntityAct::Get => EntityVerb::Get,
            EntityAct::Set { .. } => EntityVerb::Set,
            EntityAct::Delete => EntityVerb::Delete,
        }
    }
}

impl EntityVerb {
    /// As the contract calls it.
    pub fn operation(self) -> &'static str {
        match self {
            EntityVerb::Get => "entity-get",
            EntityVerb::Set => "entity-set",
            EntityVerb::Delete => "entity-delete",
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            EntityVerb::Get => "get",
            EntityVerb::Set => "set",
            EntityVerb::Delete => "delete",
        }
    }
}

/// What a function asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectRequest {
    Http {
        request: Value,
        options: Arc<str>,
    },
    Sleep {
        duration_ms: u64,
        options: Arc<str>,
    },
    /// `model` stands in the request too, which may stand beside the journal.
    Model {
        model: Arc<str>,
        request: Value,
        options: Arc<str>,
    },
    /// A question to a person.
    AskPerson {
        form: Value,
        options: Arc<str>,
    },
}

/// The digest of a call. It is over the bytes that the guest gave, wherever they end up standing.
pub fn digest_of_call(function: &str, input: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"call", function.as_bytes(), input.as_bytes(), options.as_bytes()])
}

pub fn digest_of_start_run(workflow: &str, input: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"start-run", workflow.as_bytes(), input.as_bytes(), options.as_bytes()])
}

pub fn digest_of_http(request: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"http", request.as_bytes(), options.as_bytes()])
}

pub fn digest_of_model(request: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"model", request.as_bytes(), options.as_bytes()])
}

pub fn digest_of_sleep(duration_ms: u64, options: &str) -> Digest {
    Digest::of_parts(&[b"sleep", &duration_ms.to_le_bytes(), options.as_bytes()])
}

pub fn digest_of_receive(signal: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"receive", signal.as_bytes(), options.as_bytes()])
}

pub fn digest_of_ask_person(form: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"ask-person", form.as_bytes(), options.as_bytes()])
}

pub fn digest_of_promise(name: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"promise", name.as_bytes(), options.as_bytes()])
}

/// `value` is empty but for a set.
pub fn digest_of_entity(verb: EntityVerb, entity: &str, key: &str, value: &str, options: &str) -> Digest {
    let parts = [verb.operation(), entity, key, value, options].map(str::as_bytes);
    Digest::of_parts(&parts)
}

pub fn digest_of_accept_update(update: &str, options: &str) -> Digest {
    Digest::of_parts(&[b"accept-update", update.as_bytes(), options.as_bytes()])
}

pub fn digest_of_publish(key: &str, value: &str) -> Digest {
    Digest::of_parts(&[b"publish", key.as_bytes(), value.as_bytes()])
}

pub fn digest_of_reply(id: u32, answer: Result<&str, &str>) -> Digest {
    let (how, text) = match answer {
        Ok(output) => (b"answer".as_slice(), output),
        Err(failure) => (b"refuse".as_slice(), failure),
    };
    Digest::of_parts(&[b"reply", how, &id.to_le_bytes(), text.as_bytes()])
}

pub fn digest_of_emit(name: &str, data: &str) -> Digest {
    Digest::of_parts(&[b"emit", name.as_bytes(), data.as_bytes()])
}

/// `kind` and `name` of the span.
pub fn digest_of_begin(kind: &str, name: &str, input: &str, options: &str) -> Digest {
    let parts = ["begin", kind, name, input, options].map(str::as_bytes);
    Digest::of_parts(&parts)
}

pub fn digest_of_end(id: u32, outcome: Result<&str, &str>) -> Digest {
    let (how, text) = match outcome {
        Ok(output) => (b"ok".as_slice(), output),
        Err(failure) => (b"failed".as_slice(), failure),
    };
    Digest::of_parts(&[b"end", how, &id.to_le_bytes(), text.as_bytes()])
}

pub fn digest_of_forget(id: u32) -> Digest {
    Digest::of_parts(&[b"forget", &id.to_le_bytes()])
}

pub fn digest_of_patched(patch: &str) -> Digest {
    Digest::of_parts(&[b"patched", patch.as_bytes()])
}

pub fn digest_of_cancel(id: u32) -> Digest {
    Digest::of_parts(&[b"cancel", &id.to_le_bytes()])
}
