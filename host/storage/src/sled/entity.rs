//! Entities: a row for each, one for what their tenant has of them, and a receipt for each write of a run
//! whose answer its journal does not hold yet.

use std::collections::HashMap;
use trackway_replay::{Position, StepId, TenantId};

use super::draft::Draft;
use super::key::{self, Kind};
use super::shared::Shared;
use crate::entity::{EntityChange, EntityMark, EntityTally};
use crate::{Entity, EntityQuery, EntityRestore, EntityWrite, EntityWritten, RunKey, StorageError};

/// What writes of one batch have made, which is not to be read yet.
#[derive(Default)]
pub(super) struct Changed {
    marks: HashMap<Vec<u8>, Option<EntityMark>>,
    tallies: HashMap<TenantId, EntityTally>,
}

impl Changed {
    pub fn merge(&mut self, later: Changed) {
        self.marks.extend(later.marks);
        self.tallies.extend(later.tallies);
    }

    pub fn clear(&mut self) {
        self.marks.clear();
        self.tallies.clear();
    }
}

/// What is waiting to be read of a run's writes, as of the entry at which its journal ends.
pub(crate) type Receipts = (Position, Vec<(StepId, EntityWritten)>);

impl Shared {
    pub fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Result<Option<Entity>, StorageError> {
        let place = key::entity(tenant, name, key);
        self.get(&place)?.map(|row| row.decode(&place)).transpose()
    }

    pub fn entities(&self, tenant: TenantId, query: &EntityQuery) -> Result<Vec<Entity>, StorageError> {
        let prefix = match &query.name {
            Some(name) => key::entities_of(tenant, name),
            None => key::of_tenant(Kind::Entity, tenant).to_vec(),
        };
        let prefix = self.in_tree(&prefix);
        let after = query.after.as_ref().map(|(name, key)| key::entity(tenant, name, key));
        let after = after.as_deref().map(|after| self.in_tree(after));
        let low = after.as_ref().filter(|after| after.as_ref() > prefix.as_ref()).unwrap_or(&prefix);
        let mut entities = Vec::new();
        for pair in self.db.range(low.as_ref()..) {
            let (key, row) = match pair {
                Ok((key, _)) if !key.starts_with(&prefix) => break,
                Ok((key, _)) if after.as_ref().is_some_and(|after| **after == *key) => continue,
                pair => self.shown(pair)?,
            };
            if entities.len() == query.limit {
                break;
            }
            entities.push(row.decode(&key)?);
        }
        Ok(entities)
    }

    pub fn entity_version(&self, tenant: TenantId) -> Result<u64, StorageError> {
        let place = key::of_tenant(Kind::EntityTally, tenant);
        let tally: Option<EntityTally> = self.get(&place)?.map(|row| row.decode(&place)).transpose()?;
        Ok(tally.unwrap_or_default().version)
    }

    pub fn receipt(&self, run: RunKey, step: StepId) -> Result<Option<EntityWritten>, StorageError> {
        let place = key::receipt(run, step);
        self.get(&place)?.map(|row| row.decode(&place)).transpose()
    }

    /// As they are written, durable or not.
    fn receipts_written(&self, run: RunKey) -> Result<Vec<(StepId, EntityWritten)>, StorageError> {
        let rows = self.db.scan_prefix(key::of_run(Kind::Receipt, run)).map(|pair| {
            let (key, row) = self.opened(pair.map_err(|error| self.failed(&error))?)?;
            let step = key::step_of(&key).ok_or_else(|| super::row::damaged(&key, "its key has no step"))?;
            Ok((step, row.decode(&key)?))
        });
        rows.collect()
    }
}

impl Draft {
    /// What writes of this batch are held against, and what they make of it. Kept only when the verb stands.
    pub fn write_entity(
        &mut self,
        tenant: TenantId,
        write: &EntityWrite,
        changed: &mut Changed,
    ) -> Result<EntityWritten, StorageError> {
        let place = key::entity(tenant, &write.name, &write.key);
        let stored = self.entity_mark(&place, changed)?;
        let mut tally = self.entity_tally(tenant, changed)?;
        let (written, change) = write.judge(&mut tally, stored);
        match change {
            EntityChange::None => return Ok(written),
            EntityChange::Put(entity) => {
                self.stage(&place, &entity)?;
                changed.marks.insert(place, Some(entity.mark()));
            }
            EntityChange::Remove => {
                self.remove(&place);
                changed.marks.insert(place, None);
            }
        }
        self.stage_tally(tenant, tally, changed)?;
        Ok(written)
    }

