//! Entities, as workflows read and write them. A write goes with the frame that asks for it, so it is done
//! once and by the owner of the run only; here its answer is fetched, once that frame is durable. A read
//! looks at what stands then. It never writes by itself.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::sync::Arc;
use trackway_replay::{
    EntityAct, EntityVerb, Entry, Failure, Kind, Outcome, Phase, Position, StepId, StepRequest, Timestamp, Value, code,
};
use trackway_storage::{ENTITY_KEY_MAX_BYTES, ENTITY_VALUE_MAX_BYTES, Entity, EntityWrite, EntityWritten};

use super::check;
use super::reach::TRY_AGAIN_AFTER;
use super::run::{Inner, Run};
use crate::Result;

/// What may be said besides.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EntityOptions {
    pub label: Option<String>,
    pub if_version: Option<u64>,
}

/// Why an entity cannot be read or written so, if it cannot. `value` is empty but for a set.
pub(super) fn refusal(verb: EntityVerb, name: &str, key: &str, value: &str, options: &str) -> Option<Failure> {
    checked(verb, name, key, value, options).err()
}

fn checked(verb: EntityVerb, name: &str, key: &str, value: &str, options: &str) -> Result<(), Failure> {
    check::name("an entity", name)?;
    check_key(key).map_err(|why| Failure::permanent(code::BAD_REQUEST, why))?;
    let options = check::entity_options(options)?;
    match verb {
        EntityVerb::Get if options.if_version.is_some() => {
            Err(Failure::permanent(code::BAD_OPTIONS, "`if_version` is for what writes"))
        }
        EntityVerb::Get | EntityVerb::Delete => Ok(()),
        EntityVerb::Set => check_value(value),
    }
}

/// What a key may be: text that can be shown and stands in a path.
pub(crate) fn check_key(key: &str) -> Result<(), String> {
    if check::is_dots(key) {
        return Err("the key of an entity is not dots alone: nobody could reach it by its path".to_owned());
    }
    match key.len() {
        1..=ENTITY_KEY_MAX_BYTES if !key.chars().any(char::is_control) => Ok(()),
        1..=ENTITY_KEY_MAX_BYTES => Err("the key of an entity has no control characters".to_owned()),
        size_bytes => {
            Err(format!("the key of an entity is 1 to {ENTITY_KEY_MAX_BYTES} bytes; this one has {size_bytes}"))
        }
    }
}

pub(crate) fn check_value(value: &str) -> Result<(), Failure> {
    if value.len() > ENTITY_VALUE_MAX_BYTES {
        let message = format!("the value is {} bytes; the limit of an entity is {ENTITY_VALUE_MAX_BYTES}", value.len());
        return Err(Failure::permanent(code::TOO_LARGE, message));
    }
    check::json(value, code::BAD_INPUT)
}

/// So the value of every write stands in its entry.
const _: () = assert!(ENTITY_VALUE_MAX_BYTES <= Value::INLINE_MAX_BYTES);

/// What a step that stands in the journal writes.
fn write_of(request: &StepRequest, at: Timestamp) -> Option<EntityWrite> {
    let StepRequest::Entity { entity, key, act, options } = request else { return None };
    let value = match act {
        EntityAct::Set { value: Value::Inline(text) } => Some(text.clone()),
        EntityAct::Delete => None,
        EntityAct::Get | EntityAct::Set { value: Value::Stored { .. } } => return None,
    };
    let if_version = check::entity_options(options).unwrap_or_default().if_version;
    Some(EntityWrite { name: entity.clone(), key: key.clone(), if_version, value, at })
}

/// The writes that go with a frame of a run that keeps steps of another one: of those without an answer.
pub(super) fn writes_of(entries: &[Entry], closed: &BTreeSet<StepId>, at: Timestamp) -> Vec<(StepId, EntityWrite)> {
    let asked = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Asked(asked) if !closed.contains(&asked.step) => Some((asked.step, write_of(&asked.request, at)?)),
        _ => None,
    });
    asked.collect()
}

/// A step was just asked for: what it writes goes with its frame, and its answer is fetched after it.
pub(super) fn perform(run: &Arc<Run>, inner: &mut Inner, step: StepId, request: StepRequest) {
    if let Some(write) = write_of(&request, run.now()) {
        let end = inner.end();
        inner.entities.push((end, step, write));
    }
    fetch(run, inner, step, request);
}

/// Fetches the answer of a step, once all before it is durable.
pub(super) fn fetch(run: &Arc<Run>, inner: &mut Inner, step: StepId, request: StepRequest) {
    if !inner.starting.insert(step) {
        return;
    }
    let cause = inner.end();
    run.force(inner, cause);
    run.core.spawn(run.key.tenant, Box::pin(answer(run.clone(), step, request, cause)));
}

async fn answer(run: Arc<Run>, step: StepId, request: StepRequest, cause: Position) {
    if run.durable(cause).await.is_err() {
        return;
    }
    let outcome = loop {
        if run.lock().stop.is_some() {
            return;
        }
        match read(&run, step, &request).await {
            Ok(outcome) => break outcome,
            Err(error) => {
                tracing::warn!(run = %run.key.run, %step, %error, "an entity cannot be read; it is tried again");
                run.core.clock.sleep_until(run.now() + TRY_AGAIN_AFTER).await;
            }
        }
    };
    let mut inner = run.lock();
    if inner.stop.is_some() {
        return;
    }
    inner.starting.remove(&step);
    // It may be closed by now.
    if matches!(inner.state.step(step).map(|state| &state.phase), Some(Phase::Entity)) {
        let clock = run.now();
        match outcome {
            Ok(output) => {
                let output = inner.value(&output, Value::INLINE_MAX_BYTES);
                inner.answer(clock, step, Outcome::Succeeded(output));
            }
            Err(failure) => inner.answer_failed(clock, step, &failure),
        }
    }
    run.poke.notify_one();
}

async fn read(run: &Run, step: StepId, request: &StepRequest) -> Result<Result<String, Failure>> {
    let StepRequest::Entity { entity, key, act, .. } = request else { return Ok(Ok("null".to_owned())) };
    let storage = &run.core.storage;
    if act.verb() == EntityVerb::Get {
        let entity = storage.entity(run.key.tenant, entity, key).await?;
        return Ok(Ok(entity.map_or_else(|| "null".to_owned(), |entity| shown(&entity))));
    }
    let Some(written) = storage.receipt(run.key, step).await? else {
        let why = "the store does not know what became of this write";
        return Ok(Err(Failure::permanent(code::HOST_FAILED, why)));
    };
    Ok(outcome_of(written).map(|version| format!("{{\"version\":{version}}}")))
}

/// With the text of the value as it was written.
fn shown(entity: &Entity) -> String {
    format!("{{\"version\":{},\"value\":{}}}", entity.version, entity.value)
}

/// The version that a write made, or why there is none.
fn outcome_of(written: EntityWritten) -> Result<u64, Failure> {
    match written {
        EntityWritten::Done { version } => Ok(version),
        EntityWritten::Conflict { version } => {
            let message = match version {
                0 => "there is no such entity".to_owned(),
                version => format!("the entity is at version {version}"),
            };
            let details = RawValue::from_string(format!("{{\"version\":{version}}}")).ok();
            Err(Failure { details, ..Failure::permanent(code::VERSION_CONFLICT, message) })
        }
        EntityWritten::Full => Err(Failure::permanent(code::TOO_MANY, FULL)),
    }
}

/// What is said where a tenant has all the entities that it may have.
pub(crate) const FULL: &str = "the tenant has as many entities, or as large ones, as it may have";
