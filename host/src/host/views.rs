//! What people and tools may see of runs. Every view reads what is durable, and nothing else.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use trackway_replay::trace::{Payloads, Trace, payloads_wanted, trace_with};
use trackway_replay::{ChildOf, Digest, End, Entry, Head, Kind, Position, RunId, Status, Value};
use trackway_storage::{Glimpse, LogKey, LogLine, RunKey, RunQuery, StoredFrame};

use super::room::Held;
use super::{Host, journal};
use crate::{Code, Error, Result};

/// Runs of a prefix that an error lists.
const CANDIDATES_SHOWN_MAX: usize = 5;
/// A run can become stuck without a new entry, so who waits looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Payloads that one trace reads: more would hold a request for seconds.
const TRACE_PAYLOADS_MAX: usize = 1_000;
/// Larger payloads are not read for a trace: it shows their digest.
const TRACE_PAYLOAD_MAX_BYTES: u64 = 256 << 10;

/// One run with what it got and gave.
#[derive(Debug, Clone)]
pub struct RunDetail {
    pub head: Head,
    /// JSON text.
    pub input: Option<Arc<str>>,
    pub end: Option<RunEnd>,
    /// Which step of which run started it, if one did.
    pub parent: Option<ChildOf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// JSON text.
    Succeeded(Arc<str>),
    /// The JSON text of a failure.
    Failed(Arc<str>),
    Cancelled(Arc<str>),
}

impl Host {
    /// Finds a run by its id, the beginning of one, or `@last`.
    pub async fn find(&self, reference: &str) -> Result<Head> {
        if reference == "@last" {
            let newest = RunQuery { limit: 1, ..RunQuery::default() };
            let newest = self.storage.heads(self.tenant, newest).await?.pop();
            return newest.ok_or_else(|| Error::new(Code::NoSuchRun, "there are no runs yet"));
        }
        if let Ok(run) = reference.parse::<RunId>() {
            return self.head(run).await;
        }
        let (low, high) = RunId::range_of_prefix(reference)
            .map_err(|error| Error::new(Code::NoSuchRun, error.to_string()).hint("ids are listed by `runs ls`"))?;
        let before = high.0.checked_add(1).map(RunId);
        let query = RunQuery { from: Some(low), before, limit: CANDIDATES_SHOWN_MAX + 1, ..RunQuery::default() };
        let mut found = self.storage.heads(self.tenant, query).await?;
        if found.len() > 1 {
            let shown: Vec<_> = found.iter().take(CANDIDATES_SHOWN_MAX).map(|head| head.run.to_string()).collect();
            let more = if found.len() > shown.len() { ", and more" } else { "" };
            let why = format!("several runs begin with `{reference}`");
            return Err(Error::new(Code::AmbiguousRun, why).hint(format!("{}{more}", shown.join(", "))));
        }
        found.pop().ok_or_else(|| no_such_run(reference))
    }

    pub async fn head(&self, run: RunId) -> Result<Head> {
        self.storage.head(self.key_of(run)).await?.ok_or_else(|| no_such_run(&run.to_string()))
    }

    /// The newest first.
    pub async fn list(&self, query: RunQuery) -> Result<Vec<Head>> {
        Ok(self.storage.heads(self.tenant, query).await?)
    }

    /// A run with its input and, where it has ended, what came of it.
    pub async fn detail(&self, run: RunId) -> Result<RunDetail> {
        let key = self.key_of(run);
        let glimpse = self.storage.glimpse(key).await?;
        let Glimpse { head, first, last } = glimpse.ok_or_else(|| no_such_run(&run.to_string()))?;
        let beginning = first.map_err(Error::from).and_then(|first| journal::of_frame(key, first.as_ref()));
        let beginning = match beginning {
            // What it is stuck on stands in the head, and that is what people ask for.
            Err(error) if may_be_unreadable(head.status) && is_unreadable(&error) => Vec::new(),
            beginning => beginning?,
        };
        let input = match journal::input_of(&*self.storage, key, &beginning).await {
            Err(error) if may_be_unreadable(head.status) && is_unreadable(&error) => None,
            input => input?,
        };
        let end = if head.status.has_ended() { self.end(key, last?.as_ref()).await? } else { None };
        let parent = journal::child_of(&beginning);
        Ok(RunDetail { head, input, end, parent })
    }

