//! What the store in memory holds: all of it counts as durable. No faults, no waiting here.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trackway_replay::{
    Digest, Epoch, FrameId, Head, MessageId, Position, QuestionId, QuestionName, RunId, Status, StepId, TenantId,
    Timestamp, Used,
};

use super::doors::Doors;
use super::invalid;
use crate::entity::{EntityChange, EntityTally};
use crate::rows::Sender;
use crate::usage::{additions, usage_record};
use crate::{
    Append, Appended, ComponentRecord, Deployment, Entity, EntityQuery, EntityRestore, EntityWrite, EntityWritten,
    Glimpse, InboxItem, Landmark, LogKey, LogLine, Mark, OpenQuestion, Owner, Record, Removed, RunKey, RunQuery,
    RunRows, Sent, Shelf, StartKey, StorageError, StoredFrame, UsedByDay,
};

#[derive(Default, Clone)]
pub(super) struct State {
    pub runs: BTreeMap<RunKey, Run>,
    /// Runs that were removed: a process that does not know yet whether its first frame of one stood may bring it
    /// again, and is fenced.
    removed: BTreeSet<RunKey>,
    pub timers: BTreeSet<(Timestamp, RunKey)>,
    pub payloads: BTreeMap<(RunKey, Digest), Bytes>,
    pub start_keys: BTreeMap<(TenantId, Arc<str>), StartKey>,
    pub components: BTreeMap<(TenantId, Digest), (ComponentRecord, Bytes)>,
    pub deployments: BTreeMap<(TenantId, Arc<str>), Deployment>,
    pub entities: BTreeMap<TenantId, Entities>,
    pub records: BTreeMap<(TenantId, Shelf, Arc<str>), Record>,
}

#[derive(Default, Clone)]
pub(super) struct Entities {
    pub of: BTreeMap<(Arc<str>, Arc<str>), Entity>,
    pub tally: EntityTally,
}

#[derive(Clone)]
pub(super) struct Run {
    /// Who claimed it or appended to it last.
    owner: Epoch,
    frames: Vec<StoredFrame>,
    pub head: Option<Head>,
    place: Place,
    due: Option<Timestamp>,
    pub recalls: u32,
    pub inbox: Vec<InboxItem>,
    /// Everything that was ever sent to it.
    messages: BTreeMap<MessageId, Option<Digest>>,
    pub logs: BTreeMap<LogKey, LogLine>,
    pub questions: BTreeMap<QuestionId, Position>,
    pub receipts: BTreeMap<StepId, EntityWritten>,
    pub landmarks: BTreeMap<Landmark, Position>,
}

/// Where a run is after a crash.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Parked,
    Ended,
}

impl Run {
    fn end(&self) -> Position {
        self.frames.last().map_or(Position::FIRST, |frame| frame.position.plus(u64::from(frame.entries)))
    }
}

fn sent_again(known: &Option<Digest>, identity: &Option<Digest>) -> Sent {
    if known == identity { Sent::Delivered } else { Sent::Differs }
}

impl State {
    pub fn ready(&self) -> Vec<RunKey> {
        self.runs.iter().filter(|(_, run)| run.place == Place::Ready).map(|(key, _)| *key).collect()
    }

    pub fn end_of(&self, run: RunKey) -> Position {
        self.runs.get(&run).map_or(Position::FIRST, Run::end)
    }

    pub fn mark(&self, run: RunKey) -> Option<Mark> {
        let run = self.runs.get(&run)?;
        match run.place {
            Place::Ready => Some(Mark::Ready),
            Place::Parked => Some(Mark::Parked { due: run.due }),
            Place::Ended => None,
        }
    }

    pub fn rows(&self, run: RunKey) -> RunRows {
        let questions = self.runs.get(&run).into_iter().flat_map(|run| run.questions.clone()).collect();
        let landmarks = self.runs.get(&run).into_iter().flat_map(|run| run.landmarks.clone()).collect();
        RunRows { mark: self.mark(run), questions, landmarks, flaws: Vec::new() }
    }

    pub fn entities_of(&self, tenant: TenantId, query: &EntityQuery) -> Vec<Entity> {
        let all = self.entities.get(&tenant).into_iter().flat_map(|entities| &entities.of);
        // As a store that keeps names behind their length.
        let place = |name: &Arc<str>, key: &Arc<str>| (name.len(), name.clone(), key.clone());
        let mut later: Vec<_> = all
            .filter(|((name, _), _)| query.name.as_ref().is_none_or(|wanted| wanted == name))
            .filter(|((name, key), _)| {
                query.after.as_ref().is_none_or(|(last, after)| place(name, key) > place(last, after))
            })
            .collect();
        later.sort_by_key(|((name, key), _)| place(name, key));
        later.into_iter().map(|(_, entity)| entity.clone()).take(query.limit).collect()
    }

