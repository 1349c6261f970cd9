//! Secrets of a tenant: set, listed and removed. A value goes in and never comes out here: requests of functions get it in
//! `effects`. It never logs.

mod keys;
mod safe;
mod wrap;

pub use keys::KeySource;
pub use safe::{Safe, SecretEntry};
pub use wrap::ServerKeys;

use trackway_replay::TenantId;
use trackway_storage::{Record, Shelf};

use self::safe::Kept;
use super::Host;
use crate::effects::{Secret, SecretName};
use crate::{Code, Error, Result};

/// Of a tenant: a list that a person can still review.
const SECRETS_MAX: usize = 500;
/// Somebody else changed it this often while we did: give up and say so.
const TRIES_MAX: u32 = 8;

/// What a rotation came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// The key under which all is kept now.
    pub key: Option<String>,
    pub rotated: u64,
    /// Those that were under that key before.
    pub kept: u64,
    /// Those that stay as they are: their key is not there, or they are damaged.
    pub unreadable: u64,
    /// Data keys that were wrapped under another key before.
    pub data_keys: u64,
}

impl Host {
    /// Sets a secret, whatever it was before. Durable when it answers; the next request of a function gets it.
    pub async fn set_secret(&self, name: &SecretName, value: &Secret) -> Result<SecretEntry> {
        let ring = self.safe.ring();
        for _ in 0..TRIES_MAX {
            let before = self.storage.record(self.tenant, Shelf::Secrets, name.as_str()).await?;
            if before.is_none() {
                self.check_room_for_secret().await?;
            }
            let now = self.clock.now();
            // One that cannot be read is replaced all the same.
            let created = before.as_ref().and_then(|record| Kept::read(record).ok()).map_or(now, |kept| kept.created());
            let of = (self.tenant, name.as_str());
            let kept = Kept::seal(&ring, of, value, (created, now), &*self.randomness)?;
            let revision = before.map_or(0, |record| record.revision) + 1;
            let record = Record { name: name.as_str().into(), revision, body: kept.body() };
            let entry = kept.entry(&record, &ring);
            if self.storage.put_record(self.tenant, Shelf::Secrets, record).await? {
                return Ok(entry);
            }
        }
        Err(changed_meanwhile(name))
    }

    /// All of them, by name.
    pub async fn secrets(&self) -> Result<Vec<SecretEntry>> {
        let ring = self.safe.ring();
        let records = self.storage.records(self.tenant, Shelf::Secrets, None, SECRETS_MAX).await?;
        records.iter().map(|record| Ok(Kept::read(record)?.entry(record, &ring))).collect()
    }

    pub async fn remove_secret(&self, name: &SecretName) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let Some(record) = self.storage.record(self.tenant, Shelf::Secrets, name.as_str()).await? else {
                return Err(Error::new(Code::NoSuchSecret, format!("there is no secret `{name}`")));
            };
            let (shelf, revision) = (Shelf::Secrets, record.revision);
            if self.storage.remove_record(self.tenant, shelf, name.as_str(), revision).await? {
                return Ok(());
            }
        }
        Err(changed_meanwhile(name))
    }

    /// Reads the keys anew, puts all secrets of all tenants under the first of them and wraps all data keys under it. Cut
    /// off in between it can be done again: each is under one key or the other. Nothing that is sealed under a data key
    /// is written anew.
    pub async fn rotate_secrets(&self) -> Result<Rotated> {
        let ring = self.safe.reread()?;
        let mut rotated = Rotated { key: ring.current.as_ref().map(ToString::to_string), ..Rotated::default() };
        let seals = self.storage.seals();
        let rewrapped = tokio::task::spawn_blocking(move || seals.rewrap()).await;
        let failed = |error| Error::new(Code::Internal, format!("wrapping data keys: {error}"));
        rotated.data_keys = rewrapped.map_err(failed)??.moved;
        for tenant in self.storage.tenants().await? {
            let mut after = None;
            loop {
                let page = self.storage.records(tenant, Shelf::Secrets, after.as_deref(), SECRETS_MAX).await?;
                for record in &page {
                    self.rotate_secret(tenant, &record.name, &mut rotated).await?;
                }
                match page.last() {
                    Some(last) if page.len() == SECRETS_MAX => after = Some(last.name.to_string()),
                    Some(_) | None => break,
                }
            }
        }
        Ok(rotated)
    }

    async fn rotate_secret(&self, tenant: TenantId, name: &str, rotated: &mut Rotated) -> Result<()> {
        let ring = self.safe.ring();
        for _ in 0..TRIES_MAX {
            // Removed meanwhile.
            let Some(record) = self.storage.record(tenant, Shelf::Secrets, name).await? else { return Ok(()) };
            let Ok(kept) = Kept::read(&record) else {
                rotated.unreadable += 1;
                return Ok(());
            };
            if ring.current == Some(kept.key()) {
                rotated.kept += 1;
                return Ok(());
            }
            let Ok(value) = kept.open(&ring, tenant, name) else {
                rotated.unreadable += 1;
                return Ok(());
            };
            let times = (kept.created(), kept.changed());
            let kept = Kept::seal(&ring, (tenant, name), &value, times, &*self.randomness)?;
            let record = Record { revision: record.revision + 1, body: kept.body(), ..record };
            if self.storage.put_record(tenant, Shelf::Secrets, record).await? {
                rotated.rotated += 1;
                return Ok(());
            }
        }
        Err(Error::new(Code::Overloaded, "secrets were changed by others all the time meanwhile").hint("try again"))
    }

    async fn check_room_for_secret(&self) -> Result<()> {
        let there = self.storage.records(self.tenant, Shelf::Secrets, None, SECRETS_MAX).await?.len();
        match there < SECRETS_MAX {
            true => Ok(()),
            false => {
                Err(Error::new(Code::BadSecret, format!("there are {SECRETS_MAX} secrets, as many as there may be")))
            }
        }
    }
}

fn changed_meanwhile(name: &SecretName) -> Error {
    let why = format!("the secret `{name}` was changed by others {TRIES_MAX} times meanwhile");
    Error::new(Code::Overloaded, why).hint("try again")
}
