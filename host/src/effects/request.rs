//! A guest's HTTP request, read from JSON text and checked against the contract. Pure; whether it may
//! be sent is the gate's to say.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Failure, code};
use url::Url;

use super::fields::{Fields, key, label, span, string, timeout};
use super::mcp;
use super::tries::TRIES_MAX;

/// One value that a model or a form takes; larger ones belong into a store that the guest names.
pub const BODY_MAX_BYTES: usize = 8 << 20;
/// What common servers accept.
const HEADERS_MAX: usize = 100;
const HEADERS_MAX_BYTES: usize = 64 << 10;
const URL_MAX_BYTES: usize = 16 << 10;
const METHOD_MAX_BYTES: usize = 32;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// The header that carries the idempotency key.
pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// They frame the message or belong to one connection, so the host alone writes them.
const HEADERS_OF_THE_HOST: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A request that has been read and checked against the contract.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) timeout: Duration,
    /// How often it may be sent, the first time included.
    pub(super) tries_max: usize,
    key: Option<Arc<str>>,
    label: Option<Arc<str>>,
    span: Option<u32>,
}

impl HttpRequest {
    /// Reads the two texts of `effect.http`. Fails with `BAD_REQUEST`, `BAD_OPTIONS` or `TOO_LARGE`, none
    /// of them retryable, naming the field.
    pub fn parse(request: &str, options: &str) -> Result<HttpRequest, Failure> {
        let mut fields = Fields::read("request", code::BAD_REQUEST, request)?;
        let method = fields.take("method", method)?.unwrap_or(Method::GET);
        let url = fields.take("url", url)?.ok_or_else(|| fields.bad("url", "is missing"))?;
        let mut headers = fields.take("headers", headers)?.unwrap_or_default();
        let text = fields.take("body", |value| Ok(Bytes::from(string(value)?)))?;
        let bytes = fields.take("body_base64", base64)?;
        if text.is_some() && bytes.is_some() {
            return Err(fields.bad("body_base64", "cannot stand beside `body`; give one of them"));
        }
        let body = text.or(bytes);
        fields.end()?;
        if let Some(size) = body.as_ref().map(Bytes::len).filter(|size| *size > BODY_MAX_BYTES) {
            let message = format!("the request body has {size} bytes; at most {BODY_MAX_BYTES} are sent");
            return Err(Failure::permanent(code::TOO_LARGE, message));
        }

        let header_key = key_of_headers(&mut headers)?;
        let HttpOptions { label, timeout, tries_max, key, span } = HttpOptions::parse(options)?;
        if header_key.is_some() && key.is_some() && header_key != key {
            let message = "`idempotency_key` differs from the header `idempotency-key`; give one of them";
            return Err(Failure::permanent(code::BAD_OPTIONS, message));
        }
        Ok(HttpRequest { method, url, headers, body, timeout, tries_max, key: key.or(header_key), label, span })
    }

