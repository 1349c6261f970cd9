//! The host as one thing: what the API, the command line and tests ask it for. It puts storage,
//! sandbox, effects and worker together. It never appends to a journal, and it shows only what is
//! durable.

mod apart;
mod approvals;
mod audit;
mod backup;
mod bring;
mod capability;
mod catalog;
mod check;
mod children;
mod compiling;
mod deployments;
mod directory;
mod entities;
mod folder;
mod identity;
mod journal;
mod moves;
mod opening;
mod policy;
mod promises;
mod proposals;
mod published;
mod questions;
mod quotas;
mod redaction;
mod remove;
mod restore;
mod retry;
mod room;
mod schema;
mod sealed;
mod secrets;
mod signal;
mod signature;
mod start;
mod stream;
mod tenants;
mod undeploy;
mod updates;
mod usage;
mod views;
mod ways;

pub use apart::{CHECK_ARGUMENT, check_child_main};
pub use audit::{AUDIT_PAGE_MAX, AuditLine, AuditPage, Weight};
pub use backup::{Backup, read_backup};
pub use capability::{Capabilities, Change, Function, How, Reachable, What};
pub use catalog::{Catalog, check_input};
pub use check::{Flaw, StoreReport, check_folder};
pub use children::{Child, ChildPage};
pub use deployments::{Allow, Allowed, Outcome, Pointer, Uploaded, Wish, record_of};
pub use identity::{Key, MadeKey, NewKey, Scope, Scopes, generate_key, hash_key, refuse_disabled, same_hash};
pub use moves::MoveRequest;
pub use opening::HostOptions;
pub use policy::{Policy, Widening};
pub use promises::{Promise, SettleRequest, Settlement, Standing};
pub use proposals::{Plan, PlanVerdict, Proposal};
pub use published::{State, StatePage};
pub use questions::{AnswerRequest, Question, QuestionEnd, QuestionPage};
pub use quotas::{QuotaChange, QuotaLimit};
pub use redaction::{Fields, Redacted};
pub use remove::Retention;
pub use restore::restore;
pub use retry::RetryRequest;
pub use room::Held;
pub use sealed::DataKeys;
pub use secrets::{KeySource, Rotated, Safe, SecretEntry, ServerKeys};
pub use signal::SignalRequest;
pub use signature::{Signature, SigningKey, TrustedKey};
pub use start::StartRequest;
pub use stream::{Heard, Streamed, StreamedEvent, Streamer};
pub use tenants::{DEFAULT_TENANT, Tenant, TenantState};
pub use updates::{UpdateAnswer, UpdateRequest};
pub use usage::Usage;
pub use views::{Follower, Growth, RunDetail, RunEnd, is_settled};
pub use ways::ways_on;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use trackway_fair::{Fair, Shares};
use trackway_replay::{Digest, Epoch, MessageId, RunId, TenantId, Timestamp, Topic, Value};
use trackway_storage::{InboxBody, InboxItem, RunKey, Sent, Storage};

use self::catalog::Catalogs;
use self::compiling::CompileShares;
use self::directory::Directory;
use crate::effects::{Clock, Effects, Randomness};
use crate::sandbox::{CANCEL_GRACE_MS_MAX, Sandbox};
use crate::worker::{Options, Parts, ReplayReport, Spawner, Worker};
use crate::{Code, Error, Result};

/// The same limit as at the gate, for those who can refuse before they read.
pub const UPLOAD_MAX_BYTES: usize = crate::sandbox::UPLOAD_BYTES_MAX;
/// Longer ones are a mistake, and each is a row in the store.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 256;
/// A reason is for people; it stands in the journal.
const REASON_MAX_BYTES: usize = 1 << 10;
/// How long a terminate waits to be carried out before it answers. It is carried out in any case.
const TERMINATED_WITHIN: Duration = Duration::from_secs(2);

