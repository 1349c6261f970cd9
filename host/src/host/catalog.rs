//! What a component offers, from its manifest: workflow names and the schemas of their inputs. It
//! never follows a reference to outside a schema.

use jsonschema::{PatternOptions, Validator};
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use trackway_replay::{Digest, Value};
use trackway_storage::ComponentRecord;

use crate::sandbox::Manifest;
use crate::{Code, Error, Result};

/// Components whose compiled schemas are kept: those in use, with room for versions being replaced.
const CATALOGS_MAX: usize = 64;
/// More would bury the first one.
const SCHEMA_ERRORS_SHOWN_MAX: usize = 5;
/// A pattern may compile to this much; more is refused at upload.
const PATTERN_MAX_BYTES: usize = 1 << 20;
/// Checking less is faster than moving it to another thread.
const CHECK_INLINE_MAX_BYTES: usize = 128 << 10;
/// The largest input takes less. Where a schema refers to itself again and again, a small one can take
/// for ever.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);
/// Checks of one component that may be slow, at once: those that go on after their time hold their place.
const SLOW_CHECKS_MAX: usize = 2;

/// The workflows of one component.
pub struct Catalog {
    workflows: BTreeMap<Arc<str>, Option<Wanted>>,
    slow: Arc<Semaphore>,
}

/// What a workflow takes.
struct Wanted {
    validator: Validator,
    /// The schema in a few words.
    words: String,
    /// Only then can the time of a check be out of all proportion.
    has_references: bool,
}

impl Catalog {
    /// A schema that cannot be used is [`Code::BadManifest`].
    pub fn of(manifest: &Manifest) -> Result<Catalog> {
        let mut workflows = BTreeMap::new();
        for entry in &manifest.workflows {
            let wanted = entry.input.as_ref().map(|schema| {
                let validator = compile(&entry.name, schema)?;
                Ok::<_, Error>(Wanted { validator, words: in_words(schema), has_references: has_references(schema) })
            });
            workflows.insert(Arc::clone(&entry.name), wanted.transpose()?);
        }
        Ok(Catalog { workflows, slow: Arc::new(Semaphore::new(SLOW_CHECKS_MAX)) })
    }

    pub fn has(&self, workflow: &str) -> bool {
        self.workflows.contains_key(workflow)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.workflows.keys().map(|name| &**name)
    }

    /// Whether `input` is JSON and what the workflow takes.
    fn check(&self, workflow: &str, input: &str) -> Result<()> {
        let not_json = |error: serde_json::Error| {
            Error::new(Code::InputNotJson, format!("the input of `{workflow}` is not JSON: {error}"))
        };
        let Some(Some(Wanted { validator, .. })) = self.workflows.get(workflow) else {
            return serde_json::from_str::<IgnoredAny>(input).map(drop).map_err(not_json);
        };
        let input: serde_json::Value = serde_json::from_str(input).map_err(not_json)?;
        let mut errors = validator.iter_errors(&input);
        let mut shown = Vec::new();
        for error in errors.by_ref().take(SCHEMA_ERRORS_SHOWN_MAX) {
            shown.push(match error.instance_path().to_string() {
                root if root.is_empty() => format!("the input: {}", error.masked()),
                path => format!("at {path}: {}", error.masked()),
            });
        }
        if shown.is_empty() {
            return Ok(());
        }
        if errors.next().is_some() {
            shown.push("and more".to_owned());
        }
        let why = format!("the input does not fit the schema of `{workflow}`: {}", shown.join("; "));
        Err(Error::new(Code::InputBreaksSchema, why)
            .hint("trackway check -o json    # shows the schema: `input` of the workflow"))
    }

    /// For a start that brought no input, where the workflow cannot do without.
    pub fn wants_input(&self, workflow: &str) -> Error {
        let words = self.workflows.get(workflow).and_then(|wanted| Some(wanted.as_ref()?.words.as_str()));
        let why = format!("no input was given, and `{workflow}` takes {}", words.unwrap_or("one"));
        Error::new(Code::InputBreaksSchema, why).hint(format!(
            "trackway run {workflow} -i JSON    # or -i @FILE, or -i - for standard input\n\
             trackway check -o json    # shows the schema: `input` of the workflow"
        ))
    }
}

/// The names of required fields that are shown.
const FIELDS_SHOWN_MAX: usize = 8;

