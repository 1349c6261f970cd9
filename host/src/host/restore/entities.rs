//! Entities of a store that is made of a backup. They were read before the runs, and the store was written to
//! meanwhile: what a run wrote since stands in its journal, with the version that it got. So of the two the
//! higher version counts, and no answer that a run got is missing from the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use trackway_replay::{EntityAct, Kind, Outcome, RunState, StepRequest, TenantId, Timestamp, Value};
use trackway_storage::{Entity, EntityRestore, EntityWrite, EntityWritten, SledStorage, Storage};

use crate::Result;
use crate::host::backup::ENTITY_VERSION_MAX;

type Place = (Arc<str>, Arc<str>);

pub(super) struct Entities {
    tenant: TenantId,
    /// Writes up to this version are in what was read, or were undone by a later one.
    known: u64,
    /// By a later version than the known ones.
    deleted: BTreeMap<Place, u64>,
}

impl Entities {
    pub fn of(tenant: TenantId) -> Entities {
        Entities { tenant, known: 0, deleted: BTreeMap::new() }
    }

    pub fn known(&mut self, version: u64) {
        self.known = version;
    }

    /// What the next entry of a run says of a write. `state` is that before the entry.
    pub async fn answered(&mut self, storage: &SledStorage, state: Option<&RunState>, kind: &Kind) -> Result<()> {
        let Kind::Answered(answered) = kind else { return Ok(()) };
        let Outcome::Succeeded(Value::Inline(text)) = &answered.outcome else { return Ok(()) };
        let Some(step) = state.and_then(|state| state.step(answered.step)) else { return Ok(()) };
        let version = serde_json::from_str::<serde_json::Value>(text).ok().and_then(|it| it["version"].as_u64());
        match version {
            Some(version) => self.wrote(storage, &step.request, version, step.asked).await,
            None => Ok(()),
        }
    }

    /// What became of a write whose answer is not in the journal.
    pub async fn unanswered(
        &mut self,
        storage: &SledStorage,
        request: &StepRequest,
        written: EntityWritten,
        at: Timestamp,
    ) -> Result<()> {
        match written {
            EntityWritten::Done { version } => self.wrote(storage, request, version, at).await,
            EntityWritten::Conflict { .. } | EntityWritten::Full => Ok(()),
        }
    }

    async fn wrote(&mut self, storage: &SledStorage, request: &StepRequest, version: u64, at: Timestamp) -> Result<()> {
        let StepRequest::Entity { entity: name, key, act, .. } = request else { return Ok(()) };
        if version <= self.known || version > ENTITY_VERSION_MAX {
            return Ok(());
        }
        let (tenant, place) = (self.tenant, (name.clone(), key.clone()));
        match act {
            EntityAct::Set { value: Value::Inline(value) }
                if self.deleted.get(&place).is_none_or(|deleted| *deleted < version) =>
            {
                let (name, key, value) = (name.clone(), key.clone(), value.clone());
                let entity = Entity { name, key, version, changed: at, value };
                storage.restore_entity(tenant, EntityRestore::Entity(entity)).await?;
            }
            EntityAct::Delete => {
                let stands = storage.entity(tenant, name, key).await?;
                if stands.is_some_and(|entity| entity.version < version) {
                    let (name, key) = place.clone();
                    storage.write_entity(tenant, EntityWrite { name, key, if_version: None, value: None, at }).await?;
                }
                let deleted = self.deleted.entry(place).or_default();
                *deleted = version.max(*deleted);
            }
            EntityAct::Get | EntityAct::Set { .. } => return Ok(()),
        }
        Ok(storage.restore_entity(tenant, EntityRestore::Version(version)).await?)
    }
}
