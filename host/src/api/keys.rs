//! The keys of the server itself, of which only hashes are kept. Whoever shows one is the operator; nothing is open
//! unless somebody said so. It knows nothing of the keys of tenants.

use std::net::SocketAddr;
use trackway_replay::Digest;

use crate::host::{hash_key, same_hash};
use crate::{Code, Error, Result};

/// Decides about each request.
#[derive(Debug, Clone)]
pub enum Keys {
    /// Whoever shows one of the keys with these hashes.
    Hashes(Vec<Digest>),
    /// Whoever can reach the loopback interface. Only by an explicit wish.
    OpenOnLoopback,
}

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// A key of the server itself: it belongs to whoever runs it.
    Operator,
    /// Something that may be a key of a tenant.
    Other(&'a str),
}

impl Keys {
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Keys {
        Keys::Hashes(keys.into_iter().map(hash_key).collect())
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
    pub(super) fn check<'a>(&self, authorization: Option<&'a str>, host: Option<&str>) -> Result<Shown<'a>> {
        match self {
            Keys::Hashes(hashes) => {
                let key = authorization.and_then(bearer).ok_or_else(|| {
                    Error::new(Code::Unauthorized, "the request carries no key")
                        .hint("send `Authorization: Bearer KEY`; the command line takes it from TRACKWAY_KEY")
                })?;
                let shown = hash_key(key);
                // All are compared, each in constant time.
                let known = hashes.iter().fold(0, |known, hash| known | u8::from(same_hash(hash, &shown)));
                Ok(if known == 0 { Shown::Other(key) } else { Shown::Operator })
            }
            // A page in a browser can make a name of its own point to the loopback address.
            Keys::OpenOnLoopback if host.is_some_and(is_loopback_name) => Ok(Shown::Operator),
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

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _port)) => address,
        None => host.split_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests;
