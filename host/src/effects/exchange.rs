//! One try of an exchange: request, redirects, answer. Every address is put before the gate; nothing
//! here decides on further tries.

use bytes::{Bytes, BytesMut};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use std::error::Error as _;
use trackway_replay::{Failure, code};
use url::Url;

use super::HttpCall;
use super::answer::Answer;
use super::grants::{Grant, Grants};
use super::request::{KEY_HEADER, check_url};
use super::resolver::Denied;
use super::secret::Purse;

/// As in browsers' older days; a chain that is longer is a loop.
const REDIRECTS_MAX: usize = 10;
/// What a guest can be given as one value, with room for base64.
pub(super) const ANSWER_MAX_BYTES: usize = 8 << 20;

/// All that another origin is told. The rest may be meant for the first one only: credentials have no
/// list of names.
const HEADERS_FOR_ANYONE: [HeaderName; 10] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::RANGE,
    header::USER_AGENT,
];
const HEADERS_OF_A_BODY: [HeaderName; 4] =
    [header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION, header::CONTENT_TYPE];

/// How a try ended.
#[derive(Debug)]
pub(super) struct Tried {
    pub result: Result<Answer, Broken>,
    /// Whether doing it all again does no harm: every request so far was idempotent or carried a key.
    pub repeatable: bool,
}

#[derive(Debug)]
pub(super) enum Broken {
    /// May pass by itself.
    Transport(Failure),
    /// The same request fails the same way.
    ForGood(Failure),
}

/// Refuses what the deployment was not granted.
pub(super) fn gate(url: &Url, allow: &Grants) -> Result<(), Failure> {
    if allow.allows(url) {
        return Ok(());
    }
    let origin = url.origin().ascii_serialization();
    let message = match Grant::of_url(url) {
        Some(grant) => format!(
            "`{origin}` is not granted to this deployment; allow it with `trackway deploy --allow-host {grant}`"
        ),
        None => format!("`{origin}` is an address that no grant can open"),
    };
    Err(Failure::permanent(code::EGRESS_DENIED, message))
}

/// Drives one try to its end. What it gives may still hold what `purse` hides.
pub(super) async fn exchange(client: &Client, call: &HttpCall, purse: &Purse) -> Tried {
    let mut hop = Hop::first(call);
    let mut repeatable = true;
    for _ in 0..=REDIRECTS_MAX {
        repeatable &= hop.is_repeatable();
        let request = match hop.request(purse) {
            Ok(request) => request,
            Err(failure) => return Tried { result: Err(Broken::ForGood(failure)), repeatable },
        };
        let response = match client.execute(request).await {
            Ok(response) => response,
            Err(error) => return Tried { result: Err(broken(&hop.url, error)), repeatable },
        };
        hop = match hop.follow(&response, &call.allow, purse) {
            Ok(Some(next)) => next,
            Ok(None) => return Tried { result: read(&hop.url, response).await, repeatable },
            Err(denied) => return Tried { result: Err(Broken::ForGood(denied)), repeatable },
        };
    }
    let message = format!("`{}` redirects more than {REDIRECTS_MAX} times", call.request.url());
    Tried { result: Err(Broken::ForGood(Failure::new(code::HTTP_BROKEN, message))), repeatable }
}

/// Whose words an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    Guest,
    /// A server that redirects. It cannot have a secret put anywhere.
    Server,
}

