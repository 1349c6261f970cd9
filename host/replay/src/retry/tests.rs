//! When a failed step is tried again.

use proptest::prelude::*;
use std::time::Duration;

use super::{ATTEMPTS_MAX, BACKOFF_MAX, Backoff, Exhausted, RetryPatch, RetryPolicy, Spent, Verdict};
use crate::{Failure, Timestamp, code};

const NOW: Timestamp = Timestamp(1_000_000);

fn steady() -> RetryPolicy {
    RetryPolicy { jitter: 0.0, ..RetryPolicy::default() }
}

fn check(policy: &RetryPolicy, attempt: u32, retryable: bool, expected_wait_ms: Option<u64>) {
    let failure = Failure { retryable, ..Failure::new(code::FAILED, "no") };
    let expected = match expected_wait_ms {
        Some(wait_ms) => Verdict::RetryAt(NOW + Duration::from_millis(wait_ms)),
        None => Verdict::GiveUp,
    };
    assert_eq!(
        policy.judge(Spent { attempts: attempt, since: NOW }, &failure, NOW, 0.5),
        expected,
        "attempt {attempt} of {policy:?}"
    );
}

#[test]
fn waits_grow_by_the_factor_up_to_the_cap_until_the_attempts_are_used_up() {
    let default = steady();
    for (attempt, wait_ms) in [(1, Some(500)), (2, Some(1_000)), (3, Some(2_000)), (4, None), (5, None)] {
        check(&default, attempt, true, wait_ms);
    }
    let capped = RetryPolicy { attempts: 20, backoff_ms: 100, factor: 10.0, backoff_max_ms: 5_000, ..steady() };
    for (attempt, wait_ms) in [(1, 100), (2, 1_000), (3, 5_000), (4, 5_000), (19, 5_000)] {
        check(&capped, attempt, true, Some(wait_ms));
    }
    check(&capped, 20, true, None);
    let constant = RetryPolicy { factor: 1.0, ..steady() };
    check(&constant, 3, true, Some(500));
    let at_once = RetryPolicy { backoff_ms: 0, ..steady() };
    check(&at_once, 2, true, Some(0));
    let never = RetryPolicy { backoff_max_ms: 0, ..steady() };
    check(&never, 2, true, Some(0));
}

#[test]
fn a_failure_that_is_not_retryable_ends_the_retries_at_once() {
    check(&steady(), 1, false, None);
}

#[test]
fn one_attempt_means_no_retry() {
    check(&RetryPolicy { attempts: 1, ..steady() }, 1, true, None);
    check(&RetryPolicy { attempts: 0, ..steady() }, 1, true, None);
}

#[test]
fn no_policy_asks_for_more_than_the_house_allows() {
    let endless = RetryPolicy {
        attempts: u32::MAX,
        backoff_ms: u64::MAX,
        factor: f64::INFINITY,
        backoff_max_ms: u64::MAX,
        ..steady()
    };
    check(&endless, ATTEMPTS_MAX - 1, true, Some(BACKOFF_MAX.as_millis() as u64));
    check(&endless, ATTEMPTS_MAX, true, None);
    check(&endless, u32::MAX, true, None);
}

#[test]
fn a_retry_at_the_end_of_time_does_not_wrap() {
    let verdict =
        steady().judge(Spent { attempts: 1, since: NOW }, &Failure::new(code::FAILED, "no"), Timestamp(u64::MAX), 0.0);
    assert_eq!(verdict, Verdict::RetryAt(Timestamp(u64::MAX)));
}

/// Checked in as numbers: a wait on record must be the wait that is drawn again.
#[test]
fn the_same_draw_gives_the_same_wait() {
    let policy = RetryPolicy { factor: 1.7, jitter: 0.3, ..RetryPolicy::default() };
    let wait = |attempt, draw| policy.wait(attempt, draw).as_micros();
    assert_eq!([wait(1, 0.0), wait(1, 0.999), wait(3, 0.25), wait(9, 0.5)], [500_000, 350_150, 1_336_625, 29_646_969]);
}

proptest! {
    #[test]
    fn a_wait_stays_between_its_bounds(
        backoff_ms: u64, factor in any::<f64>(), backoff_max_ms: u64, jitter in any::<f64>(), attempt: u32, draw in 0.0..1.0,
    ) {
        let policy = RetryPolicy { attempts: 4, backoff_ms, factor, backoff_max_ms, jitter, ..RetryPolicy::default() };
        let wait = policy.wait(attempt, draw);
        prop_assert!(wait <= BACKOFF_MAX);
        prop_assert!(wait <= Duration::from_millis(backoff_max_ms));
        let steady = RetryPolicy { jitter: 0.0, ..policy.clone() }.wait(attempt, draw);
        prop_assert!(wait <= steady);
        if policy.check().is_ok() {
            let least = steady.mul_f64(1.0 - jitter).saturating_sub(Duration::from_micros(2));
            prop_assert!(wait >= least, "{wait:?} is below {least:?}");
        }
    }
}

