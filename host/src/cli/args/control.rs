//! Words and flags of what people do to runs: one by its name, or many that fit a filter.

use clap::Args;

use super::Connect;
use crate::cli::duration::{Moment, parse_duration, parse_moment};
use crate::cli::render::money::parse_usd;
use std::time::Duration;

/// The words of `--status`.
const STATUSES: [&str; 9] =
    ["queued", "running", "sleeping", "waiting", "paused", "stuck", "succeeded", "failed", "cancelled"];

/// Which of all runs.
#[derive(Debug, Args)]
pub struct Filter {
    /// Only runs of this workflow
    #[arg(long)]
    pub workflow: Option<String>,
    /// Only runs of this deployment
    #[arg(long)]
    pub deployment: Option<String>,
    /// Only runs in this state; several with commas
    #[arg(long, value_delimiter = ',', value_parser = STATUSES)]
    pub status: Vec<String>,
    /// Only runs that failed with this code, or are stuck on it
    #[arg(long)]
    pub code: Option<String>,
    /// Only runs that were started since: 2h for two hours ago, or 2026-11-21T02:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Moment>,
    /// Only runs that were started before
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Moment>,
    /// Only runs whose calls of models cost at least this by now, as 0.05
    #[arg(long, value_name = "USD", value_parser = parse_usd)]
    pub min_cost: Option<u64>,
}

/// One run, or all that fit.
#[derive(Debug, Args)]
pub struct Which {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN", required_unless_present = "all", conflicts_with_all = ["all", "Filter"])]
    pub run: Option<String>,
    /// Every run that fits the filters below, also where there are many
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: Filter,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct RunsCancel {
    #[command(flatten)]
    pub which: Which,
    /// Why; the workflow gets to see it
    #[arg(long, default_value = "cancelled from the command line")]
    pub reason: String,
    /// After how long the host ends the run, at most a day; as its workflow says, or 30s, if left out
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub grace: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct RunsTerminate {
    #[command(flatten)]
    pub which: Which,
    /// Why; it stands in the journal
    #[arg(long, default_value = "terminated from the command line")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct RunsPause {
    #[command(flatten)]
    pub which: Which,
    /// Why; shown in the trace
    #[arg(long, default_value = "paused from the command line")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct RunsRestart {
    #[command(flatten)]
    pub which: Which,
    /// Keep what stood before this step was asked for: answers that are there are not done again
    #[arg(long, value_name = "STEP", conflicts_with = "all")]
    pub from_step: Option<u32>,
}

#[derive(Debug, Args)]
pub struct RunsMove {
    #[command(flatten)]
    pub which: Which,
    /// The deployment whose current code it goes on with, and whose grants it then has
    #[arg(long, value_name = "DEPLOYMENT")]
    pub to: String,
}

#[cfg(test)]
mod tests;
