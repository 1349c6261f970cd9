//! What is said of a tenant's weight reaches the queues of a worker.

use futures_util::FutureExt as _;
use trackway_fair::Permit;
use trackway_replay::{RunId, TenantId};
use trackway_storage::RunKey;

use super::{Options, Rig};
use crate::quota::{Quota, Quotas};
use crate::worker::claim;

const ONE: TenantId = TenantId(11);
const OTHER: TenantId = TenantId(12);
/// Whoever holds everything meanwhile: each leaves some, so that they are several.
const OTHERS: std::ops::Range<u32> = 100..110;
/// Of each tenant. A task may look at no more than 128 things before it gives way.
const WAITING: u32 = 10;
/// Of which there are (2, 6) where one tenant has three times the weight of the other.
const COME_FREE: usize = 8;

/// Runs of one tenant, then runs of the other: who is served in the order of arrival serves the one alone.
fn in_line() -> impl Iterator<Item = RunKey> {
    [ONE, OTHER].into_iter().flat_map(|tenant| (0..WAITING).map(move |run| RunKey { tenant, run: RunId(run.into()) }))
}

fn say_thrice(rig: &Rig) {
    let mut said = Quotas::default();
    said.set(Quota::Weight, 300).expect("a limit");
    rig.worker.quotas().set(OTHER, &said);
}

/// All the room for runs in hand.
fn all_room(rig: &Rig) -> Vec<Permit> {
    let runs = &rig.worker.core.runs;
    let all_of = |tenant: u32| std::iter::from_fn(move || runs.try_take(TenantId(tenant), (), 1));
    let all: Vec<Permit> = OTHERS.flat_map(all_of).collect();
    assert_eq!(all.len(), Options::default().runs_max);
    all
}

fn in_hand(rig: &Rig) -> (u64, u64) {
    let runs = &rig.worker.core.runs;
    (runs.held(ONE), runs.held(OTHER))
}

#[tokio::test]
async fn runs_that_are_claimed_get_room_by_weight_whoever_came_first() {
    let rig = Rig::new().await;
    let mut all = all_room(&rig);
    // Nothing else has a turn here: none of them is looked for in the store.
    in_line().for_each(|run| claim::take(&rig.worker.core, run));
    say_thrice(&rig);
    all.truncate(all.len() - COME_FREE);
    assert_eq!(in_hand(&rig), (2, 6));
}

#[tokio::test]
async fn runs_that_start_get_room_by_weight_whoever_came_first() {
    let rig = Rig::new().await;
    let core = &rig.worker.core;
    let mut all = all_room(&rig);
    let mut starting: Vec<_> = in_line().map(|run| Box::pin(claim::room(core, run.tenant))).collect();
    assert!(starting.iter_mut().all(|room| room.now_or_never().is_none()));
    say_thrice(&rig);
    all.truncate(all.len() - COME_FREE);
    assert_eq!(in_hand(&rig), (2, 6));
}

#[tokio::test]
async fn attempts_get_places_by_weight_whoever_came_first() {
    let rig = Rig::new().await;
    let places = &rig.worker.core.places;
    // Each of a run of its own: one run alone would get half of them.
    let mut nth = 0..;
    let mut next = |tenant: u32| {
        let run = RunId(nth.next().expect("there is no end of them"));
        places.take(RunKey { tenant: TenantId(tenant), run }).now_or_never()
    };
    let mut all: Vec<_> = Vec::new();
    for tenant in OTHERS {
        all.extend(std::iter::from_fn(|| next(tenant)));
    }
    assert_eq!(all.len(), Options::default().attempts_max);
    let mut waiting: Vec<_> = in_line().map(|run| (run.tenant, Box::pin(places.take(run)))).collect();
    assert!(waiting.iter_mut().all(|(_, place)| place.now_or_never().is_none()));
    say_thrice(&rig);
    all.truncate(all.len() - COME_FREE);
    let got: Vec<_> = waiting.iter_mut().filter_map(|(tenant, place)| Some((*tenant, place.now_or_never()?))).collect();
    let of = |whose: TenantId| got.iter().filter(|(tenant, _)| *tenant == whose).count();
    assert_eq!((of(ONE), of(OTHER)), (2, 6));
}
