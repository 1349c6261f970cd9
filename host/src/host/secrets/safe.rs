//! Where secrets lie: records of the store, each sealed under a key that is not in the store. It gives a value to a request
//! that goes out, and to nobody else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trackway_replay::{Failure, TenantId, Timestamp, code};
use trackway_storage::{Record, Shelf, Storage};

use super::keys::{KeyId, Keyring};
use super::wrap::ServerKeys;
use crate::effects::{Randomness, Secret, SecretName, Vault};
use crate::{Code, Error, Result};

/// What binds a sealed value to its place, so that nobody who writes to the store can move one to another name or tenant.
const ABOUT: &[u8] = b"trackway secret 1\0";

pub struct Safe {
    storage: Arc<dyn Storage>,
    keys: Arc<ServerKeys>,
}

/// What can be told of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretEntry {
    pub name: String,
    /// Grows by one with each value.
    pub revision: u64,
    pub created: Timestamp,
    pub changed: Timestamp,
    pub key: KeyId,
    /// Whether the host has that key.
    pub readable: bool,
}

/// The body of a record.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    key: String,
    /// Base64.
    sealed: String,
    created: Timestamp,
    changed: Timestamp,
}

/// Why a secret cannot be read.
pub(super) enum Closed {
    NoKey(KeyId),
    /// Under a key that is there: so it was changed in the store, or is another's.
    Damaged,
}

impl Safe {
    pub fn new(storage: Arc<dyn Storage>, keys: Arc<ServerKeys>) -> Arc<Safe> {
        Arc::new(Safe { storage, keys })
    }

    /// One that keeps nothing.
    pub fn without_key(storage: Arc<dyn Storage>) -> Arc<Safe> {
        Safe::new(storage, ServerKeys::absent())
    }

    pub(super) fn ring(&self) -> Arc<Keyring> {
        self.keys.ring()
    }

    pub(super) fn reread(&self) -> Result<Arc<Keyring>> {
        self.keys.reread()
    }
}

impl Kept {
    pub fn seal(
        ring: &Keyring,
        (tenant, name): (TenantId, &str),
        value: &Secret,
        (created, changed): (Timestamp, Timestamp),
        randomness: &dyn Randomness,
    ) -> Result<Kept> {
        let sealed = ring.seal(&about(tenant, name), value.expose().as_bytes(), randomness);
        let (key, sealed) = sealed.ok_or_else(|| {
            Error::new(Code::NoSecretKey, "this server has no key to keep secrets with")
                .hint("start it with --secrets-key-file FILE, or with a key in TRACKWAY_SECRETS_KEY")
        })?;
        Ok(Kept { key: key.to_string(), sealed: BASE64_STANDARD.encode(sealed), created, changed })
    }

    pub fn open(&self, ring: &Keyring, tenant: TenantId, name: &str) -> std::result::Result<Secret, Closed> {
        let key = self.key();
        if !ring.has(&key) {
            return Err(Closed::NoKey(key));
        }
        let sealed = BASE64_STANDARD.decode(&self.sealed).map_err(|_| Closed::Damaged)?;
        let mut value = ring.open(&key, &about(tenant, name), &sealed).ok_or(Closed::Damaged)?;
        let text = String::from_utf8(std::mem::take(&mut *value)).map_err(|_| Closed::Damaged)?;
        Secret::new(text).map_err(|_| Closed::Damaged)
    }

    pub fn read(record: &Record) -> Result<Kept> {
        serde_json::from_slice(&record.body).map_err(|_| {
            Error::new(Code::DataDamaged, format!("what is kept of the secret `{}` cannot be read", record.name))
        })
    }

    pub fn body(&self) -> bytes::Bytes {
        serde_json::to_vec(self).expect("text and numbers can always be written as JSON").into()
    }

    pub fn key(&self) -> KeyId {
        KeyId::new(&self.key)
    }

    pub fn created(&self) -> Timestamp {
        self.created
    }

    pub fn changed(&self) -> Timestamp {
        self.changed
    }

    pub fn entry(&self, record: &Record, ring: &Keyring) -> SecretEntry {
        let (key, created, changed) = (self.key(), self.created, self.changed);
        let readable = ring.has(&key);
        SecretEntry { name: record.name.to_string(), revision: record.revision, created, changed, key, readable }
    }
}

fn about(tenant: TenantId, name: &str) -> Vec<u8> {
    [ABOUT, &u64::from(tenant.0).to_be_bytes(), name.as_bytes()].concat()
}

impl Vault for Safe {
    fn secret(
        &self,
        tenant: TenantId,
        name: SecretName,
    ) -> BoxFuture<'static, std::result::Result<Option<Secret>, Failure>> {
        let (storage, ring) = (self.storage.clone(), self.ring());
        async move {
            let failed = |error: Error| Failure::new(code::HOST_FAILED, error.message);
            let record = storage.record(tenant, Shelf::Secrets, name.as_str()).await;
            let Some(record) = record.map_err(|error| failed(error.into()))? else { return Ok(None) };
            let kept = Kept::read(&record).map_err(failed)?;
            let unreadable = |why: String| Failure::permanent(code::SECRET_UNREADABLE, why);
            match kept.open(&ring, tenant, name.as_str()) {
                Ok(value) => Ok(Some(value)),
                Err(Closed::NoKey(key)) => {
                    Err(unreadable(format!("the host has not the key {key}, under which the secret `{name}` is kept")))
                }
                Err(Closed::Damaged) => Err(unreadable(format!("what is kept of the secret `{name}` is damaged"))),
            }
        }
        .boxed()
    }
}
