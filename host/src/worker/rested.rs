//! Which attempts of runs that were put aside only waited then: whoever takes such a run up again leaves them be, until
//! there is something for them. It holds nothing that the journal does not tell: what is forgotten here is recalled
//! once more.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use trackway_replay::{FrameId, StepId, Timestamp};
use trackway_storage::RunKey;

/// Of all runs together: some megabytes.
const ATTEMPTS_MAX: usize = 100_000;

/// The steps of attempts that wait, and until when if not for people.
pub(super) type Resting = BTreeMap<StepId, Option<Timestamp>>;

#[derive(Default)]
pub(super) struct Rested(Mutex<Held>);

#[derive(Default)]
struct Held {
    runs: BTreeMap<RunKey, Note>,
    attempts: usize,
}

struct Note {
    /// What the journal ended with: whatever came behind it may have done anything to them.
    last_frame: FrameId,
    resting: Resting,
}

impl Rested {
    pub fn note(&self, run: RunKey, last_frame: FrameId, resting: Resting) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.forget(run);
        held.attempts += resting.len();
        held.runs.insert(run, Note { last_frame, resting });
        while held.attempts > ATTEMPTS_MAX
            && let Some(first) = held.runs.keys().next().copied()
        {
            held.forget(first);
        }
    }

    /// Those of a run whose journal ends with that frame. They are the caller's from here on.
    pub fn take(&self, run: RunKey, last_frame: FrameId) -> Resting {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let note = held.forget(run).filter(|note| note.last_frame == last_frame);
        note.map(|note| note.resting).unwrap_or_default()
    }
}

impl Held {
    fn forget(&mut self, run: RunKey) -> Option<Note> {
        let note = self.runs.remove(&run)?;
        self.attempts -= note.resting.len();
        Some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trackway_replay::{RunId, TenantId};

    fn key(run: u128) -> RunKey {
        RunKey { tenant: TenantId::DEFAULT, run: RunId(run) }
    }

    fn resting(count: u32) -> Resting {
        (1..=count).map(|step| (StepId(step), None)).collect()
    }

    #[test]
    fn a_note_counts_once_and_for_the_same_journal_only() {
        let rested = Rested::default();
        rested.note(key(1), FrameId(7), resting(3));
        rested.note(key(2), FrameId(7), resting(2));
        assert_eq!(rested.take(key(1), FrameId(7)), resting(3));
        assert_eq!(rested.take(key(1), FrameId(7)), resting(0));
        assert_eq!(rested.take(key(2), FrameId(8)), resting(0));
        assert_eq!(rested.take(key(2), FrameId(7)), resting(0), "it is told of another journal by now");
        assert_eq!(rested.0.lock().expect("nobody panicked").attempts, 0);
    }

    #[test]
    fn more_than_there_is_room_for_is_forgotten() {
        let rested = Rested::default();
        for run in 0..200 {
            rested.note(key(run), FrameId(1), resting(1_000));
        }
        assert_eq!(rested.0.lock().expect("nobody panicked").attempts, ATTEMPTS_MAX);
        assert_eq!(rested.take(key(199), FrameId(1)).len(), 1_000);
        assert!(rested.take(key(0), FrameId(1)).is_empty());
    }
}
