//! A crash after any entry: the journal is cut there, another worker goes on, and the run ends as
//! if nothing had happened, asking for nothing that was answered.

use trackway_replay::{EffectAsked, EffectId, EffectRequest, Entry, Kind, Park, StepId, Value};
use trackway_storage::RunKey;

use crate::rig::{Rig, in_virtual_time};

fn url_of(asked: &EffectAsked) -> Option<String> {
    let read = |request: &str| -> serde_json::Value { serde_json::from_str(request).expect("a request is JSON") };
    match &asked.request {
        EffectRequest::Http { request: Value::Inline(request), .. } => {
            Some(read(request)["url"].as_str().expect("a request has a URL").to_owned())
        }
        // As the rig's world names it: by what was said last.
        EffectRequest::Model { request: Value::Inline(request), .. } => {
            let words = read(request)["messages"]
                .as_array()
                .and_then(|said| said.last()?["content"].as_str().map(str::to_owned));
            Some(format!("model:{}", words.expect("a request ends in words")))
        }
        EffectRequest::Http { .. }
        | EffectRequest::Model { .. }
        | EffectRequest::Sleep { .. }
        | EffectRequest::AskPerson { .. } => None,
    }
}

/// The URL of an effect, by its step and number: a later attempt may have it of an earlier one.
fn url_in(entries: &[Entry], step: StepId, effect: EffectId) -> Option<String> {
    let mut asked = entries.iter().rev().filter_map(|entry| match &entry.kind {
        Kind::EffectAsked(asked) if (asked.step, asked.effect) == (step, effect) => Some(asked),
        _ => None,
    });
    asked.next().and_then(url_of)
}

/// The URLs of all requests on record, once for each time that they were to be sent.
fn contacts(entries: &[Entry]) -> Vec<String> {
    let asked = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::EffectAsked(asked) => url_of(asked),
        Kind::FailedKeeping(failed) => url_in(entries, failed.step, failed.kept.last?),
        Kind::Parked(parked) => match parked.park {
            Park::ExhaustedKeeping(kept) => url_in(entries, parked.step, kept.last?),
            Park::Exhausted | Park::Unclear(_) => None,
        },
        _ => None,
    });
    asked.collect()
}

/// The URLs of the requests on record that were answered.
fn contacts_answered(entries: &[Entry]) -> Vec<String> {
    let answered = entries.iter().enumerate().filter_map(|(place, entry)| match &entry.kind {
        Kind::EffectAnswered(answered) => url_in(&entries[..place], answered.step, answered.effect),
        _ => None,
    });
    answered.collect()
}

/// Runs once, then again from every prefix of the journal: cut after each entry, and between frames
/// as they were written.
pub(super) fn survives_a_crash_after_every_entry(guest: &str, workflow: &str, input: &str) {
    in_virtual_time(async {
        let whole = Rig::new().await;
        whole.deploy(guest).await;
        let run = whole.start(guest, workflow, input).await;
        whole.ended_with_help(run).await;
        let journal = whole.entries(run).await;
        let requests = whole.entries_with_requests(run).await;
        let whole_run = (&*journal, &*requests);
        assert!(journal.len() > 3, "a journal to cut");
        for kept in 1..journal.len() {
            ends_as_if_nothing_had_happened(whole_run, kept, run, whole.cut(run, kept).await).await;
        }
        let mut kept = 0;
        for (frames, frame) in whole.frames(run).await.iter().enumerate() {
            kept += frame.len();
            if kept < journal.len() {
                ends_as_if_nothing_had_happened(whole_run, kept, run, whole.cut_at_frame(run, frames + 1).await).await;
            }
        }
    });
}

/// `requests` is the journal with all requests in it.
async fn ends_as_if_nothing_had_happened(
    (journal, requests): (&[Entry], &[Entry]),
    kept: usize,
    run: RunKey,
    rig: Rig,
) {
    rig.ended_with_help(run).await;
    let again = rig.entries(run).await;
    assert_eq!(again[..kept], journal[..kept], "what stood was changed");
    match (journal.last().map(|entry| &entry.kind), again.last().map(|entry| &entry.kind)) {
        (Some(Kind::Finished(before)), Some(Kind::Finished(after))) => {
            assert_eq!(before.end, after.end, "cut after {kept}");
        }
        other => panic!("cut after {kept}: {other:?}"),
    }
    // Only what has no answer is asked for again.
    let mut left = contacts(requests);
    contacts_answered(&requests[..kept]).iter().for_each(|answered| {
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
fn the_example_checkout() {
    let input = r#"{"shop": "http://world.test", "id": "7", "item": "lantern", "cents": 4200}"#;
    survives_a_crash_after_every_entry("checkout", "checkout", input);
}

#[test]
fn the_example_approval() {
    let input = r#"{"what": "Pay?", "ask": [{"who": "ann", "within_seconds": 60}, {"who": "bob", "within_seconds": 9}],
        "otherwise": "refused", "hook": "http://world.test/hook"}"#;
    survives_a_crash_after_every_entry("approval", "approval", input);
}

#[test]
fn the_example_research() {
    let input = r#"{"url": "http://world.test/tides", "question": "Why twice a day?"}"#;
    survives_a_crash_after_every_entry("research", "research", input);
}

#[test]
fn the_example_agent() {
    let input = r#"{"shop": "http://world.test", "customer": "Ada", "message": "My lantern broke: 4711"}"#;
    survives_a_crash_after_every_entry("agent", "desk", input);
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

#[test]
fn an_attempt_that_goes_on_after_a_failed_one() {
    survives_a_crash_after_every_entry("mending", "resumes", r#"{"url": "http://world.test", "until": 3}"#);
}

#[test]
fn a_step_that_waits_for_a_person() {
    survives_a_crash_after_every_entry("mending", "tries", r#"{"url": "", "until": 4, "how": "park"}"#);
}

#[test]
fn a_step_that_waits_for_a_person_and_goes_on_with_what_it_had_done() {
    survives_a_crash_after_every_entry("mending", "resumes_parked", r#"{"url": "http://world.test", "until": 3}"#);
}

#[test]
fn calls_of_models() {
    survives_a_crash_after_every_entry("models", "talks", r#"{"model": "scripted/m", "calls": 3, "deltas": "token"}"#);
}

#[test]
fn calls_of_models_that_are_asked_again_after_a_failed_attempt() {
    survives_a_crash_after_every_entry("models", "tries_again", r#"{"model": "scripted/m", "calls": 2}"#);
}

#[test]
fn calls_of_models_over_a_run_that_goes_on() {
    survives_a_crash_after_every_entry("models", "goes_on", r#"{"model": "scripted/m", "calls": 2}"#);
}

#[test]
fn a_step_whose_time_is_over() {
    survives_a_crash_after_every_entry("timing", "tarries", "3600");
}

#[test]
fn patches() {
    survives_a_crash_after_every_entry("moves_next", "order", "3");
}

#[test]
fn an_attempt_that_begins_at_the_progress_of_a_failed_one() {
    survives_a_crash_after_every_entry("timing", "imports", r#"{"url": "http://world.test", "pages": 3, "until": 3}"#);
}
