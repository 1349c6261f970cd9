//! The one thread that writes: it drains the queue, makes one batch of it, flushes once and wakes
//! everybody. The time of a flush is what forms the next batch, so there is nothing to tune; which requests that is
//! where there are more, [`intake`](super::intake) knows. It must never answer before the flush.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use trackway_replay::{Digest, FrameId, Head, TenantId, Timestamp};

use super::counter::{Counter, Stop};
use super::draft::{Draft, Write};
use super::entity::Receipts;
use super::folder::io_error;
use super::intake::{Intake, Next};
use super::payload::{InParts, PayloadRow};
use super::shared::Shared;
use super::{Hardening, SledOptions, sync};
use crate::{
    Append, Appended, ComponentRecord, Deployment, EntityRestore, EntityWrite, EntityWritten, InboxItem, LogLine,
    Record, Removed, RunKey, Sent, Shelf, StorageError, UsedByDay,
};

pub(super) type Answerer<T> = oneshot::Sender<Result<T, StorageError>>;

pub(super) enum Request {
    Do(Verb),
    /// Everything before is made durable, then nothing is accepted.
    Close(oneshot::Sender<Result<(), StorageError>>),
    /// As if the process had been killed.
    Stop,
}

pub(super) enum Verb {
    Append(Box<Append>, oneshot::Sender<Appended>),
    /// One, or a part of one.
    Payload {
        run: RunKey,
        rows: Vec<PayloadRow>,
        whole: Arc<InParts>,
        answer: Answerer<()>,
    },
    Release {
        run: RunKey,
        answer: Answerer<()>,
    },
    BeginRecall {
        run: RunKey,
        answer: Answerer<u32>,
    },
    Park {
        run: RunKey,
        due: Option<Timestamp>,
        head: Option<Box<Head>>,
        answer: Answerer<()>,
    },
    Log {
        run: RunKey,
        last: FrameId,
        lines: Vec<LogLine>,
        used: UsedByDay,
        answer: Answerer<bool>,
    },
    Send {
        run: RunKey,
        item: InboxItem,
        answer: Answerer<Sent>,
    },
    Component {
        tenant: TenantId,
        record: Box<ComponentRecord>,
        answer: Answerer<()>,
    },
    RemoveComponent {
        tenant: TenantId,
        digest: Digest,
        answer: Answerer<bool>,
    },
    Deployment {
        tenant: TenantId,
        deployment: Box<Deployment>,
        answer: Answerer<bool>,
    },
    RemoveDeployment {
        tenant: TenantId,
        name: Arc<str>,
        revision: u64,
        answer: Answerer<bool>,
    },
    PutRecord {
        tenant: TenantId,
        shelf: Shelf,
        record: Record,
        answer: Answerer<bool>,
    },
    RemoveRecord {
        tenant: TenantId,
        shelf: Shelf,
        name: Arc<str>,
        revision: u64,
        answer: Answerer<bool>,
    },
    /// A piece of all that there is of the tenant.
    Erase {
        tenant: TenantId,
        answer: Answerer<bool>,
    },
    Entity {
        tenant: TenantId,
        write: Box<EntityWrite>,
        answer: Answerer<EntityWritten>,
    },
    RestoreEntity {
        tenant: TenantId,
        restore: Box<EntityRestore>,
        answer: Answerer<()>,
    },
    Receipts {
        run: RunKey,
        answer: Answerer<Receipts>,
    },
    Remove {
        run: RunKey,
        used: UsedByDay,
        answer: Answerer<Removed>,
    },
    /// The files of a removed run are gone.
    Forget {
        run: RunKey,
        answer: Answerer<()>,
    },
    /// Nothing but to wait for all before it.
    Settle {
        answer: Answerer<()>,
    },
}

/// What to say once the batch is durable.
pub(super) enum Reply {
    Appended(oneshot::Sender<Appended>, Appended),
    Done(Answerer<()>, Result<(), StorageError>),
    Recalls(Answerer<u32>, Result<u32, StorageError>),
    Sent(Answerer<Sent>, Result<Sent, StorageError>),
    Said(Answerer<bool>, Result<bool, StorageError>),
    Entity(Answerer<EntityWritten>, Result<EntityWritten, StorageError>),
    Receipts(Answerer<Receipts>, Result<Receipts, StorageError>),
    Removed(Answerer<Removed>, Result<Removed, StorageError>),
}

