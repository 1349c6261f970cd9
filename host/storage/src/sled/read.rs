//! Reads of journals, heads, logs and start keys. They show durable rows only.

use trackway_replay::{Head, Position, RunId, TenantId};

use super::key::{self, Kind};
use super::row::{Row, gap};
use super::shared::Shared;
use crate::{LogKey, LogLine, RunKey, RunQuery, StartKey, StorageError, StoredFrame};

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
            let (key, value) = pair.map_err(|error| self.failed(&error))?;
            let row = Row::open(&key, value)?;
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
        let durable = self.durable.commit();
        for pair in self.db.scan_prefix(key::of_run(Kind::Frame, run)).rev() {
            let (key, value) = pair.map_err(|error| self.failed(&error))?;
            let row = Row::open(&key, value)?;
            if row.commit <= durable {
                return Ok(row.tail(&key)?.end());
            }
        }
        Ok(Position::FIRST)
    }

    pub fn head(&self, run: RunKey) -> Result<Option<Head>, StorageError> {
        let key = key::of_run(Kind::Head, run);
        self.get(&key)?.map(|row| row.decode(&key)).transpose()
    }

    pub fn heads(&self, tenant: TenantId, query: &RunQuery) -> Result<Vec<Head>, StorageError> {
        let key_of = |run| key::of_run(Kind::Head, RunKey { tenant, run });
        let low = key_of(query.from.unwrap_or(RunId(0)));
        let high = match query.before {
            Some(RunId(0)) => return Ok(Vec::new()),
            Some(before) => key_of(RunId(before.0 - 1)),
            None => key_of(RunId(u128::MAX)),
        };
        if low > high {
            return Ok(Vec::new());
        }
        let mut heads = Vec::new();
        for pair in self.db.range(low.as_slice()..=high.as_slice()).rev() {
            if heads.len() >= query.limit {
                break;
            }
            let (key, row) = self.shown(pair)?;
            let head: Head = row.decode(&key)?;
            if query.wants(&head) {
                heads.push(head);
            }
        }
        Ok(heads)
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
