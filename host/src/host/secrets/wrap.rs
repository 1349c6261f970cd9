//! The keys of the server as they are now: secrets are sealed under them, and the data keys of tenants are wrapped under
//! them. It gives no key to anybody.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::{Arc, PoisonError, RwLock};
use trackway_storage::{Sealing, StorageError, StorageErrorKind, Wrap};
use zeroize::Zeroizing;

use super::keys::{KeyId, KeySource, Keyring};
use crate::Result;
use crate::effects::SystemRandomness;

/// Between the id of a key and what is wrapped under it.
const BETWEEN: char = ':';

pub struct ServerKeys {
    source: KeySource,
    ring: RwLock<Arc<Keyring>>,
}

impl ServerKeys {
    /// # Errors
    /// `BadConfig`, if they cannot be read.
    pub fn read(source: KeySource) -> Result<Arc<ServerKeys>> {
        let ring = RwLock::new(Arc::new(source.read()?));
        Ok(Arc::new(ServerKeys { source, ring }))
    }

    /// Of a server that has none.
    pub fn absent() -> Arc<ServerKeys> {
        Arc::new(ServerKeys { source: KeySource::Absent, ring: RwLock::default() })
    }

    /// For the opening of a store whose data keys are wrapped under them.
    pub fn sealing(self: &Arc<ServerKeys>, every_tenant: bool) -> Sealing {
        Sealing { wrap: Some(self.clone()), every_tenant }
    }

    pub(super) fn ring(&self) -> Arc<Keyring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them anew: what they are now counts from here on.
    pub(super) fn reread(&self) -> Result<Arc<Keyring>> {
        let ring = Arc::new(self.source.read_anew()?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring.clone();
        Ok(ring)
    }
}

impl Wrap for ServerKeys {
    fn wrap(&self, about: &[u8], key: &[u8]) -> std::result::Result<String, StorageError> {
        let randomness = SystemRandomness::new();
        let randomness = randomness.map_err(|error| StorageError::new(StorageErrorKind::Io, error.message))?;
        let sealed = self.ring().seal(about, key, &randomness);
        let (id, sealed) = sealed.ok_or_else(|| no_key("this server has no key to seal with".to_owned()))?;
        Ok(format!("{id}{BETWEEN}{}", BASE64_STANDARD.encode(sealed)))
    }

    fn unwrap(&self, about: &[u8], wrapped: &str) -> std::result::Result<Zeroizing<Vec<u8>>, StorageError> {
        let damaged = || StorageError::new(StorageErrorKind::Damaged, "it is not what was wrapped");
        let (id, sealed) = wrapped.split_once(BETWEEN).ok_or_else(damaged)?;
        let (id, ring) = (KeyId::new(id), self.ring());
        if !ring.has(&id) {
            return Err(no_key(format!("it is wrapped under the key {id}, which this server has not")));
        }
        let sealed = BASE64_STANDARD.decode(sealed).map_err(|_| damaged())?;
        ring.open(&id, about, &sealed).ok_or_else(damaged)
    }

    fn is_current(&self, wrapped: &str) -> bool {
        let id = wrapped.split_once(BETWEEN).map(|(id, _)| KeyId::new(id));
        id.is_some() && id == self.ring().current
    }
}

fn no_key(why: String) -> StorageError {
    StorageError::new(StorageErrorKind::NoKey, why)
}
