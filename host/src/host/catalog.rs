//! What a component offers, from its manifest: workflow names and the schemas of their inputs. It
//! never follows a reference to outside a schema.

use jsonschema::{PatternOptions, Validator};
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use trackway_replay::{Digest, Value};
use trackway_storage::ComponentRecord;

use super::apart;
use super::schema::{self, Shape};
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
/// Looks at values of the input. A look takes some nanoseconds, and most are never taken.
const WORK_INLINE_MAX: u64 = 1 << 23;
/// A few seconds at the worst. More may be done only by a process that can be ended.
const WORK_IN_THREAD_MAX: u64 = 1 << 32;
/// Of a larger input only the first part that does not fit is named: each one takes memory.
const NAME_ALL_MAX_BYTES: usize = 128 << 10;
/// For all of a check, with the wait for its place. The largest input takes less.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);
/// Checks of one component that may be slow, at once: those that go on after their time hold their place.
const SLOW_CHECKS_MAX: usize = 2;

/// The workflows of one component.
pub struct Catalog {
    workflows: BTreeMap<Arc<str>, Takes>,
    /// What each takes, by what it is for: the input by the workflow, the rest by [`signal_of`] and [`update_of`].
    wanted: BTreeMap<Arc<str>, Wanted>,
    slow: Arc<Semaphore>,
}

/// What a workflow declares that may be sent to it.
struct Takes {
    signals: BTreeSet<Arc<str>>,
    updates: BTreeSet<Arc<str>>,
}

/// What a signal's payload is called where it is checked and in messages. No workflow is called so.
pub fn signal_of(workflow: &str, signal: &str) -> Arc<str> {
    Arc::from(format!("{workflow}, signal {signal}"))
}

/// The same of an update's.
pub fn update_of(workflow: &str, update: &str) -> Arc<str> {
    Arc::from(format!("{workflow}, update {update}"))
}

/// What a workflow takes.
struct Wanted {
    validator: Validator,
    /// As text, for a process of its own.
    schema: String,
    /// The schema in a few words.
    words: String,
    /// `None` where nobody can say how much work a check is.
    shape: Option<Shape>,
}

impl Catalog {
    /// A schema that cannot be used is [`Code::BadManifest`].
    pub fn of(manifest: &Manifest) -> Result<Catalog> {
        let mut workflows = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        let mut want = |place: &Arc<str>, schema: &Option<serde_json::Value>| {
            if let Some(schema) = schema {
                wanted.insert(Arc::clone(place), Wanted::of(place, schema)?);
            }
            Ok::<_, Error>(())
        };
        for entry in &manifest.workflows {
            want(&entry.name, &entry.input)?;
            entry.signals.iter().try_for_each(|signal| want(&signal_of(&entry.name, &signal.name), &signal.schema))?;
            entry.updates.iter().try_for_each(|update| want(&update_of(&entry.name, &update.name), &update.schema))?;
            let signals = entry.signals.iter().map(|signal| Arc::clone(&signal.name)).collect();
            let updates = entry.updates.iter().map(|update| Arc::clone(&update.name)).collect();
            let takes = Takes { signals, updates };
            workflows.insert(Arc::clone(&entry.name), takes);
        }
        Ok(Catalog { workflows, wanted, slow: Arc::new(Semaphore::new(SLOW_CHECKS_MAX)) })
    }

    /// A workflow that declares its signals takes no others; one that declares none takes any.
    pub fn check_signal_name(&self, workflow: &str, signal: &str) -> Result<()> {
        let Some(takes) = self.workflows.get(workflow) else { return Ok(()) };
        check_name(Code::NoSuchSignal, workflow, ("signal", signal), &takes.signals)
    }

    /// The same for updates.
    pub fn check_update_name(&self, workflow: &str, update: &str) -> Result<()> {
        let Some(takes) = self.workflows.get(workflow) else { return Ok(()) };
        check_name(Code::NoSuchUpdate, workflow, ("update", update), &takes.updates)
    }

