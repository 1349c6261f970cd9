use super::*;
use reqwest::header::HeaderValue;

/// 2026-11-21 00:00:00 UTC.
const START: Timestamp = Timestamp::from_millis(1_795_219_200_000);

fn standing(tries: usize) -> Standing {
    let deadline = START + Duration::from_secs(60);
    Standing { started: START, now: START + Duration::from_secs(1), deadline, tries, repeatable: true }
}

fn headers(retry_after: &str) -> HeaderMap {
    HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(retry_after).expect("a header of the table"))])
}

fn after(millis: u64) -> Verdict {
    Verdict::AgainAt(standing(1).now + Duration::from_millis(millis))
}

#[test]
fn only_what_may_pass_by_itself_is_tried_again() {
    for status in 100..600 {
        let code = StatusCode::from_u16(status).expect("a status");
        let expected = if [429, 502, 503, 504].contains(&status) { after(250) } else { Verdict::Finish };
        assert_eq!(standing(1).judge_answer(code, &HeaderMap::new()), expected, "{status}");
    }
    assert_eq!(standing(1).judge_break(), after(250));
}

#[test]
fn the_third_try_is_the_last() {
    assert_eq!(standing(1).judge_break(), after(250));
    assert_eq!(standing(2).judge_break(), after(1_000));
    assert_eq!(standing(3).judge_break(), Verdict::Finish);
}

#[test]
fn what_may_do_harm_twice_is_not_tried_again() {
    assert_eq!(Standing { repeatable: false, ..standing(1) }.judge_break(), Verdict::Finish);
}

#[test]
fn a_wait_that_the_server_asks_for_is_made_when_it_fits() {
    for (asked, expected) in [
        ("0", after(250)),
        ("2", after(2_000)),
        ("29", after(29_000)),
        ("30", Verdict::Finish),
        ("99999999999999999999", Verdict::Finish),
        ("Sat, 21 Nov 2026 00:00:05 GMT", after(4_000)),
        ("Fri, 20 Nov 2026 00:00:00 GMT", after(250)),
        ("Sat, 21 Nov 2026 01:00:00 GMT", Verdict::Finish),
        ("soon", after(250)),
        ("-1", after(250)),
        ("", after(250)),
    ] {
        let verdict = standing(1).judge_answer(StatusCode::TOO_MANY_REQUESTS, &headers(asked));
        assert_eq!(verdict, expected, "Retry-After: {asked}");
    }
}

#[test]
fn no_try_begins_after_the_window_or_the_deadline() {
    let late = |now_ms, deadline_ms| Standing {
        now: START + Duration::from_millis(now_ms),
        deadline: START + Duration::from_millis(deadline_ms),
        ..standing(1)
    };
    assert_ne!(late(29_750, 60_000).judge_break(), Verdict::Finish);
    assert_eq!(late(29_751, 60_000).judge_break(), Verdict::Finish);
    assert_ne!(late(0, 251).judge_break(), Verdict::Finish);
    assert_eq!(late(0, 250).judge_break(), Verdict::Finish);
}
