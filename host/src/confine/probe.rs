//! Whether a confined process really cannot do what it must not: this program, started anew and confined as one that
//! compiles or as a server, tries. Each try would do no harm if it succeeded.

use serde::{Deserialize, Serialize};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use super::child::{Rations, child};
use super::server::{Reach, server};

/// The hidden first argument that makes this binary confine itself and try; see [`probe_child_main`].
pub const PROBE_ARGUMENT: &str = "__confined";
/// Behind it: to confine itself as a server does.
const AS_A_SERVER: &str = "server";

const RATIONS: Rations = Rations { cpu_seconds: 5, wall_seconds: 30, address_space_bytes: 4 << 30 };
/// What it says about some twenty tries.
const REPORT_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Refused,
    /// It could have done it.
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub what: String,
    pub verdict: Verdict,
    /// What the kernel said.
    pub answer: String,
}

/// Starts `program` and reads what became of each try of a process that compiles. Blocks for a moment.
pub fn probe(program: &Path) -> io::Result<Vec<Attempt>> {
    ask(program, &[PROBE_ARGUMENT])
}

/// The same of a server, which keeps its files and the network, and administers nothing. Where there is no filter of
/// calls, open is what the rights of its user leave open.
pub fn probe_server(program: &Path) -> io::Result<Vec<Attempt>> {
    ask(program, &[PROBE_ARGUMENT, AS_A_SERVER])
}

fn ask(program: &Path, words: &[&str]) -> io::Result<Vec<Attempt>> {
    let mut process = Command::new(program)
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut report = Vec::new();
    if let Some(pipe) = process.stdout.take() {
        pipe.take(REPORT_BYTES_MAX).read_to_end(&mut report)?;
    }
    let status = process.wait()?;
    match status.success() {
        true => serde_json::from_slice(&report).map_err(io::Error::other),
        false => Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&report).trim()))),
    }
}

