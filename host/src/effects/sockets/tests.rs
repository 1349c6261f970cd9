use futures_util::FutureExt;
use trackway_fair::Weight;

use super::*;

const ONE: TenantId = TenantId(1);
const OTHER: TenantId = TenantId(2);
/// Whoever holds all sockets meanwhile: each leaves some, so that they are several.
const OTHERS: std::ops::Range<u32> = 100..120;

/// All that a tenant gets at once.
fn take_all(sockets: &Sockets, tenant: TenantId) -> Vec<Socket> {
    std::iter::from_fn(|| sockets.take(tenant).now_or_never()).collect()
}

/// Fails unless those who wait get what comes free by these weights. Not for a task: it may not take so much at a time.
pub(in crate::effects) fn check_shares(sockets: &Sockets, weights: &Weights) {
    let mut all: Vec<Socket> = OTHERS.flat_map(|tenant| take_all(sockets, TenantId(tenant))).collect();
    assert_eq!(all.len(), ALL_MAX);
    let in_line = [[ONE; 10], [OTHER; 10]].concat();
    let mut waiting: Vec<_> = in_line.into_iter().map(|tenant| Box::pin(sockets.take(tenant))).collect();
    assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
    weights.set(OTHER, Weight::new(300));
    all.truncate(ALL_MAX - 8);
    assert_eq!((sockets.all.held(ONE), sockets.all.held(OTHER)), (2, 6));
}

#[test]
fn sockets_of_all_go_to_tenants_by_weight_whoever_came_first() {
    let weights = Weights::default();
    check_shares(&Sockets::new(weights.clone()), &weights);
}

#[test]
fn whoever_has_as_many_as_a_tenant_may_waits_for_its_own_and_not_in_the_line_of_all() {
    let sockets = Sockets::new(Weights::default());
    let mut own = take_all(&sockets, ONE);
    assert_eq!(own.len(), PER_TENANT_MAX);
    let mut next = Box::pin(sockets.take(ONE));
    assert!((&mut next).now_or_never().is_none());
    assert_eq!(sockets.all.waiting(), 0);
    assert!(sockets.take(OTHER).now_or_never().is_some());
    own.pop();
    assert!(next.now_or_never().is_some());
}
