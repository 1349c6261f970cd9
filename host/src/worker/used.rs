//! What runs use, on its way into the sums of their tenant: counted entry by entry, kept until a frame brings other rows
//! along anyway, and written with that. What a process that died had not written is counted again from the journal.

use std::collections::BTreeMap;
use std::sync::Arc;
use trackway_replay::{Day, Entry, Frame, Meter, Position, TenantId, Used};
use trackway_storage::{
    Landmark, LogLine, RunKey, Shelf, Storage, StorageErrorKind, USAGE_TOTAL, UsedByDay, usage_name,
};

use super::Core;
use super::load::read_journal;
use super::write::Written;
use crate::quota::{Starting, TenantLimits};
use crate::{Code, Result};

/// Frames that bring nothing else in a row: then one brings what they used, so that not much is counted again.
const FRAMES_MAX: u32 = 64;
/// Read in pieces of this size.
const READ_MAX_BYTES: usize = 4 << 20;

/// What a run used that no frame has brought yet.
pub(super) struct Counted {
    limits: Arc<TenantLimits>,
    meter: Meter,
    waiting: BTreeMap<Day, Used>,
    /// On its way with a frame. It stays counted where nobody learns what became of that.
    sent: UsedByDay,
    frames: u32,
    /// Until the first frame is counted.
    starting: Option<Starting>,
    /// It stands with the run how far it is counted.
    is_marked: bool,
}

impl Counted {
    /// Of a run that begins.
    pub fn starting(starting: Starting) -> Counted {
        let limits = starting.limits().clone();
        let mut counted = Counted::after(limits, CaughtUp::default());
        counted.starting = Some(starting);
        counted
    }

    /// Of a run whose journal cannot be read: what was counted of it before stays as it is.
    pub fn unknown(limits: Arc<TenantLimits>) -> Counted {
        Counted::after(limits, CaughtUp { meter: Meter::default(), waiting: BTreeMap::new(), is_marked: true })
    }

    /// Of a run that goes on, and what its frames used that none of them brought.
    pub fn after(limits: Arc<TenantLimits>, caught_up: CaughtUp) -> Counted {
        let CaughtUp { meter, waiting, is_marked } = caught_up;
        waiting.iter().for_each(|(day, used)| limits.ledger().add(*day, used));
        Counted { limits, meter, waiting, sent: Vec::new(), frames: 0, starting: None, is_marked }
    }

    pub fn limits(&self) -> &Arc<TenantLimits> {
        &self.limits
    }

