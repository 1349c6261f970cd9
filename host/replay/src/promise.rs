//! The tokens of promises: who has one may settle the promise, from outside. A token is derived from
//! the seed of the run, so a replay has the same, and nobody else can make one. It never waits.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Asked, BadId, Digest, RunId, StepId, StepRequest, Timestamp};

#[cfg(test)]
mod tests;

const PREFIX: &str = "pr";
/// 128 bits: nobody guesses them.
const SECRET_BYTES: usize = 16;

/// Names one promise, and proves that its workflow handed it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromiseToken {
    pub run: RunId,
    pub step: StepId,
    secret: [u8; SECRET_BYTES],
}

/// The tokens of one run.
#[derive(Debug, Clone)]
pub struct Tokens {
    seed: [u8; 32],
    run: RunId,
    /// Promises that a restarted run keeps of another one: their tokens name that one, since it is what
    /// the workflow saw.
    kept: BTreeMap<StepId, RunId>,
}

impl PromiseToken {
    /// A run that was restarted from another one has the same seed, and so tokens of its own for what it keeps.
    pub fn of(seed: [u8; 32], run: RunId, step: StepId) -> PromiseToken {
        let digest = Digest::of_parts(&[b"promise", &seed, &run.0.to_be_bytes(), &step.0.to_be_bytes()]);
        let (secret, _) = digest.0.split_first_chunk().expect("a digest has more than 16 bytes");
        PromiseToken { run, step, secret: *secret }
    }

    /// Whether a run with that seed handed it out. Takes as long for every wrong one.
    pub fn is_of(&self, seed: [u8; 32]) -> bool {
        let right = PromiseToken::of(seed, self.run, self.step);
        let differences = self.secret.iter().zip(right.secret).fold(0, |all, (given, right)| all | (given ^ right));
        differences == 0
    }
}

impl Tokens {
    pub(crate) fn new(seed: [u8; 32], run: RunId) -> Tokens {
        Tokens { seed, run, kept: BTreeMap::new() }
    }

    pub(crate) fn promised(&mut self, step: StepId, owner: RunId) {
        if owner != self.run {
            self.kept.insert(step, owner);
        }
    }

    /// What the workflow gets, and hands out. Of a step that is no promise it opens nothing.
    pub fn of(&self, step: StepId) -> PromiseToken {
        PromiseToken::of(self.seed, self.kept.get(&step).copied().unwrap_or(self.run), step)
    }

    /// By which the promise of this very run is settled.
    pub fn own(&self, step: StepId) -> PromiseToken {
        PromiseToken::of(self.seed, self.run, step)
    }
}

impl fmt::Display for PromiseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}_{}_{}_{:032x}", self.run, self.step, u128::from_be_bytes(self.secret))
    }
}

impl FromStr for PromiseToken {
    type Err = BadId;

    fn from_str(text: &str) -> Result<PromiseToken, BadId> {
        let parse = || {
            let mut parts = text.split('_');
            let is_token = parts.next()? == PREFIX;
            let (run, step, secret) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
            let secret = u128::from_str_radix(secret, 16).ok()?.to_be_bytes();
            let token = PromiseToken { run, step: StepId(step), secret };
            // One promise has one token, to the letter.
            (is_token && token.to_string() == text).then_some(token)
        };
        // It may be a real one with a letter too many: a message must not tell it.
        parse().ok_or(BadId { text: "it".to_owned(), what: "the token of a promise" })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    timeout_ms: Option<u64>,
}

/// When a promise is too late, if it ever is.
pub fn due_of_promise(asked: &Asked) -> Option<Timestamp> {
    match &asked.request {
        StepRequest::Promise { options, .. } => timeout_of(options).map(|timeout| asked.now + timeout),
        StepRequest::Call { .. }
        | StepRequest::Sleep { .. }
        | StepRequest::StartRun { .. }
        | StepRequest::Receive { .. }
        | StepRequest::AskPerson { .. }
        | StepRequest::Entity { .. }
        | StepRequest::AcceptUpdate { .. } => None,
    }
}

/// After how long a promise is too late. Options that were refused are not kept.
fn timeout_of(options: &str) -> Option<Duration> {
    serde_json::from_str::<Options>(options).ok()?.timeout_ms.map(Duration::from_millis)
}
