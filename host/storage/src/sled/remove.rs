//! The removal of a run that has ended. Its rows go in one batch, which leaves a mark where its files are
//! still to go: whoever opens the store next sees to those. It never touches a run that is open.

use ::sled::Db;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::draft::{Draft, News, Place, RunState};
use super::folder::{Folder, io_error};
use super::key::{self, Kind};
use super::open::sled_error;
use super::row::damaged;
use super::shared::Shared;
use crate::{Removed, RunKey, StorageError, UsedByDay};

/// All that may stand under a run that has ended.
const ROWS: [Kind; 12] = [
    Kind::StartedBy,
    Kind::Frame,
    Kind::Head,
    Kind::Inbox,
    Kind::Log,
    Kind::Message,
    Kind::Landmark,
    Kind::Question,
    Kind::Receipt,
    Kind::Payload,
    Kind::Pieces,
    Kind::Piece,
];

impl Draft {
    pub fn remove_run(&mut self, run: RunKey, used: &UsedByDay) -> Result<Removed, StorageError> {
        self.with_run(run, |draft, state| {
            match state.place {
                Place::Nowhere => return Ok(Removed::NoSuchRun),
                // What this batch ends is not written yet, so it cannot be found.
                Place::Ready(_) | Place::Parked(_) | Place::Ended(Some(_)) => return Ok(Removed::Open),
                Place::Ended(None) => {}
            }
            let started_by = key::of_run(Kind::StartedBy, run);
            if let Some(row) = draft.shared.written(&started_by)? {
                let name: Arc<str> = row.decode(&started_by)?;
                draft.remove(&key::named(Kind::StartKey, run.tenant, &name));
            }
            for kind in ROWS {
                for key in draft.shared.db.scan_prefix(key::of_run(kind, run)).keys() {
                    let key = key.map_err(|error| draft.shared.failed(&error))?;
                    draft.remove_row(key);
                }
            }
            draft.stage(&key::of_run(Kind::Gone, run), &())?;
            let sums = draft.stage_used(run.tenant, used)?;
            draft.sums.keep(sums);
            draft.tell(News::Remove(run));
            *state = RunState::nowhere();
            Ok(Removed::Gone)
        })
    }
}

impl Shared {
    pub fn remove_files(&self, run: RunKey) -> Result<(), StorageError> {
        remove_folder(&self.payloads(run))
    }
}

/// Ends what a process that died had begun.
pub(super) fn finish(db: &Db, folder: &Folder) -> Result<(), StorageError> {
    let failed = |error: ::sled::Error| sled_error(Path::new("store"), &error);
    for key in db.scan_prefix([Kind::Gone as u8]).keys() {
        let key = key.map_err(failed)?;
        let run = key::run_of(&key).ok_or_else(|| damaged(&key, "its key is too short"))?;
        remove_folder(&folder.payloads(run))?;
        db.remove(&key).map_err(failed)?;
    }
    Ok(())
}

pub(super) fn remove_folder(path: &Path) -> Result<(), StorageError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(path, "cannot remove", &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
