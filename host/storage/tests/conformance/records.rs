//! Promises about records of the operator, and about all of a tenant being removed.

use bytes::Bytes;
use trackway_replay::{Digest, Position, RunId, TenantId};
use trackway_storage::{
    ComponentRecord, Deployment, EntityQuery, EntityWrite, Owner, RECORD_MAX_BYTES, RECORD_NAME_MAX_BYTES, Record,
    RunKey, Shelf, StartKey, Storage, StorageErrorKind, Version,
};

use crate::subject::{Journal, Subject, at, claim, fenced, item};

const ONE: TenantId = TenantId(7);
const OTHER: TenantId = TenantId(8);

fn record(name: &str, revision: u64, body: &str) -> Record {
    Record { name: name.into(), revision, body: Bytes::from(body.to_owned()) }
}

pub async fn a_record_is_changed_only_from_the_revision_it_has(subject: Subject) {
    let store = subject.store();
    let put = async |record: Record| store.put_record(ONE, Shelf::Secrets, record).await.unwrap();
    assert!(!put(record("a", 2, "too early")).await);
    // Both may come in one batch.
    let (first, second) = tokio::join!(put(record("a", 1, "one")), put(record("a", 1, "two")));
    assert!(first && !second);
    let (second, third) = tokio::join!(put(record("a", 2, "two")), put(record("a", 3, "three")));
    assert!(second && third);
    assert!(!store.remove_record(ONE, Shelf::Secrets, "a", 2).await.unwrap());
    assert!(!store.remove_record(ONE, Shelf::Secrets, "b", 0).await.unwrap());
    assert_eq!(store.record(ONE, Shelf::Secrets, "a").await.unwrap(), Some(record("a", 3, "three")));
    assert_eq!(store.record(ONE, Shelf::Policies, "a").await.unwrap(), None);
    assert_eq!(store.record(OTHER, Shelf::Secrets, "a").await.unwrap(), None);
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.record(ONE, Shelf::Secrets, "a").await.unwrap(), Some(record("a", 3, "three")));
    let removal = store.remove_record(ONE, Shelf::Secrets, "a", 3);
    let (removed, again) = tokio::join!(removal, store.put_record(ONE, Shelf::Secrets, record("a", 1, "anew")));
    assert!(removed.unwrap() && again.unwrap(), "what is gone begins anew");
    assert!(store.remove_record(ONE, Shelf::Secrets, "a", 1).await.unwrap());
    drop(store);
    let subject = subject.kill();
    assert_eq!(subject.store().record(ONE, Shelf::Secrets, "a").await.unwrap(), None);
}

