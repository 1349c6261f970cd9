//! Functions that fail: when they are tried again, what the next attempt keeps, and what a person can do.

use serde_json::json;
use std::time::Duration;
use trackway_replay::{EffectId, EffectVerdict, Failure, Kind, Status, StepId, Value, With, code};
use trackway_storage::{InboxBody, RunKey, Sent, Storage};

use crate::rig::{Rig, TENANT, in_virtual_time, is_parked, number_of};

async fn started(workflow: &str, input: &str) -> (Rig, RunKey) {
    let rig = Rig::new().await;
    rig.deploy("mending").await;
    let run = rig.start("mending", workflow, input).await;
    (rig, run)
}

/// The planned waits in milliseconds.
async fn waits(rig: &Rig, run: RunKey) -> Vec<u128> {
    let entries = rig.entries(run).await;
    let waits = entries.iter().filter_map(|entry| match &entry.kind {
        Kind::Failed(failed) => Some(failed.next_at.since(entry.time).as_millis()),
        Kind::FailedKeeping(failed) => Some(failed.next_at.since(entry.time).as_millis()),
        _ => None,
    });
    waits.collect()
}

fn check_waits(input: &str, output: &str, wanted: &[u128]) {
    in_virtual_time(async {
        let (rig, run) = started("tries", input).await;
        assert_eq!(rig.output(run).await, output);
        assert_eq!(waits(&rig, run).await, wanted);
        rig.replays(run).await;
    });
}

