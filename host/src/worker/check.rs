//! What a guest may hand over: JSON that is JSON, options that are known. Pure.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::time::Duration;
use trackway_replay::{Ambiguous, DEADLINE_MAX_MS, Failure, Limits, RetryPatch, RetryPolicy, code};

use super::entity::EntityOptions;
use crate::sandbox::{FunctionEntry, TIMEOUT_MS_MAX};

/// Enough for every option there is.
pub(super) const OPTIONS_MAX_BYTES: usize = 4 << 10;
pub(super) const NAME_MAX_BYTES: usize = 128;
pub(super) const AT_MAX_BYTES: usize = 512;
/// Enough for a person's words; an entry has to fit into a frame.
pub(super) const REASON_MAX_BYTES: usize = 4 << 10;
/// A place to go on from, not a result; a function may tell it again and again.
const PROGRESS_MAX_BYTES: usize = 4 << 10;
const LABEL_MAX_BYTES: usize = 256;
/// Longer ones are a mistake, and each is a row in the store.
const KEY_MAX_BYTES: usize = 256;

/// The options of `sleep`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    label: Option<String>,
}

/// The options of `call`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CallOptions {
    label: Option<String>,
    retry: RetryPatch,
    ambiguous: Option<Ambiguous>,
    timeout_ms: Option<u64>,
    heartbeat_timeout_ms: Option<u64>,
    schedule_to_start_ms: Option<u64>,
    schedule_to_close_ms: Option<u64>,
}

impl CallOptions {
    /// Of a call that was let in: its options were checked then.
    pub fn of(text: &str) -> CallOptions {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// What is done about effects that are unclear, if the function says so much.
    pub fn ambiguous(&self, function: Ambiguous) -> Ambiguous {
        self.ambiguous.unwrap_or(function)
    }

    /// How long a worker may hold one attempt.
    pub fn timeout(&self, function: &FunctionEntry) -> Duration {
        Duration::from_millis(self.timeout_ms.unwrap_or(function.timeout_ms))
    }

    /// How long a worker holds an attempt that says nothing of its progress.
    pub fn heartbeat_timeout(&self, function: &FunctionEntry) -> Option<Duration> {
        self.heartbeat_timeout_ms.or(function.heartbeat_timeout_ms).map(Duration::from_millis)
    }

    /// How long after it was asked for an attempt has begun, or the step fails.
    pub fn schedule_to_start(&self, function: &FunctionEntry) -> Option<Duration> {
        self.schedule_to_start_ms.or(function.schedule_to_start_ms).map(Duration::from_millis)
    }

    /// How long after it was asked for the step is answered, or fails.
    pub fn schedule_to_close(&self, function: &FunctionEntry) -> Option<Duration> {
        self.schedule_to_close_ms.or(function.schedule_to_close_ms).map(Duration::from_millis)
    }

    /// The policy of its function, with what the call says over it.
    pub fn policy(&self, function: &RetryPolicy) -> RetryPolicy {
        self.retry.over(function)
    }
}

/// The options of `sleep`.
pub(super) fn options(text: &str) -> Result<(), Failure> {
    let options: Options = read_or_none(text)?;
    label(options.label.as_deref())
}

/// The options of what a function asks for.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EffectOptions {
    label: Option<String>,
    span: Option<u32>,
}

/// The span that it belongs to, if it says so.
pub(super) fn effect_options(text: &str) -> Result<Option<u32>, Failure> {
    let options: EffectOptions = read_or_none(text)?;
    label(options.label.as_deref())?;
    Ok(options.span)
}

/// The options of `promise`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PromiseOptions {
    label: Option<String>,
    #[serde(rename = "timeout_ms")]
    _timeout_ms: Option<u64>,
}

pub(super) fn promise_options(text: &str) -> Result<(), Failure> {
    let options: PromiseOptions = read_or_none(text)?;
    label(options.label.as_deref())
}

