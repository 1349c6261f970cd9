//! What the guests of a run tell those who follow it, in one order: what stays as it stands in the journal, and in
//! between what is told right now, as far as somebody comes in time to hear it. It shows nothing whose cause
//! is not durable, and it never holds a run up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{AttemptEmitted, Emitted, Entry, Epoch, Kind, Position, RunId, StepId, Timestamp, Value};
use trackway_storage::RunKey;

use super::{Host, is_settled, journal};
use crate::worker::{Delta, Placed, Watch};
use crate::{Code, Error, Result};

/// A run can become stuck without a new entry, so who waits looks again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Of what is told right now, in one look.
const DELTAS_AT_ONCE: usize = 256;

/// Up to where somebody has followed a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// The entry at this position, and all before it.
    Entry(Position),
    /// The entries before this position, and of what the process of that epoch told right now all up to this place.
    Delta {
        at: Position,
        epoch: Epoch,
        place: u64,
    },
}

/// What somebody who follows a run gets next.
#[derive(Debug)]
pub enum Streamed {
    Event(StreamedEvent),
    Delta {
        heard: Heard,
        delta: Arc<Delta>,
    },
    /// The deltas of this attempt that follow begin with this number: what came from there on counts no more.
    Reset {
        /// Absent where the reader was too slow.
        heard: Option<Heard>,
        step: StepId,
        attempt: u32,
        next: u32,
    },
    /// The run has ended, or is stuck: then there is no entry that says so.
    End {
        heard: Option<Heard>,
    },
}

#[derive(Debug)]
pub struct StreamedEvent {
    pub position: Position,
    pub time: Timestamp,
    /// The attempt that told it; else the workflow did.
    pub by: Option<(StepId, u32)>,
    pub name: Arc<str>,
    /// JSON text.
    pub data: Arc<str>,
}

/// Somebody who follows what a run tells.
pub struct Streamer {
    host: Arc<Host>,
    run: RunKey,
    epoch: Epoch,
    watch: Watch,
    /// The next entry; what is told right now has at most so many before it.
    at: Position,
    /// Deltas with fewer entries before them were heard, or came too early.
    from: Position,
    /// The last delta that was heard.
    place: u64,
    entries: VecDeque<Entry>,
    deltas: VecDeque<Placed>,
    /// Attempts whose deltas were heard since some were missed; `None` if none were.
    since_missing: Option<BTreeSet<(StepId, u32)>>,
    has_ended: bool,
}

impl Host {
    /// Follows what a run tells after what was heard of it.
    ///
    /// # Errors
    /// `BadRequest` if it never told that.
    pub async fn stream(self: &Arc<Self>, run: RunId, heard: Heard) -> Result<Streamer> {
        self.head(run).await?;
        let key = self.key_of(run);
        let epoch = self.storage.epoch();
        let (at, from, place) = match heard {
            Heard::Nothing => (Position::FIRST, Position::FIRST, 0),
            Heard::Entry(position) => {
                let next = Position(position.0.saturating_add(1));
                (next, next, 0)
            }
            // The place alone says what was heard: what follows it may be told after fewer entries than were heard.
            Heard::Delta { at, epoch: of, place } if of == epoch => (at, Position::FIRST, place),
            Heard::Delta { at, .. } => (at, at, 0),
        };
        let end = self.storage.end(key).await?;
        if at > end {
            return Err(Error::new(Code::BadRequest, format!("run {run} has {end} entries; it did not tell that")));
        }
        let watch = self.worker.deltas(key);
        let (entries, deltas) = (VecDeque::new(), VecDeque::new());
        let host = Arc::clone(self);
        let (since_missing, has_ended) = (None, false);
        Ok(Streamer { host, run: key, epoch, watch, at, from, place, entries, deltas, since_missing, has_ended })
    }
}

