//! Storage as one process of a simulation has it: everything that it is told is noted, and a planted
//! bug, if there is one, sits here. Without one it changes nothing.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use trackway_replay::{
    Digest, Epoch, Frame, FrameId, Head, Kind, Position, QuestionName, RunId, StepId, TenantId, Timestamp,
};
use trackway_storage::{
    Append, Appended, Claims, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite,
    EntityWritten, Glimpse, InboxItem, Landmark, LogKey, LogLine, MemoryStorage, OpenQuestion, Record, Removed, RunKey,
    RunQuery, RunRows, Sent, Shelf, StartKey, Storage, StorageError, StoredFrame, UsedByDay,
};

use super::journal;
use super::ledger::{Acknowledged, Ledger};
use super::plant::Plant;
use crate::rig::short;

type Answer<'a, T> = BoxFuture<'a, Result<T, StorageError>>;

pub struct Door {
    pub store: Arc<MemoryStorage>,
    pub ledger: Arc<Ledger>,
    pub plant: Arc<Plant>,
}

impl Door {
    fn note(&self, line: String) {
        self.ledger.note(format!("p{} {line}", self.store.epoch().0));
    }

    fn giving(&self, append: &Append) {
        let entries = Frame::decode(&append.frame).map(|frame| frame.entries).unwrap_or_default();
        let kinds: Vec<String> = entries.iter().map(|entry| told(&entry.kind)).collect();
        let what = format!("append {} at {} {:?}", append.run.run, append.position, append.rows.owner);
        self.note(format!("{what}: {}", kinds.join(", ")));
    }
}

