//! `docs/guide/cli.md` is made from the declarations of the command line. It only exists in tests.

use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;

use super::args::Cli;

const HEAD: &str = "\
# Command line

Made from the program itself; `trackway COMMAND --help` and `trackway help COMMAND` say the same.

Data goes to standard output, talk to standard error. Data is text on a terminal and JSON in a pipe, or what `-o` says: `text`,
`json`, `jsonl` (one object a line) or `id` (only ids). A run is named by its id, by a beginning of it that fits no other, or as
`@last`. Flags win over the environment (`TRACKWAY_SERVER`, `TRACKWAY_KEY`, `TRACKWAY_DATA`), that over `trackway.toml`, that over
the file of the user.

| exit code | means |
|---|---|
| 0 | well |
| 1 | an error without a code of its own below |
| 2 | wrong usage or input |
| 3 | the run failed or was cancelled |
| 4 | not found |
| 5 | not allowed |
| 6 | gave up waiting; the run goes on |
| 7 | divergence or conflict |
| 8 | the server cannot be reached |
| 130 | interrupted |
";

#[test]
fn the_reference_of_the_command_line_is_as_checked_in() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/cli.md");
    let made = reference();
    if std::env::var_os("TRACKWAY_BLESS").is_some() {
        std::fs::write(path, &made).expect("the guide can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(made == found, "docs/guide/cli.md is behind the program: cargo xtask bless");
}

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut program = Cli::command();
    program.build();
    for command in shown(&program) {
        describe(&mut text, command, "trackway");
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn describe(text: &mut String, command: &Command, above: &str) {
    let name = format!("{above} {}", command.get_name());
    if command.has_subcommands() {
        shown(command).for_each(|below| describe(text, below, &name));
        return;
    }
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    write!(text, "\n## `{name}`\n\n{about}.\n\n```\n{usage}\n```\n").expect("a string takes any text");
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !argument.is_global_set() && argument.get_id() != "help")
        .collect();
    if arguments.is_empty() {
        return;
    }
    text.push('\n');
    for argument in arguments {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let default = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>();
        let default = if default.is_empty() || !argument.get_action().takes_values() {
            String::new()
        } else {
            format!(" (`{}` if left out)", default.join(" "))
        };
        let help = help.replace('\n', " ");
        writeln!(text, "- `{}`: {help}{default}", signature(argument)).expect("a string takes any text");
    }
}

/// As it is typed: `-o, --output FORMAT`.
fn signature(argument: &Arg) -> String {
    let value = argument.get_value_names().map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
    let value = value.unwrap_or_default().join(" ");
    let flags: Vec<String> =
        [argument.get_short().map(|short| format!("-{short}")), argument.get_long().map(|long| format!("--{long}"))]
            .into_iter()
            .flatten()
            .collect();
    match (flags.is_empty(), argument.get_action().takes_values()) {
        (true, _) => value,
        (false, true) => format!("{} {value}", flags.join(", ")),
        (false, false) => flags.join(", "),
    }
}
