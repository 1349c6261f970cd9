//! The small file beside the store that knows how far the store had come, and under which boot.
//! It is written after a flush: it may lag behind the store, and must never lead it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::sync;

/// Between two syncs of the file. A power cut may set it back by this much, which only makes the
/// check at the next start less sharp.
const SYNC_EVERY: Duration = Duration::from_secs(5);

const MAGIC: &[u8; 4] = b"TWC1";
const BOOT_BYTES: usize = 36;
const SIZE_BYTES: usize = 4 + 8 + 1 + BOOT_BYTES + 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// A process has the store open, or ended without closing it.
    Open,
    Clean,
}

/// What the file said when the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    pub commit: u64,
    pub stop: Stop,
    pub boot: Boot,
}

/// Of the operating system. All zero where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot([u8; BOOT_BYTES]);

impl Boot {
    pub fn now() -> Boot {
        let mut boot = [0; BOOT_BYTES];
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let text = text.trim().as_bytes();
        if text.len() == BOOT_BYTES {
            boot.copy_from_slice(text);
        }
        Boot(boot)
    }

    /// Whether what the other boot wrote is still in the memory of this one. Unknown is no.
    pub fn is_same(self, other: Boot) -> bool {
        self == other && self.0 != [0; BOOT_BYTES]
    }
}

pub(super) struct Counter {
    path: PathBuf,
    file: File,
    boot: Boot,
    synced: Instant,
}

impl Counter {
    /// Opens the file, creating it if it is missing. An unreadable one says nothing: like a store
    /// that stopped uncleanly under another boot.
    pub fn open(path: &Path) -> io::Result<(Counter, Option<Last>)> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut bytes = [0; SIZE_BYTES];
        let last = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Some(decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && file.metadata()?.len() == 0 => None,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(UNREADABLE),
            Err(error) => return Err(error),
        };
        let counter = Counter { path: path.to_owned(), file, boot: Boot::now(), synced: Instant::now() };
        Ok((counter, last))
    }

    /// After the flush of `commit`.
    pub fn raise(&mut self, commit: u64) -> io::Result<()> {
        self.write(commit, Stop::Open)?;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync();
        }
        Ok(())
    }

    /// Durably: at the start with [`Stop::Open`], at a clean stop with [`Stop::Clean`].
    pub fn settle(&mut self, commit: u64, stop: Stop) -> io::Result<()> {
        self.write(commit, stop)?;
        self.sync();
        Ok(())
    }

    fn sync(&mut self) {
        sync::sync_file(&self.path, &self.file);
        self.synced = Instant::now();
    }

    fn write(&self, commit: u64, stop: Stop) -> io::Result<()> {
        let mut bytes = [0; SIZE_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..12].copy_from_slice(&commit.to_le_bytes());
        bytes[12] = u8::from(stop == Stop::Clean);
        bytes[13..13 + BOOT_BYTES].copy_from_slice(&self.boot.0);
        let checksum = crc32c::crc32c(&bytes[..SIZE_BYTES - 4]);
        bytes[SIZE_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&bytes, 0)
    }
}

const UNREADABLE: Last = Last { commit: 0, stop: Stop::Open, boot: Boot([0; BOOT_BYTES]) };

fn decode(bytes: &[u8; SIZE_BYTES]) -> Last {
    let checksum = crc32c::crc32c(&bytes[..SIZE_BYTES - 4]);
    if bytes[..4] != *MAGIC || bytes[SIZE_BYTES - 4..] != checksum.to_le_bytes() {
        return UNREADABLE;
    }
    let mut commit = [0; 8];
    commit.copy_from_slice(&bytes[4..12]);
    let mut boot = [0; BOOT_BYTES];
    boot.copy_from_slice(&bytes[13..13 + BOOT_BYTES]);
    let stop = if bytes[12] == 1 { Stop::Clean } else { Stop::Open };
    Last { commit: u64::from_le_bytes(commit), stop, boot: Boot(boot) }
}
