//! When to try a failed function again. Pure: the caller brings the time; nothing here waits.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

use crate::{Failure, Timestamp, code};

/// More would hide an outage from the person who has to act on it.
pub const ATTEMPTS_MAX: u32 = 20;
/// A day: what has not healed by then is for a person.
pub const BACKOFF_MAX: Duration = Duration::from_secs(24 * 3_600);
pub const FACTOR_MAX: f64 = 10.0;
/// A year: so that no sum of times overflows.
pub const DEADLINE_MAX_MS: u64 = 365 * 86_400_000;
/// Enough to name what cannot heal; who needs more marks such failures as permanent.
pub const EXCEPT_MAX: usize = 32;

/// As a manifest gives it, all defaults filled in; `wit/README.md` lists the fields.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How often at most, the first attempt included.
    pub attempts: u32,
    pub backoff: Backoff,
    pub backoff_ms: u64,
    /// Of exponential waits only.
    pub factor: f64,
    pub backoff_max_ms: u64,
    pub jitter: f64,
    /// Codes of failures that are not tried again.
    pub except: Vec<Arc<str>>,
    /// No attempt begins later than this after the step was asked for.
    pub deadline_ms: Option<u64>,
    /// The next attempt goes on with what the failed one had done.
    pub resume: bool,
    pub exhausted: Exhausted,
}

/// How the waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    Fixed,
    /// By the first wait each time.
    Linear,
    /// By the factor each time.
    Exponential,
}

/// What becomes of a step that no attempt is left for, or none would help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exhausted {
    Fail,
    /// It waits for a person, who mends what is wrong and asks for another attempt.
    Park,
}

/// What is done about an effect that was asked for and not answered when its attempt is taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ambiguous {
    /// It is asked for again, under the same idempotency key.
    #[default]
    Repeat,
    /// It fails with code `AMBIGUOUS`.
    Fail,
    /// The same, and the failure asks for compensation.
    Compensate,
    /// A person says.
    Ask,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts: 4,
            backoff: Backoff::Exponential,
            backoff_ms: 500,
            factor: 2.0,
            backoff_max_ms: 60_000,
            jitter: 0.2,
            except: Vec::new(),
            deadline_ms: None,
            resume: false,
            exhausted: Exhausted::Fail,
        }
    }
}

/// The fields that somebody sets over a policy: a manifest over the default, a call over its function.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPatch {
    pub attempts: Option<u32>,
    pub backoff: Option<Backoff>,
    pub backoff_ms: Option<u64>,
    pub factor: Option<f64>,
    pub backoff_max_ms: Option<u64>,
    pub jitter: Option<f64>,
    pub except: Option<Vec<Arc<str>>>,
    pub deadline_ms: Option<u64>,
    pub resume: Option<bool>,
    pub exhausted: Option<Exhausted>,
}

#[cfg(test)]
mod tests;

/// What of a policy is used up when an attempt fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Attempts so far. A person who asks for another one gives all of them again.
    pub attempts: u32,
    /// When the step was asked for, or a person asked for another attempt.
    pub since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RetryAt(Timestamp),
    GiveUp,
    /// Wait for a person.
    Park,
}

impl RetryPatch {
    pub fn over(&self, policy: &RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            attempts: self.attempts.unwrap_or(policy.attempts),
            backoff: self.backoff.unwrap_or(policy.backoff),
            backoff_ms: self.backoff_ms.unwrap_or(policy.backoff_ms),
            factor: self.factor.unwrap_or(policy.factor),
            backoff_max_ms: self.backoff_max_ms.unwrap_or(policy.backoff_max_ms),
            jitter: self.jitter.unwrap_or(policy.jitter),
            except: self.except.clone().unwrap_or_else(|| policy.except.clone()),
            deadline_ms: self.deadline_ms.or(policy.deadline_ms),
            resume: self.resume.unwrap_or(policy.resume),
            exhausted: self.exhausted.unwrap_or(policy.exhausted),
        }
    }
}

