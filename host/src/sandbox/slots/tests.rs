use futures_util::FutureExt;
use trackway_fair::Weight;

use super::*;

const ONE: TenantId = TenantId(1);
const OTHER: TenantId = TenantId(2);
/// Whoever holds all places meanwhile: each leaves some, so that they are several.
const OTHERS: std::ops::Range<u32> = 100..110;

#[test]
fn calls_of_either_role_get_places_by_weight_whoever_came_first() {
    for role in [Role::Workflow, Role::Function] {
        let weights = Weights::default();
        let slots = &Slots::new(16, weights.clone());
        let take = move |tenant: TenantId| slots.take(tenant, role, 1);
        let take_all = |tenant: u32| std::iter::from_fn(move || take(TenantId(tenant)).now_or_never());
        let all: Vec<Slot> = OTHERS.flat_map(take_all).collect();
        assert_eq!(all.len(), 8, "half of the places are for this role");
        let in_line = [[ONE; 10], [OTHER; 10]].concat();
        let mut waiting: Vec<_> = in_line.into_iter().map(|tenant| Box::pin(take(tenant))).collect();
        assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        weights.set(OTHER, Weight::new(300));
        drop(all);
        let share = match role {
            Role::Workflow => &slots.workflows,
            Role::Function => &slots.functions,
        };
        assert_eq!((share.held(ONE), share.held(OTHER)), (2, 6), "{role:?}");
    }
}

#[test]
fn a_call_that_needs_many_places_counts_as_many() {
    let slots = Slots::new(16, Weights::default());
    let all = slots.take(TenantId(9), Role::Workflow, 8).now_or_never().expect("they are free");
    let mut large: Vec<_> = (0..4).map(|_| Box::pin(slots.take(ONE, Role::Workflow, 2))).collect();
    let mut small: Vec<_> = (0..8).map(|_| Box::pin(slots.take(OTHER, Role::Workflow, 1))).collect();
    assert!(large.iter_mut().chain(&mut small).all(|waiting| waiting.now_or_never().is_none()));
    drop(all);
    assert_eq!((slots.workflows.held(ONE), slots.workflows.held(OTHER)), (4, 4));
}