    /// The detail of what [`Host::find`] finds: by a whole id it is found and read at once.
    pub async fn find_detail(&self, reference: &str) -> Result<RunDetail> {
        let run = match reference.parse::<RunId>() {
            Ok(run) => run,
            Err(_) => self.find(reference).await?.run,
        };
        self.detail(run).await
    }

    async fn end(&self, run: RunKey, last: Option<&StoredFrame>) -> Result<Option<RunEnd>> {
        let last = journal::of_frame(run, last)?.pop();
        let Some(Kind::Finished(finished)) = last.map(|entry| entry.kind) else { return Ok(None) };
        let text = async |value: &Value| journal::text(&*self.storage, run, value).await;
        Ok(Some(match finished.end {
            End::Succeeded(output) => RunEnd::Succeeded(text(&output).await?),
            End::Failed(failure) => RunEnd::Failed(text(&failure).await?),
            End::Cancelled { reason } | End::Terminated { reason } => RunEnd::Cancelled(reason),
        }))
    }

    /// Waits until the run goes nowhere by itself any more (it has ended or is stuck), or for as
    /// long as `patience`; then the head may say that it goes on.
    pub async fn wait(&self, run: RunId, patience: Duration) -> Result<Head> {
        let deadline = Instant::now() + patience;
        loop {
            // Before the head: what comes after it wakes us.
            let end = self.storage.end(self.key_of(run)).await;
            let head = self.head(run).await?;
            if is_settled(&head) || Instant::now() >= deadline {
                return Ok(head);
            }
            // Only now: a run is stuck just because its journal cannot be read.
            let seen = end?;
            let until = deadline.min(Instant::now() + LOOK_AGAIN);
            // Both a new entry and the end of patience mean: look again.
            timeout_at(until, self.storage.grown(self.key_of(run), seen)).await.unwrap_or_default();
        }
    }

    /// Entries from `from` on, about a megabyte of them; empty past the end.
    pub async fn entries(&self, run: RunId, from: Position) -> Result<Vec<Entry>> {
        self.head(run).await?;
        journal::read(&*self.storage, self.key_of(run), from).await
    }

    /// A value of the run that stands beside its journal, by the digest that an entry or a trace has of it.
    pub async fn value(&self, run: RunId, digest: Digest) -> Result<Arc<str>> {
        self.head(run).await?;
        if self.storage.payload(self.key_of(run), digest).await?.is_none() {
            return Err(Error::new(Code::NoSuchPath, format!("run {run} has no value {digest}")));
        }
        // Its size is not asked for.
        journal::text(&*self.storage, self.key_of(run), &Value::Stored { digest, size_bytes: 0 }).await
    }

    pub async fn logs(&self, run: RunId, after: Option<LogKey>, max: usize) -> Result<Vec<LogLine>> {
        self.head(run).await?;
        Ok(self.storage.logs(self.key_of(run), after, max).await?)
    }

    /// The trace of what is durable by now.
    pub async fn trace(self: &Arc<Self>, run: RunId) -> Result<Growth> {
        self.follow(run).await?.now(Position::FIRST).await
    }

    /// Follows the trace of a run from its first entry on.
    pub async fn follow(self: &Arc<Self>, run: RunId) -> Result<Follower> {
        self.head(run).await?;
        Ok(Follower { host: Arc::clone(self), run: self.key_of(run), needs_bytes: 0 })
    }

    #[cfg(test)]
    pub fn room_of_views(&self) -> &super::room::Room {
        &self.views
    }
}

