//! A crash after any entry: the journal is cut there, another worker goes on, and the run ends as
//! if nothing had happened, asking for nothing that was answered.

use trackway_replay::{EffectRequest, Entry, Kind};

use crate::rig::{Rig, in_virtual_time};

/// How many effects of a journal's first entries were answered.
fn answered(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| matches!(&entry.kind, Kind::EffectAnswered(_))).count()
}

fn http_asked(entries: &[Entry]) -> usize {
    let is_http =
        |kind: &Kind| matches!(kind, Kind::EffectAsked(asked) if matches!(asked.request, EffectRequest::Http { .. }));
    entries.iter().filter(|entry| is_http(&entry.kind)).count()
}

/// Runs once, then again from every prefix of the journal.
fn survives_a_crash_after_every_entry(guest: &str, workflow: &str, input: &str) {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy(guest).await;
        let run = whole.start(guest, workflow, input).await;
        let expected = whole.ended(run).await;
        let output = whole.entries(run).await.last().map(|entry| entry.kind.clone());
        let journal = whole.entries(run).await;
        assert!(journal.len() > 3, "a journal to cut");
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            let ended = rig.ended(run).await;
            assert_eq!(ended.status, expected.status, "cut after {kept}: {:?}", rig.kinds(run).await);
            assert_eq!(ended.code, expected.code, "cut after {kept}");
            let again = rig.entries(run).await;
            assert_eq!(again[..kept], journal[..kept], "what stood was changed");
            match (&output, again.last().map(|entry| entry.kind.clone())) {
                (Some(Kind::Finished(before)), Some(Kind::Finished(after))) => {
                    assert_eq!(before.end, after.end, "cut after {kept}");
                }
                other => panic!("cut after {kept}: {other:?}"),
            }
            // Only what has no answer is asked for again.
            let left = http_asked(&journal) - answered(&journal[..kept]).min(http_asked(&journal[..kept]));
            assert_eq!(rig.world.asked().len(), left, "cut after {kept}: {:?}", rig.kinds(run).await);
            rig.replays(run).await;
        }
    });
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
