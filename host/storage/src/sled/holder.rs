//! The process whose id stands in the lock file: whether it lives, or is on its way out. A killed
//! process keeps its locks until the kernel has taken its memory apart, which takes a while where
//! there is much of it. Only looks, and only where there is a `/proc`; never signals anybody.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// `PF_EXITING` of the kernel's `sched.h`, in the flags of `/proc/PID/stat`.
const EXITING: u64 = 0x4;
/// Place of the flags in `/proc/PID/stat`, counted from the state, which follows the name.
const FLAGS_FIELD: usize = 6;
/// SIGKILL's place in the masks of `/proc/PID/status`.
const KILL: u64 = 1 << (9 - 1);

/// A kernel that is short of everything needs this long for many gigabytes; then something is wrong.
const DYING_WAIT_MAX: Duration = Duration::from_secs(60);
/// Its id may be one of another container on the same folder, and then it lives.
const GONE_WAIT_MAX: Duration = Duration::from_secs(2);
/// Whoever ended itself just before is not seen to for a moment.
const ALIVE_WAIT_MAX: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Shorter waits are not worth a word.
const SAY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nothing says that it will let go, or nothing is known of it.
    Alive,
    /// Killed or ending: it lets go by itself.
    Dying,
    /// There is no such process here, or nothing but its entry for a parent that does not look.
    Gone,
}

impl Holder {
    /// What `/proc` says of the process whose id stands in a lock file.
    pub fn of(id: &str) -> Holder {
        let Ok(id) = id.trim().parse::<u32>() else { return Holder::Alive };
        if !Path::new("/proc/self/stat").exists() {
            return Holder::Alive;
        }
        let process = Path::new("/proc").join(id.to_string());
        let read = |file: &str| std::fs::read_to_string(process.join(file));
        match (read("stat"), read("status")) {
            // What is left of it then holds nothing any more.
            (Ok(stat), Ok(_)) if state_of(&stat) == Some("Z") && is_alone(&process) => Holder::Gone,
            (Ok(stat), Ok(status)) if is_ending(&stat) || is_killed(&status) => Holder::Dying,
            (Err(error), _) | (_, Err(error)) if is_gone(&error) => Holder::Gone,
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Holder::Alive,
        }
    }

    fn wait_max(self) -> Duration {
        match self {
            Holder::Alive => ALIVE_WAIT_MAX,
            Holder::Dying => DYING_WAIT_MAX,
            Holder::Gone => GONE_WAIT_MAX,
        }
    }
}

/// Waits for a holder for as long as it is worth it.
pub(super) struct Patience {
    begun: Instant,
    has_said: bool,
}

impl Patience {
    pub fn new() -> Patience {
        Patience { begun: Instant::now(), has_said: false }
    }

    /// Waits a moment for `holder`, which has the id `id`. False if it will not let go of `folder`.
    pub fn wait(&mut self, folder: &Path, id: &str, holder: Holder) -> bool {
        let waited = self.begun.elapsed();
        if waited >= holder.wait_max() {
            return false;
        }
        if waited >= SAY_AFTER && !std::mem::replace(&mut self.has_said, true) {
            let (folder, id) = (folder.display(), id.trim());
            tracing::warn!("waiting for process {id}, which is ending, to let go of the data folder {folder}");
        }
        std::thread::sleep(LOOK_EVERY);
        true
    }
}

fn is_gone(error: &io::Error) -> bool {
    // Between the opening and the reading of the file the answer is another one.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether it has no thread beside the first.
fn is_alone(process: &Path) -> bool {
    std::fs::read_dir(process.join("task")).is_ok_and(|tasks| tasks.count() <= 1)
}

fn state_of(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().next()
}

/// A zombie, or inside of the kernel's own end of it.
fn is_ending(stat: &str) -> bool {
    // The name may hold anything, brackets and spaces too.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let mut fields = fields.split_whitespace();
    let state = fields.next();
    let flags = fields.nth(FLAGS_FIELD - 1).and_then(|flags| flags.parse::<u64>().ok());
    matches!(state, Some("Z" | "X")) || flags.is_some_and(|flags| flags & EXITING != 0)
}

/// SIGKILL is on its way to it: nothing keeps it from dying any more.
fn is_killed(status: &str) -> bool {
    let pending = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")));
    pending.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & KILL != 0)
}

#[cfg(all(test, target_os = "linux"))]
#[path = "holder/tests.rs"]
mod tests;
