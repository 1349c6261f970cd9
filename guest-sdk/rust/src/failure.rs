//! What went wrong, as a value that crosses between functions, workflows and people. It is never
//! an error of the host, and it never holds more than the contract lets through.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::panic::Location;

/// The codes that the host and this crate give. Your own codes are any others.
pub mod code {
    /// A failure without a code of its own, such as one made of an error by `?`.
    pub const FAILED: &str = "FAILED";
    /// The code panicked.
    pub const PANIC: &str = "PANIC";
    /// An attempt was held longer than its `timeout`.
    pub const TIMEOUT: &str = "TIMEOUT";
    /// Nobody knows whether an effect was carried out, and its function does not let it be repeated.
    pub const AMBIGUOUS: &str = "AMBIGUOUS";
    /// No attempt of a step began within its `schedule_to_start`.
    pub const START_TIMEOUT: &str = "START_TIMEOUT";
    /// A step had no answer within its `schedule_to_close`.
    pub const CLOSE_TIMEOUT: &str = "CLOSE_TIMEOUT";
    /// A function did not tell how far it is for longer than its `heartbeat_timeout`.
    pub const HEARTBEAT_TIMEOUT: &str = "HEARTBEAT_TIMEOUT";
    /// A saga failed, and not all that it had done could be undone.
    pub const UNDO_FAILED: &str = "UNDO_FAILED";
    /// What a function or a form asks for cannot be.
    pub const BAD_REQUEST: &str = "BAD_REQUEST";
    /// More at once, or in all, than there may be.
    pub const TOO_MANY: &str = "TOO_MANY";
    /// More bytes than there may be.
    pub const TOO_LARGE: &str = "TOO_LARGE";
    /// The provider of a model takes no more calls for now.
    pub const MODEL_RATE_LIMITED: &str = "MODEL_RATE_LIMITED";
    /// The provider of a model has too much to do.
    pub const MODEL_OVERLOADED: &str = "MODEL_OVERLOADED";
    /// A model did not answer in time.
    pub const MODEL_TIMEOUT: &str = "MODEL_TIMEOUT";
    /// The answer of a model broke off, or was none.
    pub const MODEL_BROKEN: &str = "MODEL_BROKEN";
    /// There is no connection to the provider of a model.
    pub const MODEL_CONNECT: &str = "MODEL_CONNECT";
    /// A model was given more than it can read.
    pub const MODEL_CONTEXT_TOO_LONG: &str = "MODEL_CONTEXT_TOO_LONG";
    /// A model would not answer.
    pub const MODEL_REFUSED: &str = "MODEL_REFUSED";
    /// The provider of a model does not take the operator's key.
    pub const MODEL_AUTH: &str = "MODEL_AUTH";
    /// There is no such model, or the function was not granted it.
    pub const MODEL_UNKNOWN: &str = "MODEL_UNKNOWN";
    /// The provider of a model refused a call otherwise.
    pub const MODEL_FAILED: &str = "MODEL_FAILED";
    /// There is no secret of that name.
    pub const SECRET_UNKNOWN: &str = "SECRET_UNKNOWN";
    /// The function does not list the secret, or it is not granted to the deployment for that place of a request to that host.
    pub const SECRET_DENIED: &str = "SECRET_DENIED";
    /// The host has not the key with which the secret is kept.
    pub const SECRET_UNREADABLE: &str = "SECRET_UNREADABLE";
    /// An agent has used up its [`Budget`](crate::Budget), or the next call would.
    pub const BUDGET_EXCEEDED: &str = "BUDGET_EXCEEDED";
    /// An agent asked its model as often as it may.
    pub const ITERATIONS_EXCEEDED: &str = "ITERATIONS_EXCEEDED";
    /// A model wanted a tool that there is not; only models are told.
    pub const UNKNOWN_TOOL: &str = "UNKNOWN_TOOL";
    /// An MCP server refused, or its tool failed.
    pub const MCP_ERROR: &str = "MCP_ERROR";
    /// What an MCP server answered is not the protocol, or no version of it that is known here.
    pub const MCP_BROKEN: &str = "MCP_BROKEN";
    /// A person did not allow the call of a tool; only models are told.
    pub const REFUSED: &str = "REFUSED";
    /// What a workflow returns that goes on with a new input; see [`Ctx::continue_with`](crate::Ctx::continue_with).
    pub const CONTINUED: &str = "CONTINUED";
    /// The operation, or the whole run, was cancelled.
    pub const CANCELLED: &str = "CANCELLED";
    /// An input is not what its schema or type says.
    pub const BAD_INPUT: &str = "BAD_INPUT";
    /// An output is not what its schema or type says.
    pub const BAD_OUTPUT: &str = "BAD_OUTPUT";
    /// A function that `export!` does not name.
    pub const UNKNOWN_FUNCTION: &str = "UNKNOWN_FUNCTION";
    /// There is no such workflow, or no such deployment.
    pub const UNKNOWN_WORKFLOW: &str = "UNKNOWN_WORKFLOW";
    /// An entity is not at the version at which it was to be written.
    pub const VERSION_CONFLICT: &str = "VERSION_CONFLICT";
    /// An await of something that no operation will ever wake.
    pub const NOTHING_OPEN: &str = "NOTHING_OPEN";
    /// The URL is outside of what the deployment was granted.
    pub const EGRESS_DENIED: &str = "EGRESS_DENIED";
    /// An HTTP answer with a status of 400 or more, by [`error_for_status`].
    ///
    /// [`error_for_status`]: crate::http::Response::error_for_status
    pub const HTTP_STATUS: &str = "HTTP_STATUS";
}

const CODE_MAX_BYTES: usize = 64;

