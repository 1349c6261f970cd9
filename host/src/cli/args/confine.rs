//! What a server keeps of its rights. Declares flags; does nothing.

use clap::Args;

use crate::confine::{Dumps, Landlock};

#[derive(Debug, Clone, Args)]
pub struct Confine {
    /// Go on as this user once the address is taken: a name in /etc/passwd, or UID:GID. Only root can
    #[arg(long, value_name = "NAME", help_heading = "Confinement")]
    pub user: Option<String>,

    /// Do not keep the files of the system from the server (Landlock), where that keeps too much
    #[arg(long, help_heading = "Confinement")]
    pub no_landlock: bool,

    /// Let the memory of the server be read by debuggers and profilers and be written to a core file: it holds keys
    #[arg(long, help_heading = "Confinement")]
    pub allow_dumps: bool,
}

impl Confine {
    pub fn landlock(&self) -> Landlock {
        if self.no_landlock { Landlock::Off } else { Landlock::On }
    }

    pub fn dumps(&self) -> Dumps {
        if self.allow_dumps { Dumps::AsTheSystemSays } else { Dumps::Never }
    }
}
