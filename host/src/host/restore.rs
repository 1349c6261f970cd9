//! Makes a data folder of a backup. Nothing stands in the folder under its name before all of it was
//! written, read again and checked.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use trackway_replay::{Frame, Head, RunState, Status, StepId, TenantId};
use trackway_storage::dump::Record;
use trackway_storage::{
    Append, Appended, EntityRestore, EntityWritten, Hardening, Landmark, LogLine, Owner, Rows, RunKey, Shelf,
    SledOptions, SledStorage, Storage, USAGE_TOTAL,
};

use super::backup::{Backup, naming, no_such_shelf, open};
use super::check::{self, Others};
use super::{DataKeys, folder, read_backup};
use crate::worker::{end_item, landmarks_in, messages_in};
use crate::{Code, Error, Result};

mod entities;
mod usage;

use entities::Entities;
use usage::{Stored, Usage};

/// The store while it is made; a folder of this name is of a restore that did not end.
const HALF: &str = "restoring";
/// What else may be in an empty data folder: keys, and what a file system puts there.
const HARMLESS: [&str; 3] = ["key", "lost+found", HALF];
/// Log lines that go with one frame; the last one takes what is left.
const LOGS_WITH_A_FRAME: usize = 256;

/// Restores a backup into a data folder without a store. What is sealed under a data key that is not among `keys` is left
/// out; a tenant whose data key is there keeps it.
///
/// # Errors
/// [`Code::File`] where the folder is not empty; those of [`read_backup`]; those of the disk.
pub async fn restore(file: &Path, data: &Path, keys: &DataKeys) -> Result<Backup> {
    refuse_unless_empty(data)?;
    let backup = read_backup(file, keys)?;
    if backup.sealed > 0 && keys.is_empty() {
        let why =
            format!("{} records in {} are sealed, and their data keys are not there", backup.sealed, file.display());
        return Err(Error::new(Code::NoDataKey, why).hint("name them with --data-keys KEYS; nothing was restored"));
    }
    let half = data.join(HALF);
    let cannot = |error: std::io::Error| Error::new(Code::File, format!("{}: {error}", half.display()));
    match fs::remove_dir_all(&half) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
        Ok(()) | Err(_) => {}
    }
    // Nobody is told anything before the whole store is synced and read again, so single writes need not
    // wait for the disk.
    let made = SledOptions { sealing: keys.sealing(), ..SledOptions::default() };
    let options = SledOptions { hardening: Hardening::NoWait, epoch_above: backup.epoch, ..made.clone() };
    let storage = SledStorage::open(&half, options)?;
    for key in backup.tenants.iter().filter_map(|tenant| keys.of(*tenant)) {
        storage.seals().adopt(key)?;
    }
    write(file, (&backup, keys), &storage).await?;
    storage.close().await?;
    drop(storage);
    // Opening it syncs everything that was written.
    let storage = SledStorage::open(&half, made)?;
    let report = check::check(&storage, Others::None).await?;
    storage.close().await?;
    drop(storage);
    if let Some(flaw) = report.flaws.first() {
        return Err(Error::new(Code::DataDamaged, format!("what was restored is not sound: {}", flaw.what)));
    }
    if (report.runs, report.entries, report.components) != (backup.runs, backup.entries, backup.components) {
        let why = format!("{} of {} entries were restored", report.entries, backup.entries);
        return Err(Error::new(Code::DataDamaged, why));
    }
    let synced = fs::rename(&half, data.join(folder::STORE)).and_then(|()| fs::File::open(data)?.sync_all());
    synced.map_err(cannot)?;
    Ok(backup)
}

fn refuse_unless_empty(data: &Path) -> Result<()> {
    let cannot = |error: std::io::Error| Error::new(Code::File, format!("{} cannot be used: {error}", data.display()));
    fs::create_dir_all(data).map_err(cannot)?;
    for entry in fs::read_dir(data).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            let why = format!("{} is not empty: it holds `{}`", data.display(), name.to_string_lossy());
            return Err(Error::new(Code::File, why).hint("--data DIR with a folder that is empty or not there"));
        }
    }
    Ok(())
}

