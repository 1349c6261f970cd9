//! A portable copy of all that a host holds: written while the host goes on, and read with every check
//! before anything is made of it.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use tokio::sync::mpsc;
use trackway_replay::{Digest, Epoch, Frame, FrameId, Position, RunId, RunState, TenantId, Timestamp, Value};
use trackway_storage::dump::{Reader, Record};
use trackway_storage::{Entity, EntityWritten, Shelf, StartKey, StorageError, StorageErrorKind, dump};

use super::{DataKeys, Host, check};
use crate::worker::{check_entity_key, check_entity_value, checked_name};
use crate::{Code, Error, Result};

const PROGRAM: &str = concat!("trackway ", env!("CARGO_PKG_VERSION"));

/// No host was started so often; a higher epoch would leave none for those that come.
const EPOCH_MAX: Epoch = Epoch(1 << 48);
/// Each is written anew when it is restored. Nobody deployed under one name so often.
const REVISIONS_MAX: u64 = 1 << 20;
/// So many writes nobody made; a higher version would leave none for those that come.
pub(super) const ENTITY_VERSION_MAX: u64 = 1 << 60;

/// What a backup holds; every byte of it was checked.
#[derive(Debug, Clone, Default)]
pub struct Backup {
    pub taken: Timestamp,
    pub program: String,
    pub components: u64,
    pub deployments: u64,
    pub runs: u64,
    /// Of them, those that have not ended.
    pub open: u64,
    pub entries: u64,
    pub entities: u64,
    /// Runs that could not be read when the backup was made, and why: they cannot be restored.
    pub unreadable: BTreeMap<RunId, String>,
    /// Records of tenants whose data key is not there: they were checked as far as that can be done without it.
    pub sealed: u64,
    /// Runs that such records are of: they cannot be restored.
    pub(super) shut: BTreeSet<RunId>,
    pub(super) tenants: BTreeSet<TenantId>,
    /// Runs that were removed while they were read.
    removed: BTreeSet<RunId>,
    pub(super) epoch: Epoch,
    pub(super) start_keys: BTreeMap<RunId, StartKey>,
}

impl Host {
    /// Puts a backup of everything, of all tenants, into `sink`. Each run is as it was at one moment; a run that began
    /// later than the backup may be missing. Without its last record it is none.
    pub async fn backup(&self, sink: mpsc::Sender<Bytes>) -> Result<()> {
        dump::write(&*self.storage, self.clock.now(), PROGRAM, sink).await.map_err(Error::from)
    }
}

