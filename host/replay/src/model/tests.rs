//! Sums of what models cost, and rows from before there were any.

use crate::testing::*;
use crate::trace::{What, trace};
use crate::{Finish, Forked, Head, Kind, RunState, Spending, SpendingTaken, StepId, Usage, fork};

fn spent(kinds: impl IntoIterator<Item = Kind>) -> Spending {
    RunState::of(&journal(kinds)).expect("a sound journal").spending()
}

#[test]
fn what_is_spent_is_the_sum_over_all_steps_and_attempts() {
    let begun = [started(), claimed(), call(1), attempt(1, 1), model_asked(1, 1, 1)];
    assert_eq!(spent(begun.clone()), Spending::default());
    let answered = [model_used(1, 1, 1, 10, Some(7)), effect_answered(1, 1, 1)];
    let more = [model_asked(1, 1, 2), model_used(1, 1, 2, u64::MAX, None), effect_answered(1, 1, 2)];
    let sum = spent(begun.into_iter().chain(answered).chain(more));
    assert_eq!((sum.calls, sum.unpriced_calls, sum.cost_nanousd), (2, 1, 7));
    let expected = Usage { input_tokens: u64::MAX, output_tokens: 2, cached_tokens: 4, cache_write_tokens: 6 };
    assert_eq!(sum.usage, expected, "a provider that tells nonsense does not wrap it round");
}

#[test]
fn what_was_used_by_nobody_is_refused() {
    for kinds in [
        vec![started(), claimed(), call(1), model_used(1, 1, 1, 1, None)],
        vec![started(), claimed(), call(1), attempt(1, 1), model_used(1, 1, 1, 1, None)],
        vec![started(), claimed(), Kind::SpendingTaken(SpendingTaken { spending: Spending::default() })],
    ] {
        assert!(RunState::of(&journal(kinds)).is_err());
    }
}

#[test]
fn a_head_from_before_models_is_read_as_one_that_spent_nothing() {
    let state = RunState::of(&journal([started(), claimed()])).expect("a sound journal");
    let written = postcard::to_allocvec(&state.head()).expect("a head can be written");
    let nothing = postcard::to_allocvec(&Spending::default()).expect("it can be written");
    let before = &written[..written.len() - nothing.len()];
    assert_eq!(postcard::from_bytes::<Head>(before).expect("it was one"), state.head());
    assert_eq!(postcard::from_bytes::<Head>(&written).expect("it is one"), state.head());
}

#[test]
fn the_trace_tells_of_a_call_without_reading_its_answer() {
    let answered = [model_used(1, 1, 1, 10, Some(7)), effect_answered(1, 1, 1)];
    let open = [started(), claimed(), call(1), attempt(1, 1), model_asked(1, 1, 1), claimed(), resumed(1, 1)];
    let entries = journal(open.into_iter().chain(answered));
    let trace = trace(&entries);
    assert_eq!(trace.unplaced, []);
    let What::Model(model) = &trace.rows[2].what else { panic!("{:?}", trace.rows) };
    assert_eq!((&*trace.rows[2].id, &*model.model, model.answered_by.as_deref()), ("1.1.1", "openai/m", Some("m-2")));
    assert_eq!((model.finish, model.cost_nanousd, model.interrupted), (Some(Finish::Stop), Some(7), 1));
    assert_eq!(model.usage.map(|usage| usage.input_tokens), Some(10));
    assert_eq!(trace.totals.spending, RunState::of(&entries).expect("a sound journal").spending());
    assert_eq!((trace.totals.effects_interrupted, trace.activations[1].effects_open), (1, 1));
    assert_eq!(trace.recalled(&trace.activations[1]).open.len(), 1);
}

/// What another run paid for is not paid again by the one that keeps it.
#[test]
fn a_restarted_run_counts_only_what_it_spent_itself() {
    let first = [started(), claimed(), call(1), attempt(1, 1), model_asked(1, 1, 1)];
    let answered = [model_used(1, 1, 1, 10, Some(7)), effect_answered(1, 1, 1), crate::testing::answered(1), call(2)];
    let journal_of_first = journal(first.into_iter().chain(answered));
    let kept = fork::kept(&journal_of_first, StepId(2), None).expect("it can be kept");
    let kinds: Vec<Kind> = kept.entries.iter().map(|entry| entry.kind.clone()).collect();
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::ModelUsed(_))), "its rows are told as they were");
    let Kind::Forked(fork) = forked(&[]) else { unreachable!("it is one") };
    let fork = Forked { entries: kinds.len() as u64, ..*fork };
    let begun = [started(), Kind::Forked(Box::new(fork))];
    let own = [claimed(), call(2), attempt(2, 1), model_asked(2, 1, 1), model_used(2, 1, 1, 20, Some(9))];
    let entries = journal(begun.into_iter().chain(kinds).chain(own));
    let spending = RunState::of(&entries).expect("a sound journal").spending();
    assert_eq!((spending.calls, spending.cost_nanousd), (1, 9));
    assert_eq!(trace(&entries).totals.spending, spending);
}