impl RetryPolicy {
    /// What follows a failure. `draw` is in `[0, 1)`.
    pub fn judge(&self, spent: Spent, failure: &Failure, now: Timestamp, draw: f64) -> Verdict {
        // Somebody did not want it any more: there is nothing to mend.
        if failure.code == code::CANCELLED {
            return Verdict::GiveUp;
        }
        let over = self.over();
        let is_excepted = self.except.iter().any(|code| **code == *failure.code);
        if !failure.retryable || is_excepted || spent.attempts >= self.attempts.min(ATTEMPTS_MAX) {
            return over;
        }
        let asked = Duration::from_millis(failure.retry_after_ms.unwrap_or(0)).min(BACKOFF_MAX);
        let next_at = now + self.wait(spent.attempts, draw).max(asked);
        let deadline = self.deadline_ms.map(|deadline_ms| spent.since + Duration::from_millis(deadline_ms));
        if deadline.is_some_and(|deadline| next_at > deadline) { over } else { Verdict::RetryAt(next_at) }
    }

    /// As [`judge`](RetryPolicy::judge), of a step that fails at `close_by`: no attempt that could only begin then
    /// is waited for.
    pub fn judge_before(
        &self,
        close_by: Option<Timestamp>,
        spent: Spent,
        failure: &Failure,
        now: Timestamp,
        draw: f64,
    ) -> Verdict {
        match self.judge(spent, failure, now, draw) {
            Verdict::RetryAt(next_at) if close_by.is_some_and(|by| next_at >= by) => self.over(),
            verdict @ (Verdict::RetryAt(_) | Verdict::GiveUp | Verdict::Park) => verdict,
        }
    }

    fn over(&self) -> Verdict {
        match self.exhausted {
            Exhausted::Fail => Verdict::GiveUp,
            Exhausted::Park => Verdict::Park,
        }
    }

    /// The wait after `attempt` failed: drawn from `[wait * (1 - jitter), wait]`.
    pub fn wait(&self, attempt: u32, draw: f64) -> Duration {
        let cap = (self.backoff_max_ms as f64).min(BACKOFF_MAX.as_millis() as f64);
        let (first, attempt) = (self.backoff_ms as f64, attempt.min(ATTEMPTS_MAX));
        let grown = match self.backoff {
            Backoff::Fixed => first,
            Backoff::Linear => first * f64::from(attempt),
            Backoff::Exponential => {
                let factor = self.factor.clamp(1.0, FACTOR_MAX);
                // Multiplied step by step: unlike `powi`, that gives the same number everywhere.
                (1..attempt).fold(first, |wait, _| wait * factor)
            }
        };
        let wait = grown.min(cap) * (1.0 - self.jitter.clamp(0.0, 1.0) * draw.clamp(0.0, 1.0));
        // Whole microseconds, so that the same draw gives the same time everywhere.
        Duration::from_micros((wait * 1_000.0) as u64)
    }

    /// What nobody may ask for, by the field's name.
    pub fn check(&self) -> Result<(), String> {
        let backoff_max_ms = BACKOFF_MAX.as_millis() as u64;
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts) {
            return Err(format!("`attempts` is {}; it must be 1 to {ATTEMPTS_MAX}", self.attempts));
        }
        if self.backoff_ms > backoff_max_ms {
            return Err(format!("`backoff_ms` is {}; it must be at most {backoff_max_ms}", self.backoff_ms));
        }
        if self.backoff_max_ms > backoff_max_ms {
            return Err(format!("`backoff_max_ms` is {}; it must be at most {backoff_max_ms}", self.backoff_max_ms));
        }
        if !(1.0..=FACTOR_MAX).contains(&self.factor) {
            return Err(format!("`factor` is {}; it must be 1 to {FACTOR_MAX}", self.factor));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(format!("`jitter` is {}; it must be 0 to 1", self.jitter));
        }
        if self.except.len() > EXCEPT_MAX {
            return Err(format!("`except` has {} codes; it must be at most {EXCEPT_MAX}", self.except.len()));
        }
        if self.deadline_ms.is_some_and(|deadline_ms| !(1..=DEADLINE_MAX_MS).contains(&deadline_ms)) {
            return Err(format!("`deadline_ms` must be 1 to {DEADLINE_MAX_MS}"));
        }
        Ok(())
    }
}
