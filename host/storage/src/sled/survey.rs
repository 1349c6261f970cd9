//! Looks at every row: for a check of the whole store, and for a copy of it. It repairs nothing, and
//! goes on after the first thing that is wrong.

use ::sled::IVec;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use trackway_replay::{Digest, Head, Position, RunId, TenantId};

use super::key::{self, Kind};
use super::record::record_in;
use super::row::{OpenRow, Row, damaged};
use super::shared::Shared;
use crate::entity::{EntityMark, EntityTally};
use crate::{Entity, EntityWritten, InboxItem, LogLine, Mark, RunKey, RunRows, StartKey, StorageError};

/// Rows that stand under a run.
pub(super) const OF_RUNS: [Kind; 14] = [
    Kind::StartedBy,
    Kind::Frame,
    Kind::Head,
    Kind::Inbox,
    Kind::Log,
    Kind::Message,
    Kind::Landmark,
    Kind::Parked,
    Kind::Question,
    Kind::Ready,
    Kind::Receipt,
    Kind::Payload,
    Kind::Pieces,
    Kind::Piece,
];
/// Rows that stand before the first frame that names them. Of a start that was cut off in between they are all there is:
/// no run, and nothing that anybody was told of.
const BEFORE_FRAMES: [Kind; 3] = [Kind::Payload, Kind::Pieces, Kind::Piece];
pub(super) const OF_OTHERS: [Kind; 10] = [
    Kind::Gone,
    Kind::Meta,
    Kind::Component,
    Kind::Deployment,
    Kind::Version,
    Kind::StartKey,
    Kind::EntityTally,
    Kind::Record,
    Kind::Timer,
    Kind::Entity,
];

/// What was found wrong, in words.
#[derive(Default)]
struct Flaws(Vec<String>);

impl Flaws {
    fn take<T>(&mut self, checked: Result<T, StorageError>) -> Option<T> {
        checked.map_err(|error| self.0.push(error.message)).ok()
    }

    fn row(&mut self, key: &[u8], why: &str) {
        self.0.push(damaged(key, why).message);
    }
}

impl Shared {
    /// By their first row of any kind: a run may have lost its head, or its frames.
    pub fn runs(&self, tenant: TenantId, after: Option<RunId>, max: usize) -> Result<Vec<RunId>, StorageError> {
        let kinds = OF_RUNS.into_iter().filter(|kind| !BEFORE_FRAMES.contains(kind));
        self.runs_with(kinds, tenant, after, max)
    }

    /// Runs that have rows of any of these kinds.
    pub fn runs_with(
        &self,
        kinds: impl Iterator<Item = Kind> + Clone,
        tenant: TenantId,
        after: Option<RunId>,
        max: usize,
    ) -> Result<Vec<RunId>, StorageError> {
        let mut runs = Vec::new();
        let mut low = match after {
            Some(RunId(u128::MAX)) => return Ok(runs),
            Some(after) => RunId(after.0 + 1),
            None => RunId(0),
        };
        while runs.len() < max {
            let Some(run) = self.first_run(kinds.clone(), RunKey { tenant, run: low })? else { break };
            runs.push(run);
            match run.0.checked_add(1) {
                Some(next) => low = RunId(next),
                None => break,
            }
        }
        Ok(runs)
    }

    /// The first run from `low` on that has a row.
    fn first_run(&self, kinds: impl Iterator<Item = Kind>, low: RunKey) -> Result<Option<RunId>, StorageError> {
        let high = RunKey { run: RunId(u128::MAX), ..low };
        let mut first: Option<RunId> = None;
        for kind in kinds {
            // Keys under the last run are longer than its prefix.
            let mut end = key::of_run(kind, high).to_vec();
            end.extend_from_slice(&[u8::MAX; 33]);
            let found = self.db.range(key::of_run(kind, low).as_slice()..=end.as_slice()).keys().next();
            let Some(key) = found.transpose().map_err(|error| self.failed(&error))? else { continue };
            let run = key::run_of(&key).ok_or_else(|| damaged(&key, "its key is too short"))?.run;
            first = Some(first.map_or(run, |first| first.min(run)));
        }
        Ok(first)
    }

