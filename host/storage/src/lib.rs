//! What survives a crash: journals, their side rows, payloads, components.
//!
//! One trait, [`Storage`]; the embedded [`sled`](SledStorage) and the seeded faulty one in memory
//! ([`MemoryStorage`]) keep it, and one conformance suite holds both to it. Nothing here knows what
//! an entry means, and nothing here touches the network or the engine.

mod desk;
pub mod dump;
mod entity;
mod error;
mod glimpse;
mod memory;
mod pieces;
mod record;
mod rows;
pub mod seal;
mod sled;
mod usage;
mod watch;

pub use crate::seal::{Seal, Sealing, Seals, Wrap, WrappedKey};
pub use crate::sled::{Hardening, SledOptions, SledStorage};
pub use entity::{
    ENTITIES_MAX, ENTITIES_MAX_BYTES, ENTITY_KEY_MAX_BYTES, ENTITY_NAME_MAX_BYTES, ENTITY_VALUE_MAX_BYTES, Entity,
    EntityQuery, EntityRestore, EntityWrite, EntityWritten,
};
pub use error::{StorageError, StorageErrorKind};
pub use glimpse::Glimpse;
pub use memory::{Faults, MemoryStorage, Snapshot};
pub use record::{RECORD_MAX_BYTES, RECORD_NAME_MAX_BYTES, Record, Shelf};
pub use rows::{
    ComponentRecord, Deployment, InboxBody, InboxItem, Landmark, LogKey, LogLine, OpenQuestion, StartKey, Version,
};
pub use usage::{USAGE_TOTAL, UsedByDay, usage_day, usage_name};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;
use trackway_replay::{
    Digest, Epoch, FrameId, Head, MessageId, Position, QuestionId, QuestionName, RunId, Status, StepId, TenantId,
    Timestamp,
};

pub type Answer<'a, T> = BoxFuture<'a, Result<T, StorageError>>;

/// A larger payload must be put before the frame that names it.
pub const PAYLOAD_ROW_MAX_BYTES: usize = 32 << 10;
/// No frame is larger: sled never syncs values above 64 KiB.
pub const FRAME_MAX_BYTES: usize = 60 << 10;
/// Unread messages of one run: signals, updates, answers. One more is refused as [`Sent::Full`].
pub const INBOX_MAX: usize = 1_000;
/// Unread words on one run (cancel, terminate, move and their like): apart from its messages, so that a run that reads
/// nothing can still be ended.
pub const INBOX_WORDS_MAX: usize = 100;

/// Items that one frame may send to other runs: more than its entries can ask for.
pub const FRAME_SEND_MAX: usize = 1_000;

/// A run and whose it is. No row is reached by less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    pub tenant: TenantId,
    pub run: RunId,
}

/// One frame for a run's journal, with the rows that change with it or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    pub run: RunKey,
    /// Of the frame's first entry.
    pub position: Position,
    /// How many entries it holds: the next frame belongs at `position + entries`.
    pub entries: u32,
    /// Id of the frame that ends just before `position`; `None` at position 0 only.
    pub previous: Option<FrameId>,
    pub id: FrameId,
    pub frame: Bytes,
    pub rows: Rows,
}

#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The new head, where the status changed.
    pub head: Option<Head>,
    pub owner: Owner,
    /// Inbox items that this frame copied in.
    pub read: Vec<MessageId>,
    /// Inbox items that the last frame of a run names without having read them.
    pub unread: Vec<MessageId>,
    pub logs: Vec<LogLine>,
    /// Payloads of at most [`PAYLOAD_ROW_MAX_BYTES`] that this frame names.
    pub payloads: Vec<(Digest, Bytes)>,
    /// Items for the inboxes of other runs: they stand with the frame. Nothing is sent to a run that has
    /// ended or is not there; a full inbox takes them all the same, since its run asked for them.
    pub send: Vec<(RunKey, InboxItem)>,
    /// Questions that wait for an answer from here on, with the place of the entry that asks.
    pub asked: Vec<(QuestionId, Position)>,
    /// Questions that wait for none any more, also of those just named. The end of a run settles all.
    pub settled: Vec<QuestionId>,
    /// Writes that steps of this frame ask for: each is done with the frame or not at all, and what became
    /// of it is kept until the step is answered.
    pub entities: Vec<(StepId, EntityWrite)>,
    /// Steps whose answer stands with this frame: what became of their writes is kept no longer.
    pub entities_answered: Vec<StepId>,
    /// Places in this frame that are found by their names from here on, instead of those before.
    pub landmarks: Vec<(Landmark, Position)>,
    /// In a store that is made of a backup: messages that entries of this frame brought, and by what each is told from
    /// another one under its id, as [`InboxBody::identity`] says. They count as sent and read.
    pub brought: Vec<(MessageId, Option<Digest>)>,
    /// What is added with this frame to the sums of its tenant: by this frame and those before it that brought none.
    /// [`Landmark::Metered`] among the landmarks says how far.
    pub used: UsedByDay,
    /// At position 0 only: the key under which the run was started.
    pub start_key: Option<StartKey>,
    /// The run got further than its claim: the counter of [`Storage::begin_recall`] starts anew.
    pub recalled: bool,
}

