//! Text for people, made of what the wire carries. Pure: no printing, no clock, no terminal.

pub mod lists;
pub mod money;
pub mod trace;

use serde_json::value::RawValue;
use trackway_replay::Status;

use super::json::{compact, pretty};
use super::output::{Paint, clean_lines};

/// Longer JSON is laid out over several lines.
pub const VALUE_WIDTH: usize = 90;

pub fn status(status: Status, paint: Paint) -> String {
    let name = status.name();
    match status {
        Status::Succeeded => paint.green(name),
        Status::Failed | Status::Stuck => paint.red(name),
        Status::Cancelled | Status::Paused => paint.yellow(name),
        Status::Queued | Status::Running | Status::Sleeping | Status::Waiting => paint.cyan(name),
    }
}

/// JSON on one line where it fits, else over several.
pub fn json(value: &RawValue, width: usize) -> String {
    let line = compact(value.get());
    clean_lines(&if line.len() <= width { line } else { pretty(value.get()) })
}

/// Lines of `text`, each behind `indent`.
pub fn indented(text: &str, indent: &str) -> String {
    text.lines().map(|line| format!("{indent}{line}\n")).collect()
}