/// One request of a chain of redirects, with placeholders where secrets go.
#[derive(Debug, Clone)]
struct Hop {
    method: Method,
    url: Url,
    author: Author,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Hop {
    fn first(call: &HttpCall) -> Hop {
        let request = &call.request;
        let mut headers = request.headers.clone();
        // A key that cannot stand in a header cannot come from `HttpRequest` or a digest.
        if let Some(key) = call.key.as_deref().and_then(|key| HeaderValue::from_str(key).ok()) {
            headers.insert(KEY_HEADER, key);
        }
        let (method, url, body) = (request.method.clone(), request.url.clone(), request.body.clone());
        Hop { method, url, author: Author::Guest, headers, body }
    }

    fn is_repeatable(&self) -> bool {
        // RFC 9110, 9.2.2.
        let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        idempotent.contains(&self.method) || self.headers.contains_key(KEY_HEADER)
    }

    /// What leaves: here secrets are put into it.
    fn request(&self, purse: &Purse) -> Result<reqwest::Request, Failure> {
        let (mut url, mut headers) = (self.url.clone(), self.headers.clone());
        if self.author == Author::Guest {
            purse.fill_query(&mut url)?;
        }
        purse.fill_headers(&mut headers)?;
        let body = purse.fill_body(&headers, self.body.clone())?;
        let mut request = reqwest::Request::new(self.method.clone(), url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        Ok(request)
    }

    /// The next request, if the answer is a redirect that can be followed.
    fn follow(&self, response: &Response, allow: &Grants, purse: &Purse) -> Result<Option<Hop>, Failure> {
        let Some(target) = self.target(response) else { return Ok(None) };
        let denied = |code: &str, why: &str| {
            let message = format!("`{}` redirects to where it may not: {why}", self.url.origin().ascii_serialization());
            Failure::permanent(code, message)
        };
        let url = check_url(target).map_err(|why| denied(code::EGRESS_DENIED, &format!("the new URL {why}")))?;
        gate(&url, allow).map_err(|failure| denied(code::EGRESS_DENIED, &failure.message))?;
        let next = self.redirected(response.status(), url);
        if next.url.origin() != self.url.origin() {
            if Purse::is_named_in(&next.headers, next.body.as_ref()) {
                return Err(denied(code::SECRET_DENIED, "the request names a secret, which goes to no other host"));
            }
            if purse.is_in(&next.url) {
                return Err(denied(code::SECRET_DENIED, "the address of another host holds a secret"));
            }
        }
        Ok(Some(next))
    }

    fn target(&self, response: &Response) -> Option<Url> {
        match response.status().as_u16() {
            301 | 302 | 303 | 307 | 308 => {}
            _ => return None,
        }
        let location = std::str::from_utf8(response.headers().get(header::LOCATION)?.as_bytes()).ok()?;
        self.url.join(location).ok()
    }

    /// Methods change as in browsers (Fetch standard, HTTP-redirect fetch).
    fn redirected(&self, status: StatusCode, url: Url) -> Hop {
        let mut next = Hop { url, author: Author::Server, ..self.clone() };
        let becomes_get = match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            next.method = Method::GET;
            next.body = None;
            // What the key was for has been done.
            next.headers.remove(KEY_HEADER);
            HEADERS_OF_A_BODY.iter().for_each(|name| drop(next.headers.remove(name)));
        }
        if next.url.origin() != self.url.origin() {
            next.headers = HEADERS_FOR_ANYONE
                .iter()
                .flat_map(|name| next.headers.get_all(name).iter().map(move |value| (name.clone(), value.clone())))
                .collect();
        }
        next
    }
}

async fn read(url: &Url, mut response: Response) -> Result<Answer, Broken> {
    let too_large = || {
        let message = format!("the answer of `{url}` has more than {ANSWER_MAX_BYTES} bytes");
        Broken::ForGood(Failure::permanent(code::TOO_LARGE, message))
    };
    if response.content_length().is_some_and(|size| size > ANSWER_MAX_BYTES as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(url, error))? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let status = response.status();
    Ok(Answer { status, headers: std::mem::take(response.headers_mut()), body: body.freeze() })
}

fn broken(url: &Url, error: reqwest::Error) -> Broken {
    let origin = url.origin().ascii_serialization();
    if let Some(denied) = causes(&error).find_map(|cause| cause.downcast_ref::<Denied>()) {
        return Broken::ForGood(Failure::permanent(code::EGRESS_DENIED, denied.to_string()));
    }
    if error.is_builder() {
        let message = format!("`{origin}` cannot be asked this: {}", last_cause(&error));
        return Broken::ForGood(Failure::permanent(code::BAD_REQUEST, message));
    }
    let (code, what) = match error.is_connect() {
        true => (code::HTTP_CONNECT, "cannot be reached"),
        false => (code::HTTP_BROKEN, "broke the exchange off"),
    };
    Broken::Transport(Failure::new(code, format!("`{origin}` {what}: {}", last_cause(&error))))
}

pub(super) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The outer ones say only that a request failed.
pub(super) fn last_cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}
