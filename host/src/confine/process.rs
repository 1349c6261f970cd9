//! What a process says of itself to the kernel: who may look into it, and how many files it may have open. It never
//! touches another process.

use std::io;

/// Whether the memory of this process may be written to a file when it crashes, and be read by others of its user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dumps {
    /// Keys and secrets stay out of files and debuggers.
    #[default]
    Never,
    /// As the system has it: for whoever looks for a fault, with a debugger or a profiler.
    AsTheSystemSays,
}

/// Keeps its memory out of core files, and its files in `/proc` from others of its user.
pub fn forbid_dumps(dumps: Dumps) -> io::Result<()> {
    if dumps == Dumps::AsTheSystemSays {
        return Ok(());
    }
    #[cfg(unix)]
    limit(libc::RLIMIT_CORE, 0, 0)?;
    #[cfg(target_os = "linux")]
    closed_to_others()?;
    Ok(())
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the standard library has no door to this call")]
fn closed_to_others() -> io::Result<()> {
    // SAFETY: the call takes numbers and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Each connection, payload and instance in flight may hold a descriptor, and many systems begin with 1,024. Gives
/// how many there may be from now on.
#[cfg(unix)]
pub fn raise_open_files() -> io::Result<u64> {
    let most = limits(libc::RLIMIT_NOFILE)?.rlim_max;
    limit(libc::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}

#[cfg(not(unix))]
pub fn raise_open_files() -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Whether it may do everything on this machine.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library has no door to this call")]
pub fn is_root() -> bool {
    // SAFETY: the call takes nothing, touches nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(not(unix))]
pub fn is_root() -> bool {
    false
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) type Resource = libc::__rlimit_resource_t;
#[cfg(all(unix, not(all(target_os = "linux", target_env = "gnu"))))]
pub(super) type Resource = libc::c_int;

/// Never raises what the process may have at most.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library has no door to this call")]
pub(super) fn limit(what: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let hard = limits(what)?.rlim_max.min(hard);
    let limit = libc::rlimit { rlim_cur: hard.min(soft), rlim_max: hard };
    // SAFETY: the call only reads the struct that it is given.
    match unsafe { libc::setrlimit(what, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library has no door to this call")]
fn limits(what: Resource) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call only writes the struct that it is given.
    match unsafe { libc::getrlimit(what, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}
