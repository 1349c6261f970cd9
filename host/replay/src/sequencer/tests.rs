//! What the sequencer promises.

use std::sync::Arc;

use proptest::prelude::*;

use super::{AHEAD_MAX_BYTES, AHEAD_MAX_ENTRIES, Sequencer, size_max};
use crate::testing::*;
use crate::{
    Asked, EffectAsked, EffectId, EffectRequest, End, Entry, Epoch, Finished, Frame, Kind, MessageId, Position, Proof,
    StepId, StepRequest, Timestamp, Value,
};

/// What storage takes in one frame.
const FRAME_MAX_BYTES: usize = 60 << 10;

fn text(bytes: usize) -> Arc<str> {
    "x".repeat(bytes).into()
}

/// Numbers as long as they get.
const LONG_PROOF: Proof = Proof { digest: PROOF.digest, deliveries: u32::MAX, fuel: u64::MAX };

fn largest_call() -> Kind {
    let input = Value::inline(text(Value::INLINE_MAX_BYTES));
    let request = StepRequest::Call { function: text(128), input, options: text(4 << 10) };
    let (now, at) = (Timestamp(u64::MAX), Some(text(512)));
    Kind::Asked(Asked { step: StepId(u32::MAX), request, proof: LONG_PROOF, now, at })
}

fn largest_sleep(options_bytes: usize) -> Kind {
    let request = StepRequest::Sleep { duration_ms: u64::MAX, options: text(options_bytes) };
    let (now, at) = (Timestamp(u64::MAX), Some(text(512)));
    Kind::Asked(Asked { step: StepId(u32::MAX), request, proof: LONG_PROOF, now, at })
}

fn largest_effect() -> Kind {
    Kind::EffectAsked(EffectAsked {
        step: StepId(u32::MAX),
        attempt: u32::MAX,
        effect: EffectId(u32::MAX),
        request: EffectRequest::Http { request: Value::inline(text(512)), options: text(4 << 10) },
        proof: LONG_PROOF,
        now: Timestamp(u64::MAX),
        key: Some(text(256)),
        at: Some(text(512)),
    })
}

fn largest_end() -> Kind {
    let end = End::Succeeded(Value::inline(text(Value::INLINE_MAX_BYTES)));
    let fingerprint = Some(crate::Fingerprint { commands: u64::MAX, deliveries: u32::MAX, fuel: u64::MAX });
    Kind::Finished(Finished { end, fingerprint, unread: vec![MessageId(u128::MAX); 1_000] })
}

/// With as much mail and as many published keys as there can be.
fn largest_continued() -> Kind {
    let reason = text(4 << 10);
    Kind::Continued(Box::new(crate::Continued {
        input: Value::inline(text(Value::EFFECT_INLINE_MAX_BYTES)),
        fingerprint: crate::Fingerprint { commands: u64::MAX, deliveries: u32::MAX, fuel: u64::MAX },
        seed: [255; 32],
        steps: u32::MAX,
        mail: vec![Position(u64::MAX); crate::MAIL_TAKEN_ALONG_MAX],
        cancel: Some(crate::CancelTaken { received: Timestamp(u64::MAX), reason }),
        deployment: text(128),
        component: crate::Digest([255; 32]),
        began: Timestamp(u64::MAX),
        deadline: Some(Timestamp(u64::MAX)),
        child_of: Some(crate::ChildOf {
            parent: crate::RunId(u128::MAX),
            step: StepId(u32::MAX),
            tie: crate::Tie::Detached,
        }),
        published: vec![text(128); crate::PUBLISHED_KEYS_MAX],
    }))
}

fn kinds() -> Vec<Kind> {
    let stored = Value::Stored { digest: PROOF.digest, size_bytes: u64::MAX };
    let small = every_kind().into_iter().map(|entry| entry.kind);
    let large = [
        started_with(Value::inline(text(Value::INLINE_MAX_BYTES)), u32::MAX),
        started_with(stored, u32::MAX),
        largest_call(),
        largest_sleep(0),
        largest_sleep(4 << 10),
        largest_effect(),
        largest_end(),
        largest_continued(),
    ];
    small.chain(large).collect()
}

#[test]
fn no_entry_is_larger_than_its_size_says() {
    for kind in kinds() {
        let name = kind.name();
        let size_bytes = size_max(&kind);
        let entry = Entry { position: Position(u64::MAX - 9), epoch: Epoch(u64::MAX), time: Timestamp(u64::MAX), kind };
        let frame = Frame::encode(&[entry]);
        assert!(frame.len() <= size_bytes, "{name}: {} bytes, said to be {size_bytes}", frame.len());
        assert!(frame.len() <= FRAME_MAX_BYTES, "{name}: {} bytes", frame.len());
    }
}

proptest! {
    #[test]
    fn frames_keep_every_entry_in_order_and_fit_the_store(picks in proptest::collection::vec(0..kinds().len(), 0..80)) {
        check_frames(picks.iter().map(|pick| kinds()[*pick].clone()));
    }
}

