//! Gives each new entry its place and time, and keeps those that no frame holds yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    EffectRequest, EffectVerdict, End, EntityAct, Entry, Epoch, Kind, Outcome, Position, StepRequest, Timestamp, Value,
};

/// A run may be ahead of storage by so much; then its guest waits.
pub const AHEAD_MAX_ENTRIES: usize = 1_024;
pub const AHEAD_MAX_BYTES: usize = 1 << 20;
/// An entry that nothing waits for is written at the latest after this.
pub const LINGER: Duration = Duration::from_millis(1);
/// What a frame's entries may take in all, so that latency stays even. A larger entry has a frame
/// of its own: the largest there is (the end, with a value and a full inbox of unread items) stays
/// below the 60 KiB that storage takes.
const FRAME_FILL_BYTES: usize = 16 << 10;
/// What they may take where the last one must not be cut off; with a frame's head below what storage takes.
const FRAME_MOST_BYTES: usize = 56 << 10;
/// What an entry takes at most beside its texts and values: a digest, five numbers, tags, lengths.
const ENTRY_OVERHEAD_BYTES: usize = 160;
/// 128 bits, seven to a byte.
const MESSAGE_ID_MAX_BYTES: usize = 19;
/// 64 bits, seven to a byte.
const POSITION_MAX_BYTES: usize = 10;
/// A seed and a number.
const CUT_MAX_BYTES: usize = 48;

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub struct Sequencer {
    next: Position,
    epoch: Epoch,
    last: Timestamp,
    /// With their sizes.
    pending: VecDeque<(Entry, usize)>,
    pending_bytes: usize,
}

impl Sequencer {
    /// `next` is the first free position, `last` the time of the entry before it.
    pub fn new(next: Position, epoch: Epoch, last: Timestamp) -> Sequencer {
        Sequencer { next, epoch, last, pending: VecDeque::new(), pending_bytes: 0 }
    }

    /// Sequences one entry.
    pub fn push(&mut self, clock: Timestamp, kind: Kind) -> &Entry {
        let entry = self.entry(clock, kind);
        self.put(entry)
    }

    /// What the next entry would be. Its time is the clock's, but never before the entry before it.
    pub fn entry(&self, clock: Timestamp, kind: Kind) -> Entry {
        Entry { position: self.next, epoch: self.epoch, time: self.last.max(clock), kind }
    }

    /// Sequences what [`Sequencer::entry`] has just made.
    pub fn put(&mut self, entry: Entry) -> &Entry {
        self.next = self.next.plus(1);
        self.last = entry.time;
        let size_bytes = size_max(&entry.kind);
        self.pending_bytes += size_bytes;
        self.pending.push_back((entry, size_bytes));
        &self.pending[self.pending.len() - 1].0
    }

