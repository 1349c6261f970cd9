//! The secrets of one exchange: which its request names, what they are at this try, and that none comes back. It never
//! asks for a value before all that is named was found to be granted.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use std::collections::{BTreeMap, BTreeSet};
use trackway_replay::{Failure, code};
use url::Url;

use super::placeholder::{Spelling, filled, names};
use super::redact::Redactor;
use super::{Place, Secret, SecretName, Vault};
use crate::effects::HttpCall;
use crate::effects::answer::Answer;

/// In one request: more would only make it larger.
const PLACEHOLDERS_MAX: usize = 32;

pub(in crate::effects) struct Purse {
    named: BTreeSet<SecretName>,
    /// All of the deployment: a server may tell of an earlier request.
    hidden: BTreeSet<SecretName>,
    values: BTreeMap<SecretName, Secret>,
    redactor: Redactor,
}

impl Purse {
    /// Refuses what the deployment or the function may not send there.
    pub fn of(call: &HttpCall) -> Result<Purse, Failure> {
        let request = &call.request;
        let named = named(Some(&request.url), &request.headers, request.body.as_ref())?;
        if named.len() > PLACEHOLDERS_MAX {
            let message = format!("the request names secrets {} times; at most {PLACEHOLDERS_MAX}", named.len());
            return Err(Failure::permanent(code::TOO_MANY, message));
        }
        for (place, name) in &named {
            if !call.allow.allows_secret(name, *place, &request.url) {
                return Err(not_granted(call, *place, name));
            }
        }
        let named = named.into_iter().map(|(_, name)| name).collect();
        let hidden = call.allow.secrets().cloned().collect();
        Ok(Purse { named, hidden, values: BTreeMap::new(), redactor: Redactor::default() })
    }

    /// The values as they are now; what was one at an earlier try stays hidden.
    pub async fn open(&mut self, vault: &dyn Vault, call: &HttpCall) -> Result<(), Failure> {
        self.values.clear();
        for name in self.hidden.union(&self.named) {
            let is_named = self.named.contains(name);
            match vault.secret(call.tenant, name.clone()).await {
                Ok(Some(value)) => {
                    self.redactor.add(name, &value);
                    if is_named {
                        self.values.insert(name.clone(), value);
                    }
                }
                // It is not sent, so it is not known there either.
                Ok(None) | Err(_) if !is_named => {}
                Ok(None) => {
                    let message = format!("there is no secret `{name}`; make it with `trackway secrets set {name}`");
                    return Err(Failure::permanent(code::SECRET_UNKNOWN, message));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Whether headers or body name secrets.
    pub fn is_named_in(headers: &HeaderMap, body: Option<&Bytes>) -> bool {
        !named(None, headers, body).is_ok_and(|named| named.is_empty())
    }

    pub fn fill_query(&self, url: &mut Url) -> Result<(), Failure> {
        let query = url.query().map(|query| filled(query.as_bytes(), Spelling::Percent, &self.values)).transpose()?;
        if let Some(query) = query.flatten() {
            // A query is ASCII, and so is what was put into it.
            url.set_query(std::str::from_utf8(&query).ok());
        }
        Ok(())
    }

    pub fn fill_headers(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        for (name, value) in headers.iter_mut() {
            let Some(whole) = filled(value.as_bytes(), Spelling::Plain, &self.values)? else { continue };
            *value = HeaderValue::from_bytes(&whole).map_err(|_| {
                let message =
                    format!("a secret for the header `{name}` holds a line break or another control character");
                Failure::permanent(code::SECRET_DENIED, message)
            })?;
            // Keeps it out of anything that prints a request, and out of the tables of HTTP/2.
            value.set_sensitive(true);
        }
        Ok(())
    }

    pub fn fill_body(&self, headers: &HeaderMap, body: Option<Bytes>) -> Result<Option<Bytes>, Failure> {
        let Some(body) = body else { return Ok(None) };
        let whole = filled(&body, spelling(headers), &self.values)?;
        Ok(Some(whole.map_or(body, |mut whole| std::mem::take(&mut *whole).into())))
    }

    /// Whether an address that a server made holds a secret.
    pub fn is_in(&self, url: &Url) -> bool {
        self.redactor.is_in(url.as_str())
    }

    pub fn redact_answer(&self, answer: &mut Answer) {
        self.redactor.headers(&mut answer.headers);
        self.redactor.body(&mut answer.body);
    }

    pub fn redact_failure(&self, failure: Failure) -> Failure {
        self.redactor.failure(failure)
    }
}

/// What the parts of a request name, each as often as it does.
fn named(url: Option<&Url>, headers: &HeaderMap, body: Option<&Bytes>) -> Result<Vec<(Place, SecretName)>, Failure> {
    let mut all = Vec::new();
    let mut add = |place: Place, found: Vec<SecretName>| all.extend(found.into_iter().map(|name| (place, name)));
    if let Some(url) = url {
        if let Some(name) = names(url.path().as_bytes(), Spelling::Percent)?.first() {
            let message = format!("the secret `{name}` is named in the path; it can stand in a header, query or body");
            return Err(Failure::permanent(code::SECRET_DENIED, message));
        }
        add(Place::Query, names(url.query().unwrap_or_default().as_bytes(), Spelling::Percent)?);
    }
    for value in headers.values() {
        add(Place::Header, names(value.as_bytes(), Spelling::Plain)?);
    }
    if let Some(body) = body {
        add(Place::Body, names(body, spelling(headers))?);
    }
    Ok(all)
}

/// That of a body, as its headers say.
fn spelling(headers: &HeaderMap) -> Spelling {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => Spelling::Percent,
        kind if kind == "application/json" || kind.ends_with("+json") => Spelling::Json,
        _ => Spelling::Plain,
    }
}

fn not_granted(call: &HttpCall, place: Place, name: &SecretName) -> Failure {
    let url = call.request.url();
    let origin = url.origin().ascii_serialization();
    let message = match (call.allow.wants_secret(name), crate::effects::Grant::of_url(url)) {
        (false, _) => format!("the function does not list the secret `{name}`; name it in its `secrets`"),
        (true, Some(host)) => {
            let places = if place == Place::Header { String::new() } else { format!(":{}", place.name()) };
            format!(
                "the secret `{name}` is not granted to this deployment for a {} towards `{origin}`; allow it with \
                 `trackway deploy --allow-secret {name}{places}={host}`",
                place.name()
            )
        }
        (true, None) => format!("the secret `{name}` cannot be granted towards `{origin}`"),
    };
    Failure::permanent(code::SECRET_DENIED, message)
}
