//! What the operator, or a tenant of what is its own, wants nobody to see: fields are masked in every answer of the API
//! by their names. It works on what goes over the wire, behind all handlers, so that no view can forget it; it never
//! changes what is stored, or what a guest gets.

mod names;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::problem::Refusal;
use super::scopes::Route;
use crate::host::{Fields, Redacted};
use crate::{Code, Result};

pub use names::{check_count, names_of_fields};

/// What is seen instead.
pub const MASKED: &str = "[redacted]";
/// The same as JSON.
const MASKED_JSON: &str = "\"[redacted]\"";
/// What is nested deeper is masked as a whole: each level is read again, on the stack.
const DEPTH_MAX: usize = 64;
/// Of one event of a stream: an entry's largest value is far below.
const EVENT_MAX_BYTES: usize = 256 << 20;
/// What holds no value of a run: schemas, versions, health, and the rules themselves.
const WITHOUT_VALUES: [&str; 5] =
    ["/v1/health", "/v1/openapi.json", "/v1/redaction", "/v1/redaction/add", "/v1/redaction/remove"];
/// The beginnings of paths that are about no tenant more than about others.
const OF_ALL_TENANTS: [&str; 2] = ["/v1/tenants", "/v1/store/"];
/// The store as it is, for another server. It is no view.
const BACKUP: &str = "/v1/store/backup";
/// Events whose data is a piece of a text: where one ends within a field, nobody can tell.
const PIECES: &str = "delta";
/// In objects of a name and a value, as lists of headers have them.
const NAMED_BY: [&str; 4] = ["name", "key", "field", "header"];
const VALUED_BY: [&str; 2] = ["value", "values"];

/// The names of fields that nobody is to see. Without any, answers stay as they are.
#[derive(Debug, Clone, Default)]
pub struct Mask {
    /// Of whoever runs the server, for all tenants; in lower case, as all names here.
    of_server: Fields,
    /// Beside those, of the tenant whose answer it is.
    of_tenant: Fields,
}

/// Whose rules hold for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// It holds no value of a run, or is no view.
    None,
    /// It is about all tenants, and tells of none what it keeps in fields.
    Server,
    /// The tenant's, beside the server's.
    Tenant,
}

impl Rules {
    /// `None`: what no route names is still an answer to somebody.
    pub fn of(route: Option<&Route>) -> Rules {
        match route {
            Some(route) if WITHOUT_VALUES.contains(&route.path) => Rules::None,
            Some(route) if OF_ALL_TENANTS.iter().any(|path| route.path.starts_with(path)) => Rules::Server,
            Some(_) | None => Rules::Tenant,
        }
    }
}

