//! Cuts a large payload into pieces where its content says so: two payloads that have a long stretch in common have
//! its pieces in common, wherever it stands in them. Pure; it never looks at what a payload means.

use std::ops::Range;

/// A smaller payload costs less whole than as pieces and their list.
const CUT_FROM_BYTES: usize = 4 << 10;
/// More than any model reads at once. The list of a larger payload would be more than one row.
pub(crate) const CUT_MAX_BYTES: usize = 1 << 20;
/// So that the list of all pieces stays one row.
const PIECE_MIN_BYTES: usize = 1 << 10;
/// Where nothing in the content says where to cut.
const PIECE_MAX_BYTES: usize = 16 << 10;
/// One place in so many is a cut, on average: what is written anew behind a change is about this and the minimum. With
/// half as much the list of pieces costs more than they save.
const PLACES_PER_CUT: u64 = 2 << 10;

/// Whether a payload of so many bytes is kept as pieces.
pub(crate) fn is_cut(size_bytes: usize) -> bool {
    (CUT_FROM_BYTES..=CUT_MAX_BYTES).contains(&size_bytes)
}

/// The pieces, in order. The same bytes give the same pieces, in this program and in all later ones: else nothing would
/// be lost, but what stands already would be written again.
pub(crate) fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = 0..bytes.len();
    std::iter::from_fn(move || {
        let piece = rest.start..rest.start + first(&bytes[rest.clone()])?;
        rest.start = piece.end;
        Some(&bytes[piece])
    })
}

/// How long the first piece is.
fn first(bytes: &[u8]) -> Option<usize> {
    if bytes.len() <= PIECE_MIN_BYTES {
        return (!bytes.is_empty()).then_some(bytes.len());
    }
    // What stands 64 bytes back has been shifted out, so a cut depends on the bytes right before it only.
    let searched: Range<usize> = PIECE_MIN_BYTES - 64..bytes.len().min(PIECE_MAX_BYTES);
    let mut gear = 0_u64;
    for (place, byte) in searched.clone().zip(&bytes[searched.clone()]) {
        gear = (gear << 1).wrapping_add(GEARS[usize::from(*byte)]);
        if place >= PIECE_MIN_BYTES && gear < u64::MAX / PLACES_PER_CUT {
            return Some(place + 1);
        }
    }
    Some(searched.end)
}

/// A number for each byte, with no pattern in it.
const GEARS: [u64; 256] = gears();

/// SplitMix64, from 1 on.
const fn gears() -> [u64; 256] {
    let mut gears = [0; 256];
    let (mut state, mut byte) = (1_u64, 0);
    while byte < gears.len() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        gears[byte] = mixed ^ (mixed >> 31);
        byte += 1;
    }
    gears
}

#[cfg(test)]
mod tests;