/// A run as it stood when so many entries were durable.
#[derive(Debug)]
pub struct Growth {
    pub position: Position,
    pub head: Head,
    /// As it stood when so many were that somebody has seen.
    pub seen: Trace,
    pub trace: Trace,
    /// For as long as any of it is in memory.
    pub held: Held,
}

/// Somebody who watches a run grow. Between two looks it holds nothing of the run.
pub struct Follower {
    host: Arc<Host>,
    run: RunKey,
    /// Of the journal, by the look before: none begins where there is no room for it.
    needs_bytes: usize,
}

/// What one look reads.
struct Look {
    /// From the first one on.
    entries: Vec<Entry>,
    payloads: Payloads,
    held: Held,
}

impl Follower {
    /// Everything that is durable by now, beside what was when `seen` entries were; all of that if there are less.
    ///
    /// # Errors
    /// `Overloaded` where others look at so much that there is no room.
    pub async fn now(&mut self, seen: Position) -> Result<Growth> {
        let held = self.host.views.hold(self.needs_bytes)?;
        let mut look = Look { entries: Vec::new(), payloads: Payloads::new(), held };
        let read = self.read(&mut look).await;
        self.needs_bytes = self.needs_bytes.max(look.held.journal_bytes());
        let head = read?;
        let trace_at = |count: usize| trace_with(&look.entries[..count], &look.payloads);
        let count = look.entries.len();
        let before = usize::try_from(seen.0).unwrap_or(usize::MAX).min(count);
        let (seen, trace) = (trace_at(before), trace_at(count));
        Ok(Growth { position: Position(count as u64), head, seen, trace, held: look.held })
    }

    /// Waits until there are more than `seen` entries, or the run has settled. Then there is something to look at.
    pub async fn after(&self, seen: Position) -> Result<()> {
        loop {
            let end = self.host.storage.end(self.run).await?;
            if end > seen || is_settled(&self.host.head(self.run.run).await?) {
                return Ok(());
            }
            let grown = self.host.storage.grown(self.run, end);
            tokio::time::timeout(LOOK_AGAIN, grown).await.unwrap_or_default();
        }
    }

    async fn read(&self, look: &mut Look) -> Result<Head> {
        self.read_on(look).await?;
        let head = self.host.head(self.run.run).await?;
        if head.status.has_ended() {
            // A head and its entry become durable together, so now the end is there to be read.
            self.read_on(look).await?;
        }
        Ok(head)
    }

    async fn read_on(&self, look: &mut Look) -> Result<()> {
        let Look { entries, payloads, held } = look;
        let known = entries.len();
        journal::extend(&*self.host.storage, self.run, entries, held).await?;
        for digest in payloads_wanted(&entries[known..]) {
            if payloads.len() >= TRACE_PAYLOADS_MAX {
                return Ok(());
            }
            if payloads.contains_key(&digest) {
                continue;
            }
            // Without it the row says less; that is no reason to show nothing.
            let Some(bytes) = self.host.storage.payload(self.run, digest).await? else { continue };
            if bytes.len() as u64 > TRACE_PAYLOAD_MAX_BYTES {
                continue;
            }
            if let Ok(text) = std::str::from_utf8(&bytes) {
                held.grow(bytes.len())?;
                payloads.insert(digest, Arc::from(text));
            }
        }
        Ok(())
    }
}

/// It has ended, or nothing happens before somebody does something about it.
pub fn is_settled(head: &Head) -> bool {
    head.status.has_ended() || head.status == Status::Stuck
}

/// One that was stuck on its journal keeps it when it is ended as it stands.
pub(super) fn may_be_unreadable(status: Status) -> bool {
    matches!(status, Status::Stuck | Status::Cancelled)
}

/// Something stored is not as it was written.
pub(super) fn is_unreadable(error: &Error) -> bool {
    matches!(error.code, Code::DataDamaged | Code::JournalUnreadable)
}

pub(super) fn no_such_run(reference: &str) -> Error {
    Error::new(Code::NoSuchRun, format!("there is no run `{reference}`")).hint("`trackway runs ls` lists runs")
}
