//! What a tenant of a store that is made of a backup has used. The sums were read before the runs, which went on
//! meanwhile: so what is open and stored is counted from the runs themselves, and the rest is what the sums say. It
//! counts no day anew.

use trackway_replay::{Entry, Meter, TenantId, Used};
use trackway_storage::{Record, Shelf, SledStorage, Storage, USAGE_TOTAL};

use crate::Result;

/// The revision of a sum that nobody has written before.
const FIRST: u64 = 1;

/// Of one run.
#[derive(Default)]
pub(super) struct Stored {
    meter: Meter,
    journal_bytes: u64,
    payload_bytes: u64,
}

impl Stored {
    pub fn frame(&mut self, entries: &[Entry], frame_bytes: usize) {
        self.journal_bytes += frame_bytes as u64;
        self.payload_bytes += entries.iter().map(|entry| self.meter.count(entry).payload_bytes).sum::<u64>();
    }
}

/// Of one tenant.
#[derive(Default)]
pub(super) struct Usage {
    /// As the backup says it.
    total: Used,
    runs_open: u64,
    journal_bytes: u64,
    payload_bytes: u64,
}

impl Usage {
    /// The sum of all days. One that cannot be read counts anew.
    pub fn total(&mut self, body: &[u8]) {
        self.total = Used::decode(body).unwrap_or_default();
    }

    pub fn run(&mut self, stored: &Stored, is_open: bool) {
        self.runs_open += u64::from(is_open);
        self.journal_bytes += stored.journal_bytes;
        self.payload_bytes += stored.payload_bytes;
    }

    /// All of the tenant was read.
    pub async fn put(self, storage: &SledStorage, tenant: TenantId) -> Result<()> {
        let total = self.sum();
        if !total.is_nothing() {
            let record = Record { name: USAGE_TOTAL.into(), revision: FIRST, body: total.encode().into() };
            storage.put_record(tenant, Shelf::Usage, record).await?;
        }
        Ok(())
    }

    fn sum(&self) -> Used {
        let was = &self.total;
        let runs_started = was.runs_started.max(self.runs_open);
        let journal_bytes = was.journal_bytes.max(self.journal_bytes);
        let payload_bytes = was.payload_bytes.max(self.payload_bytes);
        Used {
            runs_started,
            runs_ended: runs_started - self.runs_open,
            journal_bytes,
            journal_bytes_removed: journal_bytes - self.journal_bytes,
            payload_bytes,
            payload_bytes_removed: payload_bytes - self.payload_bytes,
            ..*was
        }
    }
}

#[cfg(test)]
mod tests;
