use bytes::Bytes;
use trackway_replay::{FrameId, RunId, TenantId};

use super::*;
use crate::Rows;

fn key(run: u128) -> RunKey {
    RunKey { tenant: TenantId::DEFAULT, run: RunId(run) }
}

fn grown(run: u128, position: u64, size_bytes: usize) -> Grown {
    let previous = position.checked_sub(1).map(|before| FrameId(before.into()));
    let (position, id) = (Position(position), FrameId(position.into()));
    let frame = Bytes::from(vec![0; size_bytes]);
    Grown::of(&Append { run: key(run), position, entries: 1, previous, id, frame, rows: Rows::default() })
}

fn know(recent: &Recent, grown: impl IntoIterator<Item = Grown>) {
    recent.grew(grown, [], || {});
}

#[test]
fn frames_are_given_as_the_tree_gives_them() {
    let recent = Recent::default();
    know(&recent, (0..3).map(|position| grown(1, position, 10)));
    let places = |from, max_bytes| {
        let frames = recent.frames(key(1), Position(from), max_bytes).unwrap_or_default();
        frames.into_iter().map(|frame| frame.position.0).collect::<Vec<_>>()
    };
    assert_eq!(places(0, usize::MAX), [0, 1, 2]);
    assert_eq!(places(1, usize::MAX), [1, 2]);
    assert_eq!(places(0, 1), [0]);
    assert_eq!(places(0, 11), [0, 1]);
    assert_eq!(places(3, usize::MAX), [0; 0]);
    assert_eq!(recent.end(key(1)), Some(Position(3)));
}

#[test]
fn of_a_run_whose_beginning_is_not_known_nothing_is() {
    let recent = Recent::default();
    know(&recent, [grown(1, 7, 10)]);
    assert_eq!(recent.end(key(1)), None);
    know(&recent, [grown(2, 0, 10)]);
    recent.forget(key(2));
    know(&recent, [grown(2, 1, 10)]);
    assert_eq!(recent.frames(key(2), Position(0), 1), None);
}

#[test]
fn a_long_journal_is_left_to_the_tree_and_its_end_is_still_known() {
    let recent = Recent::default();
    know(&recent, [grown(1, 0, 10), grown(1, 1, FRAMES_OF_RUN_MAX_BYTES), grown(1, 2, 10)]);
    assert_eq!(recent.frames(key(1), Position(0), 1), None);
    assert_eq!(recent.end(key(1)), Some(Position(3)));
    assert_eq!(recent.lock().size_bytes, 0);
}

#[test]
fn no_more_is_kept_than_was_set() {
    let recent = Recent::default();
    let runs = RUNS_MAX as u128 * 2;
    know(&recent, (0..runs).map(|run| grown(run, 0, FRAMES_OF_RUN_MAX_BYTES)));
    let known = recent.lock();
    assert!(known.runs.len() <= RUNS_MAX && known.size_bytes <= FRAMES_MAX_BYTES);
    assert_eq!(known.order.len(), known.runs.len());
    assert!(known.runs.contains_key(&key(runs - 1)));
}
