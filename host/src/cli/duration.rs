//! Durations as people write and read them. Pure.

use std::time::Duration;
use trackway_replay::Timestamp;

use crate::api::Time;

/// Longer than any wait that makes sense, and far from the limits of the clock's arithmetic.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads `500ms`, `30s`, `5m`, `2h`, `1d` and sums of them such as `1m30s`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write 500ms, 30s, 5m, 2h or 1m30s");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        total_ms = number.checked_mul(unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(wrong)?;
    }
    let duration = Duration::from_millis(total_ms);
    if duration > DURATION_MAX { Err(format!("`{text}` is longer than a year")) } else { Ok(duration) }
}

/// A time as people give it: so long ago, or a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    At(Time),
}

impl Moment {
    pub fn time(self, now: Timestamp) -> Time {
        match self {
            Moment::Ago(ago) => {
                Time(Timestamp(now.0.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX))))
            }
            Moment::At(time) => time,
        }
    }
}

/// Reads `2h` (ago), or `2026-11-21T02:00:00Z`.
pub fn parse_moment(text: &str) -> Result<Moment, String> {
    let at = text.parse().map(Moment::At).ok();
    at.or_else(|| parse_duration(text).map(Moment::Ago).ok())
        .ok_or_else(|| format!("`{text}` is no time; write 2h for two hours ago, or 2026-11-21T02:00:00Z"))
}

/// As [`show_ms`], and `840us` below a millisecond.
pub fn show_us(us: u64) -> String {
    match us {
        0 => "0ms".to_owned(),
        1..1_000 => format!("{us}us"),
        _ => show_ms(us / 1_000),
    }
}

/// At most three digits that mean something: `0ms`, `12ms`, `1.24s`, `3m05s`, `2h10m`, `4d03h`.
pub fn show_ms(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{:02}s", ms / 1_000, ms % 1_000 / 10),
        10_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1_000),
        3_600_000..86_400_000 => format!("{}h{:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{}d{:02}h", ms / 86_400_000, ms % 86_400_000 / 3_600_000),
    }
}

/// How long ago, in one unit: `now`, `12s ago`, `3m ago`, `2h ago`, `5d ago`.
pub fn show_ago(now_ms: u64, then_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1_000;
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
