//! Entities: values of a tenant under a name and a key, each with a version. How a write is judged, the
//! same in every store. Pure: it neither reads nor writes.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trackway_replay::{StepId, Timestamp};

use crate::{StorageError, StorageErrorKind};

/// A row has to hold it, and an entry of a journal beside others.
pub const ENTITY_VALUE_MAX_BYTES: usize = 32 << 10;
/// Enough for an address or a path; it stands in every row.
pub const ENTITY_KEY_MAX_BYTES: usize = 256;
/// As of every other name.
pub const ENTITY_NAME_MAX_BYTES: usize = 128;
/// Of one tenant: a guest that makes them in a loop fills no disk.
pub const ENTITIES_MAX: u64 = 1_000_000;
/// Of one tenant, names and keys included.
pub const ENTITIES_MAX_BYTES: u64 = 4 << 30;

/// As it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    pub name: Arc<str>,
    pub key: Arc<str>,
    /// No two writes of a tenant have the same one, and later ones have higher ones.
    pub version: u64,
    pub changed: Timestamp,
    /// JSON text.
    pub value: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityWrite {
    pub name: Arc<str>,
    pub key: Arc<str>,
    /// Only if the entity is at this version; 0: only if there is none.
    pub if_version: Option<u64>,
    /// `None`: the entity goes.
    pub value: Option<Arc<str>>,
    pub at: Timestamp,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntityWritten {
    /// The version that the write has; 0 where there was nothing to delete.
    Done { version: u64 },
    /// The entity is at this version; 0: there is none. Nothing was changed.
    Conflict { version: u64 },
    /// The tenant has as much as it may have. Nothing was changed.
    Full,
}

/// Of one page of a list.
#[derive(Debug, Clone, Default)]
pub struct EntityQuery {
    pub name: Option<Arc<str>>,
    /// Name and key of the last one of the page before.
    pub after: Option<(Arc<str>, Arc<str>)>,
    pub limit: usize,
}

/// What stands in a store that is made of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityRestore {
    Entity(Entity),
    /// The highest version that was ever given.
    Version(u64),
    /// What became of a write whose run has not journaled it yet.
    Receipt(crate::RunKey, StepId, EntityWritten),
}

/// What a tenant has of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntityTally {
    pub count: u64,
    pub size_bytes: u64,
    /// The last one that was given.
    pub version: u64,
}

/// As much of an entity as decides about a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntityMark {
    pub version: u64,
    pub size_bytes: u64,
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntityChange {
    None,
    Put(Entity),
    Remove,
}

impl Entity {
    pub(crate) fn mark(&self) -> EntityMark {
        let size_bytes = (self.name.len() + self.key.len() + self.value.len()) as u64;
        EntityMark { version: self.version, size_bytes }
    }
}

impl EntityWrite {
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        let value = self.value.as_ref().map_or(0, |value| value.len());
        let limits = [
            ("name", self.name.len(), ENTITY_NAME_MAX_BYTES),
            ("key", self.key.len(), ENTITY_KEY_MAX_BYTES),
            ("value", value, ENTITY_VALUE_MAX_BYTES),
        ];
        match limits.into_iter().find(|(_, size_bytes, max)| size_bytes > max) {
            Some((what, size_bytes, max)) => Err(StorageError::new(
                StorageErrorKind::Invalid,
                format!("the {what} of an entity has {size_bytes} bytes; the limit is {max}"),
            )),
            None => Ok(()),
        }
    }

    /// Decides about the write, and counts it.
    pub(crate) fn judge(&self, tally: &mut EntityTally, stored: Option<EntityMark>) -> (EntityWritten, EntityChange) {
        let stands = stored.map_or(0, |stored| stored.version);
        if self.if_version.is_some_and(|wanted| wanted != stands) {
            return (EntityWritten::Conflict { version: stands }, EntityChange::None);
        }
        let version = tally.version.saturating_add(1);
        let before = stored.map_or(0, |stored| stored.size_bytes);
        let Some(value) = &self.value else {
            if stored.is_none() {
                return (EntityWritten::Done { version: 0 }, EntityChange::None);
            }
            tally.count = tally.count.saturating_sub(1);
            tally.size_bytes = tally.size_bytes.saturating_sub(before);
            tally.version = version;
            return (EntityWritten::Done { version }, EntityChange::Remove);
        };
        let (name, key, value) = (self.name.clone(), self.key.clone(), value.clone());
        let entity = Entity { name, key, version, changed: self.at, value };
        let after = EntityTally {
            count: tally.count + u64::from(stored.is_none()),
            size_bytes: tally.size_bytes.saturating_sub(before) + entity.mark().size_bytes,
            version,
        };
        let grows = after.count > tally.count || after.size_bytes > tally.size_bytes;
        if grows && (after.count > ENTITIES_MAX || after.size_bytes > ENTITIES_MAX_BYTES) {
            return (EntityWritten::Full, EntityChange::None);
        }
        *tally = after;
        (EntityWritten::Done { version }, EntityChange::Put(entity))
    }
}

impl EntityTally {
    /// An entity comes from a backup, unless a later version of it stands.
    pub(crate) fn restore(&mut self, entity: &Entity, stored: Option<EntityMark>) -> bool {
        self.version = self.version.max(entity.version);
        if stored.is_some_and(|stored| stored.version >= entity.version) {
            return false;
        }
        self.count += u64::from(stored.is_none());
        let before = stored.map_or(0, |stored| stored.size_bytes);
        self.size_bytes = self.size_bytes.saturating_sub(before) + entity.mark().size_bytes;
        true
    }
}

#[cfg(test)]
mod tests;
