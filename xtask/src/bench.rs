//! Measures: Trackway, its peers and the floor, in turn on this machine with the same work, medians of
//! several rounds. It starts and stops what is measured; the measuring itself is in `bench/`.

mod alone;
mod footprint;
mod neighbour;
mod obelisk;
mod peers;
mod system;
mod table;

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{flush, run, say};
use crate::{guests, tree};
use system::{Server, System};
use table::Rows;

/// Works that every system does behind HTTP.
const SHARED: [&str; 8] = [
    "run3.pure",
    "run3.http",
    "load.pure",
    "load.http",
    "steps1000.pure",
    "steps1000.http",
    "fan1000.pure",
    "fan1000.http",
];
/// Works of a host without HTTP, in the process that measures it.
const ENGINE: [&str; 5] = ["instance", "step", "replay", "replay.http", "parked"];

/// How long and how often.
#[derive(Clone, Copy)]
struct Pace {
    rounds: u32,
    seconds: f64,
    is_quick: bool,
}

struct Plan {
    json: Option<PathBuf>,
    works: Vec<&'static str>,
    systems: Vec<System>,
    with_obelisk: bool,
    /// Or measures what is built already.
    builds: bool,
    pace: Pace,
}

/// `cargo xtask bench [--json FILE] [--only WORK,SYSTEM,...] [--quick] [--rounds N] [--with-obelisk]
/// [--no-build]`
pub fn bench(arguments: &[String]) -> Result<()> {
    let plan = Plan::read(arguments)?;
    if plan.builds {
        guests::build()?;
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--package", "trackway", "--package", "trackway-bench", "--bins"]);
        run("building in the release profile", build.current_dir(tree::root()))?;
    }

    let folder = tree::target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let folder = Folder(folder.join(format!("run-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    let mut rows = Rows::default();
    say(&format!("measuring on {}", table::machine()));
    let mut systems = Vec::new();
    for system in &plan.systems {
        match peers::install(*system, plan.with_obelisk) {
            Ok(()) => systems.push(*system),
            Err(why) => rows.leave_out(*system, &format!("{why:#}")),
        }
    }
    let begun = Instant::now();
    let measured = measure(&plan, &systems, &folder.0, &mut rows);
    let took = begun.elapsed().as_secs_f64();
    rows.print();
    if let Some(path) = &plan.json {
        rows.write(path)?;
        println!("\n{} rows are in {}", rows.medians().len(), path.display());
    }
    println!("\nmeasuring took {took:.0} s");
    flush();
    measured
}

/// Whatever goes wrong, what was measured before is shown.
fn measure(plan: &Plan, systems: &[System], folder: &Path, rows: &mut Rows) -> Result<()> {
    let shared: Vec<&str> = SHARED.into_iter().filter(|work| plan.works.contains(work)).collect();
    let mut broken = Vec::new();
    for round in 1..=plan.pace.rounds {
        for system in systems.iter().filter(|_| !shared.is_empty()) {
            if broken.contains(system) {
                continue;
            }
            say(&format!("round {round} of {}: {}", plan.pace.rounds, system.name()));
            let done = shared_works(*system, &shared, plan.pace, folder, rows);
            if let Err(why) = done {
                ensure!(*system != System::Trackway, "{why:#}");
                rows.leave_out(*system, &format!("{why:#}"));
                broken.push(*system);
            }
        }
    }
    footprint::measure(systems, &plan.works, plan.pace, folder, rows)?;
    if !systems.contains(&System::Trackway) {
        return Ok(());
    }
    let engine: Vec<&str> = ENGINE.into_iter().filter(|work| plan.works.contains(work)).collect();
    if !engine.is_empty() {
        say("a host without HTTP");
        let mut program = program("engine");
        program.arg("--guests").arg(tree::guests()).arg("--folder").arg(folder).args(["--works", &engine.join(",")]);
        rows.take(&mut program)?;
    }
    alone::measure(&plan.works, plan.pace, folder, rows)?;
    neighbour::measure(&plan.works, plan.pace, folder, rows)
}

fn shared_works(system: System, works: &[&str], pace: Pace, folder: &Path, rows: &mut Rows) -> Result<()> {
    let folder = Folder(folder.join(system.name()));
    std::fs::create_dir_all(&folder.0)?;
    let world = free_address()?;
    if system == System::Floor {
        let mut floor = program("floor");
        floor.arg("--folder").arg(&folder.0).args(["--world", &world, "--works", &works.join(",")]);
        return rows.take(paced(&mut floor, pace));
    }
    let server = Server::start(system, &folder.0, &world)?;
    let load = rows.take(paced(&mut server.load(&works.join(","), &world), pace));
    load.with_context(|| format!("{}:\n{}", system.name(), server.log_tail()))?;
    server.stop()
}

fn paced(program: &mut Command, pace: Pace) -> &mut Command {
    let (levels, long_runs) = if pace.is_quick { ("1,64", "1") } else { ("1,16,64,256", "3") };
    program.args(["--levels", levels, "--long-runs", long_runs, "--seconds", &pace.seconds.to_string()])
}

/// One of the programs in `bench/`.
fn program(name: &str) -> Command {
    let mut command = Command::new(tree::target().join("release/trackway-bench"));
    command.arg(name).stdin(Stdio::null());
    command
}

/// An address that nobody uses now.
fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string())
}

/// What is in it is of no use to anybody afterwards.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Whoever looks finds it under `target/`.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Plan {
    fn read(arguments: &[String]) -> Result<Plan> {
        let alone = ENGINE.into_iter().chain(alone::WORKS).chain(neighbour::WORKS);
        let known: Vec<&str> = SHARED.into_iter().chain(footprint::WORKS).chain(alone).collect();
        let mut plan = Plan {
            json: None,
            works: Vec::new(),
            systems: System::ALL.to_vec(),
            with_obelisk: false,
            builds: true,
            pace: Pace { rounds: 3, seconds: 3.0, is_quick: false },
        };
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word {
                "--json" => plan.json = Some(std::path::absolute(value()?)?),
                "--only" => plan.only(value()?, &known)?,
                "--quick" => plan.pace = Pace { rounds: 1, seconds: 1.0, is_quick: true },
                "--rounds" => plan.pace.rounds = value()?.parse()?,
                "--no-build" => plan.builds = false,
                "--with-obelisk" => plan.with_obelisk = true,
                _ => bail!(
                    "`{word}` is no option of bench: --json FILE, --only WORK,SYSTEM,..., --quick (one short round, \
                          without `neighbour` unless --only names it), --rounds N, --with-obelisk, --no-build"
                ),
            }
        }
        if plan.works.is_empty() {
            // Each flood takes minutes, and who is quick has five of them.
            let is_left_out = |work: &str| plan.pace.is_quick && neighbour::WORKS.contains(&work);
            plan.works = known.into_iter().filter(|work| !is_left_out(work)).collect();
        }
        Ok(plan)
    }

    /// Works and systems, in any order. Where none of either is named, all systems, and as many works as the pace
    /// has time for.
    fn only(&mut self, list: &str, known: &[&'static str]) -> Result<()> {
        let (mut works, mut systems) = (Vec::new(), Vec::new());
        for word in list.split(',').filter(|word| !word.is_empty()) {
            let named = known.iter().filter(|work| **work == word || work.split('.').next() == Some(word));
            let before = works.len();
            works.extend(named.copied());
            let system = System::ALL.into_iter().find(|system| system.name() == word);
            systems.extend(system);
            if works.len() == before && system.is_none() {
                let systems = System::ALL.map(System::name).join(" ");
                bail!("`{word}` is no work and no system\n  works: {}\n  systems: {systems}", known.join(" "));
            }
        }
        if !works.is_empty() {
            self.works = works;
        }
        if !systems.is_empty() {
            self.systems = systems;
        }
        Ok(())
    }
}
