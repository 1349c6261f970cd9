//! What the store is asked for on the way to an answer: as much, of the same kinds and in the same order for what another
//! tenant has as for what nobody has. It counts calls and measures no time.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use trackway_replay::{Digest, Epoch, FrameId, Head, Position, QuestionName, RunId, StepId, TenantId, Timestamp};
use trackway_storage::{
    Answer, Append, Appended, Claims, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite,
    EntityWritten, Glimpse, InboxItem, Landmark, LogKey, LogLine, OpenQuestion, Record, Removed, RunKey, RunQuery,
    RunRows, Seals, Sent, Shelf, StartKey, Storage, StoredFrame, UsedByDay,
};

use super::isolation::tenant_with;
use super::support::*;
use crate::api::Keys;
use crate::host::Host;

/// What was read, and whose it was said to be.
type Reads = Arc<Mutex<Vec<(TenantId, &'static str)>>>;

/// The store behind it, and a note of each read that is made for a tenant.
struct Noted {
    store: Arc<dyn Storage>,
    reads: Reads,
}

/// Whose something is.
trait Owned {
    fn tenant(&self) -> TenantId;
}

impl Owned for TenantId {
    fn tenant(&self) -> TenantId {
        *self
    }
}

impl Owned for RunKey {
    fn tenant(&self) -> TenantId {
        self.tenant
    }
}

macro_rules! noted {
    ($(fn $name:ident($of:ident: $kind:ty $(, $more:ident: $type:ty)*) -> $answer:ty;)*) => {
        $(fn $name(&self, $of: $kind $(, $more: $type)*) -> $answer {
            self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(($of.tenant(), stringify!($name)));
            self.store.$name($of $(, $more)*)
        })*
    };
}

macro_rules! passed_on {
    ($(fn $name:ident($($given:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self $(, $given: $type)*) -> $answer {
            self.store.$name($($given),*)
        })*
    };
}

impl Storage for Noted {
    noted! {
        fn frames(run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>>;
        fn payload(run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>>;
        fn known(run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>>;
        fn inbox(run: RunKey) -> Answer<'_, Vec<InboxItem>>;
        fn head(run: RunKey) -> Answer<'_, Option<Head>>;
        fn heads(tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>>;
        fn glimpse(run: RunKey) -> Answer<'_, Option<Glimpse>>;
        fn logs(run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>>;
        fn questions(
            tenant: TenantId,
            before: Option<(RunId, QuestionName)>,
            max: usize
        ) -> Answer<'_, Vec<OpenQuestion>>;
        fn landmark(run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>>;
        fn states(run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>>;
        fn start_key(tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>>;
        fn component(tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>>;
        fn component_bytes(tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>>;
        fn components(tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>>;
        fn deployment(tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>>;
        fn deployments(tenant: TenantId) -> Answer<'_, Vec<Deployment>>;
        fn record(tenant: TenantId, shelf: Shelf, name: &str) -> Answer<'_, Option<Record>>;
        fn records(tenant: TenantId, shelf: Shelf, after: Option<&str>, max: usize) -> Answer<'_, Vec<Record>>;
        fn entity(tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>>;
        fn entities(tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>>;
        fn entity_version(tenant: TenantId) -> Answer<'_, u64>;
        fn receipt(run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>>;
        fn receipts(run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)>;
        fn runs(tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>>;
        fn end(run: RunKey) -> Answer<'_, Position>;
        fn payloads(run: RunKey) -> Answer<'_, Vec<Digest>>;
        fn start_keys(tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>>;
        fn check_run(run: RunKey) -> Answer<'_, RunRows>;
        fn check_rest(tenant: TenantId) -> Answer<'_, Vec<String>>;
    }

    passed_on! {
        fn epoch() -> Epoch;
        fn append(append: Append) -> BoxFuture<'_, Appended>;
        fn put_payload(run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()>;
        fn claim(now: Timestamp, max: usize, without: Vec<TenantId>) -> Answer<'_, Claims>;
        fn changed() -> BoxFuture<'_, ()>;
        fn release(run: RunKey) -> Answer<'_, ()>;
        fn begin_recall(run: RunKey) -> Answer<'_, u32>;
        fn park(run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()>;
        fn send(run: RunKey, item: InboxItem) -> Answer<'_, Sent>;
        fn remove(run: RunKey, used: UsedByDay) -> Answer<'_, Removed>;
        fn grown(run: RunKey, seen: Position) -> BoxFuture<'_, ()>;
        fn log(run: RunKey, last: FrameId, lines: Vec<LogLine>, used: UsedByDay) -> Answer<'_, bool>;
        fn put_component(tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()>;
        fn remove_component(tenant: TenantId, digest: Digest) -> Answer<'_, bool>;
        fn put_deployment(tenant: TenantId, deployment: Deployment) -> Answer<'_, bool>;
        fn remove_deployment(tenant: TenantId, name: &str, revision: u64) -> Answer<'_, bool>;
        fn put_record(tenant: TenantId, shelf: Shelf, record: Record) -> Answer<'_, bool>;
        fn remove_record(tenant: TenantId, shelf: Shelf, name: &str, revision: u64) -> Answer<'_, bool>;
        fn tenants() -> Answer<'_, Vec<TenantId>>;
        fn erase(tenant: TenantId) -> Answer<'_, ()>;
        fn write_entity(tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten>;
        fn restore_entity(tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()>;
        fn seals() -> Arc<Seals>;
        fn unsealed(tenant: TenantId) -> Answer<'_, Option<u64>>;
        fn close() -> Answer<'_, ()>;
    }
}

/// A server, and what is read of its store.
async fn noted() -> (Server, Reads) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let reads = Reads::default();
    let noting = Arc::clone(&reads);
    let door = move |store: Arc<dyn Storage>| -> Arc<dyn Storage> { Arc::new(Noted { store, reads: noting }) };
    let host = Host::open_behind(options_of(&folder), door).await.expect("the host opens");
    (Server::serving(folder, host, Keys::of([KEY]).into()).await, reads)
}

/// The same in another last letter or digit.
fn other(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    format!("{rest}{}", if last == "0" { '1' } else { '0' })
}

#[tokio::test]
async fn as_much_is_read_for_what_another_tenant_has_as_for_what_nobody_has() {
    let (server, reads) = noted().await;
    let (one, two) = (tenant_with(&server, "one", &["admin"]).await, tenant_with(&server, "two", &["admin"]).await);
    // What has ended is read by nobody but who asks for it.
    let component = server.deploy_with(&one, "theirs", &echo()).await;
    let start = r#"{"workflow":"echo","input":{"name":"a"}}"#;
    let started = server.with(&one, "POST", "/v1/runs?wait=60", start).await;
    assert_eq!(started.status, 201, "{}", started.text());
    let started: Value = started.json();
    assert_eq!(started["run"]["status"], "succeeded", "{started}");
    let run = started["run"]["id"].as_str().expect("an id").to_owned();
    let asker = server.host.tenant_named("two").await.expect("it is there").id;

    // The server's own housekeeping is done for the default one.
    let taken = || {
        let mut read = std::mem::take(&mut *reads.lock().unwrap_or_else(PoisonError::into_inner));
        read.retain(|(tenant, _)| *tenant != TenantId::DEFAULT);
        read
    };
    let read = async |method: &str, path: &str, body: &str| {
        taken();
        let reply = server.with(&two, method, path, body).await;
        assert_eq!(reply.status, 404, "{method} {path}: {}", reply.text());
        let read = taken();
        assert!(!read.is_empty() && read.iter().all(|(tenant, _)| *tenant == asker), "{method} {path}: {read:?}");
        read
    };
    let digest = |digest: &str| json!({ "component": digest }).to_string();
    let asked = [
        ("GET", "/v1/runs/", run.as_str(), ""),
        ("GET", "/v1/runs/", run.as_str(), "/journal"),
        ("GET", "/v1/runs/", run.as_str(), "/trace"),
        ("GET", "/v1/runs/", &run[..8], ""),
        ("POST", "/v1/runs/", run.as_str(), "/cancel"),
        ("POST", "/v1/runs/", run.as_str(), "/signals/go"),
        ("GET", "/v1/components/", component.as_str(), ""),
        ("GET", "/v1/deployments/", "theirs", ""),
        ("POST", "/v1/deployments/", "theirs", "/rollback"),
        ("DELETE", "/v1/deployments/", "theirs", ""),
    ];
    // What a tenant may use and what is hidden of it is read once and kept.
    for (method, before, name, behind) in asked {
        read(method, &format!("{before}{name}{behind}"), "").await;
    }
    for (method, before, name, behind) in asked {
        let theirs = read(method, &format!("{before}{name}{behind}"), "").await;
        let nobodys = read(method, &format!("{before}{}{behind}", other(name)), "").await;
        assert_eq!(theirs, nobodys, "{method} {before}{name}{behind}");
    }
    let deploy = "/v1/deployments/mine";
    let (theirs, nobodys) = (digest(&component), digest(&other(&component)));
    assert_eq!(read("PUT", deploy, &theirs).await, read("PUT", deploy, &nobodys).await);

    // It does notice a difference: what is there is answered by other reads.
    let known = server.with(&one, "GET", "/v1/deployments/theirs", "").await;
    assert_eq!(known.status, 200, "{}", known.text());
    let of_owner: Vec<_> = taken().into_iter().map(|(_, what)| what).collect();
    let of_other: Vec<_> = read("GET", "/v1/deployments/theirs", "").await.into_iter().map(|(_, what)| what).collect();
    assert_ne!(of_owner, of_other);
}
