//! A disk whose power can be cut: an ext4 file system in a file.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const DISK_BYTES: u64 = 512 << 20;

/// Linux: `_IOR('X', 125, __u32)`.
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Not even the journal that is in memory is written.
const NO_LOG_FLUSH: u32 = 2;

/// Unmounted and removed when it is dropped, also by a panic.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// An error says why no such disk can be made here.
    pub fn new() -> Result<Disk, String> {
        unmount_stale();
        let disk = Disk { folder: folder()? };
        let made = File::create(disk.image()).and_then(|file| file.set_len(DISK_BYTES));
        made.map_err(|error| error.to_string())?;
        command("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), disk.image().as_ref()])?;
        disk.mount()?;
        Ok(disk)
    }

    pub fn mount_point(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub fn mount(&self) -> Result<(), String> {
        command("mount", &["-o".as_ref(), "loop".as_ref(), self.image().as_ref(), self.mount_point().as_ref()])
    }

    pub fn unmount(&self) -> Result<(), String> {
        command("umount", &[self.mount_point().as_ref()])
    }

    #[allow(unsafe_code, reason = "no crate of ours knows this call")]
    pub fn cut_power(&self) -> std::io::Result<()> {
        let root = File::open(self.mount_point())?;
        let flags = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open, and the call reads one u32, which outlives it.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const flags) };
        if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let is_mounted = std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| {
            let point = self.mount_point();
            mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == point))
        });
        if is_mounted && self.unmount().is_err() {
            let _ = command("umount", &["--lazy".as_ref(), self.mount_point().as_ref()]);
        }
    }
}

/// Names the folder of a disk, and after it the process to which it belongs.
const FOLDER: &str = "trackway-disk-";

/// A new folder for a disk, with one in it to mount it on.
pub fn folder() -> Result<TempDir, String> {
    let name = format!("{FOLDER}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&name).tempdir().map_err(|error| error.to_string())?;
    std::fs::create_dir(folder.path().join("disk")).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Takes away the disks of tests that were killed before they could do so.
pub fn unmount_stale() {
    for line in std::fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point)) = (words.next(), words.next()) else { continue };
        if let Some(folder) = stale_folder(Path::new(point)) {
            // Where something cannot be taken away it is left to whoever looks at the machine.
            let _ = command("umount", &["--lazy".as_ref(), point.as_ref()]);
            remove_device(device, folder);
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The folder of the disk that is mounted at `point`, if it is one of ours whose process is gone.
fn stale_folder(point: &Path) -> Option<&Path> {
    let folder = point.parent().filter(|folder| folder.parent() == Some(&std::env::temp_dir()))?;
    let (process, _) = folder.file_name()?.to_str()?.strip_prefix(FOLDER)?.split_once('-')?;
    let process: u32 = process.parse().ok()?;
    (!Path::new("/proc").join(process.to_string()).exists()).then_some(folder)
}

/// A loop device that `mount` made goes by itself.
fn remove_device(device: &str, folder: &Path) {
    if let Some(number) = device.strip_prefix("/dev/zram") {
        let _ = std::fs::write("/sys/class/zram-control/hot_remove", number);
    } else if device.starts_with("/dev/mapper/") {
        let _ = command("dmsetup", &["remove".as_ref(), "--retry".as_ref(), device.as_ref()]);
        let image = folder.join("image");
        let mut associated = Command::new("losetup");
        associated.args(["--noheadings", "--output", "NAME", "--associated"]).arg(image);
        let devices = associated.output().map(|output| output.stdout).unwrap_or_default();
        for device in String::from_utf8_lossy(&devices).split_whitespace() {
            let _ = command("losetup", &["--detach".as_ref(), device.as_ref()]);
        }
    }
}

pub fn command(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    // A user's PATH often lacks the folders of these programs.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