pub async fn records_are_listed_page_by_page_in_the_order_of_their_names(subject: Subject) {
    let store = subject.store();
    for name in ["b", "a", "ab", "c"] {
        assert!(store.put_record(ONE, Shelf::Policies, record(name, 1, name)).await.unwrap());
    }
    assert!(store.put_record(OTHER, Shelf::Policies, record("aa", 1, "")).await.unwrap());
    assert!(store.put_record(ONE, Shelf::Audit, record("aa", 1, "")).await.unwrap());
    let names = async |after: Option<&str>| {
        let page = store.records(ONE, Shelf::Policies, after, 2).await.unwrap();
        page.iter().map(|record| record.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, ["a", "ab"]);
    assert_eq!(names(Some("ab")).await, ["b", "c"]);
    assert_eq!(names(Some("aa")).await, ["ab", "b"], "also after one that is not there");
    assert!(names(Some("c")).await.is_empty());
    assert!(store.check_rest(ONE).await.unwrap().is_empty());
}

pub async fn a_record_over_its_limits_is_refused(subject: Subject) {
    let store = subject.store();
    let largest = record(&"n".repeat(RECORD_NAME_MAX_BYTES), 1, &"x".repeat(RECORD_MAX_BYTES));
    assert!(store.put_record(ONE, Shelf::Policies, largest.clone()).await.unwrap());
    assert_eq!(store.record(ONE, Shelf::Policies, &largest.name).await.unwrap(), Some(largest));
    for wrong in [
        record("", 1, ""),
        record(&"n".repeat(RECORD_NAME_MAX_BYTES + 1), 1, ""),
        record("a", 1, &"x".repeat(RECORD_MAX_BYTES + 1)),
    ] {
        let error = store.put_record(ONE, Shelf::Policies, wrong).await.expect_err("over its limit");
        assert_eq!(error.kind, StorageErrorKind::Invalid);
    }
}

/// Something of every kind that a tenant can have.
async fn full(store: &dyn Storage, tenant: TenantId) -> Vec<Journal> {
    let digest = Digest::of(b"code");
    let component = ComponentRecord { digest, size_bytes: 4, uploaded: at(1), manifest: "{}".into(), pure: true };
    store.put_component(tenant, component, Bytes::from_static(b"code")).await.unwrap();
    let version = Version { version: 1, component: digest, deployed: at(1), allow: Vec::new() };
    let deployment = Deployment { name: "main".into(), revision: 1, current: 1, versions: vec![version] };
    assert!(store.put_deployment(tenant, deployment).await.unwrap());
    assert!(store.deployment(tenant, "main").await.unwrap().is_some(), "and it is in memory from here on");
    assert!(store.put_record(tenant, Shelf::Policies, record("policy", 1, "{}")).await.unwrap());
    let write = EntityWrite { name: "n".into(), key: "k".into(), if_version: None, value: Some("1".into()), at: at(1) };
    store.write_entity(tenant, write).await.unwrap();
    let mut journals = Vec::new();
    let owners = [Owner::Keep, Owner::Park { due: Some(at(9)) }, Owner::Park { due: None }, Owner::End];
    for (number, owner) in owners.into_iter().enumerate() {
        let run = RunKey { tenant, run: RunId(number as u128 + 1) };
        let mut journal = Journal::new(run);
        let mut start = journal.next(Owner::Keep);
        let key = format!("key-{number}");
        start.rows.start_key = Some(StartKey { key: key.into(), run: run.run, request: Digest::of(b"request") });
        journal.append(store, start).await;
        let large = Bytes::from(vec![7; 100_000]);
        store.put_payload(run, Digest::of(&large), large).await.unwrap();
        journal.go(store, owner).await;
        if owner == Owner::Keep {
            store.send(run, item(3)).await.unwrap();
        }
        journals.push(journal);
    }
    journals
}

async fn expect_nothing(store: &dyn Storage, tenant: TenantId) {
    assert!(!store.tenants().await.unwrap().contains(&tenant));
    assert!(store.runs(tenant, None, 9).await.unwrap().is_empty());
    assert!(store.components(tenant).await.unwrap().is_empty());
    assert!(store.deployments(tenant).await.unwrap().is_empty());
    assert_eq!(store.deployment(tenant, "main").await.unwrap(), None);
    assert!(store.start_keys(tenant, None, 9).await.unwrap().is_empty());
    let query = EntityQuery { name: None, after: None, limit: 9 };
    assert!(store.entities(tenant, query).await.unwrap().is_empty());
    for shelf in Shelf::ALL {
        assert!(store.records(tenant, shelf, None, 9).await.unwrap().is_empty());
    }
    let first = RunKey { tenant, run: RunId(1) };
    assert_eq!((store.head(first).await.unwrap(), store.end(first).await.unwrap()), (None, Position::FIRST));
    assert!(store.payloads(first).await.unwrap().is_empty());
    assert!(store.check_rest(tenant).await.unwrap().is_empty());
}

pub async fn an_erased_tenant_leaves_nothing_and_others_are_as_they_were(subject: Subject) {
    let store = subject.store();
    let mut gone = full(&*store, ONE).await;
    let mut others = full(&*store, OTHER).await;
    assert_eq!(store.tenants().await.unwrap(), [ONE, OTHER]);
    store.erase(ONE).await.unwrap();
    expect_nothing(&*store, ONE).await;
    // Whoever drove a run of it is fenced, and nobody claims one.
    let append = gone[0].next(Owner::Keep);
    fenced(store.append(append).await);
    gone.clear();
    assert_eq!(store.tenants().await.unwrap(), [OTHER]);
    store.erase(ONE).await.unwrap();
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    expect_nothing(&*store, ONE).await;
    assert_eq!(store.tenants().await.unwrap(), [OTHER]);
    let claimed = claim(&*store, at(10)).await;
    assert!(claimed.runs.iter().all(|run| run.tenant == OTHER), "{claimed:?}");
    assert_eq!(claimed.runs.len(), 2, "the one that was owned, and the one whose timer is due");
    others[0].go(&*store, Owner::Keep).await;
    assert_eq!(store.runs(OTHER, None, 9).await.unwrap().len(), 4);
    assert!(store.component_bytes(OTHER, Digest::of(b"code")).await.unwrap().is_some());
    assert!(store.check_rest(OTHER).await.unwrap().is_empty());
}
