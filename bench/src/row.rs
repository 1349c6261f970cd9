//! What a measurement says: one line of JSON on standard output. It says nothing else there.

use serde_json::json;
use std::io::Write;
use std::time::Duration;

pub fn put(work: &str, system: &str, metric: &str, value: f64, unit: &str) {
    let row = json!({ "work": work, "system": system, "metric": metric, "value": value, "unit": unit });
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: then there is nobody to tell.
    let _ = writeln!(out, "{row}").and_then(|()| out.flush());
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The value that so many of a thousand are not above.
pub fn quantile(sorted: &[Duration], per_mille: usize) -> Duration {
    let place = (sorted.len() * per_mille / 1_000).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}
