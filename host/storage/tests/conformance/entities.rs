//! Promises about entities: each write is done once, with its frame or not at all.

use trackway_replay::{Position, StepId, TenantId};
use trackway_storage::{
    Append, ENTITY_VALUE_MAX_BYTES, Entity, EntityQuery, EntityRestore, EntityWrite, EntityWritten, Owner, Storage,
};

use crate::subject::{Journal, Subject, at, durable, fenced, frame_id, run, started};

const TENANT: TenantId = TenantId::DEFAULT;
const DONE: fn(u64) -> EntityWritten = |version| EntityWritten::Done { version };

fn set(key: &str, value: &str, if_version: Option<u64>) -> EntityWrite {
    EntityWrite { name: "stock".into(), key: key.into(), if_version, value: Some(value.into()), at: at(3) }
}

fn delete(key: &str, if_version: Option<u64>) -> EntityWrite {
    EntityWrite { value: None, ..set(key, "", if_version) }
}

fn asking(journal: &Journal, writes: Vec<(u32, EntityWrite)>) -> Append {
    let mut append = journal.next(Owner::Keep);
    append.entries = writes.len() as u32;
    append.rows.entities = writes.into_iter().map(|(step, write)| (StepId(step), write)).collect();
    append
}

async fn stands(store: &dyn Storage, key: &str) -> Option<(u64, String)> {
    let entity = store.entity(TENANT, "stock", key).await.unwrap()?;
    assert_eq!((&*entity.name, &*entity.key, entity.changed), ("stock", key, at(3)));
    Some((entity.version, entity.value.to_string()))
}

fn value(version: u64, value: &str) -> Option<(u64, String)> {
    Some((version, value.to_owned()))
}

pub async fn a_write_stands_with_its_frame_and_says_what_became_of_it(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let writes = vec![(1, set("a", "1", Some(0))), (2, set("a", "2", Some(0))), (3, set("a", "3", Some(1)))];
    let append = asking(&journal, writes);
    journal.append(&*store, append.clone()).await;
    assert_eq!(stands(&*store, "a").await, value(2, "3"));
    // The same frame again changes nothing.
    durable(store.append(append).await);
    drop(store);

    let subject = subject.kill();
    let store = subject.store();
    assert_eq!(stands(&*store, "a").await, value(2, "3"));
    let receipts =
        vec![(StepId(1), DONE(1)), (StepId(2), EntityWritten::Conflict { version: 1 }), (StepId(3), DONE(2))];
    assert_eq!(store.receipts(run(1)).await.unwrap(), (Position(4), receipts));
    assert_eq!(store.receipt(run(1), StepId(3)).await.unwrap(), Some(DONE(2)));
    assert_eq!(store.receipt(run(1), StepId(4)).await.unwrap(), None);
    let mut answered = journal.next(Owner::Keep);
    answered.rows.entities_answered = vec![StepId(1), StepId(3)];
    journal.append(&*store, answered).await;
    assert_eq!(store.receipt(run(1), StepId(3)).await.unwrap(), None);
    assert_eq!(store.receipts(run(1)).await.unwrap().1.len(), 1);
    journal.go(&*store, Owner::End).await;
    assert_eq!(store.receipts(run(1)).await.unwrap(), (Position(6), Vec::new()));
    assert_eq!(stands(&*store, "a").await, value(2, "3"), "it outlives the run");
    assert!(store.check_run(run(1)).await.unwrap().flaws.is_empty());
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}

pub async fn what_a_fenced_owner_writes_is_not_done(subject: Subject) {
    let store = subject.store();
    let mut journal = started(&*store, 1).await;
    let late = asking(&journal, vec![(1, set("a", "\"late\"", None))]);
    let append = asking(&journal, vec![(1, set("a", "\"new\"", None))]);
    journal.append(&*store, append).await;
    fenced(store.append(late.clone()).await);
    fenced(store.append(Append { id: frame_id(), previous: None, ..late }).await);
    assert_eq!(stands(&*store, "a").await, value(1, "\"new\""));
    assert_eq!(store.receipts(run(1)).await.unwrap().1, [(StepId(1), DONE(1))]);
}

