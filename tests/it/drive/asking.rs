//! Questions that functions ask people: several at once, over crashes and restarts, answered once, in time or not at
//! all; while it waits an attempt holds nothing.

use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    EffectId, Entry, Kind, MessageId, Outcome, QuestionId, RunState, Status, StepId, Value, Waiting, code,
};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use crate::rig::{Rig, TENANT, in_virtual_time};

const PATIENCE_MS: u64 = 60_000;

fn form(title: &str, timeout_ms: Option<u64>) -> Json {
    let fields = json!([{ "name": "approve", "kind": "approval" }]);
    match timeout_ms {
        Some(timeout_ms) => json!({ "title": title, "fields": fields, "timeout_ms": timeout_ms }),
        None => json!({ "title": title, "fields": fields }),
    }
}

fn ask(title: &str) -> Json {
    json!(["ask", form(title, None)])
}

fn ask_within(title: &str) -> Json {
    json!(["ask", form(title, Some(PATIENCE_MS))])
}

/// Calls a function that does this.
fn calls(ops: &Json, options: &Json) -> String {
    let input = json!({ "ops": ops });
    json!({ "ops": [["call", "script", input, options.to_string()], ["next"]] }).to_string()
}

async fn started(input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("raw").await;
    let run = rig.start("raw", "script", input).await;
    (rig, run)
}

async fn asked(ops: &Json) -> (Rig, RunKey) {
    let (rig, run) = started(&calls(ops, &json!({}))).await;
    waits_for_a_person(&rig, run).await;
    (rig, run)
}

async fn waits_for_a_person(rig: &Rig, run: RunKey) {
    rig.until(run, |head| (head.status, head.waiting) == (Status::Waiting, Some(Waiting::Person))).await;
}

fn body(attempt: u32, effect: u32, approve: bool) -> InboxBody {
    let (step, effect, request) = (StepId(1), EffectId(effect), MessageId(u128::from(effect)));
    let answer = Value::inline(json!({ "approve": approve }).to_string());
    InboxBody::AnswerInAttempt { step, attempt, effect, request, answer, by: Some("ann".into()) }
}

async fn answer(rig: &Rig, run: RunKey, effect: u32, approve: bool) -> Sent {
    rig.send_as(run, u128::from(effect), body(1, effect, approve)).await
}

/// What the function told, of a run that succeeds: each completion as kind, id and body.
async fn told(rig: &Rig, run: RunKey) -> Vec<Json> {
    let output: Json = serde_json::from_str(&rig.output(run).await).expect("JSON");
    let told: Json = serde_json::from_str(output[1][2].as_str().expect("a body")).expect("what the function told");
    told.as_array().expect("a list").iter().filter(|told| told.is_array()).cloned().collect()
}

fn completion(kind: &str, id: u32, approve: bool) -> Json {
    json!([kind, id, json!({ "approve": approve }).to_string()])
}

/// The names of the open questions.
async fn open(rig: &Rig) -> Vec<String> {
    let open = rig.storage.questions(TENANT, None, 9).await.expect("read");
    open.iter().map(|open| open.question.name.to_string()).collect()
}

