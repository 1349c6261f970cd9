//! The command line: reads what was typed, asks the host or a server for it, prints the answer.
//! It never touches storage, and it decides nothing about runs.

pub mod args;
mod complete;
mod config;
mod duration;
mod exit;
mod explain;
mod output;
#[cfg(test)]
mod reference;
pub mod toolchain;

use clap::Parser;
use std::process::ExitCode;

use crate::{Code, Error, Result};

use args::{Cli, Command};
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
    Err(Error::new(Code::Internal, format!("{command:?} is not there yet in {}", context.folder.display())).into())
}