/// The options of a call of `function`.
pub(super) fn call_options(text: &str, function: &FunctionEntry) -> Result<(), Failure> {
    let options: CallOptions = read_or_none(text)?;
    label(options.label.as_deref())?;
    millis("timeout_ms", options.timeout_ms, TIMEOUT_MS_MAX)?;
    millis("heartbeat_timeout_ms", options.heartbeat_timeout_ms, TIMEOUT_MS_MAX)?;
    millis("schedule_to_start_ms", options.schedule_to_start_ms, DEADLINE_MAX_MS)?;
    millis("schedule_to_close_ms", options.schedule_to_close_ms, DEADLINE_MAX_MS)?;
    let checked = options.policy(&function.retry).check();
    checked.map_err(|problem| Failure::permanent(code::BAD_OPTIONS, format!("in `retry`: {problem}")))
}

pub(super) fn millis(name: &str, millis: Option<u64>, millis_max: u64) -> Result<(), Failure> {
    match millis {
        Some(millis) if !(1..=millis_max).contains(&millis) => {
            let message = format!("`{name}` is {millis}; it must be 1 to {millis_max}");
            Err(Failure::permanent(code::BAD_OPTIONS, message))
        }
        Some(_) | None => Ok(()),
    }
}

fn read_or_none<T: DeserializeOwned + Default>(text: &str) -> Result<T, Failure> {
    if text.is_empty() {
        return Ok(T::default());
    }
    read(text)
}

fn label(label: Option<&str>) -> Result<(), Failure> {
    match label {
        Some(label) if label.len() > LABEL_MAX_BYTES => {
            let message = format!("`label` is {} bytes; the limit is {LABEL_MAX_BYTES}", label.len());
            Err(Failure::permanent(code::BAD_OPTIONS, message))
        }
        Some(_) | None => Ok(()),
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    if text.len() > OPTIONS_MAX_BYTES {
        let message = format!("options are {} bytes; the limit is {OPTIONS_MAX_BYTES}", text.len());
        return Err(Failure::permanent(code::BAD_OPTIONS, message));
    }
    serde_json::from_str(text).map_err(|error| Failure::permanent(code::BAD_OPTIONS, format!("options: {error}")))
}

/// The options of `start-run`.
pub(super) fn read_options(text: &str) -> Result<super::child::RunOptions, Failure> {
    let options: super::child::RunOptions = read(text)?;
    label(options.label.as_deref())?;
    Ok(options)
}

/// The options of what reads or writes an entity.
pub(super) fn entity_options(text: &str) -> Result<EntityOptions, Failure> {
    let options: EntityOptions = read_or_none(text)?;
    label(options.label.as_deref())?;
    Ok(options)
}

/// What an idempotency key may be.
pub(super) fn is_key(key: &str) -> bool {
    (1..=KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// A part of a path that browsers and clients take for the folder itself or the one above it.
pub(crate) fn is_dots(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte == b'.')
}

/// What `what` may be called: as in a manifest.
pub(crate) fn name(what: &str, name: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(fits) && !is_dots(name) {
        return Ok(());
    }
    let shown = cut(name, NAME_MAX_BYTES);
    let message = format!(
        "{what} cannot be called `{shown}`: a name is 1 to {NAME_MAX_BYTES} of `A-Z a-z 0-9 _ - .`, not dots alone"
    );
    Err(Failure::permanent(code::BAD_REQUEST, message))
}

/// A value that crosses. `code` says on which side it is wrong.
pub(super) fn value(text: &str, limits: &Limits, code: &str) -> Result<(), Failure> {
    if text.len() > limits.value_bytes as usize {
        let message = format!("the value is {} bytes; the limit is {}", text.len(), limits.value_bytes);
        return Err(Failure::permanent(code::TOO_LARGE, message));
    }
    json(text, code)
}

pub(super) fn json(text: &str, code: &str) -> Result<(), Failure> {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::permanent(code, format!("not JSON: {error}"))),
    }
}

/// What a function says of its progress.
pub(super) fn progress(text: &str) -> Result<(), Failure> {
    if text.len() > PROGRESS_MAX_BYTES {
        let message = format!("the progress is {} bytes; the limit is {PROGRESS_MAX_BYTES}", text.len());
        return Err(Failure::permanent(code::TOO_LARGE, message));
    }
    let read = serde_json::from_str::<IgnoredAny>(text);
    read.map(drop).map_err(|error| Failure::permanent(code::BAD_REQUEST, format!("the progress is not JSON: {error}")))
}

#[cfg(test)]
mod tests;

/// The part of `text` that fits into `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
