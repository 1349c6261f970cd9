//! One batch in the making: rows to write, what to answer and whom to wake once they are durable.
//! A verb stages its rows and takes them all back if it fails. Nothing here touches the disk but
//! to read.

use ::sled::IVec;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use trackway_replay::{MessageId, Status, StepId, TenantId, Timestamp};

use super::committer::{Reply, Verb};
use super::deployment::Standing;
use super::entity::Changed;
use super::inbox::Unread;
use super::key::{self, Kind};
use super::recent::Grown;
use super::record::Revisions;
use super::row::{OpenRow, Tail, Writer, damaged};
use super::shared::Shared;
use super::spot::Spot;
use super::usage::Sums;
use crate::{Append, Appended, InboxItem, RunKey, StartKey, StorageError};

pub(super) struct Draft {
    pub shared: Arc<Shared>,
    /// The number of this batch.
    pub commit: u64,
    pub writer: Writer,
    staged: Vec<(IVec, Option<IVec>)>,
    /// In the order in which they were staged: of two of one key the later one counts.
    rows: Vec<(IVec, Option<IVec>)>,
    size_bytes: usize,
    /// The last commit that wrote down its own number.
    marked: u64,
    /// Owned runs, and those that this batch touches.
    runs: HashMap<RunKey, RunState>,
    touched: Vec<RunKey>,
    /// Of this batch, so not to be read yet.
    pub start_keys: HashMap<(TenantId, Arc<str>), StartKey>,
    /// With what tells one message from another.
    pub sent: HashMap<(RunKey, MessageId), Vec<u8>>,
    pub deployments: HashMap<(TenantId, Arc<str>), Standing>,
    pub records: Revisions,
    pub entities: Changed,
    pub receipts: HashSet<(RunKey, StepId)>,
    pub sums: Sums,
    has_erased: bool,
    news: Vec<News>,
    grown: Vec<Grown>,
    replies: Vec<Reply>,
}

/// One row needs no batch, which costs sled a second write and a second sync. Its commit is known by
/// the row alone, so so many in a row may leave the store's own number unwritten; an opening counts
/// them as used.
pub(super) const UNMARKED_COMMITS_MAX: u64 = 64;

pub(super) enum Write {
    One {
        key: IVec,
        value: IVec,
    },
    /// All or nothing, and the store's own commit number with them.
    Marked(::sled::Batch),
}

/// What the committer has to know of a run to judge the next verb.
pub(super) struct RunState {
    /// An error where the last frame is damaged: nothing can follow it, but the run can still be
    /// parked, so that people learn what it is stuck on.
    pub tail: Result<Option<Tail>, StorageError>,
    pub place: Place,
    /// In the order of arrival.
    pub unread: Vec<Unread>,
    pub owner: Owned,
}

/// Whether the run's state stays in memory after this batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    /// After a crash it is ready.
    Ready(OpenRow),
    /// After a crash it waits for its timer or its inbox.
    Parked(OpenRow),
    /// With the status, where this batch ends it.
    Ended(Option<Status>),
}

/// What the desk learns when the batch is durable.
pub(super) enum News {
    Own(RunKey),
    Knock(RunKey),
    Ready(RunKey),
    Park(RunKey, Option<Timestamp>),
    Stick(RunKey, Option<Timestamp>),
    End(RunKey),
    Remove(RunKey),
}

impl Draft {
    pub fn new(shared: Arc<Shared>) -> Draft {
        let commit = shared.durable.commit() + 1;
        Draft {
            shared,
            commit,
            writer: Writer::default(),
            staged: Vec::new(),
            rows: Vec::new(),
            size_bytes: 0,
            marked: commit - 1,
            runs: HashMap::new(),
            touched: Vec::new(),
            start_keys: HashMap::new(),
            sent: HashMap::new(),
            deployments: HashMap::new(),
            records: Revisions::default(),
            sums: Sums::default(),
            has_erased: false,
            entities: Changed::default(),
            receipts: HashSet::new(),
            news: Vec::new(),
            grown: Vec::new(),
            replies: Vec::new(),
        }
    }

