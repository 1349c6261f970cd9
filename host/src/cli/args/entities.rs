//! The words and flags of `trackway entities`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand};

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Entities {
    /// List entities
    #[command(after_help = "Examples:\n  trackway entities ls\n  trackway entities ls stock -o json")]
    Ls {
        /// Only those of this name
        name: Option<String>,
        /// Begin after this one, as NAME/KEY
        #[arg(long, value_name = "NAME/KEY")]
        after: Option<String>,
        /// How many at most
        #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        connect: Connect,
    },
    /// Show the value of an entity
    #[command(after_help = "Examples:\n  trackway entities get stock socks")]
    Get(OneEntity),
    /// Set an entity
    #[command(after_help = "Examples:\n  trackway entities set stock socks -i '{\"left\": 7}'\n  \
                      trackway entities set stock socks -i 7 --if-version 12")]
    Set {
        #[command(flatten)]
        one: OneEntity,
        /// The value: JSON, @FILE, or - for standard input
        #[arg(short, long, value_name = "JSON|@FILE|-")]
        input: String,
        /// Only if it is at this version; 0: only if there is none
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
    /// Delete an entity
    #[command(after_help = "Examples:\n  trackway entities rm stock socks --if-version 12")]
    Rm {
        #[command(flatten)]
        one: OneEntity,
        /// Only if it is at this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub struct OneEntity {
    /// What kind of thing it is
    pub name: String,
    /// Which one
    // The server's key is called so already.
    #[arg(id = "entity_key", value_name = "KEY")]
    pub key: String,
    #[command(flatten)]
    pub connect: Connect,
}
