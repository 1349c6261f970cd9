//! All of a tenant, removed: piece by piece, for it may be more than one batch can hold. Whoever asked for it asks
//! again after a crash. It asks nobody whether a run is open: its owner is fenced.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use trackway_replay::TenantId;

use super::draft::Draft;
use super::folder::io_error;
use super::key::{self, Kind};
use super::remove::remove_folder;
use super::row::{OpenRow, damaged};
use super::shared::Shared;
use super::survey::{OF_OTHERS, OF_RUNS};
use crate::{RunKey, Shelf, StorageError};

/// Removed by one batch, so that others do not wait for long. All of one run goes with one batch.
const ROWS_AT_ONCE: usize = 2_000;
/// Files of a tenant stand in folders of its own under these.
const FOLDERS: [&str; 2] = ["components", "payloads"];
/// And the data key of one, in a file of its own.
const KEYS: &str = "keys";

impl Draft {
    /// Whether something was there: then perhaps there is more.
    pub fn erase(&mut self, tenant: TenantId) -> Result<bool, StorageError> {
        let mut count = 0;
        // Also of starts that were cut off before they were runs.
        for run in self.shared.runs_with(OF_RUNS.into_iter(), tenant, None, ROWS_AT_ONCE)? {
            count += self.erase_run(RunKey { tenant, run })?;
            if count >= ROWS_AT_ONCE {
                return Ok(true);
            }
        }
        for kind in OF_OTHERS.into_iter().filter(|kind| is_of_tenant(*kind)) {
            for key in self.shared.db.scan_prefix(key::of_tenant(kind, tenant)).keys() {
                let key = key.map_err(|error| self.shared.failed(&error))?;
                if matches!(key::record_of(&key), Some((Shelf::Usage, _))) && kind == Kind::Record {
                    self.sums.set(&key, None);
                }
                self.remove_row(key);
                count += 1;
                if count >= ROWS_AT_ONCE {
                    return Ok(true);
                }
            }
        }
        // Of runs whose mark could not be read.
        for key in self.shared.db.scan_prefix([Kind::Timer as u8]).keys() {
            let key = key.map_err(|error| self.shared.failed(&error))?;
            if key::timer_of(&key).is_some_and(|(_, run)| run.tenant == tenant) {
                self.remove_row(key);
                count += 1;
            }
        }
        self.forget_deployments();
        Ok(count > 0)
    }

    fn erase_run(&mut self, run: RunKey) -> Result<usize, StorageError> {
        let mut count = 0;
        let place = key::of_run(Kind::Parked, run);
        if let Ok(Some(row)) = self.shared.written(&place)
            && let Ok(OpenRow { due: Some(due), .. }) = row.decode(&place)
        {
            self.remove(&key::timer(due, run));
        }
        for kind in OF_RUNS {
            for key in self.shared.db.scan_prefix(key::of_run(kind, run)).keys() {
                let key = key.map_err(|error| self.shared.failed(&error))?;
                self.remove_row(key);
                count += 1;
            }
        }
        self.lose(run);
        Ok(count)
    }
}

impl Shared {
    /// Every tenant of which there is a row or a file.
    pub fn tenants(&self) -> Result<Vec<TenantId>, StorageError> {
        let mut tenants = BTreeSet::new();
        for kind in OF_RUNS.into_iter().chain(OF_OTHERS).filter(|kind| is_of_tenant(*kind)) {
            let end = [kind as u8 + 1];
            let mut low = Some(TenantId(0));
            while let Some(from) = low {
                let first = self.db.range(key::of_tenant(kind, from).as_slice()..end.as_slice()).keys().next();
                let Some(key) = first.transpose().map_err(|error| self.failed(&error))? else { break };
                let tenant = key::tenant_of(&key).ok_or_else(|| damaged(&key, "its key is too short"))?;
                tenants.insert(tenant);
                low = tenant.0.checked_add(1).map(TenantId);
            }
        }
        for folder in FOLDERS {
            tenants.extend(self.tenants_in(folder)?);
        }
        tenants.extend(self.tenants_in(KEYS)?);
        Ok(tenants.into_iter().collect())
    }

    fn tenants_in(&self, folder: &str) -> Result<Vec<TenantId>, StorageError> {
        let folder = self.folder.path.join(folder);
        let failed = |error: std::io::Error| io_error(&folder, "cannot read", &error);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut tenants = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            tenants.extend(name.to_str().and_then(|name| name.parse().ok()).map(TenantId));
        }
        Ok(tenants)
    }

    pub fn erase_files(&self, tenant: TenantId) -> Result<(), StorageError> {
        let of_tenant = |folder: &&str| remove_folder(&self.folder.path.join(folder).join(tenant.to_string()));
        FOLDERS.iter().try_for_each(of_tenant)?;
        // Last: an opening in between has to know that what is left is of nobody.
        self.seals.forget(tenant)
    }
}

/// The tenant stands right behind the letter.
fn is_of_tenant(kind: Kind) -> bool {
    !matches!(kind, Kind::Meta | Kind::Timer)
}
