//! Installs the peers under `target/bench`, from Debian, npm and the crates registry. It starts
//! nothing.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use wit_component::ComponentEncoder;

use super::obelisk::MODULES;
use super::system::System;
use crate::process::{run, run_quietly, works};
use crate::{guests, setup, tree};

/// Restate with its TypeScript SDK, DBOS for TypeScript.
const NPM: [&str; 3] =
    ["@restatedev/restate-server@1.7.12", "@restatedev/restate-sdk@1.17.2", "@dbos-inc/dbos-sdk@5.3.0"];
const APPS: [&str; 3] = ["work.mjs", "restate.mjs", "dbos.mjs"];
const OBELISK: &str = "0.38.3";

/// Where the packages of npm are, and the peers' apps beside them.
pub fn node_folder() -> PathBuf {
    tree::target().join("bench/node")
}

pub fn install(system: System, with_obelisk: bool) -> Result<()> {
    match system {
        System::Trackway | System::Floor => Ok(()),
        System::Restate => node(),
        System::Dbos => node().and_then(|()| postgres().map(drop)),
        System::Obelisk => obelisk_server(with_obelisk).and_then(|()| obelisk_modules()),
    }
}

fn node() -> Result<()> {
    let folder = node_folder();
    std::fs::create_dir_all(&folder)?;
    if !folder.join("node_modules/@dbos-inc/dbos-sdk").is_dir() || restate_server().is_none() {
        let (node, npm) = setup::node()?;
        let mut command = Command::new(npm);
        command.args(["install", "--no-fund", "--no-audit", "--no-save", "--prefix"]).arg(&folder).args(NPM);
        run_quietly("installing Restate and DBOS from npm", setup::with_path(&mut command, &node))?;
    }
    if restate_server().is_none() {
        bail!("npm brought no restate-server for this machine");
    }
    for app in APPS {
        std::fs::copy(tree::root().join("bench/peers").join(app), folder.join(app))?;
    }
    Ok(())
}

/// The server itself, not the script that starts it: so that it can be stopped by its own id.
pub fn restate_server() -> Option<PathBuf> {
    let packages = std::fs::read_dir(node_folder().join("node_modules/@restatedev")).ok()?;
    packages.filter_map(|entry| Some(entry.ok()?.path().join("bin/restate-server"))).find(|path| path.is_file())
}

/// The folder with `initdb` and `pg_ctl`.
pub fn postgres() -> Result<PathBuf> {
    if let Some(folder) = postgres_programs() {
        return Ok(folder);
    }
    setup::debian(&["postgresql"])?;
    match postgres_programs() {
        Some(folder) => Ok(folder),
        None => bail!("the package postgresql brought no initdb"),
    }
}

/// Debian keeps them apart for each version, off the path; the newest one is taken.
fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    folders.sort();
    folders.into_iter().rfind(|folder| folder.join("initdb").is_file())
}

/// Its build takes a quarter of an hour.
fn obelisk_server(is_wanted: bool) -> Result<()> {
    if obelisk_program().is_some() {
        return Ok(());
    }
    if !is_wanted {
        bail!("its build takes long: `--with-obelisk` builds it, or put `obelisk` on the PATH");
    }
    if !works(Command::new("protoc").arg("--version")) {
        setup::debian(&["protobuf-compiler"])?;
    }
    let mut command = Command::new("cargo");
    command.args(["install", "obelisk", "--version", OBELISK, "--locked", "--root"]).arg(tree::target().join("bench"));
    run("building Obelisk", &mut command)
}

/// What it runs of ours.
fn obelisk_modules() -> Result<()> {
    let folder = obelisk_folder();
    let made = guests::build_foreign(&tree::root().join("bench/peers/obelisk"), &folder.join("cargo"))?;
    for module in MODULES {
        let path = made.join(module);
        let code = std::fs::read(&path).with_context(|| format!("the build left no {}", path.display()))?;
        // Our host makes components of modules by itself; Obelisk takes them ready made.
        let component = ComponentEncoder::default().module(&code)?.encode()?;
        std::fs::write(folder.join(module), component)?;
    }
    Ok(())
}

/// Where the modules are that Obelisk runs.
pub fn obelisk_folder() -> PathBuf {
    tree::target().join("bench/obelisk")
}

pub fn obelisk_program() -> Option<PathBuf> {
    let own = tree::target().join("bench/bin/obelisk");
    if own.is_file() {
        return Some(own);
    }
    works(Command::new("obelisk").arg("--version")).then(|| "obelisk".into())
}
