//! The words and flags of the command line. Declares them and what their help says; does nothing.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;
use std::time::Duration;

pub mod control;

use super::duration::parse_duration;
use super::output::Format;

mod components;
mod confine;
mod entities;
mod identity;
mod keep;
mod plan;
mod promises;
mod questions;
mod quotas;
mod redact;
mod runs;
mod secrets;
mod server;
mod store;
mod trace;

pub use components::{Components, DeploymentsRm};
pub use confine::Confine;
pub use entities::{Entities, OneEntity};
pub use identity::{Audit, Keys, OneKey, OneTenant, Tenants};
pub use keep::Keep;
pub use plan::{Judge, Look, Policy, Sign};
pub use promises::{Promises, Reject, Resolve};
pub use questions::{OneQuestion, Questions, QuestionsAnswer, QuestionsLs};
pub use quotas::{QuotaIs, TenantQuota, Usage};
pub use redact::{Redact, SomeFields};
pub use runs::{OneRun, Runs, RunsLs, RunsRetry, RunsSignal, RunsState, RunsStream, RunsUpdate};
pub use secrets::Secrets;
pub use server::Server;
pub use store::{Backup, Doctor, Restore};
pub use trace::{Inspect, Logs, Replay, Trace, TraceView};

#[derive(Debug, Parser)]
#[command(
    name = "trackway",
    version,
    about = "Durable workflows in a WebAssembly sandbox",
    long_about = "Durable workflows in a WebAssembly sandbox: every step is journaled by the host, so a run that was \
                  killed goes on where it was, and any run replays exactly.",
    after_help = "Start here:\n  trackway init hello && cd hello\n  trackway dev                  # in one terminal\n  \
                  trackway run hello            # in another\n  trackway trace @last\n\n\
                  Every command has examples: trackway run --help",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// How to print data: text on a terminal and json in a pipe, if not said
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new project
    #[command(after_help = "Examples:\n  trackway init hello\n  trackway init news --template headlines\n  \
                            trackway init              # into this folder")]
    Init(Init),

    /// Build the project here into a WebAssembly file
    #[command(after_help = "Examples:\n  trackway build\n  trackway build -o id    # only the path of the file")]
    Build,

    /// Check a component as an upload would, and say what it holds
    #[command(after_help = "Examples:\n  trackway check                    # builds the project here first\n  \
                            trackway check app.wasm\n  trackway check app.wasm -o json | jq .functions")]
    Check(Check),

    /// Run a server for this project: build, deploy, watch, all in one process
    #[command(
        after_help = "Examples:\n  trackway dev\n  trackway dev --listen 127.0.0.1:9000\n  trackway dev --no-watch\n\n\
                            While it runs, `trackway run WORKFLOW` in the same folder finds it."
    )]
    Dev(Dev),

    /// Run a server
    #[command(after_help = "Examples:\n  trackway server --data /var/lib/trackway --key-file /etc/trackway/key\n  \
                            trackway server --listen 0.0.0.0:8750 --key-file key --grace 30s\n\n\
                            SIGTERM drains: nothing new is begun, effects in flight get the grace period, everything is \
                            made durable, exit code 0. A second SIGTERM ends at once and loses nothing.")]
    Server(Server),

    /// Upload a component and point a deployment to it
    #[command(after_help = "Examples:\n  trackway deploy                   # builds the project here first\n  \
                            trackway deploy app.wasm --name news\n  \
                            trackway deploy --allow-host example.com --allow-host '*.example.org'")]
    Deploy(Deploy),

    /// Sign a component, or make a key to sign with
    #[command(after_help = "Examples:\n  trackway sign --new-key release.pem\n  \
                            trackway sign app.wasm --key release.pem > app.sig && trackway deploy app.wasm --signature app.sig")]
    Sign(Sign),

    /// What deployments may be granted at most, and what needs an approval
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Policy {
        #[command(subcommand)]
        command: Policy,
    },

    /// List deployments, move one to another version, or remove it
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Deployments {
        #[command(subcommand)]
        command: Deployments,
    },

    /// List components, and remove those that nothing uses
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Components {
        #[command(subcommand)]
        command: Components,
    },

    /// Start a run, wait for its end and print its output
    #[command(after_help = "Examples:\n  trackway run hello\n  trackway run hello -i '{\"name\": \"Ada\"}'\n  \
                            trackway run news/headlines -i @urls.json --follow\n  cat urls.json | trackway run headlines -i -\n  \
                            id=$(trackway run hello --detach -o id)\n\n\
                            Exit codes: 0 it succeeded, 3 it failed or was cancelled, 6 --timeout passed (the run goes on).")]
    Run(Run),

    /// What runs wait for a person to answer
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Questions {
        #[command(subcommand)]
        command: Questions,
    },
    /// Settle what workflows wait for, by its token
    Promises {
        #[command(subcommand)]
        command: Promises,
    },
    /// Values that runs share: list, show, set and delete them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Entities {
        #[command(subcommand)]
        command: Entities,
    },
    /// Values that functions send to others and never see: set, list, remove and rotate them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Secrets {
        #[command(subcommand)]
        command: Secrets,
    },
    /// List, describe, retry, end, pause and restart runs, and send them signals
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Runs {
        #[command(subcommand)]
        command: Runs,
    },

    /// Show every step of a run: attempts, effects, durations, places in the source
    #[command(
        after_help = "Examples:\n  trackway trace @last\n  trackway trace 01k9 --follow     # a prefix is enough\n  \
                            trackway trace @last --step 3\n  trackway trace @last -o json | jq '.rows[]'"
    )]
    Trace(Trace),

    /// Run a run again from its journal, touching nothing, and prove that it is the same
    #[command(after_help = "Examples:\n  trackway replay @last\n  trackway replay 01k9 --with target/app.wasm\n\n\
                            Exit code 7: the code does something else than the journal says.")]
    Replay(Replay),

    /// Print the log lines of a run
    #[command(after_help = "Examples:\n  trackway logs @last\n  trackway logs @last --follow\n  \
                            trackway logs @last -o jsonl | jq -r .message")]
    Logs(Logs),

    /// Look at the toolchain, the data folder, the disk and the server, and say what to do
    #[command(after_help = "Examples:\n  trackway doctor\n  trackway doctor --data /var/lib/trackway\n  \
                            trackway doctor --deep --data /var/lib/trackway\n\n\
                            Exit code 1: something has to be done.")]
    Doctor(Doctor),

    /// Copy everything that a server holds into one file, while it goes on
    #[command(after_help = "Examples:\n  trackway backup nightly.trackway\n  \
                            TRACKWAY_SERVER=https://runs.example.com trackway backup nightly.trackway\n  \
                            trackway backup nightly.trackway --data-keys /elsewhere/trackway.keys    # where tenants are sealed\n\n\
                            The file is whole and checked, or not there. What of it is sealed opens with the data keys and the\n\
                            key of the server only; keep one file of data keys, the latest, elsewhere than the backups.")]
    Backup(Backup),

    /// Make the data folder of a server from a backup
    #[command(after_help = "Examples:\n  trackway restore nightly.trackway --data /var/lib/trackway\n  \
                            trackway restore nightly.trackway --check    # only looks at the file\n  \
                            trackway restore nightly.trackway --data DIR --secrets-key-file keys --data-keys trackway.keys\n\n\
                            Runs that had not ended go on when a server is started on the folder. Stop the old one first:\n\
                            two servers would do the same work twice.")]
    Restore(Restore),

    /// Tenants of a server: make, disable and delete them, and say what each may use
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Tenants {
        #[command(subcommand)]
        command: Tenants,
    },
    /// Keys of a tenant: make, list, rotate and remove them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Fields that nobody gets to see: show, set, add and remove them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Redact {
        #[command(subcommand)]
        command: Redact,
    },
    /// Show what a tenant uses, and how much of each quota is left
    #[command(after_help = "Examples:\n  trackway usage\n  trackway usage --tenant acme\n  \
                            trackway usage --day 2026-11-22 -o json | jq .days[0].used.fuel")]
    Usage(Usage),
    /// Print what was changed by request: who, what, when, from where, and what came of it
    #[command(
        after_help = "Examples:\n  trackway audit --since 1h\n  trackway audit --since 24h -o jsonl > audit.jsonl\n  \
                            trackway audit --tenant acme"
    )]
    Audit(Audit),

    /// Say what an error code means and what to do
    #[command(after_help = "Examples:\n  trackway explain TW0205\n  trackway explain            # all codes")]
    Explain(Explain),

    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  trackway completions bash > ~/.local/share/bash-completion/completions/trackway\n  \
                            trackway completions zsh > ~/.zfunc/_trackway\n  \
                            trackway completions fish > ~/.config/fish/completions/trackway.fish"
    )]
    Completions(Completions),

    /// The same as `runs describe` and `trace`, under other names
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Inspect {
        #[command(subcommand)]
        command: Inspect,
    },

    /// Print the OpenAPI description of the HTTP interface
    #[command(name = "__openapi", hide = true)]
    Openapi,
}

