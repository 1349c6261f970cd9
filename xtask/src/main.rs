//! The project's own tasks. They install what is missing and run other programs; they never link
//! the engine, so that this program is built within seconds.

use std::process::ExitCode;

mod bench;
mod bless;
mod check;
mod demo;
mod foreign;
mod guests;
mod pages;
mod process;
mod prove;
mod setup;
mod suite;
mod tree;

const HELP: &str = "\
cargo xtask TASK

  demo [URL...]   build everything, run the example `headlines`, kill the host in the middle, watch it finish
  demo --example research
                  the same with an agent: a real model if OPENAI_API_KEY is set, else a scripted server, which says so
  test            set up what is missing, then run every check and test
  ci              test, then demo
  guests          build the guests and examples that the tests use
  bless           write the files anew that are made from the code and checked in
  bench           measure Trackway, its peers and the floor, in turn on this machine
                  [--json FILE] [--only WORK,SYSTEM,...] [--quick] [--rounds N] [--with-obelisk] [--no-build]
                  --quick: one short round, without `neighbour` unless --only names it
  prove NAME      run a proof at length: power, kill, simulate, fuzz, api, damage, limits, soak
                  [--rounds N] [--seed S] [--minutes M]; without a name it says what each does and which it minds";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match (task.as_str(), rest.is_empty()) {
        ("demo", _) => demo::demo(rest),
        ("test", true) => check::check(),
        ("ci", true) => check::check().and_then(|()| demo::demo(Vec::new())),
        ("guests", true) => guests::build().and_then(|()| foreign::build()),
        ("bless", true) => bless::bless(),
        ("bench", _) => bench::bench(&rest),
        ("prove", _) => prove::prove(&rest),
        ("" | "help" | "--help" | "-h", _) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("unknown: {task} {}\n\n{HELP}", rest.join(" "));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
