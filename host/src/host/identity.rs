//! Keys of tenants: who shows one may do what its scopes say, for its tenant and until it expires. Only hashes are
//! kept. It decides who somebody is, never whether a request is allowed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Digest, TenantId, Timestamp};

use super::Host;
use super::tenants::{Tenant, TenantState};
use crate::effects::Randomness;
use crate::{Code, Error, Result};

/// Of one tenant; each is in memory.
pub(super) const KEYS_OF_TENANT_MAX: usize = 1_000;
/// For people: what the key is for.
const KEY_NAME_MAX_BYTES: usize = 128;
/// So that a key is recognised where it does not belong: in a log, in a repository.
const PREFIX: &str = "tw_";
const KEY_RANDOM_BYTES: usize = 32;
/// The id of a key is the beginning of its hash: it names the key and is of no use to whoever has it.
const ID_PREFIX: &str = "key_";
const ID_HASH_CHARS: usize = 12;
/// When a key was used last is written so often at most: it is there to find the keys that nobody uses.
const LAST_USED_EVERY: Duration = Duration::from_secs(3_600);
/// A key that is rotated may be shown so long after.
const OVERLAP_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See everything of the tenant.
    Read,
    /// Start, end, hold, restart and move runs.
    Run,
    /// Send to runs: signals, updates, answers, what promises and entities hold.
    Signal,
    /// Upload components and point deployments to them.
    Deploy,
    /// All of this, and the keys of the tenant.
    Admin,
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

/// A key as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: Arc<str>,
    pub hash: Digest,
    pub tenant: TenantId,
    pub name: Arc<str>,
    pub scopes: Scopes,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    /// To the hour.
    pub last_used: Option<Timestamp>,
}

/// A wish for a key.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    pub scopes: Scopes,
    pub expires: Option<Timestamp>,
}

/// A key that was made; its text is shown once.
#[derive(Debug, Clone)]
pub struct MadeKey {
    pub key: Key,
    pub text: String,
}

