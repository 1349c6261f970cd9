//! Removes runs that have ended: one by its name, or all that ended long enough ago. A run that is open, or whose end
//! somebody has not read yet, is never touched.

use futures_util::{StreamExt as _, stream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{Frame, Head, Kind, Position, RunId, Timestamp};
use trackway_storage::{InboxBody, Removed, RunKey};

use super::{Host, views};
use crate::worker::Removal;
use crate::{Code, Error, Result};

/// Looked at in one go.
const PAGE_RUNS: usize = 200;
/// Removed at once: each waits for the store, which writes together what several want.
const REMOVED_AT_ONCE: usize = 16;
/// Between two looks for runs that may go: a part of the time that they are kept, within these bounds.
const LOOK_PARTS: u32 = 10;
const LOOK_AFTER_MIN: Duration = Duration::from_millis(100);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How long runs are kept after their end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// For ever where it says nothing.
    pub all: Option<Duration>,
    /// Instead of that, by `WORKFLOW` or `DEPLOYMENT/WORKFLOW`; the longer name counts.
    pub of: BTreeMap<String, Duration>,
}

impl Retention {
    fn of(&self, head: &Head) -> Option<Duration> {
        let of_deployment = self.of.get(&format!("{}/{}", head.deployment, head.workflow));
        of_deployment.or_else(|| self.of.get(&*head.workflow)).copied().or(self.all)
    }

    /// Before it is over no run goes. `None`: none ever goes.
    fn shortest(&self) -> Option<Duration> {
        self.of.values().copied().chain(self.all).min()
    }
}

impl Host {
    /// Removes a run that has ended, for good: journal, values, log lines and its idempotency key, which may
    /// start another run from then on.
    ///
    /// # Errors
    /// `RunOpen` if it has not ended, or if another run still needs it: the one that started it and has not read its end,
    /// one that was restarted from it a moment ago.
    pub async fn remove(&self, run: RunId) -> Result<()> {
        let open = |why: String, hint: &str| Err(Error::new(Code::RunOpen, why).hint(hint));
        let status = self.head(run).await?.status;
        if !status.has_ended() {
            let hint =
                format!("`trackway runs cancel {run}` ends it in order, `trackway runs terminate {run}` at once");
            return open(format!("run {run} is {}", status.name()), &hint);
        }
        if let Some(parent) = self.waits_for_end_of(self.key_of(run)).await? {
            let why = format!("run {parent} started run {run} and has not read its end");
            return open(why, "try again when it has; if it is paused or stuck, look after it first");
        }
        match self.worker.remove(self.key_of(run)).await? {
            Removal::Done(Removed::Gone) => {
                tracing::info!(%run, "removed");
                Ok(())
            }
            Removal::Done(Removed::NoSuchRun) => Err(views::no_such_run(&run.to_string())),
            Removal::Done(Removed::Open) => open(format!("run {run} is just ending"), "try again"),
            Removal::Needed(fork) => {
                open(format!("run {fork} was restarted from run {run} and is copying what it keeps"), "try again")
            }
        }
    }

    /// The run that started this one, if it has yet to read how this one ended.
    async fn waits_for_end_of(&self, child: RunKey) -> Result<Option<RunId>> {
        let mut first = Vec::new();
        for place in [Position::FIRST, Position::FIRST.plus(1)] {
            if first.len() as u64 > place.0 {
                break;
            }
            for stored in self.storage.frames(child, place, 1).await? {
                // One that cannot be read can be removed all the same.
                first.extend(Frame::decode(&stored.frame).map(|frame| frame.entries).unwrap_or_default());
            }
        }
        let Some(Kind::ChildOf(of)) = first.into_iter().nth(1).map(|entry| entry.kind) else { return Ok(None) };
        let parent = RunKey { run: of.parent, ..child };
        let tells = |body: &InboxBody| matches!(body, InboxBody::ChildEnded { run, .. } if *run == child.run);
        let waits = self.storage.inbox(parent).await?.iter().any(|item| tells(&item.body));
        Ok(waits.then_some(of.parent))
    }

    /// Removes every run that was kept long enough, now and from here on, until the host stops.
    pub async fn keep_finished(self: Arc<Self>, keep: Retention) {
        let Some(shortest) = keep.shortest() else { return };
        let pause = (shortest / LOOK_PARTS).clamp(LOOK_AFTER_MIN, LOOK_AFTER_MAX);
        while !self.is_stopping() {
            match self.remove_finished(&keep).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "removed runs that were kept long enough"),
                Err(error) => tracing::warn!(%error, "runs that were kept long enough cannot be removed; tried again"),
            }
            self.clock.sleep_until(self.clock.now() + pause).await;
        }
    }

    /// Of all tenants. Answers how many were removed.
    pub async fn remove_finished(&self, keep: &Retention) -> Result<u64> {
        let Some(shortest) = keep.shortest() else { return Ok(0) };
        let mut count = 0;
        for tenant in self.storage.tenants().await? {
            count += self.of(tenant).remove_finished_here(keep, shortest).await?;
        }
        Ok(count)
    }

    async fn remove_finished_here(&self, keep: &Retention, shortest: Duration) -> Result<u64> {
        let now = self.clock.now();
        let before = |keep: Duration| {
            let keep_us = u64::try_from(keep.as_micros()).unwrap_or(u64::MAX);
            Timestamp(now.0.saturating_sub(keep_us))
        };
        let (mut after, mut count) = (None, 0);
        loop {
            let runs = self.storage.runs(self.tenant, after, PAGE_RUNS).await?;
            let Some(last) = runs.last() else { return Ok(count) };
            after = Some(*last);
            let (mut over, mut is_last) = (Vec::new(), false);
            for run in runs {
                let head = match self.storage.head(self.key_of(run)).await {
                    Err(error) => {
                        cannot_be_removed(run, &error.into())?;
                        continue;
                    }
                    Ok(None) => continue,
                    Ok(Some(head)) => head,
                };
                // In the order in which they began: no later one has ended before.
                if head.started > before(shortest) || self.is_stopping() {
                    is_last = true;
                    break;
                }
                let is_over = keep.of(&head).zip(head.finished).is_some_and(|(keep, end)| end <= before(keep));
                if head.status.has_ended() && is_over {
                    over.push(run);
                }
            }
            count += self.remove_all(over).await?;
            if is_last {
                return Ok(count);
            }
        }
    }

    /// As many of them as can go. Answers how many went.
    async fn remove_all(&self, runs: Vec<RunId>) -> Result<u64> {
        let removals: Vec<_> = runs.into_iter().map(|run| async move { (run, self.remove(run).await) }).collect();
        let removed: Vec<_> = stream::iter(removals).buffer_unordered(REMOVED_AT_ONCE).collect().await;
        let mut count = 0;
        for (run, removed) in removed {
            match removed {
                Ok(()) => count += 1,
                Err(error) if matches!(error.code, Code::RunOpen | Code::NoSuchRun) => {}
                Err(error) => cannot_be_removed(run, &error)?,
            }
        }
        Ok(count)
    }
}

/// What is wrong with one run is said, and the others go on.
///
/// # Errors
/// What concerns them all.
fn cannot_be_removed(run: RunId, error: &Error) -> Result<()> {
    if !matches!(error.code, Code::DataDamaged | Code::JournalUnreadable) {
        return Err(error.clone());
    }
    tracing::warn!(%run, %error, "the run was kept long enough and cannot be removed; see `trackway doctor --deep`");
    Ok(())
}