    pub fn stage_receipt(&mut self, run: RunKey, step: StepId, written: EntityWritten) -> Result<(), StorageError> {
        self.stage(&key::receipt(run, step), &written)
    }

    /// An ended run waits for no answer. `of_this_frame` stands nowhere yet.
    pub fn stage_receipts_end(
        &mut self,
        run: RunKey,
        of_this_frame: impl Iterator<Item = StepId>,
    ) -> Result<(), StorageError> {
        let written = self.shared.receipts_written(run)?.into_iter().map(|(step, _)| step);
        let of_this_batch: Vec<StepId> =
            self.receipts.iter().filter(|(of, _)| *of == run).map(|(_, step)| *step).collect();
        for step in written.chain(of_this_batch).chain(of_this_frame) {
            self.remove(&key::receipt(run, step));
        }
        Ok(())
    }

    /// By somebody who is no run.
    pub fn put_entity(&mut self, tenant: TenantId, write: &EntityWrite) -> Result<EntityWritten, StorageError> {
        self.shared.room.check()?;
        let mut changed = Changed::default();
        let written = self.write_entity(tenant, write, &mut changed)?;
        self.entities.merge(changed);
        Ok(written)
    }

    pub fn restore_entity(&mut self, tenant: TenantId, restore: &EntityRestore) -> Result<(), StorageError> {
        self.shared.room.check()?;
        let mut changed = Changed::default();
        match restore {
            EntityRestore::Receipt(run, step, written) => return self.stage_receipt(*run, *step, *written),
            EntityRestore::Version(version) => {
                let mut tally = self.entity_tally(tenant, &changed)?;
                tally.version = tally.version.max(*version);
                self.stage_tally(tenant, tally, &mut changed)?;
            }
            EntityRestore::Entity(entity) => {
                let place = key::entity(tenant, &entity.name, &entity.key);
                let stored = self.entity_mark(&place, &changed)?;
                let mut tally = self.entity_tally(tenant, &changed)?;
                if tally.restore(entity, stored) {
                    self.stage(&place, entity)?;
                    changed.marks.insert(place, Some(entity.mark()));
                }
                self.stage_tally(tenant, tally, &mut changed)?;
            }
        }
        self.entities.merge(changed);
        Ok(())
    }

    /// Where the run's journal ends before this batch, and its receipts then: nobody else writes meanwhile.
    pub fn receipts(&mut self, run: RunKey) -> Result<Receipts, StorageError> {
        let last = self.shared.db.scan_prefix(key::of_run(Kind::Frame, run)).next_back();
        let end = match last {
            None => Position::FIRST,
            Some(pair) => {
                let (key, row) = self.shared.opened(pair.map_err(|error| self.shared.failed(&error))?)?;
                row.tail(&key)?.end()
            }
        };
        Ok((end, self.shared.receipts_written(run)?))
    }

    fn entity_mark(&self, place: &[u8], changed: &Changed) -> Result<Option<EntityMark>, StorageError> {
        if let Some(mark) = changed.marks.get(place).or_else(|| self.entities.marks.get(place)) {
            return Ok(*mark);
        }
        let row = self.shared.written(place)?;
        let entity: Option<Entity> = row.map(|row| row.decode(place)).transpose()?;
        Ok(entity.map(|entity| entity.mark()))
    }

    fn entity_tally(&self, tenant: TenantId, changed: &Changed) -> Result<EntityTally, StorageError> {
        if let Some(tally) = changed.tallies.get(&tenant).or_else(|| self.entities.tallies.get(&tenant)) {
            return Ok(*tally);
        }
        let place = key::of_tenant(Kind::EntityTally, tenant);
        let row = self.shared.written(&place)?;
        Ok(row.map(|row| row.decode(&place)).transpose()?.unwrap_or_default())
    }

    fn stage_tally(&mut self, tenant: TenantId, tally: EntityTally, changed: &mut Changed) -> Result<(), StorageError> {
        self.stage(&key::of_tenant(Kind::EntityTally, tenant), &tally)?;
        changed.tallies.insert(tenant, tally);
        Ok(())
    }
}