/// Why a function or a workflow did not succeed.
///
/// Any [`std::error::Error`] becomes a failure by `?`, with code `FAILED` and the place of the
/// `?`. A failure of a function is tried again, as its `retries` say, unless it is
/// [permanent](Failure::permanent).
///
/// ```
/// use trackway_sdk::prelude::*;
///
/// /// The number in a text.
/// #[function]
/// fn parse(text: String) -> Result<u32, Failure> {
///     if text.is_empty() {
///         return Err(Failure::permanent("EMPTY", "there is nothing to parse"));
///     }
///     Ok(text.trim().parse()?)
/// }
///
/// assert_eq!(parse(" 7".into()).run().unwrap(), 7);
/// assert_eq!(parse("".into()).run().unwrap_err().code, "EMPTY");
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure it is, for programs: 1 to 64 of `A-Z 0-9 _`.
    pub code: String,
    /// What happened, for people; the host cuts it at 8 KiB.
    pub message: String,
    /// Whether another attempt could help.
    #[serde(default = "yes")]
    pub retryable: bool,
    /// Another attempt earlier than this would be in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// More, for programs; the host leaves it out above 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    /// The source place, as `src/lib.rs:41`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Box<str>>,
    /// It ends the agent whose tool fails so.
    #[serde(skip)]
    pub(crate) fatal: bool,
}

fn yes() -> bool {
    true
}

impl Failure {
    /// A failure that is worth another attempt. Characters that a code may not hold become `_`.
    ///
    /// ```
    /// # use trackway_sdk::Failure;
    /// let failure = Failure::new("OUT_OF_STOCK", "no socks left");
    /// assert!(failure.retryable);
    /// ```
    #[track_caller]
    pub fn new(code: impl AsRef<str>, message: impl fmt::Display) -> Failure {
        Failure {
            code: clean_code(code.as_ref()),
            message: message.to_string(),
            retryable: true,
            retry_after_ms: None,
            details: None,
            at: Some(place(Location::caller())),
            fatal: false,
        }
    }

    /// A failure that no further attempt can mend: retries end at once.
    #[track_caller]
    pub fn permanent(code: impl AsRef<str>, message: impl fmt::Display) -> Failure {
        Failure { retryable: false, ..Failure::new(code, message) }
    }

    /// Adds details for programs. What cannot be written as JSON is left out.
    pub fn with_details(self, details: impl Serialize) -> Failure {
        Failure { details: serde_json::to_value(details).ok(), ..self }
    }

    /// Says how long another attempt should wait at least, as a busy server does. At most a day counts.
    pub fn retry_after(self, wait: std::time::Duration) -> Failure {
        Failure { retry_after_ms: Some(crate::retry::millis(wait)), ..self }
    }

    /// Lets it end the agent whose tool fails so, instead of being told to the model. See [`Agent`](crate::Agent).
    pub fn fatal(self) -> Failure {
        Failure { fatal: true, ..self }
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// Whether the operation or the run was cancelled, rather than gone wrong.
    pub fn is_cancelled(&self) -> bool {
        self.code == code::CANCELLED
    }

    /// Whether it only says that the run goes on with another input, and is to be passed on.
    pub fn is_continued(&self) -> bool {
        self.code == code::CONTINUED
    }

    /// Reads the body of a `failed` completion. Any text becomes a failure.
    pub(crate) fn from_text(text: &str) -> Failure {
        serde_json::from_str(text).unwrap_or_else(|_| Failure {
            code: code::FAILED.to_owned(),
            message: text.to_owned(),
            retryable: true,
            retry_after_ms: None,
            details: None,
            at: None,
            fatal: false,
        })
    }

    pub(crate) fn cancelled(reason: &str) -> Failure {
        let message = if reason.is_empty() { "the run was cancelled" } else { reason };
        Failure {
            code: code::CANCELLED.to_owned(),
            message: message.to_owned(),
            retryable: false,
            retry_after_ms: None,
            details: None,
            at: None,
            fatal: false,
        }
    }

    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a failure holds only text and JSON")
    }
}

/// A source place as the contract writes it.
pub(crate) fn place(location: &Location<'_>) -> Box<str> {
    let mut text = String::with_capacity(location.file().len() + 6);
    text.push_str(location.file());
    text.push(':');
    text.push_str(&location.line().to_string());
    text.into()
}

/// The host takes a failure with any other code for plain text, and its code would be lost.
fn clean_code(code: &str) -> String {
    let clean = code.chars().take(CODE_MAX_BYTES).map(|character| match character.to_ascii_uppercase() {
        allowed @ ('A'..='Z' | '0'..='9' | '_') => allowed,
        _ => '_',
    });
    if code.is_empty() { code::FAILED.to_owned() } else { clean.collect() }
}

/// What to do where std says that something does not exist in the sandbox.
const UNSUPPORTED: &str = "there are no files, sockets, threads or processes in the sandbox: reach the network through `http` \
                           in a function, and hand in files as input";

impl<E: std::error::Error + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        let mut message = error.to_string();
        let any: &dyn std::any::Any = &error;
        let io = any.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::Unsupported) {
            return Failure::permanent(code::FAILED, format_args!("{message}; {UNSUPPORTED}"));
        }
        let mut cause = error.source();
        while let Some(next) = cause {
            message.push_str(": ");
            message.push_str(&next.to_string());
            cause = next.source();
        }
        Failure::new(code::FAILED, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.at.iter().try_for_each(|at| write!(f, " (at {at})"))
    }
}

/// A panic is told to the host before it becomes a trap. In a test the usual hook stays.
pub(crate) fn tell_panics(port: &'static (dyn crate::bindings::Port + Sync)) {
    if cfg!(not(target_arch = "wasm32")) {
        return;
    }
    std::panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or("the panic had no message");
        port.panicked(message, info.location().map(place).as_deref());
    }));
}