fn check_frames(kinds: impl IntoIterator<Item = Kind>) {
    let mut sequencer = Sequencer::new(Position(5), Epoch(2), Timestamp(100));
    let pushed: Vec<Entry> = kinds.into_iter().map(|kind| sequencer.push(Timestamp(50), kind).clone()).collect();
    let mut read = Vec::new();
    while sequencer.has_pending() {
        let entries = sequencer.take_frame();
        assert!(!entries.is_empty(), "a frame has at least one entry");
        let frame = Frame::encode(&entries);
        assert!(frame.len() <= FRAME_MAX_BYTES, "{} bytes of {} entries", frame.len(), entries.len());
        read.extend(Frame::decode(&frame).expect("it was just written").entries);
    }
    assert_eq!(read, pushed);
    assert_eq!(sequencer.take_frame(), []);
    assert_eq!(sequencer.pending_bytes, 0);
}

#[test]
fn many_sleeps_with_long_places_fit_the_store() {
    check_frames((0..AHEAD_MAX_ENTRIES).map(|_| largest_sleep(0)));
}

#[test]
fn positions_follow_each_other_and_time_never_goes_back() {
    let mut sequencer = Sequencer::new(Position(7), Epoch(3), Timestamp(100));
    let mut push = |clock| {
        let entry = sequencer.push(Timestamp(clock), call(1));
        (entry.position.0, entry.epoch.0, entry.time.0)
    };
    assert_eq!(push(50), (7, 3, 100));
    assert_eq!(push(150), (8, 3, 150));
    assert_eq!(push(120), (9, 3, 150));
    assert_eq!((sequencer.next(), sequencer.last_time()), (Position(10), Timestamp(150)));
    sequencer.take_frame();
    assert_eq!((sequencer.next(), sequencer.last_time()), (Position(10), Timestamp(150)));
}

#[test]
fn a_guest_waits_when_it_is_too_far_ahead() {
    let check = |kind: &dyn Fn() -> Kind, expected: usize| {
        let mut sequencer = Sequencer::new(Position(0), Epoch(1), Timestamp(0));
        let pushes = (1..).find(|_| {
            sequencer.push(Timestamp(0), kind());
            sequencer.is_too_far_ahead()
        });
        assert_eq!(pushes, Some(expected));
        while sequencer.is_too_far_ahead() {
            sequencer.take_frame();
        }
        assert!(sequencer.has_pending(), "it goes on as soon as there is room");
    };
    check(&|| attempt(1, 1), AHEAD_MAX_ENTRIES);
    check(&largest_call, AHEAD_MAX_BYTES.div_ceil(size_max(&largest_call())));
}

#[test]
fn an_answer_given_with_its_command_stands_in_the_same_frame() {
    let mut sequencer = Sequencer::new(Position(0), Epoch(1), Timestamp(0));
    for step in 1..=100 {
        let refusal = Value::inline(text(step as usize * 250));
        let answer = crate::Answered { step: StepId(step), outcome: crate::Outcome::Failed(refusal) };
        sequencer.push(Timestamp(0), if step % 2 == 0 { call(step) } else { step_cancel(step) });
        sequencer.push(Timestamp(0), Kind::Answered(answer));
    }
    while sequencer.has_pending() {
        let frame = sequencer.take_frame();
        assert!(!matches!(frame[0].kind, Kind::Answered(_)), "an answer is cut off at {}", frame[0].position);
        assert!(Frame::encode(&frame).len() <= FRAME_MAX_BYTES);
    }
}

/// A crash between the two would lose a sum, or leave an answer that nobody paid for.
#[test]
fn what_was_used_stands_in_the_frame_of_its_answer_and_a_sum_in_that_of_the_cut() {
    let taken = crate::SpendingTaken { spending: crate::Spending { cost_nanousd: u64::MAX, ..Default::default() } };
    let failure = Value::inline(text(Value::INLINE_MAX_BYTES));
    let answered = crate::EffectAnswered {
        step: StepId(1),
        attempt: 1,
        effect: EffectId(1),
        outcome: crate::Outcome::Failed(failure),
    };
    let pairs = [
        (largest_continued(), Kind::SpendingTaken(taken)),
        (model_used(1, 1, 1, u64::MAX, Some(u64::MAX)), Kind::EffectAnswered(answered)),
    ];
    for (first, second) in pairs {
        let mut sequencer = Sequencer::new(Position(7), Epoch(1), Timestamp(0));
        // So that the pair meets a frame that is nearly full.
        sequencer.push(Timestamp(0), largest_sleep(4 << 10));
        let kinds = [first, second];
        kinds.iter().for_each(|kind| _ = sequencer.push(Timestamp(0), kind.clone()));
        let mut frames = Vec::new();
        while sequencer.has_pending() {
            frames.push(sequencer.take_frame());
        }
        let together = frames.iter().any(|frame| {
            let held: Vec<&Kind> = frame.iter().map(|entry| &entry.kind).collect();
            held.ends_with(&[&kinds[0], &kinds[1]])
        });
        assert!(together, "{:?}", frames.iter().map(Vec::len).collect::<Vec<_>>());
        assert!(frames.iter().all(|frame| Frame::encode(frame).len() <= FRAME_MAX_BYTES));
    }
}
