//! The flags of `trackway server`. Declares them and what their help says; does nothing.

use clap::{Args, ValueHint};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::confine::Confine;
use super::keep::{Keep, parse_keep};
use super::quotas::{QuotaIs, parse_quota};
use crate::cli::duration::parse_duration;

#[derive(Debug, Args)]
pub struct Server {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Data folder [env: TRACKWAY_DATA]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,

    /// File with the keys that are let in, one a line; made with a fresh key if it is not there.
    /// Without it the key in TRACKWAY_KEY is let in, or that in the file `key` of the data folder
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,

    /// File with the keys under which secrets and data keys are kept, one a line, the first for new ones; made with a
    /// fresh key if it is not there. Keep it elsewhere than backups. Without it the keys in TRACKWAY_SECRETS_KEY count,
    /// or no secret can be set
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub secrets_key_file: Option<PathBuf>,

    /// Seal on disk what guests and callers of all tenants say, under a data key of each tenant, which is wrapped under the
    /// first of those keys. A tenant that was sealed once stays so, with or without this flag
    #[arg(long)]
    pub seal: bool,

    /// File with tables [providers.NAME] of providers of models, as in the project file; counts before that
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub providers: Option<PathBuf>,

    /// File with a table [redact] of fields that nobody gets to see, beside those of the project file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub redact: Option<PathBuf>,

    /// How long effects in flight may go on after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_duration)]
    pub grace: Duration,

    /// Remove runs so long after their end; without it they are kept for ever. Repeatable, for runs of one
    /// workflow: `--keep-finished 90d --keep-finished news/headlines=7d`
    #[arg(long, value_name = "[[DEPLOYMENT/]WORKFLOW=]DURATION", value_parser = parse_keep)]
    pub keep_finished: Vec<Keep>,

    /// File with a table [auth.jwt] of the identity provider whose tokens are let in
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub auth: Option<PathBuf>,

    /// Serve TLS with the certificate in this file (PEM, with those that lead to its root); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,

    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// How long lines of the audit log are kept; 90 days if not said
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub keep_audit: Option<Duration>,

    /// How many runs may be active at once
    #[arg(long, value_name = "N")]
    pub runs_max: Option<NonZeroUsize>,

    /// What a tenant may use of which nothing else is said; repeatable, counts before [quotas] of the project file
    #[arg(long, value_name = "QUOTA=LIMIT", value_parser = parse_quota)]
    pub quota: Vec<QuotaIs>,

    #[command(flatten)]
    pub confine: Confine,
}
