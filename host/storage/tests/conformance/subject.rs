//! The stores under test, and short words for what the promises need.

use bytes::Bytes;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;
use trackway_replay::{Digest, FrameId, Head, MessageId, Position, RunId, Status, TenantId, Timestamp, Value};
use trackway_storage::{
    Append, Appended, Claims, InboxBody, InboxItem, MemoryStorage, Owner, Rows, RunKey, Sealing, SledOptions,
    SledStorage, Storage, StorageError, StorageErrorKind, Wrap,
};
use zeroize::Zeroizing;

/// Far more than any store needs; a promise that waits longer is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub enum Subject {
    Sled { folder: TempDir, options: SledOptions, store: Option<Arc<SledStorage>> },
    Memory(Arc<MemoryStorage>),
}

impl Subject {
    pub fn sled() -> Subject {
        Subject::sled_with(small())
    }

    /// The same, with every tenant sealed.
    pub fn sealed() -> Subject {
        Subject::sled_with(SledOptions { sealing: sealing(1), ..small() })
    }

    fn sled_with(options: SledOptions) -> Subject {
        let folder = TempDir::new().unwrap();
        let store = Some(Arc::new(SledStorage::open(folder.path(), options.clone()).unwrap()));
        Subject::Sled { folder, options, store }
    }

    /// Whether lists of what has a name are in an order that means nothing.
    pub fn hides_names(&self) -> bool {
        match self {
            Subject::Sled { options, .. } => options.sealing.every_tenant,
            Subject::Memory(_) => false,
        }
    }

    pub fn memory() -> Subject {
        Subject::Memory(Arc::new(MemoryStorage::new()))
    }

    pub fn store(&self) -> Arc<dyn Storage> {
        match self {
            Subject::Sled { store, .. } => store.clone().unwrap(),
            Subject::Memory(store) => store.clone(),
        }
    }

    /// Nothing of the old store may be held any more.
    pub fn kill(self) -> Subject {
        match self {
            Subject::Sled { folder, options, store } => {
                drop(Arc::into_inner(store.unwrap()).unwrap());
                let store = Some(Arc::new(SledStorage::open(folder.path(), options.clone()).unwrap()));
                Subject::Sled { folder, options, store }
            }
            Subject::Memory(store) => Subject::Memory(Arc::new(store.crash())),
        }
    }

    pub async fn stop_and_start(self) -> Subject {
        self.store().close().await.unwrap();
        self.kill()
    }
}

/// A server whose key is one byte, over and over: enough to tell two of them apart.
struct Server(u8);

impl Wrap for Server {
    fn wrap(&self, about: &[u8], key: &[u8]) -> Result<String, StorageError> {
        let bytes = about.iter().chain(key).map(|byte| format!("{:02x}", byte ^ self.0));
        Ok(format!("{}:{}", self.0, bytes.collect::<String>()))
    }

    fn unwrap(&self, about: &[u8], wrapped: &str) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let beginning = self.wrap(about, &[])?;
        let no_key = || StorageError::new(StorageErrorKind::NoKey, "it is wrapped under another key");
        let hex = wrapped.strip_prefix(&beginning).ok_or_else(no_key)?;
        let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        Ok(Zeroizing::new(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap() ^ self.0).collect()))
    }

    fn is_current(&self, wrapped: &str) -> bool {
        wrapped.starts_with(&format!("{}:", self.0))
    }
}

pub fn sealing(server: u8) -> Sealing {
    Sealing { wrap: Some(Arc::new(Server(server))), every_tenant: true }
}

pub fn small() -> SledOptions {
    SledOptions { cache_bytes: 8 << 20, ..SledOptions::default() }
}

pub fn run(number: u128) -> RunKey {
    RunKey { tenant: TenantId::DEFAULT, run: RunId(number) }
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000 * seconds)
}

/// A new name for a frame.
pub fn frame_id() -> FrameId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    FrameId(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// A run's journal as its owner knows it.
pub struct Journal {
    pub run: RunKey,
    pub end: Position,
    pub last: Option<FrameId>,
}

impl Journal {
    pub fn new(run: RunKey) -> Journal {
        Journal { run, end: Position::FIRST, last: None }
    }

    /// The next append, of one entry.
    pub fn next(&self, owner: Owner) -> Append {
        let status = if owner == Owner::End { Status::Succeeded } else { Status::Running };
        let head = (self.last.is_none() || owner == Owner::End).then(|| head(self.run, status));
        Append {
            run: self.run,
            position: self.end,
            entries: 1,
            previous: self.last,
            id: frame_id(),
            frame: Bytes::from(format!("frame of {:?} at {}", self.run, self.end)),
            rows: Rows { head, owner, ..Rows::default() },
        }
    }

    pub fn took(&mut self, append: &Append) {
        self.end = append.position.plus(u64::from(append.entries));
        self.last = Some(append.id);
    }

    pub async fn append(&mut self, store: &dyn Storage, append: Append) {
        self.took(&append);
        durable(store.append(append).await);
    }

    pub async fn go(&mut self, store: &dyn Storage, owner: Owner) {
        self.append(store, self.next(owner)).await;
    }
}

/// A run that was started and is owned.
pub async fn started(store: &dyn Storage, number: u128) -> Journal {
    let mut journal = Journal::new(run(number));
    journal.go(store, Owner::Keep).await;
    journal
}

#[track_caller]
pub fn durable(appended: Appended) {
    assert!(matches!(appended, Appended::Durable), "{appended:?}");
}

#[track_caller]
pub fn fenced(appended: Appended) {
    assert!(matches!(appended, Appended::Fenced), "{appended:?}");
}

pub fn head(run: RunKey, status: Status) -> Head {
    Head {
        run: run.run,
        workflow: "count".into(),
        deployment: "main".into(),
        component: Digest::of(b"component"),
        status,
        waiting: None,
        due: None,
        started: at(1),
        changed: at(2),
        finished: None,
        code: None,
        message: None,
        steps: 0,
        format: 1,
        spending: Default::default(),
        rules: 1,
    }
}

pub fn item(message: u128) -> InboxItem {
    let body = match message % 2 {
        0 => InboxBody::Cancel { reason: format!("reason {message}").into() },
        _ => {
            let (name, payload) = (format!("signal {message}").into(), Value::inline(message.to_string()));
            InboxBody::Signal { name, payload, from: (message == 1).then_some(RunId(message)) }
        }
    };
    InboxItem { message: MessageId(message), arrived: at(3), body }
}

pub async fn claim(store: &dyn Storage, now: Timestamp) -> Claims {
    store.claim(now, 100, Vec::new()).await.unwrap()
}

/// Waits for news, but not for ever.
pub async fn news(store: &dyn Storage) {
    tokio::time::timeout(PATIENCE, store.changed()).await.expect("a claim may find something, and nobody was told");
}

pub async fn within_patience<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, waiting).await.expect("it should have been told")
}

/// Whether it is resolved now, without waiting for anything.
pub async fn is_quiet(waiting: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = waiting => false,
        () = std::future::ready(()) => true,
    }
}

/// Polls it so often, and drops it: whoever asked for it has gone.
pub async fn given_up_after(polls: u128, asked: impl Future) {
    let mut asked = pin!(asked);
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_ready())).await {
            return;
        }
        tokio::task::yield_now().await;
    }
}
