//! What becomes of a run without an append: claimed, given back, recalled, stuck.

use std::ops::Bound;
use std::sync::Arc;
use trackway_replay::{Head, TenantId, Timestamp};

use super::draft::{Draft, News, Owned, Place};
use super::key::{self, Kind};
use super::row::{OpenRow, damaged};
use super::shared::Shared;
use crate::{Claims, RunKey, StorageError, StorageErrorKind};

impl Shared {
    /// Changes nothing on disk: a run's mark says "ready" until it is parked, and a timer stays until
    /// the first append, so a crash after the claim loses nothing.
    pub fn claim(&self, now: Timestamp, max: usize, without: &[TenantId]) -> Result<Claims, StorageError> {
        let timers = |after: Option<(Timestamp, RunKey)>| {
            let from = match after {
                Some((due, run)) => Bound::Excluded(key::timer(due, run).to_vec()),
                None => Bound::Included(vec![Kind::Timer as u8]),
            };
            let end = Bound::Excluded(vec![Kind::Timer as u8 + 1]);
            self.db.range::<Vec<u8>, _>((from, end)).keys().map(|key| {
                let key = key.map_err(|error| self.failed(&error))?;
                key::timer_of(&key).ok_or_else(|| damaged(&key, "its key is too short"))
            })
        };
        self.desk.claim(now, max, without, timers)
    }
}

/// Claims on their way to the caller. Whoever gives up waiting for them leaves no run without an owner.
pub(super) struct Claimed {
    pub claims: Claims,
    pub shared: Arc<Shared>,
}

impl Claimed {
    pub fn hand_over(mut self) -> Claims {
        std::mem::take(&mut self.claims)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.claims.runs.drain(..).for_each(|run| self.shared.desk.ready(run));
        self.claims.knocks.drain(..).for_each(|run| self.shared.desk.knock(run));
    }
}

fn not_open(run: RunKey) -> StorageError {
    StorageError::new(StorageErrorKind::Invalid, format!("run {} is not open", run.run))
}

impl Draft {
    pub fn release(&mut self, run: RunKey) -> Result<(), StorageError> {
        self.with_run(run, |draft, state| {
            let news = if state.place.is_open() { News::Ready(run) } else { News::End(run) };
            draft.tell(news);
            state.owner = Owned::No;
            Ok(())
        })
    }

    pub fn begin_recall(&mut self, run: RunKey) -> Result<u32, StorageError> {
        self.with_run(run, |draft, state| {
            let recalls = state.place.recalls().saturating_add(1);
            let to = match state.place {
                Place::Ready(row) => Place::Ready(OpenRow { recalls, ..row }),
                Place::Parked(row) => Place::Parked(OpenRow { recalls, ..row }),
                Place::Nowhere | Place::Ended(_) => return Err(not_open(run)),
            };
            draft.shared.room.check()?;
            draft.stage_move(run, state.place, to)?;
            state.place = to;
            Ok(recalls)
        })
    }

    pub fn park(&mut self, run: RunKey, due: Option<Timestamp>, head: Option<&Head>) -> Result<(), StorageError> {
        self.with_run(run, |draft, state| {
            if !state.place.is_open() {
                return Err(not_open(run));
            }
            draft.shared.room.check()?;
            let recalls = state.place.recalls();
            let parked = Place::Parked(OpenRow { due, recalls });
            let (to, news) = match head {
                Some(head) => {
                    draft.stage(&key::of_run(Kind::Head, run), head)?;
                    (parked, News::Stick(run, due))
                }
                None if state.unread.is_empty() => (parked, News::Park(run, due)),
                None => (Place::Ready(OpenRow { due: None, recalls }), News::Ready(run)),
            };
            draft.stage_move(run, state.place, to)?;
            draft.tell(news);
            state.place = to;
            state.owner = Owned::No;
            Ok(())
        })
    }
}
