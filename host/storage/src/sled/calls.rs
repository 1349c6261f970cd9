//! Every call of the embedded store: what goes to the committer, and what is read on a thread that may block.

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use tokio::sync::oneshot;
use trackway_replay::{Digest, Epoch, FrameId, Head, Position, QuestionName, RunId, StepId, TenantId, Timestamp};

use super::committer::{Request, Verb};
use super::owner::Claimed;
use super::payload::{self, InParts};
use super::shared::{Shared, closed};
use super::{SledStorage, blocking};
use crate::pieces::CUT_MAX_BYTES;
use crate::{
    Answer, Append, Appended, Claims, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite,
    EntityWritten, Glimpse, InboxItem, Landmark, LogKey, LogLine, OpenQuestion, PAYLOAD_ROW_MAX_BYTES, Record, Removed,
    RunKey, RunQuery, RunRows, Seals, Sent, Shelf, StartKey, Storage, StorageErrorKind, StoredFrame, UsedByDay,
};

impl Storage for SledStorage {
    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Appended> {
        let asked = append.check().and_then(|()| self.ask(|answer| Verb::Append(Box::new(append), answer)));
        Box::pin(async move {
            match asked {
                Ok(answered) => answered.await.unwrap_or(Appended::Unknown),
                Err(error) => Appended::Refused(error),
            }
        })
    }

    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>> {
        let known = |shared: &Shared| shared.recent.frames(run, from, max_bytes);
        self.look(known, move |shared| shared.frames(run, from, max_bytes))
    }

    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()> {
        if bytes.len() > CUT_MAX_BYTES {
            return self.read(move |shared| shared.put_payload_file(run, digest, &bytes));
        }
        let is_large = bytes.len() > PAYLOAD_ROW_MAX_BYTES;
        let parts = move || payload::parts(payload::rows(digest, &bytes));
        Box::pin(async move {
            let parts = match is_large {
                true => blocking(self.shared.clone(), move |_| Ok(parts())).await?,
                false => parts(),
            };
            let whole = Arc::new(InParts::default());
            let put = |rows| self.write(|answer| Verb::Payload { run, rows, whole: whole.clone(), answer });
            // All are sent before the first is waited for, so that one flush does where nobody else writes.
            let sent: Vec<_> = parts.into_iter().map(put).collect();
            for written in sent {
                written.await?;
            }
            Ok(())
        })
    }

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |shared| shared.payload(run, digest))
    }

    fn claim(&self, now: Timestamp, max: usize, without: Vec<TenantId>) -> Answer<'_, Claims> {
        let holder = self.shared.clone();
        let claimed =
            self.read(move |shared| Ok(Claimed { claims: shared.claim(now, max, &without)?, shared: holder }));
        Box::pin(async move { Ok(claimed.await?.hand_over()) })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.desk.changed())
    }

    fn release(&self, run: RunKey) -> Answer<'_, ()> {
        self.write(|answer| Verb::Release { run, answer })
    }

    fn remove(&self, run: RunKey, used: UsedByDay) -> Answer<'_, Removed> {
        Box::pin(async move {
            let removed = self.write(|answer| Verb::Remove { run, used, answer }).await?;
            if removed == Removed::Gone {
                // It is gone: what is left of it now goes at the next opening at the latest.
                blocking(self.shared.clone(), move |shared| shared.remove_files(run)).await?;
                self.write(|answer| Verb::Forget { run, answer }).await?;
            }
            Ok(removed)
        })
    }

    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32> {
        self.write(|answer| Verb::BeginRecall { run, answer })
    }

    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()> {
        self.write(|answer| Verb::Park { run, due, head: head.map(Box::new), answer })
    }

    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent> {
        self.write(|answer| Verb::Send { run, item, answer })
    }

    fn known(&self, run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>> {
        self.read(move |shared| shared.known(run, &item))
    }

    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>> {
        self.read(move |shared| shared.inbox(run))
    }

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>> {
        self.look(|shared| shared.recent.head(run).map(Some), move |shared| shared.head(run))
    }

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>> {
        self.read(move |shared| shared.heads(tenant, &query))
    }

    fn glimpse(&self, run: RunKey) -> Answer<'_, Option<Glimpse>> {
        let looked = self.look(|shared| shared.recent.glimpse(run).map(Some), move |shared| shared.glimpse(run));
        Box::pin(async move {
            match looked.await {
                // sled may have given up on a frame: the head is shown all the same, if it can be read.
                Err(error) if error.kind == StorageErrorKind::Damaged => {
                    let head = self.head(run).await?;
                    Ok(head.map(|head| Glimpse { head, first: Err(error.clone()), last: Err(error) }))
                }
                glimpse => glimpse,
            }
        })
    }

    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let watch = self.shared.watches.watch(run);
            let grown = watch.notify.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            match self.end(run).await {
                Ok(end) if end <= seen => grown.await,
                // On an error the reader that comes back meets it itself.
                Ok(_) | Err(_) => {}
            }
        })
    }

    fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>> {
        self.read(move |shared| shared.logs(run, after, max))
    }

    fn log(&self, run: RunKey, last: FrameId, lines: Vec<LogLine>, used: UsedByDay) -> Answer<'_, bool> {
        self.write(|answer| Verb::Log { run, last, lines, used, answer })
    }

    fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Answer<'_, Vec<OpenQuestion>> {
        self.read(move |shared| shared.questions(tenant, before, max))
    }

    fn landmark(&self, run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>> {
        self.read(move |shared| shared.landmark(run, &landmark))
    }

    fn states(&self, run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>> {
        self.read(move |shared| shared.states(run))
    }

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>> {
        let key = key.to_owned();
        self.read(move |shared| shared.start_key(tenant, &key))
    }

    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()> {
        let asking = self.asking();
        self.read(move |shared| shared.put_component(tenant, record, &bytes, &asking))
    }

    fn component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>> {
        self.found(move |shared| shared.component(tenant, digest))
    }

    fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.found(move |shared| shared.component_bytes(tenant, digest))
    }

    fn components(&self, tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>> {
        Box::pin(async move {
            let components = self.read(move |shared| shared.components(tenant)).await?;
            self.settled().await?;
            Ok(components)
        })
    }

    fn remove_component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, bool> {
        let asking = self.asking();
        self.read(move |shared| shared.remove_component(tenant, digest, &asking))
    }

    fn deployment(&self, tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>> {
        let generation = match self.shared.deployed.get(tenant, name) {
            Ok(deployment) if !self.shared.is_closed() => return Box::pin(ready(Ok(Some(deployment)))),
            Ok(_) => 0,
            Err(generation) => generation,
        };
        let name = name.to_owned();
        self.found(move |shared| {
            let deployment = shared.deployment(tenant, &name)?;
            if let Some(deployment) = &deployment {
                shared.deployed.keep(tenant, deployment, generation);
            }
            Ok(deployment)
        })
    }

    fn deployments(&self, tenant: TenantId) -> Answer<'_, Vec<Deployment>> {
        Box::pin(async move {
            let deployments = self.read(move |shared| shared.deployments(tenant)).await?;
            self.settled().await?;
            Ok(deployments)
        })
    }

    fn put_deployment(&self, tenant: TenantId, deployment: Deployment) -> Answer<'_, bool> {
        self.write(|answer| Verb::Deployment { tenant, deployment: Box::new(deployment), answer })
    }

    fn remove_deployment(&self, tenant: TenantId, name: &str, revision: u64) -> Answer<'_, bool> {
        let name = Arc::from(name);
        self.write(|answer| Verb::RemoveDeployment { tenant, name, revision, answer })
    }

    fn record(&self, tenant: TenantId, shelf: Shelf, name: &str) -> Answer<'_, Option<Record>> {
        let name = name.to_owned();
        Box::pin(async move {
            let record = self.read(move |shared| shared.record(tenant, shelf, &name)).await?;
            if record.is_none() {
                self.settled().await?;
            }
            Ok(record)
        })
    }

    fn records(&self, tenant: TenantId, shelf: Shelf, after: Option<&str>, max: usize) -> Answer<'_, Vec<Record>> {
        let after = after.map(str::to_owned);
        Box::pin(async move {
            let records = self.read(move |shared| shared.records(tenant, shelf, after.as_deref(), max)).await?;
            self.settled().await?;
            Ok(records)
        })
    }

    fn put_record(&self, tenant: TenantId, shelf: Shelf, record: Record) -> Answer<'_, bool> {
        match record.check() {
            Ok(()) => self.write(|answer| Verb::PutRecord { tenant, shelf, record, answer }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn remove_record(&self, tenant: TenantId, shelf: Shelf, name: &str, revision: u64) -> Answer<'_, bool> {
        let name = Arc::from(name);
        self.write(|answer| Verb::RemoveRecord { tenant, shelf, name, revision, answer })
    }

    fn tenants(&self) -> Answer<'_, Vec<TenantId>> {
        Box::pin(async move {
            let tenants = self.read(Shared::tenants).await?;
            self.settled().await?;
            Ok(tenants)
        })
    }

    fn erase(&self, tenant: TenantId) -> Answer<'_, ()> {
        Box::pin(async move {
            blocking(self.shared.clone(), move |shared| shared.seals.destroy(tenant)).await?;
            while self.write(|answer| Verb::Erase { tenant, answer }).await? {}
            blocking(self.shared.clone(), move |shared| shared.erase_files(tenant)).await
        })
    }

    fn write_entity(&self, tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten> {
        match write.check() {
            Ok(()) => self.write(|answer| Verb::Entity { tenant, write: Box::new(write), answer }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>> {
        let (name, key) = (name.to_owned(), key.to_owned());
        Box::pin(async move {
            let entity = self.read(move |shared| shared.entity(tenant, &name, &key)).await?;
            if entity.is_none() {
                self.settled().await?;
            }
            Ok(entity)
        })
    }

    fn entities(&self, tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>> {
        Box::pin(async move {
            let entities = self.read(move |shared| shared.entities(tenant, &query)).await?;
            self.settled().await?;
            Ok(entities)
        })
    }

    fn entity_version(&self, tenant: TenantId) -> Answer<'_, u64> {
        self.read(move |shared| shared.entity_version(tenant))
    }

    fn receipt(&self, run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>> {
        self.read(move |shared| shared.receipt(run, step))
    }

    fn receipts(&self, run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)> {
        self.write(|answer| Verb::Receipts { run, answer })
    }

    fn restore_entity(&self, tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()> {
        self.write(|answer| Verb::RestoreEntity { tenant, restore: Box::new(restore), answer })
    }

    fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>> {
        self.read(move |shared| shared.runs(tenant, after, max))
    }

    fn end(&self, run: RunKey) -> Answer<'_, Position> {
        self.look(|shared| shared.recent.end(run), move |shared| shared.durable_end(run))
    }

    fn payloads(&self, run: RunKey) -> Answer<'_, Vec<Digest>> {
        self.read(move |shared| shared.payload_digests(run))
    }

    fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>> {
        let after = after.map(str::to_owned);
        self.read(move |shared| shared.start_keys(tenant, after.as_deref(), max))
    }

    fn check_run(&self, run: RunKey) -> Answer<'_, RunRows> {
        self.read(move |shared| shared.check_run(run))
    }

    fn check_rest(&self, tenant: TenantId) -> Answer<'_, Vec<String>> {
        self.read(move |shared| shared.check_rest(tenant))
    }

    fn seals(&self) -> Arc<Seals> {
        self.shared.seals.clone()
    }

    fn unsealed(&self, tenant: TenantId) -> Answer<'_, Option<u64>> {
        self.read(move |shared| shared.unsealed(tenant))
    }

    fn close(&self) -> Answer<'_, ()> {
        let (answer, answered) = oneshot::channel();
        let asked = self.queue.send(Request::Close(answer)).map_err(|_| closed());
        Box::pin(async move {
            asked?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
    }
}
