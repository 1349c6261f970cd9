//! Reads of journals, heads, logs and start keys. They show durable rows only.

use ::sled::IVec;
use std::ops::RangeInclusive;
use std::sync::Arc;
use trackway_replay::{Head, Position, QuestionId, QuestionName, RunId, StepId, TenantId};

use super::key::{self, Kind};
use super::row::{Row, damaged, gap};
use super::shared::Shared;
use crate::{Glimpse, Landmark, LogKey, LogLine, OpenQuestion, RunKey, RunQuery, StartKey, StorageError, StoredFrame};

impl Shared {
    /// Stops at the first frame that is not durable yet: the caller must not wait for it.
    pub fn frames(&self, run: RunKey, from: Position, max_bytes: usize) -> Result<Vec<StoredFrame>, StorageError> {
        let prefix = key::of_run(Kind::Frame, run);
        // The frame that holds `from` is the last that begins at or before it.
        let holder = self.db.range(prefix.as_slice()..=key::frame(run, from).as_slice()).next_back();
        let first = match holder {
            Some(pair) => pair.map_err(|error| self.failed(&error))?.0,
            None => return Ok(Vec::new()),
        };
        let durable = self.durable.commit();
        let mut frames: Vec<StoredFrame> = Vec::new();
        let mut size_bytes = 0;
        for pair in self.db.range(first.as_ref()..=key::frame(run, Position(u64::MAX)).as_slice()) {
            let (key, row) = self.opened(pair.map_err(|error| self.failed(&error))?)?;
            if row.commit > durable {
                break;
            }
            let frame = row.frame(&key)?;
            if let Some(before) = frames.last()
                && (before.position.plus(u64::from(before.entries)) != frame.position
                    || frame.previous != Some(before.id))
            {
                return Err(gap(run, frame.position));
            }
            if frame.position.plus(u64::from(frame.entries)) <= from {
                // `from` is the end of the journal, so far.
                continue;
            }
            size_bytes += frame.frame.len();
            frames.push(frame);
            if size_bytes >= max_bytes {
                break;
            }
        }
        if let Some(frame) = frames.first()
            && frame.position > from
        {
            return Err(gap(run, frame.position));
        }
        Ok(frames)
    }

    /// How many entries of the run are durable.
    pub fn durable_end(&self, run: RunKey) -> Result<Position, StorageError> {
        match self.durable_last(run)? {
            Some((key, row)) => Ok(row.tail(&key)?.end()),
            None => Ok(Position::FIRST),
        }
    }

    /// The row of the last frame that is durable. Nobody waits for one that is not.
    fn durable_last(&self, run: RunKey) -> Result<Option<(IVec, Row)>, StorageError> {
        let durable = self.durable.commit();
        for pair in self.db.scan_prefix(key::of_run(Kind::Frame, run)).rev() {
            let (key, row) = self.opened(pair.map_err(|error| self.failed(&error))?)?;
            if row.commit <= durable {
                return Ok(Some((key, row)));
            }
        }
        Ok(None)
    }

    pub fn glimpse(&self, run: RunKey) -> Result<Option<Glimpse>, StorageError> {
        // Before the frames: the one that brought it became durable with it, so that it is there to be read.
        let Some(head) = self.head(run)? else { return Ok(None) };
        let first = self.frames(run, Position::FIRST, 1).map(|frames| frames.into_iter().next());
        let last = if head.status.has_ended() { self.last_frame(run) } else { Ok(None) };
        Ok(Some(Glimpse { head, first, last }))
    }

    fn last_frame(&self, run: RunKey) -> Result<Option<StoredFrame>, StorageError> {
        self.durable_last(run)?.map(|(key, row)| row.frame(&key)).transpose()
    }

    pub fn head(&self, run: RunKey) -> Result<Option<Head>, StorageError> {
        let key = key::of_run(Kind::Head, run);
        self.get(&key)?.map(|row| row.decode(&key)).transpose()
    }

