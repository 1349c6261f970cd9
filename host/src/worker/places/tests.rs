use super::{Place, Places};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use trackway_fair::{Weight, Weights};
use trackway_replay::{RunId, TenantId};
use trackway_storage::RunKey;

fn run(number: u128) -> RunKey {
    RunKey { tenant: TenantId::DEFAULT, run: RunId(number) }
}

fn places(places: usize) -> Arc<Places> {
    Places::new(places, Weights::default(), Box::new(|_| u64::MAX))
}

/// Takes a place if that needs no waiting.
fn take(places: &Arc<Places>, number: u128) -> Option<Place> {
    places.take(run(number)).now_or_never()
}

fn take_all(places: &Arc<Places>, number: u128) -> Vec<Place> {
    std::iter::from_fn(|| take(places, number)).collect()
}

/// Waits from now on.
fn wait(places: &Arc<Places>, number: u128) -> BoxFuture<'static, Place> {
    let places = places.clone();
    let mut waiting = async move { places.take(run(number)).await }.boxed();
    assert!((&mut waiting).now_or_never().is_none(), "there was a place");
    waiting
}

fn got(waiting: &mut BoxFuture<'static, Place>) -> Option<Place> {
    waiting.now_or_never()
}

#[test]
fn a_run_holds_as_many_as_it_leaves_free() {
    let places = places(16);
    let held: Vec<Vec<Place>> = (1..=4).map(|number| take_all(&places, number)).collect();
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 2, 0], "and the last two are for other tenants");
}

#[test]
fn one_place_is_enough_for_everybody_in_turn() {
    let places = places(1);
    let first = take(&places, 1).expect("it is free");
    let mut second = wait(&places, 2);
    let mut third = wait(&places, 1);
    drop(first);
    let second = got(&mut second).expect("its turn");
    assert!(got(&mut third).is_none());
    drop(second);
    assert!(got(&mut third).is_some());
}

#[test]
fn the_run_that_holds_the_fewest_is_served_first() {
    let places = places(4);
    let mut held: Vec<Place> = take_all(&places, 1);
    held.extend(take_all(&places, 2));
    held.extend(take_all(&places, 3));
    assert_eq!(held.len(), 4);
    let mut wide = wait(&places, 1);
    let mut narrow = wait(&places, 4);
    held.pop();
    assert!(got(&mut wide).is_none());
    let narrow = got(&mut narrow).expect("it holds none");
    // All of the others go: now the wide one leaves more free than it holds.
    held.truncate(1);
    drop(narrow);
    assert!(got(&mut wide).is_some());
}

#[test]
fn among_equals_whoever_came_first_is_served_first() {
    let places = places(1);
    let mut holding = take(&places, 9).expect("it is free");
    let mut waiting: Vec<_> = [7, 1, 5].map(|number| wait(&places, number)).into();
    for place in 0..3 {
        drop(holding);
        holding = got(&mut waiting[place]).expect("its turn");
        assert!(waiting[place + 1..].iter_mut().all(|later| got(later).is_none()));
    }
}

#[test]
fn whoever_gives_up_waiting_keeps_nobody_waiting() {
    let places = places(1);
    let holding = take(&places, 1).expect("it is free");
    let gone = wait(&places, 2);
    let unaware = wait(&places, 3);
    let mut last = wait(&places, 4);
    drop(gone);
    drop(holding);
    // Given to one that goes without looking.
    drop(unaware);
    assert!(got(&mut last).is_some());
    assert!(take(&places, 1).is_some());
}

#[test]
fn a_resting_place_is_asked_back_when_somebody_waits() {
    let places = places(2);
    let (one, other) = (take(&places, 1).expect("free"), take(&places, 2).expect("free"));
    let mut of_one = one.rest();
    let mut of_other = other.rest();
    assert!((&mut of_one).now_or_never().is_none() && (&mut of_other).now_or_never().is_none());
    // Rather from the run that wants more than from another.
    let mut more = wait(&places, 2);
    assert!((&mut of_other).now_or_never().is_some() && (&mut of_one).now_or_never().is_none());
    drop(other);
    let _more = got(&mut more).expect("a place was given up for it");
    let _third = wait(&places, 3);
    assert!((&mut of_one).now_or_never().is_some());
}

