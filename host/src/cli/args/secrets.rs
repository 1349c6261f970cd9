//! The words and flags of `trackway secrets`. Declares them and what their help says; does nothing.

use clap::{Subcommand, ValueHint};
use std::path::PathBuf;

use super::Connect;

#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// List secrets, without their values: nothing shows those
    #[command(after_help = "Examples:\n  trackway secrets ls\n  trackway secrets ls -o json")]
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Set a secret to what comes on standard input, or stands in a file
    #[command(after_help = "Examples:\n  pass show stripe | trackway secrets set STRIPE_KEY\n  \
                            trackway secrets set GITHUB_TOKEN --file token.txt\n\n\
                            A line break at the end is left out. Functions get at it where a deployment is granted it:\n  \
                            trackway deploy --allow-host api.stripe.com --allow-secret STRIPE_KEY=api.stripe.com")]
    Set {
        /// 1 to 64 of A-Z a-z 0-9 _ -
        name: String,
        /// Read the value from this file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Remove a secret
    #[command(after_help = "Examples:\n  trackway secrets rm STRIPE_KEY")]
    Rm {
        name: String,
        #[command(flatten)]
        connect: Connect,
    },
    /// Put all secrets, and the data keys of sealed tenants, under the first key that the server has
    #[command(
        after_help = "Examples:\n  (umask 077; openssl rand -hex 32 | cat - keys > new) && mv new keys    # on the server\n  \
                            trackway secrets rotate\n\n\
                            Afterwards the old keys are needed for backups only that were made before."
    )]
    Rotate {
        #[command(flatten)]
        connect: Connect,
    },
}
