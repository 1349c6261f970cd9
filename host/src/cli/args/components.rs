//! The words and flags of `trackway components`, and of what removes a deployment. Declares them and what their help says;
//! does nothing.

use clap::{Args, Subcommand};
use trackway_replay::Digest;

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Components {
    /// List components, and which deployments point to them
    #[command(after_help = "Examples:\n  trackway components ls\n  \
                            trackway components ls -o json | jq '.[] | select(.deployments == []) | .digest'")]
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Remove a component that no deployment, proposal and open run uses
    #[command(after_help = "Examples:\n  trackway components rm 9f86d081…   # all 64 characters\n\n\
                            Runs of it that have ended stay readable. They replay again when the same file is deployed again.")]
    Rm {
        /// As `trackway components ls` shows it
        digest: Digest,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trackway deployments rm news\n  trackway deployments rm news --version 3\n\n\
                        Open runs go on. What their functions may reach goes with the version that granted it.")]
pub struct DeploymentsRm {
    /// Name of the deployment
    pub name: String,
    /// Only this version of it, which must not be the current one
    #[arg(long, value_name = "VERSION")]
    pub version: Option<u32>,
    #[command(flatten)]
    pub connect: Connect,
}