/// What a frame does to the ownership of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// The appender goes on. After a crash the run is ready at once.
    #[default]
    Keep,
    /// Nobody owns the run until its timer is due or something is in its inbox (also: already is).
    Park { due: Option<Timestamp> },
    /// The run has ended: no timer, no ready mark, no inbox, out of the index of open runs. Every
    /// item of its inbox must be read or named, so that none is lost without a trace.
    End,
}

#[derive(Debug)]
pub enum Appended {
    /// The frame stands and survives a crash, with all its rows.
    Durable,
    /// Another frame stands there, or the frame before is not `previous`. Nothing was changed.
    Fenced,
    /// The frame ends the run and neither reads nor names these items of its inbox. Nothing was
    /// changed; as it is, the frame will never stand.
    Missed(Vec<MessageId>),
    /// It may stand or not. Append the same bytes under the same id again until it is known.
    Unknown,
    /// The start key names another run already. Nothing was changed.
    KeyTaken(StartKey),
    /// Nothing was changed, and the run's place is still free: the disk is full, say.
    Refused(StorageError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFrame {
    pub position: Position,
    pub entries: u32,
    pub previous: Option<FrameId>,
    pub id: FrameId,
    pub frame: Bytes,
}

/// What [`Storage::claim`] found.
#[derive(Debug, Default)]
pub struct Claims {
    /// Now owned by the caller: to be appended to, parked, ended or released.
    pub runs: Vec<RunKey>,
    /// Runs that the caller owns already and whose inbox got something since the last call.
    pub knocks: Vec<RunKey>,
    /// When the earliest timer of a run that nobody owns is due.
    pub next_due: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// In the inbox, durable. Also the answer when the same message had been sent before.
    Delivered,
    /// The same message was sent before with other content. Nothing was changed.
    Differs,
    NoSuchRun,
    /// The run has ended, with this status.
    Ended(Status),
    /// [`INBOX_MAX`] messages are waiting, or [`INBOX_WORDS_MAX`] words.
    Full,
}

/// What [`Storage::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// Nothing of it is left.
    Gone,
    NoSuchRun,
    /// It has not ended, or a moment ago. Nothing was changed.
    Open,
}

/// Where a run stands beside its journal, and what is wrong with its rows; see [`Storage::check_run`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunRows {
    /// `None`: the run has ended.
    pub mark: Option<Mark>,
    /// Open questions, in the order of their steps.
    pub questions: Vec<(QuestionId, Position)>,
    /// In the order of their names.
    pub landmarks: Vec<(Landmark, Position)>,
    /// Each names a row and says what is wrong with it.
    pub flaws: Vec<String>,
}

/// What becomes of an open run when the store is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Ready,
    /// Nobody looks at it before its timer is due or something is in its inbox.
    Parked {
        due: Option<Timestamp>,
    },
}

/// Which runs to list; the newest first.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    pub workflow: Option<String>,
    pub deployment: Option<String>,
    pub status: Vec<Status>,
    /// Only runs whose head tells this code.
    pub code: Option<String>,
    /// Only runs that were started at this time or later.
    pub since: Option<Timestamp>,
    /// Only runs that were started before.
    pub until: Option<Timestamp>,
    /// Only runs whose calls of models cost at least this, as far as their price is known.
    pub min_cost_nanousd: Option<u64>,
    /// Only runs whose id is below: the last id of the page before.
    pub before: Option<RunId>,
    /// Only ids from here on (with `before`: for looking up a prefix).
    pub from: Option<RunId>,
    pub limit: usize,
}

