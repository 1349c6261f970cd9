//! Who may use the host: tenants and keys, in memory as they stand in the store. A change is durable before it is
//! seen here, and seen here before it is answered; so a key that was removed is refused from its answer on. It
//! knows no requests.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Mutex, MutexGuard};
use trackway_fair::AtOnce;
use trackway_replay::{Digest, TenantId, Timestamp};
use trackway_storage::{Record, Shelf, Storage};

use super::identity::{KEYS_OF_TENANT_MAX, Key, Scopes, no_such_key};
use super::tenants::{TENANTS_MAX, Tenant, TenantState, no_such_tenant};
use crate::{Code, Error, Result};

/// Read at once.
const PAGE: usize = 500;
/// No tenant has such a name: it holds the number that the next one gets.
const NEXT: &str = "#next";
/// The first number after the default tenant's.
const FIRST: u32 = TenantId::DEFAULT.0 + 1;
const OWNER: TenantId = TenantId::DEFAULT;

#[derive(Default)]
pub(super) struct Directory {
    known: RwLock<Known>,
    /// One change at a time, so that each knows the revision that it follows.
    changing: Mutex<()>,
}

#[derive(Default)]
struct Known {
    tenants: BTreeMap<Arc<str>, Kept<Tenant>>,
    names: BTreeMap<TenantId, Arc<str>>,
    keys: HashMap<Digest, Kept<Key>>,
    next: Kept<u32>,
}

/// As it stands in the store.
#[derive(Clone, Default)]
struct Kept<T> {
    revision: u64,
    it: T,
}

#[derive(Serialize, Deserialize)]
struct TenantBody {
    id: u32,
    created: Option<u64>,
    state: TenantState,
}

#[derive(Serialize, Deserialize)]
struct KeyBody {
    id: String,
    tenant: u32,
    name: String,
    scopes: Scopes,
    created: u64,
    #[serde(default)]
    expires: Option<u64>,
    #[serde(default)]
    last_used: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct NextBody {
    next: u32,
}

impl Directory {
    pub async fn load(storage: &dyn Storage) -> Result<Directory> {
        let mut known = Known { next: Kept { revision: 0, it: FIRST }, ..Known::default() };
        for Record { name, revision, body } in all(storage, Shelf::Tenants).await? {
            if &*name == NEXT {
                let NextBody { next } = read(&name, &body)?;
                known.next = Kept { revision, it: next };
                continue;
            }
            let TenantBody { id, created, state } = read(&name, &body)?;
            let tenant = Tenant { id: TenantId(id), name: name.clone(), created: created.map(Timestamp), state };
            known.names.insert(tenant.id, name.clone());
            known.tenants.insert(name, Kept { revision, it: tenant });
        }
        for Record { name, revision, body } in all(storage, Shelf::Keys).await? {
            let hash: Digest = name.parse().map_err(|_| damaged(&name, "its name is no hash"))?;
            let KeyBody { id, tenant, name, scopes, created, expires, last_used } = read(&name, &body)?;
            let key = Key {
                id: id.into(),
                hash,
                tenant: TenantId(tenant),
                name: name.into(),
                scopes,
                created: Timestamp(created),
                expires: expires.map(Timestamp),
                last_used: last_used.map(Timestamp),
            };
            known.keys.insert(hash, Kept { revision, it: key });
        }
        Ok(Directory { known: RwLock::new(known), changing: Mutex::default() })
    }

    pub fn tenants(&self) -> Vec<Tenant> {
        self.read().tenants.values().map(|kept| kept.it.clone()).collect()
    }

    pub fn tenant(&self, name: &str) -> Option<Tenant> {
        self.read().tenants.get(name).map(|kept| kept.it.clone())
    }

    pub fn tenant_of(&self, id: TenantId) -> Option<Tenant> {
        if id == TenantId::DEFAULT {
            return Some(Tenant::default_one());
        }
        let known = self.read();
        known.names.get(&id).and_then(|name| known.tenants.get(name)).map(|kept| kept.it.clone())
    }

