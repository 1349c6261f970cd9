//! Who may use the API: bearer keys, of which only hashes are kept. Whoever is not known is
//! refused; nothing is open unless somebody said so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::SocketAddr;
use trackway_replay::Digest;

use crate::effects::Randomness;
use crate::{Code, Error, Result};

/// So that a key is recognised where it does not belong: in a log, in a repository.
const PREFIX: &str = "tw_";
const KEY_RANDOM_BYTES: usize = 32;

/// Decides about each request.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Whoever shows one of the keys with these hashes.
    Hashes(Vec<Digest>),
    /// Whoever can reach the loopback interface. Only by an explicit wish.
    OpenOnLoopback,
}

/// A new key. It is shown once; what is kept is [`hash`] of it.
pub fn generate(randomness: &dyn Randomness) -> String {
    let mut bytes = [0; KEY_RANDOM_BYTES];
    randomness.fill(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A key has 256 random bits, so a plain hash cannot be searched.
pub fn hash(key: &str) -> Digest {
    Digest::of_parts(&[b"trackway key", key.as_bytes()])
}

impl Keys {
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Keys {
        Keys::Hashes(keys.into_iter().map(hash).collect())
    }

    /// Whether a server with these keys may listen there.
    pub(super) fn check_address(&self, address: SocketAddr) -> Result<()> {
        match self {
            Keys::Hashes(hashes) if hashes.is_empty() => {
                let why = format!("the server on {address} has no key, so it would refuse everybody");
                Err(Error::new(Code::BadConfig, why).hint("give it a key in TRACKWAY_KEY"))
            }
            Keys::OpenOnLoopback if !address.ip().is_loopback() => {
                let why = format!("a server without a key must listen on a loopback address, not on {address}");
                Err(Error::new(Code::BadConfig, why).hint("give it a key in TRACKWAY_KEY, or bind it to 127.0.0.1"))
            }
            Keys::Hashes(_) | Keys::OpenOnLoopback => Ok(()),
        }
    }

    /// `authorization` and `host` are the headers of those names.
    pub(super) fn check(&self, authorization: Option<&str>, host: Option<&str>) -> Result<()> {
        match self {
            Keys::Hashes(hashes) => {
                let key = authorization.and_then(bearer).ok_or_else(|| {
                    Error::new(Code::Unauthorized, "the request carries no key")
                        .hint("send `Authorization: Bearer KEY`; the command line takes it from TRACKWAY_KEY")
                })?;
                let shown = hash(key);
                // All are compared, each in constant time.
                let known = hashes.iter().fold(0, |known, hash| known | u8::from(equal(hash, &shown)));
                if known == 0 {
                    return Err(Error::new(Code::Unauthorized, "the key is not known here")
                        .hint("`trackway dev` saves its key in .trackway/; a server has its own"));
                }
                Ok(())
            }
            // A page in a browser can make a name of its own point to the loopback address.
            Keys::OpenOnLoopback if host.is_some_and(is_loopback_name) => Ok(()),
            Keys::OpenOnLoopback => {
                Err(Error::new(Code::Unauthorized, "a server without a key answers to loopback names only")
                    .hint("ask for 127.0.0.1 or localhost"))
            }
        }
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, key) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

fn equal(one: &Digest, other: &Digest) -> bool {
    let difference = one.0.iter().zip(other.0).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.split_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests;