    /// Counts a frame that is about to be written.
    pub fn frame(&mut self, entries: &[Entry], frame_bytes: usize, lines: &[LogLine]) {
        self.frames += 1;
        let mut sums = used_by_lines(lines);
        for entry in entries {
            add_to(&mut sums, Day::of(entry.time), &self.meter.count(entry));
        }
        if let Some(last) = entries.last() {
            let journal_bytes = frame_bytes as u64;
            add_to(&mut sums, Day::of(last.time), &Used { journal_bytes, ..Used::default() });
        }
        for (day, used) in sums {
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
        let brought: UsedByDay = std::mem::take(&mut self.waiting).into_iter().collect();
        self.sent.extend_from_slice(&brought);
        brought
    }

    /// Whether the frame that brings something says how far that is counted. Nobody goes on with a run that has ended, but
    /// whoever removes it has to know whether it was counted at all.
    pub fn marks(&mut self, ends: bool) -> bool {
        !std::mem::replace(&mut self.is_marked, true) || !ends
    }

    /// What became of the frame that brought it.
    pub fn went(&mut self, written: &Written) {
        match written {
            Written::UpTo(_) => self.sent.clear(),
            // It may stand all the same, and nobody here goes on to learn whether it does.
            Written::GaveUp | Written::Lines(_) => {}
            Written::Fenced | Written::KeyTaken(_) | Written::Refused(_) => {
                for (day, used) in std::mem::take(&mut self.sent) {
                    self.limits.ledger().take_back(day, &used);
                }
            }
        }
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
        match self.starting.take() {
            Some(starting) => starting.counted(day, used),
            None => self.limits.ledger().add(day, used),
        }
        self.waiting.entry(day).or_default().add(used);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Of few days: most frames are of one.
fn add_to(sums: &mut UsedByDay, day: Day, used: &Used) {
    match sums.iter_mut().find(|(of, _)| *of == day) {
        Some((_, sum)) => sum.add(used),
        None => sums.push((day, *used)),
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

/// One that cannot be read counts anew: no run waits for a number.
async fn sum(storage: &dyn Storage, tenant: TenantId, name: &str) -> Result<Used> {
    let body = match storage.record(tenant, Shelf::Usage, name).await {
        Ok(None) => return Ok(Used::default()),
        Ok(Some(record)) => Some(record.body),
        Err(error) if error.kind == StorageErrorKind::Damaged => None,
        Err(error) => return Err(error.into()),
    };
    Ok(body.and_then(|body| Used::decode(&body)).unwrap_or_else(|| {
        let code = Code::DataDamaged.text();
        tracing::error!(%tenant, code, "the sum `{name}` of what a tenant used cannot be read: it is counted anew");
        Used::default()
    }))
}

/// What a run comes to that goes on.
#[derive(Default)]
pub(super) struct CaughtUp {
    meter: Meter,
    /// What its frames used that none of them brought.
    waiting: BTreeMap<Day, Used>,
    is_marked: bool,
}

/// `entries`: of its stretch, whose first one stands at `begun`.
pub(super) async fn catch_up(core: &Core, key: RunKey, entries: &[Entry], begun: Position) -> Result<CaughtUp> {
    let counted = core.storage.landmark(key, Landmark::Metered).await?;
    let mut next = counted.map_or(Position::FIRST, |place| place.plus(1));
    let whole;
    let mut before = entries;
    if next <= begun && begun != Position::FIRST {
        match read_journal(&*core.storage, key).await {
            Ok(journal) => {
                whole = journal.entries;
                before = &whole;
            }
            // The run goes on without what stood before its stretch, and so does the count.
            Err(error) if matches!(error.code, Code::JournalUnreadable | Code::DataDamaged) => {
                tracing::warn!(run = %key.run, %error, "what the run used before cannot be counted");
                next = begun;
            }
            Err(error) => return Err(error),
        }
    }
    let mut meter = Meter::default();
    let (of_before, behind) = before.split_at(before.partition_point(|entry| entry.position < next));
    of_before.iter().for_each(|entry| _ = meter.count(entry));
    let mut waiting: BTreeMap<Day, Used> = BTreeMap::new();
    for entry in behind {
        waiting.entry(Day::of(entry.time)).or_default().add(&meter.count(entry));
    }
    let mut from = next;
    // How long frames are is known to the store alone.
    while behind.last().is_some_and(|last| last.position >= from) {
        let frames = core.storage.frames(key, from, READ_MAX_BYTES).await?;
        if frames.is_empty() {
            break;
        }
        for stored in frames {
            from = stored.position.plus(u64::from(stored.entries));
            let its = &behind[..behind.partition_point(|entry| entry.position < from)];
            if let Some(last) = its.last() {
                let journal_bytes = stored.frame.len() as u64;
                waiting.entry(Day::of(last.time)).or_default().add(&Used { journal_bytes, ..Used::default() });
            }
        }
    }
    Ok(CaughtUp { meter, waiting, is_marked: counted.is_some() })
}

/// What a run that is removed had in the store, as far as it was counted: one that ended before anything was is not in
/// the sums.
pub(super) async fn removed(storage: &dyn Storage, key: RunKey, day: Day) -> Result<UsedByDay> {
    if storage.landmark(key, Landmark::Metered).await?.is_none() {
        return Ok(Vec::new());
    }
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
