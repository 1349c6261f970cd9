//! The words and flags of `trackway promises`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand};

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Promises {
    /// Show what became of a promise
    #[command(after_help = "Examples:\n  trackway promises show pr_01k9..._3_5f2c...")]
    Show {
        /// As the workflow handed it out, or as the trace shows it
        token: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Resolve a promise, once: whoever awaits it gets the value
    #[command(
        after_help = "Examples:\n  trackway promises resolve pr_01k9..._3_5f2c... '{\"paid\": 12}'\n  trackway promises \
                      resolve pr_01k9..._3_5f2c... @receipt.json"
    )]
    Resolve(Resolve),
    /// Reject a promise, once: whoever awaits it gets a failure
    #[command(after_help = "Examples:\n  trackway promises reject pr_01k9..._3_5f2c... 'no money' --code DECLINED")]
    Reject(Reject),
}

#[derive(Debug, Args)]
pub struct Resolve {
    /// As the workflow handed it out, or as the trace shows it
    pub token: String,
    /// The value: JSON, @FILE, or - for standard input; null if left out
    #[arg(value_name = "JSON|@FILE|-")]
    pub value: Option<String>,
    /// Known by it in the journal; a fresh key if left out
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Reject {
    /// As the workflow handed it out, or as the trace shows it
    pub token: String,
    /// Why, for people
    pub message: Option<String>,
    /// The code of the failure: capital letters, digits and _; REJECTED if left out
    #[arg(long)]
    pub code: Option<String>,
    /// More about it, for programs: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub details: Option<String>,
    /// Known by it in the journal; a fresh key if left out
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}
