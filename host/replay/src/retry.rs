//! When to try a failed function again. Pure: the caller brings the time; nothing here waits.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::{Failure, Timestamp};

/// More would hide an outage from the person who has to act on it.
pub const ATTEMPTS_MAX: u32 = 20;
/// A day: what has not healed by then is for a person.
pub const BACKOFF_MAX: Duration = Duration::from_secs(24 * 3_600);
pub const FACTOR_MAX: f64 = 10.0;

/// As a manifest gives it; `wit/README.md` lists the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often at most, the first attempt included.
    pub attempts: u32,
    pub backoff_ms: u64,
    pub factor: f64,
    pub backoff_max_ms: u64,
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy { attempts: 4, backoff_ms: 500, factor: 2.0, backoff_max_ms: 60_000, jitter: 0.2 }
    }
}

#[cfg(test)]
mod tests;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    RetryAt(Timestamp),
    GiveUp,
}

impl RetryPolicy {
    /// What follows the failure of `attempt` (from 1). `draw` is in `[0, 1)`.
    pub fn judge(&self, attempt: u32, failure: &Failure, now: Timestamp, draw: f64) -> Verdict {
        if !failure.retryable || attempt >= self.attempts.min(ATTEMPTS_MAX) {
            return Verdict::GiveUp;
        }
        Verdict::RetryAt(now + self.backoff(attempt, draw))
    }

    /// The wait after `attempt` failed: drawn from `[wait * (1 - jitter), wait]`.
    pub fn backoff(&self, attempt: u32, draw: f64) -> Duration {
        let cap = (self.backoff_max_ms as f64).min(BACKOFF_MAX.as_millis() as f64);
        let factor = self.factor.clamp(1.0, FACTOR_MAX);
        // Multiplied step by step: unlike `powi`, that gives the same number everywhere.
        let grown = (1..attempt.min(ATTEMPTS_MAX)).fold(self.backoff_ms as f64, |wait, _| wait * factor);
        let wait = grown.min(cap) * (1.0 - self.jitter.clamp(0.0, 1.0) * draw.clamp(0.0, 1.0));
        // Whole microseconds, so that the same draw gives the same time everywhere.
        Duration::from_micros((wait * 1_000.0) as u64)
    }

    /// What a manifest may not ask for, by the field's name.
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
        Ok(())
    }
}
