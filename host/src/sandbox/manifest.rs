//! What a component says about itself: read from the text of `describe`, every limit checked. Pure.

use crate::{Code, Error, Result};
use serde_json::{Map, Value};
use std::sync::Arc;
use trackway_replay::{Ambiguous, DEADLINE_MAX_MS, RetryPatch, RetryPolicy, is_code};

const CONTRACT: &str = "0.1";
const TEXT_BYTES_MAX: usize = 1 << 20;
const ENTRIES_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 128;
const DOC_BYTES_MAX: usize = 64 << 10;
const HOSTS_MAX: usize = 100;
const HOST_BYTES_MAX: usize = 300;
/// A day, as for waits between attempts.
pub const TIMEOUT_MS_MAX: u64 = 86_400_000;
/// A year, as for the deadline of retries.
pub const RUN_TIMEOUT_MS_MAX: u64 = 365 * 86_400_000;
/// A day: who has to wait longer for an end sends a signal instead.
pub const CANCEL_GRACE_MS_MAX: u64 = 86_400_000;
const TIMEOUT_MS_DEFAULT: u64 = 300_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// As the component gave it, unknown keys included.
    pub text: Arc<str>,
    pub workflows: Vec<WorkflowEntry>,
    pub functions: Vec<FunctionEntry>,
    pub sdk: Option<Sdk>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowEntry {
    pub name: Arc<str>,
    /// The host ends a run that takes longer.
    pub run_timeout_ms: Option<u64>,
    /// How long it has after a cancel.
    pub cancel_grace_ms: Option<u64>,
    pub doc: Option<String>,
    /// JSON Schema.
    pub input: Option<Value>,
    /// JSON Schema.
    pub output: Option<Value>,
    /// What may be sent to it. If it names any, it takes no others.
    pub signals: Vec<SignalEntry>,
    /// The same for what may be asked of it.
    pub updates: Vec<UpdateEntry>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SignalEntry {
    pub name: Arc<str>,
    pub doc: Option<String>,
    /// JSON Schema of the payload.
    pub schema: Option<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct UpdateEntry {
    pub name: Arc<str>,
    pub doc: Option<String>,
    /// JSON Schema of what is asked.
    pub schema: Option<Value>,
    /// JSON Schema of the answer, where it is no refusal.
    pub output: Option<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FunctionEntry {
    pub name: Arc<str>,
    pub doc: Option<String>,
    /// JSON Schema.
    pub input: Option<Value>,
    /// JSON Schema.
    pub output: Option<Value>,
    pub retry: RetryPolicy,
    pub ambiguous: Ambiguous,
    /// How long a worker may hold one attempt.
    pub timeout_ms: u64,
    /// How long a worker holds one that says nothing of its progress.
    pub heartbeat_timeout_ms: Option<u64>,
    /// How long after it was asked for a step has begun, or fails.
    pub schedule_to_start_ms: Option<u64>,
    /// How long after it was asked for a step is answered, or fails.
    pub schedule_to_close_ms: Option<u64>,
    /// Host patterns that the function wants to reach; checked by whoever grants them.
    pub hosts: Vec<String>,
    /// Patterns of models that it wants to ask; checked likewise.
    pub models: Vec<String>,
    /// Secrets that it uses and for which hosts, as grants of them are written. It can use no others; checked likewise.
    pub secrets: Vec<String>,
    /// Names of MCP servers that it asks; where they are is said by whoever deploys.
    pub mcp: Vec<String>,
}

/// For people; nothing depends on it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sdk {
    pub name: String,
    pub version: String,
    pub language: String,
}

impl Manifest {
    /// Every refusal names the field.
    pub fn read(text: &str) -> Result<Manifest> {
        read(text).map_err(|problem| {
            Error::new(Code::BadManifest, problem).hint("wit/README.md lists the fields of a manifest and their limits")
        })
    }

    pub fn workflow(&self, name: &str) -> Option<&WorkflowEntry> {
        self.workflows.iter().find(|entry| &*entry.name == name)
    }

    pub fn function(&self, name: &str) -> Option<&FunctionEntry> {
        self.functions.iter().find(|entry| &*entry.name == name)
    }
}

type Read<T> = std::result::Result<T, String>;

fn read(text: &str) -> Read<Manifest> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the manifest has {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len()));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("the manifest is not JSON: {error}"))?;
    let root = Fields::of(&value, "the manifest".to_owned(), String::new())?;
    match root.text("contract", 16)? {
        Some(contract) if contract == CONTRACT => {}
        Some(other) => return Err(format!("`contract` is {other:?}; this host speaks {CONTRACT:?}")),
        None => return Err(format!("`contract` is missing; it must be {CONTRACT:?}")),
    }
    let workflows = root.entries("workflows", workflow)?;
    let functions = root.entries("functions", function)?;
    unique("workflows", workflows.iter().map(|entry| &entry.name))?;
    unique("functions", functions.iter().map(|entry| &entry.name))?;
    Ok(Manifest {
        text: text.into(),
        workflows,
        functions,
        sdk: root.object("sdk")?.map(|sdk| self::sdk(&sdk)).transpose()?,
    })
}

