//! What a deployment may reach: hosts, and models of providers. Patterns, read, matched and printed. Pure; it never
//! resolves a name and never looks at what a name resolves to.
//!
//! A pattern of a host is a scheme (`https` where none is given), a host and a port (the scheme's own where none
//! is given). A host is a name, `*.` and a name for everything below it (not the name itself), or an IP
//! address. Names are compared as browsers do: lower case, punycode, no dot at the end.
//!
//! An IP address or `localhost` has to be granted as such, and that grant opens exactly it, be it
//! loopback, private, link-local or a metadata address. A granted name opens public addresses only: one
//! that resolves to any other is refused where it is resolved.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

use super::address::AddressClass;
use super::model::{ModelGrant, ModelName};
use crate::{Code, Error, Result};

/// A list that a person can still review.
const GRANTS_MAX: usize = 1_000;
/// The longest name of DNS.
const NAME_MAX_BYTES: usize = 253;

/// Stands before a pattern of models in a list of both. No host is written so: the rest has a slash in it.
const MODEL: &str = "model:";

/// Everything that a deployment may reach. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    hosts: BTreeSet<Grant>,
    models: BTreeSet<ModelGrant>,
}

/// One host pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    scheme: Scheme,
    host: HostPattern,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scheme {
    Https,
    Http,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum HostPattern {
    Name(String),
    /// Every name that ends in a dot and this one.
    Below(String),
    Address(IpAddr),
}

impl Grants {
    /// Hosts, and models as [`Grants::patterns`] writes them. Fails with `BadGrant`, naming the pattern and what would
    /// be right.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Grants> {
        check_count(patterns.len())?;
        let mut grants = Grants::default();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            match pattern.strip_prefix(MODEL) {
                Some(model) => _ = grants.models.insert(model.parse()?),
                None => _ = grants.hosts.insert(pattern.parse()?),
            }
        }
        Ok(grants)
    }

    /// From the two lists that people write.
    pub fn of<S: AsRef<str>>(hosts: &[S], models: &[S]) -> Result<Grants> {
        check_count(hosts.len().saturating_add(models.len()))?;
        let hosts = hosts.iter().map(|host| host.as_ref().parse()).collect::<Result<_>>()?;
        let models = models.iter().map(|model| model.as_ref().parse()).collect::<Result<_>>()?;
        Ok(Grants { hosts, models })
    }

    /// A pattern of models as it stands in a list with hosts.
    pub fn written_model(pattern: &str) -> String {
        format!("{MODEL}{pattern}")
    }

    /// Whether it is one, and which.
    pub fn as_model(pattern: &str) -> Option<&str> {
        pattern.strip_prefix(MODEL)
    }

    pub fn allows(&self, url: &Url) -> bool {
        self.hosts.iter().any(|grant| grant.allows(url))
    }

    pub fn allows_model(&self, model: &ModelName) -> bool {
        self.models.iter().any(|grant| grant.allows(model))
    }

    /// The patterns, in their shortest form; [`Grants::parse`] reads them back.
    pub fn patterns(&self) -> impl Iterator<Item = String> + '_ {
        let models = self.models.iter().map(|model| Grants::written_model(&model.to_string()));
        self.hosts.iter().map(Grant::to_string).chain(models)
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.models.is_empty()
    }

    /// Both together.
    pub fn union(&self, other: &Grants) -> Grants {
        Grants {
            hosts: self.hosts.union(&other.hosts).cloned().collect(),
            models: self.models.union(&other.models).cloned().collect(),
        }
    }
}

fn check_count(count: usize) -> Result<()> {
    match count > GRANTS_MAX {
        true => Err(Error::new(Code::BadGrant, format!("{count} patterns; at most {GRANTS_MAX} can be granted"))),
        false => Ok(()),
    }
}

impl Grant {
    /// The narrowest pattern that allows `url`, if one can.
    pub fn of_url(url: &Url) -> Option<Grant> {
        let scheme = Scheme::of_url(url)?;
        let host = HostPattern::of_host(url.host()?.to_owned()).ok()?;
        Some(Grant { scheme, host, port: url.port_or_known_default()? })
    }

