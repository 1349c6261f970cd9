//! What a server gives up before it opens its data: all files but its own, administration of the machine, dumps of
//! its memory. It never guesses what a server needs: who starts it says so.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use super::Kernel;
use super::{Dumps, forbid_dumps};

/// Read by the C library and by TLS while the server runs: names of hosts, who signs certificates, the machine's
/// shape. Nothing secret stands there.
const READ: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/passwd",
    "/etc/localtime",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    // Links that lead elsewhere on some systems: it is the file that is meant.
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/run/resolvconf",
    // Of other processes it shows no more than their names: Landlock keeps the rest.
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/sys/kernel/mm",
    "/dev/urandom",
    "/dev/random",
];
/// Libraries, which are loaded late too: those that look up names.
const RUN: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
const USE: &[&str] = &["/dev/null", "/dev/zero"];
/// Name files and folders with the certificates of who signs others.
const CERTIFICATE_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a server goes on using.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Folders in which everything is its own.
    pub own: Vec<PathBuf>,
    /// Files and folders that it reads.
    pub read: Vec<PathBuf>,
    /// Whether files are kept from it at all.
    pub landlock: Landlock,
    pub dumps: Dumps,
}

/// A way out, for systems on which it keeps too much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Landlock {
    #[default]
    On,
    Off,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    pub files: bool,
    pub calls: bool,
    pub dumps: bool,
}

/// Called while the process has one thread: those that come inherit what is left.
pub fn server(reach: &Reach) -> io::Result<Confined> {
    forbid_dumps(reach.dumps)?;
    let (files, calls) = take_away(reach)?;
    Ok(Confined { files, calls, dumps: reach.dumps == Dumps::Never })
}

/// Whether files were, and whether calls were.
#[cfg(target_os = "linux")]
fn take_away(reach: &Reach) -> io::Result<(bool, bool)> {
    let kernel = Kernel::look();
    let files = reach.landlock == Landlock::On && kernel.landlock.is_some() && keep_files(reach)?;
    if kernel.seccomp {
        super::filter::no_administration()?;
    }
    Ok((files, kernel.seccomp))
}

#[cfg(not(target_os = "linux"))]
fn take_away(_: &Reach) -> io::Result<(bool, bool)> {
    Ok((false, false))
}

#[cfg(target_os = "linux")]
fn keep_files(reach: &Reach) -> io::Result<bool> {
    use super::landlocked::{Right, keep_only};
    let named = |paths: &'static [&'static str], right| paths.iter().map(move |path| (Path::new(path), right));
    let program = std::env::current_exe()?;
    let loaded = loaded(&std::fs::read_to_string("/proc/self/maps")?);
    let certificates = CERTIFICATE_VARIABLES.iter().filter_map(std::env::var_os).map(PathBuf::from).collect::<Vec<_>>();
    let own = reach.own.iter().map(|path| (path.as_path(), Right::Own));
    let read = reach.read.iter().chain(&certificates).map(|path| (path.as_path(), Right::Read));
    // The second is the program itself, also where its file was replaced since.
    let run = [program.as_path(), Path::new("/proc/self/exe")].into_iter().chain(loaded.iter().map(PathBuf::as_path));
    let run = run.map(|path| (path, Right::Run));
    let system = named(READ, Right::Read).chain(named(RUN, Right::Run)).chain(named(USE, Right::Use));
    keep_only(own.chain(read).chain(run).chain(system))
}

/// Files from which code was mapped: libraries may stand anywhere.
#[cfg(target_os = "linux")]
fn loaded(maps: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains('x')))
        .filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])))
        .collect();
    files.dedup();
    files
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_keeps_its_own_files_reaches_no_others() {
        if Kernel::look().landlock.is_none() {
            println!("NOT RUN: this machine has no Landlock");
            return;
        }
        let folder = tempfile::tempdir().expect("writable");
        let [own, named, other] = ["own", "named", "other"].map(|name| folder.path().join(name));
        std::fs::create_dir(&own).expect("writable");
        std::fs::write(&named, "a key").expect("writable");
        std::fs::write(&other, "not for it").expect("writable");
        // It holds for this thread and those that it starts.
        let trying = std::thread::spawn(move || {
            let reach = Reach { own: vec![own.clone()], read: vec![named.clone()], ..Reach::default() };
            assert!(keep_files(&reach).expect("the kernel can"), "nothing was kept");
            std::fs::write(own.join("new"), "x").expect("its own folder");
            std::fs::rename(own.join("new"), own.join("newer")).expect("its own folder");
            assert_eq!(std::fs::read_to_string(&named).expect("it was named"), "a key");
            std::fs::read_to_string("/proc/self/status").expect("about itself");
            let refused =
                |outcome: io::Result<()>| outcome.map_err(|error| error.kind()) == Err(io::ErrorKind::PermissionDenied);
            assert!(refused(std::fs::write(&named, "another key")));
            assert!(refused(std::fs::read(&other).map(drop)));
            assert!(refused(std::fs::read_dir("/").map(drop)));
            assert!(refused(std::fs::write("/tmp/trackway-confine-test", "x")));
            assert!(refused(std::process::Command::new("/bin/sh").arg("-c").arg("true").status().map(drop)));
            assert!(refused(std::net::TcpListener::bind("127.0.0.1:0").map(drop)));
        });
        trying.join().expect("no try went another way");
        std::fs::read(folder.path().join("other")).expect("other threads are as before");
    }

    #[test]
    fn libraries_are_those_whose_code_is_mapped() {
        let maps = "5580-5590 r--p 0 fe:00 1 /usr/bin/with space\n5590-55a0 r-xp 0 fe:00 1 /usr/bin/with space\n\
                    7f00-7f10 r-xp 0 fe:00 2 /nix/store/libc.so.6\n7f10-7f20 rw-p 0 fe:00 3 /var/lib/data\n\
                    7ffd-7ffe r-xp 0 00:00 0 [vdso]\n";
        assert_eq!(loaded(maps), [PathBuf::from("/usr/bin/with space"), PathBuf::from("/nix/store/libc.so.6")]);
    }
}
