//! The words and flags of `trackway redact`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand};

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Redact {
    /// Show which fields nobody gets to see
    #[command(after_help = "Examples:\n  trackway redact show\n  trackway redact show -o id    # one name a line\n  \
                            trackway redact show --tenant acme -o json")]
    Show {
        #[command(flatten)]
        connect: Connect,
    },
    /// Redact these fields, and no others
    #[command(after_help = "Examples:\n  trackway redact set password ssn\n  trackway redact set --none\n\n\
                            Those of the server (`trackway server --redact`) stay: no tenant can take them back.")]
    #[command(group = clap::ArgGroup::new("what").required(true).args(["fields", "none"]))]
    Set {
        /// Names of fields, in any case
        #[arg(value_name = "FIELD")]
        fields: Vec<String>,
        /// Redact nothing beside what the server does
        #[arg(long, conflicts_with = "fields")]
        none: bool,
        #[command(flatten)]
        connect: Connect,
    },
    /// Redact these fields too
    #[command(
        after_help = "Examples:\n  trackway redact add password\n  trackway redact add ssn iban --tenant acme\n\n\
                            It holds at once, also for streams that are open. What is stored stays as it is."
    )]
    Add(SomeFields),
    /// Show these fields again
    #[command(after_help = "Examples:\n  trackway redact rm ssn")]
    Rm(SomeFields),
}

#[derive(Debug, Args)]
pub struct SomeFields {
    /// Names of fields, in any case
    #[arg(value_name = "FIELD", required = true)]
    pub fields: Vec<String>,
    #[command(flatten)]
    pub connect: Connect,
}
