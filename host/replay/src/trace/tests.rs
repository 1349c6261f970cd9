//! What a trace promises to say of a journal.

use std::sync::Arc;

use super::{ForkedFrom, Payloads, Row, RowStatus, Shown, Trace, What, payloads_wanted, trace, trace_with};
use crate::testing;
use crate::{
    Answered, Asked, AttemptFailed, AttemptResumed, AttemptStarted, CancelReceived, Claimed, Digest, EffectAnswered,
    EffectAsked, EffectId, EffectRequest, End, Entry, Epoch, Failure, Finished, Forgotten, Kind, Limits, MessageId,
    Outcome, Position, Proof, RunId, RunState, Started, Status, StepCancelAsked, StepId, StepRequest, Timestamp, Value,
    code,
};

mod spans;

const PROOF: Proof = Proof { digest: Digest([7; 32]), deliveries: 0, fuel: 0 };

/// Entries 1 ms apart, with a new epoch at each claim.
fn journal(kinds: impl IntoIterator<Item = Kind>) -> Vec<Entry> {
    let mut epoch = 0;
    let entry = |(place, kind): (usize, Kind)| {
        epoch += u64::from(matches!(kind, Kind::Claimed(_)));
        Entry {
            position: Position(place as u64),
            epoch: Epoch(epoch),
            time: Timestamp::from_millis(1_000 + place as u64),
            kind,
        }
    };
    kinds.into_iter().enumerate().map(entry).collect()
}

fn traced(kinds: impl IntoIterator<Item = Kind>) -> Trace {
    let trace = trace(&journal(kinds));
    assert_eq!(trace.unplaced, [], "every entry of a sound journal has its place");
    trace
}

fn started() -> Kind {
    Kind::Started(Box::new(Started {
        run: RunId(1),
        workflow: "headlines".into(),
        deployment: "news".into(),
        component: Digest([1; 32]),
        input: Value::inline("[1, 2]"),
        seed: [0; 32],
        key_seed: [0; 32],
        limits: Limits::default(),
        rules: 1,
    }))
}

fn claimed(worker: &str) -> Kind {
    Kind::Claimed(Claimed { worker: worker.into(), engine: "engine".into(), component: Digest([1; 32]) })
}