fn workflow(entry: &Fields<'_>) -> Read<WorkflowEntry> {
    let run_timeout_ms = entry.whole("run_timeout_ms")?;
    if run_timeout_ms.is_some_and(|timeout_ms| !(1..=RUN_TIMEOUT_MS_MAX).contains(&timeout_ms)) {
        return Err(format!("{} must be 1 to {RUN_TIMEOUT_MS_MAX}", entry.path("run_timeout_ms")));
    }
    let signals = entry.entries("signals", signal)?;
    unique(&entry.place("signals"), signals.iter().map(|signal| &signal.name))?;
    let updates = entry.entries("updates", update)?;
    unique(&entry.place("updates"), updates.iter().map(|update| &update.name))?;
    Ok(WorkflowEntry {
        signals,
        updates,
        name: entry.name()?,
        run_timeout_ms,
        cancel_grace_ms: entry.millis("cancel_grace_ms", CANCEL_GRACE_MS_MAX)?,
        doc: entry.text("doc", DOC_BYTES_MAX)?,
        input: entry.schema("input")?,
        output: entry.schema("output")?,
    })
}

fn signal(entry: &Fields<'_>) -> Read<SignalEntry> {
    Ok(SignalEntry { name: entry.name()?, doc: entry.text("doc", DOC_BYTES_MAX)?, schema: entry.schema("schema")? })
}

fn update(entry: &Fields<'_>) -> Read<UpdateEntry> {
    let SignalEntry { name, doc, schema } = signal(entry)?;
    Ok(UpdateEntry { name, doc, schema, output: entry.schema("output")? })
}

fn function(entry: &Fields<'_>) -> Read<FunctionEntry> {
    Ok(FunctionEntry {
        name: entry.name()?,
        doc: entry.text("doc", DOC_BYTES_MAX)?,
        input: entry.schema("input")?,
        output: entry.schema("output")?,
        retry: entry.object("retry")?.map(|fields| retry(&fields)).transpose()?.unwrap_or_default(),
        ambiguous: entry.word("ambiguous")?.unwrap_or_default(),
        timeout_ms: entry.millis("timeout_ms", TIMEOUT_MS_MAX)?.unwrap_or(TIMEOUT_MS_DEFAULT),
        heartbeat_timeout_ms: entry.millis("heartbeat_timeout_ms", TIMEOUT_MS_MAX)?,
        schedule_to_start_ms: entry.millis("schedule_to_start_ms", DEADLINE_MAX_MS)?,
        schedule_to_close_ms: entry.millis("schedule_to_close_ms", DEADLINE_MAX_MS)?,
        hosts: entry.patterns("hosts", "a host pattern")?,
        models: entry.patterns("models", "a pattern of models")?,
        secrets: entry.patterns("secrets", "a secret and its host")?,
        mcp: entry.patterns("mcp", "the name of an MCP server")?,
    })
}

fn retry(fields: &Fields<'_>) -> Read<RetryPolicy> {
    let patch = RetryPatch {
        attempts: fields.whole("attempts")?.map(|attempts| u32::try_from(attempts).unwrap_or(u32::MAX)),
        backoff: fields.word("backoff")?,
        backoff_ms: fields.whole("backoff_ms")?,
        factor: fields.number("factor")?,
        backoff_max_ms: fields.whole("backoff_max_ms")?,
        jitter: fields.number("jitter")?,
        except: fields.codes("except")?,
        deadline_ms: fields.whole("deadline_ms")?,
        resume: fields.truth("resume")?,
        exhausted: fields.word("exhausted")?,
    };
    let policy = patch.over(&RetryPolicy::default());
    policy.check().map_err(|problem| format!("in `{}`: {problem}", fields.path))?;
    Ok(policy)
}

fn sdk(fields: &Fields<'_>) -> Read<Sdk> {
    let part = |key| fields.text(key, NAME_BYTES_MAX).map(Option::unwrap_or_default);
    Ok(Sdk { name: part("name")?, version: part("version")?, language: part("language")? })
}

fn unique<'a>(list: &str, names: impl Iterator<Item = &'a Arc<str>>) -> Read<()> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("`{list}` has two entries named `{name}`"));
        }
    }
    Ok(())
}

