use super::*;

#[test]
fn durations_are_read_as_people_write_them() {
    let cases = [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)];
    for (text, ms) in cases {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
}

#[test]
fn what_is_not_a_duration_is_refused_with_an_example() {
    for text in ["", "5", "s", "5 s", "-5s", "5x", "1.5s", "99999999999999999999s", "18446744073709551615d", "400d"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    assert!(parse_duration("5").is_err_and(|message| message.contains("30s")));
}

#[test]
fn a_moment_is_so_long_ago_or_a_point_in_time() {
    let now = "2026-11-21T02:00:00Z".parse::<Time>().expect("a time");
    let ago = parse_moment("1h30m").map(|moment| moment.time(now.0).to_string());
    assert_eq!(ago.as_deref(), Ok("2026-11-21T00:30:00.000000Z"));
    assert_eq!(parse_moment("2026-11-21T02:00:00Z").map(|moment| moment.time(Timestamp(0))), Ok(now));
    assert_eq!(parse_moment("366d").map(|moment| moment.time(Timestamp(5))), Ok(Time(Timestamp(0))));
    assert!(parse_moment("yesterday").is_err_and(|message| message.contains("2h for two hours ago")));
}

#[test]
fn a_shown_duration_keeps_three_digits() {
    let cases = [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1.00s"),
        (1_245, "1.24s"),
        (59_999, "59.9s"),
        (61_000, "1m01s"),
        (3_600_000, "1h00m"),
        (90_000_000, "1d01h"),
    ];
    for (ms, text) in cases {
        assert_eq!(show_ms(ms), text);
    }
}

#[test]
fn a_moment_in_the_future_is_shown_as_now() {
    assert_eq!(show_ago(5_000, 9_000), "now");
    assert_eq!(show_ago(125_000, 0), "2m ago");
}

#[test]
fn less_than_a_millisecond_is_shown_in_microseconds() {
    assert_eq!(["0ms", "1us", "999us", "1ms", "59.9s"], [0, 1, 999, 1_999, 59_999_999].map(show_us));
}