async fn write(file: &Path, (backup, keys): (&Backup, &DataKeys), storage: &SledStorage) -> Result<()> {
    let mut reader = open(file, keys)?;
    let mut tenant = TenantId::DEFAULT;
    let mut run: Option<Restoring> = None;
    let (mut entities, mut usage) = (Entities::of(tenant), Usage::default());
    while let Some((record, data)) = reader.read().map_err(|error| naming(file, error))? {
        match record {
            Record::Tenant(next) => {
                end_of(storage, run.take(), &mut usage).await?;
                std::mem::take(&mut usage).put(storage, tenant).await?;
                tenant = next;
                entities = Entities::of(tenant);
            }
            Record::Shelved { shelf, name, .. }
                if Shelf::of_number(shelf) == Some(Shelf::Usage) && *name == *USAGE_TOTAL =>
            {
                usage.total(&data);
            }
            Record::Shelved { shelf, name, revision } => {
                let shelf = Shelf::of_number(shelf).ok_or_else(|| no_such_shelf(file, shelf))?;
                for revision in 1..=revision {
                    let record = trackway_storage::Record { name: name.clone(), revision, body: data.clone() };
                    storage.put_record(tenant, shelf, record).await?;
                }
            }
            Record::Component(record) => storage.put_component(tenant, record, data).await?,
            Record::Deployment(deployment) => {
                // A store takes revisions one after the other.
                for revision in 1..=deployment.revision {
                    let step = trackway_storage::Deployment { revision, ..deployment.clone() };
                    storage.put_deployment(tenant, step).await?;
                }
            }
            Record::Run { run: id, .. } => {
                end_of(storage, run.take(), &mut usage).await?;
                run = backup.holds(id).then(|| Restoring::new(RunKey { tenant, run: id }, backup));
            }
            Record::StartKey(_) | Record::End { .. } => {
                end_of(storage, run.take(), &mut usage).await?;
            }
            Record::Payload { digest } => {
                if let Some(run) = &run {
                    storage.put_payload(run.key, digest, data).await?;
                }
            }
            Record::Log(line) => {
                if let Some(run) = &mut run {
                    run.logs.push(line);
                }
            }
            Record::Frame { position, entries, previous, id } => {
                if let Some(run) = &mut run {
                    let rows = Rows::default();
                    let append = Append { run: run.key, position, entries, previous, id, frame: data, rows };
                    run.frame(storage, append, &mut entities).await?;
                }
            }
            Record::Inbox(item) => {
                if let Some(run) = &mut run {
                    run.last(storage).await?;
                    storage.send(run.key, item).await?;
                }
            }
            Record::EntityVersion(version) => {
                entities.known(version);
                storage.restore_entity(tenant, EntityRestore::Version(version)).await?;
            }
            Record::Entity(entity) => storage.restore_entity(tenant, EntityRestore::Entity(entity)).await?,
            Record::Receipt { step, written } => {
                if let Some(run) = &mut run {
                    run.last(storage).await?;
                    run.receipt(storage, step, written, &mut entities).await?;
                }
            }
            Record::Begin { .. } | Record::Unreadable { .. } | Record::Removed { .. } | Record::Sealed => {}
        }
    }
    end_of(storage, run, &mut usage).await?;
    usage.put(storage, tenant).await
}

async fn end_of(storage: &SledStorage, run: Option<Restoring>, usage: &mut Usage) -> Result<()> {
    let Some(mut run) = run else { return Ok(()) };
    run.last(storage).await?;
    if let Some(state) = &run.state {
        usage.run(&run.stored, state.end().is_none());
    }
    Ok(())
}

/// A run on its way into the store. The frame that came last waits: the last one of all says what
/// becomes of the run.
struct Restoring {
    key: RunKey,
    state: Option<RunState>,
    waiting: Option<Append>,
    start_key: Option<trackway_storage::StartKey>,
    logs: Vec<LogLine>,
    stored: Stored,
}

