//! Promises about components and deployments that are removed.

use bytes::Bytes;
use trackway_replay::{Digest, TenantId};
use trackway_storage::{ComponentRecord, Deployment, Storage, Version};

use crate::subject::{Subject, at, given_up_after};

const TENANT: TenantId = TenantId::DEFAULT;
const OTHER: TenantId = TenantId(2);

fn component(seed: u8) -> (ComponentRecord, Bytes) {
    let bytes = Bytes::from(vec![seed; 100_000]);
    let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
    let manifest = format!("{{\"doc\":\"{seed}\"}}").into();
    (ComponentRecord { digest, size_bytes, uploaded: at(1), manifest, pure: true }, bytes)
}

async fn put(store: &dyn Storage, tenant: TenantId, seed: u8) -> Digest {
    let (record, bytes) = component(seed);
    let digest = record.digest;
    store.put_component(tenant, record, bytes).await.unwrap();
    digest
}

/// It is all there, or nothing of it is.
async fn is_there(store: &dyn Storage, digest: Digest) -> bool {
    let record = store.component(TENANT, digest).await.unwrap();
    let bytes = store.component_bytes(TENANT, digest).await.unwrap();
    let listed = store.components(TENANT).await.unwrap().iter().any(|listed| listed.digest == digest);
    assert_eq!((record.is_some(), listed), (bytes.is_some(), bytes.is_some()));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
    bytes.is_some()
}

pub async fn a_removed_component_leaves_nothing_and_may_come_again(subject: Subject) {
    let store = subject.store();
    let digest = put(&*store, TENANT, 1).await;
    let kept = put(&*store, TENANT, 2).await;
    put(&*store, OTHER, 1).await;
    assert!(!store.remove_component(OTHER, kept).await.unwrap(), "another tenant has it");
    assert!(store.remove_component(TENANT, digest).await.unwrap());
    assert!(!is_there(&*store, digest).await);
    assert!(!store.remove_component(TENANT, digest).await.unwrap());
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    assert!(!is_there(&*store, digest).await);
    assert!(is_there(&*store, kept).await);
    assert_eq!(store.component_bytes(OTHER, digest).await.unwrap(), Some(component(1).1));
    put(&*store, TENANT, 1).await;
    assert_eq!(store.component(TENANT, digest).await.unwrap(), Some(component(1).0));
    assert_eq!(store.component_bytes(TENANT, digest).await.unwrap(), Some(component(1).1));
}

pub async fn a_component_that_comes_and_goes_at_once_is_whole_or_not_there(subject: Subject) {
    let store = subject.store();
    for round in 0..20 {
        let (record, bytes) = component(1);
        let digest = record.digest;
        if round % 2 == 0 {
            put(&*store, TENANT, 1).await;
        }
        let (came, went, read, listed) = tokio::join!(
            store.put_component(TENANT, record, bytes.clone()),
            store.remove_component(TENANT, digest),
            store.component_bytes(TENANT, digest),
            store.components(TENANT),
        );
        came.unwrap();
        let went = went.unwrap();
        assert!(read.unwrap().is_none_or(|read| read == bytes));
        assert!(listed.unwrap().len() <= 1);
        let stands = is_there(&*store, digest).await;
        assert!(went || stands, "round {round}: it came, and nobody removed it");
        assert_eq!(store.remove_component(TENANT, digest).await.unwrap(), stands, "round {round}");
        assert!(!is_there(&*store, digest).await);
    }
}

pub async fn a_removal_of_a_component_is_whole_or_has_not_begun_after_a_kill(subject: Subject) {
    let mut subject = subject;
    // Dropped after so many polls: whoever asked for it has gone, and then the process dies.
    for polls in 0..6 {
        let store = subject.store();
        let digest = put(&*store, TENANT, 1).await;
        given_up_after(polls, store.remove_component(TENANT, digest)).await;
        drop(store);
        subject = subject.kill();
        let store = subject.store();
        let stands = is_there(&*store, digest).await;
        assert_eq!(store.remove_component(TENANT, digest).await.unwrap(), stands);
        put(&*store, TENANT, 1).await;
        assert!(is_there(&*store, digest).await);
    }
}

/// With versions of these numbers.
fn deployment(name: &str, revision: u64, numbers: &[u32]) -> Deployment {
    let versions = numbers.iter().map(|number| Version {
        version: *number,
        component: Digest::of(&number.to_be_bytes()),
        deployed: at(u64::from(*number)),
        allow: vec![format!("host-{number}.example").into()],
    });
    Deployment { name: name.into(), revision, current: numbers[0], versions: versions.collect() }
}

