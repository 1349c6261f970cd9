//! The words and flags of `trackway runs`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand};

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs, the newest first
    #[command(
        after_help = "Examples:\n  trackway runs ls\n  trackway runs ls --status failed --workflow headlines\n  \
                            trackway runs ls -o id | head -1"
    )]
    Ls(RunsLs),
    /// Show what is known of a run
    #[command(after_help = "Examples:\n  trackway runs describe @last\n  trackway runs describe 01k9 -o json")]
    Describe(OneRun),
    /// Ask a run to stop: its workflow is told once and may clean up; 30 s later the host ends it
    #[command(
        after_help = "Examples:\n  trackway runs cancel @last\n  trackway runs cancel 01k9 --reason 'wrong input'"
    )]
    Cancel(RunsCancel),
    /// End a run at once: its workflow is not asked. Also where it computes for ever or is stuck
    #[command(after_help = "Examples:\n  trackway runs terminate @last\n  \
                            trackway runs terminate 01k9 --reason 'it loops'")]
    Terminate(RunsTerminate),
}

#[derive(Debug, Args)]
pub struct RunsLs {
    /// Only runs of this workflow
    #[arg(long)]
    pub workflow: Option<String>,
    /// Only runs of this deployment
    #[arg(long)]
    pub deployment: Option<String>,
    /// Only runs in this state: queued, running, sleeping, waiting, stuck, succeeded, failed, cancelled
    #[arg(long, value_delimiter = ',', value_parser = ["queued", "running", "sleeping", "waiting", "stuck", "succeeded", "failed", "cancelled"])]
    pub status: Vec<String>,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20)]
    pub limit: usize,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct OneRun {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsCancel {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Why; the workflow gets to see it
    #[arg(long, default_value = "cancelled from the command line")]
    pub reason: String,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsTerminate {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Why; it stands in the journal
    #[arg(long, default_value = "terminated from the command line")]
    pub reason: String,
    #[command(flatten)]
    pub connect: Connect,
}
