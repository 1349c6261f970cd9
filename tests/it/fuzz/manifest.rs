//! Manifests, as a component's `describe` may return them, and the policies in those that are taken.

use trackway::sandbox::Manifest;
use trackway_replay::{Failure, Spent, Timestamp, Verdict, code};

use super::mutate;
use super::target::{Target, gist};
use crate::simulate::dice::Dice;

const WORDS: [&str; 24] = [
    "contract",
    "0.1",
    "workflows",
    "functions",
    "name",
    "doc",
    "input",
    "output",
    "retry",
    "attempts",
    "backoff_ms",
    "factor",
    "backoff_max_ms",
    "jitter",
    "timeout_ms",
    "hosts",
    "sdk",
    "version",
    "language",
    "$ref",
    "type",
    "object",
    "https://example.com",
    "*.example.com",
];

const SEEDS: [&str; 4] = [
    r#"{"contract":"0.1"}"#,
    r#"{"contract":"0.1","workflows":[{"name":"w","doc":"d","input":{"type":"object"},"output":true}],
        "functions":[],"sdk":{"name":"rust","version":"0.1","language":"Rust"}}"#,
    r#"{"contract":"0.1","functions":[{"name":"f","retry":{"attempts":3,"backoff_ms":10,"factor":1.5,
        "backoff_max_ms":1000,"jitter":0.5},"timeout_ms":1000,"hosts":["https://a.example","*.b.example:8443"]}]}"#,
    r#"{"contract":"0.1","workflows":[{"name":"a.b-c_D"},{"name":"e"}],"functions":[{"name":"f"},{"name":"g"}]}"#,
];

pub struct Manifests;

impl Target for Manifests {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        if dice.chance(30) || !mutate::json(dice, input, &WORDS) {
            mutate::bytes(dice, input, other, &WORDS);
        }
    }

    fn feed(&mut self, input: &[u8]) -> String {
        // The engine refuses what is not UTF-8 before.
        let text = String::from_utf8_lossy(input);
        let manifest = match Manifest::read(&text) {
            Ok(manifest) => manifest,
            Err(error) => return format!("{:?} {}", error.code, gist(&error.to_string())),
        };
        for workflow in &manifest.workflows {
            assert_eq!(manifest.workflow(&workflow.name).map(|found| &found.name), Some(&workflow.name));
        }
        let failure = Failure::new(code::HTTP_CONNECT, "refused");
        let mut retried = false;
        for function in &manifest.functions {
            assert!(manifest.function(&function.name).is_some());
            for (attempt, draw, now) in [(0, 0.0, 0), (1, 0.5, 1), (19, 1.0, u64::MAX), (u32::MAX, -1.0, u64::MAX / 2)]
            {
                let now = Timestamp(now);
                let spent = Spent { attempts: attempt, since: Timestamp(0) };
                if let Verdict::RetryAt(at) = function.retry.judge(spent, &failure, now, draw) {
                    assert!(at >= now, "an attempt before its time");
                    retried = true;
                }
            }
        }
        format!("taken {} {} {retried}", manifest.workflows.len().min(3), manifest.functions.len().min(3))
    }

    fn rare(&self) -> &'static str {
        "must be a whole number"
    }
}
