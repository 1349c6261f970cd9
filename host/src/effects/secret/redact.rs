//! Takes values of secrets out of what comes back from outside, before anybody sees it. Pure.
//!
//! A value is found as it is, with characters escaped as in a URL, a form or a string of JSON, and in base64, also with
//! other bytes before and behind it. What a server made of it otherwise (a digest, hexadecimal, a part of it,
//! compressed, encrypted) is not found: it is a server that was trusted with the secret.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;
use trackway_replay::Failure;
use zeroize::Zeroizing;

use super::placeholder::percent;
use super::{Secret, SecretName};

/// The values that are not to come back.
#[derive(Default)]
pub(in crate::effects) struct Redactor {
    hidden: Vec<Hidden>,
    /// Whether something that is hidden may begin with this byte.
    begins: Vec<bool>,
}

struct Hidden {
    shown_as: String,
    value: Secret,
    /// In base64, as far as it does not depend on what stands around it.
    encoded: Vec<Zeroizing<String>>,
}

/// How characters may be escaped.
#[derive(Clone, Copy)]
enum Escape {
    Percent,
    Json,
}

impl Redactor {
    /// Hides a value; all that were before stay hidden.
    pub fn add(&mut self, name: &SecretName, value: &Secret) {
        if self.hidden.iter().any(|hidden| hidden.value.expose() == value.expose()) {
            return;
        }
        let encoded = encoded(value.expose().as_bytes());
        self.begins.resize(256, false);
        for first in encoded.iter().map(|text| text.as_bytes()).chain([value.expose().as_bytes(), b"%", b"\\", b"+"]) {
            if let Some(first) = first.first() {
                self.begins[usize::from(*first)] = true;
            }
        }
        self.hidden.push(Hidden { shown_as: format!("[secret:{name}]"), value: value.clone(), encoded });
    }

    /// Nothing where nothing was found.
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.hidden.is_empty() {
            return None;
        }
        let mut clean: Option<Vec<u8>> = None;
        let (mut kept, mut place) = (0, 0);
        while let Some(byte) = bytes.get(place) {
            let found = self.begins[usize::from(*byte)].then(|| self.found(&bytes[place..])).flatten();
            let Some((length, shown_as)) = found else {
                place += 1;
                continue;
            };
            let clean = clean.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            clean.extend_from_slice(&bytes[kept..place]);
            clean.extend_from_slice(shown_as.as_bytes());
            place += length;
            kept = place;
        }
        clean.map(|mut clean| {
            clean.extend_from_slice(&bytes[kept..]);
            clean
        })
    }

    pub fn is_in(&self, text: &str) -> bool {
        self.bytes(text.as_bytes()).is_some()
    }

    pub fn text(&self, text: String) -> String {
        match self.bytes(text.as_bytes()) {
            Some(clean) => String::from_utf8_lossy(&clean).into_owned(),
            None => text,
        }
    }

    pub fn body(&self, body: &mut Bytes) {
        if let Some(clean) = self.bytes(body) {
            *body = clean.into();
        }
    }

    /// A header that is called like a secret is dropped: names are not changed, and nobody needs it.
    pub fn headers(&self, headers: &mut HeaderMap) {
        let is_named = |name: &str| self.hidden.iter().any(|hidden| hidden.is_name(name));
        let named: Vec<_> = headers.keys().filter(|name| is_named(name.as_str())).cloned().collect();
        named.iter().for_each(|name| drop(headers.remove(name)));
        for value in headers.values_mut() {
            if let Some(clean) = self.bytes(value.as_bytes()) {
                // What stays of a value, and the words that stand in for the rest, may stand in a header.
                *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static("[secret]"));
            }
        }
    }

    pub fn failure(&self, mut failure: Failure) -> Failure {
        if self.hidden.is_empty() {
            return failure;
        }
        failure.message = self.text(failure.message);
        failure.details = match failure.details {
            Some(details) if self.is_in(details.get()) => {
                RawValue::from_string(self.text(details.get().to_owned())).ok()
            }
            details => details,
        };
        failure
    }

    /// The longest that is found at the beginning of `bytes`.
    fn found(&self, bytes: &[u8]) -> Option<(usize, &str)> {
        let lengths = self.hidden.iter().filter_map(|hidden| Some((hidden.length(bytes)?, hidden.shown_as.as_str())));
        lengths.max_by_key(|(length, _)| *length)
    }
}

impl Hidden {
    fn length(&self, bytes: &[u8]) -> Option<usize> {
        let value = self.value.expose().as_bytes();
        let plain = bytes.starts_with(value).then_some(value.len());
        let escaped = [Escape::Percent, Escape::Json].into_iter().filter_map(|escape| escaped(bytes, value, escape));
        let encoded = self.encoded.iter().filter(|text| bytes.starts_with(text.as_bytes())).map(|text| text.len());
        plain.into_iter().chain(escaped).chain(encoded).max()
    }

    /// Names of headers come in lower case.
    fn is_name(&self, name: &str) -> bool {
        name.contains(&*Zeroizing::new(self.value.expose().to_ascii_lowercase()))
    }
}

/// How many bytes spell `value` here, any of its characters escaped or not.
fn escaped(bytes: &[u8], value: &[u8], escape: Escape) -> Option<usize> {
    let (mut place, mut rest) = (0, value);
    while let Some(wanted) = rest.first() {
        let byte = *bytes.get(place)?;
        let mut buffer = [0; 4];
        let (is, length): (&[u8], usize) = match (escape, byte, percent(bytes, place)) {
            (Escape::Percent, _, Some(byte)) => {
                buffer[0] = byte;
                (&buffer[..1], 3)
            }
            (Escape::Percent, b'+', None) if *wanted == b' ' => (b" ", 1),
            (Escape::Json, b'\\', _) => {
                let (character, length) = json(&bytes[place..])?;
                (character.encode_utf8(&mut buffer).as_bytes(), length)
            }
            (Escape::Percent | Escape::Json, byte, _) => {
                buffer[0] = byte;
                (&buffer[..1], 1)
            }
        };
        rest = rest.strip_prefix(is)?;
        place += length;
    }
    Some(place)
}

/// The character of an escape in a string of JSON, and how long that is.
fn json(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |place: usize| -> Option<u16> {
        let digits = bytes.get(place..place + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let simple = match bytes.get(1)? {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => {
            let first = unit(0)?;
            let (units, length) = match unit(6) {
                Some(second) if (0xd800..0xdc00).contains(&first) => (vec![first, second], 12),
                _ => (vec![first], 6),
            };
            let character = char::decode_utf16(units).next()?.ok()?;
            return Some((character, length));
        }
        other => char::from(*other),
    };
    Some((simple, 2))
}

/// What base64 makes of `value`, whatever stands before and behind it: of the three ways in which it may meet groups of
/// three bytes, all characters that nothing else has a part in.
fn encoded(value: &[u8]) -> Vec<Zeroizing<String>> {
    let mut all: Vec<Zeroizing<String>> = Vec::new();
    for before in 0..3 {
        let bytes = Zeroizing::new([&[0; 2][..before], value].concat());
        for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let text = Zeroizing::new(engine.encode(&*bytes));
            let begin = [0, 2, 3][before];
            let end = text.len() - usize::from(bytes.len() % 3 != 0);
            let text = Zeroizing::new(text[begin..end].to_owned());
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
