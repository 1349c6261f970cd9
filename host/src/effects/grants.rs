//! What a deployment may reach: hosts, models of providers, secrets towards hosts, and MCP servers by their names. Patterns,
//! read, matched and printed. Pure; it never resolves a name and never looks at what a name resolves to.
//!
//! A pattern of a host is a scheme (`https` where none is given), a host and a port (the scheme's own where none
//! is given). A host is a name, `*.` and a name for everything below it (not the name itself), or an IP
//! address. Names are compared as browsers do: lower case, punycode, no dot at the end.
//!
//! An IP address or `localhost` has to be granted as such, and that grant opens exactly it, be it
//! loopback, private, link-local or a metadata address. A granted name opens public addresses only: one
//! that resolves to any other is refused where it is resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

use super::address::AddressClass;
use super::mcp::McpServer;
use super::model::{ModelGrant, ModelName};
use super::secret::{Place, SecretGrant, SecretName, wanted_names};
use crate::{Code, Error, Result};

/// A list that a person can still review.
const GRANTS_MAX: usize = 1_000;
/// The longest name of DNS.
const NAME_MAX_BYTES: usize = 253;

/// Stands before a pattern of models in a list of both. No host is written so: the rest has a slash in it.
const MODEL: &str = "model:";
/// The same of secrets: no host has an `@` in it.
const SECRET: &str = "secret:";
/// Likewise before a name and where its server is.
const MCP: &str = "mcp:";