/// What a schema wants at its top, as far as it says so plainly.
fn in_words(schema: &serde_json::Value) -> String {
    match schema.get("type").and_then(serde_json::Value::as_str) {
        Some("object") => {
            let required = schema.get("required").and_then(serde_json::Value::as_array);
            let fields = required.into_iter().flatten().filter_map(serde_json::Value::as_str);
            let fields: Vec<String> = fields.take(FIELDS_SHOWN_MAX).map(|field| format!("`{field}`")).collect();
            if fields.is_empty() { "an object".to_owned() } else { format!("an object with {}", fields.join(", ")) }
        }
        Some("array") => "a list (array)".to_owned(),
        Some("string") => "a text (string)".to_owned(),
        Some("integer") => "a whole number (integer)".to_owned(),
        Some("number") => "a number".to_owned(),
        Some("boolean") => "true or false (boolean)".to_owned(),
        Some(_) | None => "one that its schema describes".to_owned(),
    }
}

/// Compiles a schema offline, with patterns that take linear time.
fn compile(workflow: &str, schema: &serde_json::Value) -> Result<Validator> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_MAX_BYTES).dfa_size_limit(PATTERN_MAX_BYTES);
    jsonschema::options().with_pattern_options(patterns).build(schema).map_err(|error| {
        let why = format!("the input schema of workflow `{workflow}` cannot be used: {error}");
        Error::new(Code::BadManifest, why).hint("a schema may refer to its own parts only")
    })
}

/// Checks an input against what a workflow takes, off the async threads where it is large.
pub async fn check_input(catalog: &Arc<Catalog>, workflow: &Arc<str>, input: &Arc<str>) -> Result<()> {
    if input.len() > Value::MAX_BYTES {
        let why = format!("the input has {} bytes; {} are allowed", input.len(), Value::MAX_BYTES);
        return Err(Error::new(Code::InputTooLarge, why).hint("put large data elsewhere and pass its address"));
    }
    let wanted = catalog.workflows.get(workflow).and_then(Option::as_ref);
    if input.len() <= CHECK_INLINE_MAX_BYTES && !wanted.is_some_and(|wanted| wanted.has_references) {
        return catalog.check(workflow, input);
    }
    check_within(catalog, workflow, input, CHECK_TIME_MAX).await
}

async fn check_within(catalog: &Arc<Catalog>, workflow: &Arc<str>, input: &Arc<str>, max: Duration) -> Result<()> {
    let checked = tokio::time::timeout(max, check_apart(catalog, workflow, input)).await;
    checked.unwrap_or_else(|_| {
        let why = format!("checking the input of `{workflow}` takes more than {max:?}");
        Err(Error::new(Code::InputBreaksSchema, why).hint("its schema may refer to itself too often"))
    })
}

/// In a thread that nobody waits for at the end: a check cannot be broken off.
async fn check_apart(catalog: &Arc<Catalog>, workflow: &Arc<str>, input: &Arc<str>) -> Result<()> {
    let failed = |why: String| Error::new(Code::Internal, format!("checking an input: {why}"));
    let place = Arc::clone(&catalog.slow).acquire_owned().await.map_err(|error| failed(error.to_string()))?;
    let (catalog, workflow, input) = (Arc::clone(catalog), Arc::clone(workflow), Arc::clone(input));
    let (answer, answered) = tokio::sync::oneshot::channel();
    let check = move || {
        // Gone where its time was over.
        let _ = answer.send(catalog.check(&workflow, &input));
        drop(place);
    };
    std::thread::Builder::new().name("check".to_owned()).spawn(check).map_err(|error| failed(error.to_string()))?;
    answered.await.unwrap_or_else(|_| Err(failed("it broke off".to_owned())))
}

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Whether any part of a schema names another one. What only looks so costs a thread.
fn has_references(schema: &serde_json::Value) -> bool {
    match schema {
        serde_json::Value::Object(map) => {
            map.iter().any(|(name, part)| REFERENCES.contains(&name.as_str()) || has_references(part))
        }
        serde_json::Value::Array(parts) => parts.iter().any(has_references),
        _ => false,
    }
}

/// Catalogs that were read before.
#[derive(Default)]
pub struct Catalogs {
    known: Mutex<BTreeMap<Digest, Arc<Catalog>>>,
}

impl Catalogs {
    pub fn get(&self, record: &ComponentRecord) -> Result<Arc<Catalog>> {
        if let Some(catalog) = self.lock().get(&record.digest) {
            return Ok(Arc::clone(catalog));
        }
        let catalog = Arc::new(Catalog::of(&Manifest::read(&record.manifest)?)?);
        let mut known = self.lock();
        if known.len() >= CATALOGS_MAX {
            known.clear();
        }
        known.insert(record.digest, Arc::clone(&catalog));
        Ok(catalog)
    }

    /// Only if it was read before: saves the caller a look into the store.
    pub fn known(&self, digest: Digest) -> Option<Arc<Catalog>> {
        self.lock().get(&digest).map(Arc::clone)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<Catalog>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