#[test]
fn a_manifest_is_told_by_name_what_it_may_not_ask_for() {
    let named = |policy: RetryPolicy| policy.check().expect_err("it is out of bounds");
    assert!(RetryPolicy::default().check().is_ok());
    assert!(named(RetryPolicy { attempts: 0, ..steady() }).contains("`attempts` is 0; it must be 1 to 20"));
    assert!(named(RetryPolicy { attempts: 21, ..steady() }).contains("`attempts`"));
    assert!(named(RetryPolicy { backoff_ms: 86_400_001, ..steady() }).contains("`backoff_ms`"));
    assert!(named(RetryPolicy { backoff_max_ms: 86_400_001, ..steady() }).contains("`backoff_max_ms`"));
    for factor in [0.9, 10.1, f64::NAN] {
        assert!(named(RetryPolicy { factor, ..steady() }).contains("`factor`"));
    }
    for jitter in [-0.1, 1.1, f64::NAN] {
        assert!(named(RetryPolicy { jitter, ..steady() }).contains("`jitter`"));
    }
}

#[test]
fn a_patch_sets_what_it_names_and_nothing_else_and_unknown_fields_are_refused() {
    let of = |text: &str| serde_json::from_str::<RetryPatch>(text);
    let base = RetryPolicy { attempts: 7, backoff_ms: 10, ..RetryPolicy::default() };
    let patched = of(r#"{"attempts": 2, "backoff": "linear", "except": ["NO"]}"#).expect("it is a patch").over(&base);
    let wanted = RetryPolicy { attempts: 2, backoff: Backoff::Linear, except: vec!["NO".into()], ..base.clone() };
    assert_eq!(patched, wanted);
    assert_eq!(of("{}").expect("an empty one").over(&base), base);
    let error = of(r#"{"tries": 2}"#).expect_err("no such field");
    assert!(error.to_string().contains("tries"), "{error}");
    assert!(of(r#"{"backoff": "random"}"#).is_err());
}

#[test]
fn linear_waits_grow_by_the_first_one_and_fixed_ones_stay() {
    let linear = RetryPolicy { backoff: Backoff::Linear, attempts: 20, backoff_max_ms: 1_800, ..steady() };
    for (attempt, wait_ms) in [(1, 500), (2, 1_000), (3, 1_500), (4, 1_800), (19, 1_800)] {
        check(&linear, attempt, true, Some(wait_ms));
    }
    let fixed = RetryPolicy { backoff: Backoff::Fixed, ..steady() };
    for attempt in 1..4 {
        check(&fixed, attempt, true, Some(500));
    }
}

#[test]
fn a_code_that_is_excepted_is_not_tried_again() {
    let policy = RetryPolicy { except: vec![code::FAILED.into()], ..steady() };
    check(&policy, 1, true, None);
    check(&RetryPolicy { except: vec!["OTHER".into()], ..steady() }, 1, true, Some(500));
}

#[test]
fn a_failure_that_asks_for_patience_gets_it_up_to_a_day() {
    let judged = |retry_after_ms| {
        let failure = Failure { retry_after_ms: Some(retry_after_ms), ..Failure::new(code::FAILED, "busy") };
        steady().judge(Spent { attempts: 1, since: NOW }, &failure, NOW, 0.0)
    };
    assert_eq!(judged(90_000), Verdict::RetryAt(NOW + Duration::from_secs(90)));
    assert_eq!(judged(1), Verdict::RetryAt(NOW + Duration::from_millis(500)), "never earlier than its own wait");
    assert_eq!(judged(u64::MAX), Verdict::RetryAt(NOW + BACKOFF_MAX));
}

#[test]
fn no_attempt_begins_after_the_deadline() {
    let policy = RetryPolicy { deadline_ms: Some(1_200), attempts: 20, ..steady() };
    let judged = |attempts, later_ms| {
        let now = NOW + Duration::from_millis(later_ms);
        policy.judge(Spent { attempts, since: NOW }, &Failure::new(code::FAILED, "no"), now, 0.0)
    };
    assert_eq!(judged(1, 700), Verdict::RetryAt(NOW + Duration::from_millis(1_200)));
    assert_eq!(judged(1, 701), Verdict::GiveUp);
    assert_eq!(judged(2, 300), Verdict::GiveUp);
}

#[test]
fn no_attempt_is_waited_for_that_would_begin_when_the_step_is_over() {
    let judged = |exhausted, close_ms: u64| {
        let policy = RetryPolicy { exhausted, ..steady() };
        let close_by = Some(NOW + Duration::from_millis(close_ms));
        let failure = Failure::new(code::FAILED, "no");
        policy.judge_before(close_by, Spent { attempts: 1, since: NOW }, &failure, NOW, 0.0)
    };
    assert_eq!(judged(Exhausted::Fail, 501), Verdict::RetryAt(NOW + Duration::from_millis(500)));
    assert_eq!(judged(Exhausted::Fail, 500), Verdict::GiveUp);
    assert_eq!(judged(Exhausted::Park, 500), Verdict::Park);
}

#[test]
fn a_step_that_is_to_be_parked_waits_for_a_person_unless_it_was_cancelled() {
    let policy = RetryPolicy { exhausted: Exhausted::Park, ..steady() };
    let judged = |attempts, failure: Failure| policy.judge(Spent { attempts, since: NOW }, &failure, NOW, 0.0);
    assert_eq!(judged(4, Failure::new(code::FAILED, "no")), Verdict::Park);
    assert_eq!(judged(1, Failure::permanent(code::BAD_OUTPUT, "no")), Verdict::Park);
    assert_eq!(judged(1, Failure::permanent(code::CANCELLED, "no")), Verdict::GiveUp);
    assert!(matches!(judged(1, Failure::new(code::FAILED, "no")), Verdict::RetryAt(_)));
}
