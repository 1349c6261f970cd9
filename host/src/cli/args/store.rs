//! The words and flags of what looks at, copies and brings back a whole store. Declares them and what their help says;
//! does nothing.

use clap::{Args, ValueHint};
use std::path::PathBuf;

use super::Connect;

#[derive(Debug, Args)]
pub struct Doctor {
    /// Data folder to look at [env: TRACKWAY_DATA]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// Address that a server would listen on
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Read everything in the store and check it, instead of all else: every journal, value and
    /// component. Where a server uses the data folder, the server looks
    #[arg(long)]
    pub deep: bool,
    /// With --deep, of a data folder that is sealed: the file with the keys of its server. Without it those in
    /// TRACKWAY_SECRETS_KEY count
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Where the wrapped data keys of sealed tenants go; FILE.keys if not said and there are any. Nobody opens the
    /// backup without them
    #[arg(long, value_name = "KEYS", value_hint = ValueHint::FilePath)]
    pub data_keys: Option<PathBuf>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// A file that `trackway backup` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Data folder to make; it must be empty or not there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, required_unless_present = "check")]
    pub data: Option<PathBuf>,
    /// Only check the file
    #[arg(long, conflicts_with = "data")]
    pub check: bool,
    /// The data keys of sealed tenants, as `trackway backup` wrote them; FILE.keys if not said. Those of a later backup do
    /// too
    #[arg(long, value_name = "KEYS", value_hint = ValueHint::FilePath)]
    pub data_keys: Option<PathBuf>,
    /// The file with the keys of the server that data keys are wrapped under. Without it those in TRACKWAY_SECRETS_KEY
    /// count
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets_key_file: Option<PathBuf>,
    /// Seal what is restored, also of tenants that are not sealed in the backup
    #[arg(long, conflicts_with = "check")]
    pub seal: bool,
}