/// Reads a whole backup and checks it: the file, every journal, every value. Blocks on the disk.
///
/// # Errors
/// [`Code::DataDamaged`] or [`Code::DataNewer`] where it is no whole backup that this program can read. What is sealed
/// under a key that is not among `keys` is counted, and is no error.
pub fn read_backup(file: &Path, keys: &DataKeys) -> Result<Backup> {
    let mut reader = open(file, keys)?;
    let mut backup = Backup::default();
    let mut run: Option<RunCheck> = None;
    let mut component_digests = BTreeSet::new();
    backup.tenants.insert(TenantId::DEFAULT);
    let mut start_keys = Vec::new();
    while let Some((record, data)) = reader.read().map_err(|error| naming(file, error))? {
        match record {
            Record::Begin { taken, epoch, program } => {
                if epoch > EPOCH_MAX {
                    return Err(damaged(file, &format!("no host has epoch {epoch}")));
                }
                backup.taken = taken;
                backup.epoch = epoch;
                backup.program = program.to_string();
            }
            Record::Tenant(tenant) => {
                backup.end_of_run(run.take(), &component_digests);
                // Runs are pinned to components of their own tenant.
                component_digests.clear();
                if !backup.tenants.insert(tenant) {
                    return Err(damaged(file, &format!("tenant {tenant} stands in it twice")));
                }
            }
            Record::Sealed => {
                backup.sealed += 1;
                backup.shut.extend(run.take().map(|run| run.id));
            }
            Record::Shelved { shelf, revision, .. } => {
                Shelf::of_number(shelf).ok_or_else(|| no_such_shelf(file, shelf))?;
                if revision > REVISIONS_MAX {
                    return Err(damaged(file, &format!("nobody made {revision} revisions of a record")));
                }
            }
            Record::Component(record) => {
                if Digest::of(&data) != record.digest {
                    return Err(damaged(file, &format!("component {} is not what it says", record.digest)));
                }
                component_digests.insert(record.digest);
                backup.components += 1;
            }
            Record::Deployment(deployment) => {
                if deployment.revision > REVISIONS_MAX {
                    let why = format!("nobody made {} revisions of `{}`", deployment.revision, deployment.name);
                    return Err(damaged(file, &why));
                }
                backup.deployments += 1;
            }
            Record::Run { run: id, entries } => {
                backup.end_of_run(run.take(), &component_digests);
                run = Some(RunCheck::new(id, entries, backup.epoch));
            }
            Record::Unreadable { run: id, why } => {
                run = run.filter(|run| run.id != id);
                backup.unreadable.insert(id, why.to_string());
            }
            Record::Removed { run: id } => {
                run = run.filter(|run| run.id != id);
                backup.removed.insert(id);
            }
            Record::StartKey(key) => start_keys.push(key),
            Record::Payload { digest } => {
                run.as_mut().ok_or_else(|| misplaced(file))?.payload(digest, &data);
            }
            Record::Frame { position, entries, previous, id } => {
                let run = run.as_mut().ok_or_else(|| misplaced(file))?;
                run.frame((position, entries, previous, id), &data);
            }
            Record::EntityVersion(version) => check_version(file, version)?,
            Record::Entity(entity) => {
                check_version(file, entity.version)?;
                if let Err(why) = check_entity(&entity) {
                    return Err(damaged(file, &format!("an entity is none: {why}")));
                }
                backup.entities += 1;
            }
            Record::Receipt { written, .. } => {
                if let EntityWritten::Done { version } | EntityWritten::Conflict { version } = written {
                    check_version(file, version)?;
                }
                run.as_ref().ok_or_else(|| misplaced(file))?;
            }
            Record::Log(_) | Record::Inbox(_) => {
                run.as_ref().ok_or_else(|| misplaced(file))?;
            }
            Record::End { .. } => {}
        }
    }
    backup.end_of_run(run.take(), &component_digests);
    backup.start_keys = start_keys.into_iter().map(|key| (key.run, key)).collect();
    Ok(backup)
}

pub(super) fn open(file: &Path, keys: &DataKeys) -> Result<Reader<BufReader<File>>> {
    let opened = File::open(file)
        .map_err(|error| Error::new(Code::File, format!("{} cannot be read: {error}", file.display())))?;
    Reader::opening(BufReader::new(opened), keys.openers()).map_err(|error| naming(file, error))
}

pub(super) fn naming(file: &Path, error: StorageError) -> Error {
    let hint = match error.kind {
        StorageErrorKind::Newer => "use the newer program that wrote it",
        _ => "use another backup: nothing was taken from this one",
    };
    Error::from(StorageError::new(error.kind, format!("{}: {}", file.display(), error.message))).hint(hint)
}

fn damaged(file: &Path, why: &str) -> Error {
    naming(file, StorageError::new(StorageErrorKind::Damaged, why))
}

pub(super) fn no_such_shelf(file: &Path, shelf: u8) -> Error {
    damaged(file, &format!("no record is of kind {shelf}"))
}

fn misplaced(file: &Path) -> Error {
    damaged(file, "something of a run stands before any run")
}

fn check_version(file: &Path, version: u64) -> Result<()> {
    match version {
        0..=ENTITY_VERSION_MAX => Ok(()),
        _ => Err(damaged(file, &format!("no entity has version {version}"))),
    }
}