    pub fn has(&self, workflow: &str) -> bool {
        self.workflows.contains_key(workflow)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.workflows.keys().map(|name| &**name)
    }

    /// Whether `input` is JSON and what the workflow takes.
    fn check(&self, workflow: &str, input: &str) -> Result<()> {
        let not_json = |error: serde_json::Error| not_json(workflow, &error.to_string());
        let Some(Wanted { validator, .. }) = self.wanted.get(workflow) else {
            return serde_json::from_str::<IgnoredAny>(input).map(drop).map_err(not_json);
        };
        let value: serde_json::Value = serde_json::from_str(input).map_err(not_json)?;
        fits(workflow, misfits(validator, &value, input.len()))
    }

    /// The same in a process of its own.
    fn check_apart(&self, program: &Path, workflow: &str, input: &str) -> Result<()> {
        match self.wanted.get(workflow) {
            Some(wanted) => fits(workflow, apart::check(program, workflow, &wanted.schema, input)?),
            None => self.check(workflow, input),
        }
    }

    /// For a start that brought no input, where the workflow cannot do without.
    pub fn wants_input(&self, workflow: &str) -> Error {
        let words = self.wanted.get(workflow).map(|wanted| wanted.words.as_str());
        let why = format!("no input was given, and `{workflow}` takes {}", words.unwrap_or("one"));
        Error::new(Code::InputBreaksSchema, why).hint(format!(
            "trackway run {workflow} -i JSON    # or -i @FILE, or -i - for standard input\n\
             trackway check -o json    # shows the schema: `input` of the workflow"
        ))
    }
}

fn check_name(code: Code, workflow: &str, (word, name): (&str, &str), known: &BTreeSet<Arc<str>>) -> Result<()> {
    if known.is_empty() || known.contains(name) {
        return Ok(());
    }
    let names = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    Err(Error::new(code, format!("`{workflow}` takes no {word} `{name}`")).hint(format!("it takes: {names}")))
}

impl Wanted {
    fn of(place: &str, schema: &serde_json::Value) -> Result<Wanted> {
        schema::refuse_too_many_references(place, schema)?;
        let validator = compile(schema).map_err(|error| {
            let why = format!("the input schema of workflow `{place}` cannot be used: {error}");
            Error::new(Code::BadManifest, why).hint("a schema may refer to its own parts only")
        })?;
        let (words, shape) = (in_words(schema), Shape::of(schema));
        Ok(Wanted { validator, schema: schema.to_string(), words, shape })
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
pub(super) fn compile(schema: &serde_json::Value) -> Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_MAX_BYTES).dfa_size_limit(PATTERN_MAX_BYTES);
    jsonschema::options().with_pattern_options(patterns).build(schema).map_err(|error| error.to_string())
}

/// What of an input does not fit, in words for people, as many as are shown.
pub(super) fn misfits(validator: &Validator, input: &serde_json::Value, input_bytes: usize) -> Vec<String> {
    // Asked first: to collect what does not fit takes much longer.
    if validator.is_valid(input) {
        return Vec::new();
    }
    let errors: Vec<_> = if input_bytes <= NAME_ALL_MAX_BYTES {
        validator.iter_errors(input).take(SCHEMA_ERRORS_SHOWN_MAX + 1).collect()
    } else {
        validator.validate(input).err().into_iter().collect()
    };
    let mut shown = Vec::new();
    for error in errors.iter().take(SCHEMA_ERRORS_SHOWN_MAX) {
        shown.push(match error.instance_path().to_string() {
            root if root.is_empty() => format!("the input: {}", error.masked()),
            path => format!("at {path}: {}", error.masked()),
        });
    }
    if errors.len() > SCHEMA_ERRORS_SHOWN_MAX {
        shown.push("and more".to_owned());
    }
    shown
}