impl Streamer {
    /// Whether the run has ended and all of it was heard.
    pub async fn is_over(&self) -> Result<bool> {
        let head = self.host.head(self.run.run).await?;
        Ok(head.status.has_ended() && self.at >= self.host.storage.end(self.run).await?)
    }

    /// What comes next; `None` after the end.
    pub async fn next(&mut self) -> Result<Option<Streamed>> {
        while !self.has_ended {
            if let Some(streamed) = self.next_delta() {
                return Ok(Some(streamed));
            }
            if let Some(entry) = self.entries.pop_front() {
                self.at = entry.position.plus(1);
                if let Some(streamed) = self.told_by(entry).await? {
                    return Ok(Some(streamed));
                }
                continue;
            }
            self.entries = self.read().await?;
            if self.entries.is_empty()
                && let Some(end) = self.wait().await?
            {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    async fn read(&self) -> Result<VecDeque<Entry>> {
        Ok(journal::read(&*self.host.storage, self.run, self.at).await?.into())
    }

    /// Waits until there is something new to look for. Gives the end of a run that does not end by an entry.
    async fn wait(&mut self) -> Result<Option<Streamed>> {
        let host = self.host.clone();
        let news = self.watch.news();
        // What was told until now wakes nobody any more.
        let within = (self.from, self.at);
        if !self.watch.after(self.place, within, 1).deltas.is_empty() {
            return Ok(None);
        }
        let settled = is_settled(&host.head(self.run.run).await?);
        if settled {
            // A head and its entry become durable together, so now the end is there to be read.
            let entries = self.read().await?;
            if entries.is_empty() {
                self.has_ended = true;
                return Ok(Some(Streamed::End { heard: None }));
            }
            drop(news);
            self.entries = entries;
            return Ok(None);
        }
        tokio::select! {
            () = news => {}
            () = host.storage.grown(self.run, self.at) => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        Ok(None)
    }

    fn next_delta(&mut self) -> Option<Streamed> {
        if self.deltas.is_empty() {
            let after = self.watch.after(self.place, (self.from, self.at), DELTAS_AT_ONCE);
            if after.is_missing && !after.deltas.is_empty() {
                self.since_missing = Some(BTreeSet::new());
            }
            self.deltas.extend(after.deltas);
        }
        let (place, delta) = self.deltas.front()?;
        let attempt = (delta.step, delta.attempt);
        if let Some(heard) = &mut self.since_missing
            && heard.insert(attempt)
            && delta.number > 1
        {
            return Some(Streamed::Reset { heard: None, step: attempt.0, attempt: attempt.1, next: delta.number });
        }
        self.place = *place;
        let (place, delta) = self.deltas.pop_front()?;
        let heard = Heard::Delta { at: self.at, epoch: self.epoch, place };
        Some(Streamed::Delta { heard, delta })
    }

    async fn told_by(&mut self, entry: Entry) -> Result<Option<Streamed>> {
        let (position, time) = (entry.position, entry.time);
        let (by, name, data) = match entry.kind {
            Kind::Emitted(Emitted { name, data, .. }) => (None, name, data),
            Kind::AttemptEmitted(AttemptEmitted { step, attempt, name, data, .. }) => {
                (Some((step, attempt)), name, data)
            }
            Kind::AttemptResumed(resumed) => {
                let heard = Some(Heard::Entry(position));
                let (step, attempt) = (resumed.step, resumed.attempt);
                return Ok(Some(Streamed::Reset { heard, step, attempt, next: 1 }));
            }
            Kind::Finished(_) => {
                self.has_ended = true;
                return Ok(Some(Streamed::End { heard: Some(Heard::Entry(position)) }));
            }
            _ => return Ok(None),
        };
        let data = match data {
            Value::Inline(text) => text,
            stored @ Value::Stored { .. } => journal::text(&*self.host.storage, self.run, &stored).await?,
        };
        Ok(Some(Streamed::Event(StreamedEvent { position, time, by, name, data })))
    }
}