    pub fn key(&self, hash: Digest) -> Option<Key> {
        self.read().keys.get(&hash).map(|kept| kept.it.clone())
    }

    /// By their ids.
    pub fn keys_of(&self, tenant: TenantId) -> Vec<Key> {
        let mut keys: Vec<Key> =
            self.read().keys.values().map(|kept| &kept.it).filter(|key| key.tenant == tenant).cloned().collect();
        keys.sort_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id)));
        keys
    }

    pub async fn add_tenant(&self, storage: &dyn Storage, name: &str, created: Option<Timestamp>) -> Result<Tenant> {
        let _changing = self.change().await;
        let (next, count) = {
            let known = self.read();
            if let Some(there) = known.tenants.get(name) {
                return Err(exists(&there.it));
            }
            (known.next.clone(), known.tenants.len())
        };
        if count >= TENANTS_MAX {
            return Err(Error::new(Code::TooManyIdentities, format!("there are {count} tenants, and no more may be")));
        }
        // First the number: one that nobody got is better than one that two get.
        let after = next.it.checked_add(1).ok_or_else(|| Error::new(Code::TooManyIdentities, "no number is left"))?;
        let revision = next.revision + 1;
        put(storage, Shelf::Tenants, NEXT.into(), revision, &NextBody { next: after }).await?;
        self.write().next = Kept { revision, it: after };
        let tenant = Tenant { id: TenantId(next.it), name: name.into(), created, state: TenantState::Active };
        self.put_tenant(storage, &tenant, 1).await?;
        Ok(tenant)
    }

    /// One at a time makes a change. Whoever is about to use a key waits for it too, so it waits for no turn.
    async fn change(&self) -> (AtOnce, MutexGuard<'_, ()>) {
        let at_once = trackway_fair::at_once();
        (at_once, self.changing.lock().await)
    }

    /// What is being deleted stays so.
    pub async fn set_state(&self, storage: &dyn Storage, name: &str, state: TenantState) -> Result<Tenant> {
        let _changing = self.change().await;
        let there = self.read().tenants.get(name).cloned().ok_or_else(|| no_such_tenant(name))?;
        if there.it.state == state {
            return Ok(there.it);
        }
        if there.it.state == TenantState::Deleting {
            return Err(exists(&there.it));
        }
        let tenant = Tenant { state, ..there.it };
        self.put_tenant(storage, &tenant, there.revision + 1).await?;
        Ok(tenant)
    }

    pub async fn remove_tenant(&self, storage: &dyn Storage, tenant: &Tenant) -> Result<()> {
        let _changing = self.change().await;
        let Some(there) = self.read().tenants.get(&tenant.name).filter(|kept| kept.it.id == tenant.id).cloned() else {
            return Ok(());
        };
        storage.remove_record(OWNER, Shelf::Tenants, &tenant.name, there.revision).await?;
        let mut known = self.write();
        known.tenants.remove(&tenant.name);
        known.names.remove(&tenant.id);
        Ok(())
    }

    pub async fn add_key(&self, storage: &dyn Storage, key: Key) -> Result<Key> {
        let _changing = self.change().await;
        let count = self.keys_of(key.tenant).len();
        if count >= KEYS_OF_TENANT_MAX {
            let why = format!("the tenant has {count} keys, and no more may be");
            return Err(Error::new(Code::TooManyIdentities, why).hint("`trackway keys rm` removes one"));
        }
        self.put_key(storage, &key, 1).await?;
        Ok(key)
    }

    /// Writes what `change` makes of the key, if the tenant has it.
    pub async fn change_key(
        &self,
        storage: &dyn Storage,
        hash: Digest,
        change: impl FnOnce(Key) -> Key,
    ) -> Result<Option<Key>> {
        let _changing = self.change().await;
        let Some(there) = self.read().keys.get(&hash).cloned() else { return Ok(None) };
        let key = change(there.it);
        self.put_key(storage, &key, there.revision + 1).await?;
        Ok(Some(key))
    }

    pub async fn remove_key(&self, storage: &dyn Storage, tenant: TenantId, id: &str) -> Result<()> {
        let _changing = self.change().await;
        let key = self.keys_of(tenant).into_iter().find(|key| &*key.id == id).ok_or_else(|| no_such_key(id))?;
        self.take_key(storage, key.hash).await
    }

    /// All of the tenant.
    pub async fn remove_keys(&self, storage: &dyn Storage, tenant: TenantId) -> Result<()> {
        let _changing = self.change().await;
        for key in self.keys_of(tenant) {
            self.take_key(storage, key.hash).await?;
        }
        Ok(())
    }

    async fn take_key(&self, storage: &dyn Storage, hash: Digest) -> Result<()> {
        let Some(there) = self.read().keys.get(&hash).cloned() else { return Ok(()) };
        storage.remove_record(OWNER, Shelf::Keys, &hash.to_string(), there.revision).await?;
        self.write().keys.remove(&hash);
        Ok(())
    }

    async fn put_tenant(&self, storage: &dyn Storage, tenant: &Tenant, revision: u64) -> Result<()> {
        let body = TenantBody { id: tenant.id.0, created: tenant.created.map(|at| at.0), state: tenant.state };
        put(storage, Shelf::Tenants, tenant.name.clone(), revision, &body).await?;
        let mut known = self.write();
        known.names.insert(tenant.id, tenant.name.clone());
        known.tenants.insert(tenant.name.clone(), Kept { revision, it: tenant.clone() });
        Ok(())
    }

    async fn put_key(&self, storage: &dyn Storage, key: &Key, revision: u64) -> Result<()> {
        let body = KeyBody {
            id: key.id.to_string(),
            tenant: key.tenant.0,
            name: key.name.to_string(),
            scopes: key.scopes,
            created: key.created.0,
            expires: key.expires.map(|at| at.0),
            last_used: key.last_used.map(|at| at.0),
        };
        put(storage, Shelf::Keys, key.hash.to_string().into(), revision, &body).await?;
        self.write().keys.insert(key.hash, Kept { revision, it: key.clone() });
        Ok(())
    }

    /// A panic while the lock was held cannot leave a half-made change: every change is one insert.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn all(storage: &dyn Storage, shelf: Shelf) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map(|record| record.name.clone());
        let page = storage.records(OWNER, shelf, after.as_deref(), PAGE).await?;
        if page.is_empty() {
            return Ok(records);
        }
        records.extend(page);
    }
}

