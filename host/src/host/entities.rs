//! Entities for people and programs: values of the tenant that runs share. It writes as a run does, with a
//! version that it may ask for; what a run writes goes with the journal of that run and never through here.

use std::sync::Arc;
use trackway_storage::{Entity, EntityQuery, EntityWrite, EntityWritten};

use super::Host;
use crate::worker::{ENTITIES_FULL, check_entity_key, check_entity_value, checked_name};
use crate::{Code, Error, Result};

impl Host {
    pub async fn entity(&self, name: &str, key: &str) -> Result<Entity> {
        check(name, key)?;
        let entity = self.storage.entity(self.tenant, name, key).await?;
        entity.ok_or_else(|| no_such_entity(name, key))
    }

    /// One page.
    pub async fn entities(&self, query: EntityQuery) -> Result<Vec<Entity>> {
        Ok(self.storage.entities(self.tenant, query).await?)
    }

    /// Durable when it answers the version that the entity has now. `value`: JSON text.
    pub async fn set_entity(&self, name: &str, key: &str, value: Arc<str>, if_version: Option<u64>) -> Result<Entity> {
        check(name, key)?;
        check_entity_value(&value).map_err(|failure| match failure.code == trackway_replay::code::TOO_LARGE {
            true => Error::new(Code::InputTooLarge, failure.message),
            false => Error::new(Code::InputNotJson, failure.message),
        })?;
        self.refuse_over_storage().await?;
        let (name, key, at): (Arc<str>, Arc<str>, _) = (name.into(), key.into(), self.clock.now());
        let write = EntityWrite { name: name.clone(), key: key.clone(), if_version, value: Some(value.clone()), at };
        let version = self.write_entity(write).await?;
        Ok(Entity { name, key, version, changed: at, value })
    }

    pub async fn delete_entity(&self, name: &str, key: &str, if_version: Option<u64>) -> Result<()> {
        check(name, key)?;
        let at = self.clock.now();
        let write = EntityWrite { name: name.into(), key: key.into(), if_version, value: None, at };
        match self.write_entity(write).await? {
            0 => Err(no_such_entity(name, key)),
            _ => Ok(()),
        }
    }

    async fn write_entity(&self, write: EntityWrite) -> Result<u64> {
        let what = format!("{}/{}", write.name, write.key);
        match self.storage.write_entity(self.tenant, write).await? {
            EntityWritten::Done { version } => Ok(version),
            EntityWritten::Conflict { version: 0 } => {
                Err(Error::new(Code::EntityConflict, format!("there is no entity {what}")))
            }
            EntityWritten::Conflict { version } => {
                Err(Error::new(Code::EntityConflict, format!("entity {what} is at version {version}")))
            }
            EntityWritten::Full => Err(Error::new(Code::TooManyEntities, ENTITIES_FULL)),
        }
    }
}

fn check(name: &str, key: &str) -> Result<()> {
    checked_name("an entity", name)?;
    check_entity_key(key).map_err(|why| Error::new(Code::BadRequest, why))
}

fn no_such_entity(name: &str, key: &str) -> Error {
    Error::new(Code::NoSuchEntity, format!("there is no entity {name}/{key}"))
}
