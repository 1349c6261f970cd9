//! Records of the operator: who may use the host, what a tenant may reach, what was done by whom. Runs know nothing
//! of them, and nothing here knows what a body says.

use bytes::Bytes;
use std::sync::Arc;

use crate::{StorageError, StorageErrorKind};

/// Names are made by the host, of what people typed under shorter limits.
pub const RECORD_NAME_MAX_BYTES: usize = 256;
/// With its key it is one row, of which the store takes 64,000 bytes.
pub const RECORD_MAX_BYTES: usize = 48 << 10;

/// What a record is about. What belongs to the operator alone stands with [`trackway_replay::TenantId::DEFAULT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// Of the operator: by the name of the tenant.
    Tenants,
    /// Of the operator: by the hash of the key.
    Keys,
    /// Of a tenant: by the name of the secret.
    Secrets,
    Policies,
    /// Of a tenant: in the order in which it was done.
    Audit,
    /// Of a tenant: what it used, by the day and in all. Written with frames only.
    Usage,
}

impl Shelf {
    pub const ALL: [Shelf; 6] =
        [Shelf::Tenants, Shelf::Keys, Shelf::Secrets, Shelf::Policies, Shelf::Audit, Shelf::Usage];

    /// On disk and in backups: a number keeps its meaning for ever.
    pub fn number(self) -> u8 {
        match self {
            Shelf::Tenants => 1,
            Shelf::Keys => 2,
            Shelf::Secrets => 3,
            Shelf::Policies => 4,
            Shelf::Audit => 5,
            Shelf::Usage => 6,
        }
    }

    pub fn of_number(number: u8) -> Option<Shelf> {
        Shelf::ALL.into_iter().find(|shelf| shelf.number() == number)
    }
}

/// One record; its body means something to the host only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub name: Arc<str>,
    /// Grows by one with each write; the first one is 1.
    pub revision: u64,
    pub body: Bytes,
}

impl Record {
    /// What both stores demand of one, whatever they hold.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        let refused = |why: String| Err(StorageError::new(StorageErrorKind::Invalid, why));
        if self.name.is_empty() || self.name.len() > RECORD_NAME_MAX_BYTES {
            return refused(format!("the name of a record has 1 to {RECORD_NAME_MAX_BYTES} bytes"));
        }
        if self.body.len() > RECORD_MAX_BYTES {
            let size_bytes = self.body.len();
            return refused(format!("a record of {size_bytes} bytes is over the limit of {RECORD_MAX_BYTES}"));
        }
        Ok(())
    }
}