    pub fn heads(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<Head>, StorageError> {
        let low = query.from.unwrap_or(RunId(0));
        let high = match query.before {
            Some(RunId(0)) => return Ok(Vec::new()),
            Some(before) => RunId(before.0 - 1),
            None => RunId(u128::MAX),
        };
        if low > high {
            return Ok(Vec::new());
        }
        let runs = RunKey { tenant, run: low }..=RunKey { tenant, run: high };
        if !query.status.is_empty() && !query.status.iter().any(|status| status.has_ended()) {
            // Few runs are open, however many have ended.
            let open = self.open_runs(&runs);
            return self.wanted(query, open.filter_map(|run| run.and_then(|run| self.written_head(run)).transpose()));
        }
        let heads = self.newest_first(Kind::Head, &runs).map(|pair| -> Result<(u64, Head), StorageError> {
            let (key, row) = self.opened(pair.map_err(|error| self.failed(&error))?)?;
            Ok((row.commit, row.decode(&key)?))
        });
        self.wanted(query, heads)
    }

    /// With the commit that wrote it, durable or not.
    fn written_head(&self, run: RunKey) -> Result<Option<(u64, Head)>, StorageError> {
        let key = key::of_run(Kind::Head, run);
        let Some(row) = self.written(&key)? else { return Ok(None) };
        Ok(Some((row.commit, row.decode(&key)?)))
    }

    /// Those of the written heads that are asked for. It waits once, until all that it looked at is durable: that a head
    /// is left out tells of it, too.
    fn wanted(
        &self,
        query: &RunQuery,
        mut heads: impl Iterator<Item = Result<(u64, Head), StorageError>>,
    ) -> Result<Vec<Head>, StorageError> {
        let (mut wanted, mut newest) = (Vec::new(), 0);
        while wanted.len() < query.limit
            && let Some(head) = heads.next()
        {
            let (commit, head) = head?;
            newest = newest.max(commit);
            if query.wants(&head) {
                wanted.push(head);
            }
        }
        self.wait(newest)?;
        Ok(wanted)
    }

    fn newest_first(
        &self,
        kind: Kind,
        runs: &RangeInclusive<RunKey>,
    ) -> impl Iterator<Item = ::sled::Result<(IVec, IVec)>> + use<> {
        let (low, high) = (key::of_run(kind, *runs.start()), key::of_run(kind, *runs.end()));
        self.db.range(low.as_slice()..=high.as_slice()).rev()
    }

    /// Open runs, the newest first, each once. One that changes its mark between two steps of this walk
    /// may be left out: the next list has it.
    fn open_runs(&self, runs: &RangeInclusive<RunKey>) -> impl Iterator<Item = Result<RunKey, StorageError>> {
        let marked = |kind| {
            let keys = self.newest_first(kind, runs).map(|pair| {
                let (key, _) = pair.map_err(|error| self.failed(&error))?;
                key::run_of(&key).ok_or_else(|| damaged(&key, "its key is too short"))
            });
            keys.peekable()
        };
        let (mut ready, mut parked) = (marked(Kind::Ready), marked(Kind::Parked));
        let mut last = None;
        std::iter::from_fn(move || {
            loop {
                let next = match (ready.peek(), parked.peek()) {
                    // An error comes before everything else.
                    (Some(Err(_)), _) => ready.next(),
                    (_, Some(Err(_))) => parked.next(),
                    (Some(Ok(one)), Some(Ok(other))) if one < other => parked.next(),
                    (Some(_), _) => ready.next(),
                    (None, _) => parked.next(),
                };
                match next {
                    Some(Ok(run)) if last == Some(run) => {}
                    Some(Ok(run)) => {
                        last = Some(run);
                        return Some(Ok(run));
                    }
                    Some(Err(_)) | None => return next,
                }
            }
        })
    }

    pub fn logs(&self, run: RunKey, after: Option<LogKey>, max: usize) -> Result<Vec<LogLine>, StorageError> {
        let prefix = key::of_run(Kind::Log, run);
        let last = LogKey { step: u32::MAX, attempt: u32::MAX, effect: u32::MAX, line: u32::MAX };
        let high = key::log(run, last);
        let low = after.map_or_else(|| prefix.to_vec(), |after| key::log(run, after).to_vec());
        let mut lines = Vec::new();
        for pair in self.db.range(low.as_slice()..=high.as_slice()) {
            if lines.len() >= max {
                break;
            }
            let (key, row) = self.shown(pair)?;
            let line: LogLine = row.decode(&key)?;
            if after.is_none_or(|after| line.key > after) {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    pub fn questions(
        &self,
        tenant: TenantId,
        before: Option<(RunId, QuestionName)>,
        max: usize,
    ) -> Result<Vec<OpenQuestion>, StorageError> {
        let low = key::of_tenant(Kind::Question, tenant);
        let last = (RunId(u128::MAX), QuestionName { step: StepId(u32::MAX), effect: None });
        let (run, name) = before.unwrap_or(last);
        // Attempts count from 1, so this is right before the first row of that name.
        let high = key::question(RunKey { tenant, run }, QuestionId { name, attempt: 0 });
        let mut questions = Vec::new();
        for pair in self.db.range(low.as_slice()..high.as_slice()).rev().take(max) {
            let (key, row) = self.shown(pair)?;
            let named = key::run_of(&key).zip(key::question_of(&key));
            let (run, question) = named.ok_or_else(|| damaged(&key, "its key is too short"))?;
            questions.push(OpenQuestion { run: run.run, question, asked: row.decode(&key)? });
        }
        Ok(questions)
    }

    pub fn landmark(&self, run: RunKey, landmark: &Landmark) -> Result<Option<Position>, StorageError> {
        let key = key::landmark(run, landmark);
        self.get(&key)?.map(|row| row.decode(&key)).transpose()
    }

    pub fn states(&self, run: RunKey) -> Result<Vec<(Arc<str>, Position)>, StorageError> {
        let state = |row: Result<(IVec, Row), StorageError>| {
            let (key, row) = row?;
            match key::landmark_of(&key) {
                Some(Landmark::State(name)) => Ok((name, row.decode(&key)?)),
                Some(Landmark::Reply(_) | Landmark::Metered) | None => Err(damaged(&key, "its key has no name")),
            }
        };
        let mut states = self.rows(&key::states(run)).map(state).collect::<Result<Vec<_>, _>>()?;
        // Where names are hidden the tree has them in no order.
        states.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(states)
    }

    pub fn start_key(&self, tenant: TenantId, key: &str) -> Result<Option<StartKey>, StorageError> {
        let key = key::named(Kind::StartKey, tenant, key);
        self.get(&key)?.map(|row| row.decode(&key)).transpose()
    }

    pub fn damage_frame(&self, run: RunKey, position: Position) -> Result<bool, StorageError> {
        let key = key::frame(run, position);
        let failed = |error: ::sled::Error| self.failed(&error);
        let Some(value) = self.db.get(key).map_err(failed)? else { return Ok(false) };
        let mut bytes = value.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        self.db.insert(key, bytes).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        Ok(true)
    }
}