async fn put(storage: &dyn Storage, shelf: Shelf, name: Arc<str>, revision: u64, body: &impl Serialize) -> Result<()> {
    let body = serde_json::to_vec(body).map_err(|error| Error::new(Code::Internal, format!("a record: {error}")))?;
    let record = Record { name, revision, body: Bytes::from(body) };
    // Nobody else writes to these shelves: who is refused has found another revision than the last one written.
    match storage.put_record(OWNER, shelf, record).await? {
        true => Ok(()),
        false => Err(Error::new(Code::DataDamaged, "a record of the operator is at another revision than it was")),
    }
}

fn read<T: for<'a> Deserialize<'a>>(name: &str, body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| damaged(name, &error.to_string()))
}

fn damaged(name: &str, why: &str) -> Error {
    Error::new(Code::DataDamaged, format!("the operator's record `{name}` cannot be read: {why}"))
}

fn exists(tenant: &Tenant) -> Error {
    match tenant.state {
        TenantState::Deleting => {
            Error::new(Code::TenantExists, format!("tenant `{}` is being deleted", tenant.name)).hint("try again later")
        }
        TenantState::Active | TenantState::Disabled => {
            Error::new(Code::TenantExists, format!("there is a tenant `{}`", tenant.name)).hint("choose another name")
        }
    }
}

#[cfg(test)]
mod tests;