    /// The entries of the next frame, from the front; as many as one frame takes.
    pub fn take_frame(&mut self) -> Vec<Entry> {
        let mut bytes = 0;
        let mut frame = Vec::new();
        while let Some((entry, size_bytes)) = self.pending.pop_front_if(|(entry, size_bytes)| {
            let with_it = bytes + *size_bytes;
            match frame.last() {
                None => true,
                Some(before) if stays_with(before, entry) => with_it <= FRAME_MOST_BYTES,
                Some(_) => with_it <= FRAME_FILL_BYTES,
            }
        }) {
            bytes += size_bytes;
            frame.push(entry);
        }
        self.pending_bytes -= bytes;
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

/// An answer right behind its command is a refusal or a cancel, decided with the command: cut off
/// from it by a crash, the command would look as if it still had to be carried out. And a sum is right only
/// with what it counts.
fn stays_with(before: &Entry, entry: &Entry) -> bool {
    match (&before.kind, &entry.kind) {
        (Kind::Asked(asked), Kind::Answered(answered)) => asked.step == answered.step,
        (Kind::StepCancelAsked(asked), Kind::Answered(answered)) => asked.step == answered.step,
        // Several attempts end with their run's round.
        (Kind::FuelUsed(_), Kind::FuelUsed(_) | Kind::Continued(_)) => true,
        (Kind::FuelUsed(used), ended) => used.attempt.is_some_and(|(step, _)| ended.step() == Some(step)),
        (Kind::ModelUsed(_), Kind::EffectAnswered(_)) | (Kind::Continued(_), Kind::SpendingTaken(_)) => true,
        _ => false,
    }
}

/// No entry of this kind takes more in a frame.
fn size_max(kind: &Kind) -> usize {
    let texts = match kind {
        Kind::Started(started) => {
            let limits_and_seeds = 160;
            inline(&started.input) + started.workflow.len() + started.deployment.len() + limits_and_seeds
        }
        Kind::Asked(asked) => {
            let request = match &asked.request {
                StepRequest::Call { function, input, options } => function.len() + inline(input) + options.len(),
                StepRequest::Sleep { options, .. } => options.len(),
                StepRequest::StartRun { workflow, input, options } => workflow.len() + inline(input) + options.len(),
                StepRequest::Receive { signal, options } => signal.len() + options.len(),
                StepRequest::AskPerson { form, options } => inline(form) + options.len(),
                StepRequest::Promise { name, options, .. } => name.len() + options.len(),
                StepRequest::Entity { entity, key, act, options } => {
                    let value = match act {
                        EntityAct::Set { value } => inline(value),
                        EntityAct::Get | EntityAct::Delete => 0,
                    };
                    entity.len() + key.len() + value + options.len()
                }
                StepRequest::AcceptUpdate { update, options } => update.len() + options.len(),
            };
            request + text(&asked.at)
        }
        Kind::EffectAsked(asked) => {
            let request = match &asked.request {
                EffectRequest::Http { request, options } => inline(request) + options.len(),
                EffectRequest::Sleep { options, .. } => options.len(),
                EffectRequest::AskPerson { form, options } => inline(form) + options.len(),
                EffectRequest::Model { model, request, options } => model.len() + inline(request) + options.len(),
            };
            request + text(&asked.key) + text(&asked.at)
        }
        Kind::EffectAnswered(answered) => outcome(&answered.outcome),
        Kind::ModelUsed(used) => used.provider.len() + used.model.len(),
        Kind::Answered(answered) => outcome(&answered.outcome),
        Kind::Failed(failed) => inline(&failed.failure),
        Kind::FailedKeeping(failed) => inline(&failed.failure),
        Kind::Parked(parked) => inline(&parked.failure),
        Kind::RetryReceived(retry) => {
            let answer = match &retry.verdict {
                Some(EffectVerdict::Answer(value)) => inline(value),
                Some(EffectVerdict::Repeat | EffectVerdict::Fail) | None => 0,
            };
            retry.with.as_ref().map_or(0, |with| with.deployment.len()) + answer
        }
        Kind::Progressed(progressed) => inline(&progressed.progress),
        Kind::CancelReceived(cancel) => cancel.reason.len(),
        Kind::Paused(paused) => paused.reason.len(),
        Kind::ChildStarted(started) => started.deployment.len(),
        Kind::ChildEnded(ended) => outcome(&ended.outcome),
        Kind::Forked(forked) => CUT_MAX_BYTES * forked.cuts.len(),
        Kind::Finished(finished) => {
            let end = match &finished.end {
                End::Succeeded(value) | End::Failed(value) => inline(value),
                End::Cancelled { reason } | End::Terminated { reason } => reason.len(),
            };
            end + MESSAGE_ID_MAX_BYTES * finished.unread.len()
        }
        Kind::Settled(settled) => outcome(&settled.outcome) + text(&settled.by),
        Kind::Signalled(signalled) => signalled.name.len() + inline(&signalled.payload),
        Kind::Patched(patched) => patched.id.len(),
        Kind::Continued(continued) => {
            let reason = continued.cancel.as_ref().map_or(0, |cancel| cancel.reason.len());
            let fixed = 160;
            let published: usize = continued.published.iter().map(|key| key.len() + 2).sum();
            inline(&continued.input)
                + published
                + POSITION_MAX_BYTES * continued.mail.len()
                + continued.deployment.len()
                + reason
                + fixed
        }
        Kind::Moved(moved) => moved.deployment.len(),
        Kind::Published(published) => published.key.len() + inline(&published.value) + text(&published.at),
        Kind::UpdateReceived(update) => update.name.len() + inline(&update.payload),
        Kind::UpdateOffered(offered) => offered.name.len() + inline(&offered.payload),
        Kind::Replied(replied) => outcome(&replied.outcome) + text(&replied.at),
        Kind::Emitted(emitted) => emitted.name.len() + inline(&emitted.data) + text(&emitted.at),
        Kind::AttemptEmitted(emitted) => emitted.name.len() + inline(&emitted.data) + text(&emitted.at),
        Kind::SpanBegun(begun) => begun.name.len() + inline(&begun.input) + begun.options.len() + text(&begun.at),
        Kind::EffectSettled(settled) => outcome(&settled.outcome) + text(&settled.by),
        Kind::SpanEnded(ended) => outcome(&ended.outcome) + text(&ended.at),
        Kind::Claimed(claimed) => claimed.worker.len() + claimed.engine.len(),
        Kind::AttemptStarted(_)
        | Kind::AttemptResumed(_)
        | Kind::Forgotten(_)
        | Kind::StepCancelAsked(_)
        | Kind::Resumed(_)
        | Kind::ChildOf(_)
        | Kind::StepTimed(_)
        | Kind::GraceSet(_)
        | Kind::SpendingTaken(_)
        | Kind::UpdateExpired(_)
        | Kind::FuelUsed(_)
        | Kind::DeadlineSet(_) => 0,
    };
    texts + ENTRY_OVERHEAD_BYTES
}

fn text(text: &Option<Arc<str>>) -> usize {
    text.as_ref().map_or(0, |text| text.len())
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