    pub fn take(&mut self, verb: Verb) {
        let reply = match verb {
            Verb::Append(append, answer) => {
                let appended = self.append(&append);
                Reply::Appended(answer, self.settle(appended).unwrap_or_else(Appended::Refused))
            }
            Verb::Payload { run, rows, whole, answer } => {
                let done = self.put_payload(run, &rows, &whole);
                Reply::Done(answer, self.settle(done))
            }
            Verb::Release { run, answer } => {
                let done = self.release(run);
                Reply::Done(answer, self.settle(done))
            }
            Verb::BeginRecall { run, answer } => {
                let recalls = self.begin_recall(run);
                Reply::Recalls(answer, self.settle(recalls))
            }
            Verb::Park { run, due, head, answer } => {
                let done = self.park(run, due, head.as_deref());
                Reply::Done(answer, self.settle(done))
            }
            Verb::Log { run, last, lines, used, answer } => {
                let logged = self.log(run, last, &lines, &used);
                Reply::Said(answer, self.settle(logged))
            }
            Verb::Send { run, item, answer } => {
                let sent = self.send(run, &item);
                Reply::Sent(answer, self.settle(sent))
            }
            Verb::Component { tenant, record, answer } => {
                let done = self.put_component(tenant, &record);
                Reply::Done(answer, self.settle(done))
            }
            Verb::RemoveComponent { tenant, digest, answer } => {
                let removed = self.remove_component(tenant, digest);
                Reply::Said(answer, self.settle(removed))
            }
            Verb::Deployment { tenant, deployment, answer } => {
                let deployed = self.put_deployment(tenant, &deployment);
                Reply::Said(answer, self.settle(deployed))
            }
            Verb::RemoveDeployment { tenant, name, revision, answer } => {
                let removed = self.remove_deployment(tenant, name, revision);
                Reply::Said(answer, self.settle(removed))
            }
            Verb::PutRecord { tenant, shelf, record, answer } => {
                let put = self.put_record(tenant, shelf, &record);
                Reply::Said(answer, self.settle(put))
            }
            Verb::RemoveRecord { tenant, shelf, name, revision, answer } => {
                let removed = self.remove_record(tenant, shelf, &name, revision);
                Reply::Said(answer, self.settle(removed))
            }
            Verb::Erase { tenant, answer } => {
                let erased = self.erase(tenant);
                Reply::Said(answer, self.settle(erased))
            }
            Verb::Entity { tenant, write, answer } => {
                let written = self.put_entity(tenant, &write);
                Reply::Entity(answer, self.settle(written))
            }
            Verb::RestoreEntity { tenant, restore, answer } => {
                let done = self.restore_entity(tenant, &restore);
                Reply::Done(answer, self.settle(done))
            }
            Verb::Receipts { run, answer } => {
                let receipts = self.receipts(run);
                Reply::Receipts(answer, self.settle(receipts))
            }
            Verb::Remove { run, used, answer } => {
                let removed = self.remove_run(run, &used);
                Reply::Removed(answer, self.settle(removed))
            }
            Verb::Forget { run, answer } => {
                self.remove(&key::of_run(Kind::Gone, run));
                Reply::Done(answer, self.settle(Ok(())))
            }
            Verb::Settle { answer } => Reply::Done(answer, Ok(())),
        };
        self.replies.push(reply);
    }

    /// Takes the staged rows into the batch, or back.
    fn settle<T>(&mut self, done: Result<T, StorageError>) -> Result<T, StorageError> {
        match done {
            Ok(_) => {
                self.size_bytes +=
                    self.staged.iter().filter_map(|(_, value)| value.as_ref().map(|it| it.len())).sum::<usize>();
                self.rows.append(&mut self.staged);
            }
            Err(_) => self.staged.clear(),
        }
        done
    }

    /// An error where the row is too large to be stored, or is to be sealed and cannot be.
    pub fn stage(&mut self, key: &[u8], body: &impl serde::Serialize) -> Result<(), StorageError> {
        let spot = self.shared.spot(key)?;
        let value = self.writer.row(&spot, self.commit, body)?;
        self.staged.push((spot.key.as_ref().into(), Some(value)));
        Ok(())
    }

