//! Landlock: files, listening sockets and signals that this thread, and all that it starts, may still reach. It
//! never grants anything: what the user may not do stays forbidden.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::io;
use std::path::Path;

/// As [`super::LANDLOCK_WANTED`]; an older kernel gets what it knows of it.
const RIGHTS: ABI = ABI::V6;
/// `LANDLOCK_CREATE_RULESET_VERSION` of the kernel's `landlock.h`.
const ASK_FOR_VERSION: libc::c_uint = 1;

/// Of the running kernel; none where it has no Landlock, or was started without.
#[allow(unsafe_code, reason = "the call has no safe form among our dependencies")]
pub fn version() -> Option<u32> {
    // SAFETY: with this flag the call takes no pointer, touches no memory and changes nothing.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, ASK_FOR_VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Who may do what with what lies below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    Read,
    /// Libraries and programs are read, and run.
    Run,
    /// Read and written, never made, removed or run: devices.
    Use,
    /// Everything but being run.
    Own,
}

impl Right {
    fn access(self) -> BitFlags<AccessFs> {
        match self {
            Right::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Right::Run => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
            Right::Use => AccessFs::ReadFile | AccessFs::WriteFile,
            Right::Own => AccessFs::from_all(RIGHTS) & !BitFlags::from(AccessFs::Execute),
        }
    }
}

/// What is left: of the file system what is listed, of TCP what was opened before and what it connects to, of signals
/// those to what it starts. Paths that are not there are passed over.
pub fn keep_only<'a>(kept: impl IntoIterator<Item = (&'a Path, Right)>) -> io::Result<bool> {
    let mut rules = ruleset(AccessNet::BindTcp.into()).map_err(io::Error::other)?;
    for (path, right) in kept {
        rules = rules.add_rules(path_beneath_rules([path], right.access())).map_err(io::Error::other)?;
    }
    restrict(rules)
}

/// Nothing is left.
pub fn keep_nothing() -> io::Result<bool> {
    restrict(ruleset(AccessNet::from_all(RIGHTS)).map_err(io::Error::other)?)
}

fn ruleset(network: BitFlags<AccessNet>) -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(network)?
        .scope(Scope::from_all(RIGHTS))?
        .create()
}

/// Whether anything came of it.
fn restrict(rules: RulesetCreated) -> io::Result<bool> {
    let status = rules.restrict_self().map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
