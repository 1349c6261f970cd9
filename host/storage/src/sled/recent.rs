//! What was written a moment ago, of runs that began a moment ago: whoever waits for one finds it here
//! and need not send a thread to the tree for it. It holds what is durable, and never all there is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use trackway_replay::{Head, Position};

use crate::{Append, Glimpse, RunKey, StoredFrame};

/// More than are in flight at once on any machine, few beside all that a store holds.
const RUNS_MAX: usize = 4_096;
/// Frames of one run: a longer journal is read from the tree.
const FRAMES_OF_RUN_MAX_BYTES: usize = 16 << 10;
/// Frames of all of them.
const FRAMES_MAX_BYTES: usize = 16 << 20;

#[derive(Default)]
pub(super) struct Recent {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    runs: HashMap<RunKey, Run>,
    /// The one that is forgotten first in front.
    order: VecDeque<RunKey>,
    size_bytes: usize,
}

struct Run {
    head: Option<Head>,
    end: Position,
    /// From the first one on; `None` once they are too many.
    frames: Option<Vec<StoredFrame>>,
    size_bytes: usize,
}

/// A frame that a batch appended, and the head that it brought.
pub(super) struct Grown {
    pub run: RunKey,
    head: Option<Head>,
    frame: StoredFrame,
}

impl Grown {
    pub fn of(append: &Append) -> Grown {
        let Append { run, position, entries, previous, id, ref frame, ref rows } = *append;
        let frame = StoredFrame { position, entries, previous, id, frame: frame.clone() };
        Grown { run, head: rows.head.clone(), frame }
    }
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a durable batch known here and, by `reveal`, to readers of the tree, to both at once: whoever
    /// saw it in the one must not miss it in the other.
    pub fn grew(
        &self,
        grown: impl IntoIterator<Item = Grown>,
        changed: impl IntoIterator<Item = RunKey>,
        reveal: impl FnOnce(),
    ) {
        let mut known = self.lock();
        reveal();
        grown.into_iter().for_each(|grown| known.grew(grown));
        changed.into_iter().for_each(|run| known.forget(run));
    }

    /// What is known of the run is not what stands in the tree any more.
    pub fn forget(&self, run: RunKey) {
        self.lock().forget(run);
    }

    pub fn head(&self, run: RunKey) -> Option<Head> {
        self.lock().runs.get(&run)?.head.clone()
    }

    /// As the tree would give it: both ends of the journal and the head are of one moment.
    pub fn glimpse(&self, run: RunKey) -> Option<Glimpse> {
        let known = self.lock();
        let run = known.runs.get(&run)?;
        Some(Glimpse::of(run.head.clone()?, run.frames.as_deref()?))
    }

    pub fn end(&self, run: RunKey) -> Option<Position> {
        self.lock().runs.get(&run).map(|run| run.end)
    }

    /// As the tree would give them.
    pub fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Option<Vec<StoredFrame>> {
        let known = self.lock();
        let frames = known.runs.get(&run)?.frames.as_ref()?;
        let first = frames.partition_point(|frame| frame.position.plus(u64::from(frame.entries)) <= from);
        let mut size_bytes = 0;
        let mut found = Vec::new();
        for frame in &frames[first..] {
            size_bytes += frame.frame.len();
            found.push(frame.clone());
            if size_bytes >= max_bytes {
                break;
            }
        }
        Some(found)
    }
}

impl Known {
    fn forget(&mut self, run: RunKey) {
        if let Some(run) = self.runs.remove(&run) {
            self.size_bytes -= run.size_bytes;
        }
    }

    fn grew(&mut self, grown: Grown) {
        let Grown { run: key, head, frame } = grown;
        let end = frame.position.plus(u64::from(frame.entries));
        if frame.position == Position::FIRST {
            self.order.push_back(key);
            self.runs.insert(key, Run { head: None, end, frames: Some(Vec::new()), size_bytes: 0 });
        }
        // Of one that was forgotten the beginning is missing.
        let Some(run) = self.runs.get_mut(&key) else { return };
        run.end = end;
        run.head = head.or(run.head.take());
        let length = frame.frame.len();
        if run.size_bytes + length > FRAMES_OF_RUN_MAX_BYTES {
            run.frames = None;
            self.size_bytes -= std::mem::take(&mut run.size_bytes);
        } else if let Some(frames) = &mut run.frames {
            frames.push(frame);
            run.size_bytes += length;
            self.size_bytes += length;
        }
        while self.order.len() > RUNS_MAX || self.size_bytes > FRAMES_MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(run) = self.runs.remove(&oldest) {
                self.size_bytes -= run.size_bytes;
            }
        }
    }
}

#[cfg(test)]
#[path = "recent/tests.rs"]
mod tests;
