//! What a guest asked for, and the digest by which a replay recognises it.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::{Digest, RunId, Value};

/// What a workflow asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepRequest {
    Call {
        function: Arc<str>,
        input: Value,
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
}

/// What a function asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectRequest {
    Http { request: Value, options: Arc<str> },
    Sleep { duration_ms: u64, options: Arc<str> },
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

pub fn digest_of_forget(id: u32) -> Digest {
    Digest::of_parts(&[b"forget", &id.to_le_bytes()])
}

pub fn digest_of_patched(patch: &str) -> Digest {
    Digest::of_parts(&[b"patched", patch.as_bytes()])
}

pub fn digest_of_cancel(id: u32) -> Digest {
    Digest::of_parts(&[b"cancel", &id.to_le_bytes()])
}
