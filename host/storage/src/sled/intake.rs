//! Which requests go into the next batch. A tenant alone fills it with what it has; where there are several, batches are
//! small and each has its turn, so that nobody waits for what another one writes. It must never carry anything out, and
//! never let a tenant's own requests pass each other.

use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use trackway_fair::{Queue, Weights};
use trackway_replay::{TenantId, Value};

use super::committer::{Request, Verb};
use super::draft::Draft;
use super::payload::PayloadRow;
use super::shared::closed;
use crate::{EntityRestore, InboxBody, LogLine, StorageError};

#[cfg(test)]
mod tests;

/// In one batch: more would make the first of them wait for the last.
const BATCH_VERBS_MAX: usize = 512;
/// Of frames and payloads in one batch.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// While there are several tenants: whoever comes when a batch has just begun waits for all of it. So a batch takes no
/// longer to make than to flush, as far as it may be smaller; where flushes are slow it may be large.
const SHARED_BATCH_COST_MAX: u64 = 256 << 10;
const SHARED_BATCH_COST_MIN: u64 = 32 << 10;
/// What a request costs beside its bytes: rows, indices and an answer.
const VERB_COST: usize = 2 << 10;
/// So many bytes of a request cost what they are; each beyond costs several times as much, since a flush takes longer with
/// them: a batch of several tenants has no more than one part of a large value, if it is at least 23 KiB.
const SMALL_BYTES: usize = 2 << 10;
const BULK_COST: usize = 12;
/// What a line of a log costs beside its text.
const LINE_COST: usize = 128;
/// Taken in before a batch is made, so that it is made however quickly others come.
const TAKEN_IN_MAX: usize = 4_096;
/// Tenants count as several for so long after the last two that followed each other. Small batches cost little.
const SHARED_FOR: Duration = Duration::from_secs(10);

/// What ends a batch.
pub(super) enum Next {
    Go,
    /// Everything that came before has been done.
    Close(oneshot::Sender<Result<(), StorageError>>),
    Stop,
}

pub(super) struct Intake {
    requests: mpsc::Receiver<Request>,
    weights: Weights,
    waiting: Queue<TenantId, Verb>,
    /// Whose request came last.
    last: Option<TenantId>,
    /// When one tenant last followed another.
    met: Option<Instant>,
    /// Came behind all that waits.
    closing: Option<oneshot::Sender<Result<(), StorageError>>>,
    shared_cost_max: u64,
    /// Since when a batch of several tenants is made.
    making: Option<Instant>,
}

impl Intake {
    pub fn new(requests: mpsc::Receiver<Request>, weights: Weights) -> Intake {
        Intake {
            requests,
            weights,
            waiting: Queue::default(),
            last: None,
            met: None,
            closing: None,
            shared_cost_max: SHARED_BATCH_COST_MAX,
            making: None,
        }
    }

    /// The batch is durable and answered; so much of the time the flush took.
    pub fn done(&mut self, flushing: Duration) {
        if let Some(making) = self.making.take() {
            self.adapt(making.elapsed().saturating_sub(flushing), flushing);
        }
    }

    fn adapt(&mut self, making: Duration, flushing: Duration) {
        let next = if making > flushing { self.shared_cost_max / 2 } else { self.shared_cost_max * 2 };
        self.shared_cost_max = next.clamp(SHARED_BATCH_COST_MIN, SHARED_BATCH_COST_MAX);
    }

    /// Waits for something to do, and hands it to `draft`.
    pub fn fill(&mut self, draft: &mut Draft) -> Next {
        let mut verbs = 0;
        // Who is alone needs no queue: its requests come in order.
        while self.waiting.is_empty() && self.closing.is_none() {
            let request = if verbs == 0 { self.requests.recv().ok() } else { self.requests.try_recv().ok() };
            match request {
                Some(Request::Do(verb)) => {
                    let is_shared = self.is_shared(verb.tenant());
                    verbs += 1;
                    if is_shared {
                        self.put(verb, draft);
                        break;
                    }
                    draft.take(verb);
                    if verbs == BATCH_VERBS_MAX || draft.size_bytes() >= BATCH_BYTES_MAX {
                        return Next::Go;
                    }
                }
                Some(Request::Close(answer)) => return Next::Close(answer),
                Some(Request::Stop) => return Next::Stop,
                // Nobody is left who could ask.
                None if verbs == 0 => return Next::Stop,
                None => return Next::Go,
            }
        }
        if self.drain(draft).is_err() {
            return Next::Stop;
        }
        self.making = Some(Instant::now());
        let mut left = self.shared_cost_max;
        while left > 0
            && let Some((_, verb)) = self.waiting.pop(|tenant| self.weights.of(tenant))
        {
            left = left.saturating_sub(cost(&verb));
            draft.take(verb);
        }
        match self.closing.take_if(|_| self.waiting.is_empty()) {
            Some(answer) => Next::Close(answer),
            None => Next::Go,
        }
    }

