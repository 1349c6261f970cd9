//! The append: a frame and its rows, or nothing.

use trackway_replay::{FrameId, MessageId, Position, Status};

use super::draft::{Draft, News, Owned, Place, RunState};
use super::entity::Changed;
use super::inbox::Unread;
use super::key::{self, Kind};
use super::payload;
use super::recent::Grown;
use super::row::{OpenRow, Row, Tail};
use crate::{Append, Appended, LogLine, Owner, Rows, RunKey, StartKey, StorageError, UsedByDay};

impl Draft {
    pub fn append(&mut self, append: &Append) -> Result<Appended, StorageError> {
        self.with_run(append.run, |draft, state| draft.append_to(state, append))
    }

    fn append_to(&mut self, state: &mut RunState, append: &Append) -> Result<Appended, StorageError> {
        let tail = state.tail.clone()?;
        if self.stands(tail, append)? {
            return Ok(Appended::Durable);
        }
        let (end, last) = tail.map_or((Position::FIRST, None), |tail| (tail.end(), Some(tail.id)));
        if append.position != end || append.previous != last || matches!(state.place, Place::Ended(_)) {
            return Ok(Appended::Fenced);
        }
        let missed = append.rows.missed(state.unread.iter().map(|item| item.message));
        if !missed.is_empty() {
            return Ok(Appended::Missed(missed));
        }
        if let Some(start_key) = &append.rows.start_key
            && let Some(taken) = self.taken(append.run, start_key)?
        {
            return Ok(Appended::KeyTaken(taken));
        }
        self.shared.room.check()?;

        let run = append.run;
        self.stage_frame(append)?;
        self.stage_rows(run, &append.rows)?;
        let mut changed = Changed::default();
        for (step, write) in &append.rows.entities {
            let written = self.write_entity(run.tenant, write, &mut changed)?;
            self.stage_receipt(run, *step, written)?;
        }
        for step in &append.rows.entities_answered {
            self.remove(&key::receipt(run, *step));
        }
        let left = self.stage_read(run, state, &append.rows.read);
        let to = next_place(state.place, &append.rows, left.is_empty());
        self.stage_move(run, state.place, to)?;
        if append.rows.owner == Owner::End {
            self.stage_inbox_end(run, &left)?;
            self.stage_questions_end(run, &append.rows)?;
            self.stage_receipts_end(run, append.rows.entities.iter().map(|(step, _)| *step))?;
        }
        for (to, item) in &append.rows.send {
            self.send_along(*to, item)?;
        }

        let sums = self.stage_used(run.tenant, &append.rows.used)?;

        // Nothing fails from here on.
        self.sums.keep(sums);
        self.entities.merge(changed);
        self.receipts.extend(append.rows.entities.iter().map(|(step, _)| (run, *step)));
        if let Some(start_key) = &append.rows.start_key {
            self.start_keys.insert((run.tenant, start_key.key.clone()), start_key.clone());
        }
        let Append { position, entries, previous, id, .. } = *append;
        state.tail = Ok(Some(Tail { position, entries, previous, id }));
        state.unread = left;
        match (append.rows.owner, to) {
            (Owner::Keep, _) => {
                if state.owner == Owned::No {
                    self.tell(News::Own(run));
                }
                state.owner = Owned::Yes;
            }
            (Owner::Park { .. }, Place::Parked(row)) => {
                self.tell(News::Park(run, row.due));
                state.owner = Owned::No;
            }
            (Owner::Park { .. }, _) => {
                self.tell(News::Ready(run));
                state.owner = Owned::No;
            }
            (Owner::End, _) => {
                self.tell(News::End(run));
                state.owner = Owned::No;
            }
        }
        state.place = to;
        self.grew(Grown::of(append));
        Ok(Appended::Durable)
    }

