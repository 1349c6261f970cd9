//! The command line: reads what was typed, asks the host or a server for it, prints the answer.
//! It never touches storage, and it decides nothing about runs.

pub mod args;
mod backup;
mod cargo_config;
mod check;
mod client;
mod complete;
mod components;
pub mod config;
mod confined;
mod control;
mod deep;
mod deploy;
mod dev;
mod doctor;
mod duration;
mod entities;
mod exit;
mod explain;
mod follow;
mod identity;
mod init;
mod json;
mod output;
mod package;
mod plan;
mod progress;
mod promises;
mod questions;
mod quotas;
mod redact;
#[cfg(test)]
mod reference;
mod render;
mod run;
mod runs;
mod sdk;
mod secrets;
mod server;
mod sources;
mod sse;
mod stream;
mod talk;
pub mod toolchain;
mod usage;
#[cfg(test)]
mod ways;

use clap::Parser;
use std::process::ExitCode;

use crate::{Code, Error, Result};

use args::{Cli, Command, Inspect};
use client::Client;
use config::Config;
use exit::{Done, Exit, Stop};
use output::Output;

/// What every command gets.
struct Context {
    output: Output,
    /// Where it was started.
    folder: std::path::PathBuf,
    config: Config,
}

impl Context {
    fn read(output: Output) -> Result<Context> {
        let folder = std::env::current_dir()
            .map_err(|error| Error::new(Code::File, format!("cannot read the current folder: {error}")))?;
        let config = Config::read(&folder, |name| std::env::var(name).ok())?;
        Ok(Context { output, folder, config })
    }

    /// The server that is meant. Nothing is sent yet.
    fn client(&self, connect: args::Connect) -> Result<Client> {
        let client = Client::new(self.config.connection(connect.server, connect.key)?)?;
        Ok(client.for_tenant(self.config.tenant(connect.tenant)))
    }
}

/// The whole command line, from the arguments of the process to its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let output = Output::new(cli.output);
    let exit = match dispatch(cli.command, output) {
        Ok(exit) => exit,
        Err(Stop::Quietly(exit)) => exit,
        Err(Stop::Error(error)) => {
            output.say_raw(&exit::report(&error, output.talk_paint));
            Exit::of(error.code)
        }
    };
    ExitCode::from(exit as u8)
}

/// Help and version are answers; all else is a mistake, and has a code as every mistake.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr() {
        return ExitCode::from(Exit::Ok as u8);
    }
    if printed.is_ok() && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        Output::new(None).say(&format!("\nmore: trackway explain {}", Code::Usage));
    }
    ExitCode::from(Exit::Usage as u8)
}

fn dispatch(command: Command, output: Output) -> Done {
    // These say how things work also where a file of the configuration is broken.
    match command {
        Command::Explain(args) => return explain::explain(args, &output),
        Command::Completions(args) => return complete::completions(&args, &output),
        _ => {}
    }
    let context = Context::read(output)?;
    match command {
        Command::Init(args) => init::init(&args, &context),
        Command::Build => package::command(&context),
        Command::Sign(args) => plan::sign(args, &context),
        Command::Openapi => {
            output.raw(&crate::api::openapi())?;
            Ok(Exit::Ok)
        }
        Command::Server(args) => server::server(args, &context),
        command => runtime()?.block_on(with_runtime(command, &context)),
    }
}

async fn with_runtime(command: Command, context: &Context) -> Done {
    match command {
        Command::Check(args) => check::check(args, context).await,
        Command::Dev(args) => dev::dev(args, context).await,
        Command::Deploy(args) => deploy::deploy(args, context).await,
        Command::Policy { command } => plan::policy(command, context).await,
        Command::Deployments { command } => deploy::deployments(command, context).await,
        Command::Components { command } => components::components(command, context).await,
        Command::Run(args) => run::run(args, context).await,
        Command::Runs { command } | Command::Inspect { command: Inspect::Runs { command } } => {
            runs::runs(command, context).await
        }
        Command::Promises { command } => promises::promises(command, context).await,
        Command::Entities { command } => entities::entities(command, context).await,
        Command::Tenants { command } => identity::tenants(command, context).await,
        Command::Keys { command } => identity::keys(command, context).await,
        Command::Redact { command } => redact::redact(command, context).await,
        Command::Usage(args) => usage::usage(args, context).await,
        Command::Audit(args) => identity::audit(args, context).await,
        Command::Secrets { command } => secrets::secrets(command, context).await,
        Command::Questions { command } => questions::questions(command, context).await,
        Command::Trace(args) => runs::trace(args.run, args.view, args.connect, context).await,
        Command::Inspect { command: Inspect::Trace { run, view, connect } } => {
            runs::trace(run, view, connect, context).await
        }
        Command::Replay(args) => runs::replay(args, context).await,
        Command::Logs(args) => runs::logs(args, context).await,
        Command::Doctor(args) if args.deep => deep::doctor(args, context).await,
        Command::Doctor(args) => doctor::doctor(args, context).await,
        Command::Backup(args) => backup::backup(args, context).await,
        Command::Restore(args) => backup::restore(args, context).await,
        // These are done without a runtime, or bring their own.
        Command::Init(_)
        | Command::Build
        | Command::Explain(_)
        | Command::Completions(_)
        | Command::Openapi
        | Command::Sign(_)
        | Command::Server(_) => Ok(Exit::Ok),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::Internal, format!("cannot start the runtime: {error}")))
}

/// What the host says while it works. `TRACKWAY_LOG` holds a filter, as `info` or `trackway::worker=debug`.
fn log_to_stderr(level: &str) {
    use tracing_subscriber::EnvFilter;
    let said = std::env::var("TRACKWAY_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = said.unwrap_or_else(|| EnvFilter::new(level));
    let colours = Output::new(None).talk_paint == output::Paint::Colour;
    // Fails only where something logs already.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).try_init();
}