    pub fn payload_digests(&self, run: RunKey) -> Result<Vec<Digest>, StorageError> {
        let mut digests = BTreeSet::new();
        for kind in [Kind::Payload, Kind::Pieces] {
            let prefix = key::of_run(kind, run);
            for pair in self.db.scan_prefix(prefix) {
                let (key, value) = pair.map_err(|error| self.failed(&error))?;
                // One that is not sealed need not be sound to be listed.
                let key = match Row::is_sealed(&value) {
                    true => self.opened((key, value))?.0,
                    false => key,
                };
                digests.insert(digest_in(&key, prefix.len()).ok_or_else(|| damaged(&key, "its key has no digest"))?);
            }
        }
        for name in self.payload_files(run)? {
            digests.extend(self.digest_of_file(run, &name)?);
        }
        Ok(digests.into_iter().collect())
    }

    pub fn start_keys(&self, tenant: TenantId, after: Option<&str>, max: usize) -> Result<Vec<StartKey>, StorageError> {
        let low = key::named(Kind::StartKey, tenant, after.unwrap_or_default());
        let low = self.in_tree(&low);
        let prefix = key::of_tenant(Kind::StartKey, tenant);
        let mut keys = Vec::new();
        for pair in self.db.range(low.as_ref()..) {
            let (key, row) = match pair {
                Ok((key, _)) if !key.starts_with(&prefix) => break,
                Ok((key, _)) if after.is_some() && *key == *low => continue,
                pair => self.shown(pair)?,
            };
            if keys.len() == max {
                break;
            }
            keys.push(row.decode(&key)?);
        }
        Ok(keys)
    }

    pub fn check_run(&self, run: RunKey) -> Result<RunRows, StorageError> {
        let mut flaws = Flaws::default();
        let frames = self.check_frames(run, &mut flaws)?;
        for (key, head) in self.decoded::<Head>(Kind::Head, run, &mut flaws)? {
            if head.run != run.run {
                flaws.row(&key, &format!("it is of run {}", head.run));
            }
        }
        for (key, line) in self.decoded::<LogLine>(Kind::Log, run, &mut flaws)? {
            if key::log(run, line.key).as_slice() != &*key {
                flaws.row(&key, "its key and its content do not agree");
            }
        }
        self.check_payloads(run, &mut flaws)?;
        let mark = self.check_mark(run, &mut flaws)?;
        let inbox = self.decoded::<InboxItem>(Kind::Inbox, run, &mut flaws)?;
        let messages = self.raw(Kind::Message, run, &mut flaws)?;
        for (key, item) in &inbox {
            let message = key::message(run, item.message);
            if self.db.get(self.in_tree(&message)).map_err(|error| self.failed(&error))?.is_none() {
                flaws.row(key, "its message is not on record");
            }
        }
        if mark.is_none() && !(inbox.is_empty() && messages.is_empty()) {
            flaws.0.push(format!("run {} has ended and still has {} messages", run.run, inbox.len() + messages.len()));
        }
        let mut questions = Vec::new();
        for (key, asked) in self.decoded::<Position>(Kind::Question, run, &mut flaws)? {
            match key::question_of(&key) {
                Some(question) => questions.push((question, asked)),
                None => flaws.row(&key, "its key names no question"),
            }
        }
        let receipts = self.decoded::<EntityWritten>(Kind::Receipt, run, &mut flaws)?;
        if mark.is_none() && !receipts.is_empty() {
            flaws.0.push(format!("run {} has ended and still has {} receipts", run.run, receipts.len()));
        }
        let mut landmarks = Vec::new();
        for (key, place) in self.decoded::<Position>(Kind::Landmark, run, &mut flaws)? {
            match key::landmark_of(&key) {
                Some(landmark) => landmarks.push((landmark, place)),
                None => flaws.row(&key, "its key has no name"),
            }
        }
        landmarks.sort();
        if frames == 0 {
            flaws.0.push(format!("run {} has rows and no journal", run.run));
        }
        Ok(RunRows { mark, questions, landmarks, flaws: flaws.0 })
    }