    pub fn log(
        &mut self,
        run: RunKey,
        last: FrameId,
        lines: &[LogLine],
        used: &UsedByDay,
    ) -> Result<bool, StorageError> {
        self.with_run(run, |draft, state| {
            let ends_so = state.tail.clone()?.is_some_and(|tail| tail.id == last);
            if !ends_so || !state.place.is_open() {
                return Ok(false);
            }
            draft.shared.room.check()?;
            lines.iter().try_for_each(|line| draft.stage(&key::log(run, line.key), line))?;
            let sums = draft.stage_used(run.tenant, used)?;
            draft.sums.keep(sums);
            Ok(true)
        })
    }

    /// Whether this very frame stands already.
    fn stands(&self, tail: Option<Tail>, append: &Append) -> Result<bool, StorageError> {
        let Some(tail) = tail else { return Ok(false) };
        if tail.position == append.position {
            return Ok(tail.id == append.id);
        }
        if append.position > tail.position {
            return Ok(false);
        }
        let key = key::frame(append.run, append.position);
        match self.shared.written(&key)? {
            Some(row) => Ok(row.tail(&key)?.id == append.id),
            None => Ok(false),
        }
    }

    fn taken(&self, run: RunKey, start_key: &StartKey) -> Result<Option<StartKey>, StorageError> {
        if let Some(taken) = self.start_keys.get(&(run.tenant, start_key.key.clone())) {
            return Ok(Some(taken.clone()));
        }
        let key = key::named(Kind::StartKey, run.tenant, &start_key.key);
        self.shared.written(&key)?.map(|row: Row| row.decode(&key)).transpose()
    }

    fn stage_rows(&mut self, run: RunKey, rows: &Rows) -> Result<(), StorageError> {
        if let Some(head) = &rows.head {
            self.stage(&key::of_run(Kind::Head, run), head)?;
        }
        if let Some(start_key) = &rows.start_key {
            self.stage(&key::named(Kind::StartKey, run.tenant, &start_key.key), start_key)?;
            self.stage(&key::of_run(Kind::StartedBy, run), &start_key.key)?;
        }
        for line in &rows.logs {
            self.stage(&key::log(run, line.key), line)?;
        }
        for (question, asked) in &rows.asked {
            self.stage(&key::question(run, *question), asked)?;
        }
        for question in &rows.settled {
            self.remove(&key::question(run, *question));
        }
        for (landmark, place) in &rows.landmarks {
            self.stage(&key::landmark(run, landmark), place)?;
        }
        for (digest, bytes) in &rows.payloads {
            self.stage_payload(run, &payload::rows(*digest, bytes))?;
        }
        for (message, identity) in &rows.brought {
            self.stage_message(run, *message, identity.as_ref())?;
        }
        Ok(())
    }

    /// An ended run asks nothing, not even what its last frame asked.
    fn stage_questions_end(&mut self, run: RunKey, rows: &Rows) -> Result<(), StorageError> {
        for (question, _) in &rows.asked {
            self.remove(&key::question(run, *question));
        }
        for key in self.shared.db.scan_prefix(key::of_run(Kind::Question, run)).keys() {
            let key = key.map_err(|error| self.shared.failed(&error))?;
            self.remove_row(key);
        }
        Ok(())
    }

    /// Takes items out of the inbox; returns what is left.
    fn stage_read(&mut self, run: RunKey, state: &RunState, read: &[MessageId]) -> Vec<Unread> {
        let mut left = state.unread.clone();
        left.retain(|item| {
            let is_read = read.contains(&item.message);
            if is_read {
                self.remove(&key::inbox(run, item.order));
            }
            !is_read
        });
        left
    }
}

fn next_place(place: Place, rows: &Rows, inbox_is_empty: bool) -> Place {
    let recalls = if rows.recalled { 0 } else { place.recalls() };
    let ready = Place::Ready(OpenRow { due: None, recalls });
    match rows.owner {
        Owner::Keep => ready,
        Owner::Park { due } if inbox_is_empty => Place::Parked(OpenRow { due, recalls }),
        // Whoever claims it reads the inbox and parks it again, with the same timer.
        Owner::Park { .. } => ready,
        Owner::End => {
            let status: Option<Status> = rows.head.as_ref().map(|head| head.status);
            Place::Ended(status)
        }
    }
}