impl Append {
    /// What both stores demand of an append, whatever they hold.
    fn check(&self) -> Result<(), StorageError> {
        let invalid = |why: String| Err(StorageError::new(StorageErrorKind::Invalid, why));
        if self.entries == 0 {
            return invalid(format!("a frame of run {} at {} holds no entry", self.run.run, self.position));
        }
        if self.frame.len() > FRAME_MAX_BYTES {
            let size_bytes = self.frame.len();
            return invalid(format!("a frame of {size_bytes} bytes is over the limit of {FRAME_MAX_BYTES}"));
        }
        if let Some((digest, bytes)) = self.rows.payloads.iter().find(|(_, bytes)| bytes.len() > PAYLOAD_ROW_MAX_BYTES)
        {
            let size_bytes = bytes.len();
            return invalid(format!("payload {digest:?} of {size_bytes} bytes must be put before its frame"));
        }
        if self.rows.send.len() > FRAME_SEND_MAX || self.rows.send.iter().any(|(to, _)| *to == self.run) {
            return invalid(format!("a frame of run {} sends too much, or to itself", self.run.run));
        }
        if self.rows.entities.len() > self.entries as usize {
            return invalid(format!("a frame of run {} writes more than it asks for", self.run.run));
        }
        self.rows.entities.iter().try_for_each(|(_, write)| write.check())?;
        if self.rows.start_key.is_some() && self.position != Position::FIRST {
            return invalid(format!("run {} brings a start key after its start", self.run.run));
        }
        Ok(())
    }
}

impl Rows {
    /// Items of an inbox that an end would lose.
    fn missed(&self, inbox: impl Iterator<Item = MessageId>) -> Vec<MessageId> {
        match self.owner {
            Owner::End => {
                let known: BTreeSet<&MessageId> = self.read.iter().chain(&self.unread).collect();
                inbox.filter(|item| !known.contains(item)).collect()
            }
            Owner::Keep | Owner::Park { .. } => Vec::new(),
        }
    }
}

impl RunQuery {
    fn wants(&self, head: &Head) -> bool {
        let one_of = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        one_of(&self.workflow, &head.workflow)
            && one_of(&self.deployment, &head.deployment)
            && (self.status.is_empty() || self.status.contains(&head.status))
            && self.code.as_deref().is_none_or(|wanted| head.code.as_deref() == Some(wanted))
            && self.since.is_none_or(|since| since <= head.started)
            && self.until.is_none_or(|until| head.started < until)
            && self.min_cost_nanousd.is_none_or(|least| least <= head.spending.cost_nanousd)
    }
}