fn call(step: u32, function: &str) -> Kind {
    let request = StepRequest::Call {
        function: function.into(),
        input: Value::inline(r#"{"b": 1, "a": 2}"#),
        options: r#"{"label": "first"}"#.into(),
    };
    asked(step, request)
}

fn sleep(step: u32, duration_ms: u64) -> Kind {
    asked(step, StepRequest::Sleep { duration_ms, options: "".into() })
}

fn asked(step: u32, request: StepRequest) -> Kind {
    let at = Some(Arc::from("src/lib.rs:41"));
    Kind::Asked(Asked { step: StepId(step), request, proof: PROOF, now: Timestamp::from_millis(1_000), at })
}

fn attempt(step: u32, attempt: u32) -> Kind {
    Kind::AttemptStarted(AttemptStarted { step: StepId(step), attempt })
}

fn resumed(step: u32, attempt: u32) -> Kind {
    Kind::AttemptResumed(AttemptResumed { step: StepId(step), attempt })
}

fn http(step: u32, attempt: u32, effect: u32) -> Kind {
    http_of(step, attempt, effect, Value::inline(r#"{"url": "http://127.0.0.1/a", "method": "POST"}"#))
}

fn http_of(step: u32, attempt: u32, effect: u32, request: Value) -> Kind {
    Kind::EffectAsked(EffectAsked {
        step: StepId(step),
        attempt,
        effect: EffectId(effect),
        request: EffectRequest::Http { request, options: "".into() },
        proof: PROOF,
        now: Timestamp::from_millis(1_000),
        key: Some("key-1".into()),
        at: None,
    })
}

fn http_answer(step: u32, attempt: u32, effect: u32, answer: Value) -> Kind {
    let outcome = Outcome::Succeeded(answer);
    Kind::EffectAnswered(EffectAnswered { step: StepId(step), attempt, effect: EffectId(effect), outcome })
}

fn ok(step: u32, attempt: u32, effect: u32) -> Kind {
    http_answer(step, attempt, effect, Value::inline(r#"{"status": 200, "headers": [], "body": ""}"#))
}

fn failed(step: u32, attempt: u32, next_at_ms: u64) -> Kind {
    let failure = Failure::new(code::HTTP_CONNECT, "refused").to_value();
    Kind::Failed(AttemptFailed { step: StepId(step), attempt, failure, next_at: Timestamp::from_millis(next_at_ms) })
}

fn answered(step: u32, text: &str) -> Kind {
    Kind::Answered(Answered { step: StepId(step), outcome: Outcome::Succeeded(Value::inline(text)) })
}

fn answered_with(step: u32, failure: Failure) -> Kind {
    Kind::Answered(Answered { step: StepId(step), outcome: Outcome::Failed(failure.to_value()) })
}

fn finished(end: End) -> Kind {
    Kind::Finished(Finished { end, fingerprint: None, unread: Vec::new() })
}

fn row<'a>(trace: &'a Trace, id: &str) -> &'a Row {
    trace.rows.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("no row {id} in {:#?}", trace.rows))
}

/// Three steps, a crash in the middle of the second, and an end.
fn crashed_and_finished() -> Vec<Kind> {
    vec![
        started(),
        claimed("one"),
        call(1, "fetch"),
        attempt(1, 1),
        http(1, 1, 1),
        ok(1, 1, 1),
        answered(1, r#""first""#),
        call(2, "fetch"),
        attempt(2, 1),
        http(2, 1, 1),
        ok(2, 1, 1),
        http(2, 1, 2),
        claimed("two"),
        resumed(2, 1),
        ok(2, 1, 2),
        answered(2, r#""second""#),
        sleep(3, 5),
        answered(3, "null"),
        finished(End::Succeeded(Value::inline(r#"{"z":1,"a":2}"#))),
    ]
}

#[test]
fn a_finished_run_has_a_row_for_every_step_attempt_and_effect() {
    let trace = traced(crashed_and_finished());
    let ids: Vec<_> = trace.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["1", "1.1", "1.1.1", "2", "2.1", "2.1.1", "2.1.2", "3"]);
    for row in &trace.rows {
        assert_eq!(row.status, RowStatus::Succeeded, "row {}", row.id);
        assert_eq!(row.parent.as_deref(), row.id.rsplit_once('.').map(|(parent, _)| parent));
    }
    assert_eq!((trace.totals.steps, trace.totals.steps_succeeded, trace.totals.steps_open), (3, 3, 0));
    assert_eq!((trace.totals.effects, trace.totals.effects_answered, trace.totals.effects_interrupted), (3, 3, 1));
    assert_eq!((trace.totals.attempts, trace.totals.attempts_resumed, trace.totals.restarts), (2, 1, 1));
}

#[test]
fn the_header_tells_the_run_and_its_end() {
    let run = traced(crashed_and_finished()).run.expect("started");
    assert_eq!((run.id, run.workflow.as_ref(), run.deployment.as_ref()), (RunId(1), "headlines", "news"));
    assert_eq!((run.status, run.duration_us), (Status::Succeeded, 18_000));
    assert_eq!(run.output, Some(Shown::of(&Value::inline(r#"{"z":1,"a":2}"#))), "bytes as in the journal");
}

#[test]
fn each_row_names_the_entries_that_tell_of_it() {
    let trace = traced(crashed_and_finished());
    let positions = |id| row(&trace, id).positions.iter().map(|position| position.0).collect::<Vec<_>>();
    assert_eq!(positions("2"), [7, 15]);
    assert_eq!(positions("2.1"), [8, 13, 15]);
    assert_eq!(positions("2.1.2"), [11, 14]);
}

#[test]
fn a_claim_after_a_crash_tells_what_is_not_repeated_and_what_may_be() {
    let trace = traced(crashed_and_finished());
    let [first, second] = trace.activations.as_slice() else { panic!("{:?}", trace.activations) };
    assert!(!first.restart && second.restart);
    assert_eq!((second.steps_recalled, second.effects_recalled, second.effects_open), (1, 1, 1));
    let ids = |rows: Vec<&Row>| rows.into_iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let recalled = trace.recalled(second);
    assert_eq!(ids(recalled.steps), ["1"]);
    assert_eq!(ids(recalled.effects), ["2.1.1"]);
    assert_eq!(ids(recalled.open), ["2.1.2"]);
    let nothing = trace.recalled(first);
    assert!(nothing.steps.is_empty() && nothing.effects.is_empty() && nothing.open.is_empty());
    let What::Http(open) = &row(&trace, "2.1.2").what else { panic!("not HTTP") };
    assert_eq!((open.interrupted, open.idempotency_key.as_deref()), (1, Some("key-1")));
}

#[test]
fn a_claim_by_the_same_process_is_no_restart() {
    let mut entries = journal([started(), claimed("one"), sleep(1, 5), claimed("one")]);
    entries.iter_mut().for_each(|entry| entry.epoch = Epoch(4));
    let trace = trace(&entries);
    assert_eq!(trace.totals.restarts, 0);
    assert_eq!(trace.activations.len(), 2);
}

#[test]
fn a_resumed_attempt_keeps_its_first_worker_and_names_the_next() {
    let trace = traced(crashed_and_finished());
    let What::Attempt { number: 1, worker, resumed, next_at: None, .. } = &row(&trace, "2.1").what else {
        panic!("{:?}", row(&trace, "2.1"))
    };
    assert_eq!(worker.as_deref(), Some("one"));
    assert_eq!(resumed.len(), 1);
    assert_eq!((resumed[0].worker.as_deref(), resumed[0].position), (Some("two"), Position(13)));
}

#[test]
fn a_failed_attempt_leaves_its_step_retrying_until_the_next_one_starts() {
    let beginning = vec![started(), claimed("w"), call(1, "fetch"), attempt(1, 1), http(1, 1, 1), failed(1, 1, 1_006)];
    let waiting = traced(beginning.clone());
    assert_eq!(row(&waiting, "1").status, RowStatus::Retrying);
    let What::Call { retry_at, .. } = &row(&waiting, "1").what else { panic!("not a call") };
    assert_eq!(*retry_at, Some(Timestamp::from_millis(1_006)));
    assert_eq!(row(&waiting, "1.1").status, RowStatus::Failed);
    assert_eq!(row(&waiting, "1.1").failure.as_ref().map(|failure| failure.code.as_str()), Some("HTTP_CONNECT"));
    assert_eq!(row(&waiting, "1.1.1").status, RowStatus::Aborted, "its attempt ended first");
    assert_eq!(waiting.run.expect("started").status, Status::Waiting);

    let again = traced(beginning.into_iter().chain([sleep(2, 9), attempt(1, 2), answered(1, "1")]));
    assert_eq!(row(&again, "1").status, RowStatus::Succeeded);
    assert_eq!(row(&again, "1.2").status, RowStatus::Succeeded);
    assert_eq!(row(&again, "1.2").queue_us, Some(1_000), "since it was due, not since it was asked for");
    assert_eq!(again.totals.attempts_failed, 1);
}

#[test]
fn queue_and_duration_are_told_apart() {
    let trace = traced([started(), claimed("w"), call(1, "f"), sleep(2, 1), attempt(1, 1), answered(1, "1")]);
    let step = row(&trace, "1");
    assert_eq!((step.queue_us, step.duration_us), (Some(2_000), Some(3_000)));
    assert_eq!(row(&trace, "1.1").duration_us, Some(1_000));
    assert_eq!(row(&trace, "2").duration_us, None, "it is open");
}

#[test]
fn label_place_and_input_come_from_the_request_unchanged() {
    let trace = traced([started(), claimed("w"), call(1, "f")]);
    let step = row(&trace, "1");
    assert_eq!((step.label.as_deref(), step.at.as_deref()), (Some("first"), Some("src/lib.rs:41")));
    assert_eq!(step.input, Some(Shown::of(&Value::inline(r#"{"b": 1, "a": 2}"#))));
    assert_eq!(step.status, RowStatus::Queued);
    assert!(serde_json::to_string(&step.input).expect("JSON").contains(r#"{"b": 1, "a": 2}"#));
}

#[test]
fn a_sleep_is_due_after_the_time_on_the_guests_clock() {
    let trace = traced([started(), claimed("w"), sleep(1, 250)]);
    assert_eq!(row(&trace, "1").what, What::Sleep { duration_ms: 250, due: Timestamp::from_millis(1_250) });
    assert_eq!(trace.run.expect("started").status, Status::Sleeping);
}

#[test]
fn a_forgotten_step_takes_its_attempt_and_effects_with_it() {
    let forgotten = Kind::Forgotten(Forgotten { step: StepId(1), proof: PROOF });
    let trace = traced([started(), claimed("w"), call(1, "f"), attempt(1, 1), http(1, 1, 1), forgotten]);
    assert_eq!(row(&trace, "1").status, RowStatus::Forgotten);
    assert_eq!(row(&trace, "1.1").status, RowStatus::Aborted);
    assert_eq!(row(&trace, "1.1.1").status, RowStatus::Aborted);
    assert_eq!(trace.totals.steps_forgotten, 1);
}

#[test]
fn a_cancelled_step_is_not_shown_as_failed() {
    let cancel = Kind::StepCancelAsked(StepCancelAsked { step: StepId(1), proof: PROOF });
    let end = answered_with(1, Failure::permanent(code::CANCELLED, "by the workflow"));
    let trace = traced([started(), claimed("w"), call(1, "f"), attempt(1, 1), cancel, end]);
    assert_eq!(row(&trace, "1").status, RowStatus::Cancelled);
    assert_eq!(row(&trace, "1").cancel_asked, Some(Timestamp::from_millis(1_004)));
    assert_eq!(row(&trace, "1.1").status, RowStatus::Cancelled);
    assert_eq!((trace.totals.steps_cancelled, trace.totals.steps_failed), (1, 0));
}

#[test]
fn a_cancelled_run_shows_the_request_and_closes_what_was_open() {
    let received = Kind::CancelReceived(CancelReceived { message: MessageId(3), reason: "too late".into() });
    let end = finished(End::Cancelled { reason: "too late".into() });
    let trace = traced([started(), claimed("w"), call(1, "f"), attempt(1, 1), received, sleep(2, 1), end]);
    let ids: Vec<_> = trace.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["1", "1.1", "cancel", "2"]);
    assert_eq!(row(&trace, "1").status, RowStatus::Cancelled);
    assert_eq!(row(&trace, "1.1").status, RowStatus::Cancelled);
    assert_eq!(row(&trace, "cancel").positions, [Position(4)]);
    let run = trace.run.expect("started");
    assert_eq!((run.status, run.reason.as_deref()), (Status::Cancelled, Some("too late")));
}

#[test]
fn steps_open_at_the_end_of_a_run_are_aborted() {
    let failure = Failure::new(code::PANIC, "boom").at(Some("src/lib.rs:9".to_owned()));
    let trace = traced([started(), claimed("w"), call(1, "f"), finished(End::Failed(failure.to_value()))]);
    assert_eq!(row(&trace, "1").status, RowStatus::Aborted);
    assert_eq!(trace.run.expect("started").failure, Some(failure));
    assert_eq!(trace.totals.steps_open, 0);
}

#[test]
fn an_exchange_shows_its_status_and_the_tries_before_it() {
    let answer = r#"{"status": 503, "headers": [], "body": "", "tries": [{"error": "reset"}, {"status": 502}]}"#;
    let end = http_answer(1, 1, 1, Value::inline(answer));
    let trace = traced([started(), claimed("w"), call(1, "f"), attempt(1, 1), http(1, 1, 1), end]);
    let What::Http(http) = &row(&trace, "1.1.1").what else { panic!("not HTTP") };
    assert_eq!((http.method.as_deref(), http.url.as_deref()), (Some("POST"), Some("http://127.0.0.1/a")));
    assert_eq!((http.status, http.tries.len()), (Some(503), 2));
    assert_eq!(http.tries[0].error.as_deref(), Some("reset"));
    assert_eq!(http.tries[1].status, Some(502));
}

#[test]
fn stored_values_are_named_and_read_when_they_are_brought() {
    let stored = |byte| Value::Stored { digest: Digest([byte; 32]), size_bytes: 9_000 };
    let entries = journal([
        started(),
        claimed("w"),
        call(1, "f"),
        attempt(1, 1),
        http_of(1, 1, 1, stored(8)),
        http_answer(1, 1, 1, stored(9)),
    ]);
    assert_eq!(payloads_wanted(&entries), [Digest([8; 32]), Digest([9; 32])]);
    let bare = trace(&entries);
    assert_eq!(row(&bare, "1.1.1").title(), "HTTP (request beside the journal)");
    assert_eq!(row(&bare, "1.1.1").output, Some(Shown::Payload { digest: Digest([9; 32]), size_bytes: 9_000 }));

    let mut payloads = Payloads::new();
    payloads.insert(Digest([8; 32]), r#"{"url": "https://example.com/"}"#.into());
    payloads.insert(Digest([9; 32]), r#"{"status": 404}"#.into());
    let full = trace_with(&entries, &payloads);
    assert_eq!(row(&full, "1.1.1").title(), "GET https://example.com/");
    let What::Http(http) = &row(&full, "1.1.1").what else { panic!("not HTTP") };
    assert_eq!(http.status, Some(404));
}

#[test]
fn every_beginning_of_a_journal_has_a_trace_and_rows_keep_their_ids() {
    let entries = journal(crashed_and_finished());
    let mut before: Vec<String> = Vec::new();
    for end in 0..=entries.len() {
        let trace = trace(&entries[..end]);
        assert_eq!(trace.unplaced, []);
        let ids: Vec<_> = trace.rows.iter().map(|row| row.id.clone()).collect();
        assert!(before.iter().all(|id| ids.contains(id)), "a row vanished at {end}");
        let folded = RunState::of(&entries[..end]).ok().map(|state| state.status());
        assert_eq!(trace.run.map(|run| run.status), folded, "at {end}: one status, however it is folded");
        before = ids;
    }
}

#[test]
fn a_trace_survives_json_and_back() {
    let trace = traced(crashed_and_finished());
    let text = serde_json::to_string(&trace).expect("a trace is JSON");
    assert_eq!(serde_json::from_str::<Trace>(&text).expect("and comes back"), trace);
    let tree = serde_json::to_value(&trace).expect("also by way of a tree");
    assert_eq!(tree["rows"][2]["what"]["http"]["status"], 200);
    assert_eq!(tree["rows"][0]["output"]["json"], "first");
}

#[test]
fn text_that_is_not_json_does_not_break_the_traces_json() {
    let trace = traced([started(), claimed("w"), call(1, "f"), attempt(1, 1), answered(1, "{oops\n")]);
    let tree = serde_json::to_value(&trace).expect("a trace is JSON");
    assert_eq!(tree["rows"][0]["output"]["json"], "{oops\n");
}

#[test]
fn an_answer_that_was_forgotten_before_it_was_taken_is_still_the_answer() {
    let trace = traced([started(), claimed("w"), call(1, "f"), attempt(1, 1), answered(1, "1"), testing::forgotten(1)]);
    let row = row(&trace, "1");
    assert_eq!((row.status, row.closed), (RowStatus::Succeeded, Some(Position(4))));
    assert_eq!(row.positions, [2, 4, 5].map(Position));
    let again = [started(), claimed("w"), call(1, "f"), testing::forgotten(1), testing::forgotten(1)];
    assert_eq!(super::trace(&journal(again)).unplaced, [Position(4)]);
}

#[test]
fn entries_that_make_no_sense_are_listed_and_harm_nothing() {
    let nonsense = [
        answered(9, "1"),
        attempt(9, 1),
        started(),
        started(),
        call(1, "f"),
        call(1, "g"),
        attempt(1, 1),
        attempt(1, 1),
        resumed(1, 7),
        ok(1, 1, 1),
        http(1, 1, 1),
        http(1, 1, 1),
        answered(1, "1"),
        answered(1, "2"),
        failed(1, 1, 0),
        sleep(2, u64::MAX),
        attempt(2, 1),
        finished(End::Succeeded(Value::null())),
        finished(End::Succeeded(Value::null())),
    ];
    let trace = trace(&journal(nonsense));
    let unplaced: Vec<_> = trace.unplaced.iter().map(|position| position.0).collect();
    assert_eq!(unplaced, [0, 1, 3, 5, 7, 8, 9, 11, 13, 14, 16, 18]);
    assert_eq!(row(&trace, "1").output, Some(Shown::of(&Value::inline("1"))), "the first answer counts");
}

#[test]
fn any_order_of_entries_gives_a_trace_that_is_valid_json() {
    use proptest::prelude::*;
    let kinds = crashed_and_finished();
    let places = proptest::collection::vec(0..kinds.len(), 0..40);
    proptest!(|(places in places)| {
        let entries = journal(places.iter().map(|place| kinds[*place].clone()));
        let trace = trace(&entries);
        let text = serde_json::to_string(&trace).expect("a trace is JSON");
        prop_assert_eq!(serde_json::from_str::<Trace>(&text).expect("and comes back"), trace);
    });
}

#[test]
fn a_time_in_which_a_run_was_held_has_a_row_from_its_start_to_its_end() {
    let held = trace(&testing::journal([
        testing::started(),
        testing::claimed(),
        testing::call(1),
        testing::paused(),
        testing::resumed_run(),
        testing::sleep(2, 5),
        testing::paused(),
    ]));
    let rows: Vec<_> = held.rows.iter().map(|row| (row.id.as_str(), row.status)).collect();
    let expected = [
        ("1", RowStatus::Queued),
        ("pause-1", RowStatus::Succeeded),
        ("2", RowStatus::Running),
        ("pause-2", RowStatus::Running),
    ];
    assert_eq!(rows, expected);
    assert_eq!(held.rows[1].duration_us, Some(1_000));
    assert_eq!(held.run.expect("started").status, Status::Paused);
    assert_eq!(held.unplaced, []);
}

#[test]
fn a_trace_says_from_where_a_run_was_restarted() {
    let trace =
        trace(&testing::journal([testing::started(), testing::forked(&[0]), testing::claimed(), testing::call(1)]));
    let run = trace.run.expect("started");
    assert_eq!(run.forked, Some(ForkedFrom { run: RunId(3), step: StepId(2) }));
    assert_eq!(trace.unplaced, []);
}

#[test]
fn a_step_that_was_parked_and_went_on_is_told_with_each_of_its_attempts() {
    let kept = crate::Kept { answers: 1, last: Some(EffectId(1)) };
    let whole = traced([
        crate::testing::started(),
        crate::testing::deadline(9_000),
        crate::testing::claimed(),
        crate::testing::call(1),
        crate::testing::attempt(1, 1),
        crate::testing::effect(1, 1, 1),
        crate::testing::effect_answered(1, 1, 1),
        crate::testing::failed_keeping(1, 1, 2_000, kept),
        crate::testing::attempt(1, 2),
        crate::testing::progressed(1, 2, "0.5"),
        crate::testing::parked(1, 2, crate::Park::Unclear(EffectId(1))),
    ]);
    let told = |trace: &Trace, id: &str| row(trace, id).status;
    assert_eq!(
        whole.run.as_ref().map(|run| (run.status, run.deadline)),
        Some((Status::Waiting, Some(Timestamp(9_000_000))))
    );
    assert_eq!(
        (told(&whole, "1"), told(&whole, "1.1"), told(&whole, "1.1.1")),
        (RowStatus::Parked, RowStatus::Failed, RowStatus::Succeeded)
    );
    assert_eq!((told(&whole, "1.2"), told(&whole, "1.2.1")), (RowStatus::Parked, RowStatus::Parked));
    let What::Attempt { continues: Some(1), progress: Some(_), .. } = &row(&whole, "1.2").what else {
        panic!("{:?}", row(&whole, "1.2"));
    };
}

#[test]
fn a_persons_word_names_the_code_of_the_attempt_that_follows() {
    let trace = traced([
        crate::testing::started(),
        crate::testing::claimed(),
        crate::testing::call(1),
        crate::testing::attempt(1, 1),
        crate::testing::parked(1, 1, crate::Park::Exhausted),
        crate::testing::retry(1, Some("fixed"), None),
        crate::testing::attempt(1, 2),
        crate::testing::answered(1),
    ]);
    let What::Attempt { with: Some(with), .. } = &row(&trace, "1.2").what else { panic!("{trace:?}") };
    assert_eq!((&**with, row(&trace, "1").status), ("fixed", RowStatus::Succeeded));
}
