//! The sums of what tenants use: read, added to and written with the rows that used it.

use std::collections::HashMap;
use trackway_replay::{TenantId, Used};

use super::draft::Draft;
use super::key;
use super::record::record_in;
use super::row::damaged;
use crate::usage::{additions, usage_record};
use crate::{Shelf, StorageError, StorageErrorKind, UsedByDay};

/// Of days and tenants that nobody works for any more; what is dropped is read again.
const KEPT_MAX: usize = 10_000;

/// As they stand with all that was staged, by their keys. Only this thread writes them.
#[derive(Default)]
pub(super) struct Sums(HashMap<Vec<u8>, Used>);

impl Sums {
    /// Their rows are staged and stay so.
    pub fn keep(&mut self, sums: Vec<(Vec<u8>, Used)>) {
        self.0.extend(sums);
    }

    /// The batch is written.
    pub fn trim(&mut self) {
        if self.0.len() > KEPT_MAX {
            self.0.clear();
        }
    }

    /// The row was written by others, or removed.
    pub fn set(&mut self, key: &[u8], sum: Option<Used>) {
        self.0.insert(key.to_vec(), sum.unwrap_or_default());
    }
}

impl Draft {
    /// What the sums are with it.
    pub fn stage_used(&mut self, tenant: TenantId, used: &UsedByDay) -> Result<Vec<(Vec<u8>, Used)>, StorageError> {
        let mut sums = Vec::new();
        for (name, more) in additions(used) {
            let key = key::record(tenant, Shelf::Usage, &name);
            let mut sum = match self.sums.0.get(&key) {
                Some(sum) => *sum,
                None => self.sum_written(&key)?,
            };
            sum.add(&more);
            let record = usage_record(name, &sum);
            self.stage(&key, &(record.revision, &*record.body))?;
            sums.push((key, sum));
        }
        Ok(sums)
    }

    /// One that cannot be read counts anew: no frame waits for a number.
    fn sum_written(&self, key: &[u8]) -> Result<Used, StorageError> {
        let found = self.shared.written(key).and_then(|row| row.map(|row| record_in(key, &row)).transpose());
        let record = match found {
            Ok(None) => return Ok(Used::default()),
            Ok(Some(record)) => record,
            Err(error) if error.kind == StorageErrorKind::Damaged => return Ok(anew(&error)),
            Err(error) => return Err(error),
        };
        let sum = Used::decode(&record.body);
        Ok(sum.unwrap_or_else(|| anew(&damaged(key, "it is no sum of what was used"))))
    }
}

fn anew(why: &StorageError) -> Used {
    tracing::error!(error = %why, "a sum of what a tenant used cannot be read: it is counted anew");
    Used::default()
}
