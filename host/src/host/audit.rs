//! The audit log: who did what, when, from where, and what came of it, of everything that is changed by request. Lines
//! of one tenant stand on its own shelf, in the order in which they were done. It never holds what was sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use trackway_replay::{TenantId, Timestamp};
use trackway_storage::{Record, Shelf};

use super::Host;
use super::tenants::TenantState;
use crate::{Code, Error, Result};

/// Lines that are written later together: with more than these whoever adds one writes them.
const WAITING_MAX: usize = 1_000;
/// Of one record, which holds several lines.
const LINES_MAX_BYTES: usize = 32 << 10;
/// A path holds ids and names; a longer one is cut.
const WHAT_MAX_BYTES: usize = 512;
/// A page of what is read.
pub const AUDIT_PAGE_MAX: usize = 1_000;
/// Records of one tenant: the oldest make room, so that nobody fills the disk by being audited. About a million lines of
/// a busy tenant.
const RECORDS_MAX: usize = 100_000;
/// Between two looks for what was kept long enough.
const TRIM_EVERY: Duration = Duration::from_secs(3_600);
const TRIM_PAGE: usize = 1_000;
/// How long a line that is not written at once may wait.
pub const AUDIT_FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Another record has the name: two lines of one microsecond, before and after a restart.
const NAMES_TRIED_MAX: u32 = 8;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    pub time: Timestamp,
    /// `operator`, the id of a key, or issuer and subject of a token.
    pub who: String,
    /// Name of the key, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Method and path.
    pub what: String,
    /// The HTTP status that was answered.
    pub status: u16,
    /// The code of the error, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Whether the answer waits for the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Written together with others, half a second later at most.
    Light,
    /// Durable before the answer leaves.
    Heavy,
}

/// A part of the log.
#[derive(Debug, Clone, Default)]
pub struct AuditPage {
    pub lines: Vec<AuditLine>,
    /// Where the next page begins, if there may be one.
    pub next: Option<String>,
}

#[derive(Default)]
pub(super) struct Audit {
    waiting: Mutex<BTreeMap<TenantId, Vec<AuditLine>>>,
    /// So that lines are written in the order in which they came.
    writing: tokio::sync::Mutex<()>,
    count: AtomicU64,
}

impl Audit {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Vec<AuditLine>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Adds a line to the log of this tenant.
    pub async fn audit(&self, line: AuditLine, weight: Weight) -> Result<()> {
        let count = self.audit_later(line);
        match weight {
            Weight::Light if count < WAITING_MAX => Ok(()),
            Weight::Light | Weight::Heavy => self.flush_audit().await,
        }
    }

    /// Adds a line that is written with others. Answers how many wait.
    pub fn audit_later(&self, line: AuditLine) -> usize {
        let what = super::cut(&line.what, WHAT_MAX_BYTES).to_owned();
        let mut waiting = self.audit.lock();
        waiting.entry(self.tenant).or_default().push(AuditLine { what, ..line });
        waiting.values().map(Vec::len).sum()
    }

    /// Writes all lines that wait.
    pub async fn flush_audit(&self) -> Result<()> {
        // In a task of its own: whoever asked may go away in the middle, and the lines are not its own alone.
        let host = self.of(self.tenant);
        let written = tokio::spawn(async move { host.write_audit().await });
        written.await.unwrap_or_else(|error| Err(Error::new(Code::Internal, format!("writing the audit log: {error}"))))
    }

