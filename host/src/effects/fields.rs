//! JSON objects of guests, read field by field, so that whatever is wrong or unknown is named. Pure.

use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, code};

pub(super) const OPTIONS_MAX_BYTES: usize = 4 << 10;
pub(super) const LABEL_MAX_BYTES: usize = 256;
pub(super) const KEY_MAX_BYTES: usize = 256;

/// A JSON object whose fields are taken one by one; what is left at the end is unknown.
pub(super) struct Fields {
    what: &'static str,
    code: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn read(what: &'static str, code: &'static str, text: &str) -> Result<Fields, Failure> {
        let bad = |why: String| Failure::permanent(code, format!("`{what}` {why}"));
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Fields { what, code, map }),
            Ok(_) => Err(bad("is not a JSON object".to_owned())),
            Err(error) => Err(bad(format!("is not JSON: {error}"))),
        }
    }

    /// Those of an operation; none at all count as an empty object.
    pub(super) fn options(text: &str) -> Result<Fields, Failure> {
        if text.len() > OPTIONS_MAX_BYTES {
            let message = format!("`options` has {} bytes; at most {OPTIONS_MAX_BYTES} are read", text.len());
            return Err(Failure::permanent(code::BAD_OPTIONS, message));
        }
        Fields::read("options", code::BAD_OPTIONS, if text.is_empty() { "{}" } else { text })
    }

    /// `null` counts as absent.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).map_err(|why| self.bad(name, &why)),
        }
    }

    pub(super) fn bad(&self, name: &str, why: &str) -> Failure {
        Failure::permanent(self.code, format!("`{name}` in `{}` {why}", self.what))
    }

    pub(super) fn end(&self) -> Result<(), Failure> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.bad(&name.escape_debug().to_string(), "is not a known field")),
        }
    }
}

pub(super) fn string(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("must be a string".to_owned()),
    }
}

/// An idempotency key.
pub(super) fn key(text: &str) -> Result<Arc<str>, String> {
    let is_key = (1..=KEY_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        // A space at an end does not survive the way.
        && text.trim() == text;
    if is_key { Ok(text.into()) } else { Err(format!("must be printable ASCII, 1 to {KEY_MAX_BYTES} bytes")) }
}

pub(super) fn label(value: Value) -> Result<Arc<str>, String> {
    let text = string(value)?;
    if text.len() > LABEL_MAX_BYTES {
        return Err(format!("has {} bytes; at most {LABEL_MAX_BYTES} are kept", text.len()));
    }
    Ok(text.into())
}

/// Milliseconds, up to `max`.
pub(super) fn timeout(value: Value, max: Duration) -> Result<Duration, String> {
    let max_ms = max.as_millis();
    match value.as_u64().map(Duration::from_millis) {
        Some(timeout) if !timeout.is_zero() && timeout <= max => Ok(timeout),
        _ => Err(format!("must be a whole number from 1 to {max_ms}")),
    }
}

/// The id of a span of the attempt.
pub(super) fn span(value: Value) -> Result<u32, String> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id > 0);
    id.ok_or_else(|| "must be the id of a span".to_owned())
}
