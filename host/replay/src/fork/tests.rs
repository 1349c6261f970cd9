use super::{CannotFork, kept};
use crate::testing::{
    answered, attempt, call, cancel, claimed, effect, effect_answered, failed, forgotten, forked, journal, paused,
    resumed_run, sleep, started,
};
use crate::{Entry, Kind, StepId};

/// The kept entries of a fork before `step`, and how many of them are commands.
fn check(kinds: impl IntoIterator<Item = Kind>, step: u32) -> (Vec<u64>, u64) {
    let journal = journal(kinds);
    let kept = kept(&journal, StepId(step), None).expect("it can be forked");
    let positions = kept.entries.iter().map(|entry| entry.position.0).collect();
    let commands = kept.commands;
    (positions, commands)
}

#[test]
fn everything_before_the_step_is_kept_and_nothing_after_it() {
    let kinds =
        [started(), claimed(), call(1), attempt(1, 1), answered(1), call(2), attempt(2, 1), answered(2), call(3)];
    assert_eq!(check(kinds.clone(), 3), (vec![1, 2, 3, 4, 5, 6, 7], 2));
    assert_eq!(check(kinds.clone(), 2), (vec![1, 2, 3, 4], 1));
    assert_eq!(check(kinds, 1), (vec![1], 0));
}

#[test]
fn what_was_under_way_begins_anew() {
    let open = [
        started(),
        claimed(),
        call(1),
        call(2),
        attempt(1, 1),
        effect(1, 1, 1),
        effect_answered(1, 1, 1),
        failed(1, 1, 2_000),
        attempt(1, 2),
        attempt(2, 1),
        answered(2),
        call(3),
    ];
    assert_eq!(check(open, 3), (vec![1, 2, 3, 9, 10], 2));
}

#[test]
fn a_forgotten_step_is_kept_with_its_attempt_and_counts_twice() {
    let kinds = [started(), claimed(), call(1), attempt(1, 1), forgotten(1), sleep(2, 5)];
    assert_eq!(check(kinds, 2), (vec![1, 2, 3, 4], 2));
}

#[test]
fn a_fork_is_not_held_because_the_other_run_was() {
    let kinds = [started(), claimed(), call(1), paused(), resumed_run(), answered(1), call(2)];
    assert_eq!(check(kinds, 2), (vec![1, 2, 5], 1));
}

#[test]
fn the_cuts_of_a_fork_stay_where_they_are_kept() {
    let journal = journal([started(), forked(&[1, 2]), claimed(), call(1), answered(1), call(2), call(3)]);
    let cuts = |step| -> Vec<u64> {
        let kept = kept(&journal, StepId(step), None).expect("it can be forked");
        kept.cuts.iter().map(|cut| cut.commands).collect()
    };
    assert_eq!((cuts(1), cuts(2), cuts(3)), (vec![], vec![1], vec![1, 2]));
}

#[test]
fn a_longer_journal_gives_the_same_fork() {
    let whole = journal([started(), claimed(), call(1), answered(1), call(2), attempt(2, 1), answered(2), call(3)]);
    let of = |journal: &[Entry]| -> Vec<Entry> {
        kept(journal, StepId(2), None)
            .expect("it can be forked")
            .entries
            .into_iter()
            .map(std::borrow::Cow::into_owned)
            .collect()
    };
    for end in 5..whole.len() {
        assert_eq!(of(&whole[..end]), of(&whole));
    }
}

#[test]
fn what_cannot_be_forked_says_why() {
    let journal = journal([started(), claimed(), call(1), cancel(), call(2)]);
    let why = |step| kept(&journal, StepId(step), None).expect_err("it cannot be forked");
    assert_eq!(why(3), CannotFork::NoSuchStep { step: StepId(3), steps: 2 });
    assert_eq!(why(0), CannotFork::NoSuchStep { step: StepId(0), steps: 2 });
    assert_eq!(why(2), CannotFork::Cancelled { step: StepId(2) });
}
