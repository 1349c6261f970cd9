//! The processes that compile and check what strangers wrote, looked at from outside while they are at it: the system
//! says what each of them has left. It never asks them themselves.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trackway::confine::{Kernel, PROBE_ARGUMENT};
use trackway::host::CHECK_ARGUMENT;
use trackway::sandbox::{COMPILE_ARGUMENT, CompileLimits, Compiler};

use crate::compile::branches;
use crate::server::binary;

/// To start and to be confined, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Above those that tests and shells use.
const LEAKED_FROM: libc::c_int = 100;
const LEAKED: &str = "not for whoever is started";

/// A file that is open in whatever is started while this lives: the standard library opens none of that kind.
pub struct Leaked {
    _descriptor: OwnedFd,
}

impl Leaked {
    #[allow(unsafe_code, reason = "the standard library has no door to what is inherited")]
    pub fn new() -> Leaked {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(LEAKED.as_bytes()).expect("writable");
        // SAFETY: the call takes numbers and touches no memory.
        let number = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, LEAKED_FROM) };
        assert!(number >= LEAKED_FROM, "no copy: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel has just given it, and nothing else knows it.
        let leaked = Leaked { _descriptor: unsafe { OwnedFd::from_raw_fd(number) } };
        let cat = Command::new("cat").arg(format!("/proc/self/fd/{number}")).output().expect("there is a cat");
        assert_eq!(String::from_utf8_lossy(&cat.stdout), LEAKED, "it is not inherited, so nothing would be shown");
        leaked
    }
}

/// Another process, as the system shows it.
struct Process {
    id: u32,
}