/// Which server, and with what key.
#[derive(Debug, Clone, Default, Args)]
pub struct Connect {
    /// Address of the server [env: TRACKWAY_SERVER]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, help_heading = "Connection")]
    pub server: Option<String>,

    /// Key for the server; better in TRACKWAY_KEY, other users can see arguments [env: TRACKWAY_KEY]
    #[arg(long, value_name = "KEY", help_heading = "Connection")]
    pub key: Option<String>,

    /// Tenant that is meant, for whoever runs the server; `default` if not said [env: TRACKWAY_TENANT]
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub tenant: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// One workflow and one function, the smallest that shows something
    Hello,
    /// Fetch many pages at once over HTTP, with retries and a timer
    Headlines,
    /// An agent: a model that reads an article, and what it points to, and answers a question
    Research,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Name of the project and of its folder; this folder if left out
    pub name: Option<String>,

    /// What to start from
    #[arg(long, value_enum, default_value_t = Template::Hello)]
    pub template: Template,
}

#[derive(Debug, Args)]
pub struct Check {
    /// A component or a core module; the project here is built if left out
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Compare it with what this deployment of a server points to
    #[arg(long, value_name = "DEPLOYMENT")]
    pub against: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Dev {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Data folder; `.trackway/data` beside the project file if left out
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,

    /// A host that its functions may reach, beside those that the manifest wants
    #[arg(long = "allow-host", value_name = "HOST")]
    pub allow_host: Vec<String>,

    /// A model that its functions may ask, beside those that the manifest wants
    #[arg(long = "allow-model", value_name = "MODEL")]
    pub allow_model: Vec<String>,

    /// A secret that its functions may send and where to, beside those that the manifest wants
    #[arg(long = "allow-secret", value_name = "NAME[:PLACE,..]=HOST")]
    pub allow_secret: Vec<String>,

    /// Where an MCP server is that its functions name: library=https://mcp.example.com/mcp
    #[arg(long, value_name = "NAME=URL")]
    pub mcp: Vec<String>,

    /// File with tables [providers.NAME] of providers of models, as in the project file; counts before that
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub providers: Option<PathBuf>,

    /// File with a table [redact] of fields that nobody gets to see, beside those of the project file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub redact: Option<PathBuf>,

    /// Build and deploy once, and do not watch the sources
    #[arg(long)]
    pub no_watch: bool,
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// A component or a core module; the project here is built if left out
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Name of the deployment; the project's name or the file's if left out
    #[arg(long)]
    pub name: Option<String>,

    /// A host that its functions may reach: example.com, example.com:8443, *.example.com,
    /// http://127.0.0.1:8080
    #[arg(long = "allow-host", value_name = "HOST")]
    pub allow_host: Vec<String>,

    /// A model that its functions may ask: openai/gpt-4o-mini, openai/gpt-4o*, anthropic/*
    #[arg(long = "allow-model", value_name = "MODEL")]
    pub allow_model: Vec<String>,

    /// A secret that its functions may send to a host: KEY=api.example.com in headers,
    /// KEY:query,body=api.example.com elsewhere
    #[arg(long = "allow-secret", value_name = "NAME[:PLACE,..]=HOST")]
    pub allow_secret: Vec<String>,

    /// Where an MCP server is that its functions name: library=https://mcp.example.com/mcp
    #[arg(long, value_name = "NAME=URL")]
    pub mcp: Vec<String>,

    #[command(flatten)]
    pub look: Look,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Subcommand)]
