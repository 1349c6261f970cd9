//! What a process that reads what strangers wrote gives up: everything but its pipes, so much memory and so much
//! time. It never starts one.

use std::io;

/// A process on three pipes needs no more; a leak of descriptors would show.
const OPEN_FILES_MAX: u64 = 64;
/// Runs and requests go first.
const NICENESS: libc::c_int = 5;
/// From the signal that tells why it ends to the one that ends it: it may be busy.
const CPU_SECONDS_AFTER_SIGNAL: u64 = 5;

/// How much one such process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rations {
    pub cpu_seconds: u64,
    pub wall_seconds: u32,
    pub address_space_bytes: u64,
}

/// Called first thing in the process, by its only thread: all that it starts inherits what is left.
///
/// # Errors
/// Where something cannot be given up that this kernel lets others give up. What the kernel does not have is passed
/// over; see [`super::Kernel`].
pub fn child(rations: Rations) -> io::Result<()> {
    ration(rations)?;
    #[cfg(target_os = "linux")]
    let_go();
    super::forbid_dumps(super::Dumps::Never)?;
    #[cfg(target_os = "linux")]
    {
        let kernel = super::Kernel::look();
        if kernel.landlock.is_some() {
            super::landlocked::keep_nothing()?;
        }
        if kernel.seccomp {
            super::filter::only_compute()?;
        }
    }
    Ok(())
}

/// Limits that every Unix enforces: memory, processor time, wall time, files.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library has no door to these calls")]
fn ration(rations: Rations) -> io::Result<()> {
    use super::process::limit;
    limit(libc::RLIMIT_AS, rations.address_space_bytes, rations.address_space_bytes)?;
    // The hard limit is a little higher, so that the signal tells the cause.
    limit(libc::RLIMIT_CPU, rations.cpu_seconds, rations.cpu_seconds + CPU_SECONDS_AFTER_SIGNAL)?;
    limit(libc::RLIMIT_FSIZE, 0, 0)?;
    limit(libc::RLIMIT_NOFILE, OPEN_FILES_MAX, OPEN_FILES_MAX)?;
    // SAFETY: both take numbers and touch no memory; the signal of `alarm` ends the process. Whether it goes after
    // others is no promise, so a failure to say so is none.
    unsafe {
        libc::nice(NICENESS);
        libc::alarm(rations.wall_seconds);
    }
    Ok(())
}

#[cfg(not(unix))]
fn ration(_: Rations) -> io::Result<()> {
    Ok(())
}

/// Inherited descriptors, and the rights of programs that it might start.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the standard library has no door to these calls")]
fn let_go() {
    // SAFETY: called first thing in this process, when nothing owns a descriptor above 2 and no
    // memory is shared; an old kernel that lacks one of the calls answers with an error.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        // Nobody waits for what it makes when the host is gone.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    }
}
