//! A crash after any entry: the journal is cut there, another worker goes on, and the run ends as
//! if nothing had happened, asking for nothing that was answered.

use trackway_replay::{EffectAsked, EffectRequest, Entry, Kind, Value};
use trackway_storage::RunKey;

use crate::rig::{Rig, in_virtual_time};

fn url_of(asked: &EffectAsked) -> Option<String> {
    let EffectRequest::Http { request: Value::Inline(request), .. } = &asked.request else { return None };
    let request: serde_json::Value = serde_json::from_str(request).expect("a request is JSON");
    Some(request["url"].as_str().expect("a request has a URL").to_owned())
}

/// The URLs of all requests on record.
fn contacts(entries: &[Entry]) -> Vec<String> {
    let asked = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::EffectAsked(asked) => url_of(asked),
        _ => None,
    });
    asked.collect()
}

/// The URLs of the requests on record that were answered.
fn contacts_answered(entries: &[Entry]) -> Vec<String> {
    let place = |kind: &Kind| match kind {
        Kind::EffectAnswered(answered) => Some((answered.step, answered.attempt, answered.effect)),
        _ => None,
    };
    let answered: Vec<_> = entries.iter().filter_map(|entry| place(&entry.kind)).collect();
    let of_answered = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::EffectAsked(asked) if answered.contains(&(asked.step, asked.attempt, asked.effect)) => url_of(asked),
        _ => None,
    });
    of_answered.collect()
}

/// Runs once, then again from every prefix of the journal: cut after each entry, and between frames
/// as they were written.
fn survives_a_crash_after_every_entry(guest: &str, workflow: &str, input: &str) {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy(guest).await;
        let run = whole.start(guest, workflow, input).await;
        whole.ended(run).await;
        let journal = whole.entries(run).await;
        assert!(journal.len() > 3, "a journal to cut");
        for kept in 1..journal.len() {
            ends_as_if_nothing_had_happened(&journal, kept, run, whole.cut(run, kept).await).await;
        }
        let mut kept = 0;
        for (frames, frame) in whole.frames(run).await.iter().enumerate() {
            kept += frame.len();
            if kept < journal.len() {
                ends_as_if_nothing_had_happened(&journal, kept, run, whole.cut_at_frame(run, frames + 1).await).await;
            }
        }
    });
}

async fn ends_as_if_nothing_had_happened(journal: &[Entry], kept: usize, run: RunKey, rig: Rig) {
    rig.ended(run).await;
    let again = rig.entries(run).await;
    assert_eq!(again[..kept], journal[..kept], "what stood was changed");
    match (journal.last().map(|entry| &entry.kind), again.last().map(|entry| &entry.kind)) {
        (Some(Kind::Finished(before)), Some(Kind::Finished(after))) => {
            assert_eq!(before.end, after.end, "cut after {kept}");
        }
        other => panic!("cut after {kept}: {other:?}"),
    }
    // Only what has no answer is asked for again.
    let mut left = contacts(journal);
    contacts_answered(&journal[..kept]).iter().for_each(|answered| {
        let place = left.iter().position(|contact| contact == answered).expect("it was asked for");
        left.remove(place);
    });
    let mut asked: Vec<String> = rig.world.asked().into_iter().map(|contact| contact.url).collect();
    left.sort();
    asked.sort();
    assert_eq!(asked, left, "cut after {kept}: {:?}", rig.kinds(run).await);
    rig.replays(run).await;
}

#[test]
fn the_example_hello() {
    survives_a_crash_after_every_entry("hello", "hello", r#""you""#);
}

#[test]
fn the_example_headlines() {
    let input = r#"{"urls": ["http://world.test/a", "http://world.test/b", "http://world.test/c"]}"#;
    survives_a_crash_after_every_entry("headlines", "headlines", input);
}

#[test]
fn sequential_steps() {
    survives_a_crash_after_every_entry("parallel", "sequential", "3");
}

#[test]
fn parallel_steps() {
    survives_a_crash_after_every_entry("parallel", "parallel", "3");
}

#[test]
fn steps_taken_as_they_come() {
    survives_a_crash_after_every_entry("parallel", "chain", r#"{"n": 5}"#);
}

#[test]
fn sequential_effects() {
    survives_a_crash_after_every_entry(
        "effects",
        "posts",
        r#"{"url": "http://world.test", "steps": 2, "requests": 3, "pause_ms": 50}"#,
    );
}

#[test]
fn parallel_effects() {
    survives_a_crash_after_every_entry(
        "effects",
        "posts_at_once",
        r#"{"url": "http://world.test", "steps": 3, "requests": 2}"#,
    );
}

#[test]
fn retries() {
    survives_a_crash_after_every_entry("effects", "succeeds_at", "4");
}

#[test]
fn permanent_failures() {
    survives_a_crash_after_every_entry("effects", "fails_for_good", "null");
}

#[test]
fn sleeps() {
    survives_a_crash_after_every_entry("sleeper", "naps", "[10, 60000, 1]");
}

#[test]
fn forgotten_steps() {
    survives_a_crash_after_every_entry("sleeper", "forgets", "null");
}

#[test]
fn cancelled_steps() {
    survives_a_crash_after_every_entry("sleeper", "cancels_a_step", "null");
}

#[test]
fn large_values() {
    survives_a_crash_after_every_entry("values", "fan", r#"{"bytes": 100000, "steps": 2}"#);
}

#[test]
fn panics_after_a_step() {
    survives_a_crash_after_every_entry("limits", "panics_later", "null");
}