impl Mask {
    /// Refuses what cannot be redacted.
    pub fn new<'a>(fields: impl IntoIterator<Item = &'a str>) -> Result<Mask> {
        let of_server = Arc::new(names_of_fields(fields, Code::BadConfig)?);
        Ok(Mask { of_server, of_tenant: Fields::default() })
    }

    /// Of whoever runs the server.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.of_server
    }

    /// What is masked now, if a tenant wants that.
    fn with(&self, of_tenant: Option<&Redacted>) -> Mask {
        let of_tenant = of_tenant.map(Redacted::fields).unwrap_or_default();
        Mask { of_server: Arc::clone(&self.of_server), of_tenant }
    }

    fn is_empty(&self) -> bool {
        self.of_server.is_empty() && self.of_tenant.is_empty()
    }

    /// The answer to a request, with what it shows masked. What cannot be masked is not shown. Rules of a tenant that
    /// change while it is given hold for the rest of it.
    pub(super) async fn apply(
        &self,
        route: Option<&Route>,
        of_tenant: Option<Arc<Redacted>>,
        response: Response,
    ) -> Response {
        let kind = kind_of(response.headers());
        let mask = self.with(of_tenant.as_deref());
        // A stream may go on until there are rules.
        let is_open = matches!(kind, Kind::Events) && of_tenant.is_some();
        if Rules::of(route) == Rules::None || (mask.is_empty() && !is_open) {
            return response;
        }
        match kind {
            Kind::Nothing if response.body().size_hint().exact() == Some(0) => response,
            Kind::Json => mask.whole(response).await,
            Kind::Events => mask.events(response, of_tenant),
            Kind::Other if route.is_some_and(|route| route.path == BACKUP) => response,
            Kind::Nothing | Kind::Other => unmasked(),
        }
    }

    async fn whole(&self, response: Response) -> Response {
        let (mut head, body) = response.into_parts();
        // The handler has it in memory as a whole, so this takes no more than that once more.
        let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else { return unmasked() };
        let Some(text) = std::str::from_utf8(&bytes).ok().filter(|_| !bytes.is_empty()) else {
            return if bytes.is_empty() { (head, Body::empty()).into_response() } else { unmasked() };
        };
        let body = match self.json(text, 0) {
            None => Body::from(bytes),
            Some(masked) => Body::from(masked),
        };
        head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(head, body)
    }

    fn events(self, response: Response, of_tenant: Option<Arc<Redacted>>) -> Response {
        let (head, body) = response.into_parts();
        let mut held = Vec::new();
        let masked = body.into_data_stream().map(move |piece| {
            let piece = piece?;
            let mask = self.with(of_tenant.as_deref());
            if mask.is_empty() && held.is_empty() && piece.ends_with(b"\n\n") {
                return Ok(piece);
            }
            held.extend_from_slice(&piece);
            let mut ready = String::new();
            while let Some(end) = held.windows(2).position(|two| two == b"\n\n") {
                let rest = held.split_off(end + 2);
                let event = std::mem::replace(&mut held, rest);
                ready.push_str(&mask.event(&String::from_utf8_lossy(&event)));
            }
            if held.len() > EVENT_MAX_BYTES {
                return Err(axum::Error::new(std::io::Error::other("an event is too large to be masked")));
            }
            Ok(Bytes::from(ready))
        });
        Response::from_parts(head, Body::from_stream(masked))
    }

    /// One event as it goes over the wire, with the empty line at its end.
    fn event(&self, event: &str) -> String {
        let of = |field: &str| -> Vec<&str> {
            let value = |line: &'_ str| line.strip_prefix(field).and_then(|line| line.strip_prefix(':')).is_some();
            let lines = event.lines().filter(|line| value(line));
            lines.map(|line| &line[field.len() + 1..]).map(|line| line.strip_prefix(' ').unwrap_or(line)).collect()
        };
        let data = of("data");
        if data.is_empty() || self.is_empty() {
            return event.to_owned();
        }
        let data = data.join("\n");
        let masked = match of("event").as_slice() {
            [PIECES] => pieces(&data),
            _ => self.json(&data, 0),
        };
        let Some(masked) = masked else { return event.to_owned() };
        let mut text: String = event
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with("data:"))
            .map(|line| format!("{line}\n"))
            .collect();
        masked.lines().for_each(|line| text.push_str(&format!("data: {line}\n")));
        text + "\n"
    }

    /// The JSON text with what is to be masked; nothing where it may stay as it is. What is no JSON is masked whole.
    fn json(&self, text: &str, depth: usize) -> Option<String> {
        let masked = || Some(MASKED_JSON.to_owned());
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        match text.as_bytes().first() {
            Some(b'{') if depth < DEPTH_MAX => match serde_json::from_str(text) {
                Ok(Members(members)) => self.object(&members, depth),
                Err(_) => masked(),
            },
            Some(b'[') if depth < DEPTH_MAX => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => self.array(&items, depth),
                Err(_) => masked(),
            },
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(text) => self.text(&text, depth).map(|text| quoted(&text)),
                Err(_) => masked(),
            },
            Some(b'-' | b'0'..=b'9') => None,
            Some(_) if ["true", "false", "null"].contains(&text) => None,
            Some(_) | None => masked(),
        }
    }

    fn object(&self, members: &[(String, &RawValue)], depth: usize) -> Option<String> {
        let names_one = |(key, value): &(String, &RawValue)| NAMED_BY.contains(&&**key) && self.is_name(value);
        let is_named = members.iter().any(names_one);
        let shown = members.iter().map(|(key, value)| {
            let masked = match self.is_field(key) || (is_named && VALUED_BY.contains(&&**key)) {
                true => Some(MASKED_JSON.to_owned()),
                false => self.json(value.get(), depth + 1),
            };
            (key, value, masked)
        });
        let shown: Vec<_> = shown.collect();
        shown.iter().any(|(.., masked)| masked.is_some()).then(|| {
            let members = shown.iter().map(|(key, value, masked)| {
                format!("{}:{}", quoted(key), masked.as_deref().unwrap_or_else(|| value.get()))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    }

    /// A name is followed by its value, as in a list of headers.
    fn array(&self, items: &[&RawValue], depth: usize) -> Option<String> {
        let named_from = items.iter().position(|item| self.is_name(item)).unwrap_or(items.len());
        let shown = items.iter().enumerate().map(|(place, item)| match place > named_from {
            true => (item, Some(MASKED_JSON.to_owned())),
            false => (item, self.json(item.get(), depth + 1)),
        });
        let shown: Vec<_> = shown.collect();
        shown.iter().any(|(_, masked)| masked.is_some()).then(|| {
            let items = shown.iter().map(|(item, masked)| masked.as_deref().unwrap_or_else(|| item.get()));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        })
    }

    /// A text may be JSON itself, as the body of a request is, or bytes in base64; any other that speaks of a field is
    /// masked whole, for nobody knows where in it the value stands.
    fn text(&self, text: &str, depth: usize) -> Option<String> {
        let start = text.trim_start();
        if start.starts_with(['{', '[', '"']) && serde_json::from_str::<&RawValue>(text).is_ok() {
            return self.json(text, depth + 1);
        }
        if self.speaks_of_one(text) {
            return Some(MASKED.to_owned());
        }
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        self.speaks_of_one(&String::from_utf8_lossy(&bytes)).then(|| MASKED.to_owned())
    }

    fn is_field(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.of_server.contains(&name) || self.of_tenant.contains(&name)
    }

    fn is_name(&self, value: &RawValue) -> bool {
        value.get().starts_with('"')
            && serde_json::from_str::<String>(value.get()).is_ok_and(|name| self.is_field(&name))
    }

    fn speaks_of_one(&self, text: &str) -> bool {
        self.has_word(text) || (text.contains(['%', '\\']) && self.has_word(&without_escapes(text)))
    }

    /// A name as a word of its own, with something beside it.
    fn has_word(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        self.of_server.iter().chain(self.of_tenant.iter()).any(|field| {
            text != *field
                && text.match_indices(field.as_str()).any(|(at, _)| {
                    let before = text[..at].chars().next_back().is_some_and(in_word);
                    let after = text[at + field.len()..].chars().next().is_some_and(in_word);
                    !before && !after
                })
        })
    }
}

/// What a body holds.
enum Kind {
    Nothing,
    Json,
    Events,
    Other,
}

fn kind_of(headers: &HeaderMap) -> Kind {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Kind::Nothing };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match kind {
        "application/json" | "application/problem+json" => Kind::Json,
        "text/event-stream" => Kind::Events,
        _ => Kind::Other,
    }
}

fn unmasked() -> Response {
    Refusal::new(Code::Internal, "the answer cannot be masked, so it is not shown").into_response()
}

/// A delta without what it tells.
fn pieces(data: &str) -> Option<String> {
    let Ok(Members(members)) = serde_json::from_str(data) else { return Some(MASKED_JSON.to_owned()) };
    let members = members
        .iter()
        .map(|(key, value)| format!("{}:{}", quoted(key), if key == "data" { MASKED_JSON } else { value.get() }));
    Some(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

/// With a space for each `%5B`, `\n` and `\u0022`, whose letters would else be taken for the beginning of a word.
fn without_escapes(text: &str) -> String {
    let (mut left, mut plain) = (text.chars(), String::with_capacity(text.len()));
    while let Some(c) = left.next() {
        let more = match c {
            '%' => 2,
            '\\' if left.as_str().starts_with('u') => 5,
            '\\' => 1,
            _ => 0,
        };
        plain.push(if more == 0 { c } else { ' ' });
        for _ in 0..more {
            left.next();
        }
    }
    plain
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string can always be written as JSON")
}

/// Of an object, in its order, each value as it is written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Members<'a>, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Reads)
    }
}

#[cfg(test)]
mod tests;
