//! `trackway completions`: what shells ask for. Made from the declared arguments, so it cannot be
//! out of date.

use clap::CommandFactory as _;

use super::args::{Cli, Completions};
use super::exit::{Done, Exit};
use super::output::Output;

pub fn completions(args: &Completions, output: &Output) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trackway", &mut script);
    output.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_has_examples_or_commands_below_it() {
        fn check(command: &clap::Command) {
            for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
                let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                let fine = examples.contains("Examples:") || command.has_subcommands();
                assert!(fine, "`{}` shows no example", command.get_name());
                check(command);
            }
        }
        check(&Cli::command());
    }
}
