//! Signatures of components: who made one says so by an Ed25519 key, and a tenant says whose word counts. It keeps no
//! private key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use trackway_replay::Digest;

use crate::{Code, Error, Result};

/// In front of what is signed, so that a signature means this and nothing else.
const MEANING: &[u8] = b"trackway component v1\0";
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
const PEM_LINE_CHARS: usize = 64;
const PUBLIC_KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
const NAME_MAX_BYTES: usize = 128;

/// Written in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// For people.
    pub name: String,
    /// The public key, in base64.
    pub key: String,
}

/// Signs. Its private part never leaves the file that it came from.
pub struct SigningKey(Ed25519KeyPair);

impl TrustedKey {
    /// # Errors
    /// [`Code::BadSignature`], where it is no public key.
    pub fn check(&self) -> Result<()> {
        let is_named = (1..=NAME_MAX_BYTES).contains(&self.name.len()) && !self.name.contains(char::is_control);
        match self.bytes() {
            Some(_) if is_named => Ok(()),
            Some(_) => Err(bad("a trusted key has a name of 1 to 128 bytes")),
            None => Err(bad(&format!("`{}` is no public key: {PUBLIC_KEY_BYTES} bytes in base64", self.key))),
        }
    }

    pub fn signed(&self, component: Digest, signature: &Signature) -> bool {
        let Some(key) = self.bytes() else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(&meant(component), &signature.0).is_ok()
    }

    fn bytes(&self) -> Option<[u8; PUBLIC_KEY_BYTES]> {
        STANDARD.decode(self.key.trim()).ok()?.try_into().ok()
    }
}

impl SigningKey {
    /// A new key, as the text of its file.
    pub fn generate() -> Result<String> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| Error::new(Code::Internal, "no random bytes for a key"))?;
        let text = STANDARD.encode(made.as_ref());
        let lines = text.as_bytes().chunks(PEM_LINE_CHARS).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
        Ok(format!("{PEM_BEGIN}\n{lines}\n{PEM_END}\n"))
    }

    /// From a file as [`SigningKey::generate`] or `openssl genpkey -algorithm ed25519` makes it.
    pub fn read(text: &str) -> Result<SigningKey> {
        let inside =
            text.split_once(PEM_BEGIN).and_then(|(_, rest)| rest.split_once(PEM_END)).map(|(inside, _)| inside);
        let inside = inside.ok_or_else(|| bad("it holds no private key"))?;
        let compact: String = inside.chars().filter(|char| !char.is_whitespace()).collect();
        let bytes = STANDARD.decode(compact).map_err(|_| bad("the private key in it is no base64"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes);
        pair.map(SigningKey).map_err(|_| bad("the private key in it is not one of Ed25519"))
    }

    pub fn sign(&self, component: Digest) -> Signature {
        let signature: [u8; SIGNATURE_BYTES] =
            self.0.sign(&meant(component)).as_ref().try_into().expect("a signature of Ed25519 has 64 bytes");
        Signature(signature)
    }

    /// What others need to trust it, in base64.
    pub fn public(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Signature> {
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Signature).ok_or_else(|| bad("a signature is 64 bytes in base64"))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

fn meant(component: Digest) -> Vec<u8> {
    [MEANING, &component.0].concat()
}

fn bad(why: &str) -> Error {
    Error::new(Code::BadSignature, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::read(&SigningKey::generate().expect("random bytes")).expect("it was made just now")
    }

    fn trusted(key: &SigningKey) -> TrustedKey {
        TrustedKey { name: "release".to_owned(), key: key.public() }
    }

    #[test]
    fn a_signature_holds_for_that_key_and_that_component_only() {
        let (key, other) = (key(), key());
        let component = Digest::of(b"component");
        let signature: Signature = key.sign(component).to_string().parse().expect("as it is written");
        assert!(trusted(&key).signed(component, &signature));
        assert!(!trusted(&other).signed(component, &signature));
        assert!(!trusted(&key).signed(Digest::of(b"another"), &signature));
        assert!(trusted(&key).check().is_ok());
    }

    #[test]
    fn keys_of_openssl_are_read() {
        // The example of RFC 8410.
        let text = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let key = SigningKey::read(text).expect("it is a key");
        assert_eq!(key.public(), "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
    }

    #[test]
    fn what_is_no_key_or_signature_is_refused() {
        for text in ["", "abc", PEM_BEGIN, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
            assert_eq!(SigningKey::read(text).err().map(|error| error.code), Some(Code::BadSignature), "{text}");
            assert!(text.parse::<Signature>().is_err());
        }
        let key = TrustedKey { name: "x".to_owned(), key: "AAAA".to_owned() };
        assert!(key.check().is_err());
        assert!(!key.signed(Digest::of(b""), &Signature([0; SIGNATURE_BYTES])));
    }
}
