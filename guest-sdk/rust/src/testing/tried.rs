//! When the host for tests tries a function again: as the real one, but for the jitter. A step that would
//! be parked fails here, since there is nobody to ask.

use serde::Deserialize;

use crate::export::Policy;
use crate::failure::{Failure, code};

/// A policy with all that the contract fills in.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Tried {
    attempts: u32,
    backoff: String,
    backoff_ms: u64,
    factor: f64,
    backoff_max_ms: u64,
    except: Vec<String>,
    deadline_ms: Option<u64>,
    /// The step has its answer so long after it was asked for, or fails.
    #[serde(skip)]
    close_ms: Option<u64>,
}

impl Default for Tried {
    fn default() -> Tried {
        Tried {
            attempts: 4,
            backoff: "exponential".to_owned(),
            backoff_ms: 500,
            factor: 2.0,
            backoff_max_ms: 60_000,
            except: Vec::new(),
            deadline_ms: None,
            close_ms: None,
        }
    }
}

impl Tried {
    /// What a call says goes over what its function says.
    pub(super) fn of(policy: &Policy, options: &str) -> Tried {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Options {
            retry: serde_json::Map<String, serde_json::Value>,
            schedule_to_close_ms: Option<u64>,
        }
        let options: Options = serde_json::from_str(options).unwrap_or_default();
        let mut fields = serde_json::to_value(policy.retry).expect("a policy is text and numbers");
        if let Some(fields) = fields.as_object_mut() {
            fields.extend(options.retry);
        }
        let tried: Tried = serde_json::from_value(fields).unwrap_or_default();
        Tried { close_ms: options.schedule_to_close_ms.or(policy.schedule_to_close_ms), ..tried }
    }

    /// What a step comes to that took so long, and how long that was.
    pub(super) fn in_time(&self, outcome: Result<String, String>, took_ms: u64) -> (Result<String, String>, u64) {
        match self.close_ms {
            Some(close_ms) if took_ms >= close_ms => {
                let failure = Failure::permanent(code::CLOSE_TIMEOUT, "the step had no answer in time");
                (Err(failure.to_text()), close_ms)
            }
            Some(_) | None => (outcome, took_ms),
        }
    }

    /// How long until the next attempt, if there is one; `spent_ms` since the step was asked for.
    pub(super) fn wait_ms(&self, failure: &Failure, attempt: u32, spent_ms: u64) -> Option<u64> {
        if !failure.retryable || attempt >= self.attempts || self.except.contains(&failure.code) {
            return None;
        }
        let first = self.backoff_ms as f64;
        let wait = match self.backoff.as_str() {
            "fixed" => first,
            "linear" => first * f64::from(attempt),
            _ => (1..attempt).fold(first, |wait, _| wait * self.factor),
        };
        let wait_ms = (wait.min(self.backoff_max_ms as f64) as u64).max(failure.retry_after_ms.unwrap_or(0));
        let next_ms = spent_ms + wait_ms;
        let begins = self.deadline_ms.is_none_or(|deadline_ms| next_ms <= deadline_ms);
        (begins && self.close_ms.is_none_or(|close_ms| next_ms < close_ms)).then_some(wait_ms)
    }
}