#[test]
fn waits_are_as_the_call_says_and_else_as_the_function_says() {
    check_waits(r#"{"url": "", "until": 5, "how": "fixed"}"#, "5", &[1_000, 1_000, 1_000, 1_000]);
    check_waits(r#"{"url": "", "until": 5, "how": "linear"}"#, "5", &[1_000, 2_000, 3_000, 4_000]);
    check_waits(r#"{"url": "", "until": 6, "how": "exponential"}"#, "6", &[1_000, 2_000, 4_000, 8_000, 8_000]);
}

#[test]
fn a_failure_may_ask_for_more_patience() {
    check_waits(r#"{"url": "", "until": 3, "how": "fixed", "retry_after_ms": 7000}"#, "3", &[7_000, 7_000]);
    check_waits(r#"{"url": "", "until": 3, "how": "fixed", "retry_after_ms": 10}"#, "3", &[1_000, 1_000]);
}

fn check_fails(input: &str, code: &str, attempts: usize) {
    in_virtual_time(async {
        let (rig, run) = started("tries", input).await;
        assert_eq!(rig.failure(run).await.code, code);
        let kinds = rig.kinds(run).await;
        assert_eq!(kinds.iter().filter(|kind| kind.starts_with("AttemptStarted")).count(), attempts, "{kinds:?}");
        rig.replays(run).await;
    });
}

#[test]
fn a_code_that_is_excepted_ends_the_retries_at_once() {
    check_fails(r#"{"url": "", "until": 3, "how": "except"}"#, "NOT_YET", 1);
}

#[test]
fn no_attempt_begins_after_the_deadline() {
    check_fails(r#"{"url": "", "until": 20, "how": "deadline"}"#, "NOT_YET", 6);
}

#[test]
fn a_deadline_counts_from_the_asking_also_over_a_crash() {
    in_virtual_time(async {
        let (rig, run) = started("tries", r#"{"url": "", "until": 20, "how": "deadline"}"#).await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let rig = rig.crash().await;
        assert_eq!(rig.failure(run).await.code, "NOT_YET");
        let entries = rig.entries(run).await;
        let asked = entries.iter().find(|entry| matches!(entry.kind, Kind::Asked(_))).expect("it was asked");
        let took = entries[entries.len() - 1].time.since(asked.time);
        assert!(took < Duration::from_millis(5_500), "{took:?}");
        rig.replays(run).await;
    });
}

#[test]
fn a_deadline_counts_anew_for_what_a_restarted_run_begins_anew() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("raw").await;
        let retry = json!({ "attempts": 20, "backoff": "fixed", "backoff_ms": 1000, "jitter": 0, "deadline_ms": 5000 });
        let call = json!(["call", "script", { "ops": [["fail", "no"]] }, json!({ "retry": retry }).to_string()]);
        let script = json!({ "ops": [call, ["sleep", 1, ""], ["next"], ["next"]] }).to_string();
        let run = rig.start("raw", "script", &script).await;
        rig.ended(run).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let answer = rig.worker().fork(run, StepId(2), None).await.expect("it can be restarted from there");
        let again = RunKey { tenant: TENANT, run: answer.run };
        rig.ended(again).await;
        for run in [run, again] {
            let attempts = rig.kinds(run).await.iter().filter(|kind| kind.starts_with("AttemptStarted")).count();
            assert_eq!(attempts, 6, "{:?}", rig.kinds(run).await);
            rig.replays(run).await;
        }
    });
}

#[test]
fn a_policy_that_nobody_may_have_is_refused_by_name() {
    in_virtual_time(async {
        let (rig, run) = started("tries", r#"{"url": "", "how": "bad"}"#).await;
        let failure = rig.failure(run).await;
        assert_eq!(failure.code, code::BAD_OPTIONS);
        assert!(failure.message.contains("`attempts` is 21"), "{failure}");
        rig.replays(run).await;
    });
}

fn asked_for(rig: &Rig) -> Vec<String> {
    let path = |url: String| url.rsplit('/').next().unwrap_or_default().to_owned();
    rig.world.asked().into_iter().map(|contact| path(contact.url)).collect()
}

#[test]
fn the_next_attempt_goes_on_where_the_failed_one_was() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("mending").await;
        rig.world.script("/request/1", &[500, 500]);
        let run = rig.start("mending", "resumes", r#"{"url": "http://world.test"}"#).await;
        let sum: u64 = (0..3).map(|number| number_of(&format!("/request/{number}"))).sum();
        assert_eq!(rig.output(run).await, sum.to_string());
        assert_eq!(asked_for(&rig), ["0", "1", "1", "1", "2"], "what was answered well is not asked again");
        let keys: Vec<_> = rig.world.asked().into_iter().map(|contact| contact.key).collect();
        assert!(keys[1].is_some() && keys[1] == keys[2] && keys[2] == keys[3], "{keys:?}");
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_that_begins_anew_asks_under_the_same_keys_however_patient_it_is() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("mending").await;
        let run = rig.start("mending", "begins_anew", r#"{"url": "http://world.test", "until": 3}"#).await;
        rig.output(run).await;
        let keys: Vec<_> = rig.world.asked().into_iter().map(|contact| contact.key).collect();
        assert_eq!(keys.len(), 6, "{keys:?}");
        assert_ne!(keys[0], keys[1], "two requests are two, though they are the same");
        assert!(keys.chunks(2).all(|of_attempt| of_attempt == &keys[..2]), "{keys:?}");
        rig.replays(run).await;
    });
}

#[test]
fn an_attempt_that_the_host_broke_off_keeps_all_it_had_done() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("mending").await;
        rig.world.be_silent(true);
        let run = rig.start("mending", "resumes", r#"{"url": "http://world.test"}"#).await;
        tokio::time::sleep(Duration::from_secs(200)).await;
        rig.world.be_silent(false);
        rig.output(run).await;
        assert_eq!(asked_for(&rig), ["0", "0", "1", "2"]);
        let kept = rig.entries(run).await.into_iter().find_map(|entry| match entry.kind {
            Kind::FailedKeeping(failed) => Some((Failure::from_value(&failed.failure).code, failed.kept.last)),
            _ => None,
        });
        assert_eq!(kept, Some((code::TIMEOUT.to_owned(), None)));
        rig.replays(run).await;
    });
}

async fn parked(rig: &Rig, run: RunKey) {
    assert_eq!(rig.until(run, is_parked).await.status, Status::Waiting);
}

#[test]
fn a_parked_step_waits_for_ever_and_a_person_gives_it_all_its_attempts_again() {
    in_virtual_time(async {
        let (rig, run) = started("tries", r#"{"url": "", "until": 6, "how": "park"}"#).await;
        parked(&rig, run).await;
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        rig.help(run, None).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        parked(&rig, run).await;
        let kinds = rig.kinds(run).await;
        assert_eq!(kinds.iter().filter(|kind| kind.starts_with("AttemptStarted")).count(), 4, "{kinds:?}");
        let rig = rig.crash().await;
        rig.help(run, None).await;
        assert_eq!(rig.output(run).await, "6");
        rig.replays(run).await;
    });
}

#[test]
fn a_parked_step_does_not_hold_up_those_beside_it_and_heeds_a_cancel() {
    in_virtual_time(async {
        let (rig, run) = started("parks_one", r#"{"url": "http://world.test", "until": 9}"#).await;
        parked(&rig, run).await;
        assert!(rig.kinds(run).await.contains(&"Answered 2".to_owned()));
        assert_eq!(rig.cancel(run).await, Sent::Delivered);
        assert_eq!(rig.ended(run).await.status, Status::Cancelled);
        rig.replays(run).await;
    });
}

#[test]
fn a_person_can_hurry_a_retry_and_a_word_that_comes_too_late_changes_nothing() {
    in_virtual_time(async {
        let (rig, run) =
            started("tries", r#"{"url": "", "until": 3, "how": "fixed", "retry_after_ms": 3600000}"#).await;
        rig.until(run, |head| head.status == Status::Waiting).await;
        let word = || InboxBody::Retry { step: StepId(1), with: None, verdict: None };
        assert_eq!(rig.send(run, word()).await, Sent::Delivered);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.kinds(run).await.iter().filter(|kind| kind.starts_with("AttemptStarted")).count(), 2);
        for step in [1, 7] {
            let word = InboxBody::Retry { step: StepId(step), with: None, verdict: Some(EffectVerdict::Fail) };
            assert_eq!(rig.send(run, word).await, Sent::Delivered);
        }
        assert_eq!(rig.output(run).await, "3");
        rig.replays(run).await;
    });
}

#[test]
fn a_word_on_a_step_that_does_not_wait_for_one_does_not_hurry_it() {
    in_virtual_time(async {
        let rig = Rig::new().await;
        rig.deploy("sleeper").await;
        let run = rig.start("sleeper", "sleeps", "60000").await;
        rig.until(run, |head| head.status == Status::Sleeping).await;
        let word = InboxBody::Retry { step: StepId(1), with: None, verdict: None };
        assert_eq!(rig.send(run, word).await, Sent::Delivered);
        rig.output(run).await;
        let entries = rig.entries(run).await;
        let took = entries[entries.len() - 1].time.since(entries[0].time);
        assert!((60_000..60_100).contains(&took.as_millis()), "{took:?}");
        rig.replays(run).await;
    });
}

#[test]
fn the_attempts_from_here_on_may_run_other_code() {
    in_virtual_time(async {
        let (rig, run) = started("resumes_parked", r#"{"url": "http://world.test", "until": 2}"#).await;
        parked(&rig, run).await;
        let fixed = rig.deploy("effects").await;
        let with = With { deployment: "effects".into(), component: fixed };
        let word = |with| InboxBody::Retry { step: StepId(1), with: Some(with), verdict: None };
        assert_eq!(rig.send(run, word(with)).await, Sent::Delivered);
        tokio::time::sleep(Duration::from_secs(1)).await;
        parked(&rig, run).await;
        let failures: Vec<_> = rig
            .entries(run)
            .await
            .into_iter()
            .filter_map(|entry| match entry.kind {
                Kind::Parked(parked) => Some(Failure::from_value(&parked.failure).code),
                _ => None,
            })
            .collect();
        assert_eq!(failures, ["NOT_YET", code::UNKNOWN_FUNCTION], "the other code has no such function");
        let own = rig.storage.deployment(TENANT, "mending").await.expect("read").expect("deployed");
        let with = With { deployment: "mending".into(), component: own.versions[0].component };
        assert_eq!(rig.send(run, word(with)).await, Sent::Delivered);
        rig.output(run).await;
        rig.replays(run).await;
    });
}

#[test]
fn the_first_of_a_kept_effects_is_the_last_answer() {
    in_virtual_time(async {
        let (rig, run) = started("resumes", r#"{"url": "http://world.test", "until": 2}"#).await;
        rig.output(run).await;
        let kept = rig.entries(run).await.into_iter().find_map(|entry| match entry.kind {
            Kind::FailedKeeping(failed) => Some((failed.kept.answers, failed.kept.last)),
            _ => None,
        });
        assert_eq!(kept, Some((3, Some(EffectId(3)))));
        assert_eq!(asked_for(&rig), ["0", "1", "2", "2"]);
        assert!(
            matches!(rig.entries(run).await.pop().map(|entry| entry.kind), Some(Kind::Finished(finished)) if matches!(finished.end, trackway_replay::End::Succeeded(Value::Inline(_))))
        );
        rig.replays(run).await;
    });
}