fn fits(place: &str, misfits: Vec<String>) -> Result<()> {
    if misfits.is_empty() {
        return Ok(());
    }
    let why = format!("the input does not fit the schema of `{place}`: {}", misfits.join("; "));
    let schema = match place.split_once(", ") {
        None => "`input` of the workflow".to_owned(),
        Some((_, part)) => format!("`schema` of the {part}"),
    };
    Err(Error::new(Code::InputBreaksSchema, why)
        .hint(format!("trackway check -o json    # shows the schema: {schema}")))
}

pub(super) fn not_json(workflow: &str, why: &str) -> Error {
    Error::new(Code::InputNotJson, format!("the input of `{workflow}` is not JSON: {why}"))
}

pub(super) fn takes_too_long(workflow: &str) -> Error {
    let why = format!("checking the input of `{workflow}` takes more than it may");
    Error::new(Code::InputBreaksSchema, why).hint("its schema may refer to itself too often")
}

/// Checks a value against what a workflow takes: its input, or what [`signal_of`] or [`update_of`] names. Off the
/// async threads where it is large, and in a process of `program` where nobody can say how long it takes.
pub async fn check_input(
    catalog: &Arc<Catalog>,
    workflow: &Arc<str>,
    input: &Arc<str>,
    program: Option<&Path>,
) -> Result<()> {
    if input.len() > Value::MAX_BYTES {
        let why = format!("the input has {} bytes; {} are allowed", input.len(), Value::MAX_BYTES);
        return Err(Error::new(Code::InputTooLarge, why).hint("put large data elsewhere and pass its address"));
    }
    let work = match catalog.wanted.get(workflow) {
        Some(Wanted { shape: Some(shape), .. }) => shape.work(input.len()),
        Some(Wanted { shape: None, .. }) => u64::MAX,
        // It is read, and no more.
        None => 0,
    };
    if input.len() <= CHECK_INLINE_MAX_BYTES && work <= WORK_INLINE_MAX {
        return catalog.check(workflow, input);
    }
    let program = program.filter(|_| work > WORK_IN_THREAD_MAX);
    check_within(catalog, workflow, input, program, CHECK_TIME_MAX).await
}

async fn check_within(
    catalog: &Arc<Catalog>,
    workflow: &Arc<str>,
    input: &Arc<str>,
    program: Option<&Path>,
    max: Duration,
) -> Result<()> {
    let checked = tokio::time::timeout(max, check_in_thread(catalog, workflow, input, program)).await;
    checked.unwrap_or_else(|_| Err(takes_too_long(workflow)))
}

/// In a thread that nobody waits for at the end: a check cannot be broken off.
async fn check_in_thread(
    catalog: &Arc<Catalog>,
    workflow: &Arc<str>,
    input: &Arc<str>,
    program: Option<&Path>,
) -> Result<()> {
    let failed = |why: String| Error::new(Code::Internal, format!("checking an input: {why}"));
    let place = Arc::clone(&catalog.slow).acquire_owned().await.map_err(|error| failed(error.to_string()))?;
    let (catalog, workflow, input) = (Arc::clone(catalog), Arc::clone(workflow), Arc::clone(input));
    let program = program.map(Path::to_owned);
    let (answer, answered) = tokio::sync::oneshot::channel();
    let check = move || {
        let checked = match program {
            Some(program) => catalog.check_apart(&program, &workflow, &input),
            None => catalog.check(&workflow, &input),
        };
        // Gone where its time was over.
        let _ = answer.send(checked);
        drop(place);
    };
    std::thread::Builder::new()
        .name(CHECK_THREAD.to_owned())
        .spawn(check)
        .map_err(|error| failed(error.to_string()))?;
    answered.await.unwrap_or_else(|_| Err(failed("it broke off".to_owned())))
}

/// The name of a thread that checks.
const CHECK_THREAD: &str = "check";

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

    pub fn forget(&self, digest: Digest) {
        self.lock().remove(&digest);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<Catalog>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
