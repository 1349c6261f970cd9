//! Records of the operator: a row each, under tenant, shelf and name.

use bytes::Bytes;
use std::sync::Arc;
use trackway_replay::{TenantId, Used};

use super::draft::Draft;
use super::key;
use super::row::{Row, damaged};
use super::shared::Shared;
use crate::{Record, Shelf, StorageError};

/// Of writes of this batch, which are not to be read yet; 0: removed.
pub(super) type Revisions = std::collections::HashMap<Vec<u8>, u64>;

impl Shared {
    pub fn record(&self, tenant: TenantId, shelf: Shelf, name: &str) -> Result<Option<Record>, StorageError> {
        let key = key::record(tenant, shelf, name);
        self.get(&key)?.map(|row| record_in(&key, &row)).transpose()
    }

    pub fn records(
        &self,
        tenant: TenantId,
        shelf: Shelf,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Record>, StorageError> {
        let prefix = key::record(tenant, shelf, "");
        let low = key::record(tenant, shelf, after.unwrap_or_default());
        let mut records = Vec::new();
        for pair in self.db.range(low.as_slice()..) {
            if records.len() == max {
                break;
            }
            let (key, row) = match pair {
                Ok((key, _)) if !key.starts_with(&prefix) => break,
                Ok((key, _)) if after.is_some() && *key == *low => continue,
                pair => self.shown(pair)?,
            };
            records.push(record_in(&key, &row)?);
        }
        Ok(records)
    }
}

/// Name and shelf stand in the key.
pub(super) fn record_in(key: &[u8], row: &Row) -> Result<Record, StorageError> {
    let name: Arc<str> = key::record_of(key).ok_or_else(|| damaged(key, "its key names no record"))?.1;
    let (revision, body): (u64, Vec<u8>) = row.decode(key)?;
    Ok(Record { name, revision, body: Bytes::from(body) })
}

impl Draft {
    pub fn put_record(&mut self, tenant: TenantId, shelf: Shelf, record: &Record) -> Result<bool, StorageError> {
        let key = key::record(tenant, shelf, &record.name);
        if self.record_revision(&key)?.checked_add(1) != Some(record.revision) {
            return Ok(false);
        }
        self.shared.room.check()?;
        self.stage(&key, &(record.revision, &*record.body))?;
        if shelf == Shelf::Usage {
            self.sums.set(&key, Used::decode(&record.body));
        }
        self.records.insert(key, record.revision);
        Ok(true)
    }

    pub fn remove_record(
        &mut self,
        tenant: TenantId,
        shelf: Shelf,
        name: &str,
        revision: u64,
    ) -> Result<bool, StorageError> {
        let key = key::record(tenant, shelf, name);
        if revision == 0 || self.record_revision(&key)? != revision {
            return Ok(false);
        }
        self.remove(&key);
        if shelf == Shelf::Usage {
            self.sums.set(&key, None);
        }
        self.records.insert(key, 0);
        Ok(true)
    }

    /// 0: there is none.
    fn record_revision(&self, key: &[u8]) -> Result<u64, StorageError> {
        if let Some(revision) = self.records.get(key) {
            return Ok(*revision);
        }
        let row = self.shared.written(key)?;
        Ok(row.map(|row| record_in(key, &row)).transpose()?.map_or(0, |record| record.revision))
    }
}