/// A person who says yes to whatever is asked, until the run has ended.
async fn approved(rig: &Rig, run: RunKey) {
    while !rig.head(run).await.status.has_ended() {
        let state = RunState::of(&rig.entries(run).await).expect("a journal");
        for (QuestionId { name, attempt }, _) in state.questions() {
            let effect = name.effect.expect("a function asks").0;
            let message = u128::from(attempt) << 32 | u128::from(effect);
            rig.send_as(run, message, body(attempt, effect, true)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn settled(entries: &[Entry]) -> Vec<(u32, u32, bool)> {
    let settled = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::EffectSettled(settled) => Some((settled.attempt, settled.effect.0, settled.request.is_some())),
        _ => None,
    });
    settled.collect()
}

#[test]
fn two_questions_at_once_are_answered_in_the_other_order() {
    in_virtual_time(async {
        let (rig, run) = asked(&json!([ask("Pay?"), ask("Sure?"), ["next"], ["next"]])).await;
        assert_eq!(open(&rig).await, ["1.2", "1.1"]);
        tokio::time::sleep(Duration::from_secs(30)).await;
        let rig = rig.crash().await;
        waits_for_a_person(&rig, run).await;
        assert_eq!(open(&rig).await, ["1.2", "1.1"]);
        assert_eq!(answer(&rig, run, 2, false).await, Sent::Delivered);
        while open(&rig).await != ["1.1"] {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits_for_a_person(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(answer(&rig, run, 2, true).await, Sent::Delivered, "the first one stands");
        assert_eq!(answer(&rig, run, 1, true).await, Sent::Delivered);
        assert_eq!(told(&rig, run).await, [completion("succeeded", 2, false), completion("succeeded", 1, true)]);
        assert_eq!(settled(&rig.entries(run).await), [(1, 2, true), (1, 1, true)]);
        assert!(open(&rig).await.is_empty());
        rig.replays(run).await;
    });
}

#[test]
fn an_answer_reaches_an_attempt_in_every_state_of_rest() {
    in_virtual_time(async {
        // At once, after its memory was given back, after the run was, and over a restart.
        for wait in [0, 1_000, 7_000, 120_000] {
            for crashes in [false, true] {
                let (mut rig, run) = asked(&json!([ask("Pay?"), ["next"]])).await;
                tokio::time::sleep(Duration::from_millis(wait)).await;
                if crashes {
                    rig = rig.crash().await;
                }
                assert_eq!(answer(&rig, run, 1, true).await, Sent::Delivered);
                assert_eq!(told(&rig, run).await, [completion("succeeded", 1, true)], "{wait} {crashes}");
                rig.replays(run).await;
            }
        }
    });
}

#[test]
fn an_attempt_that_waits_holds_nothing_while_its_run_is_busy() {
    in_virtual_time(async {
        let call = json!(["call", "script", { "ops": [ask("Pay?"), ["next"]] }, ""]);
        let nap = json!(["repeat", 40, [["sleep", 1_000, ""], ["next"]]]);
        let (rig, run) = started(&json!({ "ops": [call, nap, ["next"]] }).to_string()).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(open(&rig).await, ["1.1"]);
        let resumed = |kinds: Vec<String>| kinds.iter().filter(|kind| kind.starts_with("AttemptResumed")).count();
        assert_eq!(resumed(rig.kinds(run).await), 0);
        answer(&rig, run, 1, true).await;
        assert_eq!(rig.ended(run).await.status, Status::Succeeded);
        assert_eq!(resumed(rig.kinds(run).await), 1, "it was brought back for the answer");
        rig.replays(run).await;
    });
}

#[test]
fn attempts_that_wait_for_people_are_not_recalled_for_what_else_happens() {
    const PEOPLE: u32 = 20;
    in_virtual_time(async {
        let call = json!(["call", "script", { "ops": [ask("Pay?"), ["next"]] }, ""]);
        // Long enough that nothing of the run is in memory when it wakes.
        let naps = json!(["repeat", 60, [["sleep", 60_000, ""], ["next"]]]);
        let answers = json!(["repeat", PEOPLE, [["next"]]]);
        let ops: Vec<Json> = (0..PEOPLE).map(|_| call.clone()).chain([naps, answers]).collect();
        let (rig, run) = started(&json!({ "ops": ops }).to_string()).await;
        let count = |kinds: Vec<String>, of: &str| kinds.iter().filter(|kind| kind.starts_with(of)).count();
        tokio::time::sleep(Duration::from_secs(1_700)).await;
        assert!(count(rig.kinds(run).await, "Claimed") > 20, "it was in nobody's hand");
        assert_eq!(count(rig.kinds(run).await, "AttemptResumed"), 0);
        // What nobody remembers is recalled once.
        let rig = rig.crash().await;
        tokio::time::sleep(Duration::from_secs(1_700)).await;
        assert_eq!(count(rig.kinds(run).await, "AttemptResumed"), PEOPLE as usize);
        for step in 1..=PEOPLE {
            let (effect, request) = (EffectId(1), MessageId(step.into()));
            let answer = Value::inline(json!({ "approve": true }).to_string());
            let step = StepId(step);
            let body = InboxBody::AnswerInAttempt { step, attempt: 1, effect, request, answer, by: None };
            assert_eq!(rig.send_as(run, step.0.into(), body).await, Sent::Delivered);
            tokio::time::sleep(Duration::from_secs(45)).await;
        }
        assert_eq!(rig.ended(run).await.status, Status::Succeeded);
        assert_eq!(count(rig.kinds(run).await, "AttemptResumed"), 2 * PEOPLE as usize, "each for its answer");
        rig.replays(run).await;
    });
}

#[test]
fn the_time_of_a_person_is_not_that_of_the_function() {
    in_virtual_time(async {
        for wait in [3, 4, 30, 86_400] {
            let options = json!({ "timeout_ms": 2_000, "heartbeat_timeout_ms": 1_000, "retry": { "attempts": 1 } });
            let ops = json!([ask("Pay?"), ["next"], ["sleep", 500, ""], ["next"]]);
            let (rig, run) = started(&calls(&ops, &options)).await;
            tokio::time::sleep(Duration::from_secs(wait)).await;
            answer(&rig, run, 1, true).await;
            assert_eq!(told(&rig, run).await[0], completion("succeeded", 1, true), "after {wait} s");
        }
    });
}

#[test]
fn a_question_that_nobody_answers_expires() {
    in_virtual_time(async {
        let (rig, run) = asked(&json!([ask_within("Pay?"), ["next"], ask("Sure?"), ["next"]])).await;
        assert!(rig.head(run).await.due.is_some());
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(open(&rig).await, ["1.2"]);
        assert_eq!(answer(&rig, run, 1, true).await, Sent::Delivered, "too late");
        assert_eq!(answer(&rig, run, 2, true).await, Sent::Delivered);
        let told = told(&rig, run).await;
        assert!(told[0].to_string().contains(code::EXPIRED), "{told:?}");
        assert_eq!(told[1], completion("succeeded", 2, true));
        assert_eq!(settled(&rig.entries(run).await), [(1, 1, false), (1, 2, true)]);
        rig.replays(run).await;
    });
}

#[test]
fn an_answer_in_time_beats_the_deadline_though_the_host_was_down() {
    in_virtual_time(async {
        for (answered_after, in_time) in [(Some(59), true), (Some(61), false), (None, false)] {
            let (rig, run) = asked(&json!([ask_within("Pay?"), ["next"]])).await;
            let begun = rig.head(run).await.changed;
            let storage = Arc::new(rig.storage.crash());
            drop(rig);
            if let Some(after) = answered_after {
                let arrived = begun + Duration::from_secs(after);
                let item = InboxItem { message: MessageId(1), arrived, body: body(1, 1, true) };
                assert_eq!(storage.send(run, item).await.expect("sent"), Sent::Delivered);
            }
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            let rig = Rig::on(storage, Arc::default(), Duration::from_secs(3)).await;
            let told = told(&rig, run).await;
            assert_eq!(told[0] == completion("succeeded", 1, true), in_time, "{told:?}");
            assert_eq!(told[0].to_string().contains(code::EXPIRED), !in_time);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_question_is_held_open_while_an_answer_is_on_its_way() {
    in_virtual_time(async {
        for (late_ms, in_time) in [(0, true), (1, false)] {
            let (rig, run) = asked(&json!([ask_within("Pay?"), ["next"]])).await;
            let due = rig.head(run).await.due.expect("the question has a deadline");
            let answering = rig.worker().answering(run);
            tokio::time::sleep(Duration::from_secs(65)).await;
            assert_eq!(open(&rig).await, ["1.1"]);
            let arrived = due + Duration::from_millis(late_ms);
            let item = InboxItem { message: MessageId(1), arrived, body: body(1, 1, true) };
            assert_eq!(rig.storage.send(run, item).await.expect("sent"), Sent::Delivered);
            drop(answering);
            assert_eq!(told(&rig, run).await[0] == completion("succeeded", 1, true), in_time);
        }
    });
}

#[test]
fn a_question_that_its_function_gives_up_is_open_no_more() {
    in_virtual_time(async {
        let forgets =
            json!([ask("Pay?"), ["sleep", 50, ""], ["next"], ["forget", 1], ["sleep", 600_000, ""], ["next"]]);
        let (rig, run) = started(&calls(&forgets, &json!({}))).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(open(&rig).await.is_empty(), "{:?}", rig.kinds(run).await);
        answer(&rig, run, 1, true).await;
        let rig = rig.crash().await;
        let told_after = told(&rig, run).await;
        assert_eq!(told_after.len(), 2, "nothing is delivered for it: {told_after:?}");
        rig.replays(run).await;

        let cancels =
            json!([ask("Pay?"), ["sleep", 50, ""], ["next"], ["cancel", 1], ["next"], ask("Sure?"), ["next"]]);
        let (rig, run) = started(&calls(&cancels, &json!({}))).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(open(&rig).await, ["1.3"]);
        answer(&rig, run, 3, true).await;
        let told = told(&rig, run).await;
        assert!(told[1].to_string().contains(code::CANCELLED), "{told:?}");
        rig.replays(run).await;
    });
}

#[test]
fn the_end_of_an_attempt_closes_its_questions_and_the_next_one_asks_what_had_no_answer() {
    in_virtual_time(async {
        // It fails when the first one is answered, while the second one is open.
        let ops = json!([ask("Pay?"), ask("Sure?"), ["next"], ["fail", "not yet"]]);
        let options = |resume: bool| json!({ "retry": { "attempts": 2, "resume": resume, "backoff_ms": 60_000 } });
        for (resume, expected) in [(false, vec!["1.2", "1.1"]), (true, vec![])] {
            let (rig, run) = started(&calls(&ops, &options(resume))).await;
            waits_for_a_person(&rig, run).await;
            answer(&rig, run, 1, true).await;
            rig.until(run, |head| head.waiting == Some(Waiting::Retry)).await;
            assert!(open(&rig).await.is_empty(), "nobody waits for an answer between two attempts");
            assert_eq!(answer(&rig, run, 2, true).await, Sent::Delivered);
            tokio::time::sleep(Duration::from_secs(61)).await;
            let rig = rig.crash().await;
            if resume {
                // What was answered is recalled, so it fails again without asking.
                assert_eq!(rig.ended(run).await.status, Status::Succeeded, "the workflow is told of the failure");
                assert_eq!(settled(&rig.entries(run).await), [(1, 1, true)]);
            } else {
                waits_for_a_person(&rig, run).await;
                assert_eq!(open(&rig).await, expected);
                approved(&rig, run).await;
                let attempts: Vec<u32> =
                    settled(&rig.entries(run).await).iter().map(|(attempt, ..)| *attempt).collect();
                assert_eq!(attempts[..2], [1, 2]);
            }
            rig.replays(run).await;
        }
        // Broken off by the failure of an effect behind it, the open one is asked again under the next attempt.
        let ops = json!([ask("Pay?"), ["sleep", 5, ""], ["next"], ["sleep", 5, ""], ["next"], ["fail", "not yet"]]);
        let (rig, run) = started(&calls(&ops, &options(true))).await;
        rig.until(run, |head| head.waiting == Some(Waiting::Retry)).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(rig.ended(run).await.status, Status::Succeeded);
        assert!(open(&rig).await.is_empty());
    });
}

#[test]
fn a_run_is_cancelled_while_a_function_waits_for_a_person() {
    in_virtual_time(async {
        let ops = json!([["call", "script", { "ops": [ask("Pay?"), ["next"]] }, ""], ["next"]]);
        let script = json!({ "ops": [ops[0], ops[1], ["fail", "{\"code\":\"CANCELLED\",\"message\":\"enough\"}"]] });
        let (rig, run) = started(&script.to_string()).await;
        waits_for_a_person(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        assert!(open(&rig).await.is_empty());
        assert_eq!(answer(&rig, run, 1, true).await, Sent::Ended(Status::Cancelled));
        rig.replays(run).await;
    });
}

#[test]
fn a_run_restarted_from_the_step_asks_anew() {
    in_virtual_time(async {
        let (rig, run) = asked(&json!([ask("Pay?"), ["next"]])).await;
        let fork = RunKey { run: rig.worker().fork(run, StepId(1), None).await.expect("forked").run, ..run };
        waits_for_a_person(&rig, fork).await;
        assert_eq!(open(&rig).await, ["1.1", "1.1"]);
        assert_eq!(rig.send_as(fork, 1, body(1, 1, true)).await, Sent::Delivered);
        assert_eq!(told(&rig, fork).await, [completion("succeeded", 1, true)]);
        assert_eq!(open(&rig).await, ["1.1"], "the other run's own is still open");
        rig.replays(fork).await;
        answer(&rig, run, 1, false).await;
        let again = RunKey { run: rig.worker().fork(fork, StepId(1), None).await.expect("forked").run, ..run };
        approved(&rig, again).await;
        assert_eq!(told(&rig, run).await, [completion("succeeded", 1, false)]);
    });
}

#[test]
fn a_held_run_takes_an_answer_and_goes_on_with_it_when_it_is_resumed() {
    in_virtual_time(async {
        for wait in [1, 10, 100] {
            let (rig, run) = asked(&json!([ask("Pay?"), ["next"]])).await;
            rig.send(run, InboxBody::Pause { reason: "look".into() }).await;
            rig.until(run, |head| head.status == Status::Paused).await;
            tokio::time::sleep(Duration::from_secs(wait)).await;
            answer(&rig, run, 1, true).await;
            tokio::time::sleep(Duration::from_secs(wait)).await;
            rig.send(run, InboxBody::Resume).await;
            assert_eq!(told(&rig, run).await, [completion("succeeded", 1, true)]);
            rig.replays(run).await;
        }
    });
}

#[test]
fn what_is_no_question_is_refused() {
    in_virtual_time(async {
        let ops = json!([["ask", { "fields": [] }], ["next"], ["ask", form("Pay?", None), r#"{"span":7}"#], ["next"]]);
        let (rig, run) = started(&calls(&ops, &json!({}))).await;
        let told = told(&rig, run).await;
        assert!(told[0].to_string().contains(code::BAD_REQUEST), "{told:?}");
        assert!(told[1].to_string().contains(code::BAD_OPTIONS), "{told:?}");
        assert!(open(&rig).await.is_empty());
        rig.replays(run).await;
    });
}

/// Asks within an agent, naps, asks two at once, and fails until its third attempt, which goes on.
fn thorough() -> String {
    let ops = json!([
        ["begin", "agent", "clerk", 1],
        ["ask", form("Begin?", None), r#"{"span":1}"#],
        ["next"],
        ["get", "http://world.test/a", r#"{"span":1}"#],
        ["next"],
        ["ask", form("Pay?", Some(PATIENCE_MS)), r#"{"span":1}"#],
        ask("Sure?"),
        ["next"],
        ["next"],
        ["end", 1, "done"],
        ["get", "http://world.test/b"],
        ["next"],
        ["fail", "not yet"],
    ]);
    calls(&ops, &json!({ "retry": { "attempts": 2, "resume": true, "backoff_ms": 10 } }))
}

#[test]
fn a_crash_after_any_entry_asks_nothing_twice_that_was_answered() {
    in_virtual_time(async {
        let (whole, run) = started(&thorough()).await;
        approved(&whole, run).await;
        let journal = whole.entries(run).await;
        let asks = |entries: &[Entry]| {
            let mut asked = settled(entries);
            asked.sort_unstable();
            asked
        };
        assert_eq!(asks(&journal), [(1, 2, true), (1, 4, true), (1, 5, true)]);
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            approved(&rig, run).await;
            let again = rig.entries(run).await;
            assert_eq!(again[..kept], journal[..kept], "what stood was changed");
            assert_eq!(asks(&again), asks(&journal), "cut after {kept}: {:?}", rig.kinds(run).await);
            match (journal.last().map(|entry| &entry.kind), again.last().map(|entry| &entry.kind)) {
                (Some(Kind::Finished(before)), Some(Kind::Finished(after))) => assert_eq!(before.end, after.end),
                other => panic!("cut after {kept}: {other:?}"),
            }
            assert!(open(&rig).await.is_empty());
            rig.replays(run).await;
        }
        // With nobody there it all comes to its end too.
        let ops = json!([ask_within("Pay?"), ask_within("Sure?"), ["next"], ["next"]]);
        let (whole, run) = started(&calls(&ops, &json!({}))).await;
        let expected = told(&whole, run).await;
        let journal = whole.entries(run).await;
        for kept in 1..journal.len() {
            let rig = whole.cut(run, kept).await;
            assert_eq!(told(&rig, run).await, expected, "cut after {kept}");
            let again = rig.entries(run).await;
            let outcomes = again.iter().filter(|entry| match &entry.kind {
                Kind::EffectSettled(settled) => matches!(settled.outcome, Outcome::Failed(_)),
                _ => false,
            });
            assert_eq!(outcomes.count(), 2);
        }
    });
}
