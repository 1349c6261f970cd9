use super::{Gate, Permit, Portion, Waiting};
use crate::{Weight, Weights};
use futures_util::FutureExt;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trackway_replay::TenantId;

const EQUAL: Portion = Portion { tenant: 7, part: u64::MAX };

fn gate(places: usize) -> Arc<Gate> {
    Gate::new(places, EQUAL, Weights::default())
}

fn try_take(gate: &Arc<Gate>, tenant: u32) -> Option<Permit> {
    gate.try_take(TenantId(tenant), (), 1)
}

fn take_all(gate: &Arc<Gate>, tenant: u32) -> Vec<Permit> {
    std::iter::from_fn(|| try_take(gate, tenant)).collect()
}

fn wait(gate: &Arc<Gate>, tenant: u32) -> Waiting {
    gate.line_up(TenantId(tenant), (), 1).expect_err("there was a place")
}

fn got(waiting: &mut Waiting) -> Option<Permit> {
    waiting.now_or_never()
}

#[test]
fn whoever_holds_leaves_something_for_the_next_one() {
    let gate = gate(512);
    let held: Vec<Vec<Permit>> = (1..=4).map(|tenant| take_all(&gate, tenant)).collect();
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [448, 56, 7, 1]);
    assert!(try_take(&gate, 5).is_none());
    assert_eq!(gate.free(), 0);
}

#[test]
fn the_few_places_of_a_small_gate_are_all_used() {
    for places in 1..=7 {
        assert_eq!(take_all(&gate(places), 1).len(), places);
    }
}

#[test]
fn a_tenant_that_comes_late_catches_up_with_one_that_has_everything() {
    let gate = gate(64);
    let mut first = take_all(&gate, 1);
    let _line: Vec<Waiting> = (0..100).map(|_| wait(&gate, 1)).collect();
    let (mut second, mut its_line) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        match gate.line_up(TenantId(2), (), 1) {
            Ok(permit) => second.push(permit),
            Err(waiting) => its_line.push(waiting),
        }
    }
    assert_eq!(second.len(), 7, "what the first one left");
    // As the first gives back, both wait, and the one that holds less is next.
    while gate.held(TenantId(2)) < gate.held(TenantId(1)) {
        drop(first.pop().expect("it holds some"));
    }
    assert!(gate.held(TenantId(1)) >= 25, "and no more than its half: {}", gate.held(TenantId(1)));
}

#[test]
fn a_weight_counts_where_both_wait_and_from_the_next_place_on() {
    let weights = Weights::default();
    let gate: Arc<Gate> = Gate::new(40, EQUAL, weights.clone());
    let mut blocking = take_all(&gate, 9);
    blocking.extend(gate.try_take(TenantId(8), (), 5));
    let mut lines: Vec<Waiting> = (0..200).map(|nth| wait(&gate, 1 + nth % 2)).collect();
    let held = |gate: &Gate| (gate.held(TenantId(1)), gate.held(TenantId(2)));
    blocking.truncate(20);
    let (one, other) = held(&gate);
    assert!(one.abs_diff(other) <= 1, "{one} and {other}");
    weights.set(TenantId(2), Weight::new(1_000));
    blocking.clear();
    let (one_after, other_after) = held(&gate);
    assert!(one_after == one && other_after > other, "only whoever has the greater weight gets more: {one_after}");
    lines.clear();
    assert_eq!(gate.free(), 40);
}

#[test]
fn whoever_leaves_the_line_keeps_nobody_waiting() {
    let gate = gate(1);
    let holding = try_take(&gate, 1);
    let (gone, unaware, mut last) = (wait(&gate, 2), wait(&gate, 3), wait(&gate, 4));
    drop(gone);
    drop(holding);
    // Given to one that goes without looking.
    drop(unaware);
    drop(got(&mut last).expect("its turn"));
    assert_eq!(gate.waiting(), 0);
    assert!(try_take(&gate, 1).is_some());
}

#[test]
fn what_needs_many_places_is_not_passed_by() {
    let gate = gate(4);
    let mut held = vec![try_take(&gate, 1).expect("free"), try_take(&gate, 1).expect("free")];
    let mut large = gate.line_up(TenantId(2), (), 4).expect_err("not so many are free");
    assert!(try_take(&gate, 3).is_none());
    let mut small = wait(&gate, 3);
    held.pop();
    assert!(got(&mut small).is_none());
    held.pop();
    let large = got(&mut large).expect("all of them are free");
    assert_eq!(large.places(), 4);
    drop(large);
    assert!(got(&mut small).is_some());
}

#[test]
fn parts_of_a_tenant_share_what_it_has() {
    let gate: Arc<Gate<u8>> = Gate::new(64, Portion { tenant: 7, part: 1 }, Weights::default());
    let all = |tenant: u32, part: u8| -> Vec<Permit<u8>> {
        std::iter::from_fn(|| gate.try_take(TenantId(tenant), part, 1)).collect()
    };
    let _held = [all(1, 1), all(1, 2), all(1, 3), all(1, 4), all(1, 5), all(1, 6), all(1, 7)];
    assert_eq!(gate.free(), 8, "the parts together stop where the tenant has to");
    let of_other = all(2, 1);
    assert_eq!(of_other.len(), 4);
}

