//! Writes a dump of a store that goes on being used. Each run is consistent in itself: everything up to
//! an entry that was durable when it was looked at.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use trackway_replay::{Digest, Frame, Kind, Position, RunId, TenantId, Timestamp};

use super::{MAGIC, Record, VERSION, VERSION_OPEN, about};
use crate::{
    Deployment, EntityQuery, RunKey, RunQuery, Seal, Seals, Shelf, Storage, StorageError, StorageErrorKind, Version,
};

/// Read from the store at once.
const FRAMES_BYTES: usize = 1 << 20;
const LOGS: usize = 1_000;
const RUNS: usize = 1_000;
const KEYS: usize = 1_000;
const ENTITIES: usize = 256;
pub(super) const RECORDS: usize = 256;

/// Puts the whole dump, of all tenants, into `sink`, piece by piece, as fast as it is taken. Only what was put after the
/// last piece without an error is a dump; who stops taking stops it. Of a tenant that is erased meanwhile it holds what was
/// read before, sealed under the key that the tenant had.
///
/// # Errors
/// Those of the store, but for a damaged run: that becomes a [`Record::Unreadable`].
pub async fn write(
    storage: &dyn Storage,
    taken: Timestamp,
    program: &str,
    sink: mpsc::Sender<Bytes>,
) -> Result<(), StorageError> {
    let tenant = TenantId::DEFAULT;
    let seals = storage.seals();
    let version = if seals.is_on() { VERSION } else { VERSION_OPEN };
    let sha = Sha256::new();
    let mut dump = Dump { storage, seals, tenant, seal: None, taken, sink, sha, runs: 0, unreadable: 0, records: 0 };
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&version.to_le_bytes());
    dump.put(head).await?;
    dump.record(&Record::Begin { taken, epoch: storage.epoch(), program: program.into() }, &[]).await?;
    dump.of(tenant).await?;
    // Those that are there now; one that is made meanwhile has nothing yet that was there when this began.
    for tenant in storage.tenants().await?.into_iter().filter(|tenant| *tenant != TenantId::DEFAULT) {
        dump.of(tenant).await?;
    }
    dump.end().await
}

struct Dump<'a> {
    storage: &'a dyn Storage,
    seals: Arc<Seals>,
    tenant: TenantId,
    /// As it was when the tenant's turn came: what was read of a tenant that is erased meanwhile waits in memory for who
    /// takes the dump, and goes out neither open nor under the key that nobody keeps.
    seal: Option<Arc<Seal>>,
    taken: Timestamp,
    sink: mpsc::Sender<Bytes>,
    sha: Sha256,
    runs: u64,
    unreadable: u64,
    records: u64,
}

