//! Every call of the store in memory, each with its faults. What it does to what is held is `state`'s.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::ops::Bound;
use std::sync::Arc;
use trackway_replay::{Digest, Epoch, FrameId, Head, Position, QuestionName, RunId, StepId, TenantId, Timestamp};

use super::state::State;
use super::{Access, MemoryStorage, closed, faults, full};
use crate::{
    Answer, Append, Appended, Claims, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite,
    EntityWritten, Glimpse, InboxItem, Landmark, LogKey, LogLine, OpenQuestion, Record, Removed, RunKey, RunQuery,
    RunRows, Sent, Shelf, StartKey, Storage, StoredFrame, UsedByDay,
};

impl Storage for MemoryStorage {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn append(&self, append: Append) -> BoxFuture<'_, Appended> {
        Box::pin(async move {
            if let Err(error) = append.check() {
                return Appended::Refused(error);
            }
            let fate = self.draw();
            let nth = {
                let mut inner = self.shared.lock();
                if !inner.doors.is_open(self.epoch) {
                    return Appended::Refused(closed());
                }
                inner.appends += 1;
                let nth = inner.appends;
                inner.in_flight.insert(nth, (self.epoch, append));
                nth
            };
            fate.wait().await;
            let mut inner = self.shared.lock();
            // A crash came in between.
            let Some((epoch, append)) = inner.in_flight.remove(&nth) else { return Appended::Unknown };
            match fate.outcome {
                faults::Outcome::Done | faults::Outcome::Unread => self.shared.commit(&mut inner, epoch, append),
                faults::Outcome::Refused => Appended::Refused(full()),
                faults::Outcome::UnknownStands => {
                    self.shared.commit(&mut inner, epoch, append);
                    Appended::Unknown
                }
                faults::Outcome::UnknownLost => Appended::Unknown,
                faults::Outcome::UnknownLate { calls } => {
                    inner.late.push((calls, epoch, append));
                    Appended::Unknown
                }
            }
        })
    }

    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>> {
        self.read(move |state| state.frames(run, from, max_bytes))
    }

    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, _| {
            state.payloads.insert((run, digest), bytes);
            Ok(())
        }))
    }

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |state| state.payloads.get(&(run, digest)).cloned())
    }

    fn claim(&self, now: Timestamp, max: usize, without: Vec<TenantId>) -> Answer<'_, Claims> {
        Box::pin(self.call(Access::Read, move |state, doors| {
            let claims = match doors.is_newest(self.epoch) {
                true => self.desk.claim(now, max, &without, |after| {
                    let after = after.map_or(Bound::Unbounded, Bound::Excluded);
                    state.timers.range((after, Bound::Unbounded)).copied().map(Ok)
                })?,
                // Another process claims now; this one is told of what came for the runs that it has.
                false => self.desk.claim(Timestamp::default(), 0, &[], |_| std::iter::empty())?,
            };
            claims.runs.iter().for_each(|run| state.own(*run, self.epoch));
            Ok(claims)
        }))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.desk.changed())
    }

    fn release(&self, run: RunKey) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Read, move |state, doors| {
            state.release(run, self.epoch, doors);
            Ok(())
        }))
    }

    fn remove(&self, run: RunKey, used: UsedByDay) -> Answer<'_, Removed> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.remove(run, &used))))
    }

    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32> {
        Box::pin(self.call(Access::Write, move |state, _| state.begin_recall(run)))
    }

    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, doors| state.park(run, due, head, self.epoch, doors)))
    }

    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent> {
        Box::pin(self.call(Access::Write, move |state, doors| Ok(state.send(run, item, doors))))
    }

    fn known(&self, run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>> {
        self.read(move |state| state.known(run, &item))
    }

    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>> {
        self.read(move |state| state.runs.get(&run).map(|run| run.inbox.clone()).unwrap_or_default())
    }

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>> {
        self.read(move |state| state.runs.get(&run).and_then(|run| run.head.clone()))
    }

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>> {
        self.read(move |state| state.heads(tenant, &query))
    }

    fn glimpse(&self, run: RunKey) -> Answer<'_, Option<Glimpse>> {
        self.read(move |state| state.glimpse(run))
    }

    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let watch = self.shared.watches.watch(run);
            let grown = watch.notify.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            {
                let inner = self.shared.lock();
                if !inner.doors.is_open(self.epoch) || inner.state.end_of(run) > seen {
                    return;
                }
            }
            grown.await;
        })
    }

    fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>> {
        self.read(move |state| {
            let Some(run) = state.runs.get(&run) else { return Vec::new() };
            let lines = run.logs.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
            lines.map(|(_, line)| line.clone()).take(max).collect()
        })
    }

    fn log(&self, run: RunKey, last: FrameId, lines: Vec<LogLine>, used: UsedByDay) -> Answer<'_, bool> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.log(run, last, lines, &used))))
    }

    fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Answer<'_, Vec<OpenQuestion>> {
        self.read(move |state| state.questions(tenant, before, max))
    }

    fn landmark(&self, run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>> {
        self.read(move |state| state.runs.get(&run)?.landmarks.get(&landmark).copied())
    }

    fn states(&self, run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>> {
        self.read(move |state| state.states(run))
    }

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>> {
        let key = (tenant, key.into());
        self.read(move |state| state.start_keys.get(&key).cloned())
    }

    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, _| {
            state.components.entry((tenant, record.digest)).or_insert((record, bytes));
            Ok(())
        }))
    }

    fn component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>> {
        self.read(move |state| state.components.get(&(tenant, digest)).map(|(record, _)| record.clone()))
    }

    fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>> {
        self.read(move |state| state.components.get(&(tenant, digest)).map(|(_, bytes)| bytes.clone()))
    }

    fn components(&self, tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>> {
        self.read(move |state| {
            let own = state.components.iter().filter(|((owner, _), _)| *owner == tenant);
            own.map(|(_, (record, _))| record.clone()).collect()
        })
    }

    fn remove_component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, bool> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.components.remove(&(tenant, digest)).is_some())))
    }

    fn deployment(&self, tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>> {
        let key = (tenant, name.into());
        self.read(move |state| state.deployments.get(&key).cloned())
    }

    fn deployments(&self, tenant: TenantId) -> Answer<'_, Vec<Deployment>> {
        self.read(move |state| {
            let own = state.deployments.iter().filter(|((owner, _), _)| *owner == tenant);
            own.map(|(_, deployment)| deployment.clone()).collect()
        })
    }

    fn put_deployment(&self, tenant: TenantId, deployment: Deployment) -> Answer<'_, bool> {
        Box::pin(self.call(Access::Write, move |state, _| Ok(state.put_deployment(tenant, deployment))))
    }

    fn remove_deployment(&self, tenant: TenantId, name: &str, revision: u64) -> Answer<'_, bool> {
        let place = (tenant, Arc::from(name));
        Box::pin(self.call(Access::Write, move |state, _| {
            let stands = state.deployments.get(&place).is_some_and(|stored| stored.revision == revision);
            Ok(stands && state.deployments.remove(&place).is_some())
        }))
    }

    fn record(&self, tenant: TenantId, shelf: Shelf, name: &str) -> Answer<'_, Option<Record>> {
        let place = (tenant, shelf, Arc::from(name));
        self.read(move |state| state.records.get(&place).cloned())
    }

    fn records(&self, tenant: TenantId, shelf: Shelf, after: Option<&str>, max: usize) -> Answer<'_, Vec<Record>> {
        let after = after.map(str::to_owned);
        self.read(move |state| {
            let of_shelf = state.records.iter().filter(|((owner, on, _), _)| (*owner, *on) == (tenant, shelf));
            let later = of_shelf.filter(|((_, _, name), _)| after.as_deref().is_none_or(|after| &**name > after));
            later.map(|(_, record)| record.clone()).take(max).collect()
        })
    }

    fn put_record(&self, tenant: TenantId, shelf: Shelf, record: Record) -> Answer<'_, bool> {
        Box::pin(self.call(Access::Write, move |state, _| {
            record.check()?;
            Ok(state.put_record(tenant, shelf, record))
        }))
    }

    fn remove_record(&self, tenant: TenantId, shelf: Shelf, name: &str, revision: u64) -> Answer<'_, bool> {
        let place = (tenant, shelf, Arc::from(name));
        Box::pin(self.call(Access::Write, move |state, _| {
            let stands = state.records.get(&place).is_some_and(|record| record.revision == revision);
            Ok(stands && state.records.remove(&place).is_some())
        }))
    }

    fn tenants(&self) -> Answer<'_, Vec<TenantId>> {
        self.read(State::tenants)
    }

    fn erase(&self, tenant: TenantId) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, doors| {
            state.erase(tenant, doors);
            Ok(())
        }))
    }

    fn write_entity(&self, tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten> {
        Box::pin(self.call(Access::Write, move |state, _| {
            write.check()?;
            Ok(state.write_entity(tenant, &write))
        }))
    }

    fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>> {
        let place = (name.into(), key.into());
        self.read(move |state| state.entities.get(&tenant)?.of.get(&place).cloned())
    }

    fn entities(&self, tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>> {
        self.read(move |state| state.entities_of(tenant, &query))
    }

    fn entity_version(&self, tenant: TenantId) -> Answer<'_, u64> {
        self.read(move |state| state.entities.get(&tenant).map_or(0, |entities| entities.tally.version))
    }

    fn receipt(&self, run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>> {
        self.read(move |state| state.runs.get(&run)?.receipts.get(&step).copied())
    }

    fn receipts(&self, run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)> {
        self.read(move |state| {
            let receipts = state.runs.get(&run).into_iter().flat_map(|run| &run.receipts);
            (state.end_of(run), receipts.map(|(step, written)| (*step, *written)).collect())
        })
    }

    fn restore_entity(&self, tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()> {
        Box::pin(self.call(Access::Write, move |state, _| {
            state.restore_entity(tenant, restore);
            Ok(())
        }))
    }

    fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>> {
        self.read(move |state| {
            let own = state.runs.keys().filter(|key| key.tenant == tenant).map(|key| key.run);
            own.filter(|run| after.is_none_or(|after| *run > after)).take(max).collect()
        })
    }

    fn end(&self, run: RunKey) -> Answer<'_, Position> {
        self.read(move |state| state.end_of(run))
    }

    fn payloads(&self, run: RunKey) -> Answer<'_, Vec<Digest>> {
        self.read(move |state| state.payloads.keys().filter(|(of, _)| *of == run).map(|(_, digest)| *digest).collect())
    }

    fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>> {
        let after = after.map(str::to_owned);
        self.read(move |state| {
            let own = state.start_keys.iter().filter(|((owner, _), _)| *owner == tenant).map(|(_, key)| key);
            let later = own.filter(|key| after.as_deref().is_none_or(|after| &*key.key > after));
            later.take(max).cloned().collect()
        })
    }

    fn check_run(&self, run: RunKey) -> Answer<'_, RunRows> {
        self.read(move |state| state.rows(run))
    }

    fn check_rest(&self, _: TenantId) -> Answer<'_, Vec<String>> {
        self.read(|_| Vec::new())
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.shared.lock().doors.close(self.epoch);
            self.shared.watches.all();
            Ok(())
        })
    }
}