/// A JSON object and where it stands.
struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, told: String, path: String) -> Read<Fields<'a>> {
        match value {
            Value::Object(map) => Ok(Fields { map, path }),
            other => Err(format!("{told} must be an object, it is {}", kind(other))),
        }
    }

    fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The place of a field, quoted for a message.
    fn path(&self, key: &str) -> String {
        format!("`{}`", self.place(key))
    }

    /// `null` is the same as a missing field.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, wanted: &str, found: &Value) -> String {
        format!("{} must be {wanted}, it is {}", self.path(key), kind(found))
    }

    fn text(&self, key: &str, bytes_max: usize) -> Read<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text.clone())),
            Some(Value::String(text)) => {
                Err(format!("{} has {} bytes; at most {bytes_max} are allowed", self.path(key), text.len()))
            }
            Some(other) => Err(self.wrong(key, "a string", other)),
        }
    }

    fn whole(&self, key: &str) -> Read<Option<u64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| self.wrong(key, "a whole number, not negative", value))
    }

    /// A time that is not nothing.
    fn millis(&self, key: &str, millis_max: u64) -> Read<Option<u64>> {
        match self.whole(key)? {
            Some(millis) if !(1..=millis_max).contains(&millis) => {
                Err(format!("{} is {millis}; it must be 1 to {millis_max}", self.path(key)))
            }
            millis => Ok(millis),
        }
    }

    fn number(&self, key: &str) -> Read<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "a number", value))
    }

    fn truth(&self, key: &str) -> Read<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// One of the words that `T` is written as.
    fn word<T: serde::de::DeserializeOwned>(&self, key: &str) -> Read<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| format!("{}: {error}", self.path(key)))
    }

    fn codes(&self, key: &str) -> Read<Option<Vec<Arc<str>>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let code = |value: &Value| value.as_str().filter(|code| is_code(code)).map(Arc::from);
        let codes = value.as_array().and_then(|list| list.iter().map(code).collect());
        codes.map(Some).ok_or_else(|| self.wrong(key, "an array of codes, each 1 to 64 of `A-Z 0-9 _`", value))
    }

    fn object(&self, key: &str) -> Read<Option<Fields<'a>>> {
        self.get(key).map(|value| Fields::of(value, self.path(key), self.place(key))).transpose()
    }

    fn list(&self, key: &str, entries_max: usize) -> Read<&'a [Value]> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Value::Array(list)) if list.len() <= entries_max => Ok(list),
            Some(Value::Array(list)) => {
                Err(format!("{} has {} entries; at most {entries_max} are allowed", self.path(key), list.len()))
            }
            Some(other) => Err(self.wrong(key, "an array", other)),
        }
    }

    fn entries<T>(&self, key: &str, read: impl Fn(&Fields<'_>) -> Read<T>) -> Read<Vec<T>> {
        let list = self.list(key, ENTRIES_MAX)?.iter().enumerate();
        list.map(|(index, value)| {
            let path = format!("{}[{index}]", self.place(key));
            read(&Fields::of(value, format!("`{path}`"), path)?)
        })
        .collect()
    }

    fn name(&self) -> Read<Arc<str>> {
        let name = self.text("name", NAME_BYTES_MAX)?.ok_or_else(|| format!("{} is missing", self.path("name")))?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        // A part of a path of dots alone is taken for a folder: nobody could reach what is called so.
        if name.bytes().all(|byte| byte == b'.') || !name.bytes().all(fits) {
            return Err(format!(
                "{} is {name:?}; a name is 1 to {NAME_BYTES_MAX} of `A-Z a-z 0-9 _ - .`, not dots alone",
                self.path("name")
            ));
        }
        Ok(name.into())
    }

    fn schema(&self, key: &str) -> Read<Option<Value>> {
        match self.get(key) {
            None => Ok(None),
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => Ok(Some(schema.clone())),
            Some(other) => Err(self.wrong(key, "a JSON Schema (an object or a boolean)", other)),
        }
    }

    fn patterns(&self, key: &str, what: &str) -> Read<Vec<String>> {
        let list = self.list(key, HOSTS_MAX)?.iter().enumerate();
        list.map(|(index, pattern)| match pattern {
            Value::String(pattern) if !pattern.is_empty() && pattern.len() <= HOST_BYTES_MAX => Ok(pattern.clone()),
            other => Err(format!(
                "{} must be {what} of 1 to {HOST_BYTES_MAX} bytes, it is {}",
                self.path(&format!("{key}[{index}]")),
                kind(other)
            )),
        })
        .collect()
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("a string of {} bytes", text.len()),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests;