pub(super) fn start(
    shared: Arc<Shared>,
    counter: Counter,
    requests: mpsc::Receiver<Request>,
    options: SledOptions,
) -> std::io::Result<JoinHandle<()>> {
    let intake = Intake::new(requests, options.weights.clone());
    let committer = Committer { draft: Draft::new(shared.clone()), shared, counter, options };
    std::thread::Builder::new().name("trackway-commit".to_owned()).spawn(move || committer.run(intake))
}

struct Committer {
    shared: Arc<Shared>,
    draft: Draft,
    counter: Counter,
    options: SledOptions,
}

impl Committer {
    fn run(mut self, mut intake: Intake) {
        // Also when a bug panics: then the store refuses everything instead of leaving it waiting.
        let _closing = Closing(self.shared.clone());
        loop {
            let next = intake.fill(&mut self.draft);
            let flushing = self.commit();
            intake.done(flushing);
            match next {
                Next::Go => {}
                Next::Stop => return,
                Next::Close(answer) => {
                    self.shared.close();
                    let settled = self.counter.settle(self.draft.marked(), Stop::Clean);
                    let path = self.shared.folder.counter();
                    // Nobody listens if the caller gave up.
                    let _ = answer.send(settled.map_err(|error| io_error(&path, "cannot write", &error)));
                    intake.refuse_rest();
                    return;
                }
            }
        }
    }

    /// How long the flush took.
    fn commit(&mut self) -> Duration {
        let Some((commit, write)) = self.draft.write() else {
            self.draft.publish(None);
            return Duration::ZERO;
        };
        let log = self.shared.folder.log();
        let is_marked = matches!(write, Write::Marked(_));
        let db = &self.shared.db;
        let written = match write {
            Write::One { key, value } => db.insert(key, value).map(drop),
            Write::Marked(batch) => db.apply_batch(batch),
        };
        if let Err(error) = written {
            sync::give_up(&log, "could not write", &error.to_string());
        }
        if self.options.hardening == Hardening::NoWait {
            self.draft.publish(Some(commit));
            return Duration::ZERO;
        }
        if let Some(hook) = &self.options.before_flush {
            hook();
        }
        let begun = Instant::now();
        if let Err(error) = db.flush() {
            sync::give_up(&log, "could not make data durable", &error.to_string());
        }
        let flushing = begun.elapsed();
        self.draft.publish(Some(commit));
        // After the answers: it may lag behind the store, and nobody should wait for it.
        if is_marked && let Err(error) = self.counter.raise(commit) {
            tracing::warn!(%error, "the commit counter lags: it could not be written");
        }
        flushing
    }
}

struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Reply {
    pub fn send(self) {
        // Nobody listens if the caller gave up; what was asked for stands all the same.
        match self {
            Reply::Appended(answer, appended) => drop(answer.send(appended)),
            Reply::Done(answer, done) => drop(answer.send(done)),
            Reply::Recalls(answer, recalls) => drop(answer.send(recalls)),
            Reply::Sent(answer, sent) => drop(answer.send(sent)),
            Reply::Said(answer, said) => drop(answer.send(said)),
            Reply::Entity(answer, written) => drop(answer.send(written)),
            Reply::Receipts(answer, receipts) => drop(answer.send(receipts)),
            Reply::Removed(answer, removed) => drop(answer.send(removed)),
        }
    }
}

impl Verb {
    /// Instead of carrying it out.
    pub fn refuse(self, error: StorageError) {
        match self {
            Verb::Append(_, answer) => drop(answer.send(Appended::Refused(error))),
            Verb::Payload { answer, .. }
            | Verb::Release { answer, .. }
            | Verb::Park { answer, .. }
            | Verb::Component { answer, .. }
            | Verb::RestoreEntity { answer, .. }
            | Verb::Settle { answer } => drop(answer.send(Err(error))),
            Verb::BeginRecall { answer, .. } => drop(answer.send(Err(error))),
            Verb::Send { answer, .. } => drop(answer.send(Err(error))),
            Verb::Entity { answer, .. } => drop(answer.send(Err(error))),
            Verb::Receipts { answer, .. } => drop(answer.send(Err(error))),
            Verb::Remove { answer, .. } => drop(answer.send(Err(error))),
            Verb::Forget { answer, .. } => drop(answer.send(Err(error))),
            Verb::RemoveComponent { answer, .. }
            | Verb::Deployment { answer, .. }
            | Verb::RemoveDeployment { answer, .. }
            | Verb::PutRecord { answer, .. }
            | Verb::RemoveRecord { answer, .. }
            | Verb::Erase { answer, .. }
            | Verb::Log { answer, .. } => drop(answer.send(Err(error))),
        }
    }
}
