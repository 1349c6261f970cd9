//! Where a row of a sealed tenant stands. Rows that hold what guests and callers say are sealed; where such a thing is
//! itself a part of the row's key, a keyed digest of it stands there, and the thing itself is sealed with the row. Numbers and
//! times that the store needs in order to work are neither.

use ::sled::IVec;
use std::borrow::Cow;
use std::sync::Arc;
use trackway_replay::TenantId;

use super::key::{self, Kind, RUN_BYTES, TENANT_BYTES};
use super::row::{Row, damaged};
use super::shared::Shared;
use crate::seal::{NAME_BYTES, Seal};
use crate::{Shelf, StorageError};

/// Rows of which everything but the key is sealed.
pub(super) const SEALED: [Kind; 12] = [
    Kind::StartedBy,
    Kind::Frame,
    Kind::Head,
    Kind::Inbox,
    Kind::Pieces,
    Kind::StartKey,
    Kind::Log,
    Kind::Message,
    Kind::Landmark,
    Kind::Entity,
    Kind::Payload,
    Kind::Piece,
];
/// Of a name before a name: enough to list what has the first in common.
const GROUP_BYTES: usize = 8;

/// Where a row is to be written, and how.
pub(super) struct Spot<'a> {
    pub key: Cow<'a, [u8]>,
    /// What stands in the key as a digest only.
    pub name: Option<&'a [u8]>,
    pub seal: Option<Arc<Seal>>,
}

impl Spot<'_> {
    /// Of a row that is not sealed.
    pub fn open(key: &[u8]) -> Spot<'_> {
        Spot { key: Cow::Borrowed(key), name: None, seal: None }
    }
}

pub(super) fn is_sealed(key: &[u8]) -> bool {
    let Some(kind) = key.first() else { return false };
    let is_audit = *kind == Kind::Record as u8 && key.get(TENANT_BYTES) == Some(&Shelf::Audit.number());
    is_audit || SEALED.iter().any(|sealed| *sealed as u8 == *kind)
}

/// How many bytes of the key stand as they are; `None`: all.
fn plain_part(key: &[u8]) -> Option<usize> {
    let is = |kind: Kind| key.first() == Some(&(kind as u8));
    if is(Kind::Payload) || is(Kind::Pieces) || is(Kind::Piece) || is(Kind::Message) {
        return Some(RUN_BYTES);
    }
    if is(Kind::Landmark) {
        return Some(RUN_BYTES + 1);
    }
    (is(Kind::StartKey) || is(Kind::Entity)).then_some(TENANT_BYTES)
}

/// The name in a key that the tenant's seal hides.
fn hidden<'a>(key: &'a [u8], seal: &Seal) -> Option<(&'a [u8], &'a [u8])> {
    if !seal.is_whole() {
        return None;
    }
    key.split_at_checked(plain_part(key)?).filter(|(_, name)| !name.is_empty())
}

/// Whether a row under that key begins with the name that its key hides.
pub(super) fn hides_name(key: &[u8], seal: &Seal) -> bool {
    hidden(key, seal).is_some()
}

/// The key under which the row stands in the tree.
fn in_tree<'a>(key: &'a [u8], seal: &Seal) -> Cow<'a, [u8]> {
    let Some((plain, _)) = hidden(key, seal) else { return Cow::Borrowed(key) };
    let mut spot = Vec::with_capacity(plain.len() + GROUP_BYTES + NAME_BYTES);
    spot.extend_from_slice(plain);
    if let Some(group) = key::entity_name_in(key) {
        spot.extend_from_slice(&seal.name(group)[..GROUP_BYTES]);
        if group.len() == key.len() {
            // Of all that has that name.
            return Cow::Owned(spot);
        }
    }
    spot.extend_from_slice(&seal.name(key));
    Cow::Owned(spot)
}

impl Row {
    /// The key by which the row is asked for, of one that stands under `key`.
    pub fn asked_by(&self, key: IVec) -> IVec {
        match (self.name(), plain_part(&key)) {
            (Some(name), Some(plain)) => IVec::from([&key[..plain], name].concat()),
            _ => key,
        }
    }
}

impl Shared {
    /// Where a row is found that is asked for by `key`, or where a range begins.
    pub fn in_tree<'a>(&self, key: &'a [u8]) -> Cow<'a, [u8]> {
        match plain_part(key).and_then(|_| self.seal_of(key)) {
            Some(seal) => in_tree(key, &seal),
            None => Cow::Borrowed(key),
        }
    }

    pub fn spot<'a>(&self, key: &'a [u8]) -> Result<Spot<'a>, StorageError> {
        if !is_sealed(key) {
            return Ok(Spot::open(key));
        }
        let Some(tenant) = key::tenant_of(key) else { return Ok(Spot::open(key)) };
        match self.seal_for_writing(tenant)? {
            None => Ok(Spot::open(key)),
            Some(seal) => {
                let name = hidden(key, &seal).map(|(_, name)| name);
                Ok(Spot { key: in_tree(key, &seal), name, seal: Some(seal) })
            }
        }
    }

    pub fn seal_for_writing(&self, tenant: TenantId) -> Result<Option<Arc<Seal>>, StorageError> {
        self.seals.of_writer(tenant, || self.has_nothing_to_seal(tenant))
    }

    fn seal_of(&self, key: &[u8]) -> Option<Arc<Seal>> {
        self.seals.of(key::tenant_of(key)?)
    }

    fn has_nothing_to_seal(&self, tenant: TenantId) -> Result<bool, StorageError> {
        let audit = key::record(tenant, Shelf::Audit, "");
        let of_kinds = SEALED.iter().map(|kind| key::of_tenant(*kind, tenant).to_vec());
        for prefix in of_kinds.chain([audit]) {
            if self.db.scan_prefix(prefix).next().transpose().map_err(|error| self.failed(&error))?.is_some() {
                return Ok(false);
            }
        }
        Ok(!self.folder.path.join("payloads").join(tenant.to_string()).exists())
    }

    /// The row with the key by which it is asked for.
    pub fn opened(&self, (key, value): (IVec, IVec)) -> Result<(IVec, Row), StorageError> {
        let row = Row::open(&key, value, &self.seals)?;
        Ok((row.asked_by(key), row))
    }

    /// The row that stands where `key` leads.
    pub fn row_at(&self, key: &[u8]) -> Result<Option<Row>, StorageError> {
        let place = self.in_tree(key);
        let Some(value) = self.db.get(&place).map_err(|error| self.failed(&error))? else { return Ok(None) };
        let row = Row::open(&place, value, &self.seals)?;
        if matches!(place, Cow::Owned(_)) && row.name() != plain_part(key).map(|plain| &key[plain..]) {
            return Err(damaged(key, "it is another one that stands there"));
        }
        Ok(Some(row))
    }

    /// Rows and files of a sealed tenant that are not sealed; `None`: nothing of the tenant is to be.
    pub fn unsealed(&self, tenant: TenantId) -> Result<Option<u64>, StorageError> {
        if self.seals.of(tenant).is_none() {
            return Ok(None);
        }
        let audit = key::record(tenant, Shelf::Audit, "");
        let mut count = 0;
        for prefix in SEALED.iter().map(|kind| key::of_tenant(*kind, tenant).to_vec()).chain([audit]) {
            for value in self.db.scan_prefix(prefix).values() {
                let value = value.map_err(|error| self.failed(&error))?;
                count += u64::from(!Row::is_sealed(&value));
            }
        }
        Ok(Some(count + self.unsealed_files(tenant)?))
    }
}

#[cfg(test)]
#[path = "spot/tests.rs"]
mod tests;