/// What survives a crash. Every method answers when its effect is durable, and every read shows
/// only what is durable.
pub trait Storage: Send + Sync + 'static {
    /// The epoch under which this process owns what it claims and starts. Higher than any before.
    fn epoch(&self) -> Epoch;

    /// Appends one frame, if its place is free and the frame before it is `previous`. At position
    /// 0 the appender becomes the run's owner. At most one append of a run is in flight.
    /// Appending a frame that stands already (same id, same place) is [`Appended::Durable`].
    fn append(&self, append: Append) -> BoxFuture<'_, Appended>;

    /// Frames from the one that holds `from` on, in order, until `max_bytes` are passed.
    fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Answer<'_, Vec<StoredFrame>>;

    /// Writes a payload of any size that a later frame names.
    fn put_payload(&self, run: RunKey, digest: Digest, bytes: Bytes) -> Answer<'_, ()>;

    fn payload(&self, run: RunKey, digest: Digest) -> Answer<'_, Option<Bytes>>;

    /// Takes up to `max` runs that are ready or whose timer is due at `now`, of tenants in turn. None of `without`: whoever
    /// names some asks again by itself when they may have some.
    fn claim(&self, now: Timestamp, max: usize, without: Vec<TenantId>) -> Answer<'_, Claims>;

    /// Resolves when a claim may find something that the last one did not. Never early by more
    /// than a wasted claim, never missed.
    fn changed(&self) -> BoxFuture<'_, ()>;

    /// Gives a run back without an append. It is ready at once, for anybody; so is one that is parked.
    fn release(&self, run: RunKey) -> Answer<'_, ()>;

    /// Raises the run's recall counter, durably, and returns it. See [`Rows::recalled`].
    fn begin_recall(&self, run: RunKey) -> Answer<'_, u32>;

    /// Parks a run without an append, as [`Owner::Park`] does. A `head` says that it is stuck: then
    /// it becomes ready again by what comes into its inbox after it was claimed, not by what its
    /// owner found there and could do nothing with.
    fn park(&self, run: RunKey, due: Option<Timestamp>, head: Option<Head>) -> Answer<'_, ()>;

    /// Puts an item into the run's inbox and marks the run ready. Idempotent by message id.
    fn send(&self, run: RunKey, item: InboxItem) -> Answer<'_, Sent>;

    /// What [`Storage::send`] answers where something was sent under the id of the item before: `Delivered` or
    /// `Differs`, once that is durable. `None` where nothing was, and of a run that has ended.
    fn known(&self, run: RunKey, item: InboxItem) -> Answer<'_, Option<Sent>>;

    /// Unread items, in the order of their arrival.
    fn inbox(&self, run: RunKey) -> Answer<'_, Vec<InboxItem>>;

    fn head(&self, run: RunKey) -> Answer<'_, Option<Head>>;

    fn heads(&self, tenant: TenantId, query: RunQuery) -> Answer<'_, Vec<Head>>;

    /// The head of a run and where its journal begins and ends, in one read; `None` where [`Storage::head`] finds none.
    fn glimpse(&self, run: RunKey) -> Answer<'_, Option<Glimpse>>;

    /// Removes a run that has ended: all at once, its start key too, which may start another run from then
    /// on. Whatever comes in between, all of it stands or nothing is seen of it any more.
    ///
    /// `used` is added to the sums of its tenant, if it goes.
    fn remove(&self, run: RunKey, used: UsedByDay) -> Answer<'_, Removed>;

    /// Resolves when a frame of `run` after `seen` entries is durable, or may be. Views that
    /// follow a run wait here and then read.
    fn grown(&self, run: RunKey, seen: Position) -> BoxFuture<'_, ()>;

    /// Log lines after `after`, in the order of their keys.
    fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Answer<'_, Vec<LogLine>>;

    /// Writes lines that no frame brings along, if `last` is the run's last frame: what they tell of
    /// stands then. False if another frame is, or the run has ended.
    fn log(&self, run: RunKey, last: FrameId, lines: Vec<LogLine>, used: UsedByDay) -> Answer<'_, bool>;

    /// Open questions, the newest run first and in it the newest question; `before`: the last one of the
    /// page before.
    fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Answer<'_, Vec<OpenQuestion>>;

    /// Where the entry stands that the name leads to.
    fn landmark(&self, run: RunKey, landmark: Landmark) -> Answer<'_, Option<Position>>;

    /// Every key under which the run has published, in their order, and where the entries stand.
    fn states(&self, run: RunKey) -> Answer<'_, Vec<(Arc<str>, Position)>>;

    fn start_key(&self, tenant: TenantId, key: &str) -> Answer<'_, Option<StartKey>>;

    /// Idempotent by digest.
    fn put_component(&self, tenant: TenantId, record: ComponentRecord, bytes: Bytes) -> Answer<'_, ()>;

    fn component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<ComponentRecord>>;

    fn component_bytes(&self, tenant: TenantId, digest: Digest) -> Answer<'_, Option<Bytes>>;

    fn components(&self, tenant: TenantId) -> Answer<'_, Vec<ComponentRecord>>;

    /// Removes a component with its bytes; false: there was none. Whether anything is pinned to it is the caller's to know.
    fn remove_component(&self, tenant: TenantId, digest: Digest) -> Answer<'_, bool>;

    fn deployment(&self, tenant: TenantId, name: &str) -> Answer<'_, Option<Deployment>>;

    fn deployments(&self, tenant: TenantId) -> Answer<'_, Vec<Deployment>>;

    /// Writes `deployment` if the stored one has revision `deployment.revision - 1` (0: there is
    /// none); false if not.
    fn put_deployment(&self, tenant: TenantId, deployment: Deployment) -> Answer<'_, bool>;

    /// Removes the deployment with all its versions, if it has that revision; false if not. Another one of that name begins
    /// with revision 1 again.
    fn remove_deployment(&self, tenant: TenantId, name: &str, revision: u64) -> Answer<'_, bool>;

    /// A record of the operator.
    fn record(&self, tenant: TenantId, shelf: Shelf, name: &str) -> Answer<'_, Option<Record>>;

    /// Those of a shelf in the order of their names, after `after`.
    fn records(&self, tenant: TenantId, shelf: Shelf, after: Option<&str>, max: usize) -> Answer<'_, Vec<Record>>;

    /// Writes `record` if the stored one has revision `record.revision - 1` (0: there is none); false if not.
    fn put_record(&self, tenant: TenantId, shelf: Shelf, record: Record) -> Answer<'_, bool>;

    /// Removes the record if it has that revision; false if not.
    fn remove_record(&self, tenant: TenantId, shelf: Shelf, name: &str, revision: u64) -> Answer<'_, bool>;

    /// Every tenant of which anything is stored.
    fn tenants(&self) -> Answer<'_, Vec<TenantId>>;

    /// Removes all that is stored of a tenant, of open runs too: whoever drives one is fenced. The data key of a sealed
    /// one goes first: from then on nothing of it can be read, wherever it lies. Not all at once: who is
    /// cut off in between does it again. What others write of the tenant meanwhile may be left, and is named by
    /// [`Storage::tenants`].
    fn erase(&self, tenant: TenantId) -> Answer<'_, ()>;

    /// Changes an entity for somebody who is no run.
    fn write_entity(&self, tenant: TenantId, write: EntityWrite) -> Answer<'_, EntityWritten>;

    fn entity(&self, tenant: TenantId, name: &str, key: &str) -> Answer<'_, Option<Entity>>;

    /// Those of shorter names first, then in the order of the names, then of the keys. Of a tenant whose names are hidden
    /// in an order that means nothing, those of one name together.
    fn entities(&self, tenant: TenantId, query: EntityQuery) -> Answer<'_, Vec<Entity>>;

    /// The highest version that a write of the tenant has: whatever is read later has all writes up to it.
    fn entity_version(&self, tenant: TenantId) -> Answer<'_, u64>;

    /// What became of the write that a step asked for, until its answer stands.
    fn receipt(&self, run: RunKey, step: StepId) -> Answer<'_, Option<EntityWritten>>;

    /// All of a run, and how many of its entries were durable at that very moment.
    fn receipts(&self, run: RunKey) -> Answer<'_, (Position, Vec<(StepId, EntityWritten)>)>;

    /// For a store that is made of a backup: of two versions of an entity the higher one stands.
    fn restore_entity(&self, tenant: TenantId, restore: EntityRestore) -> Answer<'_, ()>;

    /// Runs of which anything is stored, in the order of their ids, after `after`.
    fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Answer<'_, Vec<RunId>>;

    /// How many entries of the run are durable.
    fn end(&self, run: RunKey) -> Answer<'_, Position>;

    /// All payloads of a run, also those that no frame names yet.
    fn payloads(&self, run: RunKey) -> Answer<'_, Vec<Digest>>;

    /// Start keys after `after`, in their order, or in one that means nothing where names are hidden.
    fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Answer<'_, Vec<StartKey>>;

    /// Reads every row of a run and says what does not fit. What entries mean it does not know.
    fn check_run(&self, run: RunKey) -> Answer<'_, RunRows>;

    /// The same for all that belongs to no single run.
    fn check_rest(&self, tenant: TenantId) -> Answer<'_, Vec<String>>;

    /// The data keys of its tenants. A store that seals nothing has none.
    fn seals(&self) -> Arc<Seals> {
        Arc::new(Seals::none())
    }

    /// How many rows and files of a tenant are not sealed and should be; `None`: nothing of the tenant is sealed.
    fn unsealed(&self, _tenant: TenantId) -> Answer<'_, Option<u64>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Makes everything durable and closes. Every later call is an error.
    fn close(&self) -> Answer<'_, ()>;
}
