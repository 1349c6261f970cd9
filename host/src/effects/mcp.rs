//! MCP servers that a deployment names: the pairs `NAME=URL` that people write, and the addresses `mcp://NAME` that guests
//! do. Pure; nothing is sent from here.

use std::fmt;
use std::str::FromStr;
use trackway_replay::{Failure, code};
use url::Url;

use super::grants::{Grant, Grants};
use super::request::check_url;
use crate::{Code, Error, Result};

/// The tools of a server are called by its name and theirs, and models take 64 bytes for both.
const NAME_MAX_BYTES: usize = 32;
/// As long as people can review.
const URL_MAX_BYTES: usize = 1 << 10;
/// Of an address that names a server.
const SCHEME: &str = "mcp";

/// A server and where it is: exactly this address may be asked by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct McpServer {
    name: String,
    url: Url,
}

impl McpServer {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl FromStr for McpServer {
    type Err = Error;

    fn from_str(pair: &str) -> Result<McpServer> {
        read(pair.trim()).map_err(|why| {
            Error::new(Code::BadGrant, format!("`{}`: {why}", pair.escape_default()))
                .hint("Write a name and where its server is, as `library=https://mcp.example.com/mcp`.")
        })
    }
}

impl fmt::Display for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.url)
    }
}

fn read(pair: &str) -> std::result::Result<McpServer, String> {
    let Some((name, url)) = pair.split_once('=') else {
        return Err("an MCP server is a name, `=` and its URL".to_owned());
    };
    if !is_name(name) {
        return Err(format!("the name of an MCP server is 1 to {NAME_MAX_BYTES} of A-Z a-z 0-9 _ -"));
    }
    if url.len() > URL_MAX_BYTES {
        return Err(format!("the URL has {} bytes; at most {URL_MAX_BYTES} are taken", url.len()));
    }
    let url: Url = url.parse().map_err(|error| format!("the URL cannot be read: {error}"))?;
    // Everybody who may list deployments reads it.
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL ends with its path: credentials go into a header".to_owned());
    }
    let url = check_url(url).map_err(|why| format!("the URL {why}"))?;
    if Grant::of_url(&url).is_none() {
        return Err("no grant can open that address".to_owned());
    }
    Ok(McpServer { name: name.to_owned(), url })
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether a guest means a server by its name.
pub(super) fn is_address(url: &Url) -> bool {
    url.scheme() == SCHEME
}

/// Such an address is a name and nothing else: where its server is only the host knows.
pub(super) fn check_address(url: Url) -> std::result::Result<Url, String> {
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let has_no_more = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    match url.host_str().is_some_and(is_name) && is_bare && has_no_more {
        true => Ok(url),
        false => Err(format!("is no name of an MCP server, as `{SCHEME}://library`")),
    }
}

/// Where the server is that `url` names, as the deployment has it. `None`: it names none.
pub(super) fn place<'a>(url: &Url, allow: &'a Grants) -> std::result::Result<Option<&'a Url>, Failure> {
    if !is_address(url) {
        return Ok(None);
    }
    let name = url.host_str().unwrap_or_default();
    allow.mcp_server(name).map(Some).ok_or_else(|| {
        let message = format!(
            "this deployment has no MCP server `{name}`; say where it is with `trackway deploy --mcp {name}=URL`"
        );
        Failure::permanent(code::EGRESS_DENIED, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_and_an_address_without_anything_secret() {
        for (pair, expected) in [
            ("library=https://mcp.example.com/mcp", Ok("library=https://mcp.example.com/mcp")),
            (" a-b_C9=http://127.0.0.1:9000 ", Ok("a-b_C9=http://127.0.0.1:9000/")),
            ("a=https://EXAMPLE.com:443/A/b/", Ok("a=https://example.com/A/b/")),
            ("library", Err("a name, `=` and its URL")),
            ("=https://example.com", Err("the name of an MCP server")),
            ("a.b=https://example.com", Err("the name of an MCP server")),
            ("a=example.com", Err("cannot be read")),
            ("a=mcp://b", Err("only `http` and `https`")),
            ("a=https://u:p@example.com", Err("user name or password")),
            ("a=https://example.com/mcp?key=1", Err("ends with its path")),
            ("a=https://example.com/mcp#x", Err("ends with its path")),
            ("a=http://0.0.0.0/", Err("no grant can open")),
            ("a=https://*.example.com/", Err("no grant can open")),
        ] {
            let read = pair.parse::<McpServer>().map(|server| server.to_string());
            match (&read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(error), Err(why)) => assert!(error.to_string().contains(why), "{pair}: {error}"),
                _ => panic!("{pair}: {read:?}"),
            }
        }
    }

    #[test]
    fn an_address_of_a_server_is_its_name_and_leads_where_the_deployment_says() {
        let allow = Grants::parse(&["mcp:library=https://mcp.example.com/mcp"]).expect("a server");
        let check = |text: &str| check_address(text.parse().expect("a URL"));
        for text in ["mcp://library", "mcp://library/"] {
            let url = check(text).expect(text);
            let found = place(&url, &allow).expect("it is named").map(Url::as_str);
            assert_eq!(found, Some("https://mcp.example.com/mcp"));
        }
        for text in
            ["mcp:library", "mcp://", "mcp://a.b", "mcp://a/b", "mcp://a?b", "mcp://a#b", "mcp://a:1", "mcp://u@a"]
        {
            check(text).expect_err(text);
        }
        let denied = place(&"mcp://Library".parse().expect("a URL"), &allow).expect_err("another name");
        assert_eq!(denied.code, code::EGRESS_DENIED);
        assert!(denied.message.contains("--mcp Library=URL"), "{denied}");
        let plain = "https://mcp.example.com/mcp".parse().expect("a URL");
        assert_eq!(place(&plain, &allow), Ok(None));
        assert!(!allow.allows(&plain), "it is opened by its name only");
    }
}
