//! Whether the disk has room for a write. Asked before, because an append that fails half-way
//! costs the process. A named reserve covers what is written between two looks.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{StorageError, StorageErrorKind};

/// Between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Room {
    folder: PathBuf,
    reserve_bytes: u64,
    last: Mutex<Option<(Instant, Look)>>,
}

#[derive(Debug, Clone, Copy)]
enum Look {
    Enough,
    Short { free_bytes: u64 },
}

impl Room {
    pub fn new(folder: PathBuf, reserve_bytes: u64) -> Room {
        Room { folder, reserve_bytes, last: Mutex::new(None) }
    }

    pub fn check(&self) -> Result<(), StorageError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let look = match *last {
            Some((when, look)) if when.elapsed() < LOOK_EVERY => look,
            Some(_) | None => {
                let look = self.look();
                *last = Some((Instant::now(), look));
                look
            }
        };
        match look {
            Look::Enough => Ok(()),
            Look::Short { free_bytes } => Err(StorageError::new(
                StorageErrorKind::Full,
                format!(
                    "the disk of {} has {} MiB free, and {} MiB are kept in reserve: nothing more is written",
                    self.folder.display(),
                    free_bytes >> 20,
                    self.reserve_bytes >> 20
                ),
            )),
        }
    }

    fn look(&self) -> Look {
        match rustix::fs::statvfs(&self.folder) {
            Ok(stat) => {
                let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
                if free_bytes < self.reserve_bytes { Look::Short { free_bytes } } else { Look::Enough }
            }
            // Not knowing is no reason to stop: a write that fails says so itself.
            Err(_) => Look::Enough,
        }
    }
}