    async fn write_audit(&self) -> Result<()> {
        let _writing = self.audit.writing.lock().await;
        // Before the lines are taken: where it cannot be read, they wait on.
        let directory = self.directory().await?;
        let waiting = std::mem::take(&mut *self.audit.lock());
        let mut failed = None;
        for (tenant, lines) in waiting {
            let there = directory.tenant_of(tenant);
            if there.is_none_or(|tenant| tenant.state == TenantState::Deleting) {
                // With the tenant goes its log.
                continue;
            }
            if let Err(error) = self.write_lines(tenant, lines).await {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn write_lines(&self, tenant: TenantId, lines: Vec<AuditLine>) -> Result<()> {
        let records = records_of(lines)?;
        // All at once: they become durable together.
        let puts: Vec<_> = records.iter().map(|record| self.put_audit(tenant, record)).collect();
        let mut failed = None;
        for (put, record) in futures_util::future::join_all(puts).await.into_iter().zip(&records) {
            if let Err(error) = put {
                tracing::error!(%error, lines = %String::from_utf8_lossy(&record.body), "not in the audit log");
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn put_audit(&self, tenant: TenantId, lines: &Lines) -> Result<()> {
        for _ in 0..NAMES_TRIED_MAX {
            let count = self.audit.count.fetch_add(1, Ordering::Relaxed);
            let name = format!("{:020}-{count:06}", lines.first.0).into();
            let record = Record { name, revision: 1, body: lines.body.clone() };
            if self.storage.put_record(tenant, Shelf::Audit, record).await? {
                return Ok(());
            }
        }
        Err(Error::new(Code::Internal, "no name was free for a record of the audit log"))
    }

    /// Lines of this tenant from `since` on, the oldest first; `after`: the `next` of the page before.
    pub async fn audit_log(&self, since: Option<Timestamp>, after: Option<&str>, max: usize) -> Result<AuditPage> {
        self.flush_audit().await?;
        // A record has the time of its first line; those of one record are of half a second.
        let since_name = since.map(|since| format!("{:020}", since.0.saturating_sub(2 * flush_us())));
        let mut after = after.map(str::to_owned).or(since_name);
        let mut page = AuditPage::default();
        while page.lines.len() < max {
            let records = self.storage.records(self.tenant, Shelf::Audit, after.as_deref(), TRIM_PAGE).await?;
            let is_last = records.len() < TRIM_PAGE;
            for record in records {
                let lines: Vec<AuditLine> = serde_json::from_slice(&record.body).map_err(|error| {
                    Error::new(Code::DataDamaged, format!("audit record `{}` cannot be read: {error}", record.name))
                })?;
                page.lines.extend(lines.into_iter().filter(|line| since.is_none_or(|since| line.time >= since)));
                after = Some(record.name.to_string());
                // Records are taken as wholes, so a page may be a little longer.
                if page.lines.len() >= max {
                    page.next = after;
                    return Ok(page);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(page)
    }

    /// Writes what waits, and removes what was kept long enough, until the host stops.
    pub async fn keep_audit(&self, keep: Duration) {
        let mut trimmed: Option<Timestamp> = None;
        while !self.is_stopping() {
            // What went wrong was said, with the lines.
            let _ = self.flush_audit().await;
            let now = self.clock.now();
            if trimmed.is_none_or(|last| now.since(last) >= TRIM_EVERY) {
                trimmed = Some(now);
                if let Err(error) = self.trim_audit(keep).await {
                    tracing::warn!(%error, "old lines of the audit log cannot be removed; tried again");
                }
            }
            self.clock.sleep_until(self.clock.now() + AUDIT_FLUSH_EVERY).await;
        }
        let _ = self.flush_audit().await;
    }

    /// Of all tenants, also where one of them cannot be read. Answers how many records were removed.
    pub async fn trim_audit(&self, keep: Duration) -> Result<u64> {
        let keep_us = u64::try_from(keep.as_micros()).unwrap_or(u64::MAX);
        let before = format!("{:020}", self.clock.now().0.saturating_sub(keep_us));
        let directory = self.directory().await?;
        // What is left of its log goes with the tenant, and its key has gone before.
        let is_being_deleted =
            |tenant| directory.tenant_of(tenant).is_none_or(|tenant| tenant.state == TenantState::Deleting);
        let (mut count, mut failed) = (0, None);
        for tenant in self.storage.tenants().await? {
            match self.trim_audit_of(tenant, &before, RECORDS_MAX).await {
                Ok(trimmed) => count += trimmed,
                Err(_) if is_being_deleted(tenant) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(count), Err)
    }

    async fn trim_audit_of(&self, tenant: TenantId, before: &str, records_max: usize) -> Result<u64> {
        let mut names = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let records = self.storage.records(tenant, Shelf::Audit, after.as_deref(), TRIM_PAGE).await?;
            let Some(last) = records.last() else { break };
            after = Some(last.name.to_string());
            names.extend(records.into_iter().map(|record| (record.name, record.revision)));
        }
        let over = names.len().saturating_sub(records_max);
        let old = names.iter().take_while(|(name, _)| &**name < before).count().max(over);
        let old_names = names[..old].iter();
        let removals: Vec<_> = old_names
            .map(|(name, revision)| self.storage.remove_record(tenant, Shelf::Audit, name, *revision))
            .collect();
        futures_util::future::try_join_all(removals).await?;
        Ok(old as u64)
    }
}

fn flush_us() -> u64 {
    u64::try_from(AUDIT_FLUSH_EVERY.as_micros()).unwrap_or(u64::MAX)
}

/// Lines of one record, as they are written.
struct Lines {
    first: Timestamp,
    body: Bytes,
}

fn records_of(lines: Vec<AuditLine>) -> Result<Vec<Lines>> {
    let mut records = Vec::new();
    let mut body = String::new();
    let mut first = None;
    for line in lines {
        let text = serde_json::to_string(&line)
            .map_err(|error| Error::new(Code::Internal, format!("a line of the audit log: {error}")))?;
        if let Some(first) = first.filter(|_| body.len() + text.len() > LINES_MAX_BYTES) {
            records.push(Lines { first, body: Bytes::from(format!("[{body}]")) });
            body.clear();
        }
        if body.is_empty() {
            first = Some(line.time);
        } else {
            body.push(',');
        }
        body.push_str(&text);
    }
    if let Some(first) = first.filter(|_| !body.is_empty()) {
        records.push(Lines { first, body: Bytes::from(format!("[{body}]")) });
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
