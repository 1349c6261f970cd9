use trackway_fair::Weight;
use trackway_replay::RunId;

use super::*;

const ONE: TenantId = TenantId(1);
const OTHER: TenantId = TenantId(2);
/// Of each tenant.
const RUNS: u128 = 40;

/// All of the one, then all of the other.
fn runs() -> impl Iterator<Item = RunKey> {
    [ONE, OTHER].into_iter().flat_map(|tenant| (0..RUNS).map(move |run| RunKey { tenant, run: RunId(run) }))
}

/// Weights after whatever came by then.
fn thrice(weights: &Weights) {
    weights.set(OTHER, Weight::new(300));
}

/// Claims so many of those that are ready: how many of them are of either tenant.
fn claimed(desk: &Desk, max: usize, timers: Vec<(Timestamp, RunKey)>) -> (usize, usize) {
    let claims = desk.claim(Timestamp(1_000), max, &[], |_| timers.into_iter().map(Ok)).expect("timers can be read");
    let of = |tenant: TenantId| -> Vec<u128> {
        claims.runs.iter().filter(|run| run.tenant == tenant).map(|run| run.run.0).collect()
    };
    assert!(of(ONE).is_sorted() && of(OTHER).is_sorted(), "each its own in their order: {:?}", claims.runs);
    (of(ONE).len(), of(OTHER).len())
}

#[test]
fn runs_that_are_ready_are_claimed_by_weight_whoever_was_ready_first() {
    let weights = Weights::default();
    let desk = Desk::new(runs(), weights.clone());
    thrice(&weights);
    assert_eq!(claimed(&desk, 16, Vec::new()), (4, 12));
    weights.forget(OTHER);
    assert_eq!(claimed(&desk, 16, Vec::new()), (8, 8), "a weight counts from the next turn on");
}

#[test]
fn runs_that_were_signalled_are_claimed_by_weight() {
    let weights = Weights::default();
    let desk = Desk::new([], weights.clone());
    runs().for_each(|run| desk.knock(run));
    thrice(&weights);
    assert_eq!(claimed(&desk, 16, Vec::new()), (4, 12));
}

#[test]
fn runs_whose_timers_are_due_are_claimed_by_weight_whichever_was_due_first() {
    let weights = Weights::default();
    let desk = Desk::new([], weights.clone());
    thrice(&weights);
    let timers: Vec<_> = runs().enumerate().map(|(nth, run)| (Timestamp(nth as u64), run)).collect();
    assert_eq!(claimed(&desk, 16, timers), (4, 12));
}
