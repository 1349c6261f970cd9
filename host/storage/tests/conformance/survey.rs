//! Promises about looking at everything.

use bytes::Bytes;
use trackway_replay::{Digest, Position, RunId, TenantId};
use trackway_storage::{Mark, Owner, RunRows, StartKey};

use crate::subject::{Journal, Subject, at, run};

const TENANT: TenantId = TenantId::DEFAULT;

pub async fn runs_start_keys_and_payloads_are_listed_page_by_page(subject: Subject) {
    for number in [3, 1, 2] {
        let mut journal = Journal::new(run(number));
        let mut append = journal.next(Owner::Keep);
        let key = format!("key-{number}");
        append.rows.start_key = Some(StartKey { key: key.into(), run: RunId(number), request: Digest::of(b"request") });
        journal.append(&*subject.store(), append).await;
    }
    for text in ["small", &"large".repeat(10_000)] {
        let bytes = Bytes::from(text.to_owned());
        subject.store().put_payload(run(2), Digest::of(&bytes), bytes).await.unwrap();
    }
    let store = subject.store();
    assert_eq!(store.runs(TENANT, None, 2).await.unwrap(), [RunId(1), RunId(2)]);
    assert_eq!(store.runs(TENANT, Some(RunId(2)), 2).await.unwrap(), [RunId(3)]);
    assert!(store.runs(TENANT, Some(RunId(u128::MAX)), 2).await.unwrap().is_empty());
    assert!(store.runs(TenantId(7), None, 2).await.unwrap().is_empty());
    let keys = async |after: Option<&str>| {
        let keys = store.start_keys(TENANT, after, 2).await.unwrap();
        keys.iter().map(|key| key.run.0).collect::<Vec<_>>()
    };
    if subject.hides_names() {
        let first = store.start_keys(TENANT, None, 2).await.unwrap();
        let mut all = [keys(None).await, keys(Some(&first[1].key)).await].concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    } else {
        assert_eq!(keys(None).await, [1, 2]);
        assert_eq!(keys(Some("key-2")).await, [3]);
        assert!(keys(Some("key-3")).await.is_empty());
    }
    assert_eq!(store.payloads(run(2)).await.unwrap().len(), 2);
    assert!(store.payloads(run(1)).await.unwrap().is_empty());
    assert_eq!((store.end(run(1)).await.unwrap(), store.end(run(9)).await.unwrap()), (Position(1), Position(0)));
}

pub async fn values_of_a_start_that_was_cut_off_are_no_run(subject: Subject) {
    let mut journal = Journal::new(run(1));
    journal.go(&*subject.store(), Owner::Keep).await;
    for size_bytes in [10, 100_000, 2_000_000] {
        let bytes = Bytes::from(vec![7; size_bytes]);
        subject.store().put_payload(run(2), Digest::of(&bytes), bytes).await.unwrap();
    }
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.runs(TENANT, None, 9).await.unwrap(), [RunId(1)]);
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
    // They go with their tenant.
    store.erase(TENANT).await.unwrap();
    assert!(store.tenants().await.unwrap().is_empty());
    assert!(store.payloads(run(2)).await.unwrap().is_empty());
}

pub async fn a_sound_run_has_no_flaws_and_says_where_it_is(subject: Subject) {
    let sound = |mark| RunRows { mark, questions: Vec::new(), landmarks: Vec::new(), flaws: Vec::new() };
    let (ready, ended) = (run(1), run(2));
    let parked = run(3);
    let due = Some(at(9));
    let mut journal = Journal::new(ready);
    journal.go(&*subject.store(), Owner::Keep).await;
    for (run, owner) in [(ended, Owner::End), (parked, Owner::Park { due })] {
        let mut journal = Journal::new(run);
        journal.go(&*subject.store(), Owner::Keep).await;
        journal.go(&*subject.store(), owner).await;
    }
    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(store.check_run(ready).await.unwrap(), sound(Some(Mark::Ready)));
    assert_eq!(store.check_run(ended).await.unwrap(), sound(None));
    assert_eq!(store.check_run(parked).await.unwrap(), sound(Some(Mark::Parked { due })));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}
