//! How what guests and callers of a tenant say is sealed: under a key of the tenant's own, bound to the place where it
//! stands. It never reads or writes anything, and no key ever leaves it but wrapped.
//!
//! `salt (16) | count (8) | ciphertext | tag (16)`
//!
//! ChaCha20-Poly1305. The cipher's key is made of the data key and a salt that each opening of a store draws anew, and the
//! nonce is a count of that opening: no nonce is used twice under one key, also not where a copy of a store goes its own way.

mod keys;

pub use keys::{Extent, Sealing, Seals, Wrap, WrappedKey};

pub(crate) use keys::missing;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

use crate::{StorageError, StorageErrorKind};

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const COUNT_BYTES: usize = 8;
const HEADER_BYTES: usize = SALT_BYTES + COUNT_BYTES;
const TAG_BYTES: usize = 16;
/// By how much sealed bytes are longer.
pub(crate) const SEALED_MORE_BYTES: usize = HEADER_BYTES + TAG_BYTES;
/// Of a name that stands in a key of the store. Two names of one tenant that have it in common would take each other's
/// place; nobody finds two who has not the key.
pub(crate) const NAME_BYTES: usize = 16;

const FOR_SEALING: &[u8] = b"trackway data 1 seal\0";
const FOR_NAMES: &[u8] = b"trackway data 1 names\0";

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// The data key of one tenant, and what is made of it.
pub struct Seal {
    key: Key,
    extent: Extent,
    ciphers: hmac::Key,
    names: hmac::Key,
    salt: [u8; SALT_BYTES],
    cipher: LessSafeKey,
    count: AtomicU64,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    /// With a fresh key.
    fn random(extent: Extent) -> Result<Seal, StorageError> {
        let mut key = Key::default();
        fill(&mut *key)?;
        Seal::of(key, extent)
    }

    fn of(key: Key, extent: Extent) -> Result<Seal, StorageError> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &*key);
        let names = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, FOR_NAMES).as_ref());
        let mut salt = [0; SALT_BYTES];
        fill(&mut salt)?;
        let cipher = cipher(&root, &salt);
        Ok(Seal { key, extent, ciphers: root, names, salt, cipher, count: AtomicU64::new(0) })
    }

    /// Whether everything of the tenant is sealed, the names in keys of rows too.
    pub(crate) fn is_whole(&self) -> bool {
        self.extent == Extent::Whole
    }

    /// What stands in a key of the store in place of `name`: the same each time, and nobody without the key can tell
    /// whether it is of a name that they guess.
    pub(crate) fn name(&self, name: &[u8]) -> [u8; NAME_BYTES] {
        let tag = hmac::sign(&self.names, name);
        *tag.as_ref().first_chunk().expect("32 bytes hold 16")
    }

    /// What comes before all that is sealed in place; see [`Seal::end`].
    pub(crate) fn begin(&self, buffer: &mut Vec<u8>) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        buffer.extend_from_slice(&self.salt);
        buffer.extend_from_slice(&count.to_le_bytes());
    }

    /// Seals in place what follows on a [`Seal::begin`] at `from`. It opens again only with the same `about`.
    pub(crate) fn end(&self, buffer: &mut Vec<u8>, from: usize, about: &[u8]) {
        let (header, text) = buffer[from..].split_at_mut(HEADER_BYTES);
        let nonce = nonce_in(header);
        let sealed = self.cipher.seal_in_place_separate_tag(nonce, Aad::from(about), text);
        let tag = sealed.expect("nothing here is as long as a cipher's limit of 256 GiB");
        buffer.extend_from_slice(tag.as_ref());
    }

    pub(crate) fn seal(&self, about: &[u8], text: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(text.len() + SEALED_MORE_BYTES);
        self.seal_onto(&mut buffer, about, text);
        buffer
    }

    /// Behind what the buffer holds.
    pub(crate) fn seal_onto(&self, buffer: &mut Vec<u8>, about: &[u8], text: &[u8]) {
        let from = buffer.len();
        self.begin(buffer);
        buffer.extend_from_slice(text);
        self.end(buffer, from, about);
    }

    /// Opens in place; what was sealed stands in the range that it answers. `None`: it was not sealed under this key about
    /// this, or was changed since.
    pub(crate) fn open_in(&self, about: &[u8], buffer: &mut [u8]) -> Option<std::ops::Range<usize>> {
        let (header, text) = buffer.split_at_mut_checked(HEADER_BYTES)?;
        let nonce = nonce_in(header);
        let about = Aad::from(about);
        let opened = match header.first_chunk() {
            Some(salt) if *salt == self.salt => self.cipher.open_in_place(nonce, about, text),
            Some(salt) => cipher(&self.ciphers, salt).open_in_place(nonce, about, text),
            None => return None,
        };
        let length = opened.ok()?.len();
        Some(HEADER_BYTES..HEADER_BYTES + length)
    }

    pub(crate) fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = sealed.to_vec();
        let range = self.open_in(about, &mut buffer)?;
        buffer.truncate(range.end);
        buffer.drain(..range.start);
        Some(buffer)
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), StorageError> {
    let failed = |_| StorageError::new(StorageErrorKind::Io, "the operating system gives no random bytes");
    SystemRandom::new().fill(bytes).map_err(failed)
}

fn cipher(root: &hmac::Key, salt: &[u8; SALT_BYTES]) -> LessSafeKey {
    let mut context = hmac::Context::with_key(root);
    context.update(FOR_SEALING);
    context.update(salt);
    let key = UnboundKey::new(&CHACHA20_POLY1305, context.sign().as_ref());
    LessSafeKey::new(key.expect("a SHA-256 is as long as a key of this cipher"))
}

/// Of a header that has its whole length.
fn nonce_in(header: &[u8]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - COUNT_BYTES..].copy_from_slice(&header[SALT_BYTES..]);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
pub(crate) mod tests;
