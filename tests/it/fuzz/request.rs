//! HTTP requests and their options as a function may give them, the failures that a guest may return,
//! and inputs under the schemas that a component may bring.

use serde::de::IgnoredAny;
use std::sync::Arc;
use tokio::runtime::Runtime;
use trackway::effects::{Grant, Grants, HttpRequest};
use trackway::host::{Catalog, check_input};
use trackway::sandbox::Manifest;
use trackway_replay::Failure;

use super::mutate;
use super::target::{Target, gist};
use crate::simulate::dice::Dice;

/// Between the two texts of one input.
const BETWEEN: u8 = 0x1e;

const WORDS: [&str; 31] = [
    "method",
    "url",
    "headers",
    "body",
    "body_base64",
    "GET",
    "POST",
    "CONNECT",
    "HEAD",
    "http://",
    "https://",
    "http://[::1]:80/",
    "http://0x7f.1/",
    "http://a@b/",
    "idempotency-key",
    "content-length",
    "host",
    "label",
    "timeout_ms",
    "idempotency_key",
    "=",
    "AA==",
    "xn--",
    "xn--a",
    ".",
    "\u{3002}",
    ":65536",
    "#",
    "?",
    "\t",
    "code",
];

const SEEDS: [(&str, &str); 6] = [
    (r#"{"url":"http://a.example/"}"#, ""),
    (
        r#"{"method":"POST","url":"https://a.example:8443/p?q=1#f","headers":[["a","b"],["idempotency-key","k"]],"body":"x"}"#,
        r#"{"label":"l","timeout_ms":1000,"idempotency_key":"k"}"#,
    ),
    (r#"{"method":"PUT","url":"http://127.0.0.1/","body_base64":"AAAA"}"#, r#"{"timeout_ms":600000}"#),
    (r#"{"url":"http://[2001:db8::1]/","headers":[["cookie","a=b"],["authorization","Bearer x"]]}"#, "{}"),
    (r#"{"url":"http://b\u00fccher.example./","method":"M-SEARCH"}"#, r#"{"label":""}"#),
    (r#"{"code":"HTTP_STATUS","message":"m","retryable":true,"details":{"a":1},"at":"x"}"#, ""),
];

pub struct Requests;

impl Target for Requests {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        SEEDS.iter().map(|(request, options)| join(request.as_bytes(), options.as_bytes())).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        mutate_pair(dice, input, other, &WORDS);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let (request, options) = split(input);
        let failure = Failure::from_guest(&request);
        // Read as text: numbers that no type can hold are JSON too.
        assert!(serde_json::from_str::<IgnoredAny>(&failure.to_text()).is_ok());
        assert_eq!(Failure::from_guest(&failure.to_text()).to_text(), failure.to_text());
        let request = match HttpRequest::parse(&request, &options) {
            Ok(request) => request,
            Err(failure) => {
                assert!(!failure.retryable, "{failure:?}");
                return format!("{} {}", failure.code, gist(&failure.message));
            }
        };
        let url = request.url();
        if url.scheme() == "mcp" {
            let grants = Grants::parse(&[format!("mcp:{}=http://a/", url.host_str().expect("a name"))]);
            return format!("taken by name, which can be granted: {}", grants.is_ok());
        }
        assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{url}");
        request.label();
        let grant = Grant::of_url(url);
        // What names exactly this place opens it, and is read back as it is written.
        if let Some(grant) = &grant {
            let grants = Grants::parse(&[grant.to_string()]).expect("a grant is read as it is written");
            assert!(grants.allows(url), "{grant} does not open {url}");
        }
        let has_key = request.author_key().is_some();
        format!("taken {} {has_key} {} {:?}", request.wants_key(), grant.is_some(), url.host().map(kind_of_host))
    }

    fn rare(&self) -> &'static str {
        "stands there twice"
    }
}

fn kind_of_host<S>(host: url::Host<S>) -> &'static str {
    match host {
        url::Host::Domain(_) => "name",
        url::Host::Ipv4(_) => "v4",
        url::Host::Ipv6(_) => "v6",
    }
}

/// JSON inputs against JSON Schemas of strangers.
pub struct Schemas(Runtime);

impl Schemas {
    pub fn new() -> Schemas {
        Schemas(tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"))
    }
}

const SCHEMA_WORDS: [&str; 40] = [
    "$ref",
    "#",
    "#/$defs/a",
    "#/properties/a",
    "$defs",
    "a",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
    "contains",
    "pattern",
    "(a*)*b",
    "(a{1000}){1000}",
    "\\p{L}+",
    "^(?=a)",
    "minimum",
    "multipleOf",
    "minLength",
    "enum",
    "const",
    "format",
    "date-time",
    "uuid",
    "$dynamicRef",
    "$anchor",
    "$id",
    "unevaluatedProperties",
    "dependentSchemas",
    "http://json-schema.org/draft-04/schema#",
    "https://json-schema.org/draft/2020-12/schema",
    "$schema",
];

const SCHEMAS: [(&str, &str); 9] = [
    (r#"{"type":"object","properties":{"a":{"type":"integer","minimum":0}},"required":["a"]}"#, r#"{"a":1}"#),
    (r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"array","items":{"$ref":"#/$defs/a"}}}}"##, "[[[]]]"),
    (r##"{"$ref":"#"}"##, "1"),
    (r##"{"allOf":[{"$ref":"#"}]}"##, "1"),
    (r##"{"properties":{"a":{"$ref":"#"}},"additionalProperties":false}"##, r#"{"a":{"a":{"a":{}}}}"#),
    (r#"{"type":"string","pattern":"^(a+)+$","maxLength":100}"#, r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab""#),
    (r#"{"type":"number","multipleOf":0.01,"maximum":1e300}"#, "1e308"),
    (r#"{"anyOf":[{"type":"null"},{"const":1},{"enum":[1,"a",{}]}],"uniqueItems":true}"#, "null"),
    (r##"{"$defs":{"a":{"$dynamicAnchor":"n","$dynamicRef":"#n"}},"$ref":"#/$defs/a"}"##, "{}"),
];

impl Target for Schemas {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        SCHEMAS.iter().map(|(schema, input)| join(schema.as_bytes(), input.as_bytes())).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        mutate_pair(dice, input, other, &SCHEMA_WORDS);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let (schema, input) = split(input);
        let text = format!(r#"{{"contract":"0.1","workflows":[{{"name":"w","input":{schema}}}]}}"#);
        let manifest = match Manifest::read(&text) {
            Ok(manifest) => manifest,
            Err(error) => return gist(&error.to_string()),
        };
        let catalog = match Catalog::of(&manifest) {
            Ok(catalog) => catalog,
            Err(error) => return gist(&error.to_string()),
        };
        catalog.wants_input("w");
        let (workflow, input) = (Arc::from("w"), Arc::from(input));
        match self.0.block_on(check_input(&Arc::new(catalog), &workflow, &input, None)) {
            Ok(()) => "fits".to_owned(),
            Err(error) => gist(&error.to_string()),
        }
    }

    fn rare(&self) -> &'static str {
        "is not of type"
    }
}

fn join(one: &[u8], two: &[u8]) -> Vec<u8> {
    [one, &[BETWEEN], two].concat()
}

fn halves(input: &[u8]) -> (&[u8], &[u8]) {
    let place = input.iter().position(|byte| *byte == BETWEEN).unwrap_or(input.len());
    (&input[..place], input.get(place + 1..).unwrap_or_default())
}

/// Texts cross as UTF-8; the engine refuses anything else.
fn split(input: &[u8]) -> (String, String) {
    let (one, two) = halves(input);
    (String::from_utf8_lossy(one).into_owned(), String::from_utf8_lossy(two).into_owned())
}

fn mutate_pair(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let (one, two) = halves(input);
    let (mut one, mut two) = (one.to_vec(), two.to_vec());
    let (other_one, other_two) = halves(other);
    let (part, other_part) = if dice.chance(70) { (&mut one, other_one) } else { (&mut two, other_two) };
    match dice.within(0..=9) {
        0 => *part = other_part.to_vec(),
        1..=6 if mutate::json(dice, part, words) => {}
        _ => mutate::bytes(dice, part, other_part, words),
    }
    *input = join(&one, &two);
}
