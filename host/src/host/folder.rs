//! The data folder: what stands where in it. It never looks into what the parts keep there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use trackway_storage::{SledOptions, SledStorage};

use crate::effects::Randomness;
use crate::sandbox::{self, Compiler, SLOTS_DEFAULT, Sandbox};
use crate::{Code, Error, Result};

/// The journals and everything beside them.
pub(super) const STORE: &str = "store";
/// Compiled code. It can be deleted at any time while no host is running.
const CODE: &str = "code";
/// Seals the compiled code: whoever reads it can make this host run any machine code.
const CODE_KEY: &str = "code.key";
const CODE_KEY_BYTES: usize = 32;

pub struct Opened {
    pub storage: SledStorage,
    pub sandbox: Sandbox,
}

/// Opens the folder, making what is missing. Blocks on the disk.
pub fn open(data: &Path, compiler: Compiler, store: SledOptions, randomness: &dyn Randomness) -> Result<Opened> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|error| cannot("be made", data, &error))?;
    // First, since it makes sure that no other process uses the folder.
    let weights = store.weights.clone();
    let storage = SledStorage::open(&data.join(STORE), store)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sandbox = Sandbox::sharing(
        sandbox::Options {
            cache: data.join(CODE),
            key: code_key(&data.join(CODE_KEY), randomness)?,
            compiler,
            slots: SLOTS_DEFAULT,
            cores,
            // One processor stays for all others: what computes for long can never hold every one of them.
            slow_threads: (cores - 1).max(1),
        },
        weights,
    )?;
    Ok(Opened { storage, sandbox })
}

/// Blocks as long as a process that used the folder is seen to be ending: only then is its address
/// free again too.
pub fn wait_for_dying_owner(data: &Path) {
    SledStorage::wait_for_dying_owner(&data.join(STORE));
}

/// The key in the file; a new one where there is none. A lost or cut-off key costs compiling anew.
fn code_key(file: &Path, randomness: &dyn Randomness) -> Result<[u8; CODE_KEY_BYTES]> {
    match fs::read(file) {
        Ok(bytes) => {
            if let Ok(key) = <[u8; CODE_KEY_BYTES]>::try_from(bytes) {
                return Ok(key);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("be read", file, &error)),
    }
    let mut key = [0; CODE_KEY_BYTES];
    randomness.fill(&mut key);
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut opened: File = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
        opened.write_all(&key)?;
        opened.sync_all()
    };
    write().map_err(|error| cannot("be written", file, &error))?;
    Ok(key)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::StorageFull { Code::DiskFull } else { Code::File };
    Error::new(code, format!("{} cannot {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
