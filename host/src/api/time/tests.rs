use super::*;

fn check(micros: u64, text: &str) {
    let time = Time(Timestamp(micros));
    assert_eq!(time.to_string(), text);
    assert_eq!(text.parse(), Ok(time));
    let json = serde_json::to_string(&time).expect("text is JSON");
    assert_eq!(serde_json::from_str::<Time>(&json).expect("it was just written"), time);
}

#[test]
fn a_time_is_written_as_rfc_3339_and_read_back() {
    check(0, "1970-01-01T00:00:00.000000Z");
    check(951_782_399_999_999, "2000-02-28T23:59:59.999999Z");
    check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
    check(951_868_800_000_000, "2000-03-01T00:00:00.000000Z");
    check(1_795_226_400_000_001, "2026-11-21T02:00:00.000001Z");
    check(4_107_542_399_000_000, "2100-02-28T23:59:59.000000Z");
    check(4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z");
    check(MICROS_MAX, "9999-12-31T23:59:59.999999Z");
}

#[test]
fn every_day_of_four_centuries_is_read_back_as_itself() {
    for day in 0..DAYS_PER_ERA {
        let (year, month, date) = date_of(day);
        assert_eq!(days_of(year, month, date), Some(day));
    }
}

#[test]
fn a_fraction_may_be_short_or_absent() {
    assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Time(Timestamp(1_000_000))));
    assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Time(Timestamp(1_500_000))));
}

#[test]
fn text_that_is_no_time_is_refused() {
    for text in [
        "",
        "Z",
        "yesterday",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00+01:00",
        "1969-12-31T23:59:59Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.0000001Z",
        "2026-01-01T00:00:0\u{b2}Z",
    ] {
        assert!(text.parse::<Time>().is_err(), "{text}");
    }
}
