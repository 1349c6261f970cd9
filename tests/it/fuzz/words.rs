//! Short texts that people and programs give: patterns of hosts, and ids.

use trackway::effects::Grants;
use trackway_replay::{Digest, RunId};
use url::Url;

use super::mutate;
use super::target::{Target, gist};
use crate::simulate::dice::Dice;

const PATTERN_WORDS: [&str; 22] = [
    "*.",
    "*",
    "http://",
    "https://",
    "HTTP://",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "localhost",
    "127.1",
    "0x7f000001",
    ":443",
    ":0",
    ":65535",
    ".",
    "xn--",
    "\u{3002}",
    "\u{ad}",
    "\u{df}",
    "169.254.169.254",
    "%",
    "@",
    "/",
];

const PATTERNS: [&str; 8] = [
    "example.com",
    "*.example.com:8443",
    "http://127.0.0.1:8080",
    "[2001:db8::1]:8443",
    "http://localhost",
    "https://b\u{fc}cher.example/",
    "10.0.0.1",
    "a.b.c.d.example.",
];

const URLS: [&str; 6] = [
    "https://example.com/",
    "http://127.0.0.1:8080/",
    "https://a.example.com:8443/",
    "http://[::1]/",
    "http://localhost/",
    "https://xn--bcher-kva.example/",
];

pub struct Patterns;

impl Target for Patterns {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        PATTERNS.iter().map(|pattern| pattern.as_bytes().to_vec()).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        mutate::bytes(dice, input, other, &PATTERN_WORDS);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let text = String::from_utf8_lossy(input);
        let patterns: Vec<&str> = text.split('\n').collect();
        let grants = match Grants::parse(&patterns) {
            Ok(grants) => grants,
            Err(error) => return gist(&error.to_string()),
        };
        let written: Vec<String> = grants.patterns().collect();
        let again = Grants::parse(&written);
        assert!(again.is_ok_and(|again| again == grants), "not read as it is written: {written:?}");
        assert_eq!(grants.union(&grants), grants);
        let opened = URLS.iter().filter(|url| grants.allows(&Url::parse(url).expect("it is one"))).count();
        // What opens every place is no grant.
        assert!(opened < URLS.len() || written.len() > 1, "{written:?}");
        let shape: String = written.concat().chars().filter(|character| ":*[/".contains(*character)).take(4).collect();
        format!("taken {opened} {shape}")
    }

    fn rare(&self) -> &'static str {
        "too wide"
    }
}

const ID_WORDS: [&str; 8] = ["7zzzzzzzzzzzzzzzzzzzzzzzzz", "8", "z", "i", "l", "o", "u", "@last"];

pub struct Ids;

impl Target for Ids {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        let ids = [RunId(0), RunId(1), RunId(u128::MAX)].map(|id| id.to_string());
        let digests = [Digest([0; 32]), Digest::of(b"")].map(|digest| digest.to_string());
        ids.into_iter().chain(digests).map(String::into_bytes).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        mutate::bytes(dice, input, other, &ID_WORDS);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let text = String::from_utf8_lossy(input);
        let run = text.parse::<RunId>();
        if let Ok(run) = run {
            assert_eq!(run.to_string(), text.to_ascii_lowercase());
        }
        let digest = text.parse::<Digest>();
        if let Ok(digest) = digest {
            assert_eq!(digest.to_string(), text.to_ascii_lowercase());
        }
        let range = RunId::range_of_prefix(&text);
        if let Ok((low, high)) = range {
            assert!(low <= high, "{low} {high}");
            assert!(low.to_string().starts_with(&text.to_ascii_lowercase()), "{low}");
        }
        let json = serde_json::from_slice::<RunId>(input).is_ok();
        format!("{} {} {} {json} {}", run.is_ok(), digest.is_ok(), range.is_ok(), text.len().min(70))
    }

    fn rare(&self) -> &'static str {
        "false false true false 7"
    }
}