/// From the frame that takes something out of an inbox to its flush: an inbox shows at once that it is
/// gone, a journal only what is durable.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Everything that a host is made of, for those who bring their own.
pub struct HostParts {
    pub storage: Arc<dyn Storage>,
    pub sandbox: Arc<Sandbox>,
    pub effects: Arc<dyn Effects>,
    pub clock: Arc<dyn Clock>,
    pub randomness: Arc<dyn Randomness>,
    pub spawner: Arc<dyn Spawner>,
    /// Every queue's.
    pub shares: Shares,
    pub worker: Options,
    /// Of the same storage.
    pub safe: Arc<Safe>,
}

/// One tenant's view of it: everything that is asked of it is asked for that tenant, and of what others have it knows
/// nothing. All views share what they are made of, so one is cheap: each request makes one.
pub struct Host {
    tenant: TenantId,
    shared: Arc<Shared>,
}

/// What all views are made of.
pub struct Shared {
    storage: Arc<dyn Storage>,
    sandbox: Arc<Sandbox>,
    worker: Arc<Worker>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    safe: Arc<Safe>,
    shares: Shares,
    catalogs: Catalogs,
    views: room::Room,
    compiling: CompileShares,
    directory: OnceCell<Directory>,
    redactions: redaction::Redactions,
    audit: audit::Audit,
    changes: tenants::Changes,
    /// Whoever points a deployment to a component reads, whoever removes one of them writes.
    pointing: tenants::Changes,
    stopping: AtomicBool,
}

impl Deref for Host {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub epoch: Epoch,
    pub readiness: Readiness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Stopping,
}

impl Host {
    /// Puts the parts together and begins to drive the runs in the storage.
    pub fn from_parts(parts: HostParts) -> Arc<Host> {
        let HostParts { storage, sandbox, effects, clock, randomness, spawner, shares, worker, safe } = parts;
        let worker = Worker::spawn(Parts {
            storage: Arc::clone(&storage),
            sandbox: Arc::clone(&sandbox),
            effects,
            clock: Arc::clone(&clock),
            randomness: Arc::clone(&randomness),
            spawner,
            shares: shares.clone(),
            options: worker,
        });
        let shared = Arc::new(Shared {
            storage,
            sandbox,
            worker,
            clock,
            randomness,
            safe,
            shares,
            catalogs: Catalogs::default(),
            views: room::Room::default(),
            compiling: CompileShares::default(),
            directory: OnceCell::default(),
            redactions: redaction::Redactions::default(),
            audit: audit::Audit::default(),
            changes: tenants::Changes::default(),
            pointing: tenants::Changes::default(),
            stopping: AtomicBool::default(),
        });
        Arc::new(Host { tenant: TenantId::DEFAULT, shared })
    }

    /// `task`, computing in turns with all that is done for other tenants.
    pub fn share<F: Future + Unpin>(&self, task: F) -> Fair<F> {
        self.shares.processors.share(self.tenant, task)
    }

    /// The view of another tenant.
    pub fn of(&self, tenant: TenantId) -> Arc<Host> {
        Arc::new(Host { tenant, shared: Arc::clone(&self.shared) })
    }

    /// Whose view it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    #[cfg(test)]
    pub fn storage_for_tests(&self) -> &dyn Storage {
        &*self.storage
    }

