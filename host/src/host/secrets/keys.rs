//! The keys under which secrets are kept: read from a file or a text of the operator, one a line, the first for what is
//! written from now on, the others for what was written before. No key is ever printed, in no error either.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::effects::Randomness;
use crate::{Code, Error, Result};

pub const KEY_BYTES: usize = 32;
/// A rotation needs two; more are left behind by rotations that nobody ended.
const KEYS_MAX: usize = 16;
/// Of a key's id: enough to tell one from the other keys of an operator, and nothing of the key.
const ID_BYTES: usize = 4;

/// Where the keys are.
#[derive(Clone, Default)]
pub enum KeySource {
    /// No secret can be kept or read.
    #[default]
    Absent,
    /// With what stood in it at the start, which whoever serves later may not be able to read.
    File(PathBuf, Zeroizing<String>),
    Text(Zeroizing<String>),
}

/// All of them, by id.
#[derive(Default)]
pub(super) struct Keyring {
    pub current: Option<KeyId>,
    keys: BTreeMap<KeyId, Zeroizing<[u8; KEY_BYTES]>>,
}

/// Tells keys apart: the beginning of a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    pub fn new(text: &str) -> KeyId {
        KeyId(text.to_owned())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeySource::Absent => "Absent",
            KeySource::File(..) => "File(..)",
            KeySource::Text(_) => "Text(..)",
        })
    }
}

impl KeySource {
    /// A fresh key as it stands in a file.
    pub fn generate(randomness: &dyn Randomness) -> Zeroizing<String> {
        use std::fmt::Write as _;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        randomness.fill(&mut *key);
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in key.iter() {
            // Into a text nothing fails.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// From a file, which is read now.
    pub fn open(file: &Path) -> Result<KeySource> {
        let mode = std::fs::metadata(file).map_or(0, |file| file.permissions().mode());
        if mode & 0o077 != 0 {
            tracing::warn!("others than its owner can read {}: `chmod 600` it", file.display());
        }
        Ok(KeySource::File(file.to_owned(), text_of(file)?))
    }

    pub(super) fn read(&self) -> Result<Keyring> {
        match self {
            KeySource::Absent => Ok(Keyring::default()),
            KeySource::Text(text) => Keyring::parse(text, "the keys for secrets"),
            KeySource::File(file, text) => Keyring::parse(text, &file.display().to_string()),
        }
    }

    /// As they are now.
    pub(super) fn read_anew(&self) -> Result<Keyring> {
        match self {
            KeySource::Absent | KeySource::Text(_) => self.read(),
            KeySource::File(file, _) => Keyring::parse(&text_of(file)?, &file.display().to_string()),
        }
    }
}

fn text_of(file: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    text.map_err(|error| {
        Error::new(Code::File, format!("cannot read the keys for secrets in {}: {error}", file.display()))
    })
}

impl Keyring {
    fn parse(text: &str, place: &str) -> Result<Keyring> {
        let wrong = |why: String| {
            Error::new(Code::BadConfig, format!("{place}: {why}"))
                .hint("A key is 64 hexadecimal digits on a line of its own; `openssl rand -hex 32` makes one.")
        };
        let mut ring = Keyring::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = key_of(line).ok_or_else(|| wrong(format!("line {} is no key", number + 1)))?;
            let id = id_of(&key);
            ring.current.get_or_insert_with(|| id.clone());
            ring.keys.insert(id, key);
        }
        match ring.keys.len() {
            0 => Err(wrong("there is no key in it".to_owned())),
            1..=KEYS_MAX => Ok(ring),
            count => Err(wrong(format!("there are {count} keys in it; at most {KEYS_MAX}"))),
        }
    }

    /// Under the current key, bound to what `about` says. Nothing where there is no key.
    pub fn seal(&self, about: &[u8], value: &[u8], randomness: &dyn Randomness) -> Option<(KeyId, Vec<u8>)> {
        let id = self.current.clone()?;
        let mut nonce = [0; NONCE_LEN];
        randomness.fill(&mut nonce);
        let mut sealed = [&nonce[..], value].concat();
        let key = cipher(self.keys.get(&id)?)?;
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut sealed[NONCE_LEN..])
            .ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some((id, sealed))
    }

    pub fn has(&self, id: &KeyId) -> bool {
        self.keys.contains_key(id)
    }

    /// Nothing where the key is not there, or it is not what was sealed about this.
    pub fn open(&self, id: &KeyId, about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let key = cipher(self.keys.get(id)?)?;
        let mut value = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::from(about), &mut value).ok()?.len();
        value.truncate(length);
        Some(value)
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?))
}

fn key_of(line: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if line.len() != 2 * KEY_BYTES || !line.is_ascii() {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&line[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(key)
}

fn id_of(key: &[u8; KEY_BYTES]) -> KeyId {
    let digest = Sha256::new().chain_update(b"trackway key for secrets").chain_update(key).finalize();
    KeyId(digest[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
