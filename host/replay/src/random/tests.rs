//! What randomness promises: the same numbers for ever. The vectors are checked in, so that a new
//! version of a dependency cannot change what a run on record drew; they were computed by another
//! implementation of ChaCha20 and sha256.

use super::{Random, RunRandom, idempotency_key};
use crate::{Cut, Digest, StepId};

fn drawn(mut random: Random, sizes: &[usize]) -> String {
    let mut text = String::new();
    for size in sizes {
        let mut bytes = vec![0; *size];
        random.fill(&mut bytes);
        text.extend(bytes.iter().map(|byte| format!("{byte:02x}")));
        text.push(' ');
    }
    text.trim_end().to_owned()
}

/// The first block of ChaCha20 with a zero key and nonce, as RFC 8439 gives it (test vector 1 of
/// its appendix A.1).
#[test]
fn a_run_draws_the_published_stream_of_chacha20() {
    assert_eq!(
        drawn(Random::of_run([0; 32]), &[64]),
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
         da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    );
}

#[test]
fn draws_of_uneven_sizes_are_what_they_were() {
    assert_eq!(drawn(Random::of_run([7; 32]), &[1, 3, 5, 8, 13, 0, 2]), UNEVEN);
}

#[test]
fn a_long_draw_equals_many_short_ones_of_whole_words() {
    let long = drawn(Random::of_run([7; 32]), &[4_096]);
    let short = drawn(Random::of_run([7; 32]), &[4; 1_024]).replace(' ', "");
    assert_eq!(long, short);
}

#[test]
fn attempts_and_jitter_have_streams_of_their_own() {
    let seed = [9; 32];
    assert_eq!(drawn(Random::of_attempt(seed, StepId(3), 2), &[16]), ATTEMPT);
    assert_eq!(drawn(Random::of_jitter(seed, StepId(3), 2), &[16]), JITTER);
    let mut all = vec![drawn(Random::of_run(seed), &[16])];
    for (step, attempt) in [(1, 1), (1, 2), (2, 1)] {
        all.push(drawn(Random::of_attempt(seed, StepId(step), attempt), &[16]));
        all.push(drawn(Random::of_jitter(seed, StepId(step), attempt), &[16]));
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two streams are the same");
}

#[test]
fn a_fraction_is_below_one_and_what_it_was() {
    let mut random = Random::of_jitter([9; 32], StepId(3), 2);
    let fractions: Vec<_> = (0..10_000).map(|_| random.fraction()).collect();
    assert!(fractions.iter().all(|fraction| (0.0..1.0).contains(fraction)));
    assert_eq!(fractions[..3].iter().map(|fraction| fraction.to_bits()).collect::<Vec<_>>(), FRACTION_BITS);
    let mean = fractions.iter().sum::<f64>() / fractions.len() as f64;
    assert!((0.48..0.52).contains(&mean), "{mean}");
}

#[test]
fn an_idempotency_key_is_what_it_was_and_differs_in_every_part() {
    let request = Digest::of(b"request");
    let key = idempotency_key([5; 32], StepId(3), request, 1);
    assert_eq!(key, KEY);
    for other in [
        idempotency_key([6; 32], StepId(3), request, 1),
        idempotency_key([5; 32], StepId(4), request, 1),
        idempotency_key([5; 32], StepId(3), Digest::of(b"other"), 1),
        idempotency_key([5; 32], StepId(3), request, 2),
    ] {
        assert_ne!(other, key);
        assert!(other.len() == 32 && other.bytes().all(|byte| byte.is_ascii_hexdigit()), "{other}");
    }
}

/// A draw begins with a new word of four bytes; what the one before left of its last word is lost.
const UNEVEN: &str = "f4 57aaf6 14f561baac 8c79a1dc1476ab57 3216a4020764bde545c143dbb9  ab85";
const ATTEMPT: &str = "6ddeba0bb310d2a949f3c85457233b98";
const JITTER: &str = "b3a0bedcc87e0ec1d259ca858a8e0743";
const FRACTION_BITS: [u64; 3] = [4604967795570743252, 4598388402975502998, 4602191641938398942];
const KEY: &str = "49203cb9e1a8b1753c694a1d35357131";

#[test]
fn a_fork_draws_what_the_other_run_drew_up_to_its_cut_and_something_else_after_it() {
    let drawn = |cuts: &[Cut]| -> Vec<[u8; 8]> {
        let mut random = RunRandom::new([1; 32], cuts);
        let draw = |commands| {
            let mut bytes = [0; 8];
            random.fill(commands, &mut bytes);
            bytes
        };
        [0, 0, 1, 2, 2].into_iter().map(draw).collect()
    };
    let (whole, forked) = (drawn(&[]), drawn(&[Cut { commands: 2, seed: [2; 32] }]));
    assert_eq!(whole[..3], forked[..3]);
    assert_ne!(whole[3..], forked[3..]);
    let mut other = Random::of_run([2; 32]);
    let anew = [(); 5].map(|()| {
        let mut bytes = [0; 8];
        other.fill(&mut bytes);
        bytes
    });
    assert_eq!(drawn(&[Cut { commands: 0, seed: [2; 32] }]), anew);
}
