//! Room for what is said to a run, and a place beside its journal for what is large of it. It refuses nothing that ends,
//! holds or lets go a run: that does not come through here.

use bytes::Bytes;
use std::sync::Arc;
use trackway_replay::{RunId, Value};
use trackway_storage::{INBOX_MAX, InboxItem};

use super::{Host, inbox_full};
use crate::Result;
use crate::quota::{Crossing, Quota};

impl Host {
    /// Looks whether the tenant may store a message, and puts a large value on its way into an inbox beside the journal,
    /// where it stays as long as the run; before that it is seen whether there is room for what names it.
    ///
    /// # Errors
    /// `StorageQuotaExceeded`, by the name of the quota. What is in the journals counts, and of what no journal has yet
    /// the large values that this run has not read.
    pub(super) async fn bring(&self, run: RunId, value: &Value, text: &Arc<str>) -> Result<()> {
        let limits = self.worker.limits(self.tenant).await?;
        let now = self.clock.now();
        refuse(limits.crossed(&[Quota::JournalBytes], now))?;
        let Value::Stored { digest, size_bytes } = value else { return Ok(()) };
        let unread = self.storage.inbox(self.key_of(run)).await?;
        if unread.iter().filter(|item| item.body.is_message()).count() >= INBOX_MAX {
            return Err(inbox_full(run));
        }
        refuse(limits.crossed_by(Quota::PayloadBytes, unread_beside(&unread), *size_bytes, now))?;
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        Ok(self.storage.put_payload(self.key_of(run), *digest, bytes).await?)
    }

    /// Before something is stored by request that is no run's.
    pub(super) async fn refuse_over_storage(&self) -> Result<()> {
        let limits = self.worker.limits(self.tenant).await?;
        refuse(limits.crossed(&[Quota::JournalBytes, Quota::PayloadBytes], self.clock.now()))
    }
}

fn refuse(crossing: Option<Crossing>) -> Result<()> {
    crossing.map_or(Ok(()), |crossing| Err(crossing.error()))
}

/// Bytes beside the journal that no journal names yet.
fn unread_beside(unread: &[InboxItem]) -> u64 {
    unread.iter().filter_map(|item| item.body.value()).map(Value::stored_bytes).sum()
}
