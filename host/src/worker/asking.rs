//! What a workflow asks for, as it gives it: by what a replay recognises it, why it is refused, and how
//! it stands in the journal. It must look at nothing but the request and what the run began with.

use std::sync::Arc;
use trackway_replay::{
    Act, Command as Produced, Digest, Failure, Limits, StepRequest, Value, code, digest_of_call, digest_of_receive,
    digest_of_sleep,
};

use super::check;
use super::run::Inner;
use crate::sandbox::{Command, Manifest};

#[derive(Clone, Copy)]
pub(super) enum Asking<'a> {
    Call { function: &'a str, input: &'a str, options: &'a str, at: Option<&'a str> },
    Sleep { duration_ms: u64, options: &'a str, at: Option<&'a str> },
    Receive { signal: &'a str, options: &'a str, at: Option<&'a str> },
}

/// What a workflow commands.
pub(super) enum Commanded<'a> {
    Ask(Asking<'a>),
    Forget {
        id: u32,
    },
    Cancel {
        id: u32,
    },
    /// The sandbox links it in the other role only.
    NotOurs,
}

impl<'a> Commanded<'a> {
    pub fn of(command: Command<'a>) -> Commanded<'a> {
        Commanded::Ask(match command {
            Command::Call { function, input, options, at } => Asking::Call { function, input, options, at },
            Command::Sleep { duration_ms, options, at } => Asking::Sleep { duration_ms, options, at },
            Command::Receive { signal, options, at } => Asking::Receive { signal, options, at },
            Command::Forget { id } => return Commanded::Forget { id },
            Command::Cancel { id } => return Commanded::Cancel { id },
            Command::Http { .. } => return Commanded::NotOurs,
        })
    }
}

impl Asking<'_> {
    /// As it is held against the record.
    pub fn produced(&self) -> Produced {
        let name = |name| Arc::from(check::cut(name, check::NAME_MAX_BYTES));
        let act = match *self {
            Asking::Call { function, .. } => Act::Call { function: name(function) },
            Asking::Sleep { duration_ms, .. } => Act::Sleep { duration_ms },
            Asking::Receive { signal, .. } => Act::Receive { signal: name(signal) },
        };
        let (Asking::Call { at, .. } | Asking::Sleep { at, .. } | Asking::Receive { at, .. }) = self;
        let at = at.map(|at| check::cut(at, check::AT_MAX_BYTES).into());
        Produced { act, digest: self.digest(), at }
    }

    fn digest(&self) -> Digest {
        match *self {
            Asking::Call { function, input, options, .. } => digest_of_call(function, input, options),
            Asking::Sleep { duration_ms, options, .. } => digest_of_sleep(duration_ms, options),
            Asking::Receive { signal, options, .. } => digest_of_receive(signal, options),
        }
    }

    /// Why this cannot be done, if it cannot: the journaled answer of its id. `open`: how many
    /// operations are open.
    pub fn refusal(&self, limits: &Limits, manifest: &Manifest, open: usize) -> Option<Failure> {
        if open >= limits.steps_open as usize {
            let message = format!("{open} operations are open; the limit is {}", limits.steps_open);
            return Some(Failure::permanent(code::TOO_MANY, message));
        }
        match *self {
            Asking::Call { function, .. } if manifest.function(function).is_none() => {
                let message =
                    format!("the component has no function `{}`", check::cut(function, check::NAME_MAX_BYTES));
                Some(Failure::permanent(code::UNKNOWN_FUNCTION, message))
            }
            Asking::Call { input, options, .. } => {
                check::options(options).and_then(|()| check::value(input, limits, code::BAD_INPUT)).err()
            }
            Asking::Sleep { options, .. } => check::options(options).err(),
            Asking::Receive { signal, options, .. } => {
                check::name("a signal", signal).and_then(|()| check::options(options)).err()
            }
        }
    }

    /// As it stands in the journal.
    pub fn request(&self, inner: &mut Inner, is_refused: bool) -> StepRequest {
        let name = |name| Arc::from(check::cut(name, check::NAME_MAX_BYTES));
        let kept = |options: &str| Arc::from(if is_refused { "" } else { options });
        match *self {
            Asking::Call { function, input, options, .. } => StepRequest::Call {
                function: name(function),
                // What was refused need not be JSON, and may be larger than anything that is kept.
                input: if is_refused { Value::null() } else { inner.value(input, Value::INLINE_MAX_BYTES) },
                options: kept(options),
            },
            Asking::Sleep { duration_ms, options, .. } => StepRequest::Sleep { duration_ms, options: kept(options) },
            Asking::Receive { signal, options, .. } => {
                StepRequest::Receive { signal: name(signal), options: kept(options) }
            }
        }
    }
}
