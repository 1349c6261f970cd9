use super::*;
use crate::host::directory::Directory;
use crate::host::{HostOptions, TenantState};
use crate::sandbox::Compiler;
use crate::worker::{Options, Removal};
use bytes::Bytes;
use std::time::Duration;
use trackway_replay::{Digest, FrameId, Head, Position, RunId, Status, Timestamp};
use trackway_storage::{
    Append, Appended, Owner, Record, Rows, RunKey, Shelf, SledOptions, SledStorage, Storage, StorageErrorKind,
};

fn server_key() -> KeySource {
    KeySource::Text("5e".repeat(32).into())
}

/// A line of the audit log, and a run that has yet to begin.
async fn say(storage: &SledStorage, tenant: TenantId) {
    let record = Record { name: format!("{:020}-000001", 1).into(), revision: 1, body: Bytes::from_static(b"[]") };
    assert!(storage.put_record(tenant, Shelf::Audit, record).await.expect("written"));
    let run = RunKey { tenant, run: RunId(7) };
    let head = Head {
        run: run.run,
        workflow: "count".into(),
        deployment: "main".into(),
        component: Digest::of(b"component"),
        status: Status::Queued,
        waiting: None,
        due: None,
        started: Timestamp(1),
        changed: Timestamp(1),
        finished: None,
        code: None,
        message: None,
        steps: 0,
        format: 1,
        spending: Default::default(),
        rules: 1,
    };
    let append = Append {
        run,
        position: Position::FIRST,
        entries: 1,
        previous: None,
        id: FrameId(1),
        frame: Bytes::from_static(b"frame"),
        rows: Rows { head: Some(head), owner: Owner::Park { due: None }, ..Rows::default() },
    };
    assert!(matches!(storage.append(append).await, Appended::Durable));
}

#[tokio::test]
async fn while_what_is_left_of_a_tenant_does_not_open_all_others_are_looked_after() {
    let folder = tempfile::tempdir().expect("writable");
    let data = folder.path().to_owned();
    let sealing = DataKeys::read(None, server_key(), true).expect("it is a key").sealing();
    let storage = SledStorage::open(&data.join("store"), SledOptions { sealing, ..SledOptions::default() });
    let storage = storage.expect("it opens");
    let directory = Directory::load(&storage).await.expect("there is none yet");
    let mut tenants = Vec::new();
    for name in ["deleted", "other"] {
        let tenant = directory.add_tenant(&storage, name, None).await.expect("made").id;
        say(&storage, tenant).await;
        tenants.push(tenant);
    }
    let [deleted, other] = tenants[..] else { panic!("two were made") };
    storage.close().await.expect("all is written");
    drop(storage);
    // As a process leaves it that died right after the key.
    std::fs::write(data.join(format!("store/keys/{deleted}.gone")), "").expect("writable");

    let options = HostOptions {
        data,
        compiler: Compiler::InProcess,
        worker: Options::default(),
        store: SledOptions::default(),
        providers: crate::effects::Providers::default(),
        secret_keys: server_key(),
        seal: true,
    };
    let host = Host::open(options).await.expect("it opens");
    let error = host.storage.records(deleted, Shelf::Audit, None, 9).await.expect_err("it does not open");
    assert_eq!(error.kind, StorageErrorKind::Damaged);
    let directory = host.directory().await.expect("read");
    // Of one that nobody deletes it is said, and not before the others are done.
    host.trim_audit(Duration::ZERO).await.expect_err("one of them cannot be read");
    assert!(host.storage.records(other, Shelf::Audit, None, 9).await.expect("it opens").is_empty());
    directory.set_state(&*host.storage, "deleted", TenantState::Deleting).await.expect("marked");
    host.trim_audit(Duration::ZERO).await.expect("it is being deleted");
    let removal =
        host.worker.remove(RunKey { tenant: other, run: RunId(9) }).await.expect("forks of all others are known");
    assert!(matches!(removal, Removal::Done(_)));
    host.drain(Duration::ZERO).await.expect("everything is durable");
}
