//! Promises about the sums of what tenants use.

use bytes::Bytes;
use trackway_replay::{Day, Position, TenantId, Used};
use trackway_storage::{
    Landmark, Owner, Record, RunKey, Shelf, Storage, USAGE_TOTAL, UsedByDay, usage_day, usage_name,
};

use crate::subject::{Journal, Subject, durable, fenced, run, started};

fn fuel(day: u32, fuel: u64) -> (Day, Used) {
    (Day(day), Used { fuel, ..Used::default() })
}

async fn sum(store: &dyn Storage, tenant: TenantId, name: &str) -> u64 {
    let record = store.record(tenant, Shelf::Usage, name).await.unwrap();
    record.map_or(0, |record| Used::decode(&record.body).expect("a sum").fuel)
}

async fn uses(store: &dyn Storage, journal: &mut Journal, owner: Owner, used: UsedByDay) {
    let mut append = journal.next(owner);
    append.rows.used = used;
    append.rows.landmarks = vec![(Landmark::Metered, append.position)];
    journal.append(store, append).await;
}

pub async fn what_a_frame_used_is_added_once_and_with_it_or_not_at_all(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let tenant = journal.run.tenant;
    assert_eq!(usage_day(&usage_name(Day(5))), Some(Day(5)));
    let mut append = journal.next(Owner::Keep);
    append.rows.used = vec![fuel(5, 10), fuel(6, 1)];
    append.rows.landmarks = vec![(Landmark::Metered, append.position)];
    let mut late = append.clone();
    journal.append(&*store, append.clone()).await;
    durable(store.append(append).await);
    late.id = trackway_replay::FrameId(77);
    fenced(store.append(late).await);
    assert_eq!(store.landmark(journal.run, Landmark::Metered).await.unwrap(), Some(Position(1)));
    // Of many at once nothing is lost.
    let mut others = Vec::new();
    for number in 2..20 {
        others.push(started(&*store, number).await);
    }
    futures_util::future::join_all(
        others.iter_mut().map(|journal| uses(&*store, journal, Owner::Keep, vec![fuel(5, 100)])),
    )
    .await;
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(sum(&*store, tenant, &usage_name(Day(5))).await, 1_810);
    assert_eq!(sum(&*store, tenant, &usage_name(Day(6))).await, 1);
    assert_eq!(sum(&*store, tenant, USAGE_TOTAL).await, 1_811);
    assert_eq!(sum(&*store, TenantId(9), USAGE_TOTAL).await, 0, "of another tenant");
    let days = store.records(tenant, Shelf::Usage, Some(&usage_name(Day(5))), 10).await.unwrap();
    assert_eq!(days.iter().map(|record| usage_day(&record.name)).collect::<Vec<_>>(), [Some(Day(6))]);
}

pub async fn sums_outlive_the_runs_that_used_it_and_go_with_their_tenant(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let tenant = journal.run.tenant;
    let previous = journal.last.unwrap();
    assert!(store.log(run(1), previous, Vec::new(), vec![fuel(3, 2)]).await.unwrap());
    assert!(!store.log(run(1), trackway_replay::FrameId(9), Vec::new(), vec![fuel(3, 500)]).await.unwrap());
    uses(&*store, &mut journal, Owner::End, vec![fuel(3, 5)]).await;
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    store.remove(run(1), vec![fuel(3, 7)]).await.unwrap();
    assert_eq!(sum(&*store, tenant, USAGE_TOTAL).await, 14);
    let other = RunKey { tenant: TenantId(44), ..run(2) };
    let mut kept = Journal::new(other);
    uses(&*store, &mut kept, Owner::Keep, vec![fuel(3, 1)]).await;
    store.erase(tenant).await.unwrap();
    assert_eq!(sum(&*store, tenant, USAGE_TOTAL).await, 0);
    assert_eq!(sum(&*store, other.tenant, USAGE_TOTAL).await, 1);
    let mut anew = started(&*store, 5).await;
    uses(&*store, &mut anew, Owner::Keep, vec![fuel(3, 1)]).await;
    assert_eq!(sum(&*store, tenant, USAGE_TOTAL).await, 1, "it begins anew");
}

pub async fn a_sum_that_cannot_be_read_counts_anew_and_no_frame_waits_for_it(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let tenant = journal.run.tenant;
    for name in [USAGE_TOTAL.into(), usage_name(Day(3))] {
        let bad = Record { name, revision: 1, body: Bytes::from_static(b"\xff") };
        assert!(store.put_record(tenant, Shelf::Usage, bad).await.unwrap());
    }
    drop(store);
    // What was put is in memory, as it was meant, until then.
    let subject = subject.kill();
    let store = subject.store();
    uses(&*store, &mut journal, Owner::Keep, vec![fuel(3, 5)]).await;
    assert_eq!(sum(&*store, tenant, USAGE_TOTAL).await, 5);
    assert_eq!(sum(&*store, tenant, &usage_name(Day(3))).await, 5);
}