fn check_entity(entity: &Entity) -> Result<(), String> {
    checked_name("an entity", &entity.name).map_err(|error| error.message)?;
    check_entity_key(&entity.key)?;
    check_entity_value(&entity.value).map_err(|failure| failure.message)
}

impl Backup {
    /// Whether that run can be restored.
    pub(super) fn holds(&self, run: RunId) -> bool {
        !self.unreadable.contains_key(&run) && !self.removed.contains(&run) && !self.shut.contains(&run)
    }

    fn end_of_run(&mut self, run: Option<RunCheck>, components: &BTreeSet<Digest>) {
        let Some(run) = run else { return };
        match run.end(components) {
            Ok(state) => {
                self.runs += 1;
                self.open += u64::from(state.end().is_none());
                self.entries += state.last().0.0 + 1;
            }
            Err((id, why)) => drop(self.unreadable.insert(id, why)),
        }
    }
}

/// Holds one run of a backup together.
struct RunCheck {
    id: RunId,
    entries: u64,
    /// Of the store that was dumped.
    epoch: Epoch,
    next: Position,
    previous: Option<FrameId>,
    state: Option<RunState>,
    payloads: BTreeSet<Digest>,
    wanted: BTreeSet<Digest>,
    /// The first thing that is wrong.
    wrong: Option<String>,
}

impl RunCheck {
    fn new(id: RunId, entries: u64, epoch: Epoch) -> RunCheck {
        RunCheck {
            id,
            entries,
            epoch,
            next: Position::FIRST,
            previous: None,
            state: None,
            payloads: BTreeSet::new(),
            wanted: BTreeSet::new(),
            wrong: None,
        }
    }

    fn payload(&mut self, digest: Digest, data: &[u8]) {
        if Digest::of(data) == digest {
            self.payloads.insert(digest);
        } else {
            self.wrong.get_or_insert_with(|| format!("value {digest} is not what it says"));
        }
    }

    fn frame(&mut self, place: (Position, u32, Option<FrameId>, FrameId), data: &[u8]) {
        if self.wrong.is_none()
            && let Err(why) = self.take(place, data)
        {
            self.wrong = Some(format!("at position {}: {why}", place.0));
        }
    }

    fn take(&mut self, place: (Position, u32, Option<FrameId>, FrameId), data: &[u8]) -> Result<(), String> {
        let (position, count, previous, id) = place;
        let frame = Frame::decode(data).map_err(|error| error.to_string())?;
        let follows = position == self.next && previous == self.previous && frame.position() == position;
        if !follows || frame.entries.len() as u64 != u64::from(count) {
            return Err("the frame does not follow the one before it".to_owned());
        }
        for entry in &frame.entries {
            if entry.epoch > self.epoch {
                return Err(format!("it is of epoch {}, after that of the backup", entry.epoch));
            }
            check::apply(&mut self.state, entry)?;
            if let Some(Value::Stored { digest, .. }) = entry.kind.value() {
                self.wanted.insert(*digest);
            }
        }
        self.next = position.plus(u64::from(count));
        self.previous = Some(id);
        Ok(())
    }

    fn end(self, components: &BTreeSet<Digest>) -> Result<RunState, (RunId, String)> {
        let wrong = |why: String| Err((self.id, why));
        if let Some(why) = self.wrong {
            return wrong(why);
        }
        if let Some(missing) = self.wanted.difference(&self.payloads).next() {
            return wrong(format!("value {missing} is missing"));
        }
        match self.state {
            Some(state) if self.next.0 != self.entries => {
                wrong(format!("it has {} entries instead of {}", state.last().0.0 + 1, self.entries))
            }
            Some(state) if state.started().run != self.id => wrong("it is another run's journal".to_owned()),
            // One that has ended does not hold it: it may have been removed.
            Some(state) if state.end().is_none() && !components.contains(&state.component()) => {
                wrong(format!("its component {} is missing", state.component()))
            }
            Some(state) => Ok(state),
            None => wrong("it has no journal".to_owned()),
        }
    }
}
