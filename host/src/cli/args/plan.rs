//! Looking before a deploy, approving, signing, and what a tenant may grant. Declares flags and words; does nothing.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

use super::Connect;

#[derive(Debug, Clone, Args)]
pub struct Look {
    /// Upload it, show what it could reach and how that differs from the version that it would replace, and deploy
    /// nothing
    #[arg(long)]
    pub plan: bool,

    /// File with a signature of the component, as `trackway sign` prints it, where the tenant's policy wants one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub signature: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  trackway deployments ls              # shows what is proposed\n  \
                        trackway deployments approve news 4\n  trackway deployments reject news 4")]
pub struct Judge {
    /// Name of the deployment
    pub name: String,
    /// Number of the version that was proposed
    pub version: u32,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Sign {
    /// A component or a core module; the project here is built if left out
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// File with a private key of Ed25519 in PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "new_key")]
    pub key: Option<PathBuf>,

    /// Make a new key in this file, print its public part, and sign nothing
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["file", "key"])]
    pub new_key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Show it
    #[command(after_help = "Examples:\n  trackway policy show\n  trackway policy show -o json > policy.json")]
    Show {
        #[command(flatten)]
        connect: Connect,
    },
    /// Set all of it from a file of JSON
    #[command(after_help = "Examples:\n  trackway policy set policy.json\n\n\
                            The file, every field optional:\n  \
                            {\"hosts\": [\"*.example.com\"], \"models\": [\"openai/*\"], \"widening\": \"needs-approval\",\n   \
                            \"trusted_keys\": [{\"name\": \"release\", \"key\": \"BASE64\"}]}")]
    Set {
        /// The policy
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        connect: Connect,
    },
}
