//! When a failed step is tried again.

use proptest::prelude::*;
use std::time::Duration;

use super::{ATTEMPTS_MAX, BACKOFF_MAX, RetryPolicy, Verdict};
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
    assert_eq!(policy.judge(attempt, &failure, NOW, 0.5), expected, "attempt {attempt} of {policy:?}");
}

#[test]
fn waits_grow_by_the_factor_up_to_the_cap_until_the_attempts_are_used_up() {
    let default = steady();
    for (attempt, wait_ms) in [(1, Some(500)), (2, Some(1_000)), (3, Some(2_000)), (4, None), (5, None)] {
        check(&default, attempt, true, wait_ms);
    }
    let capped = RetryPolicy { attempts: 20, backoff_ms: 100, factor: 10.0, backoff_max_ms: 5_000, jitter: 0.0 };
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
        jitter: 0.0,
    };
    check(&endless, ATTEMPTS_MAX - 1, true, Some(BACKOFF_MAX.as_millis() as u64));
    check(&endless, ATTEMPTS_MAX, true, None);
    check(&endless, u32::MAX, true, None);
}

#[test]
fn a_retry_at_the_end_of_time_does_not_wrap() {
    let verdict = steady().judge(1, &Failure::new(code::FAILED, "no"), Timestamp(u64::MAX), 0.0);
    assert_eq!(verdict, Verdict::RetryAt(Timestamp(u64::MAX)));
}

/// Checked in as numbers: a wait on record must be the wait that is drawn again.
#[test]
fn the_same_draw_gives_the_same_wait() {
    let policy = RetryPolicy { factor: 1.7, jitter: 0.3, ..RetryPolicy::default() };
    let wait = |attempt, draw| policy.backoff(attempt, draw).as_micros();
    assert_eq!([wait(1, 0.0), wait(1, 0.999), wait(3, 0.25), wait(9, 0.5)], [500_000, 350_150, 1_336_625, 29_646_969]);
}

proptest! {
    #[test]
    fn a_wait_stays_between_its_bounds(
        backoff_ms: u64, factor in any::<f64>(), backoff_max_ms: u64, jitter in any::<f64>(), attempt: u32, draw in 0.0..1.0,
    ) {
        let policy = RetryPolicy { attempts: 4, backoff_ms, factor, backoff_max_ms, jitter };
        let wait = policy.backoff(attempt, draw);
        prop_assert!(wait <= BACKOFF_MAX);
        prop_assert!(wait <= Duration::from_millis(backoff_max_ms));
        let steady = RetryPolicy { jitter: 0.0, ..policy.clone() }.backoff(attempt, draw);
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
fn fields_left_out_have_their_defaults_and_unknown_ones_are_refused() {
    let policy: RetryPolicy = serde_json::from_str(r#"{"attempts": 2}"#).expect("one field is enough");
    assert_eq!(policy, RetryPolicy { attempts: 2, ..RetryPolicy::default() });
    let error = serde_json::from_str::<RetryPolicy>(r#"{"tries": 2}"#).expect_err("no such field");
    assert!(error.to_string().contains("tries"), "{error}");
}