impl Storage for Door {
    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Appended> {
        Box::pin(async move {
            self.giving(&append);
            let (run, position, id) = (append.run, append.position, append.id);
            let appended = self.plant.append(&self.store, append).await;
            self.note(format!("appended {} at {position}: {appended:?}", run.run));
            if matches!(appended, Appended::Durable) {
                let process = self.store.epoch();
                self.ledger.lock().frames.push(Acknowledged { run, position, id, process });
            }
            appended
        })
    }

    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>> {
        Box::pin(async move {
            let frames = self.store.frames(run, from, max_bytes).await?;
            Ok(self.plant.frames(run, from, frames))
        })
    }

    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()> {
        self.store.put_payload(run, digest, bytes)
    }

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.store.payload(run, digest)
    }

    fn claim(&self, now: Timestamp, max: usize, without: Vec<TenantId>) -> Answer<'_, Claims> {
        Box::pin(async move {
            // A claim is a way to somewhere else; whoever claims in a circle lets others go on.
            tokio::task::yield_now().await;
            let claims = self.store.claim(now, max, without).await?;
            let (runs, knocks) = (names(&claims.runs), names(&claims.knocks));
            self.note(format!("claimed [{runs}], knocks [{knocks}], next due {:?}", claims.next_due));
            Ok(claims)
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.store.changed()
    }

    fn release(&self, run: RunKey) -> Answer<'_, ()> {
        self.note(format!("release {}", run.run));
        self.store.release(run)
    }

    fn remove(&self, run: RunKey, used: UsedByDay) -> Answer<'_, Removed> {
        self.note(format!("remove {}", run.run));
        self.store.remove(run, used)
    }

    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32> {
        self.store.begin_recall(run)
    }

    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()> {
        self.note(format!("park {} {due:?} {:?}", run.run, head.as_ref().map(|head| &head.message)));
        self.store.park(run, self.plant.due(due), head)
    }

    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent> {
        self.plant.sent(item.message);
        self.store.send(run, item)
    }

    fn known(&self, run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>> {
        self.store.known(run, item)
    }

    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>> {
        Box::pin(async move {
            let items = self.store.inbox(run).await?;
            Ok(self.plant.inbox(items).await)
        })
    }

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>> {
        self.store.head(run)
    }

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>> {
        self.store.heads(tenant, query)
    }

    fn glimpse(&self, run: RunKey) -> Answer<'_, Option<Glimpse>> {
        self.store.glimpse(run)
    }

    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()> {
        self.store.grown(run, seen)
    }

    fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>> {
        self.store.logs(run, after, max)
    }

    fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Answer<'_, Vec<OpenQuestion>> {
        self.store.questions(tenant, before, max)
    }

    fn landmark(&self, run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>> {
        self.store.landmark(run, landmark)
    }

    fn states(&self, run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>> {
        self.store.states(run)
    }

    fn log(&self, run: RunKey, last: FrameId, lines: Vec<LogLine>, used: UsedByDay) -> Answer<'_, bool> {
        self.store.log(run, last, lines, used)
    }

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>> {
        self.store.start_key(tenant, key)
    }

    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()> {
        self.store.put_component(tenant, record, bytes)
    }

    fn component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>> {
        self.store.component(tenant, digest)
    }

    fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.store.component_bytes(tenant, digest)
    }

    fn components(&self, tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>> {
        self.store.components(tenant)
    }

    fn remove_component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, bool> {
        self.store.remove_component(tenant, digest)
    }

    fn deployment(&self, tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>> {
        self.store.deployment(tenant, name)
    }

    fn deployments(&self, tenant: TenantId) -> Answer<'_, Vec<Deployment>> {
        self.store.deployments(tenant)
    }

    fn put_deployment(&self, tenant: TenantId, deployment: Deployment) -> Answer<'_, bool> {
        self.store.put_deployment(tenant, deployment)
    }

    fn remove_deployment(&self, tenant: TenantId, name: &str, revision: u64) -> Answer<'_, bool> {
        self.store.remove_deployment(tenant, name, revision)
    }

    fn record(&self, tenant: TenantId, shelf: Shelf, name: &str) -> Answer<'_, Option<Record>> {
        self.store.record(tenant, shelf, name)
    }

    fn records(&self, tenant: TenantId, shelf: Shelf, after: Option<&str>, max: usize) -> Answer<'_, Vec<Record>> {
        self.store.records(tenant, shelf, after, max)
    }

    fn put_record(&self, tenant: TenantId, shelf: Shelf, record: Record) -> Answer<'_, bool> {
        self.store.put_record(tenant, shelf, record)
    }

    fn remove_record(&self, tenant: TenantId, shelf: Shelf, name: &str, revision: u64) -> Answer<'_, bool> {
        self.store.remove_record(tenant, shelf, name, revision)
    }

    fn tenants(&self) -> Answer<'_, Vec<TenantId>> {
        self.store.tenants()
    }

    fn erase(&self, tenant: TenantId) -> Answer<'_, ()> {
        self.store.erase(tenant)
    }

    fn write_entity(&self, tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten> {
        self.store.write_entity(tenant, write)
    }

    fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>> {
        self.store.entity(tenant, name, key)
    }

    fn entities(&self, tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>> {
        self.store.entities(tenant, query)
    }

    fn entity_version(&self, tenant: TenantId) -> Answer<'_, u64> {
        self.store.entity_version(tenant)
    }

    fn receipt(&self, run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>> {
        self.store.receipt(run, step)
    }

    fn receipts(&self, run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)> {
        self.store.receipts(run)
    }

    fn restore_entity(&self, tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()> {
        self.store.restore_entity(tenant, restore)
    }

    fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>> {
        self.store.runs(tenant, after, max)
    }

    fn end(&self, run: RunKey) -> Answer<'_, Position> {
        self.store.end(run)
    }

    fn payloads(&self, run: RunKey) -> Answer<'_, Vec<Digest>> {
        self.store.payloads(run)
    }

    fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>> {
        self.store.start_keys(tenant, after, max)
    }

    fn check_run(&self, run: RunKey) -> Answer<'_, RunRows> {
        self.store.check_run(run)
    }

    fn check_rest(&self, tenant: TenantId) -> Answer<'_, Vec<String>> {
        self.store.check_rest(tenant)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.store.close()
    }
}

fn told(kind: &Kind) -> String {
    match journal::failure_of(kind) {
        Some(failure) => format!("{} {}", short(kind), failure.code),
        None => short(kind),
    }
}

fn names(runs: &[RunKey]) -> String {
    runs.iter().map(|run| run.run.to_string()).collect::<Vec<_>>().join(" ")
}
