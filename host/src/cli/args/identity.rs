//! The words and flags of `trackway tenants`, `keys` and `audit`. Declares them and what their help says; does nothing.

use clap::{Args, Subcommand};
use std::time::Duration;

use super::{Connect, TenantQuota};
use crate::cli::duration::{Moment, parse_duration, parse_moment};
use crate::host::Scope;

#[derive(Debug, Subcommand)]
pub enum Tenants {
    /// List tenants
    #[command(after_help = "Examples:\n  trackway tenants ls\n  trackway tenants ls -o id")]
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Make a tenant
    #[command(after_help = "Examples:\n  trackway tenants create acme\n  \
                            trackway keys create --tenant acme --scope admin first")]
    Create(OneTenant),
    /// Refuse the keys of a tenant until it is enabled again; its runs go on
    #[command(after_help = "Examples:\n  trackway tenants disable acme")]
    Disable(OneTenant),
    /// Let the keys of a tenant in again
    #[command(after_help = "Examples:\n  trackway tenants enable acme")]
    Enable(OneTenant),
    /// Show or set what a tenant may use
    #[command(after_help = "Examples:\n  trackway tenants quota acme\n  \
                            trackway tenants quota acme --set runs=1000 --set memory=4GiB --set fuel_per_day=2T\n  \
                            trackway tenants quota acme --unset runs --set model_cost_per_day=25usd\n\n\
                            Limits are numbers with k, M, G, T or KiB, MiB, GiB, TiB, or `unlimited`. docs/guide/quotas.md says\n\
                            what each counts and what happens when it is crossed.")]
    Quota(TenantQuota),
    /// Delete a tenant and everything that it has: runs, values, components, keys, its audit log
    #[command(after_help = "Examples:\n  trackway tenants rm acme --yes\n\n\
                            It cannot be undone. When it says `deleted`, nothing of the tenant is stored any more.")]
    Rm {
        #[command(flatten)]
        one: OneTenant,
        /// Really
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub struct OneTenant {
    /// Its name: a-z, 0-9 and -
    // `--tenant` is called so already.
    #[arg(id = "tenant_name", value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Subcommand)]
pub enum Keys {
    /// List the keys of a tenant, without their texts
    #[command(after_help = "Examples:\n  trackway keys ls\n  trackway keys ls --tenant acme -o json")]
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Make a key; its text is printed this once
    #[command(after_help = "Examples:\n  trackway keys create --scope read --scope run pipeline\n  \
                            trackway keys create --tenant acme --scope admin --expires 90d first\n  \
                            KEY=$(trackway keys create --scope deploy ci -o id)")]
    Create {
        /// What it is for
        #[arg(value_name = "NAME")]
        purpose: String,
        /// What it allows; repeatable: read, run, signal, deploy, admin (all of them, and keys)
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// Refused after so long
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires: Option<Duration>,
        #[command(flatten)]
        connect: Connect,
    },
    /// Make a key that allows what another one does, and end that one
    #[command(after_help = "Examples:\n  trackway keys rotate key_3f9a0c51be77\n  \
                            trackway keys rotate key_3f9a0c51be77 --overlap 1h")]
    Rotate {
        #[command(flatten)]
        one: OneKey,
        /// How long the old one is let in beside the new one
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        overlap: Option<Duration>,
    },
    /// Remove a key: it is refused from then on
    #[command(after_help = "Examples:\n  trackway keys rm key_3f9a0c51be77")]
    Rm(OneKey),
}

#[derive(Debug, Args)]
pub struct OneKey {
    /// Its id, as `keys ls` lists it
    pub id: String,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Only what was done since: a time, or how long ago
    #[arg(long, value_name = "TIME|DURATION", value_parser = parse_moment)]
    pub since: Option<Moment>,
    #[command(flatten)]
    pub connect: Connect,
}