impl Dump<'_> {
    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), StorageError> {
        self.sha.update(&bytes);
        let gone = |_| StorageError::new(StorageErrorKind::Closed, "nobody takes the dump any more");
        self.sink.send(bytes.into()).await.map_err(gone)
    }

    async fn record(&mut self, record: &Record, data: &[u8]) -> Result<(), StorageError> {
        let place = self.records;
        self.records += 1;
        let mut bytes = encode(record, data)?;
        if record.is_to_be_sealed() {
            // One that gets its first key meanwhile.
            self.seal = self.seal.take().or_else(|| self.seals.of(self.tenant));
        }
        if record.is_to_be_sealed()
            && let Some(seal) = &self.seal
        {
            bytes = encode(&Record::Sealed, &seal.seal(&about(self.tenant, place), &bytes))?;
        }
        self.put(bytes).await
    }

    async fn of(&mut self, tenant: TenantId) -> Result<(), StorageError> {
        // Where a key is missing there is no backup: it would take the place of one that has more.
        let seal = self.seals.found(tenant)?;
        if self.seals.is_destroyed(tenant) {
            return Ok(());
        }
        (self.tenant, self.seal) = (tenant, seal);
        if tenant != TenantId::DEFAULT {
            self.record(&Record::Tenant(tenant), &[]).await?;
        }
        match self.tenant().await {
            Err(error) if error.kind == StorageErrorKind::Damaged && self.is_erased() => Ok(()),
            written => written,
        }
    }

    /// Whether the key that the tenant had is destroyed by now: what is left of it does not open, and that is no flaw.
    fn is_erased(&self) -> bool {
        let now = self.seals.of(self.tenant);
        self.seal.as_ref().is_some_and(|seal| !now.is_some_and(|now| Arc::ptr_eq(&now, seal)))
    }

    async fn tenant(&mut self) -> Result<(), StorageError> {
        self.shelves().await?;
        self.components().await?;
        self.entities().await?;
        self.runs().await?;
        self.start_keys().await
    }

    async fn shelves(&mut self) -> Result<(), StorageError> {
        for shelf in Shelf::ALL {
            let mut after: Option<Arc<str>> = None;
            loop {
                let records = self.storage.records(self.tenant, shelf, after.as_deref(), RECORDS).await?;
                let Some(last) = records.last() else { break };
                after = Some(last.name.clone());
                for crate::Record { name, revision, body } in records {
                    self.record(&Record::Shelved { shelf: shelf.number(), name, revision }, &body).await?;
                }
            }
        }
        Ok(())
    }

    async fn components(&mut self) -> Result<(), StorageError> {
        // Deployments first: every component that one of them names was there before it.
        let deployments = self.storage.deployments(self.tenant).await?;
        let mut written = BTreeSet::new();
        for record in self.storage.components(self.tenant).await? {
            let bytes = self.storage.component_bytes(self.tenant, record.digest).await?;
            let Some(bytes) = bytes else {
                // It was removed meanwhile, or its tenant is being erased.
                continue;
            };
            written.insert(record.digest);
            self.record(&Record::Component(record), &bytes).await?;
        }
        for deployment in deployments {
            if let Some(deployment) = self.standing(deployment, &written).await? {
                self.record(&Record::Deployment(deployment), &[]).await?;
            }
        }
        Ok(())
    }

    /// As it is to be restored: without versions that were removed meanwhile, and their components after them. `None`:
    /// there is none any more.
    async fn standing(&self, read: Deployment, there: &BTreeSet<Digest>) -> Result<Option<Deployment>, StorageError> {
        let has_code = |version: &Version| there.contains(&version.component);
        if read.versions.iter().all(has_code) {
            return Ok(Some(read));
        }
        let now = self.storage.deployment(self.tenant, &read.name).await?;
        // Whatever is missing was not removed: a restore says so.
        if now.as_ref() == Some(&read) {
            return Ok(now);
        }
        let left = now.map(|now| Deployment { versions: now.versions.into_iter().filter(has_code).collect(), ..now });
        Ok(left.filter(|left| left.versions.iter().any(|version| version.version == left.current)))
    }

    /// Before all runs: what one of those wrote since stands in its journal.
    async fn entities(&mut self) -> Result<(), StorageError> {
        let version = self.storage.entity_version(self.tenant).await?;
        if version == 0 {
            return Ok(());
        }
        self.record(&Record::EntityVersion(version), &[]).await?;
        let mut after = None;
        loop {
            let query = EntityQuery { name: None, after, limit: ENTITIES };
            let entities = self.storage.entities(self.tenant, query).await?;
            let Some(last) = entities.last() else { return Ok(()) };
            after = Some((last.name.clone(), last.key.clone()));
            for entity in entities {
                self.record(&Record::Entity(entity), &[]).await?;
            }
        }
    }

    /// Those that are there now, and what they started since: others may begin faster than they are written.
    async fn runs(&mut self) -> Result<(), StorageError> {
        let newest = self.newest().await?;
        let mut started_since = BTreeSet::new();
        let mut after = None;
        loop {
            let runs = self.storage.runs(self.tenant, after, RUNS).await?;
            let Some(last) = runs.last() else { return Ok(()) };
            after = Some(*last);
            for run in runs {
                if run > newest {
                    match self.parent(run).await? {
                        Some(parent) if parent <= newest || started_since.contains(&parent) => {
                            started_since.insert(run);
                        }
                        Some(_) | None => continue,
                    }
                }
                match self.run(run).await {
                    Ok(()) => {}
                    Err(error)
                        if error.kind == StorageErrorKind::Damaged && (self.is_erased() || self.is_gone(run).await) =>
                    {
                        self.record(&Record::Removed { run }, &[]).await?;
                    }
                    Err(error) if error.kind == StorageErrorKind::Damaged => {
                        self.unreadable += 1;
                        self.record(&Record::Unreadable { run, why: error.message.into() }, &[]).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Nothing of it is there any more.
    async fn is_gone(&self, run: RunId) -> bool {
        let key = RunKey { tenant: self.tenant, run };
        let (head, end) = (self.storage.head(key).await, self.storage.end(key).await);
        matches!((head, end), (Ok(None), Ok(Position::FIRST)))
    }

    /// No run that is there now has a greater id.
    async fn newest(&self) -> Result<RunId, StorageError> {
        // The clock may have been set back since a run was started, and a run may have lost its head.
        let by_time = RunId::new(self.taken, u128::MAX);
        match self.storage.heads(self.tenant, RunQuery { limit: 1, ..RunQuery::default() }).await {
            Ok(heads) => Ok(heads.into_iter().map(|head| head.run).fold(by_time, RunId::max)),
            Err(error) if error.kind == StorageErrorKind::Damaged => Ok(RunId(u128::MAX)),
            Err(error) => Err(error),
        }
    }

    /// Who started it, if a run did and this can be read.
    async fn parent(&self, run: RunId) -> Result<Option<RunId>, StorageError> {
        let key = RunKey { tenant: self.tenant, run };
        let first = match self.storage.frames(key, Position::FIRST, 1).await {
            Ok(frames) => frames.into_iter().next(),
            Err(error) if error.kind == StorageErrorKind::Damaged => None,
            Err(error) => return Err(error),
        };
        let entries = first.and_then(|first| Frame::decode(&first.frame).ok()).map(|frame| frame.entries);
        Ok(entries.into_iter().flatten().find_map(|entry| match entry.kind {
            Kind::ChildOf(child) => Some(child.parent),
            _ => None,
        }))
    }

    async fn run(&mut self, run: RunId) -> Result<(), StorageError> {
        let key = RunKey { tenant: self.tenant, run };
        // First: what the run reads of it from now on stands below as well, and whoever restores it sees that.
        let unread = self.storage.inbox(key).await?;
        let (end, receipts) = self.storage.receipts(key).await?;
        if end == Position::FIRST {
            // It has just begun, and nothing of it is durable.
            return Ok(());
        }
        // Every payload that a frame before `end` names is durable by now.
        let payloads = self.storage.payloads(key).await?;
        self.record(&Record::Run { run, entries: end.0 }, &[]).await?;
        for digest in payloads {
            let bytes = self.storage.payload(key, digest).await?;
            // One that nothing names may go at any time.
            if let Some(bytes) = bytes {
                self.record(&Record::Payload { digest }, &bytes).await?;
            }
        }
        // Before the frames, with which they are written again.
        self.logs(key).await?;
        self.frames(key, end).await?;
        for item in unread {
            self.record(&Record::Inbox(item), &[]).await?;
        }
        for (step, written) in receipts {
            self.record(&Record::Receipt { step, written }, &[]).await?;
        }
        self.runs += 1;
        Ok(())
    }

    async fn frames(&mut self, run: RunKey, end: Position) -> Result<(), StorageError> {
        let mut from = Position::FIRST;
        while from < end {
            let frames = self.storage.frames(run, from, FRAMES_BYTES).await?;
            if frames.is_empty() {
                let why = format!("the journal of run {} ends at {from} instead of {end}", run.run);
                return Err(StorageError::new(StorageErrorKind::Damaged, why));
            }
            for frame in frames {
                if frame.position >= end {
                    return Ok(());
                }
                from = frame.position.plus(u64::from(frame.entries));
                let record = Record::Frame {
                    position: frame.position,
                    entries: frame.entries,
                    previous: frame.previous,
                    id: frame.id,
                };
                self.record(&record, &frame.frame).await?;
            }
        }
        Ok(())
    }

    async fn logs(&mut self, run: RunKey) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let lines = self.storage.logs(run, after, LOGS).await?;
            let Some(last) = lines.last() else { return Ok(()) };
            after = Some(last.key);
            for line in lines {
                self.record(&Record::Log(line), &[]).await?;
            }
        }
    }

    /// Last, so that there is one for each run above that has one. Those of later runs are left out when
    /// it is read.
    async fn start_keys(&mut self) -> Result<(), StorageError> {
        let mut after: Option<Arc<str>> = None;
        loop {
            let keys = self.storage.start_keys(self.tenant, after.as_deref(), KEYS).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(last.key.clone());
            for key in keys {
                self.record(&Record::StartKey(key), &[]).await?;
            }
        }
    }

    async fn end(mut self) -> Result<(), StorageError> {
        let sha256 = Digest(self.sha.clone().finalize().into());
        let Dump { runs, unreadable, records, .. } = self;
        self.record(&Record::End { runs, unreadable, records, sha256 }, &[]).await
    }
}

pub fn encode(record: &Record, data: &[u8]) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![record.kind(), 0, 0, 0, 0];
    bytes.extend_from_slice(&(data.len() as u32).to_le_bytes());
    let head = bytes.len();
    let invalid = |error: postcard::Error| {
        StorageError::new(StorageErrorKind::Invalid, format!("a record cannot be written: {error}"))
    };
    bytes = postcard::to_extend(record, bytes).map_err(invalid)?;
    let fields = (bytes.len() - head) as u32;
    bytes[1..5].copy_from_slice(&fields.to_le_bytes());
    bytes.extend_from_slice(data);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}
