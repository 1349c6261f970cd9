//! Disks that can be made to fail every write, and to work again: block devices of the kernel, with an
//! ext4 file system on them. They must keep what they once said is written; a loop device over a file
//! system without room does not (`docs/decisions/failing-disks.md`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

use crate::power::disk::{command, folder, unmount_stale};

pub trait Failing {
    fn mount_point(&self) -> PathBuf;
    /// Every write from now on is answered by an error.
    fn fail(&mut self) -> Result<(), String>;
    /// It works again, and what it said is written is there.
    fn heal(&mut self) -> Result<(), String>;
}

/// A file system that met errors says so until somebody looked.
fn check_file_system(device: &Path) {
    // Exit code 1 says that it corrected something.
    let _ = command("e2fsck", &["-f".as_ref(), "-p".as_ref(), device.as_os_str()]);
}

/// A file system on memory that the kernel compresses, and to which it can be forbidden to grow: then
/// nothing new can be written, and what is there stays.
pub struct Compressed {
    folder: TempDir,
    number: u32,
}

impl Compressed {
    const CONTROL: &str = "/sys/class/zram-control";
    const DISK_BYTES: u64 = 512 << 20;
    /// It has more than that already.
    const ROOM_NONE_BYTES: u64 = 1;
    /// Says that there is no limit.
    const ROOM_ANY_BYTES: u64 = 0;

    pub fn new() -> Result<Compressed, String> {
        Compressed::make().map_err(|why| format!("{why} (it needs root, zram and mkfs.ext4)"))
    }

    fn make() -> Result<Compressed, String> {
        unmount_stale();
        // To read it is to ask for a device; the answer is its number.
        let control = Path::new(Self::CONTROL).join("hot_add");
        let number = std::fs::read_to_string(&control).map_err(|error| format!("{}: {error}", control.display()))?;
        let number = number.trim().parse::<u32>().map_err(|error| format!("{}: {error}", control.display()))?;
        let disk = Compressed { folder: folder()?, number };
        disk.set("disksize", Self::DISK_BYTES)?;
        command("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), disk.device().as_os_str()])?;
        disk.mount()?;
        Ok(disk)
    }

    fn device(&self) -> PathBuf {
        PathBuf::from(format!("/dev/zram{}", self.number))
    }

    fn set(&self, attribute: &str, value: u64) -> Result<(), String> {
        let path = PathBuf::from(format!("/sys/block/zram{}/{attribute}", self.number));
        std::fs::write(&path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn mount(&self) -> Result<(), String> {
        command("mount", &[self.device().as_os_str(), self.mount_point().as_os_str()])
    }
}

impl Failing for Compressed {
    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn fail(&mut self) -> Result<(), String> {
        self.set("mem_limit", Self::ROOM_NONE_BYTES)
    }

    fn heal(&mut self) -> Result<(), String> {
        command("umount", &[self.mount_point().as_os_str()])?;
        self.set("mem_limit", Self::ROOM_ANY_BYTES)?;
        check_file_system(&self.device());
        self.mount()
    }
}

impl Drop for Compressed {
    fn drop(&mut self) {
        let _ = command("umount", &[self.mount_point().as_os_str()]);
        let _ = std::fs::write(Path::new(Self::CONTROL).join("hot_remove"), self.number.to_string());
    }
}

/// A file system on a mapped device, whose table can be exchanged for one of errors.
pub struct Mapped {
    folder: TempDir,
    name: OsString,
    loop_device: String,
    sectors: u64,
}

impl Mapped {
    const DISK_BYTES: u64 = 512 << 20;
    const SECTOR_BYTES: u64 = 512;

    pub fn new() -> Result<Mapped, String> {
        Mapped::make().map_err(|why| format!("{why} (it needs root, loop devices, dmsetup and a kernel with dm)"))
    }

    fn make() -> Result<Mapped, String> {
        unmount_stale();
        if !Path::new("/dev/mapper/control").exists() {
            return Err("/dev/mapper/control is missing".to_owned());
        }
        let folder = folder()?;
        let image = folder.path().join("image");
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(Self::DISK_BYTES));
        made.map_err(|error| error.to_string())?;
        let output = std::process::Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        if !output.status.success() {
            return Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let loop_device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let name = folder.path().file_name().unwrap_or_default().to_owned();
        let sectors = Self::DISK_BYTES / Self::SECTOR_BYTES;
        let mapped = Mapped { folder, name, loop_device, sectors };
        let table = mapped.linear();
        command("dmsetup", &["create".as_ref(), mapped.name.as_ref(), "--table".as_ref(), table.as_ref()])?;
        command("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), mapped.device().as_os_str()])?;
        mapped.mount()?;
        Ok(mapped)
    }

    fn device(&self) -> PathBuf {
        Path::new("/dev/mapper").join(&self.name)
    }

    fn linear(&self) -> String {
        format!("0 {} linear {} 0", self.sectors, self.loop_device)
    }

    fn mount(&self) -> Result<(), String> {
        command("mount", &[self.device().as_os_str(), self.mount_point().as_os_str()])
    }

    /// What is on its way fails or not, as it happens.
    fn exchange(&self, table: &str) -> Result<(), String> {
        let name = self.name.as_os_str();
        command("dmsetup", &["suspend".as_ref(), "--noflush".as_ref(), "--nolockfs".as_ref(), name])?;
        command("dmsetup", &["load".as_ref(), name, "--table".as_ref(), table.as_ref()])?;
        command("dmsetup", &["resume".as_ref(), name])
    }
}

impl Failing for Mapped {
    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn fail(&mut self) -> Result<(), String> {
        self.exchange(&format!("0 {} error", self.sectors))
    }

    fn heal(&mut self) -> Result<(), String> {
        command("umount", &[self.mount_point().as_os_str()])?;
        self.exchange(&self.linear())?;
        check_file_system(&self.device());
        self.mount()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = command("umount", &["--lazy".as_ref(), self.mount_point().as_os_str()]);
        let _ = command("dmsetup", &["remove".as_ref(), "--retry".as_ref(), self.name.as_ref()]);
        let _ = command("losetup", &["--detach".as_ref(), self.loop_device.as_ref()]);
    }
}
