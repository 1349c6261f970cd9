//! Gives each new entry its place and time, and keeps those that no frame holds yet.

use std::time::Duration;

use crate::{Entry, Epoch, Kind, Outcome, Position, StepRequest, Timestamp, Value};

/// A run may be ahead of storage by so much; then its guest waits.
pub const AHEAD_MAX_ENTRIES: usize = 1_024;
pub const AHEAD_MAX_BYTES: usize = 1 << 20;
/// An entry that nothing waits for is written at the latest after this.
pub const LINGER: Duration = Duration::from_millis(1);
/// What a frame's entries may take in all; leaves room below the largest frame for one more entry
/// of the largest size and its head.
const FRAME_FILL_BYTES: usize = 16 << 10;
/// A generous guess at what an entry takes beside its values.
const ENTRY_OVERHEAD_BYTES: usize = 160;

#[derive(Debug)]
pub struct Sequencer {
    next: Position,
    epoch: Epoch,
    last: Timestamp,
    pending: Vec<Entry>,
    pending_bytes: usize,
}

impl Sequencer {
    /// `next` is the first free position, `last` the time of the entry before it.
    pub fn new(next: Position, epoch: Epoch, last: Timestamp) -> Sequencer {
        Sequencer { next, epoch, last, pending: Vec::new(), pending_bytes: 0 }
    }

    /// Sequences one entry. Its time is the clock's, but never before the entry before it.
    pub fn push(&mut self, clock: Timestamp, kind: Kind) -> &Entry {
        let time = self.last.max(clock);
        let entry = Entry { position: self.next, epoch: self.epoch, time, kind };
        self.next = self.next.plus(1);
        self.last = time;
        self.pending_bytes += size_estimate(&entry.kind);
        self.pending.push(entry);
        &self.pending[self.pending.len() - 1]
    }

    /// The entries of the next frame, from the front; as many as one frame takes.
    pub fn take_frame(&mut self) -> Vec<Entry> {
        let mut bytes = 0;
        let fits = self.pending.iter().position(|entry| {
            bytes += size_estimate(&entry.kind);
            bytes > FRAME_FILL_BYTES
        });
        let rest = match fits {
            Some(count) => self.pending.split_off(count.max(1)),
            None => Vec::new(),
        };
        let frame = std::mem::replace(&mut self.pending, rest);
        self.pending_bytes = self.pending.iter().map(|entry| size_estimate(&entry.kind)).sum();
        frame
    }

    /// One after the last position that was given out.
    pub fn next(&self) -> Position {
        self.next
    }

    pub fn last_time(&self) -> Timestamp {
        self.last
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The guest must wait until storage has caught up.
    pub fn is_too_far_ahead(&self) -> bool {
        self.pending.len() >= AHEAD_MAX_ENTRIES || self.pending_bytes >= AHEAD_MAX_BYTES
    }
}

fn size_estimate(kind: &Kind) -> usize {
    let values = match kind {
        Kind::Started(started) => inline(&started.input) + started.workflow.len() + started.deployment.len() + 200,
        Kind::Asked(asked) => match &asked.request {
            StepRequest::Call { function, input, options } => function.len() + inline(input) + options.len(),
            StepRequest::Sleep { options, .. } => options.len(),
        },
        Kind::EffectAsked(asked) => match &asked.request {
            crate::EffectRequest::Http { request, options } => inline(request) + options.len(),
            crate::EffectRequest::Sleep { options, .. } => options.len(),
        },
        Kind::EffectAnswered(answered) => outcome(&answered.outcome),
        Kind::Answered(answered) => outcome(&answered.outcome),
        Kind::Failed(failed) => inline(&failed.failure),
        Kind::CancelReceived(cancel) => cancel.reason.len(),
        Kind::Finished(finished) => {
            let end = match &finished.end {
                crate::End::Succeeded(value) | crate::End::Failed(value) => inline(value),
                crate::End::Cancelled { reason } | crate::End::Terminated { reason } => reason.len(),
            };
            end + 19 * finished.unread.len()
        }
        Kind::Claimed(claimed) => claimed.worker.len() + claimed.engine.len(),
        Kind::AttemptStarted(_) | Kind::AttemptResumed(_) | Kind::Forgotten(_) | Kind::StepCancelAsked(_) => 0,
    };
    values + ENTRY_OVERHEAD_BYTES
}

fn outcome(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Succeeded(value) | Outcome::Failed(value) => inline(value),
    }
}

fn inline(value: &Value) -> usize {
    match value {
        Value::Inline(text) => text.len(),
        Value::Stored { .. } => 48,
    }
}