pub async fn of_runs_that_race_one_wins(subject: Subject) {
    let store = subject.store();
    let mut journals = Vec::new();
    for number in 1..=20 {
        journals.push(started(&*store, number).await);
    }
    let race = journals.iter().map(|journal| {
        let value = journal.run.run.0.to_string();
        store.append(asking(journal, vec![(1, set("a", &value, Some(0)))]))
    });
    futures_util::future::join_all(race).await.into_iter().for_each(durable);
    let mut won = Vec::new();
    for journal in &journals {
        match store.receipt(journal.run, StepId(1)).await.unwrap() {
            Some(EntityWritten::Done { version: 1 }) => won.push(journal.run.run.0),
            Some(EntityWritten::Conflict { version: 1 }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(stands(&*store, "a").await, value(1, &won[0].to_string()));
}

pub async fn a_version_is_never_given_twice(subject: Subject) {
    let store = subject.store();
    let written = async |write| store.write_entity(TENANT, write).await.unwrap();
    assert_eq!(written(set("a", "1", None)).await, DONE(1));
    assert_eq!(written(delete("a", Some(7))).await, EntityWritten::Conflict { version: 1 });
    assert_eq!(written(delete("a", Some(1))).await, DONE(2));
    assert_eq!(stands(&*store, "a").await, None);
    assert_eq!(written(delete("a", None)).await, DONE(0));
    assert_eq!(written(delete("a", Some(0))).await, DONE(0));
    assert_eq!(written(set("a", "1", Some(0))).await, DONE(3));
    assert_eq!(written(set("a", "2", Some(1))).await, EntityWritten::Conflict { version: 3 });
    assert_eq!(store.entity_version(TENANT).await.unwrap(), 3);
    assert_eq!(store.entity_version(TenantId(2)).await.unwrap(), 0);
    assert_eq!(store.entity(TenantId(2), "stock", "a").await.unwrap(), None);
    let large = "1".repeat(ENTITY_VALUE_MAX_BYTES + 1);
    store.write_entity(TENANT, set("a", &large, None)).await.unwrap_err();
    assert_eq!(written(set("a", &large[1..], None)).await, DONE(4));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}

pub async fn entities_are_listed_page_by_page(subject: Subject) {
    for (name, key) in [("stock", "b"), ("st", "z"), ("stock", "a"), ("other", "a"), ("stock", "c/é")] {
        let write = EntityWrite { name: name.into(), ..set(key, "1", None) };
        subject.store().write_entity(TENANT, write).await.unwrap();
    }
    let subject = subject.kill();
    let store = subject.store();
    let listed = async |name: Option<&str>, after: Option<(&str, &str)>, limit| {
        let after = after.map(|(name, key)| (name.into(), key.into()));
        let query = EntityQuery { name: name.map(Into::into), after, limit };
        let entities = store.entities(TENANT, query).await.unwrap();
        entities.iter().map(|entity| format!("{} {}", entity.name, entity.key)).collect::<Vec<_>>()
    };
    if subject.hides_names() {
        return pages_hold_each_once(&*store).await;
    }
    assert_eq!(listed(None, None, 9).await, ["st z", "other a", "stock a", "stock b", "stock c/é"]);
    assert_eq!(listed(None, Some(("other", "a")), 2).await, ["stock a", "stock b"]);
    assert_eq!(listed(Some("stock"), None, 2).await, ["stock a", "stock b"]);
    assert_eq!(listed(Some("stock"), Some(("stock", "b")), 2).await, ["stock c/é"]);
    assert_eq!(listed(Some("sto"), None, 9).await, Vec::<String>::new());
    assert_eq!(listed(Some("st"), Some(("st", "z")), 9).await, Vec::<String>::new());
}

/// Whatever the order is.
async fn pages_hold_each_once(store: &dyn Storage) {
    for (name, expected) in [
        (None, vec!["other a", "st z", "stock a", "stock b", "stock c/é"]),
        (Some("stock"), vec!["stock a", "stock b", "stock c/é"]),
        (Some("sto"), Vec::new()),
    ] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let query = EntityQuery { name: name.map(Into::into), after, limit: 2 };
            let page = store.entities(TENANT, query).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.name.clone(), last.key.clone()));
            found.extend(page.iter().map(|entity| format!("{} {}", entity.name, entity.key)));
        }
        if name.is_none() {
            let names: Vec<&str> = found.iter().map(|it| it.split(' ').next().unwrap()).collect();
            assert_eq!(names.chunk_by(|one, other| one == other).count(), 3, "those of one name together: {found:?}");
        }
        found.sort();
        assert_eq!(found, expected);
    }
}

pub async fn of_what_comes_from_a_backup_the_latest_version_stands(subject: Subject) {
    let store = subject.store();
    started(&*store, 1).await;
    let entity = |version, value: &str| Entity {
        name: "stock".into(),
        key: "a".into(),
        version,
        changed: at(3),
        value: value.into(),
    };
    for restore in [
        EntityRestore::Version(5),
        EntityRestore::Entity(entity(7, "\"seven\"")),
        EntityRestore::Entity(entity(6, "\"six\"")),
        EntityRestore::Receipt(run(1), StepId(4), DONE(7)),
    ] {
        store.restore_entity(TENANT, restore).await.unwrap();
    }
    assert_eq!(stands(&*store, "a").await, value(7, "\"seven\""));
    assert_eq!(store.receipt(run(1), StepId(4)).await.unwrap(), Some(DONE(7)));
    assert_eq!(store.write_entity(TENANT, set("b", "1", None)).await.unwrap(), DONE(8));
    store.restore_entity(TENANT, EntityRestore::Version(20)).await.unwrap();
    assert_eq!(store.write_entity(TENANT, set("b", "2", None)).await.unwrap(), DONE(21));
    assert!(store.check_rest(TENANT).await.unwrap().is_empty());
}