    /// An error where it is to be sealed and cannot be.
    pub fn stage_bytes(&mut self, key: &[u8], body: &[u8]) -> Result<(), StorageError> {
        let spot = self.shared.spot(key)?;
        let value = self.writer.bytes(&spot, self.commit, body);
        self.staged.push((spot.key.as_ref().into(), Some(value)));
        Ok(())
    }

    pub fn stage_frame(&mut self, append: &Append) -> Result<(), StorageError> {
        let key = key::frame(append.run, append.position);
        let spot = self.shared.spot(&key)?;
        let value = self.writer.frame(&spot, self.commit, append);
        self.staged.push((spot.key.as_ref().into(), Some(value)));
        Ok(())
    }

    pub fn remove(&mut self, key: &[u8]) {
        let key = self.shared.in_tree(key);
        self.staged.push((key.as_ref().into(), None));
    }

    /// As it was found in the tree.
    pub fn remove_row(&mut self, key: IVec) {
        self.staged.push((key, None));
    }

    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The last commit whose number the store itself knows.
    pub fn marked(&self) -> u64 {
        self.marked
    }

    pub fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    /// After this batch nothing of the run stands.
    pub fn lose(&mut self, run: RunKey) {
        self.runs.insert(run, RunState::nowhere());
        self.touched.push(run);
        self.tell(News::End(run));
        self.tell(News::Remove(run));
    }

    /// What is in memory of deployments may not stand any more.
    pub fn forget_deployments(&mut self) {
        self.has_erased = true;
    }

    pub fn grew(&mut self, grown: Grown) {
        self.grown.push(grown);
    }

    /// What to write, and its number. `None`: nothing changes.
    pub fn write(&mut self) -> Option<(u64, Write)> {
        let commit = self.commit;
        self.size_bytes = 0;
        let write = match self.rows.pop() {
            None => return None,
            Some((key, Some(value))) if self.rows.is_empty() && commit - self.marked < UNMARKED_COMMITS_MAX => {
                Write::One { key, value }
            }
            Some(last) => {
                let mut batch = ::sled::Batch::default();
                for (key, value) in self.rows.drain(..).chain([last]) {
                    match value {
                        Some(value) => batch.insert(key, value),
                        None => batch.remove(key),
                    }
                }
                batch.insert(&key::META_COMMIT, self.writer.bytes(&Spot::open(&key::META_COMMIT), commit, &[]));
                self.marked = commit;
                Write::Marked(batch)
            }
        };
        self.commit += 1;
        Some((commit, write))
    }

    /// The batch is durable, and `commit` is its number if it wrote anything: everybody may know. Whoever
    /// is answered or woken finds it in every read.
    pub fn publish(&mut self, commit: Option<u64>) {
        let shared = self.shared.clone();
        if !self.deployments.is_empty() || std::mem::take(&mut self.has_erased) {
            shared.deployed.forget();
        }
        let grown: Vec<RunKey> = self.grown.iter().map(|grown| grown.run).collect();
        // Their heads changed without a frame, or are gone.
        let stuck = self.news.iter().filter_map(|news| match news {
            News::Stick(run, _) | News::Remove(run) => Some(*run),
            News::Own(_) | News::Knock(_) | News::Ready(_) | News::Park(..) | News::End(_) => None,
        });
        shared.recent.grew(self.grown.drain(..), stuck, || {
            if let Some(commit) = commit {
                shared.durable.raise(commit);
            }
        });
        for news in self.news.drain(..) {
            let desk = &shared.desk;
            match news {
                News::Own(run) => desk.own(run),
                News::Knock(run) => desk.knock(run),
                News::Ready(run) => desk.ready(run),
                News::Park(run, due) => desk.park(run, due),
                News::Stick(run, due) => desk.stick(run, due),
                News::End(run) => desk.end(run),
                News::Remove(_) => {}
            }
        }
        shared.watches.grew(grown);
        self.replies.drain(..).for_each(Reply::send);
        for run in self.touched.drain(..) {
            if self.runs.get(&run).is_some_and(|state| state.owner == Owned::No) {
                self.runs.remove(&run);
            }
        }
        self.start_keys.clear();
        self.sent.clear();
        self.deployments.clear();
        self.records.clear();
        self.entities.clear();
        self.receipts.clear();
        self.sums.trim();
    }