/// A new key. It is shown once; what is kept is [`hash_key`] of it.
pub fn generate_key(randomness: &dyn Randomness) -> String {
    let mut bytes = [0; KEY_RANDOM_BYTES];
    randomness.fill(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A key has 256 random bits, so a plain hash cannot be searched.
pub fn hash_key(key: &str) -> Digest {
    Digest::of_parts(&[b"trackway key", key.as_bytes()])
}

/// In a time that says nothing about where they differ.
pub fn same_hash(one: &Digest, other: &Digest) -> bool {
    let difference = one.0.iter().zip(other.0).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0
}

impl Host {
    /// Keys of this tenant, in the order in which they were made.
    pub async fn keys(&self) -> Result<Vec<Key>> {
        Ok(self.directory().await?.keys_of(self.tenant))
    }

    /// Makes a key of this tenant. Durable when it answers.
    pub async fn create_key(&self, wanted: NewKey) -> Result<MadeKey> {
        let NewKey { name, scopes, expires } = wanted;
        let now = self.clock.now();
        if name.is_empty() || name.len() > KEY_NAME_MAX_BYTES || name.chars().any(char::is_control) {
            let why = format!("a key has a name of 1 to {KEY_NAME_MAX_BYTES} bytes that says what it is for");
            return Err(Error::new(Code::BadRequest, why));
        }
        if scopes == Scopes::default() {
            return Err(Error::new(Code::BadRequest, "a key without a scope allows nothing").hint(Scope::NAMES));
        }
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Error::new(Code::BadRequest, "a key cannot expire before it is made"));
        }
        self.make_key(Arc::from(name), scopes, expires).await
    }

    async fn make_key(&self, name: Arc<str>, scopes: Scopes, expires: Option<Timestamp>) -> Result<MadeKey> {
        let text = generate_key(&*self.randomness);
        let hash = hash_key(&text);
        let id = format!("{ID_PREFIX}{}", &hash.to_string()[..ID_HASH_CHARS]).into();
        let (tenant, created, last_used) = (self.tenant, self.clock.now(), None);
        let key = Key { id, hash, tenant, name, scopes, created, expires, last_used };
        let key = self.directory().await?.add_key(&*self.storage, key).await?;
        Ok(MadeKey { key, text })
    }

    /// Makes a key that allows what the one of that id does, which is refused when `overlap` has passed. A process
    /// that dies in between leaves both.
    pub async fn rotate_key(&self, id: &str, overlap: Duration) -> Result<MadeKey> {
        if overlap > OVERLAP_MAX {
            let why = format!("a key that is rotated may be used for {} days at most", OVERLAP_MAX.as_secs() / 86_400);
            return Err(Error::new(Code::BadRequest, why));
        }
        let old = self.key(id).await?;
        let made = self.make_key(old.name.clone(), old.scopes, old.expires).await?;
        let until = self.clock.now() + overlap;
        let directory = self.directory().await?;
        if overlap.is_zero() {
            directory.remove_key(&*self.storage, self.tenant, id).await?;
        } else {
            let end = |key: Key| Key { expires: Some(key.expires.map_or(until, |before| before.min(until))), ..key };
            directory.change_key(&*self.storage, old.hash, end).await?;
        }
        Ok(made)
    }

    /// From the answer on nobody gets in with it.
    pub async fn remove_key(&self, id: &str) -> Result<()> {
        self.directory().await?.remove_key(&*self.storage, self.tenant, id).await
    }

    async fn key(&self, id: &str) -> Result<Key> {
        let keys = self.keys().await?;
        keys.into_iter().find(|key| &*key.id == id).ok_or_else(|| no_such_key(id))
    }

    /// Whose key that is, if it is one that may be used now.
    ///
    /// # Errors
    /// `TenantDisabled`; `Unauthorized` if it has expired.
    pub async fn authenticate(&self, text: &str) -> Result<Option<(Key, Tenant)>> {
        let shown = hash_key(text);
        let directory = self.directory().await?;
        let Some(key) = directory.key(shown).filter(|key| same_hash(&key.hash, &shown)) else { return Ok(None) };
        let Some(tenant) = directory.tenant_of(key.tenant).filter(|it| it.state != TenantState::Deleting) else {
            return Ok(None);
        };
        let now = self.clock.now();
        if key.expires.is_some_and(|expires| expires <= now) {
            return Err(Error::new(Code::Unauthorized, "the key has expired").hint("ask for a new one"));
        }
        refuse_disabled(&tenant)?;
        if key.last_used.is_none_or(|last| now.since(last) >= LAST_USED_EVERY) {
            // Seldom, and of no weight to the request: it goes on where this cannot be written.
            let used = |key: Key| Key { last_used: Some(now), ..key };
            if let Err(error) = directory.change_key(&*self.storage, shown, used).await {
                tracing::warn!(key = %key.id, %error, "it could not be written that the key was used");
            }
        }
        Ok(Some((key, tenant)))
    }
}

pub fn refuse_disabled(tenant: &Tenant) -> Result<()> {
    match tenant.state {
        TenantState::Active => Ok(()),
        TenantState::Disabled | TenantState::Deleting => {
            Err(Error::new(Code::TenantDisabled, format!("tenant `{}` is disabled", tenant.name))
                .hint("whoever runs the server can enable it"))
        }
    }
}

pub(super) fn no_such_key(id: &str) -> Error {
    Error::new(Code::NoSuchKey, format!("there is no key `{id}`")).hint("`trackway keys ls` lists the tenant's keys")
}

impl Scope {
    pub const ALL: [Scope; 5] = [Scope::Read, Scope::Run, Scope::Signal, Scope::Deploy, Scope::Admin];
    const NAMES: &str = "scopes are read, run, signal, deploy and admin";

    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Run => "run",
            Scope::Signal => "signal",
            Scope::Deploy => "deploy",
            Scope::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Scope::Read => 1,
            Scope::Run => 2,
            Scope::Signal => 4,
            Scope::Deploy => 8,
            Scope::Admin => 16,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let named = Scope::ALL.into_iter().find(|scope| scope.name() == text);
        named.ok_or_else(|| format!("`{text}` is no scope: {}", Scope::NAMES))
    }
}

impl Scopes {
    pub const ALL: Scopes = Scopes(31);

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// The admin of a tenant may do all that its keys can.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scopes, D::Error> {
        Ok(Vec::<Scope>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
