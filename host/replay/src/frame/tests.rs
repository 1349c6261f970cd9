//! What a frame on disk promises.

use proptest::prelude::*;

use crate::testing::*;
use crate::{Entry, FORMAT, Frame, FrameError, Kind, Position, Value};

/// Puts the right checksum below a body, as a forger would.
fn sealed(version: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend_from_slice(body);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn body_of(frame: &[u8]) -> &[u8] {
    &frame[1..frame.len() - 4]
}

/// Numbers as postcard writes them, seven bits to a byte.
fn varint(mut number: u128) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[test]
fn every_kind_comes_back_as_it_was_written() {
    // A frame is written by one owner, so in one epoch.
    for entry in every_kind() {
        let entries = [entry];
        assert_eq!(Frame::decode(&Frame::encode(&entries)), Ok(Frame { entries: entries.to_vec() }));
    }
    let entries: Vec<Entry> = every_kind().into_iter().map(|entry| Entry { epoch: crate::Epoch(8), ..entry }).collect();
    let frame = Frame::decode(&Frame::encode(&entries)).expect("it was just written");
    assert_eq!((frame.position(), &frame.entries), (Position::FIRST, &entries));
}

#[test]
fn any_changed_byte_is_detected() {
    let whole = Frame::encode(&every_kind()[2..6]);
    for place in 0..whole.len() {
        for flip in 1..=255 {
            let mut damaged = whole.clone();
            damaged[place] ^= flip;
            assert!(matches!(Frame::decode(&damaged), Err(FrameError::Checksum { .. })), "byte {place}");
        }
    }
}

#[test]
fn a_truncated_frame_is_refused() {
    let whole = Frame::encode(&every_kind()[..2]);
    for length in 0..whole.len() {
        let error = Frame::decode(&whole[..length]).expect_err("it is cut off");
        match length {
            0..5 => assert_eq!(error, FrameError::Short { size_bytes: length }),
            _ => assert!(matches!(error, FrameError::Checksum { .. }), "{length}: {error}"),
        }
    }
}

#[test]
fn another_format_is_named() {
    let whole = Frame::encode(&every_kind()[..2]);
    for found in FORMAT + 1..=u8::MAX {
        assert_eq!(Frame::decode(&sealed(found, body_of(&whole))), Err(FrameError::Newer { found }));
    }
    assert!(matches!(Frame::decode(&sealed(0, body_of(&whole))), Err(FrameError::Body { .. })));
}

#[test]
fn a_forged_body_is_refused_without_a_panic_or_much_memory() {
    let head = |position: u128, entries: u128| [varint(1), varint(position), varint(entries)].concat();
    let huge = u128::from(u64::MAX);
    // Kind 1 is `Claimed`, which begins with a text.
    let claimed = |length| [vec![0, 1], varint(length), vec![b'w'; 4]].concat();
    for body in [
        Vec::new(),
        head(0, 0),
        head(0, 1),
        head(0, huge),
        head(0, u128::MAX),
        [head(0, huge), claimed(4)].concat(),
        [head(0, 1), claimed(huge)].concat(),
        [head(0, 1), claimed(1 << 40)].concat(),
        [head(0, 1), vec![0, 250]].concat(),
        [vec![255; 20], head(0, 1)].concat(),
    ] {
        assert!(matches!(Frame::decode(&sealed(FORMAT, &body)), Err(FrameError::Body { .. })), "{body:?}");
    }
    let whole = Frame::encode(&every_kind()[..1]);
    let trailing = [body_of(&whole), &[0]].concat();
    assert!(matches!(Frame::decode(&sealed(FORMAT, &trailing)), Err(FrameError::Body { .. })));
}

#[test]
fn positions_beyond_the_last_number_are_refused() {
    let last = Entry { position: Position(u64::MAX), ..every_kind().remove(2) };
    assert!(matches!(Frame::decode(&Frame::encode(&[last])), Err(FrameError::Body { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Frame::decode(&bytes).is_err());
        // With the right checksum, so that the body is read.
        _ = Frame::decode(&sealed(FORMAT, &bytes));
    }

    #[test]
    fn a_flipped_byte_below_the_right_checksum_never_panics(
        place: proptest::sample::Index, flip in 1_u8..=255, more in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let whole = Frame::encode(&every_kind());
        let mut body = body_of(&whole).to_vec();
        let place = place.index(body.len());
        body[place] ^= flip;
        body.splice(place..place, more);
        if let Ok(frame) = Frame::decode(&sealed(FORMAT, &body)) {
            // What can be read is folded and traced as anything else would be.
            let mut state = crate::RunState::new(&frame.entries[0]);
            if let Ok(state) = &mut state {
                _ = frame.entries[1..].iter().try_for_each(|entry| state.apply(entry));
                _ = state.head();
            }
            _ = crate::trace::trace(&frame.entries);
        }
    }

    #[test]
    fn texts_of_any_kind_come_back(text: String, size_bytes: u64, digest: [u8; 32]) {
        for input in [Value::inline(text.as_str()), Value::Stored { digest: crate::Digest(digest), size_bytes }] {
            let entries = journal([started_with(input, 1)]);
            prop_assert_eq!(Frame::decode(&Frame::encode(&entries)).expect("it was just written").entries, entries);
        }
    }
}

#[test]
fn a_kind_is_known_by_its_place() {
    let names = [
        "Started",
        "Claimed",
        "Asked",
        "AttemptStarted",
        "AttemptResumed",
        "EffectAsked",
        "EffectAnswered",
        "Failed",
        "Answered",
        "Forgotten",
        "StepCancelAsked",
        "CancelReceived",
        "Finished",
        "Paused",
        "Resumed",
        "Forked",
        "ChildOf",
        "ChildStarted",
        "ChildEnded",
        "FailedKeeping",
        "Parked",
        "RetryReceived",
        "Progressed",
        "DeadlineSet",
        "Signalled",
        "Settled",
        "Patched",
        "Moved",
        "StepTimed",
        "Published",
        "UpdateReceived",
        "Replied",
        "Continued",
        "GraceSet",
        "Emitted",
        "AttemptEmitted",
        "ModelUsed",
        "SpendingTaken",
        "SpanBegun",
        "SpanEnded",
        "UpdateOffered",
        "UpdateExpired",
        "EffectSettled",
        "FuelUsed",
    ];
    for entry in every_kind() {
        let tag = postcard::to_allocvec(&entry.kind).expect("an entry can be written")[0];
        assert_eq!(names[usize::from(tag)], entry.kind.name());
        assert!(matches!(entry.kind, Kind::Started(_)) == (tag == 0));
    }
}
