//! What this process and those that it starts give up before they meet what strangers wrote: files, sockets, programs,
//! calls of the kernel. It never decides what a process is for, and what is given up never comes back.
//!
//! A process that compiles or checks ([`child`]) keeps its pipes, its memory and its processor time. A server
//! ([`server`]) keeps its data folder, the files that it was told of and the network. Where the kernel lacks
//! something ([`Kernel`]) the rest is done all the same, and it is said aloud.

mod child;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
mod landlocked;
mod probe;
mod process;
mod server;
mod user;

pub use child::{Rations, child};
pub use probe::{Attempt, PROBE_ARGUMENT, Verdict, probe, probe_child_main, probe_server};
pub use process::{Dumps, forbid_dumps, is_root, raise_open_files};
pub use server::{Confined, Landlock, Reach, server};
pub use user::User;

use std::fmt;

/// The version of Landlock whose rights were tried: files and devices, TCP, signals and abstract sockets.
const LANDLOCK_WANTED: u32 = 6;

/// What the kernel offers beyond what every kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// Version of Landlock, which takes away files, sockets and signals.
    pub landlock: Option<u32>,
    /// Filters of calls.
    pub seccomp: bool,
}

impl Kernel {
    /// Asks the kernel; changes nothing.
    pub fn look() -> Kernel {
        #[cfg(target_os = "linux")]
        {
            Kernel { landlock: landlocked::version(), seccomp: filter::is_there() }
        }
        #[cfg(not(target_os = "linux"))]
        {
            Kernel { landlock: None, seccomp: false }
        }
    }

    /// What is not there, each with what follows from it.
    pub fn lacks(self) -> Vec<&'static str> {
        let mut lacks = Vec::new();
        match self.landlock {
            None => lacks.push(
                "no Landlock: files are kept from a process that compiles by its filter of calls alone, and from the \
                 server by nothing but its user's rights",
            ),
            Some(version) if version < LANDLOCK_WANTED => {
                lacks.push("an old Landlock: sockets, devices or signals are not covered by it");
            }
            Some(_) => {}
        }
        if !self.seccomp {
            lacks.push(
                "no filter of calls (seccomp): a process that compiles may ask the kernel for whatever its user may",
            );
        }
        lacks
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            Some(version) => write!(f, "Landlock {version}")?,
            None => f.write_str("no Landlock")?,
        }
        f.write_str(if self.seccomp { ", seccomp" } else { ", no seccomp" })
    }
}

#[cfg(test)]
mod tests;
