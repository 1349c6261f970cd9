//! What went wrong with a call of a model: told apart by status, by what the provider says of it, and by what it
//! sent. Pure.

use reqwest::StatusCode;
use serde_json::Value;
use trackway_replay::{Failure, code};

/// Enough to know what a provider complains of.
const MESSAGE_MAX_CHARS: usize = 1_000;

/// What is wrong with an answer that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Not what its protocol says, or half of it.
    Garbage(String),
    TooLarge(String),
    /// The provider says so itself.
    Told(Told),
}

/// An error as providers tell it; empty where they do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub kind: String,
    pub code: String,
    pub message: String,
}

/// Kinds of trouble, as far as they have different consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    RateLimited,
    Overloaded,
    Timeout,
    Broken,
    Connect,
    ContextTooLong,
    Refused,
    Auth,
    Unknown,
    Failed,
}

impl Trouble {
    fn code(self) -> &'static str {
        match self {
            Trouble::RateLimited => code::MODEL_RATE_LIMITED,
            Trouble::Overloaded => code::MODEL_OVERLOADED,
            Trouble::Timeout => code::MODEL_TIMEOUT,
            Trouble::Broken => code::MODEL_BROKEN,
            Trouble::Connect => code::MODEL_CONNECT,
            Trouble::ContextTooLong => code::MODEL_CONTEXT_TOO_LONG,
            Trouble::Refused => code::MODEL_REFUSED,
            Trouble::Auth => code::MODEL_AUTH,
            Trouble::Unknown => code::MODEL_UNKNOWN,
            Trouble::Failed => code::MODEL_FAILED,
        }
    }

    /// The same request may be answered another time.
    pub fn passes(self) -> bool {
        match self {
            Trouble::RateLimited | Trouble::Overloaded | Trouble::Timeout | Trouble::Broken | Trouble::Connect => true,
            Trouble::ContextTooLong | Trouble::Refused | Trouble::Auth | Trouble::Unknown | Trouble::Failed => false,
        }
    }

    pub fn failure(self, message: impl Into<String>) -> Failure {
        Failure { retryable: self.passes(), ..Failure::new(self.code(), message) }
    }
}

impl Told {
    /// From the body of an answer that is none. Every protocol has `error` in it, some only a text.
    pub fn of_body(body: &str) -> Told {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let error = value.get("error").or_else(|| value.get("detail")).unwrap_or(&value);
        match super::answer::told(error) {
            Wrong::Told(told) if told != Told::default() => told,
            _ => Told { message: body.trim().to_owned(), ..Told::default() },
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| self.kind.contains(word) || self.code.contains(word) || message.contains(word))
    }

    fn is(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.kind == *name || self.code == *name)
    }

    /// By its own words alone, as in the middle of an answer.
    pub fn trouble(&self) -> Option<Trouble> {
        let status = self.code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        if let Some(status) = status.filter(|status| status.is_client_error() || status.is_server_error()) {
            return Some(of_status(status, &Told { code: String::new(), ..self.clone() }));
        }
        let known = [
            (Trouble::ContextTooLong, CONTEXT),
            (Trouble::Refused, REFUSED),
            (Trouble::Failed, &["insufficient_quota", "billing_error"]),
            (Trouble::RateLimited, &["rate_limit_error", "rate_limit_exceeded", "requests", "tokens"]),
            (Trouble::Overloaded, &["overloaded_error", "api_error", "server_error", "server_overloaded"]),
            (Trouble::Timeout, &["timeout_error"]),
            (Trouble::Auth, &["authentication_error", "permission_error", "invalid_api_key"]),
            (Trouble::Unknown, &["not_found_error", "model_not_found"]),
        ];
        if let Some((trouble, _)) = known.iter().find(|(_, names)| self.is(names)) {
            return Some(*trouble);
        }
        if self.is(&["invalid_request_error"]) {
            return Some(of_status(StatusCode::BAD_REQUEST, self));
        }
        None
    }
}

const CONTEXT: &[&str] = &["context_length_exceeded", "request_too_large", "string_above_max_length"];
const REFUSED: &[&str] = &["content_filter", "content_policy_violation", "invalid_prompt"];

/// An answer whose status says that it is none.
pub(super) fn of_status(status: StatusCode, told: &Told) -> Trouble {
    let is_context = || {
        told.is(CONTEXT)
            || told.says(&[
                "maximum context length",
                "prompt is too long",
                "context window",
                "context size",
                "too many tokens",
            ])
    };
    let is_refused = || told.is(REFUSED) || told.says(&["content management policy", "moderation", "flagged"]);
    match status.as_u16() {
        429 if told.is(&["insufficient_quota", "billing_error"]) => Trouble::Failed,
        429 => Trouble::RateLimited,
        401 => Trouble::Auth,
        403 if is_refused() => Trouble::Refused,
        403 => Trouble::Auth,
        404 => Trouble::Unknown,
        408 | 504 => Trouble::Timeout,
        413 => Trouble::ContextTooLong,
        400 | 422 if is_context() => Trouble::ContextTooLong,
        400 | 422 if is_refused() => Trouble::Refused,
        400..=499 => Trouble::Failed,
        500.. => Trouble::Overloaded,
        _ => Trouble::Broken,
    }
}

/// What a provider says, for people: without the key, should it repeat that.
pub(super) fn shown(message: &str, key: Option<&str>) -> String {
    let mut text = message.to_owned();
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        text = text.replace(key, "[key]");
    }
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests;