    /// By the clock that times entries.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn directory(&self) -> Result<&Directory> {
        let load = || async {
            let directory = Directory::load(&*self.storage).await?;
            let tenants: Vec<_> = directory.tenants().iter().map(|tenant| tenant.id).collect();
            quotas::load(&*self.storage, self.worker.quotas(), &[&[TenantId::DEFAULT], &*tenants].concat()).await?;
            Ok(directory)
        };
        self.directory.get_or_try_init(load).await
    }

    fn key_of(&self, run: RunId) -> RunKey {
        RunKey { tenant: self.tenant, run }
    }

    pub fn health(&self) -> Health {
        let readiness = if self.is_stopping() { Readiness::Stopping } else { Readiness::Ready };
        Health { epoch: self.storage.epoch(), readiness }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes no new work from here on: uploads, deployments, starts and replays are refused.
    pub fn refuse_new_work(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Stops for good: effects in flight get `grace`, then everything is durable and the store is
    /// closed. An error says what is not durable; the store is closed all the same.
    pub async fn drain(&self, grace: Duration) -> Result<()> {
        self.refuse_new_work();
        let drained = self.worker.drain(grace).await;
        // Where it fails it was said what is missing, line by line.
        self.flush_audit().await.unwrap_or_default();
        let closed = self.storage.close().await;
        drained.and(closed.map_err(Error::from))
    }

    /// Asks a run to cancel. Durable when it answers. With the same `key` it asks once only, and
    /// says so again also when the run has ended since. `grace_ms`: after how long the host ends the run, else
    /// as its workflow says; said to a run that was cancelled before, it counts from that cancel.
    pub async fn cancel(&self, run: RunId, reason: &str, grace_ms: Option<u64>, key: Option<&str>) -> Result<()> {
        let reason = Arc::from(cut(reason, REASON_MAX_BYTES));
        let body = match grace_ms {
            None => InboxBody::Cancel { reason },
            Some(grace_ms) if grace_ms <= CANCEL_GRACE_MS_MAX => InboxBody::CancelWithin { reason, grace_ms },
            Some(_) => {
                let why = format!("a cancelled run gets at most {CANCEL_GRACE_MS_MAX} ms to end");
                return Err(Error::new(Code::BadRequest, why));
            }
        };
        self.tell(run, "cancel", body, key).await
    }

    /// Ends a run at once, without asking it: also one that computes, waits for nobody or is stuck.
    /// Durable when it answers, and mostly carried out. With the same `key` as [`Host::cancel`].
    pub async fn terminate(&self, run: RunId, reason: &str, key: Option<&str>) -> Result<()> {
        let reason = Arc::from(cut(reason, REASON_MAX_BYTES));
        self.tell(run, "terminate", InboxBody::Terminate { reason }, key).await?;
        let until = Instant::now() + TERMINATED_WITHIN;
        loop {
            // Before the head: what comes after it wakes us.
            let seen = self.storage.end(self.key_of(run)).await?;
            if self.head(run).await?.status.has_ended() {
                return Ok(());
            }
            if timeout_at(until, self.storage.grown(self.key_of(run), seen)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Asks for a run to be held: it begins nothing and nothing is delivered to it until it is
    /// resumed or cancelled. What is under way comes to its end. Durable when it answers.
    pub async fn pause(&self, run: RunId, reason: &str, key: Option<&str>) -> Result<()> {
        let reason = Arc::from(cut(reason, REASON_MAX_BYTES));
        self.tell(run, "pause", InboxBody::Pause { reason }, key).await
    }

    pub async fn resume(&self, run: RunId, key: Option<&str>) -> Result<()> {
        self.tell(run, "resume", InboxBody::Resume, key).await
    }

    /// Puts something into the inbox of a run; `what` tells one kind of message from another.
    async fn tell(&self, run: RunId, what: &str, body: InboxBody, key: Option<&str>) -> Result<()> {
        let message = match key {
            Some(key) => message_of(what, run, checked_key(key)?),
            None => MessageId(self.random_number()),
        };
        let item = InboxItem { message, arrived: self.clock.now(), body };
        self.deliver(run, item, key.is_some()).await
    }

    /// Brings something into the inbox of a run. What was `sent_before` may have been read already by a
    /// run that has ended since.
    async fn deliver(&self, run: RunId, item: InboxItem, sent_before: bool) -> Result<()> {
        let (message, letter) = (item.message, letter_of(&item.body));
        match self.storage.send(self.key_of(run), item).await? {
            Sent::Delivered => Ok(()),
            Sent::Differs => Err(sent_otherwise(run)),
            Sent::NoSuchRun => Err(views::no_such_run(&run.to_string())),
            Sent::Ended(_) if sent_before && self.was_read(run, message, letter).await? => Ok(()),
            Sent::Ended(status) => {
                Err(Error::new(Code::RunEnded, format!("run {run} has ended: it is {}", status.name())))
            }
            Sent::Full => Err(inbox_full(run)),
        }
    }

    /// Whether this message was sent before, under the same key. Looked at before anything else of a message under a
    /// key: it is answered as it was, whatever the run's code takes by now.
    ///
    /// # Errors
    /// `KeyConflict` if it was another one.
    async fn was_sent(&self, run: RunId, item: &InboxItem, has_ended: bool) -> Result<bool> {
        match self.storage.known(self.key_of(run), item.clone()).await? {
            Some(Sent::Differs) => Err(sent_otherwise(run)),
            Some(_) => Ok(true),
            None if has_ended => self.was_read(run, item.message, letter_of(&item.body)).await,
            None => Ok(false),
        }
    }

    /// Of a run that has ended: whether its journal has the message.
    async fn was_read(&self, run: RunId, message: MessageId, letter: Option<(Topic, Value)>) -> Result<bool> {
        if let Some(known) = journal::letter(&*self.storage, self.key_of(run), message).await?
            && letter.is_some_and(|letter| letter != known)
        {
            return Err(sent_otherwise(run));
        }
        journal::has_message(&*self.storage, self.key_of(run), message).await
    }

    /// Re-executes a run from its journal, with its own code or another's. Nothing leaves the host.
    pub async fn replay(&self, run: RunId, with: Option<Digest>) -> Result<ReplayReport> {
        self.refuse_if_stopping()?;
        let with = match with {
            Some(digest) => {
                let bytes = self.component_bytes(digest).await?;
                Some((digest, self.sandbox.load(self.tenant, digest, &Arc::from(&*bytes)).await?))
            }
            None => {
                self.refuse_without_code(run).await?;
                None
            }
        };
        self.worker.replay(self.key_of(run), with).await
    }

    fn refuse_if_stopping(&self) -> Result<()> {
        if self.is_stopping() {
            return Err(Error::new(Code::Stopping, "the server is stopping").hint("try again when it is up again"));
        }
        Ok(())
    }

    fn random_number(&self) -> u128 {
        let mut bytes = [0; 16];
        self.randomness.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}

fn checked_key(key: &str) -> Result<&str> {
    let fits = (1..=IDEMPOTENCY_KEY_MAX_BYTES).contains(&key.len());
    if fits && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Ok(key);
    }
    let why = format!("an idempotency key is 1 to {IDEMPOTENCY_KEY_MAX_BYTES} bytes of printable ASCII");
    Err(Error::new(Code::BadRequest, why))
}

fn not_known_yet(run: RunId) -> Error {
    let why = format!("run {run} has read it, and the store does not say yet what came of it");
    Error::new(Code::GaveUpWaiting, why).hint("ask again: the same request is carried out once")
}

/// What a message brings to whom, where another one under its id is to be told from it.
fn letter_of(body: &InboxBody) -> Option<(Topic, Value)> {
    match body {
        InboxBody::Signal { name, payload, .. } => Some((Topic::Signal(name.clone()), payload.clone())),
        InboxBody::Update { name, payload } | InboxBody::UpdateWithin { name, payload, .. } => {
            Some((Topic::Update(name.clone()), payload.clone()))
        }
        _ => None,
    }
}

fn inbox_full(run: RunId) -> Error {
    Error::new(Code::InboxFull, format!("the inbox of run {run} is full"))
        .hint("try again when the run has read some of it")
}

fn sent_otherwise(run: RunId) -> Error {
    Error::new(Code::KeyConflict, format!("run {run} was sent something else under that key"))
        .hint("another message needs another key")
}

/// The same item for the same key, so that asking again changes nothing.
fn message_of(what: &str, run: RunId, key: &str) -> MessageId {
    let digest = Digest::of_parts(&[what.as_bytes(), &run.0.to_be_bytes(), key.as_bytes()]);
    let (first, _) = digest.0.split_first_chunk().expect("a digest has more than 16 bytes");
    MessageId(u128::from_be_bytes(*first))
}

fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

#[cfg(test)]
mod tests;
