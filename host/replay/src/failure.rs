//! What went wrong with the guest or the world. A failure is journaled; it is never an error of the host.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

use crate::Value;

/// The codes that the host itself gives. `wit/README.md` says when.
pub mod code {
    pub const FAILED: &str = "FAILED";
    pub const PANIC: &str = "PANIC";
    pub const TRAP: &str = "TRAP";
    pub const OUT_OF_FUEL: &str = "OUT_OF_FUEL";
    pub const OUT_OF_MEMORY: &str = "OUT_OF_MEMORY";
    pub const STACK_OVERFLOW: &str = "STACK_OVERFLOW";
    pub const WRONG_ROLE: &str = "WRONG_ROLE";
    pub const TIMEOUT: &str = "TIMEOUT";
    pub const CANCELLED: &str = "CANCELLED";
    pub const NOT_RESUMABLE: &str = "NOT_RESUMABLE";
    pub const UNKNOWN_FUNCTION: &str = "UNKNOWN_FUNCTION";
    pub const UNKNOWN_WORKFLOW: &str = "UNKNOWN_WORKFLOW";
    pub const KEY_CONFLICT: &str = "KEY_CONFLICT";
    pub const CHILD_LOST: &str = "CHILD_LOST";
    pub const BAD_INPUT: &str = "BAD_INPUT";
    pub const BAD_OUTPUT: &str = "BAD_OUTPUT";
    pub const BAD_OPTIONS: &str = "BAD_OPTIONS";
    pub const BAD_REQUEST: &str = "BAD_REQUEST";
    pub const TOO_LARGE: &str = "TOO_LARGE";
    pub const TOO_MANY: &str = "TOO_MANY";
    pub const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";
    pub const NOTHING_OPEN: &str = "NOTHING_OPEN";
    pub const EGRESS_DENIED: &str = "EGRESS_DENIED";
    pub const HOST_FAILED: &str = "HOST_FAILED";
    pub const HTTP_CONNECT: &str = "HTTP_CONNECT";
    pub const HTTP_TIMEOUT: &str = "HTTP_TIMEOUT";
    pub const EXPIRED: &str = "EXPIRED";
    pub const VERSION_CONFLICT: &str = "VERSION_CONFLICT";
    pub const HTTP_BROKEN: &str = "HTTP_BROKEN";
    pub const START_TIMEOUT: &str = "START_TIMEOUT";
    pub const CLOSE_TIMEOUT: &str = "CLOSE_TIMEOUT";
    pub const HEARTBEAT_TIMEOUT: &str = "HEARTBEAT_TIMEOUT";
    pub const AMBIGUOUS: &str = "AMBIGUOUS";
    pub const MODEL_RATE_LIMITED: &str = "MODEL_RATE_LIMITED";
    pub const MODEL_OVERLOADED: &str = "MODEL_OVERLOADED";
    pub const MODEL_TIMEOUT: &str = "MODEL_TIMEOUT";
    pub const MODEL_BROKEN: &str = "MODEL_BROKEN";
    pub const MODEL_CONNECT: &str = "MODEL_CONNECT";
    pub const MODEL_CONTEXT_TOO_LONG: &str = "MODEL_CONTEXT_TOO_LONG";
    pub const MODEL_REFUSED: &str = "MODEL_REFUSED";
    pub const MODEL_AUTH: &str = "MODEL_AUTH";
    pub const MODEL_UNKNOWN: &str = "MODEL_UNKNOWN";
    pub const MODEL_FAILED: &str = "MODEL_FAILED";
    pub const SECRET_UNKNOWN: &str = "SECRET_UNKNOWN";
    pub const SECRET_DENIED: &str = "SECRET_DENIED";
    pub const SECRET_UNREADABLE: &str = "SECRET_UNREADABLE";
}

const CODE_MAX_BYTES: usize = 64;
/// Enough for a long message; the rest of an entry must fit beside it.
const MESSAGE_MAX_BYTES: usize = 8 << 10;
const DETAILS_MAX_BYTES: usize = 16 << 10;
const AT_MAX_BYTES: usize = 512;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub code: String,
    pub message: String,
    #[serde(default = "yes")]
    pub retryable: bool,
    /// Another attempt before would be in vain: what a busy server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

#[cfg(test)]
mod tests;

fn yes() -> bool {
    true
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        Failure {
            code: code.to_owned(),
            message: message.into(),
            retryable: true,
            retry_after_ms: None,
            details: None,
            at: None,
        }
    }

    pub fn permanent(code: &str, message: impl Into<String>) -> Failure {
        Failure { retryable: false, ..Failure::new(code, message) }
    }

    pub fn at(self, at: Option<String>) -> Failure {
        Failure { at, ..self }
    }

    /// Reads what a guest returned as its failure. Text that is no failure object becomes the
    /// message of one, so nothing a guest says is lost or refused.
    pub fn from_guest(text: &str) -> Failure {
        // serde would also take an array of the fields.
        let failure = Some(text)
            .filter(|text| text.trim_ascii_start().starts_with('{'))
            .and_then(|text| serde_json::from_str::<Failure>(text).ok())
            .filter(|failure| is_code(&failure.code))
            .unwrap_or_else(|| Failure::new(code::FAILED, text));
        failure.within_limits()
    }

    /// Reads back what [`Failure::to_value`] wrote.
    pub fn from_value(value: &Value) -> Failure {
        match value {
            Value::Inline(text) => Failure::from_guest(text),
            Value::Stored { digest, .. } => Failure::new(code::FAILED, format!("stored as payload {digest}")),
        }
    }

    /// The text that is journaled and that the guest gets; always within [`Value::INLINE_MAX_BYTES`].
    pub fn to_text(&self) -> Arc<str> {
        let text = serde_json::to_string(&self.clone().within_limits());
        text.expect("a failure holds only text and JSON").into()
    }

    pub fn to_value(&self) -> Value {
        Value::Inline(self.to_text())
    }

    fn within_limits(mut self) -> Failure {
        // Quotes and control characters grow when they are written as JSON, at most sixfold.
        cut_escaped(&mut self.message, MESSAGE_MAX_BYTES);
        if let Some(at) = &mut self.at {
            cut_escaped(at, AT_MAX_BYTES);
        }
        if self.details.as_ref().is_some_and(|details| details.get().len() > DETAILS_MAX_BYTES) {
            self.details = None;
        }
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Failure) -> bool {
        self.to_value() == other.to_value()
    }
}

/// Whether a failure may have it as its code.
pub fn is_code(code: &str) -> bool {
    (1..=CODE_MAX_BYTES).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Cuts `text` so that it takes at most `max` bytes as JSON.
fn cut_escaped(text: &mut String, max: usize) {
    let mut size = 0;
    let fits = text.char_indices().find_map(|(place, character)| {
        size += match character {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            control if control < ' ' => 6,
            other => other.len_utf8(),
        };
        (size > max).then_some(place)
    });
    if let Some(place) = fits {
        text.truncate(place);
    }
}
