//! How a command ends: its exit code, and what is said about an error. The codes are a promise to
//! scripts; a number is never given a second meaning.

use crate::{Code, Error};

use super::output::{Paint, clean};

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Other = 1,
    Usage = 2,
    /// The run failed or was cancelled.
    RunFailed = 3,
    NotFound = 4,
    NotAllowed = 5,
    /// The run goes on.
    GaveUpWaiting = 6,
    /// A divergence, or somebody else changed it meanwhile.
    Conflict = 7,
    Unreachable = 8,
    /// Ctrl-C: 128 and the number of the signal, as shells have it.
    Interrupted = 130,
}

/// Why a command does not go on.
#[derive(Debug)]
pub enum Stop {
    Error(Error),
    /// Nothing is wrong: the reader of a pipe has gone, or Ctrl-C was answered already.
    Quietly(Exit),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// What a command answers.
pub type Done = Result<Exit, Stop>;

impl Exit {
    pub fn of(code: Code) -> Exit {
        match code {
            Code::Usage
            | Code::BadConfig
            | Code::BadRequest
            | Code::AmbiguousRun
            | Code::AmbiguousWorkflow
            | Code::BadGrant
            | Code::BadSecret
            | Code::InputNotJson
            | Code::InputBreaksSchema
            | Code::InputTooLarge => Exit::Usage,
            Code::NoSuchComponent
            | Code::NoSuchDeployment
            | Code::NoSuchWorkflow
            | Code::NoSuchRun
            | Code::NoSuchSignal
            | Code::NoSuchQuestion
            | Code::NoSuchPromise
            | Code::NoSuchState
            | Code::NoSuchUpdate
            | Code::NoSuchTenant
            | Code::NoSuchKey
            | Code::NoSuchSecret
            | Code::NoSuchEntity => Exit::NotFound,
            Code::Unauthorized
            | Code::NoScope
            | Code::TenantDisabled
            | Code::TooManyTries
            | Code::OverPolicy
            | Code::BadSignature => Exit::NotAllowed,
            Code::GaveUpWaiting => Exit::GaveUpWaiting,
            Code::Diverged
            | Code::KeyConflict
            | Code::DeploymentConflict
            | Code::EntityConflict
            | Code::RunEnded
            | Code::UpdateUnanswered
            | Code::CannotRestart
            | Code::CannotMove
            | Code::RunOpen
            | Code::ComponentInUse
            | Code::QuestionSettled
            | Code::TenantExists
            | Code::NothingToRetry => Exit::Conflict,
            Code::Unreachable | Code::Stopping => Exit::Unreachable,
            // All other codes are told apart by the code, not by the exit code.
            _ => Exit::Other,
        }
    }
}

/// What is printed on stderr for an error: what, why, what to type next, and the code.
pub fn report(error: &Error, paint: Paint) -> String {
    let mut text = format!("{} {}", paint.red("error:"), paint.bold(error.code.title()));
    text.push_str(&format!(" {}\n", paint.dim(&format!("[{}]", error.code))));
    for line in error.message.lines() {
        text.push_str(&format!("  {}\n", clean(line)));
    }
    let next = error.hint.clone().or_else(|| super::explain::next_step(error.code));
    for (number, line) in next.iter().flat_map(|next| next.lines()).enumerate() {
        let lead = if number == 0 { "next:" } else { "     " };
        text.push_str(&format!("  {} {}\n", paint.cyan(lead), clean(line)));
    }
    text.push_str(&format!("  {}\n", paint.dim(&format!("more: trackway explain {}", error.code))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_what_to_type_and_its_code() {
        let error = Error::new(Code::NoSuchRun, "no run begins with `01k9`").hint("trackway runs ls");
        let expected = "error: no such run [TW0303]\n  no run begins with `01k9`\n  next: trackway runs ls\n  \
                        more: trackway explain TW0303\n";
        assert_eq!(report(&error, Paint::Plain), expected);
    }

    #[test]
    fn every_error_says_what_to_do_next() {
        for code in Code::ALL {
            let text = report(&Error::new(*code, "something"), Paint::Plain);
            assert!(text.contains("next:"), "{code} says nothing about what to do:\n{text}");
        }
    }

    #[test]
    fn an_error_cannot_smuggle_escape_sequences_to_the_terminal() {
        let text = report(&Error::new(Code::Internal, "a\u{1b}[2Jb\u{9b}31mc"), Paint::Plain);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{9b}'), "{text}");
    }
}
