//! Secrets as requests know them: names, values that print as nothing, and where a deployment may send them. It never
//! knows how they are kept, and a value leaves it only into a request that goes out.

mod placeholder;
mod purse;
mod redact;

pub(super) use purse::Purse;

use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use trackway_replay::{Failure, TenantId};
use url::Url;
use zeroize::Zeroizing;

use super::grants::Grant;
use crate::{Code, Error, Result};

/// A name that a person can tell from others at a glance.
const NAME_MAX_BYTES: usize = 64;
/// A shorter value cannot be told from other text in an answer, so nobody could take it out there.
pub const SECRET_MIN_BYTES: usize = 8;
/// A key with its certificates fits; what is larger is no credential.
pub const SECRET_MAX_BYTES: usize = 16 << 10;

/// What a secret is called: 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretName(Arc<str>);

/// A value. It prints as nothing, and its memory is wiped when nobody has it any more.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

/// Where in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Header,
    Query,
    Body,
}

/// That a deployment may send a secret to a host: `NAME=HOST`, or `NAME:query,body=HOST` where it may stand elsewhere than
/// in a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretGrant {
    name: SecretName,
    places: BTreeSet<Place>,
    host: Grant,
}

/// Where values come from.
pub trait Vault: Send + Sync + 'static {
    /// What a tenant's secret is now, if there is one. A failure says why it cannot be told, and no more.
    fn secret(
        &self,
        tenant: TenantId,
        name: SecretName,
    ) -> BoxFuture<'static, std::result::Result<Option<Secret>, Failure>>;
}

impl SecretName {
    pub fn new(text: &str) -> Option<SecretName> {
        let fits = (1..=NAME_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_of_name);
        fits.then(|| SecretName(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = Error;

    fn from_str(text: &str) -> Result<SecretName> {
        SecretName::new(text).ok_or_else(|| {
            let why = format!("the name of a secret is 1 to {NAME_MAX_BYTES} of A-Z a-z 0-9 _ -");
            Error::new(Code::BadSecret, why)
        })
    }
}

impl Secret {
    /// # Errors
    /// `BadSecret` for one that is too short or too long. No error holds any of it.
    pub fn new(text: String) -> Result<Secret> {
        let text = Zeroizing::new(text);
        if !(SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&text.len()) {
            let why = format!(
                "the value of a secret has {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} bytes; this one has {}",
                text.len()
            );
            return Err(Error::new(Code::BadSecret, why));
        }
        Ok(Secret(Arc::new(text)))
    }

    /// The one way to the value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Place {
    const ALL: [Place; 3] = [Place::Header, Place::Query, Place::Body];

    pub fn name(self) -> &'static str {
        match self {
            Place::Header => "header",
            Place::Query => "query",
            Place::Body => "body",
        }
    }
}

impl SecretGrant {
    pub fn name(&self) -> &SecretName {
        &self.name
    }

    /// As it stands in one list with hosts and models, behind its prefix.
    pub(super) fn written(&self) -> String {
        self.with("@")
    }

    pub(super) fn read_written(text: &str) -> Result<SecretGrant> {
        read(text, '@').map_err(|why| bad(text, &why))
    }

    pub(super) fn allows(&self, name: &SecretName, place: Place, url: &Url) -> bool {
        self.name == *name && self.places.contains(&place) && self.host.allows(url)
    }

    /// Whether it opens all that the other one opens.
    pub(super) fn covers(&self, other: &SecretGrant) -> bool {
        self.name == other.name && self.places.is_superset(&other.places) && self.host.covers(&other.host)
    }

    /// As a grant prints, where it is one; else as it is.
    pub fn shown(text: &str) -> String {
        text.parse::<SecretGrant>().map_or_else(|_| text.to_owned(), |grant| grant.to_string())
    }

    fn with(&self, between: &str) -> String {
        let names: Vec<_> = self.places.iter().map(|place| place.name()).collect();
        let places = if names == [Place::Header.name()] { String::new() } else { format!(":{}", names.join(",")) };
        format!("{}{places}{between}{}", self.name, self.host)
    }
}

impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with("="))
    }
}

impl FromStr for SecretGrant {
    type Err = Error;

    fn from_str(text: &str) -> Result<SecretGrant> {
        read(text.trim(), '=').map_err(|why| bad(text, &why))
    }
}

fn read(text: &str, between: char) -> std::result::Result<SecretGrant, String> {
    let (left, host) =
        text.split_once(between).ok_or_else(|| format!("a name and a host have a `{between}` between"))?;
    let (name, places) = match left.split_once(':') {
        Some((name, places)) => (name, places.split(',').map(place).collect::<std::result::Result<_, _>>()?),
        None => (left, BTreeSet::from([Place::Header])),
    };
    let name = SecretName::new(name).ok_or_else(|| "a name is 1 to 64 of A-Z a-z 0-9 _ -".to_owned())?;
    let host: Grant = host.parse().map_err(|error: Error| error.message)?;
    Ok(SecretGrant { name, places, host })
}

fn place(text: &str) -> std::result::Result<Place, String> {
    let known = Place::ALL.into_iter().find(|place| place.name() == text);
    known.ok_or_else(|| format!("`{}` is no place; there are header, query and body", text.escape_default()))
}

fn bad(text: &str, why: &str) -> Error {
    let hint = "Write a secret and a host like `STRIPE_KEY=api.stripe.com`, or `KEY:query,body=example.com` where it goes \
                elsewhere than into a header.";
    Error::new(Code::BadGrant, format!("`{}`: {why}", text.escape_default())).hint(hint)
}

/// The names in a list of what a function wants, each as a grant is written. What cannot be read is no name: whoever
/// deploys is told of it.
pub fn wanted_names<S: AsRef<str>>(wanted: &[S]) -> BTreeSet<SecretName> {
    let name = |text: &S| SecretName::new(text.as_ref().split([':', '=']).next().unwrap_or_default().trim());
    wanted.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests;
