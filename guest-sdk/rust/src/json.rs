//! Values to and from JSON text, with failures that name the field.

use serde::de::DeserializeOwned;

use crate::Value;
use crate::failure::{Failure, code};

pub(crate) fn read_input<T: Value>(text: &str) -> Result<T, Failure> {
    T::read(text).map_err(|error| wrong(code::BAD_INPUT, explain("input", text, &error)))
}

pub(crate) fn read_output<T: Value>(text: &str) -> Result<T, Failure> {
    T::read(text).map_err(|error| wrong(code::BAD_OUTPUT, explain("output", text, &error)))
}

/// What somebody else sent.
pub(crate) fn read_payload<T: Value>(text: &str) -> Result<T, Failure> {
    T::read(text).map_err(|error| wrong(code::BAD_INPUT, explain("payload", text, &error)))
}

/// Reads what is no value of the author's; what is wrong with it is told with `root` as the name of the whole.
pub(crate) fn read<T: DeserializeOwned>(text: &str, root: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| explain(root, text, &error))
}

/// A value of the author's, told about in the same way.
pub(crate) fn read_as<T: Value>(text: &str, root: &str) -> Result<T, String> {
    T::read(text).map_err(|error| explain(root, text, &error))
}

pub(crate) fn write_output<T: Value>(value: &T) -> Result<String, Failure> {
    value.write().map_err(|error| wrong(code::BAD_OUTPUT, format!("the output cannot be written as JSON: {error}")))
}

/// The place in this crate would mislead.
fn wrong(code: &str, message: String) -> Failure {
    Failure { at: None, ..Failure::permanent(code, message) }
}

/// `input.items[2].url: invalid type: integer 7, expected a string`.
fn explain(root: &str, text: &str, error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let what = whole.strip_suffix(&position).unwrap_or(&whole);
    // A missing field is noticed at the end of its object: the last key read has nothing to do with it.
    let inside_value = !what.starts_with("missing field");
    format!("{root}{}: {what}", path_to(text, error.line(), error.column(), inside_value))
}

/// Where in the value an error stands: the keys and places that are open at that character.
fn path_to(text: &str, line: usize, column: usize, inside_value: bool) -> String {
    let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = (line_start + column).saturating_sub(1).min(text.len());
    let mut walk = Walk { open: Vec::new() };
    let mut bytes = text.as_bytes()[..end].iter().enumerate();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let mut last = place;
                while let Some((place, byte)) = bytes.next() {
                    last = place;
                    match byte {
                        b'\\' => _ = bytes.next(),
                        b'"' => break,
                        _ => {}
                    }
                }
                walk.text(text.get(place + 1..last).unwrap_or_default());
            }
            other => walk.sign(*other),
        }
    }
    if let (false, Some(Open::Object { key, .. })) = (inside_value, walk.open.last_mut()) {
        *key = None;
    }
    walk.open.iter().map(Open::to_text).collect()
}

struct Walk<'a> {
    open: Vec<Open<'a>>,
}

enum Open<'a> {
    /// `key` is that of the field being read; none before the first and after each comma.
    Object {
        key: Option<&'a str>,
        in_value: bool,
    },
    Array {
        place: usize,
    },
}

impl<'a> Walk<'a> {
    fn text(&mut self, text: &'a str) {
        if let Some(Open::Object { key, in_value: false }) = self.open.last_mut() {
            *key = Some(text);
        }
    }

    fn sign(&mut self, sign: u8) {
        match (sign, self.open.last_mut()) {
            (b'{', _) => self.open.push(Open::Object { key: None, in_value: false }),
            (b'[', _) => self.open.push(Open::Array { place: 0 }),
            (b'}' | b']', _) => _ = self.open.pop(),
            (b':', Some(Open::Object { in_value, .. })) => *in_value = true,
            (b',', Some(Open::Object { key, in_value })) => (*key, *in_value) = (None, false),
            (b',', Some(Open::Array { place })) => *place += 1,
            _ => {}
        }
    }
}

impl Open<'_> {
    fn to_text(&self) -> String {
        match self {
            Open::Object { key: Some(key), .. } => format!(".{key}"),
            Open::Object { key: None, .. } => String::new(),
            Open::Array { place } => format!("[{place}]"),
        }
    }
}

#[cfg(test)]
mod tests;
