//! A small disk that a test fills and clears. It needs root; who cannot have it says NOT RUN.

use std::path::PathBuf;
use std::process::Command;

/// A file system in memory. Unmounted when it is dropped, also by a panic.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    pub fn mount(at: PathBuf) -> Result<SmallDisk, String> {
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256m", "tmpfs"]).arg(&at).output();
        let mount = mount.map_err(|error| error.to_string())?;
        if mount.status.success() { Ok(SmallDisk { at }) } else { Err(String::from_utf8_lossy(&mount.stderr).into()) }
    }

    pub fn fill(&self) {
        // It ends where there is no room left.
        let zeros = vec![0; 1 << 20];
        let mut file = std::fs::File::create(self.at.join("ballast")).expect("some room");
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
        // Far below the host's reserve, yet enough for what it writes before it looks again.
        let filled = file.metadata().expect("it has a size").len();
        file.set_len(filled - (16 << 20)).expect("a file can be cut");
    }

    pub fn clear(&self) {
        std::fs::remove_file(self.at.join("ballast")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: where the test failed, a server is still in there.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.at).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "it was mounted");
    }
}