    /// Takes in what has come. An error: it is to stop at once.
    fn drain(&mut self, draft: &mut Draft) -> Result<(), ()> {
        for _ in 0..TAKEN_IN_MAX {
            if self.closing.is_some() {
                return Ok(());
            }
            let Ok(request) = self.requests.try_recv() else { return Ok(()) };
            match request {
                Request::Do(verb) => {
                    self.is_shared(verb.tenant());
                    self.put(verb, draft);
                }
                Request::Close(answer) => self.closing = Some(answer),
                Request::Stop => return Err(()),
            }
        }
        Ok(())
    }

    fn put(&mut self, verb: Verb, draft: &mut Draft) {
        match verb.tenant() {
            Some(tenant) => self.waiting.push(tenant, self.weights.of(tenant), cost(&verb), verb),
            // It waits for what was written before, and that is durable when this batch is.
            None => draft.take(verb),
        }
    }

    /// Whether several tenants are about, now that there is a request of `tenant`.
    fn is_shared(&mut self, tenant: Option<TenantId>) -> bool {
        if let Some(tenant) = tenant
            && self.last.replace(tenant).is_some_and(|last| last != tenant)
        {
            self.met = Some(Instant::now());
        }
        if self.met.is_some_and(|met| met.elapsed() >= SHARED_FOR) {
            self.met = None;
        }
        self.met.is_some()
    }

    /// Requests that came after a close.
    pub fn refuse_rest(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Do(verb) => verb.refuse(closed()),
                Request::Close(answer) => drop(answer.send(Err(closed()))),
                Request::Stop => {}
            }
        }
    }
}

fn cost(verb: &Verb) -> u64 {
    let bytes = match verb {
        Verb::Append(append, _) => {
            let rows = &append.rows;
            let payloads: usize = rows.payloads.iter().map(|(_, bytes)| bytes.len()).sum();
            append.frame.len() + payloads + lines_bytes(&rows.logs) + rows.send.len() * VERB_COST
        }
        Verb::Payload { rows, .. } => rows.iter().map(PayloadRow::len).sum(),
        Verb::Log { lines, .. } => lines_bytes(lines),
        // It takes as many rows as a batch may.
        Verb::Erase { .. } => return SHARED_BATCH_COST_MAX,
        Verb::Send { item, .. } => item_bytes(&item.body),
        Verb::PutRecord { record, .. } => record.body.len(),
        Verb::Entity { write, .. } => write.value.as_ref().map_or(0, |value| value.len()),
        Verb::RestoreEntity { restore, .. } => match &**restore {
            EntityRestore::Entity(entity) => entity.value.len(),
            EntityRestore::Version(_) | EntityRestore::Receipt(..) => 0,
        },
        Verb::Release { .. }
        | Verb::BeginRecall { .. }
        | Verb::Park { .. }
        | Verb::Component { .. }
        | Verb::RemoveComponent { .. }
        | Verb::Deployment { .. }
        | Verb::RemoveDeployment { .. }
        | Verb::RemoveRecord { .. }
        | Verb::Receipts { .. }
        | Verb::Remove { .. }
        | Verb::Forget { .. }
        | Verb::Settle { .. } => 0,
    };
    (VERB_COST + bytes + bytes.saturating_sub(SMALL_BYTES) * (BULK_COST - 1)) as u64
}

fn item_bytes(body: &InboxBody) -> usize {
    match body.value() {
        Some(Value::Inline(text)) => text.len(),
        Some(Value::Stored { .. }) | None => 0,
    }
}

fn lines_bytes(lines: &[LogLine]) -> usize {
    lines.iter().map(|line| line.message.len() + line.fields.len() + LINE_COST).sum()
}

impl Verb {
    /// Whose it is.
    fn tenant(&self) -> Option<TenantId> {
        match self {
            Verb::Append(append, _) => Some(append.run.tenant),
            Verb::Payload { run, .. }
            | Verb::Release { run, .. }
            | Verb::BeginRecall { run, .. }
            | Verb::Park { run, .. }
            | Verb::Log { run, .. }
            | Verb::Send { run, .. }
            | Verb::Receipts { run, .. }
            | Verb::Remove { run, .. }
            | Verb::Forget { run, .. } => Some(run.tenant),
            Verb::Component { tenant, .. }
            | Verb::RemoveComponent { tenant, .. }
            | Verb::Deployment { tenant, .. }
            | Verb::RemoveDeployment { tenant, .. }
            | Verb::PutRecord { tenant, .. }
            | Verb::RemoveRecord { tenant, .. }
            | Verb::Erase { tenant, .. }
            | Verb::Entity { tenant, .. }
            | Verb::RestoreEntity { tenant, .. } => Some(*tenant),
            Verb::Settle { .. } => None,
        }
    }
}