#[test]
fn a_part_that_has_had_too_much_keeps_nobody_else_waiting() {
    let gate: Arc<Gate<u32>> = Gate::new(64, Portion { tenant: 7, part: 1 }, Weights::default());
    let mut held = Vec::new();
    let mut line = Vec::new();
    let mut next = 0;
    // A run of the first tenant wants everything, and so do many runs of the second.
    for _ in 0..64 {
        held.extend(gate.line_up(TenantId(1), 0, 1).map_err(|waiting| line.push(waiting)));
        next += 1;
        held.extend(gate.line_up(TenantId(2), next, 1).map_err(|waiting| line.push(waiting)));
    }
    assert!(gate.held(TenantId(1)) >= 8, "it has what a part may have beside the others");
    assert!(gate.held(TenantId(2)) > 30, "the second one has {} and {} are free", gate.held(TenantId(2)), gate.free());
    assert!(gate.free() < 10);
}

#[test]
fn a_permit_grows_and_shrinks() {
    let gate = gate(10);
    let mut one = gate.try_take(TenantId(1), (), 2).expect("free");
    assert!(one.grow(8) && !one.grow(1));
    one.shrink_to(3);
    assert_eq!((one.places(), gate.free()), (3, 7));
    drop(one);
    assert_eq!(gate.free(), 10);
}

proptest! {
    #[test]
    fn whatever_is_taken_given_back_and_given_up_nothing_is_lost_and_nobody_is_left_waiting(
        places in 1_usize..40, deeds in prop::collection::vec((1_u32..5, 0_u8..4, 0_usize..20), 1..400)
    ) {
        let gate = gate(places);
        let (mut held, mut waiting): (Vec<Permit>, Vec<Waiting>) = Default::default();
        for (tenant, deed, nth) in deeds {
            match deed {
                0 | 1 => match gate.line_up(TenantId(tenant), (), 1) {
                    Ok(permit) => held.push(permit),
                    Err(line) => waiting.push(line),
                },
                2 if !held.is_empty() => drop(held.swap_remove(nth % held.len())),
                _ if !waiting.is_empty() => drop(waiting.swap_remove(nth % waiting.len())),
                _ => {}
            }
            let mut still = Vec::new();
            for mut line in waiting.drain(..) {
                match got(&mut line) {
                    Some(permit) => held.push(permit),
                    None => still.push(line),
                }
            }
            waiting = still;
            prop_assert_eq!(gate.free() + held.len(), places);
            prop_assert_eq!(gate.waiting(), waiting.len());
            // Somebody who holds nothing only waits where there is nothing.
            if gate.free() > 0 && let Some((next, ())) = gate.next() {
                prop_assert!(gate.held(next) > 0);
            }
        }
        // Everybody has a turn in the end.
        while !waiting.is_empty() {
            prop_assert!(!held.is_empty(), "somebody waits for nobody");
            held.pop();
            waiting.retain_mut(|line| match got(line) {
                Some(permit) => { held.insert(0, permit); false }
                None => true,
            });
        }
        held.clear();
        prop_assert_eq!(gate.free(), places);
    }
}

/// Of tenant 1 no more than `cap` says.
fn capped(places: usize, cap: &Arc<AtomicU64>) -> Arc<Gate> {
    let cap = cap.clone();
    let of = move |tenant: TenantId| if tenant.0 == 1 { cap.load(Ordering::Relaxed) } else { u64::MAX };
    Gate::capped(places, EQUAL, Weights::default(), Box::new(of))
}

#[test]
fn whoever_is_at_its_cap_waits_for_its_own_places_and_nobody_waits_for_it() {
    let cap = Arc::new(AtomicU64::new(2));
    let gate = capped(64, &cap);
    let mut held = take_all(&gate, 1);
    assert_eq!(held.len(), 2);
    assert!(gate.is_capped(TenantId(1)) && !gate.is_capped(TenantId(2)));
    let (mut first, mut second) = (wait(&gate, 1), wait(&gate, 1));
    assert_eq!((gate.next(), gate.next_under_cap(TenantId(1))), (None, Some(())));
    // It holds less than the other one, and is passed by.
    let others: Vec<Permit> = (0..8).map(|_| gate.line_up(TenantId(2), (), 1).ok().expect("there is room")).collect();
    assert!(got(&mut first).is_none(), "not before one of its own comes back");
    held.pop();
    let got_first = got(&mut first).expect("one came back");
    assert!(got(&mut second).is_none());
    drop(others);
    assert!(got(&mut second).is_none(), "places of others are no help");
    cap.store(3, Ordering::Relaxed);
    gate.serve();
    let got_second = got(&mut second).expect("it may have three now");
    assert_eq!(gate.held(TenantId(1)), 3);
    drop((got_first, got_second));
}

#[test]
fn a_cap_below_one_still_lets_one_in() {
    let gate = capped(8, &Arc::new(AtomicU64::new(0)));
    assert_eq!(take_all(&gate, 1).len(), 1);
}