    /// Checksum, chain and places of all frames; how many there are.
    fn check_frames(&self, run: RunKey, flaws: &mut Flaws) -> Result<usize, StorageError> {
        let mut count = 0;
        let mut before = None;
        for pair in self.db.scan_prefix(key::of_run(Kind::Frame, run)) {
            count += 1;
            let pair = pair.map_err(|error| self.failed(&error))?;
            let tail = flaws.take(self.opened(pair).and_then(|(key, row)| row.tail(&key)));
            if let Some(tail) = tail {
                let (expected, previous) = match &before {
                    None if count == 1 => (Position::FIRST, None),
                    // What comes after a damaged one cannot be held to it.
                    None => (tail.position, tail.previous),
                    Some(before) => (super::row::Tail::end(before), Some(before.id)),
                };
                if tail.position != expected || tail.previous != previous {
                    flaws.0.push(format!(
                        "the journal of run {} has a gap: position {expected} should follow, what stands there is {}",
                        run.run, tail.position
                    ));
                }
            }
            before = tail;
        }
        Ok(count)
    }

    fn check_payloads(&self, run: RunKey, flaws: &mut Flaws) -> Result<(), StorageError> {
        let prefix = key::of_run(Kind::Payload, run).len();
        for kind in [Kind::Payload, Kind::Piece] {
            for (key, row) in self.raw(kind, run, flaws)? {
                if digest_in(&key, prefix) != Some(Digest::of(row.body())) {
                    flaws.row(&key, "its content has another digest than its key");
                }
            }
        }
        for (key, row) in self.raw(Kind::Pieces, run, flaws)? {
            match digest_in(&key, prefix) {
                Some(digest) => drop(flaws.take(self.joined(run, digest, &row))),
                None => flaws.row(&key, "its key has no digest"),
            }
        }
        for name in self.payload_files(run)? {
            match flaws.take(self.digest_of_file(run, &name)) {
                Some(Some(digest)) => drop(flaws.take(self.read_payload_file(run, &name, digest))),
                Some(None) => flaws.0.push(format!("{} is no payload", self.payloads(run).join(&name).display())),
                None => {}
            }
        }
        Ok(())
    }

    fn check_mark(&self, run: RunKey, flaws: &mut Flaws) -> Result<Option<Mark>, StorageError> {
        let ready = self.decoded::<OpenRow>(Kind::Ready, run, flaws)?;
        let parked = self.decoded::<OpenRow>(Kind::Parked, run, flaws)?;
        if !ready.is_empty() && !parked.is_empty() {
            flaws.0.push(format!("run {} is marked as ready and as parked", run.run));
        }
        for (key, row) in &parked {
            let Some(due) = row.due else { continue };
            if self.db.get(key::timer(due, run)).map_err(|error| self.failed(&error))?.is_none() {
                flaws.row(key, "its timer is missing: it would sleep for ever");
            }
        }
        Ok(match (ready.first(), parked.first()) {
            (Some(_), _) => Some(Mark::Ready),
            (None, Some((_, row))) => Some(Mark::Parked { due: row.due }),
            (None, None) => None,
        })
    }

    pub fn check_rest(&self, tenant: TenantId) -> Result<Vec<String>, StorageError> {
        let mut flaws = Flaws::default();
        // What is of no tenant is said once.
        let is_first = tenant == TenantId::DEFAULT;
        for pair in self.db.scan_prefix([Kind::Timer as u8]) {
            let Some((key, _)) = flaws.take(self.shown(pair)) else { continue };
            let Some((due, run)) = key::timer_of(&key) else {
                if is_first {
                    flaws.row(&key, "its key is too short");
                }
                continue;
            };
            if run.tenant != tenant {
                continue;
            }
            let place = key::of_run(Kind::Parked, run);
            let parked = flaws.take(self.get(&place)).flatten();
            let row = parked.and_then(|row| flaws.take(row.decode::<OpenRow>(&place)));
            if row.and_then(|row| row.due) != Some(due) {
                flaws.row(&key, &format!("run {} does not wait for it", run.run));
            }
        }
        let records = flaws.take(self.components(tenant)).unwrap_or_default();
        for record in &records {
            flaws.take(self.component_bytes(tenant, record.digest));
        }
        flaws.take(self.deployments(tenant));
        for pair in self.db.scan_prefix(key::of_tenant(Kind::StartKey, tenant)) {
            let Some((key, row)) = flaws.take(self.shown(pair)) else { continue };
            let Some(start) = flaws.take(row.decode::<StartKey>(&key)) else { continue };
            if key::named(Kind::StartKey, tenant, &start.key) != key.as_ref() {
                flaws.row(&key, "its key and its content do not agree");
            }
            let first = key::frame(RunKey { tenant, run: start.run }, Position::FIRST);
            if self.db.get(first).map_err(|error| self.failed(&error))?.is_none() {
                flaws.row(&key, &format!("it names run {}, which is not there", start.run));
            }
        }
        self.check_entities(tenant, &mut flaws)?;
        for pair in self.db.scan_prefix(key::of_tenant(Kind::Record, tenant)) {
            let Some((key, row)) = flaws.take(self.shown(pair)) else { continue };
            flaws.take(record_in(&key, &row));
        }
        if is_first {
            self.check_kinds(&mut flaws)?;
        }
        Ok(flaws.0)
    }

