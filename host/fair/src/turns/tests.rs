use super::Turns;
use crate::{Queue, WEIGHT_MAX, WEIGHT_MIN, Weight};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn weight(weight: u32) -> Weight {
    Weight::new(weight)
}

/// What each of `parties`, with a weight and the cost of each of its turns, has spent after `turns` turns in which all of
/// them had something to do.
fn spent(parties: &[(u32, u64)], turns: usize) -> Vec<u64> {
    let mut queue: Queue<usize, u64> = Queue::default();
    let weight_of = |who: usize| weight(parties[who].0);
    for (who, (_, cost)) in parties.iter().enumerate() {
        (0..2).for_each(|_| queue.push(who, weight_of(who), *cost, *cost));
    }
    let mut spent = vec![0; parties.len()];
    for _ in 0..turns {
        let (who, cost) = queue.pop(weight_of).expect("everybody has something to do");
        spent[who] += cost;
        queue.push(who, weight_of(who), cost, cost);
    }
    spent
}

proptest! {
    #[test]
    fn parties_that_always_want_more_get_shares_by_weight(
        parties in prop::collection::vec((1_u32..=1_000, 1_u64..=64), 2..8)
    ) {
        let spent = spent(&parties, 5_000);
        // What each had for its weight differs by no more than a turn of either.
        for (one, (weight, cost)) in parties.iter().enumerate() {
            for (other, (its_weight, its_cost)) in parties.iter().enumerate() {
                let had = spent[one] as f64 / f64::from(*weight);
                let it_had = spent[other] as f64 / f64::from(*its_weight);
                let turns = *cost as f64 / f64::from(*weight) + *its_cost as f64 / f64::from(*its_weight);
                prop_assert!((had - it_had).abs() <= turns * 1.01, "{one}: {had}, {other}: {it_had}");
            }
        }
    }

    #[test]
    fn whoever_comes_waits_for_one_turn_of_each_of_the_others(
        weights in prop::collection::vec(WEIGHT_MIN..=WEIGHT_MAX, 1..20), before in 0_usize..500
    ) {
        let mut queue: Queue<usize, usize> = Queue::default();
        let weight_of = |who: usize| weights.get(who).map_or(Weight::default(), |of| weight(*of));
        for who in 0..weights.len() {
            (0..1_000).for_each(|_| queue.push(who, weight_of(who), 7, who));
        }
        for _ in 0..before {
            queue.pop(weight_of);
        }
        let new = weights.len();
        queue.push(new, weight_of(new), 1, new);
        let turns = std::iter::from_fn(|| queue.pop(weight_of)).take_while(|(who, _)| *who != new).count();
        prop_assert!(turns <= weights.len(), "{turns} turns before it");
    }

    #[test]
    fn the_work_of_one_party_comes_out_in_the_order_in_which_it_came(
        work in prop::collection::vec((0_usize..4, 1_u64..100), 1..300)
    ) {
        let mut queue: Queue<usize, usize> = Queue::default();
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for (nth, (who, cost)) in work.iter().enumerate() {
            queue.push(*who, Weight::default(), *cost, nth);
        }
        let mut out = 0;
        while let Some((who, nth)) = queue.pop(|_| Weight::default()) {
            out += 1;
            prop_assert!(last.insert(who, nth).is_none_or(|before| before < nth));
        }
        prop_assert_eq!(out, work.len());
    }

    #[test]
    fn nobody_who_wants_nothing_is_known_for_long(work in prop::collection::vec((0_u32..50, 1_u64..100), 1..300)) {
        let mut queue: Queue<u32, ()> = Queue::default();
        for (who, cost) in work {
            queue.push(who, Weight::default(), cost, ());
            queue.pop(|_| Weight::default());
        }
        // Others moved on by more than anybody was ahead.
        for _ in 0..200 {
            queue.push(99, Weight::default(), 100, ());
            queue.pop(|_| Weight::default());
        }
        prop_assert!(queue.turns().known() <= 1);
    }
}

#[test]
fn idle_time_earns_nothing() {
    let mut queue: Queue<char, ()> = Queue::default();
    let of = |_| Weight::default();
    (0..1_000).for_each(|_| queue.push('a', Weight::default(), 10, ()));
    for _ in 0..500 {
        queue.pop(of);
    }
    // It was away for 500 turns, and gets every other one from here on.
    (0..500).for_each(|_| queue.push('b', Weight::default(), 10, ()));
    let next: Vec<char> = (0..100).filter_map(|_| queue.pop(of)).map(|(who, ())| who).collect();
    assert_eq!(next.iter().filter(|who| **who == 'b').count(), 50);
}

#[test]
fn what_is_held_counts_for_as_long_as_it_is_held() {
    let mut turns: Turns<char> = Turns::default();
    let of = Weight::default();
    turns.hold('a', 5, of);
    turns.wait('a', 1, of);
    turns.wait('b', 2, of);
    assert_eq!(turns.next(), Some('b'));
    turns.give_back('a', 5, of);
    assert_eq!(turns.next(), Some('a'), "it came first");
    turns.hold('b', 3, of);
    turns.hold('a', 4, of);
    assert_eq!(turns.next(), Some('b'));
    // Twice the weight: four are as much as two.
    turns.wait('a', 1, weight(200));
    assert_eq!(turns.next(), Some('a'));
    turns.leave('a');
    turns.leave('b');
    assert!(turns.is_empty());
    turns.give_back('a', 4, of);
    turns.give_back('b', 3, of);
    assert_eq!(turns.known(), 0);
}

#[test]
fn a_turn_that_took_longer_than_known_is_charged_afterwards() {
    let mut queue: Queue<char, ()> = Queue::default();
    let of = |_| Weight::default();
    for _ in 0..10 {
        queue.push('a', Weight::default(), 1, ());
        queue.push('b', Weight::default(), 1, ());
    }
    assert_eq!(queue.pop(of), Some(('a', ())));
    queue.charge('a', Weight::default(), 4);
    let next: String = (0..6).filter_map(|_| queue.pop(of)).map(|(who, ())| who).collect();
    assert_eq!(next, "bbbbba", "five turns of one unit each for the one of five");
}
