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
use crate::seal::{NAME_BYTES, Seal, missing};
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

    /// # Errors
    /// `NoKey` where something of it is sealed: its key is missing, and a new one would not open that.
    fn has_nothing_to_seal(&self, tenant: TenantId) -> Result<bool, StorageError> {
        match self.standing(tenant)? {
            Standing::Nothing => Ok(!self.folder.path.join("payloads").join(tenant.to_string()).exists()),
            Standing::Plain => Ok(false),
            Standing::Sealed => Err(missing(tenant)),
        }
    }

    /// Of a tenant without a key. It looks at where each kind of row begins, which is oldest, and where it ends.
    fn standing(&self, tenant: TenantId) -> Result<Standing, StorageError> {
        let mut standing = Standing::Nothing;
        for prefix in sealed_of(tenant) {
            let mut rows = self.db.scan_prefix(prefix);
            for value in [rows.next(), rows.next_back()].into_iter().flatten() {
                let (_, value) = value.map_err(|error| self.failed(&error))?;
                if Row::is_sealed(&value) {
                    return Ok(Standing::Sealed);
                }
                standing = Standing::Plain;
            }
        }
        Ok(standing)
    }

    /// Looks for tenants of whom something is sealed and whose key is not there. Nothing is written of those.
    pub fn miss_keys(&self) -> Result<(), StorageError> {
        for tenant in self.tenants()? {
            if self.seals.of(tenant).is_none() && matches!(self.standing(tenant)?, Standing::Sealed) {
                self.seals.miss(tenant);
            }
        }
        Ok(())
    }

    fn open(&self, key: &[u8], value: IVec) -> Result<Row, StorageError> {
        let is_sealed = Row::is_sealed(&value);
        let row = Row::open(key, value, &self.seals);
        if is_sealed
            && row.is_err()
            && let Some(tenant) = key::tenant_of(key).filter(|tenant| self.seals.of(*tenant).is_none())
            // The key of a tenant that was erased goes after all of its rows.
            && self.db.contains_key(key).map_err(|error| self.failed(&error))?
        {
            self.seals.miss(tenant);
        }
        row
    }

    /// The row with the key by which it is asked for.
    pub fn opened(&self, (key, value): (IVec, IVec)) -> Result<(IVec, Row), StorageError> {
        let row = self.open(&key, value)?;
        Ok((row.asked_by(key), row))
    }

    /// The row that stands where `key` leads.
    pub fn row_at(&self, key: &[u8]) -> Result<Option<Row>, StorageError> {
        let place = self.in_tree(key);
        let Some(value) = self.db.get(&place).map_err(|error| self.failed(&error))? else { return Ok(None) };
        let row = self.open(&place, value)?;
        if matches!(place, Cow::Owned(_)) && row.name() != plain_part(key).map(|plain| &key[plain..]) {
            return Err(damaged(key, "it is another one that stands there"));
        }
        Ok(Some(row))
    }

    /// Rows and files of a tenant that are not sealed, in a store that seals; `None`: it does not.
    pub fn unsealed(&self, tenant: TenantId) -> Result<Option<u64>, StorageError> {
        if !self.seals.is_on() {
            return Ok(None);
        }
        let mut count = 0;
        for prefix in sealed_of(tenant) {
            for value in self.db.scan_prefix(prefix).values() {
                let value = value.map_err(|error| self.failed(&error))?;
                count += u64::from(!Row::is_sealed(&value));
            }
        }
        Ok(Some(count + self.unsealed_files(tenant)?))
    }
}

/// What is stored of a tenant without a key that would be sealed if it had one.
enum Standing {
    Nothing,
    Plain,
    Sealed,
}

/// Where the rows of a tenant stand that are sealed.
fn sealed_of(tenant: TenantId) -> impl Iterator<Item = Vec<u8>> {
    let audit = key::record(tenant, Shelf::Audit, "");
    SEALED.iter().map(move |kind| key::of_tenant(*kind, tenant).to_vec()).chain([audit])
}

#[cfg(test)]
#[path = "spot/tests.rs"]
mod tests;
