use super::*;
use crate::host::hash_key;
use crate::host::identity::Scope;
use trackway_storage::{Faults, MemoryStorage};

const NOW: Option<Timestamp> = Some(Timestamp(7));

async fn load(storage: &dyn Storage) -> Directory {
    Directory::load(storage).await.expect("it can be read")
}

fn key(text: &str, tenant: TenantId) -> Key {
    Key {
        id: text.into(),
        hash: hash_key(text),
        tenant,
        name: "for tests".into(),
        scopes: Scopes::from_iter([Scope::Read]),
        created: Timestamp(1),
        expires: Some(Timestamp(9)),
        last_used: None,
    }
}

#[tokio::test]
async fn tenants_and_keys_are_as_they_were_when_they_are_read_again() {
    let storage = MemoryStorage::new();
    let directory = load(&storage).await;
    let tenant = directory.add_tenant(&storage, "acme", NOW).await.expect("made");
    let wanted = directory.add_key(&storage, key("one", tenant.id)).await.expect("made");
    directory.add_key(&storage, key("two", tenant.id)).await.expect("made");
    directory.remove_key(&storage, tenant.id, "two").await.expect("removed");
    directory.set_state(&storage, "acme", TenantState::Disabled).await.expect("disabled");
    let again = load(&storage.crash()).await;
    assert_eq!(again.keys_of(tenant.id), std::slice::from_ref(&wanted));
    assert_eq!(again.key(hash_key("one")), Some(wanted));
    assert_eq!((again.key(hash_key("two")), again.keys_of(TenantId::DEFAULT)), (None, Vec::new()));
    let disabled = Tenant { state: TenantState::Disabled, ..tenant };
    assert_eq!((again.tenant("acme"), again.tenant_of(disabled.id)), (Some(disabled.clone()), Some(disabled)));
}

#[tokio::test]
async fn a_number_is_never_given_twice_whatever_comes_between_two_writes() {
    let mut storage = MemoryStorage::new();
    let mut seen = std::collections::BTreeSet::from([TenantId::DEFAULT]);
    for round in 0..40 {
        // Some writes are refused, others are not.
        let failing = storage.crash_into(Faults { refused_permille: 300, ..Faults::default() });
        let directory = load(&failing).await;
        let name = format!("tenant-{round}");
        let made = directory.add_tenant(&failing, &name, NOW).await;
        storage = failing.crash_into(Faults::default());
        let again = load(&storage).await;
        match (made, again.tenant(&name)) {
            (Ok(tenant), Some(there)) => {
                assert_eq!(tenant, there);
                assert!(seen.insert(tenant.id), "{} comes again", tenant.id);
                again.remove_tenant(&storage, &tenant).await.expect("removed");
                assert_eq!(load(&storage).await.tenant(&name), None);
            }
            (Err(_), None) => {}
            (made, there) => panic!("{made:?} {there:?}"),
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[tokio::test]
async fn what_is_being_deleted_cannot_become_anything_else() {
    let storage = MemoryStorage::new();
    let directory = load(&storage).await;
    directory.add_tenant(&storage, "acme", NOW).await.expect("made");
    directory.set_state(&storage, "acme", TenantState::Deleting).await.expect("marked");
    for state in [TenantState::Active, TenantState::Disabled] {
        let refused = directory.set_state(&storage, "acme", state).await.expect_err("it goes");
        assert_eq!(refused.code, Code::TenantExists);
    }
    assert_eq!(directory.add_tenant(&storage, "acme", NOW).await.expect_err("taken").code, Code::TenantExists);
    directory.set_state(&storage, "acme", TenantState::Deleting).await.expect("again");
    assert_eq!(load(&storage).await.tenant("acme").map(|tenant| tenant.state), Some(TenantState::Deleting));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_nobody_is_let_in_by_it() {
    for (shelf, name, body) in [
        (Shelf::Tenants, "acme", "{}"),
        (Shelf::Keys, "no hash", r#"{"id":"k","tenant":1,"name":"n","scopes":["read"],"created":1}"#),
        (
            Shelf::Keys,
            &hash_key("one").to_string(),
            r#"{"id":"k","tenant":1,"name":"n","scopes":["root"],"created":1}"#,
        ),
    ] {
        let storage = MemoryStorage::new();
        let record = Record { name: name.into(), revision: 1, body: Bytes::from(body.to_owned()) };
        assert!(storage.put_record(OWNER, shelf, record).await.expect("stored"));
        let error = Directory::load(&storage).await.err().expect("it cannot be read");
        assert_eq!(error.code, Code::DataDamaged, "{error}");
    }
}