#[test]
fn a_place_that_rests_while_others_wait_is_asked_back_at_once() {
    let places = places(1);
    let holding = take(&places, 1).expect("it is free");
    let mut waiting = wait(&places, 2);
    assert!(holding.rest().now_or_never().is_some());
    drop(holding);
    assert!(got(&mut waiting).is_some());
}

#[test]
fn an_attempt_that_goes_on_all_the_same_lets_another_be_asked() {
    let places = places(2);
    let (one, other) = (take(&places, 1).expect("free"), take(&places, 2).expect("free"));
    let (_of_one, mut of_other) = (one.rest(), other.rest());
    let _waiting = wait(&places, 1);
    assert!((&mut of_other).now_or_never().is_none());
    one.wake();
    assert!((&mut of_other).now_or_never().is_some());
    // Whoever was not asked just goes on.
    other.wake();
}

#[test]
fn a_place_that_woke_is_not_asked_back() {
    let places = places(1);
    let holding = take(&places, 1).expect("it is free");
    let mut wanted = holding.rest();
    holding.wake();
    let _waiting = wait(&places, 2);
    assert!(!matches!((&mut wanted).now_or_never(), Some(Ok(()))));
}

#[test]
fn a_tenant_with_a_thousand_runs_leaves_places_for_another_one() {
    let places = places(512);
    let flood: Vec<Place> = (0..1_000).filter_map(|number| take(&places, number)).collect();
    let mut more: Vec<_> = (0..1_000).map(|number| wait(&places, number)).collect();
    assert_eq!(flood.len(), 448);
    let other = |number: u128| RunKey { tenant: TenantId(2), run: RunId(number) };
    // It finds places at once, however many of the first tenant wait.
    let mine: Vec<Place> = (0..100).filter_map(|number| places.take(other(number)).now_or_never()).collect();
    assert_eq!(mine.len(), 56);
    let mut waiting: Vec<_> = (100..120).map(|number| places.take(other(number)).boxed()).collect();
    assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
    drop(flood);
    assert!(waiting.iter_mut().filter_map(|waiting| waiting.now_or_never()).count() > 0);
    assert!(more.iter_mut().filter_map(got).count() > 0);
}

#[test]
fn whoever_is_at_its_cap_asks_for_places_of_its_own_only() {
    let places =
        Places::new(16, Weights::default(), Box::new(|tenant| if tenant == TenantId(1) { 1 } else { u64::MAX }));
    let of = |tenant, number| RunKey { tenant: TenantId(tenant), run: RunId(number) };
    let take = |run| places.take(run).now_or_never();
    let others: Vec<Place> = (1..=4).filter_map(|number| take(of(2, number))).collect();
    let mut rest_of_others: Vec<_> = others.iter().map(Place::rest).collect();
    let own = take(of(1, 1)).expect("the first one");
    let waiting = places.clone();
    let mut second = async move { waiting.take(of(1, 2)).await }.boxed();
    assert!((&mut second).now_or_never().is_none(), "it may have one");
    let rests = own.rest();
    assert!(matches!(rests.now_or_never(), Some(Ok(()))), "another one of the tenant waits for it");
    assert!(rest_of_others.iter_mut().all(|wanted| wanted.try_recv().is_err()), "and nobody for these");
    drop(own);
    assert!((&mut second).now_or_never().is_some());
}

#[test]
fn tenants_that_wait_get_places_by_weight_whoever_came_first() {
    let weights = Weights::default();
    let places = Places::new(8, weights.clone(), Box::new(|_| u64::MAX));
    let of = |tenant: u32, number: u128| RunKey { tenant: TenantId(tenant), run: RunId(number) };
    let free = (0..16).filter_map(|number| places.take(of(8 + u32::from(number >= 8), number)).now_or_never());
    let mut all: Vec<Place> = free.collect();
    assert_eq!(all.len(), 8, "one tenant leaves some to the other");
    let in_line = (0..20).map(|number| places.take(of(1 + u32::from(number >= 10), number)).boxed());
    let mut waiting: Vec<_> = in_line.collect();
    assert!(waiting.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
    weights.set(TenantId(2), Weight::new(300));
    let held = || (places.gate.held(TenantId(1)), places.gate.held(TenantId(2)));
    all.truncate(4);
    assert_eq!(held(), (1, 3));
    all.clear();
    assert_eq!(held(), (2, 6));
}
