//! Where payloads are cut.

use std::collections::BTreeSet;
use trackway_replay::Digest;

use super::*;

/// Text that says something else everywhere.
fn text(seed: u64, size_bytes: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|nth| Digest::of(&[seed.to_le_bytes(), nth.to_le_bytes()].concat()).0);
    words.map(|byte| b'a' + byte % 26).take(size_bytes).collect()
}

fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    pieces(bytes).collect()
}

#[test]
fn pieces_are_the_payload_and_none_is_larger_than_a_row() {
    for size_bytes in [0, 1, 1_023, 1_024, 1_025, CUT_FROM_BYTES, 16_385, 50_000, CUT_MAX_BYTES] {
        for bytes in [text(1, size_bytes), vec![b'x'; size_bytes]] {
            let pieces = cut(&bytes);
            assert_eq!(pieces.concat(), bytes, "{size_bytes}");
            let Some((last, others)) = pieces.split_last() else { continue };
            assert!(last.len() <= PIECE_MAX_BYTES, "{size_bytes}");
            assert!(others.iter().all(|piece| (PIECE_MIN_BYTES..=PIECE_MAX_BYTES).contains(&piece.len())));
            assert!(32 * pieces.len() <= 32 << 10, "the list is one row: {}", pieces.len());
        }
    }
}

#[test]
fn what_two_payloads_have_in_common_are_the_same_pieces_wherever_it_stands() {
    let prompt = text(1, 50 << 10);
    let one = [b"{\"model\":\"a\",\"messages\":[".as_slice(), &prompt, &text(2, 3_000)].concat();
    let other = [text(3, 700), prompt, text(4, 9_000)].concat();
    let known: BTreeSet<&[u8]> = pieces(&one).collect();
    let anew: usize = pieces(&other).filter(|piece| !known.contains(piece)).map(<[u8]>::len).sum();
    assert!(anew < 700 + 9_000 + 3 * 3_072, "{anew} bytes are written again");
}

/// The cuts are those of all stores that there are.
#[test]
fn the_same_bytes_are_cut_as_ever() {
    let lengths: Vec<usize> = cut(&text(7, 20_000)).into_iter().map(<[u8]>::len).collect();
    assert_eq!(lengths, [8_414, 2_225, 1_424, 3_441, 3_259, 1_237]);
}
