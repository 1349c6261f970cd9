//! Whether a guest that was run again came to the end that is on record. Pure.

use std::sync::Arc;
use trackway_replay::{Digest, End as RunEnd, Failure, Limits, Value, code};

use crate::sandbox::Ended;
use crate::worker::check;

#[cfg(test)]
mod tests;

/// What a guest came to.
#[derive(Debug)]
pub(super) enum GuestEnd {
    Output(String),
    /// It is to be called anew with this.
    GoesOn(Arc<str>),
    /// A failure that it returned: its own words.
    Returned(Failure),
    /// A failure that the host made of a trap, of a limit, or of an output that is none.
    MadeByHost(Failure),
}

/// Whose code the guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeIs {
    TheRecorded,
    Another,
}

impl GuestEnd {
    /// `None` if the guest did not come to an end by itself.
    pub fn of(how: Ended, limits: &Limits) -> Option<GuestEnd> {
        Some(match how {
            Ended::Returned(Ok(output)) => match check::value(&output, limits, code::BAD_OUTPUT) {
                Ok(()) => GuestEnd::Output(output),
                Err(failure) => GuestEnd::MadeByHost(failure),
            },
            Ended::Returned(Err(failure)) => GuestEnd::Returned(Failure::from_guest(&failure)),
            Ended::Trapped(failure) => GuestEnd::MadeByHost(failure),
            Ended::Stopped | Ended::HostFailed(_) => return None,
        })
    }

    pub fn at(&self) -> Option<&str> {
        match self {
            GuestEnd::Output(_) | GuestEnd::GoesOn(_) => None,
            GuestEnd::Returned(failure) | GuestEnd::MadeByHost(failure) => failure.at.as_deref(),
        }
    }

    fn is_cancelled(&self, cancel_was_delivered: bool) -> bool {
        match self {
            GuestEnd::Returned(failure) => cancel_was_delivered && failure.code == code::CANCELLED,
            GuestEnd::Output(_) | GuestEnd::GoesOn(_) | GuestEnd::MadeByHost(_) => false,
        }
    }
}

pub(super) fn agree(recorded: &RunEnd, produced: &GuestEnd, cancel_was_delivered: bool, code: CodeIs) -> bool {
    // The reason is that of the cancel, not of the guest.
    let is_cancelled = produced.is_cancelled(cancel_was_delivered);
    match (recorded, produced) {
        (RunEnd::Cancelled { .. }, _) => is_cancelled,
        (RunEnd::Terminated { .. }, _) => false,
        (RunEnd::Succeeded(Value::Inline(text)), GuestEnd::Output(output)) => **text == **output,
        (RunEnd::Succeeded(Value::Stored { digest, .. }), GuestEnd::Output(output)) => {
            *digest == Digest::of(output.as_bytes())
        }
        (RunEnd::Failed(recorded), GuestEnd::Returned(failure)) => !is_cancelled && same_words(recorded, failure, code),
        (RunEnd::Failed(recorded), GuestEnd::MadeByHost(failure)) => {
            same_cause(&Failure::from_value(recorded), failure, code)
        }
        (RunEnd::Succeeded(_), GuestEnd::Returned(_) | GuestEnd::MadeByHost(_) | GuestEnd::GoesOn(_))
        | (RunEnd::Failed(_), GuestEnd::Output(_) | GuestEnd::GoesOn(_)) => false,
    }
}

/// Whether it goes on with what the run went on with.
pub(super) fn goes_on_with(recorded: &Value, produced: &GuestEnd) -> bool {
    match (recorded, produced) {
        (Value::Inline(text), GuestEnd::GoesOn(input)) => **text == **input,
        (Value::Stored { digest, .. }, GuestEnd::GoesOn(input)) => *digest == Digest::of(input.as_bytes()),
        (_, GuestEnd::Output(_) | GuestEnd::Returned(_) | GuestEnd::MadeByHost(_)) => false,
    }
}

/// The guest said it, so all of it counts. Only where in its source it said so may differ in other
/// code, as for its commands.
fn same_words(recorded: &Value, failure: &Failure, code: CodeIs) -> bool {
    let without_place = |failure: Failure| Failure { at: None, ..failure };
    match code {
        CodeIs::TheRecorded => *recorded == failure.to_value(),
        CodeIs::Another => without_place(Failure::from_value(recorded)) == without_place(failure.clone()),
    }
}

/// The host's words, its backtrace and its advice are those of its version, so only the cause is held
/// against the record. What a panic says is the guest's.
fn same_cause(recorded: &Failure, failure: &Failure, code: CodeIs) -> bool {
    let same_place = recorded.at == failure.at || code == CodeIs::Another;
    let same_panic = failure.code != code::PANIC || (same_place && same_panic(&recorded.message, &failure.message));
    recorded.code == failure.code && recorded.retryable == failure.retryable && same_panic
}

/// Advice follows in brackets, if this version of the host has some.
fn same_panic(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(" ("))
}

/// Enough of an output to recognise it by.
const SHOWN_MAX_BYTES: usize = 200;

pub(super) fn describe(produced: &GuestEnd) -> String {
    match produced {
        GuestEnd::Output(output) => format!("the output {}", check::cut(output, SHOWN_MAX_BYTES)),
        GuestEnd::GoesOn(input) => format!("going on with {}", check::cut(input, SHOWN_MAX_BYTES)),
        GuestEnd::Returned(failure) | GuestEnd::MadeByHost(failure) => describe_failure(failure),
    }
}

pub(super) fn describe_goes_on(input: &Value) -> String {
    match input {
        Value::Inline(text) => format!("going on with {}", check::cut(text, SHOWN_MAX_BYTES)),
        Value::Stored { digest, size_bytes } => format!("going on with {size_bytes} bytes, digest {digest:.12}"),
    }
}

pub(super) fn describe_recorded(end: &RunEnd) -> String {
    match end {
        RunEnd::Succeeded(Value::Inline(text)) => format!("the output {}", check::cut(text, SHOWN_MAX_BYTES)),
        RunEnd::Succeeded(Value::Stored { digest, size_bytes }) => {
            format!("an output of {size_bytes} bytes, digest {digest:.12}")
        }
        RunEnd::Failed(failure) => describe_failure(&Failure::from_value(failure)),
        RunEnd::Cancelled { reason } => format!("cancelled: {reason}"),
        RunEnd::Terminated { reason } => format!("terminated: {reason}"),
    }
}

/// With its details: they may be all that differs.
fn describe_failure(failure: &Failure) -> String {
    match &failure.details {
        Some(details) => format!("the failure {failure}, details {}", check::cut(details.get(), SHOWN_MAX_BYTES)),
        None => format!("the failure {failure}"),
    }
}
