//! What a trace says of what an attempt was at.

use super::*;
use crate::{AttemptFailedKeeping, Kept, SpanBegun, SpanEnded, SpanKind};

fn proof(deliveries: u32) -> Proof {
    Proof { deliveries, ..PROOF }
}

fn begun(attempt: u32, span: u32, name: &str, within: Option<u32>, deliveries: u32) -> Kind {
    let kind = if within.is_none() { SpanKind::Agent } else { SpanKind::Tool };
    let options = within.map(|span| format!("{{\"span\":{span}}}")).unwrap_or_default().into();
    let (step, span, proof) = (StepId(1), EffectId(span), proof(deliveries));
    let (name, input) = (name.into(), Value::inline("7"));
    Kind::SpanBegun(SpanBegun { step, attempt, span, kind, name, input, options, proof, at: None })
}

fn ended(attempt: u32, span: u32, deliveries: u32) -> Kind {
    let outcome = Outcome::Succeeded(Value::inline("8"));
    let (step, span, proof) = (StepId(1), EffectId(span), proof(deliveries));
    Kind::SpanEnded(SpanEnded { step, attempt, span, outcome, proof, at: None })
}

fn nap(attempt: u32, effect: u32, within: u32, deliveries: u32) -> Kind {
    let (options, now) = (format!("{{\"span\":{within}}}").into(), Timestamp::from_millis(1_000));
    let request = EffectRequest::Sleep { duration_ms: 1, options };
    let (step, effect, proof) = (StepId(1), EffectId(effect), proof(deliveries));
    Kind::EffectAsked(EffectAsked { step, attempt, effect, request, proof, now, key: None, at: None })
}

fn keeping(attempt: u32, kept: Kept) -> Kind {
    let (failure, next_at) = (Failure::new("LATER", "not yet").to_value(), Timestamp::from_millis(1_000));
    Kind::FailedKeeping(AttemptFailedKeeping { step: StepId(1), attempt, failure, next_at, kept })
}

/// Each row below the first step: its id, the row above, and how it stands.
fn tree(kinds: Vec<Kind>) -> Vec<String> {
    let below = traced([vec![started(), claimed("one"), call(1, "ask")], kinds].concat());
    let below = below.rows.into_iter().filter(|row| row.depth() > 1);
    below.map(|row| format!("{} {} {}", row.id, row.parent.unwrap_or_default(), row.status.name())).collect()
}

#[test]
fn effects_hang_below_the_span_that_they_belong_to() {
    let rows = tree(vec![
        attempt(1, 1),
        begun(1, 1, "researcher", None, 0),
        begun(1, 2, "search", Some(1), 0),
        nap(1, 3, 2, 0),
        ok(1, 1, 3),
        ended(1, 2, 1),
        nap(1, 4, 9, 1),
        ended(1, 1, 1),
        http(1, 1, 5),
    ]);
    let expected = [
        "1.1.1 1.1 succeeded",
        "1.1.2 1.1.1 succeeded",
        "1.1.3 1.1.2 succeeded",
        "1.1.4 1.1 running",
        "1.1.5 1.1 running",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_span_that_never_ended_is_shown_as_such() {
    let begins = || vec![attempt(1, 1), begun(1, 1, "researcher", None, 0), begun(1, 2, "search", Some(1), 0)];
    assert_eq!(tree(begins()), ["1.1.1 1.1 running", "1.1.2 1.1.1 running"]);
    let aborted = ["1.1.1 1.1 aborted", "1.1.2 1.1.1 aborted"];
    assert_eq!(tree([begins(), vec![failed(1, 1, 2_000)]].concat()), aborted);
    assert_eq!(tree([begins(), vec![answered(1, "1")]].concat()), aborted);
}

#[test]
fn a_span_is_no_contact_with_the_world() {
    let spans = vec![begun(1, 1, "researcher", None, 0), begun(1, 2, "search", Some(1), 0), nap(1, 3, 2, 0)];
    let crash = vec![ok(1, 1, 3), ended(1, 2, 1), claimed("two"), resumed(1, 1)];
    let trace = traced([vec![started(), claimed("one"), call(1, "ask"), attempt(1, 1)], spans, crash].concat());
    assert_eq!((trace.totals.effects, trace.totals.effects_answered), (1, 1));
    assert_eq!(trace.activations[1].effects_recalled, 1);
    assert_eq!(trace.recalled(&trace.activations[1]).effects.len(), 1);
}

#[test]
fn spans_that_go_on_in_the_next_attempt_stand_there() {
    let first = || {
        vec![
            attempt(1, 1),
            begun(1, 1, "researcher", None, 0),
            begun(1, 2, "search", Some(1), 0),
            nap(1, 3, 2, 0),
            ok(1, 1, 3),
            ended(1, 2, 1),
            begun(1, 4, "read", Some(1), 1),
            nap(1, 5, 4, 1),
            ok(1, 1, 5),
            ended(1, 4, 2),
        ]
    };
    let by_itself = Kept { answers: 2, last: Some(EffectId(5)) };
    let rows = tree([first(), vec![keeping(1, by_itself), attempt(1, 2)]].concat());
    let again = ["1.2.1 1.2 running", "1.2.4 1.2.1 running", "1.2.5 1.2.4 running"];
    assert_eq!(rows[5..], again, "what ended after the last answer goes on: {rows:?}");
    let by_host = Kept { answers: 2, last: None };
    let rows = tree([first(), vec![keeping(1, by_host), attempt(1, 2)]].concat());
    assert_eq!(rows[5..], ["1.2.1 1.2 running"], "all of it is kept: {rows:?}");
    let ended = [vec![keeping(1, by_itself), attempt(1, 2), ok(1, 2, 5), ended(2, 4, 2), failed(1, 2, 3_000)]];
    let rows = tree([first(), ended.concat()].concat());
    assert_eq!(rows[5..], ["1.2.1 1.2 aborted", "1.2.4 1.2.1 succeeded", "1.2.5 1.2.4 succeeded"]);
}