/// Everything that a deployment may reach. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    hosts: BTreeSet<Grant>,
    models: BTreeSet<ModelGrant>,
    secrets: BTreeSet<SecretGrant>,
    /// Those that a function lists, where it is about one.
    wanted: Option<BTreeSet<SecretName>>,
    /// By their names.
    mcp: BTreeMap<String, McpServer>,
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
    /// Hosts, and all else as [`Grants::patterns`] writes it. Fails with `BadGrant`, naming the pattern and what would
    /// be right.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Grants> {
        check_count(patterns.len())?;
        let mut grants = Grants::default();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            match (pattern.strip_prefix(MODEL), as_secret(pattern), pattern.strip_prefix(MCP)) {
                (Some(model), _, _) => _ = grants.models.insert(model.parse()?),
                (None, Some(secret), _) => _ = grants.secrets.insert(SecretGrant::read_written(secret)?),
                (None, None, Some(server)) => grants.name(server.parse()?)?,
                (None, None, None) => _ = grants.hosts.insert(pattern.parse()?),
            }
        }
        Ok(grants)
    }

    /// From the lists that people write.
    pub fn of<S: AsRef<str>>(hosts: &[S], models: &[S], secrets: &[S], mcp: &[S]) -> Result<Grants> {
        let more = secrets.len().saturating_add(mcp.len());
        check_count(hosts.len().saturating_add(models.len()).saturating_add(more))?;
        let hosts = hosts.iter().map(|host| host.as_ref().parse()).collect::<Result<_>>()?;
        let models = models.iter().map(|model| model.as_ref().parse()).collect::<Result<_>>()?;
        let secrets = secrets.iter().map(|secret| secret.as_ref().parse()).collect::<Result<_>>()?;
        let mut grants = Grants { hosts, models, secrets, wanted: None, mcp: BTreeMap::new() };
        for server in mcp {
            grants.name(server.as_ref().parse()?)?;
        }
        Ok(grants)
    }

    fn name(&mut self, server: McpServer) -> Result<()> {
        let known = self.mcp.entry(server.name().to_owned()).or_insert_with(|| server.clone());
        match *known == server {
            true => Ok(()),
            false => {
                let why =
                    format!("two MCP servers are called `{}`: {} and {}", server.name(), known.url(), server.url());
                Err(Error::new(Code::BadGrant, why))
            }
        }
    }

    /// A pattern of models as it stands in a list with hosts.
    pub fn written_model(pattern: &str) -> String {
        format!("{MODEL}{pattern}")
    }

    /// Whether it is one, and which.
    pub fn as_model(pattern: &str) -> Option<&str> {
        pattern.strip_prefix(MODEL)
    }

    /// A pattern of a secret as it stands in that list. One that cannot be read stays as it is.
    pub fn written_secret(pattern: &str) -> String {
        let read = pattern.parse().map(|secret: SecretGrant| secret.written());
        format!("{SECRET}{}", read.unwrap_or_else(|_| pattern.replacen('=', "@", 1)))
    }

    /// Whether it is one, and which, as people write it.
    pub fn as_secret(pattern: &str) -> Option<String> {
        let written = as_secret(pattern)?;
        Some(SecretGrant::read_written(written).map_or_else(|_| written.replacen('@', "=", 1), |read| read.to_string()))
    }

    /// The same for a function that lists these secrets: the deployment may send others, it may not.
    pub fn for_function<S: AsRef<str>>(&self, wanted: &[S]) -> Grants {
        Grants { wanted: Some(wanted_names(wanted)), ..self.clone() }
    }

    /// Names of all secrets that may be sent anywhere.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.secrets.iter().map(SecretGrant::name)
    }

    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    pub(super) fn wants_secret(&self, name: &SecretName) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(name))
    }

    pub(super) fn allows_secret(&self, name: &SecretName, place: Place, url: &Url) -> bool {
        self.wants_secret(name) && self.secrets.iter().any(|secret| secret.allows(name, place, url))
    }

    /// An MCP server as it stands in a list with hosts.
    pub fn written_mcp(server: &str) -> String {
        format!("{MCP}{server}")
    }

    /// Whether it is one, and which.
    pub fn as_mcp(pattern: &str) -> Option<&str> {
        pattern.strip_prefix(MCP)
    }

    pub fn allows(&self, url: &Url) -> bool {
        self.hosts.iter().any(|grant| grant.allows(url))
    }

    pub fn allows_model(&self, model: &ModelName) -> bool {
        self.models.iter().any(|grant| grant.allows(model))
    }

    /// Where the MCP server of that name is, if there is one.
    pub fn mcp_server(&self, name: &str) -> Option<&Url> {
        self.mcp.get(name).map(McpServer::url)
    }

    /// The patterns, in their shortest form; [`Grants::parse`] reads them back.
    pub fn patterns(&self) -> impl Iterator<Item = String> + '_ {
        let models = self.models.iter().map(|model| Grants::written_model(&model.to_string()));
        let secrets = self.secrets.iter().map(|secret| format!("{SECRET}{}", secret.written()));
        let mcp = self.mcp.values().map(|server| Grants::written_mcp(&server.to_string()));
        self.hosts.iter().map(Grant::to_string).chain(models).chain(secrets).chain(mcp)
    }

    /// The patterns of `other` that open something which none of these opens.
    pub fn lacks_of(&self, other: &Grants) -> Vec<String> {
        let hosts = other.hosts.iter().filter(|wanted| !self.hosts.iter().any(|grant| grant.covers(wanted)));
        let models = other.models.iter().filter(|wanted| !self.models.iter().any(|grant| grant.covers(wanted)));
        let models = models.map(|model| Grants::written_model(&model.to_string()));
        let secrets = other.secrets.iter().filter(|wanted| !self.secrets.iter().any(|grant| grant.covers(wanted)));
        let secrets = secrets.map(|secret| format!("{SECRET}{}", secret.written()));
        let is_open = |server: &McpServer| self.mcp.get(server.name()) == Some(server) || self.allows(server.url());
        let mcp = other.mcp.values().filter(|server| !is_open(server));
        let mcp = mcp.map(|server| Grants::written_mcp(&server.to_string()));
        hosts.map(Grant::to_string).chain(models).chain(secrets).chain(mcp).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.models.is_empty() && self.secrets.is_empty() && self.mcp.is_empty()
    }

    /// Both together; of two MCP servers of one name its own.
    pub fn union(&self, other: &Grants) -> Grants {
        Grants {
            hosts: self.hosts.union(&other.hosts).cloned().collect(),
            models: self.models.union(&other.models).cloned().collect(),
            secrets: self.secrets.union(&other.secrets).cloned().collect(),
            wanted: None,
            mcp: other.mcp.iter().chain(&self.mcp).map(|(name, server)| (name.clone(), server.clone())).collect(),
        }
    }
}

fn as_secret(pattern: &str) -> Option<&str> {
    pattern.strip_prefix(SECRET).filter(|rest| rest.contains('@'))
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

    pub(super) fn allows(&self, url: &Url) -> bool {
        Grant::of_url(url).is_some_and(|wanted| self.covers(&wanted))
    }

    /// Whether it opens all that the other one opens.
    pub(super) fn covers(&self, other: &Grant) -> bool {
        let is_below = |name: &str, above: &str| {
            name.strip_suffix(above).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        };
        let host_fits = match (&self.host, &other.host) {
            (HostPattern::Below(above), HostPattern::Name(name)) => is_below(name, above),
            (HostPattern::Below(above), HostPattern::Below(name)) => name == above || is_below(name, above),
            (granted, wanted) => granted == wanted,
        };
        host_fits && self.scheme == other.scheme && self.port == other.port
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
