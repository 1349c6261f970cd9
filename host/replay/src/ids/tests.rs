//! What names promise.

use proptest::prelude::*;

use super::{Digest, EffectId, Position, QuestionName, RunId, StepId};
use crate::{Timestamp, digest_of_call, digest_of_cancel, digest_of_forget, digest_of_http, digest_of_sleep};

proptest! {
    #[test]
    fn a_run_id_comes_back_from_its_text(number: u128) {
        let id = RunId(number);
        let text = id.to_string();
        prop_assert_eq!(text.len(), 26);
        prop_assert_eq!(text.parse(), Ok(id));
        prop_assert_eq!(text.to_uppercase().parse(), Ok(id));
        let json = serde_json::to_string(&id).expect("an id is text");
        prop_assert_eq!(&json, &format!("\"{text}\""));
        prop_assert_eq!(serde_json::from_str::<RunId>(&json).expect("it was just written"), id);
        let bytes = postcard::to_allocvec(&id).expect("an id is a number");
        prop_assert_eq!(postcard::from_bytes::<RunId>(&bytes).expect("it was just written"), id);
    }

    #[test]
    fn run_ids_sort_as_their_texts_and_by_their_start(left: (u64, u128), right: (u64, u128)) {
        let id = |(millis, random): (u64, u128)| RunId::new(Timestamp::from_millis(millis % (1 << 40)), random);
        prop_assert_eq!(id(left).cmp(&id(right)), id(left).to_string().cmp(&id(right).to_string()));
        if left.0 % (1 << 40) < right.0 % (1 << 40) {
            prop_assert!(id(left) < id(right));
        }
    }

    #[test]
    fn the_range_of_a_prefix_holds_exactly_the_ids_that_begin_with_it(number: u128, length in 1_usize..=26) {
        let text = RunId(number).to_string();
        let prefix = &text[..length];
        let (low, high) = RunId::range_of_prefix(prefix).expect("it is the beginning of an id");
        prop_assert!(low <= RunId(number) && RunId(number) <= high);
        prop_assert!(low.to_string().starts_with(prefix) && high.to_string().starts_with(prefix));
        for outside in [low.0.checked_sub(1), high.0.checked_add(1)].into_iter().flatten() {
            prop_assert!(!RunId(outside).to_string().starts_with(prefix));
        }
    }

    #[test]
    fn text_that_is_no_id_is_refused_and_never_panics(text: String) {
        let valid = text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        prop_assert!(text.parse::<RunId>().is_err() || valid);
        prop_assert!(text.parse::<Digest>().is_err());
        _ = RunId::range_of_prefix(&text);
    }

    #[test]
    fn a_digest_comes_back_from_its_text(bytes: [u8; 32]) {
        let digest = Digest(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        let json = serde_json::to_string(&digest).expect("a digest is text");
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).expect("it was just written"), digest);
    }

    /// Moving a boundary between two parts gives another digest.
    #[test]
    fn parts_do_not_run_into_each_other(text: Vec<u8>, cut: proptest::sample::Index, other: proptest::sample::Index) {
        let (cut, other) = (cut.index(text.len() + 1), other.index(text.len() + 1));
        let digest = |cut: usize| Digest::of_parts(&[&text[..cut], &text[cut..]]);
        prop_assert_eq!(digest(cut) == digest(other), cut == other);
        prop_assert_ne!(digest(cut), Digest::of_parts(&[&text]));
    }
}

#[test]
fn texts_that_look_like_ids_are_refused() {
    for text in ["", "0", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000000000i", "0000000000000000000000000 "] {
        assert!(text.parse::<RunId>().is_err(), "{text}");
    }
    for prefix in ["", "8", "l", "é", "000000000000000000000000000", "0 "] {
        assert!(RunId::range_of_prefix(prefix).is_err(), "{prefix}");
    }
    let signed = format!("+f{}", "0".repeat(62));
    for text in [signed.as_str(), "", "00", &"g".repeat(64), &"é".repeat(32)] {
        assert!(text.parse::<Digest>().is_err(), "{text}");
    }
}

#[test]
fn a_run_id_is_its_time_and_then_chance() {
    let id = RunId::new(Timestamp::from_millis(0x1234_5678_9abc), u128::MAX);
    assert_eq!(id.0 >> 80, 0x1234_5678_9abc);
    assert_eq!(id.0 & ((1 << 80) - 1), (1 << 80) - 1);
    assert_eq!(RunId::new(Timestamp(u64::MAX), 0).0 & ((1 << 80) - 1), 0);
}

#[test]
fn a_digest_is_sha256_and_shows_as_much_as_is_asked_for() {
    let digest = Digest::of(b"abc");
    assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(format!("{digest:.12}"), "ba7816bf8f01");
    assert_eq!(format!("{digest:.400}"), digest.to_string());
}

/// Checked in: what is on record is recognised by these for ever.
#[test]
fn digests_of_requests_are_what_they_were() {
    let digests = [
        digest_of_call("fetch", "[1]", "{}"),
        digest_of_http("{}", ""),
        digest_of_sleep(250, ""),
        digest_of_forget(3),
        digest_of_cancel(3),
    ];
    assert_eq!(digests.map(|digest| format!("{digest:.16}")), REQUESTS);
    assert_ne!(digest_of_call("a", "b", ""), digest_of_call("ab", "", ""));
}

const REQUESTS: [&str; 5] =
    ["1ce4b545f589db00", "a1aa0d5fc3cd9135", "f87ec2f1d5d18633", "79659adfcbb7c60a", "6682c0da9e7c6937"];

#[test]
fn a_position_never_wraps() {
    assert_eq!(Position(u64::MAX).plus(9), Position(u64::MAX));
}

#[test]
fn times_never_wrap() {
    let late = Timestamp(u64::MAX);
    assert_eq!(late + std::time::Duration::MAX, late);
    assert_eq!(Timestamp(5) + std::time::Duration::MAX, late);
    assert_eq!(Timestamp::from_millis(u64::MAX), late);
    assert_eq!(Timestamp(5).since(late), std::time::Duration::ZERO);
}

#[test]
fn a_question_is_called_by_its_step_and_effect() {
    let name = |text: &str| text.parse::<QuestionName>();
    assert_eq!(name("3"), Ok(QuestionName { step: StepId(3), effect: None }));
    assert_eq!(name("3.12"), Ok(QuestionName { step: StepId(3), effect: Some(EffectId(12)) }));
    for text in ["3", "3.12", "0.0", "4294967295.4294967295"] {
        assert_eq!(name(text).map(|name| name.to_string()), Ok(text.to_owned()));
    }
    for text in ["", ".", "3.", ".3", "3.1.2", "+3", "3.-1", "x", "4294967296", "3 "] {
        assert!(name(text).is_err(), "{text}");
    }
}
