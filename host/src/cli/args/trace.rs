//! The words and flags of what shows a run: trace, replay and logs. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

use super::{Connect, Runs};

#[derive(Debug, Args)]
pub struct Trace {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    #[command(flatten)]
    pub view: TraceView,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Clone, Default, Args)]
pub struct TraceView {
    /// Go on printing until the run ends
    #[arg(short, long)]
    pub follow: bool,
    /// Everything about one step: input, output, every attempt and effect
    #[arg(long, value_name = "N", conflicts_with = "flat")]
    pub step: Option<u32>,
    /// One line for each row, in the order of the journal, without a tree
    #[arg(long)]
    pub flat: bool,
    /// With -o json or jsonl: values that stand beside the journal in full, not their digests; at most 64 MiB
    #[arg(long, conflicts_with = "follow")]
    pub full: bool,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Replay on this component instead of the run's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub with: Option<PathBuf>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Id of a run, a prefix of it that fits no other, or @last
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Go on printing until the run ends
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Subcommand)]
pub enum Inspect {
    /// Runs: the same as `trackway runs`
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Runs {
        #[command(subcommand)]
        command: Runs,
    },
    /// The same as `trackway trace RUN`
    #[command(after_help = "Examples:\n  trackway inspect trace -r 01k9")]
    Trace {
        /// Id of a run, a prefix of it that fits no other, or @last
        #[arg(short = 'r', long = "run", value_name = "RUN")]
        run: String,
        #[command(flatten)]
        view: TraceView,
        #[command(flatten)]
        connect: Connect,
    },
}