/// What the binary does when its first argument is [`PROBE_ARGUMENT`].
pub fn probe_child_main() -> ExitCode {
    // Asked before: it is among what is forbidden then.
    let parent = std::os::unix::process::parent_id();
    let tried = match std::env::args_os().nth(2).is_some_and(|as_whom| as_whom == AS_A_SERVER) {
        true => server(&Reach::default()).and_then(|_| in_a_thread(move || try_to_administer(parent))),
        false => child(RATIONS).and_then(|()| in_a_thread(move || try_all(parent))),
    };
    let (report, code) = match tried {
        Ok(attempts) => (serde_json::to_string(&attempts).unwrap_or_default(), ExitCode::SUCCESS),
        Err(error) => (error.to_string(), ExitCode::FAILURE),
    };
    match io::stdout().lock().write_all(report.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// As a compiler does it, and a server: what is tried in a thread must be refused there too.
fn in_a_thread(tries: impl FnOnce() -> Vec<Attempt> + Send + 'static) -> io::Result<Vec<Attempt>> {
    std::thread::Builder::new().spawn(tries)?.join().map_err(|_| io::Error::other("a try broke off"))
}

fn try_all(parent: u32) -> Vec<Attempt> {
    let mut attempts = vec![
        of("read a file of the system", std::fs::File::open("/etc/passwd").map(drop)),
        of("read its own program", std::fs::File::open("/proc/self/exe").map(drop)),
        of("list a folder", std::fs::read_dir("/").map(drop)),
        of("make a file", make_and_remove()),
        of("start a program", Command::new("/proc/self/exe").arg("--version").stdout(Stdio::null()).status().map(drop)),
        of("listen for connections", std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
        of("connect to a server", std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
        of(
            "find the variables of its environment",
            match std::env::vars_os().next() {
                None => Err(io::Error::other("there are none")),
                Some(_) => Ok(()),
            },
        ),
    ];
    #[cfg(target_os = "linux")]
    attempts.extend(linux::try_all(parent));
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    attempts
}

fn try_to_administer(parent: u32) -> Vec<Attempt> {
    #[cfg(target_os = "linux")]
    {
        linux::try_to_administer(parent)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = parent;
        Vec::new()
    }
}

fn make_and_remove() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!(".trackway-confined-{}", std::process::id()));
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(&path)
}

fn of(what: &str, outcome: io::Result<()>) -> Attempt {
    judged(what, outcome, is_refusal)
}

fn judged(what: &str, outcome: io::Result<()>, is_refusal: fn(&io::Error) -> bool) -> Attempt {
    let (verdict, answer) = match outcome {
        Ok(()) => (Verdict::Open, "done".to_owned()),
        // It would have been done if it had been asked for in the right way.
        Err(error) if !is_refusal(&error) => (Verdict::Open, error.to_string()),
        Err(error) => (Verdict::Refused, error.to_string()),
    };
    Attempt { what: what.to_owned(), verdict, answer }
}

/// Whether the kernel did not even look at what was asked for.
fn is_refusal(error: &io::Error) -> bool {
    const REFUSALS: [libc::c_int; 4] = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::ENOMEM];
    error.raw_os_error().is_none_or(|number| REFUSALS.contains(&number))
}

#[cfg(target_os = "linux")]
mod linux {
    //! Calls that the standard library does not make.

    use super::{Attempt, io, judged, of};

    /// Beyond what a process on three pipes has.
    const DESCRIPTORS: std::ops::Range<libc::c_int> = 3..1_024;
    const MEMORY_BYTES: usize = 8 << 30;

    pub fn try_all(parent: u32) -> Vec<Attempt> {
        let parent = i64::from(parent);
        let page = 4_096;
        let (read, private) = (i64::from(libc::PROT_READ), i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS));
        let tries: &[(&str, libc::c_long, [i64; 6])] = &[
            ("make a socket between programs", libc::SYS_socket, [1, 1, 0, 0, 0, 0]),
            ("send a signal to who started it", libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
            ("trace who started it", libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), parent, 0, 0, 0, 0]),
            ("read the memory of who started it", libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0, 0]),
            ("become another program", libc::SYS_execve, [0; 6]),
            ("split itself in two", libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0, 0, 0, 0]),
            (
                "make memory that can be run",
                libc::SYS_mmap,
                [0, page, read | i64::from(libc::PROT_EXEC), private, -1, 0],
            ),
            ("raise its limits", libc::SYS_prlimit64, [0, i64::from(libc::RLIMIT_NOFILE), 0x1000, 0, 0, 0]),
            ("take more memory than it has", libc::SYS_mmap, [0, MEMORY_BYTES as i64, read, private, -1, 0]),
            ("enter a namespace of its own", libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0]),
            ("mount a file system", libc::SYS_mount, [0; 6]),
            ("load a program into the kernel", libc::SYS_bpf, [0; 6]),
            ("use the kernel's keys", libc::SYS_keyctl, [0, -3, 0, 0, 0, 0]),
            ("measure with the kernel's counters", libc::SYS_perf_event_open, [0; 6]),
            ("handle faults of memory", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
            ("queue calls past the filter", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
            ("be dumped", libc::SYS_prctl, [i64::from(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0]),
        ];
        let mut attempts: Vec<Attempt> = tries.iter().map(|(what, call, words)| of(what, raw(*call, words))).collect();
        let inherited =
            DESCRIPTORS.filter(|descriptor| raw(libc::SYS_fcntl, &[i64::from(*descriptor), 1, 0, 0, 0, 0]).is_ok());
        attempts.push(of(
            "use a descriptor of who started it",
            match inherited.count() {
                0 => Err(io::Error::other("there are none")),
                _ => Ok(()),
            },
        ));
        attempts
    }

    /// What a server gives up. Nearly all is asked for so that a kernel that looks at it gives another answer than a
    /// refusal, whoever asks: what is refused is refused by the filter, and not because its user may not.
    pub fn try_to_administer(parent: u32) -> Vec<Attempt> {
        /// No file is open under it, and no user or group has it.
        const NOBODY: i64 = -1;
        /// Asks what it is and changes nothing.
        const AS_IT_IS: i64 = 0xffff_ffff;
        let parent = i64::from(parent);
        // Above the largest number that a process may have.
        let no_process = i64::from(libc::c_int::MAX);
        let tries: &[(&str, libc::c_long, [i64; 6])] = &[
            ("trace another process", libc::SYS_ptrace, [i64::from(libc::PTRACE_SEIZE), no_process, 0, 0, 0, 0]),
            ("read the memory of who started it", libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0, 0]),
            ("write to the memory of who started it", libc::SYS_process_vm_writev, [parent, 0, 0, 0, 0, 0]),
            ("mount a file system", libc::SYS_mount, [0; 6]),
            ("change its root", libc::SYS_chroot, [0; 6]),
            ("load a module into the kernel", libc::SYS_init_module, [0; 6]),
            ("load a module from a file into the kernel", libc::SYS_finit_module, [NOBODY, 0, 0, 0, 0, 0]),
            ("load a program into the kernel", libc::SYS_bpf, [0; 6]),
            ("enter a namespace of its own", libc::SYS_unshare, [0; 6]),
            ("enter the namespace of another process", libc::SYS_setns, [NOBODY, 0, 0, 0, 0, 0]),
            ("become another user", libc::SYS_setuid, [NOBODY, 0, 0, 0, 0, 0]),
            ("become another group", libc::SYS_setgid, [NOBODY, 0, 0, 0, 0, 0]),
            ("take back a user that it left", libc::SYS_setresuid, [NOBODY, NOBODY, NOBODY, 0, 0, 0]),
            ("take rights", libc::SYS_capset, [0; 6]),
            ("change how programs are laid out", libc::SYS_personality, [AS_IT_IS, 0, 0, 0, 0, 0]),
            ("use the kernel's keys", libc::SYS_keyctl, [0, -3, 0, 0, 0, 0]),
            ("measure with the kernel's counters", libc::SYS_perf_event_open, [0; 6]),
            ("handle faults of memory", libc::SYS_userfaultfd, [1, 0, 0, 0, 0, 0]),
            ("queue calls past the filter", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
        ];
        let is_refusal = |error: &io::Error| error.raw_os_error() == Some(libc::EPERM);
        tries.iter().map(|(what, call, words)| judged(what, raw(*call, words), is_refusal)).collect()
    }

    #[allow(unsafe_code, reason = "what is tried is what no safe function does")]
    fn raw(call: libc::c_long, words: &[i64; 6]) -> io::Result<()> {
        let [a, b, c, d, e, f] = *words;
        // SAFETY: no pointer to memory of ours is among the words: where a call wants one it gets none, or an address at
        // which nothing is mapped, which the kernel answers by an error. New mappings are never used. Where a second
        // process comes of it, that one ends at once, below.
        let answer = unsafe { libc::syscall(call, a, b, c, d, e, f) };
        if call == libc::SYS_clone && answer == 0 {
            // SAFETY: ends the second process without running anything of the first.
            unsafe { libc::_exit(0) };
        }
        if answer >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
