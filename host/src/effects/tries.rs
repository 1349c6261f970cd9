//! Whether an exchange that went wrong is tried again inside the same effect, and when. Pure: the
//! caller brings the time; nothing here waits.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trackway_replay::Timestamp;

/// Further tries are the retry policy's, where they are journaled one by one.
pub(super) const TRIES_MAX: usize = 3;
/// No try begins later than this after the first.
const WINDOW: Duration = Duration::from_secs(30);
/// Before the second and the third try. A server may ask for more, not for less.
const WAITS: [Duration; TRIES_MAX - 1] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Where an exchange stands after a try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub started: Timestamp,
    pub now: Timestamp,
    /// When the whole exchange times out.
    pub deadline: Timestamp,
    pub tries: usize,
    /// Whether doing the request again does no harm.
    pub repeatable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What there is goes to the guest.
    Finish,
    AgainAt(Timestamp),
}

impl Standing {
    /// After an answer.
    pub(super) fn judge_answer(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => self.again_after(retry_after(headers, self.now).unwrap_or_default()),
            _ => Verdict::Finish,
        }
    }

    /// After no answer, or half of one.
    pub(super) fn judge_break(&self) -> Verdict {
        self.again_after(Duration::ZERO)
    }

    /// What asks for a wait before it is tried again.
    pub(super) fn again_after(&self, asked: Duration) -> Verdict {
        let wait = self.tries.checked_sub(1).and_then(|made| WAITS.get(made));
        let Some(wait) = wait.filter(|_| self.repeatable) else { return Verdict::Finish };
        let at = self.now + asked.max(*wait);
        // A wait that does not fit is the guest's to make: it sees the status and the header at once.
        if at > self.started + WINDOW || at >= self.deadline { Verdict::Finish } else { Verdict::AgainAt(at) }
    }
}

/// Seconds or a date (RFC 9110, 10.2.3). What is neither counts as absent.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now: SystemTime = UNIX_EPOCH + Duration::from_micros(now.0);
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