pub enum Deployments {
    /// Make a version that waits for an approval the current one
    Approve(Judge),
    /// Throw a version away that waits for an approval
    Reject(Judge),
    /// List deployments
    #[command(after_help = "Examples:\n  trackway deployments ls\n  trackway deployments ls -o json")]
    Ls {
        #[command(flatten)]
        connect: Connect,
    },
    /// Remove a deployment, or one version of it
    Rm(DeploymentsRm),
    /// Point a deployment to what another one points to, or to a component that was uploaded
    #[command(after_help = "Examples:\n  trackway deployments promote news --from news-test\n  \
                            trackway deployments promote news --component 9f86d081…   # all 64 characters")]
    Promote(Promote),
    /// Point a deployment to the version before the current one, or to a given one
    #[command(
        after_help = "Examples:\n  trackway deployments rollback news\n  trackway deployments rollback news --to 3"
    )]
    Rollback {
        name: String,
        /// Number of the version; the one before the current one if left out
        #[arg(long, value_name = "VERSION")]
        to: Option<u32>,
        #[command(flatten)]
        connect: Connect,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["from", "component"]))]
pub struct Promote {
    /// Name of the deployment that is moved
    pub name: String,
    /// Another deployment: what it points to now
    #[arg(long, value_name = "DEPLOYMENT")]
    pub from: Option<String>,
    /// Digest of a component
    #[arg(long, value_name = "DIGEST")]
    pub component: Option<trackway_replay::Digest>,
    /// A host that its functions may reach; what the current version may reach if left out
    #[arg(long = "allow-host", value_name = "HOST")]
    pub allow_host: Vec<String>,