    /// Each stands under its own name, and all of them are what the tenant's count says. Only of a store that
    /// nobody writes to can that be told.
    fn check_entities(&self, tenant: TenantId, flaws: &mut Flaws) -> Result<(), StorageError> {
        let place = key::of_tenant(Kind::EntityTally, tenant);
        let before = flaws.take(self.get(&place)).flatten().map(|row| row.commit);
        let mut found = EntityTally::default();
        for pair in self.db.scan_prefix(key::of_tenant(Kind::Entity, tenant)) {
            let Some((key, row)) = flaws.take(self.shown(pair)) else { continue };
            let Some(entity) = flaws.take(row.decode::<Entity>(&key)) else { continue };
            if key::entity(tenant, &entity.name, &entity.key) != key.as_ref() {
                flaws.row(&key, "its key and its content do not agree");
            }
            let EntityMark { version, size_bytes } = entity.mark();
            found.count += 1;
            found.size_bytes += size_bytes;
            found.version = found.version.max(version);
        }
        let Some(row) = flaws.take(self.get(&place)) else { return Ok(()) };
        let is_quiet = row.as_ref().map(|row| row.commit) == before;
        let counted = row.and_then(|row| flaws.take(row.decode::<EntityTally>(&place))).unwrap_or_default();
        let agrees = (counted.count, counted.size_bytes) == (found.count, found.size_bytes);
        if is_quiet && (!agrees || counted.version < found.version) {
            flaws.row(&place, &format!("it says {counted:?}, and what stands there is {found:?}"));
        }
        Ok(())
    }

    /// Rows of kinds that this program does not know would never be read by anything.
    fn check_kinds(&self, flaws: &mut Flaws) -> Result<(), StorageError> {
        let known: BTreeSet<u8> = OF_RUNS.iter().chain(&OF_OTHERS).map(|kind| *kind as u8).collect();
        for kind in (0..=u8::MAX).filter(|kind| !known.contains(kind)) {
            if let Some(key) = self.db.scan_prefix([kind]).keys().next() {
                flaws.row(&key.map_err(|error| self.failed(&error))?, "no such kind is known");
            }
        }
        Ok(())
    }

    /// The sound rows of one kind of a run.
    fn raw(&self, kind: Kind, run: RunKey, flaws: &mut Flaws) -> Result<Vec<(IVec, Row)>, StorageError> {
        let mut sound = Vec::new();
        for pair in self.db.scan_prefix(key::of_run(kind, run)) {
            let pair = pair.map_err(|error| self.failed(&error))?;
            sound.extend(flaws.take(self.shown(Ok(pair))));
        }
        Ok(sound)
    }

    fn decoded<T: DeserializeOwned>(
        &self,
        kind: Kind,
        run: RunKey,
        flaws: &mut Flaws,
    ) -> Result<Vec<(IVec, T)>, StorageError> {
        let rows = self.raw(kind, run, flaws)?;
        Ok(rows
            .into_iter()
            .filter_map(|(key, row)| {
                let decoded = flaws.take(row.decode(&key))?;
                Some((key, decoded))
            })
            .collect())
    }
}

fn digest_in(key: &[u8], prefix: usize) -> Option<Digest> {
    key.get(prefix..)?.try_into().ok().map(Digest)
}