    fn allows(&self, url: &Url) -> bool {
        let Some(wanted) = Grant::of_url(url) else { return false };
        let host_fits = match (&self.host, &wanted.host) {
            (HostPattern::Below(above), HostPattern::Name(name)) => {
                name.strip_suffix(above.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (granted, wanted) => granted == wanted,
        };
        host_fits && self.scheme == wanted.scheme && self.port == wanted.port
    }
}

impl Scheme {
    fn of_url(url: &Url) -> Option<Scheme> {
        match url.scheme() {
            "https" => Some(Scheme::Https),
            "http" => Some(Scheme::Http),
            _ => None,
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Https => 443,
            Scheme::Http => 80,
        }
    }
}

impl HostPattern {
    fn of_host(host: Host<String>) -> std::result::Result<HostPattern, String> {
        let address = match host {
            Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                // A star in a URL is no pattern; written down it would be read as one.
                let is_name = (1..=NAME_MAX_BYTES).contains(&name.len()) && !name.contains('*');
                if !is_name || name.split('.').any(str::is_empty) {
                    return Err("the host is not a name that DNS can hold".to_owned());
                }
                return Ok(HostPattern::Name(name.to_owned()));
            }
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        let class = AddressClass::of(address);
        if class.is_never_a_host() {
            return Err(format!("{address} is a {class} address, which no grant can open"));
        }
        Ok(HostPattern::Address(address))
    }
}

impl FromStr for Grant {
    type Err = Error;

    fn from_str(pattern: &str) -> Result<Grant> {
        read(pattern.trim()).map_err(|why| {
            Error::new(Code::BadGrant, format!("`{}`: {why}", pattern.escape_default())).hint(
                "Write a host like `example.com`, `example.com:8443`, `*.example.com` or `http://127.0.0.1:8080`.",
            )
        })
    }
}

fn read(pattern: &str) -> std::result::Result<Grant, String> {
    let (scheme, rest) = match pattern.split_once("://") {
        None => (Scheme::Https, pattern),
        Some((name, rest)) if name.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((name, rest)) if name.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
        Some((name, _)) => return Err(format!("the scheme `{name}` is neither `https` nor `http`")),
    };
    // The slash that comes along when an address is copied from a browser.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(stranger) = rest.chars().find(|c| "/?#@\\%".contains(*c) || c.is_whitespace() || c.is_control()) {
        return Err(format!("a grant is a host and a port, so `{}` cannot be in it", stranger.escape_default()));
    }
    let (host, port) = split_port(rest, scheme)?;
    let (below, host) = match host.strip_prefix("*.") {
        Some(host) => (true, host),
        None => (false, host),
    };
    if host.contains('*') {
        return Err("`*` stands for whole labels at the front only, as in `*.example.com`".to_owned());
    }
    let parsed = Host::parse(host).map_err(|error| format!("the host cannot be read: {error}"))?;
    let host = match (below, HostPattern::of_host(parsed)?) {
        (false, host) => host,
        (true, HostPattern::Name(name)) if name.contains('.') => HostPattern::Below(name),
        (true, HostPattern::Name(name)) => {
            return Err(format!("`*.{name}` is too wide; name at least two labels, as in `*.example.com`"));
        }
        (true, _) => return Err("an IP address has nothing below it".to_owned()),
    };
    Ok(Grant { scheme, host, port })
}

fn split_port(text: &str, scheme: Scheme) -> std::result::Result<(&str, u16), String> {
    // The colons of an IPv6 address stand inside brackets.
    let host_end = match text.rfind(']') {
        Some(place) => place + 1,
        None if text.matches(':').count() > 1 => {
            return Err("an IPv6 address stands in brackets, as in `[2001:db8::1]:8443`".to_owned());
        }
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(host_end);
    if port.is_empty() {
        return Ok((host, scheme.port()));
    }
    let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(0) | None => Err(format!("`{port}` is not a port; ports are 1 to 65535, as in `example.com:8443`")),
        Some(port) => Ok((host, port)),
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::Http {
            f.write_str("http://")?;
        }
        match &self.host {
            HostPattern::Name(name) => f.write_str(name)?,
            HostPattern::Below(name) => write!(f, "*.{name}")?,
            HostPattern::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        if self.port != self.scheme.port() { write!(f, ":{}", self.port) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