impl Process {
    /// The child of this one that was started with these words behind its name.
    fn started_with(words: &[&str]) -> Option<Process> {
        let ours = std::process::id().to_string();
        let told = words.iter().flat_map(|word| [&b"\0"[..], word.as_bytes()].concat()).chain([0]).collect::<Vec<u8>>();
        let all = fs::read_dir("/proc").expect("Linux says").flatten();
        let mut ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let id = ids.find(|id| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // After the name in brackets: the state, and the parent.
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            words.ends_with(&told) && parent == Some(ours.as_str())
        })?;
        Some(Process { id })
    }

    fn says(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.id)).expect("it runs")
    }

    /// What it has at first, and what it could ask for.
    fn limit(&self, name: &str) -> [String; 2] {
        let limits = self.says("limits");
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("the system tells");
        let mut words = line.split_whitespace().map(str::to_owned);
        [(); 2].map(|()| words.next().expect("two limits"))
    }

    /// What of it only its user or root may see; said aloud where that is not this one.
    fn hidden(&self, file: &str) -> Option<Vec<String>> {
        let path = format!("/proc/{}/{file}", self.id);
        let read: std::io::Result<Vec<String>> = match file {
            "fd" => fs::read_dir(&path).map(|entries| {
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
            }),
            _ => fs::read(&path).map(|bytes| {
                let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
                words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
            }),
        };
        match read {
            Ok(read) => Some(read),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                println!("NOT RUN: /proc/PID/{file} of a process that is closed to others can be read by root alone");
                None
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Waits until all is given up; the filter of calls goes last.
    fn wait_until_confined(&self) {
        let seccomp = Kernel::look().seccomp;
        if !seccomp {
            println!("NOT RUN: this machine has no filter of calls (seccomp)");
        }
        let begun = Instant::now();
        loop {
            let status = self.says("status");
            let given_up = field(&status, "NoNewPrivs").as_deref() == Some("1")
                && self.limit("Max core file size") == ["0", "0"]
                && (!seccomp || is_filtered(&status));
            if given_up {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it reads what strangers wrote and is not confined:\n{status}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What every process that reads what strangers wrote has left.
    fn has_given_up_everything(&self, environment: &[&str]) {
        self.wait_until_confined();
        assert_eq!(self.limit("Max file size"), ["0", "0"]);
        assert_eq!(self.limit("Max open files"), ["64", "64"]);
        for what in ["Max cpu time", "Max address space"] {
            assert!(self.limit(what).iter().all(|limit| limit != "unlimited"), "{what}: {:?}", self.limit(what));
        }
        if Kernel::look().seccomp {
            for thread in fs::read_dir(format!("/proc/{}/task", self.id)).expect("it runs").flatten() {
                // One that has ended since has nothing left.
                let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
                assert!(is_filtered(&status), "a thread is not confined:\n{status}");
            }
        }
        let set = |words: Vec<String>| words.into_iter().collect::<BTreeSet<_>>();
        if let Some(open) = self.hidden("fd") {
            assert_eq!(set(open), set(["0", "1", "2"].map(str::to_owned).into()), "what is open in it");
        }
        if let Some(variables) = self.hidden("environ") {
            let expected = environment.iter().map(|variable| (*variable).to_owned()).collect();
            assert_eq!(set(variables), set(expected), "the variables of its environment");
        }
    }
}

fn field(status: &str, name: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Whether it has a filter of its own: in a container everything may have one.
fn is_filtered(status: &str) -> bool {
    let filters = |status: &str| field(status, "Seccomp_filters").and_then(|count| count.parse::<u32>().ok());
    let ours = filters(&fs::read_to_string("/proc/self/status").expect("Linux says"));
    field(status, "Seccomp").as_deref() == Some("2") && filters(status) >= ours.map(|ours| ours + 1)
}

#[test]
fn a_process_that_compiles_has_nothing_left_but_its_pipes_while_it_compiles() {
    const MEBIBYTE: u64 = 1 << 20;
    // As no other test has them, so that it is this one that is found.
    let limits = CompileLimits { cpu_seconds: 97, wall_seconds: 271, address_space_bytes: (8 << 30) - 77 * MEBIBYTE };
    let memory = limits.address_space_bytes.to_string();
    let words = [COMPILE_ARGUMENT, "97", "271", memory.as_str()];
    let component = branches(20);
    let leaked = Leaked::new();
    let compiler = Compiler::Child { program: binary(), limits };
    let compiling = std::thread::spawn(move || compiler.compile(&component));
    let begun = Instant::now();
    let process = loop {
        if let Some(process) = Process::started_with(&words) {
            break process;
        }
        assert!(begun.elapsed() < PATIENCE && !compiling.is_finished(), "no process compiles");
        std::thread::sleep(LOOK_EVERY);
    };
    process.has_given_up_everything(&["RAYON_NUM_THREADS=2", "MALLOC_ARENA_MAX=2"]);
    assert_eq!(process.limit("Max cpu time"), ["97", "102"], "the second is for it to say why it ends");
    assert_eq!(process.limit("Max address space"), [memory.as_str(); 2]);
    drop(leaked);
    let killed = Command::new("kill").args(["-KILL", &process.id.to_string()]).status();
    assert!(killed.expect("there is a kill").success(), "it ended before it was looked at");
    let error = compiling.join().expect("no panic").expect_err("it was killed");
    assert!(error.message.contains("was killed"), "{error}");
}

#[test]
fn a_process_that_checks_has_nothing_left_but_its_pipes_before_it_reads() {
    let leaked = Leaked::new();
    let mut child = Command::new(binary())
        .arg(CHECK_ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    // It waits for what it is to check, so it goes nowhere.
    Process { id: child.id() }.has_given_up_everything(&[]);
    drop(leaked);
    child.kill().expect("it waits");
    child.wait().expect("it ends");
}

#[test]
fn a_process_that_compiles_or_checks_writes_no_file_that_it_was_handed() {
    let component = b"\0asm\x0d\0\x01\0".to_vec();
    let (schema, input) = (b"{}", b"1");
    let to_check = [&(schema.len() as u64).to_le_bytes()[..], schema, input].concat();
    for (argument, sent) in [(PROBE_ARGUMENT, Vec::new()), (COMPILE_ARGUMENT, component), (CHECK_ARGUMENT, to_check)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("written");
        let mut child = Command::new(binary())
            .arg(argument)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(File::create(&path).expect("writable"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // One that reads nothing closes its end; its status tells more than the broken pipe.
        let _ = child.stdin.take().expect("it is piped").write_all(&sent);
        // It ends by its own alarm at the latest.
        let status = child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(libc::SIGXFSZ), "{argument}: {status}");
        assert_eq!(fs::metadata(&path).expect("it is there").len(), 0, "{argument} wrote a file");
    }
}
