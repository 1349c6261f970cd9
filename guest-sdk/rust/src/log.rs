//! Lines for the run's log.

use serde::Serialize;
use std::fmt::Display;

use crate::runtime::Runtime;

/// One line to be: fields first, then the level with the message, which writes it.
///
/// A message may be 16 KiB, the fields 16 KiB together, an instance 10,000 lines or 16 MiB; what is
/// more is dropped by the host.
#[derive(Debug, Default, Clone)]
#[must_use = "a line is written by `.info(message)` or another level"]
pub struct Log {
    fields: serde_json::Map<String, serde_json::Value>,
}

impl Log {
    /// Adds a field. A value that cannot be written as JSON is left out.
    pub fn field(mut self, name: &str, value: impl Serialize) -> Log {
        if let Ok(value) = serde_json::to_value(value) {
            self.fields.insert(name.to_owned(), value);
        }
        self
    }

    /// Writes a line for whoever looks very closely.
    pub fn debug(self, message: impl Display) {
        self.write("debug", &message);
    }

    /// Writes a line about what goes as it should.
    pub fn info(self, message: impl Display) {
        self.write("info", &message);
    }

    /// Writes a line about something odd that the code copes with.
    pub fn warn(self, message: impl Display) {
        self.write("warn", &message);
    }

    /// Writes a line about something that went wrong.
    pub fn error(self, message: impl Display) {
        self.write("error", &message);
    }

    fn write(self, level: &str, message: &dyn Display) {
        let fields =
            if self.fields.is_empty() { String::new() } else { serde_json::Value::Object(self.fields).to_string() };
        Runtime::current().port().log(level, &message.to_string(), &fields);
    }
}