pub async fn a_deployment_is_removed_whole_and_only_from_the_revision_it_has(subject: Subject) {
    let store = subject.store();
    assert!(!store.remove_deployment(TENANT, "main", 0).await.unwrap(), "there is none");
    assert!(!store.remove_deployment(TENANT, "main", 1).await.unwrap(), "there is none");
    assert!(store.put_deployment(TENANT, deployment("main", 1, &[1, 2, 3])).await.unwrap());
    assert!(store.put_deployment(TENANT, deployment("mai", 1, &[1])).await.unwrap());
    assert!(store.put_deployment(OTHER, deployment("main", 1, &[7])).await.unwrap());
    // From here on it is in memory.
    assert!(store.deployment(TENANT, "main").await.unwrap().is_some());
    for revision in [0, 2] {
        assert!(!store.remove_deployment(TENANT, "main", revision).await.unwrap());
    }
    assert!(store.remove_deployment(TENANT, "main", 1).await.unwrap());
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), None);
    assert_eq!(store.deployments(TENANT).await.unwrap(), [deployment("mai", 1, &[1])]);
    assert!(!store.remove_deployment(TENANT, "main", 1).await.unwrap());
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), None);
    assert_eq!(store.deployments(TENANT).await.unwrap(), [deployment("mai", 1, &[1])]);
    assert_eq!(store.deployment(OTHER, "main").await.unwrap(), Some(deployment("main", 1, &[7])));
    // Another one of that name has nothing of it.
    assert!(!store.put_deployment(TENANT, deployment("main", 2, &[4])).await.unwrap());
    assert!(store.put_deployment(TENANT, deployment("main", 1, &[4])).await.unwrap());
    assert!(store.put_deployment(TENANT, deployment("main", 2, &[4, 5])).await.unwrap());
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), Some(deployment("main", 2, &[4, 5])));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}

pub async fn a_deployment_that_loses_versions_has_the_others(subject: Subject) {
    let store = subject.store();
    assert!(store.put_deployment(TENANT, deployment("main", 1, &[1, 2, 3, 4])).await.unwrap());
    assert!(store.put_deployment(TENANT, deployment("main", 2, &[2, 4])).await.unwrap());
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), Some(deployment("main", 2, &[2, 4])));
    drop(store);
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.deployments(TENANT).await.unwrap(), [deployment("main", 2, &[2, 4])]);
    assert!(store.put_deployment(TENANT, deployment("main", 3, &[2, 4, 5])).await.unwrap());
    assert_eq!(store.deployment(TENANT, "main").await.unwrap(), Some(deployment("main", 3, &[2, 4, 5])));
    assert!(store.remove_deployment(TENANT, "main", 3).await.unwrap());
    assert!(store.deployments(TENANT).await.unwrap().is_empty());
}

pub async fn of_a_change_and_a_removal_at_once_one_is_done(subject: Subject) {
    let store = subject.store();
    for _ in 0..20 {
        assert!(store.put_deployment(TENANT, deployment("main", 1, &[1, 2])).await.unwrap());
        let (changed, removed, read) = tokio::join!(
            store.put_deployment(TENANT, deployment("main", 2, &[2])),
            store.remove_deployment(TENANT, "main", 1),
            store.deployment(TENANT, "main"),
        );
        let (changed, removed) = (changed.unwrap(), removed.unwrap());
        assert!(changed ^ removed, "both are of one revision");
        let states = [Some(deployment("main", 1, &[1, 2])), Some(deployment("main", 2, &[2])), None];
        assert!(states.contains(&read.unwrap()));
        let stands = store.deployment(TENANT, "main").await.unwrap();
        assert_eq!(stands, changed.then(|| deployment("main", 2, &[2])));
        // What comes in one batch with a removal finds nothing of what was before.
        let (removed, made) = tokio::join!(
            store.remove_deployment(TENANT, "main", 2),
            store.put_deployment(TENANT, deployment("main", 1, &[9])),
        );
        assert_eq!(removed.unwrap(), changed);
        let stands = store.deployment(TENANT, "main").await.unwrap();
        assert_eq!(stands, made.unwrap().then(|| deployment("main", 1, &[9])));
        if stands.is_some() {
            assert!(store.remove_deployment(TENANT, "main", 1).await.unwrap());
        }
    }
}
