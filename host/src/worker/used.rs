//! What runs use, on its way into the sums of their tenant: counted entry by entry, kept until a frame brings other rows
//! along anyway, and written with that. What a process that died had not written is counted again from the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use trackway_replay::{Day, Entry, Frame, Meter, Position, TenantId, Used};
use trackway_storage::{Landmark, LogLine, RunKey, Shelf, Storage, USAGE_TOTAL, UsedByDay, usage_name};

use super::Core;
use super::load::read_journal;
use crate::quota::TenantLimits;
use crate::{Code, Error, Result};

/// Frames that bring nothing else in a row: then one brings what they used, so that not much is counted again.
const FRAMES_MAX: u32 = 64;
/// Read in pieces of this size.
const READ_MAX_BYTES: usize = 4 << 20;

/// What a run used that no frame has brought yet.
pub(super) struct Counted {
    limits: Arc<TenantLimits>,
    meter: Meter,
    waiting: BTreeMap<Day, Used>,
    frames: u32,
}

impl Counted {
    /// Of a run that begins.
    pub fn new(limits: Arc<TenantLimits>) -> Counted {
        Counted { limits, meter: Meter::default(), waiting: BTreeMap::new(), frames: 0 }
    }

    /// Of a run that goes on after `entries`, and what its frames used that none of them brought.
    pub fn after(limits: Arc<TenantLimits>, meter: Meter, waiting: BTreeMap<Day, Used>) -> Counted {
        waiting.iter().for_each(|(day, used)| limits.ledger().add(*day, used));
        Counted { limits, meter, waiting, frames: 0 }
    }

    pub fn limits(&self) -> &Arc<TenantLimits> {
        &self.limits
    }

    /// Counts a frame that is about to be written.
    pub fn frame(&mut self, entries: &[Entry], frame_bytes: usize, lines: &[LogLine]) {
        self.frames += 1;
        for entry in entries {
            let used = self.meter.count(entry);
            self.add(Day::of(entry.time), &used);
        }
        if let Some(last) = entries.last() {
            let journal_bytes = frame_bytes as u64;
            self.add(Day::of(last.time), &Used { journal_bytes, ..Used::default() });
        }
        for (day, used) in used_by_lines(lines) {
            self.add(day, &used);
        }
    }

    /// Lines that stand without a frame.
    pub fn lines(&self, lines: &[LogLine]) {
        for (day, used) in used_by_lines(lines) {
            self.limits.ledger().add(day, &used);
        }
    }

    /// What the next frame brings, where it may as well.
    pub fn bring(&mut self, brings_others: bool) -> UsedByDay {
        if !brings_others && self.frames < FRAMES_MAX {
            return Vec::new();
        }
        self.frames = 0;
        std::mem::take(&mut self.waiting).into_iter().collect()
    }

    /// The run is let go of: whoever goes on with it counts again what no frame brought.
    pub fn give_back(&mut self) {
        for (day, used) in std::mem::take(&mut self.waiting) {
            self.limits.ledger().take_back(day, &used);
        }
    }

    fn add(&mut self, day: Day, used: &Used) {
        if used.is_nothing() {
            return;
        }
        self.limits.ledger().add(day, used);
        self.waiting.entry(day).or_default().add(used);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What lines take in the store, by the day.
pub(super) fn used_by_lines(lines: &[LogLine]) -> UsedByDay {
    let mut used: UsedByDay = Vec::new();
    for line in lines {
        let (day, log_bytes) = (Day::of(line.time), (line.message.len() + line.fields.len()) as u64);
        match used.last_mut().filter(|(of, _)| *of == day) {
            Some((_, sum)) => sum.log_bytes += log_bytes,
            None => used.push((day, Used { log_bytes, ..Used::default() })),
        }
    }
    used
}

/// A tenant's limits, with what it has used as the store knows it.
pub(super) async fn limits_of(core: &Core, tenant: TenantId) -> Result<Arc<TenantLimits>> {
    let limits = core.quotas.of(tenant);
    let (storage, now) = (&*core.storage, core.clock.now());
    let read = async {
        let day = Day::of(now);
        let total = sum(storage, tenant, USAGE_TOTAL).await?;
        Ok((total, day, sum(storage, tenant, &usage_name(day)).await?))
    };
    limits.ledger().load(read).await?;
    Ok(limits)
}

async fn sum(storage: &dyn Storage, tenant: TenantId, name: &str) -> Result<Used> {
    let Some(record) = storage.record(tenant, Shelf::Usage, name).await? else { return Ok(Used::default()) };
    let unreadable = || Error::new(Code::DataDamaged, format!("the sum `{name}` of what a tenant used cannot be read"));
    Used::decode(&record.body).ok_or_else(unreadable)
}

/// What a run comes to that goes on. `entries`: of its stretch, whose first one stands at `begun`.
pub(super) async fn catch_up(
    core: &Core,
    key: RunKey,
    entries: &[Entry],
    begun: Position,
) -> Result<(Meter, BTreeMap<Day, Used>)> {
    let counted = core.storage.landmark(key, Landmark::Metered).await?;
    let next = counted.map_or(Position::FIRST, |place| place.plus(1));
    let whole;
    let before = if next > begun || begun == Position::FIRST {
        entries
    } else {
        whole = read_journal(&*core.storage, key).await?.entries;
        &whole
    };
    let mut meter = Meter::default();
    before.iter().filter(|entry| entry.position < next).for_each(|entry| _ = meter.count(entry));
    let mut waiting: BTreeMap<Day, Used> = BTreeMap::new();
    let mut from = next;
    if before.last().is_some_and(|last| last.position >= next) {
        loop {
            let frames = core.storage.frames(key, from, READ_MAX_BYTES).await?;
            if frames.is_empty() {
                break;
            }
            for stored in frames {
                from = stored.position.plus(u64::from(stored.entries));
                let bad = |error| Error::new(Code::JournalUnreadable, format!("run {}: {error}", key.run));
                let entries = Frame::decode(&stored.frame).map_err(bad)?.entries;
                for entry in &entries {
                    waiting.entry(Day::of(entry.time)).or_default().add(&meter.count(entry));
                }
                if let Some(last) = entries.last() {
                    let journal_bytes = stored.frame.len() as u64;
                    let used = Used { journal_bytes, ..Used::default() };
                    waiting.entry(Day::of(last.time)).or_default().add(&used);
                }
            }
        }
    }
    Ok((meter, waiting))
}

/// What a run that is removed had in the store.
pub(super) async fn removed(storage: &dyn Storage, key: RunKey, day: Day) -> Result<UsedByDay> {
    let (mut meter, mut used) = (Meter::default(), Used::default());
    let mut from = Position::FIRST;
    loop {
        let frames = storage.frames(key, from, READ_MAX_BYTES).await?;
        if frames.is_empty() {
            return Ok(vec![(day, used)]);
        }
        for stored in frames {
            from = stored.position.plus(u64::from(stored.entries));
            used.journal_bytes_removed += stored.frame.len() as u64;
            // One that cannot be read can be removed all the same.
            let entries = Frame::decode(&stored.frame).map(|frame| frame.entries).unwrap_or_default();
            used.payload_bytes_removed += entries.iter().map(|entry| meter.count(entry).payload_bytes).sum::<u64>();
        }
    }
}