impl Restoring {
    fn new(key: RunKey, backup: &Backup) -> Restoring {
        let start_key = backup.start_keys.get(&key.run).cloned();
        Restoring { key, state: None, waiting: None, start_key, logs: Vec::new(), stored: Stored::default() }
    }

    async fn frame(&mut self, storage: &SledStorage, append: Append, entities: &mut Entities) -> Result<()> {
        let decoded = Frame::decode(&append.frame);
        let entries = decoded.map_err(|error| Error::new(Code::DataDamaged, error.to_string()))?.entries;
        self.stored.frame(&entries, append.frame.len());
        let (landmarks, brought) = (landmarks_in(&entries), messages_in(&entries));
        let rows = Rows { landmarks, brought, ..append.rows };
        if let Some(before) = self.waiting.replace(Append { rows, ..append }) {
            let few = self.logs.len().min(LOGS_WITH_A_FRAME);
            let logs = self.logs.drain(..few).collect();
            self.append(storage, before, Rows { logs, ..Rows::default() }).await?;
        }
        for entry in &entries {
            entities.answered(storage, self.state.as_ref(), &entry.kind).await?;
            check::apply(&mut self.state, entry).map_err(|why| Error::new(Code::DataDamaged, why))?;
        }
        Ok(())
    }

    /// Of a step that waits for the answer of its write.
    async fn receipt(
        &mut self,
        storage: &SledStorage,
        step: StepId,
        written: EntityWritten,
        entities: &mut Entities,
    ) -> Result<()> {
        let Some(open) = self.state.as_ref().filter(|state| state.end().is_none()).and_then(|it| it.step(step)) else {
            return Ok(());
        };
        entities.unanswered(storage, &open.request, written, open.asked).await?;
        let receipt = EntityRestore::Receipt(self.key, step, written);
        Ok(storage.restore_entity(self.key.tenant, receipt).await?)
    }

    async fn last(&mut self, storage: &SledStorage) -> Result<()> {
        let (Some(mut append), Some(head)) = (self.waiting.take(), self.state.as_ref().map(RunState::head)) else {
            return Ok(());
        };
        let logs = std::mem::take(&mut self.logs);
        let owner = owner_of(&head);
        // What it used stands in the sums of the backup.
        let place = append.position.plus(u64::from(append.entries).saturating_sub(1));
        append.rows.landmarks.push((Landmark::Metered, place));
        // A run that waits for this one was read before it, perhaps while it had not ended yet.
        let ended = self.state.as_ref().filter(|_| owner == Owner::End);
        let send = ended.and_then(|state| end_item(self.key, state, head.changed)).into_iter().collect();
        let asked = self.state.iter().flat_map(RunState::questions).collect();
        let rows = Rows { owner, head: Some(head), asked, logs, send, ..Rows::default() };
        self.append(storage, append, rows).await
    }

    async fn append(&mut self, storage: &SledStorage, append: Append, rows: Rows) -> Result<()> {
        let place = append.position;
        let Rows { landmarks, brought, .. } = append.rows;
        let rows = Rows { start_key: self.start_key.take(), landmarks, brought, ..rows };
        match storage.append(Append { rows, ..append }).await {
            Appended::Durable => Ok(()),
            Appended::Refused(error) => Err(error.into()),
            Appended::Fenced | Appended::Unknown | Appended::KeyTaken(_) | Appended::Missed(_) => {
                let why = format!("run {}: the frame at {place} could not be written", self.key.run);
                Err(Error::new(Code::DataDamaged, why))
            }
        }
    }
}

/// What becomes of the run when a host opens the folder.
fn owner_of(head: &Head) -> Owner {
    match head.status {
        Status::Succeeded | Status::Failed | Status::Cancelled => Owner::End,
        Status::Sleeping | Status::Waiting | Status::Paused => Owner::Park { due: head.due },
        Status::Queued | Status::Running | Status::Stuck => Owner::Keep,
    }
}