    pub fn states(&self, run: RunKey) -> Vec<(Arc<str>, Position)> {
        let landmarks = self.runs.get(&run).into_iter().flat_map(|run| &run.landmarks);
        let states = landmarks.filter_map(|(landmark, place)| match landmark {
            Landmark::State(name) => Some((name.clone(), *place)),
            Landmark::Reply(_) | Landmark::Metered => None,
        });
        states.collect()
    }

    pub fn questions(&self, tenant: TenantId, before: Option<(RunId, QuestionName)>, max: usize) -> Vec<OpenQuestion> {
        let low = RunKey { tenant, run: RunId(0) };
        let high = RunKey { tenant, run: RunId(u128::MAX) };
        let newest_first = self.runs.range(low..=high).rev();
        let open = newest_first.flat_map(|(key, run)| {
            let newest_first = run.questions.iter().rev();
            newest_first.map(|(question, asked)| OpenQuestion { run: key.run, question: *question, asked: *asked })
        });
        open.filter(|open| before.is_none_or(|before| (open.run, open.question.name) < before)).take(max).collect()
    }

    /// A process claimed the run.
    pub fn own(&mut self, run: RunKey, epoch: Epoch) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.owner = epoch;
        }
    }

    /// Whoever lost the run has nothing to give back. One that is parked is the newest's to wake.
    pub fn release(&mut self, run: RunKey, epoch: Epoch, doors: &Doors) {
        let may = |of: &Run| of.owner == epoch || of.place == Place::Parked && doors.is_newest(epoch);
        if self.runs.get(&run).is_some_and(may) {
            doors.ready(run);
        }
    }

    pub fn remove(&mut self, run: RunKey, used: &UsedByDay) -> Removed {
        match self.runs.get(&run).map(|run| run.place) {
            None => return Removed::NoSuchRun,
            Some(Place::Ready | Place::Parked) => return Removed::Open,
            Some(Place::Ended) => {}
        }
        self.runs.remove(&run);
        self.removed.insert(run);
        self.payloads.retain(|(of, _), _| *of != run);
        self.start_keys.retain(|(tenant, _), key| (*tenant, key.run) != (run.tenant, run.run));
        self.add_used(run.tenant, used);
        Removed::Gone
    }

    pub fn begin_recall(&mut self, run: RunKey) -> Result<u32, StorageError> {
        let run = self.open_run(run).ok_or_else(|| invalid(format!("run {} is not open", run.run)))?;
        run.recalls = run.recalls.saturating_add(1);
        Ok(run.recalls)
    }

    pub fn open_run(&mut self, run: RunKey) -> Option<&mut Run> {
        self.runs.get_mut(&run).filter(|run| run.place != Place::Ended)
    }

    pub fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Vec<StoredFrame> {
        let Some(run) = self.runs.get(&run) else { return Vec::new() };
        let first = run.frames.partition_point(|frame| frame.position.plus(u64::from(frame.entries)) <= from);
        let mut size_bytes = 0;
        let wanted = run.frames[first..].iter().take_while(|frame| {
            let more = size_bytes < max_bytes.max(1);
            size_bytes += frame.frame.len();
            more
        });
        wanted.cloned().collect()
    }

    pub fn append(&mut self, mut append: Append, epoch: Epoch, doors: &Doors) -> Appended {
        let key = append.run;
        let standing = self.runs.get(&key).map(|run| run.frames.as_slice()).unwrap_or_default();
        if standing.iter().any(|frame| frame.position == append.position && frame.id == append.id) {
            return Appended::Durable;
        }
        let previous = standing.last().map(|frame| frame.id);
        let is_free = self.end_of(key) == append.position && previous == append.previous;
        if !is_free || self.removed.contains(&key) {
            return Appended::Fenced;
        }
        if self.runs.get(&key).is_some_and(|run| run.place == Place::Ended) {
            return Appended::Fenced;
        }
        let inbox = self.runs.get(&key).map(|run| run.inbox.as_slice()).unwrap_or_default();
        let missed = append.rows.missed(inbox.iter().map(|item| item.message));
        if !missed.is_empty() {
            return Appended::Missed(missed);
        }
        if let Some(start_key) = append.rows.start_key.take() {
            let place = (key.tenant, start_key.key.clone());
            if let Some(taken) = self.start_keys.get(&place) {
                return Appended::KeyTaken(taken.clone());
            }
            self.start_keys.insert(place, start_key);
        }
        let run = self.runs.entry(key).or_insert_with(|| {
            doors.own(key, epoch);
            Run {
                owner: epoch,
                frames: Vec::new(),
                head: None,
                place: Place::Ready,
                due: None,
                recalls: 0,
                inbox: Vec::new(),
                messages: BTreeMap::new(),
                logs: BTreeMap::new(),
                questions: BTreeMap::new(),
                receipts: BTreeMap::new(),
                landmarks: BTreeMap::new(),
            }
        });
        run.owner = epoch;
        run.frames.push(StoredFrame {
            position: append.position,
            entries: append.entries,
            previous: append.previous,
            id: append.id,
            frame: append.frame,
        });
        let rows = append.rows;
        if rows.head.is_some() {
            run.head = rows.head;
        }
        if rows.recalled {
            run.recalls = 0;
        }
        run.inbox.retain(|item| !rows.read.contains(&item.message));
        run.logs.extend(rows.logs.into_iter().map(|line| (line.key, line)));
        run.landmarks.extend(rows.landmarks);
        run.messages.extend(rows.brought);
        run.questions.extend(rows.asked);
        run.questions.retain(|question, _| !rows.settled.contains(question));
        self.payloads.extend(rows.payloads.into_iter().map(|(digest, bytes)| ((key, digest), bytes)));
        for (step, write) in &rows.entities {
            let written = self.write_entity(key.tenant, write);
            if let Some(run) = self.runs.get_mut(&key) {
                run.receipts.insert(*step, written);
            }
        }
        if let Some(run) = self.runs.get_mut(&key) {
            run.receipts.retain(|step, _| !rows.entities_answered.contains(step));
        }
        self.add_used(key.tenant, &rows.used);
        self.place(key, rows.owner, doors);
        for (to, item) in rows.send {
            self.send_by(to, item, Sender::Frame, doors);
        }
        Appended::Durable
    }

    /// Carries out what an append or a park does to the ownership of a run.
    fn place(&mut self, key: RunKey, owner: Owner, doors: &Doors) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        if let Some(due) = run.due.take() {
            self.timers.remove(&(due, key));
        }
        match owner {
            Owner::Keep => run.place = Place::Ready,
            Owner::Park { due } if run.inbox.is_empty() => {
                run.place = Place::Parked;
                run.due = due;
                self.timers.extend(due.map(|due| (due, key)));
                doors.park(key, due);
            }
            // Whoever claims it reads the inbox and parks it again, with the same timer.
            Owner::Park { .. } => {
                run.place = Place::Ready;
                doors.ready(key);
            }
            Owner::End => {
                run.place = Place::Ended;
                run.inbox = Vec::new();
                run.messages = BTreeMap::new();
                run.questions = BTreeMap::new();
                run.receipts = BTreeMap::new();
                doors.end(key);
            }
        }
    }

    pub fn park(
        &mut self,
        key: RunKey,
        due: Option<Timestamp>,
        head: Option<Head>,
        epoch: Epoch,
        doors: &Doors,
    ) -> Result<(), StorageError> {
        let run = self.open_run(key).ok_or_else(|| invalid(format!("run {} is not open", key.run)))?;
        if run.owner != epoch {
            return Ok(());
        }
        let Some(head) = head else {
            self.place(key, Owner::Park { due }, doors);
            return Ok(());
        };
        run.head = Some(head);
        run.place = Place::Parked;
        let before = std::mem::replace(&mut run.due, due);
        if let Some(before) = before {
            self.timers.remove(&(before, key));
        }
        self.timers.extend(due.map(|due| (due, key)));
        doors.stick(key, due);
        Ok(())
    }

    pub fn log(&mut self, key: RunKey, last: FrameId, lines: Vec<LogLine>, used: &UsedByDay) -> bool {
        let ends_so = |run: &&mut Run| run.frames.last().is_some_and(|frame| frame.id == last);
        let Some(run) = self.open_run(key).filter(ends_so) else { return false };
        run.logs.extend(lines.into_iter().map(|line| (line.key, line)));
        self.add_used(key.tenant, used);
        true
    }

    pub fn heads(&self, tenant: TenantId, query: &RunQuery) -> Vec<Head> {
        let low = RunKey { tenant, run: query.from.unwrap_or(RunId(0)) };
        let high = RunKey { tenant, run: RunId(u128::MAX) };
        let newest_first = self.runs.range(low..=high).rev();
        let wanted = newest_first.filter(|(key, _)| query.before.is_none_or(|before| key.run < before));
        let heads = wanted.filter_map(|(_, run)| run.head.clone());
        heads.filter(|head| query.wants(head)).take(query.limit).collect()
    }

    pub fn glimpse(&self, run: RunKey) -> Option<Glimpse> {
        let run = self.runs.get(&run)?;
        Some(Glimpse::of(run.head.clone()?, &run.frames))
    }

    pub fn known(&self, key: RunKey, item: &InboxItem) -> Option<Sent> {
        let run = self.runs.get(&key).filter(|run| run.place != Place::Ended)?;
        Some(sent_again(run.messages.get(&item.message)?, &item.body.identity()))
    }

    pub fn send(&mut self, key: RunKey, item: InboxItem, doors: &Doors) -> Sent {
        self.send_by(key, item, Sender::Outside, doors)
    }

    fn send_by(&mut self, key: RunKey, item: InboxItem, sender: Sender, doors: &Doors) -> Sent {
        let Some(run) = self.runs.get_mut(&key) else { return Sent::NoSuchRun };
        if run.place == Place::Ended {
            return Sent::Ended(run.head.as_ref().map_or(Status::Failed, |head| head.status));
        }
        let identity = item.body.identity();
        if let Some(known) = run.messages.get(&item.message) {
            return sent_again(known, &identity);
        }
        let waiting = run.inbox.iter().map(|item| item.body.share());
        if !item.body.share().has_room(sender, waiting) {
            return Sent::Full;
        }
        run.messages.insert(item.message, identity);
        run.inbox.push(item);
        run.place = Place::Ready;
        if let Some(due) = run.due.take() {
            self.timers.remove(&(due, key));
        }
        doors.knock(key);
        Sent::Delivered
    }

    pub fn write_entity(&mut self, tenant: TenantId, write: &EntityWrite) -> EntityWritten {
        let entities = self.entities.entry(tenant).or_default();
        let place = (write.name.clone(), write.key.clone());
        let (written, change) = write.judge(&mut entities.tally, entities.of.get(&place).map(Entity::mark));
        match change {
            EntityChange::None => {}
            EntityChange::Put(entity) => drop(entities.of.insert(place, entity)),
            EntityChange::Remove => drop(entities.of.remove(&place)),
        }
        written
    }

    pub fn restore_entity(&mut self, tenant: TenantId, restore: EntityRestore) {
        let entities = self.entities.entry(tenant).or_default();
        match restore {
            EntityRestore::Version(version) => entities.tally.version = entities.tally.version.max(version),
            EntityRestore::Entity(entity) => {
                let place = (entity.name.clone(), entity.key.clone());
                if entities.tally.restore(&entity, entities.of.get(&place).map(Entity::mark)) {
                    entities.of.insert(place, entity);
                }
            }
            EntityRestore::Receipt(run, step, written) => {
                if let Some(run) = self.runs.get_mut(&run) {
                    run.receipts.insert(step, written);
                }
            }
        }
    }

    fn add_used(&mut self, tenant: TenantId, used: &UsedByDay) {
        for (name, more) in additions(used) {
            let place = (tenant, Shelf::Usage, name.clone());
            // What cannot be read was written by nobody here.
            let mut sum = self.records.get(&place).and_then(|record| Used::decode(&record.body)).unwrap_or_default();
            sum.add(&more);
            self.records.insert(place, usage_record(name, &sum));
        }
    }

    pub fn put_record(&mut self, tenant: TenantId, shelf: Shelf, record: Record) -> bool {
        let place = (tenant, shelf, record.name.clone());
        let stored = self.records.get(&place).map_or(0, |stored| stored.revision);
        if stored.checked_add(1) != Some(record.revision) {
            return false;
        }
        self.records.insert(place, record);
        true
    }

    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: BTreeSet<TenantId> = self.runs.keys().map(|run| run.tenant).collect();
        tenants.extend(self.payloads.keys().map(|(run, _)| run.tenant));
        tenants.extend(self.start_keys.keys().map(|(tenant, _)| *tenant));
        tenants.extend(self.components.keys().map(|(tenant, _)| *tenant));
        tenants.extend(self.deployments.keys().map(|(tenant, _)| *tenant));
        tenants.extend(self.entities.keys());
        tenants.extend(self.records.keys().map(|(tenant, _, _)| *tenant));
        tenants.into_iter().collect()
    }

    pub fn erase(&mut self, tenant: TenantId, doors: &Doors) {
        let runs: Vec<RunKey> = self.runs.keys().filter(|run| run.tenant == tenant).copied().collect();
        for run in runs {
            self.runs.remove(&run);
            self.removed.insert(run);
            doors.end(run);
        }
        self.timers.retain(|(_, run)| run.tenant != tenant);
        self.payloads.retain(|(run, _), _| run.tenant != tenant);
        self.start_keys.retain(|(owner, _), _| *owner != tenant);
        self.components.retain(|(owner, _), _| *owner != tenant);
        self.deployments.retain(|(owner, _), _| *owner != tenant);
        self.entities.remove(&tenant);
        self.records.retain(|(owner, _, _), _| *owner != tenant);
    }

    pub fn put_deployment(&mut self, tenant: TenantId, deployment: Deployment) -> bool {
        let place = (tenant, deployment.name.clone());
        let stored = self.deployments.get(&place).map_or(0, |stored| stored.revision);
        if stored.checked_add(1) != Some(deployment.revision) {
            return false;
        }
        self.deployments.insert(place, deployment);
        true
    }
}
