//! When one step is tried again, where it is not as its function says. It must never wait by itself:
//! the host does.

use serde::Serialize;
use std::time::Duration;

/// How one step is tried again, for [`Operation::retry`](crate::Operation::retry). What is not set stays as
/// the function's attribute says.
///
/// ```
/// # use trackway_sdk::prelude::*;
/// # #[function] fn charge(cents: u32) -> u32 { cents }
/// #[workflow]
/// async fn pay(ctx: Ctx, cents: u32) -> Result<u32, Failure> {
///     let patient = Retry::new()
///         .attempts(10)
///         .exponential(Duration::from_secs(1))
///         .at_most(Duration::from_secs(60))
///         .except(["CARD_DECLINED"])
///         .deadline(Duration::from_secs(600))
///         .park();
///     ctx.step(charge, cents).retry(patient).await
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[must_use = "hand it to `.retry(..)` of a step"]
pub struct Retry {
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff_max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    except: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted: Option<&'static str>,
}

impl Retry {
    /// As the function says.
    pub fn new() -> Retry {
        Retry::default()
    }

    /// Never again.
    pub fn none() -> Retry {
        Retry::new().attempts(1)
    }

    /// How often at most, the first attempt included; 1 to 20.
    pub fn attempts(self, attempts: u32) -> Retry {
        Retry { attempts: Some(attempts), ..self }
    }

    /// The same wait before each further attempt.
    pub fn fixed(self, wait: Duration) -> Retry {
        Retry { backoff: Some("fixed"), backoff_ms: Some(millis(wait)), ..self }
    }

    /// Waits that grow by the first one: 1 s, 2 s, 3 s.
    pub fn linear(self, first: Duration) -> Retry {
        Retry { backoff: Some("linear"), backoff_ms: Some(millis(first)), ..self }
    }

    /// Waits that grow by the factor: 1 s, 2 s, 4 s.
    pub fn exponential(self, first: Duration) -> Retry {
        Retry { backoff: Some("exponential"), backoff_ms: Some(millis(first)), ..self }
    }

    /// By which exponential waits grow; 1 to 10.
    pub fn factor(self, factor: f64) -> Retry {
        Retry { factor: Some(factor), ..self }
    }

    /// No wait is longer.
    pub fn at_most(self, wait: Duration) -> Retry {
        Retry { backoff_max_ms: Some(millis(wait)), ..self }
    }

    /// Draws each wait from between this much less and itself; 0 to 1.
    pub fn jitter(self, jitter: f64) -> Retry {
        Retry { jitter: Some(jitter), ..self }
    }

    /// Failures with these codes are not tried again.
    pub fn except<C: Into<String>>(self, codes: impl IntoIterator<Item = C>) -> Retry {
        Retry { except: Some(codes.into_iter().map(Into::into).collect()), ..self }
    }

    /// No attempt begins later than this after the step was asked for.
    pub fn deadline(self, deadline: Duration) -> Retry {
        Retry { deadline_ms: Some(millis(deadline)), ..self }
    }

    /// The next attempt goes on with what the failed one had done: its answered effects are recalled, and
    /// the last of them is asked for again.
    pub fn resume(self) -> Retry {
        Retry { resume: Some(true), ..self }
    }

    /// Instead of failing, the step waits for a person, who mends what is wrong and asks for another
    /// attempt: `trackway runs retry`.
    pub fn park(self) -> Retry {
        Retry { exhausted: Some("park"), ..self }
    }

    /// The step fails, although its function would be parked.
    pub fn fail(self) -> Retry {
        Retry { exhausted: Some("fail"), ..self }
    }
}

/// What is done about a request that was sent and not answered when the host died: nobody knows whether it
/// was carried out. For [`Operation::ambiguous`](crate::Operation::ambiguous), or `ambiguous = ".."` of a function.
/// Requests that change nothing (GET, HEAD, OPTIONS without an idempotency key) are always sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ambiguous {
    /// It is sent again, under the same idempotency key.
    Repeat,
    /// It fails with code `AMBIGUOUS`, which is not tried again.
    Fail,
    /// The same, and a saga undoes the step as if it had been done: see
    /// [`undo_with`](crate::SagaStep::undo_with).
    Compensate,
    /// The step waits for a person: `trackway runs retry RUN --step N --effect repeat|fail|answer`.
    Ask,
}

/// Rounded up.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