    /// `act` may change the state only after the last thing that can fail.
    pub fn with_run<T>(
        &mut self,
        run: RunKey,
        act: impl FnOnce(&mut Draft, &mut RunState) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut state = match self.runs.remove(&run) {
            Some(state) => state,
            None => RunState::load(&self.shared, run)?,
        };
        let done = act(self, &mut state);
        if state.owner == Owned::No {
            self.touched.push(run);
        }
        self.runs.insert(run, state);
        done
    }

    /// Stages the marks and the timer that a move of the run changes.
    pub fn stage_move(&mut self, run: RunKey, from: Place, to: Place) -> Result<(), StorageError> {
        if from == to {
            return Ok(());
        }
        let (was, is) = (from.mark(), to.mark());
        if let Some((kind, row)) = was {
            if is.is_none_or(|(other, _)| other != kind) {
                self.remove(&key::of_run(kind, run));
            }
            if let Some(due) = row.due {
                self.remove(&key::timer(due, run));
            }
        }
        if let Some((kind, row)) = is {
            let place = key::of_run(kind, run);
            self.stage(&place, &row)?;
            if let Some(due) = row.due {
                self.stage_bytes(&key::timer(due, run), &[])?;
            }
        }
        Ok(())
    }
}

impl Place {
    /// The row that says so. Only a parked run has a due time.
    fn mark(self) -> Option<(Kind, OpenRow)> {
        match self {
            Place::Ready(row) => Some((Kind::Ready, row)),
            Place::Parked(row) => Some((Kind::Parked, row)),
            Place::Nowhere | Place::Ended(_) => None,
        }
    }

    pub fn recalls(self) -> u32 {
        self.mark().map_or(0, |(_, row)| row.recalls)
    }

    pub fn is_open(self) -> bool {
        self.mark().is_some()
    }
}

impl RunState {
    /// Of a run that is not there.
    pub fn nowhere() -> RunState {
        RunState { tail: Ok(None), place: Place::Nowhere, unread: Vec::new(), owner: Owned::No }
    }

    fn load(shared: &Shared, run: RunKey) -> Result<RunState, StorageError> {
        let last = shared.db.scan_prefix(key::of_run(Kind::Frame, run)).next_back();
        let tail = match last {
            None => Ok(None),
            Some(pair) => {
                let pair = pair.map_err(|error| shared.failed(&error))?;
                shared.opened(pair).and_then(|(key, row)| row.tail(&key)).map(Some)
            }
        };
        let open = |kind| -> Result<Option<OpenRow>, StorageError> {
            let key = key::of_run(kind, run);
            shared.written(&key)?.map(|row| row.decode(&key)).transpose()
        };
        let place = match tail {
            Ok(None) => Place::Nowhere,
            Ok(Some(_)) | Err(_) => match (open(Kind::Ready)?, open(Kind::Parked)?) {
                (Some(row), _) => Place::Ready(row),
                (None, Some(row)) => Place::Parked(row),
                (None, None) => Place::Ended(None),
            },
        };
        let mut unread = Vec::new();
        if place.is_open() {
            for pair in shared.db.scan_prefix(key::of_run(Kind::Inbox, run)) {
                let (key, row) = shared.opened(pair.map_err(|error| shared.failed(&error))?)?;
                let item: InboxItem = row.decode(&key)?;
                let order = key::number_of(&key).ok_or_else(|| damaged(&key, "its key has no order"))?;
                unread.push(Unread { order, message: item.message, share: item.body.share() });
            }
        }
        Ok(RunState { tail, place, unread, owner: Owned::No })
    }
}
