//! How much an instance may log, and what a line looks like that is kept. Where lines go it does not
//! know.

use trackway_replay::Timestamp;
use trackway_storage::{LogKey, LogLine};

/// Lines that one instance may log; the last one says that the rest is dropped.
const LOG_LINES_MAX: u32 = 10_000;
/// Bytes of all its lines together: they wait in memory until they are written.
const LOG_MAX_BYTES: usize = 16 << 20;
/// Bytes of a message, and of its fields.
const LOG_TEXT_MAX_BYTES: usize = 16 << 10;

/// What one instance has logged. It counts recalled lines too, so that a limit falls on the same line
/// however often the instance is run again.
#[derive(Debug, Default)]
pub(super) struct LogRoom {
    lines: u32,
    bytes: usize,
    is_used_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogPlace {
    Kept,
    /// Says that the rest is dropped, instead of what it was to say.
    Last,
    Dropped,
}

impl LogRoom {
    pub fn take(&mut self, message: &str, fields: &str) -> LogPlace {
        if self.is_used_up {
            return LogPlace::Dropped;
        }
        self.lines += 1;
        self.bytes += message.len().min(LOG_TEXT_MAX_BYTES) + fields.len().min(LOG_TEXT_MAX_BYTES);
        self.is_used_up = self.lines >= LOG_LINES_MAX || self.bytes > LOG_MAX_BYTES;
        if self.is_used_up { LogPlace::Last } else { LogPlace::Kept }
    }
}

/// A line of an instance, if it is kept.
pub(super) fn log_line(key: LogKey, time: Timestamp, place: LogPlace, text: [&str; 3]) -> Option<LogLine> {
    let [level, message, fields] = text;
    let level = match level {
        "debug" | "warn" | "error" => level,
        _ => "info",
    };
    let is_object = || serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(fields).is_ok();
    match place {
        LogPlace::Kept => {
            let fields = if fields.len() <= LOG_TEXT_MAX_BYTES && is_object() { fields } else { "" };
            let message = super::check::cut(message, LOG_TEXT_MAX_BYTES);
            Some(LogLine { key, time, level: level.into(), message: message.into(), fields: fields.into() })
        }
        LogPlace::Last => {
            let mib = LOG_MAX_BYTES >> 20;
            let message = format!("this instance has logged {LOG_LINES_MAX} lines or {mib} MiB; the rest is dropped");
            Some(LogLine { key, time, level: "warn".into(), message: message.into(), fields: "".into() })
        }
        LogPlace::Dropped => None,
    }
}
