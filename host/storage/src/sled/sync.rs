//! Makes sled's flush a real one. On Linux sled calls `sync_file_range`, which leaves the disk's
//! cache and the file's metadata alone: a power cut takes acknowledged entries with it. This file
//! defines that symbol for the whole program, and syncs. It must never report an error to sled:
//! the program ends inside the call, because what an fsync failed to write is gone from then on.

use std::fs::File;
use std::io;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::{
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use super::Hardening;

/// Ends the process if `synced` is an error. Nothing that was written since the last success can be
/// trusted, and a second try would report success without having written it.
pub(super) fn or_abort(path: &Path, synced: io::Result<()>) {
    if let Err(error) = synced {
        give_up(path, "could not make data durable", &error.to_string());
    }
}

/// Ends the process after a failed write or sync. The next start finds what was acknowledged.
pub(super) fn give_up(path: &Path, what: &str, why: &str) -> ! {
    eprintln!(
        "error: TW0408 disk error: {what} in {}: {why}\n\
         hint: everything acknowledged before is kept. Look at the disk (dmesg, smartctl, df), then start again.",
        path.display()
    );
    std::process::abort()
}

pub(crate) fn sync_file(path: &Path, file: &File) {
    or_abort(path, file.sync_all());
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = File::open(path)?;
    sync_file(path, &folder);
    Ok(())
}

/// A log file whose syncs are ours, for as long as this lives.
#[cfg(target_os = "linux")]
pub(super) struct Synced(Arc<Log>);

#[cfg(target_os = "linux")]
struct Log {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Of our own: sled's flusher fsyncs through its descriptor and only logs an error, after
    /// which that descriptor never reports it again. Opened before sled writes anything.
    ///
    /// One sync at a time: of two that run at once only one is told of an error, and the other would
    /// have its entries acknowledged before the first has ended the process.
    file: Mutex<File>,
    calls: AtomicU64,
    hardening: Hardening,
}

#[cfg(target_os = "linux")]
static LOGS: RwLock<Vec<Arc<Log>>> = RwLock::new(Vec::new());

#[cfg(target_os = "linux")]
impl Synced {
    /// Creates the log file if it is not there.
    pub fn log(path: &Path, hardening: Hardening) -> io::Result<Synced> {
        use std::os::unix::fs::MetadataExt;

        // Refers to the symbol from code that is certainly linked, so that it is linked too.
        std::hint::black_box(sync_file_range as *const ());
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let metadata = file.metadata()?;
        let log = Arc::new(Log {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            file: Mutex::new(file),
            calls: AtomicU64::new(0),
            hardening,
        });
        LOGS.write().unwrap_or_else(PoisonError::into_inner).push(log.clone());
        Ok(Synced(log))
    }

    /// How often sled asked for a sync of this log. `None` where it needs no help.
    pub fn calls(&self) -> Option<u64> {
        Some(self.0.calls.load(Ordering::Acquire))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Synced {
    fn drop(&mut self) {
        LOGS.write().unwrap_or_else(PoisonError::into_inner).retain(|log| !Arc::ptr_eq(log, &self.0));
    }
}

/// An error if the file system has given up by now, as after an error in its journal. Asked after a sync
/// that was done: ext4 may answer a sync that was under way at that moment as done although it was not.
/// A file system that gave up stays so, hence one that takes writes after the sync had not. The write is
/// of no bytes: it only goes as far as that question.
#[cfg(target_os = "linux")]
fn still_takes_writes(file: &File) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &[], 0))?;
    Ok(())
}

/// Replaces the C library's function for this whole program: sled's calls end here.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "sled calls a C symbol, and it cannot be told to call another one")]
// SAFETY: the name is that of a function of the C library with this signature, whose contract
// (the range is written when it returns 0) this one keeps: it syncs the whole file.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(fd: libc::c_int, offset: i64, size_bytes: i64, flags: libc::c_uint) -> libc::c_int {
    // SAFETY: the caller keeps its descriptor open during the call, as the C function demands.
    let descriptor = unsafe { BorrowedFd::borrow_raw(fd) };
    let stat = match rustix::fs::fstat(descriptor) {
        Ok(stat) => stat,
        Err(error) => give_up(Path::new("?"), "a sync of an unknown file", &error.to_string()),
    };
    let known = {
        let logs = LOGS.read().unwrap_or_else(PoisonError::into_inner);
        logs.iter().find(|log| log.device == stat.st_dev && log.inode == stat.st_ino).cloned()
    };
    match known {
        Some(log) if log.hardening == Hardening::PlainFlush => {
            // SAFETY: the same call with the same arguments, made past our symbol. It touches no memory.
            let done = unsafe { libc::syscall(libc::SYS_sync_file_range, fd, offset, size_bytes, flags) };
            libc::c_int::try_from(done).unwrap_or(-1)
        }
        Some(log) => {
            let file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
            // The standard library tries again when a signal interrupts it.
            let synced = file.sync_data().and_then(|()| still_takes_writes(&file));
            if log.hardening != Hardening::MindNoFailedSync {
                or_abort(&log.path, synced);
            }
            drop(file);
            log.calls.fetch_add(1, Ordering::Release);
            0
        }
        None => {
            // A file that is none of ours, or ours after it was closed.
            or_abort(
                Path::new("a file of sled"),
                rustix::io::retry_on_intr(|| rustix::fs::fdatasync(descriptor)).map_err(Into::into),
            );
            0
        }
    }
}

/// Elsewhere sled syncs fully by itself.
#[cfg(not(target_os = "linux"))]
pub(super) struct Synced;

#[cfg(not(target_os = "linux"))]
impl Synced {
    pub fn log(_: &Path, _: Hardening) -> io::Result<Synced> {
        Ok(Synced)
    }

    pub fn calls(&self) -> Option<u64> {
        None
    }
}
