//! What is said of an operation beside its request: the fields of the contract, in one order, as they take part
//! in the digest of the request. It asks for nothing.

use serde::Serialize;

use crate::prompt::PromptFile;
use crate::retry::{Ambiguous, Retry};

/// What is said of a run that is to be started; the fields of the contract.
#[derive(Serialize, Default)]
pub(crate) struct RunOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub detach: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_cancel: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_grace_ms: Option<u64>,
}

/// What is said of an effect of a function; each knows some of it.
#[derive(Default)]
pub(crate) struct EffectOptions {
    pub timeout_ms: Option<u64>,
    /// Of a request, by the host.
    pub tries: Option<u32>,
    pub idempotency_key: Option<String>,
    /// The event under which the pieces of a model's answer are told.
    pub deltas: Option<String>,
    pub prompts: Vec<PromptFile>,
    /// It waits for a person. Not told: the host knows.
    pub asks_person: bool,
}

/// The options of the contract; in this order, as they take part in the request digest.
#[derive(Serialize, Default)]
pub(crate) struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<&'a Retry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambiguous: Option<Ambiguous>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
    #[serde(flatten)]
    pub times: Times,
    /// The span that it belongs to; none outside of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deltas: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub prompts: &'a [PromptFile],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tries: Option<u32>,
}

/// How long something may take; only of a step. Fields of the contract.
#[derive(Serialize, Default, Clone, Copy)]
pub(crate) struct Times {
    #[serde(rename = "timeout_ms", skip_serializing_if = "Option::is_none")]
    pub start_to_close_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_to_start_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_to_close_ms: Option<u64>,
}

impl Options<'_> {
    pub(crate) fn to_text(&self) -> String {
        let text = serde_json::to_string(self).expect("options are text and numbers");
        if text == "{}" { String::new() } else { text }
    }
}