    /// Whether the host has to send an idempotency key: the method may change something.
    pub fn wants_key(&self) -> bool {
        ![Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(&self.method)
    }

    /// The author's own idempotency key, which is sent instead of a derived one, with any method.
    pub fn author_key(&self) -> Option<Arc<str>> {
        self.key.clone()
    }

    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The span of the attempt that it belongs to.
    pub fn span(&self) -> Option<u32> {
        self.span
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes: an `mcp://NAME` is a name until it leaves.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same request, to another address.
    pub(super) fn to(self, url: Url) -> HttpRequest {
        HttpRequest { url, ..self }
    }
}

struct HttpOptions {
    label: Option<Arc<str>>,
    timeout: Duration,
    tries_max: usize,
    key: Option<Arc<str>>,
    span: Option<u32>,
}

impl HttpOptions {
    fn parse(text: &str) -> Result<HttpOptions, Failure> {
        let mut fields = Fields::options(text)?;
        let label = fields.take("label", label)?;
        let timeout = fields.take("timeout_ms", |value| timeout(value, TIMEOUT_MAX))?.unwrap_or(TIMEOUT_DEFAULT);
        let key = fields.take("idempotency_key", |value| key(&string(value)?))?;
        let span = fields.take("span", span)?;
        let tries_max = fields.take("tries", tries)?.unwrap_or(TRIES_MAX);
        fields.end()?;
        Ok(HttpOptions { label, timeout, tries_max, key, span })
    }
}

fn method(value: Value) -> Result<Method, String> {
    let text = string(value)?;
    let is_method = (1..=METHOD_MAX_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_');
    match text.as_str() {
        "CONNECT" | "TRACE" => Err(format!("cannot be {text}")),
        _ if is_method => Method::from_bytes(text.as_bytes()).map_err(|error| error.to_string()),
        _ => Err("must be a method in capital letters, as `GET`".to_owned()),
    }
}

fn url(value: Value) -> Result<Url, String> {
    let text = string(value)?;
    if text.len() > URL_MAX_BYTES {
        return Err(format!("has {} bytes; at most {URL_MAX_BYTES} are sent", text.len()));
    }
    let url: Url = text.parse().map_err(|error| format!("is not an absolute URL: {error}"))?;
    if mcp::is_address(&url) { mcp::check_address(url) } else { check_url(url) }
}

/// What holds for every URL that is sent to, redirects included. The fragment stays at home, and so
/// does a dot at the end of the host, so that what was granted, resolved and named to the server is
/// one name.
pub(super) fn check_url(mut url: Url) -> Result<Url, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has the scheme `{}`; only `http` and `https` are sent", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; send an `authorization` header".to_owned());
    }
    if url.port() == Some(0) {
        return Err("has the port 0, on which nobody can listen; ports are 1 to 65535".to_owned());
    }
    url.set_fragment(None);
    if let Some(host) = url.domain().and_then(|name| name.strip_suffix('.')).map(str::to_owned) {
        url.set_host(Some(&host)).map_err(|error| format!("has a bad host: {error}"))?;
    }
    Ok(url)
}

fn headers(value: Value) -> Result<HeaderMap, String> {
    let Value::Array(pairs) = value else { return Err("must be an array of `[name, value]`".to_owned()) };
    if pairs.len() > HEADERS_MAX {
        return Err(format!("has {} headers; at most {HEADERS_MAX} are sent", pairs.len()));
    }
    let mut headers = HeaderMap::new();
    let mut size_bytes = 0;
    for (place, pair) in pairs.into_iter().enumerate() {
        let (name, value) = header(pair).map_err(|why| format!("at {place} {why}"))?;
        size_bytes += name.as_str().len() + value.len();
        headers.append(name, value);
    }
    if size_bytes > HEADERS_MAX_BYTES {
        return Err(format!("has {size_bytes} bytes; at most {HEADERS_MAX_BYTES} are sent"));
    }
    Ok(headers)
}

fn header(pair: Value) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = serde_json::from_value::<(String, String)>(pair)
        .map_err(|_| "must be `[name, value]`, both strings".to_owned())?;
    // Both types refuse what would end a line, and so begin another header or request.
    let shown = name.escape_debug().to_string();
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("has a bad name `{shown}`"))?;
    if HEADERS_OF_THE_HOST.contains(&name.as_str()) {
        return Err(format!("is `{name}`, which the host alone sends"));
    }
    let mut value = HeaderValue::from_bytes(value.trim().as_bytes())
        .map_err(|_| format!("has a control character in the value of `{name}`"))?;
    // Keeps them out of anything that prints a request.
    value.set_sensitive(name == header::AUTHORIZATION || name == header::COOKIE);
    Ok((name, value))
}

fn key_of_headers(headers: &mut HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    let bad =
        |why: &str| Failure::permanent(code::BAD_REQUEST, format!("`headers` in `request`: `{KEY_HEADER}` {why}"));
    if headers.get_all(KEY_HEADER).iter().count() > 1 {
        return Err(bad("stands there twice"));
    }
    let Some(value) = headers.remove(KEY_HEADER) else { return Ok(None) };
    let text = value.to_str().map_err(|_| bad("must be printable ASCII"))?;
    key(text).map(Some).map_err(|why| bad(&why))
}

fn tries(value: Value) -> Result<usize, String> {
    let tries = value.as_u64().and_then(|tries| usize::try_from(tries).ok());
    let tries = tries.filter(|tries| (1..=TRIES_MAX).contains(tries));
    tries.ok_or_else(|| format!("must be a whole number from 1 to {TRIES_MAX}"))
}

fn base64(value: Value) -> Result<Bytes, String> {
    let text = string(value)?;
    BASE64_STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("is not base64: {error}"))
}

#[cfg(test)]
mod tests;