    /// A model that its functions may ask; those that the current version may ask if left out
    #[arg(long = "allow-model", value_name = "MODEL")]
    pub allow_model: Vec<String>,

    /// A secret that its functions may send and where to; those of the current version if left out
    #[arg(long = "allow-secret", value_name = "NAME[:PLACE,..]=HOST")]
    pub allow_secret: Vec<String>,

    /// Where an MCP server is that its functions name; those of the current version if left out
    #[arg(long, value_name = "NAME=URL")]
    pub mcp: Vec<String>,
    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The workflow; with several deployments that have it, DEPLOYMENT/WORKFLOW
    #[arg(value_name = "[DEPLOYMENT/]WORKFLOW")]
    pub workflow: String,

    /// Input: JSON, @FILE, or - for standard input; `null` if left out
    #[arg(short, long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub input: Option<String>,

    /// Show the steps while they happen
    #[arg(short, long, conflicts_with = "detach")]
    pub follow: bool,

    /// Print the id of the run and do not wait
    #[arg(short, long)]
    pub detach: bool,

    /// Starting twice under one key starts one run; a fresh key if left out
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,

    /// End the run if it takes longer, as failed with code TIMEOUT; as the workflow says if left out
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub run_timeout: Option<Duration>,

    /// How long it may go on after a cancel; as the workflow says if left out, else 30s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub cancel_grace: Option<Duration>,

    /// Wait no longer than this; the run goes on
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "detach")]
    pub timeout: Option<Duration>,

    #[command(flatten)]
    pub connect: Connect,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// The code, as TW0205; all of them if left out
    pub code: Option<String>,
}

#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
