//! Builds the guests that are not written in Rust, with the tools of their own languages.

use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::process::run_quietly;
use crate::{setup, tree};

/// Builds both, where they are older than their sources.
pub fn build() -> Result<()> {
    std::fs::create_dir_all(tree::guests())?;
    python()?;
    javascript()
}

fn python() -> Result<()> {
    let folder = tree::root().join("tests/guests/python");
    let made = tree::guests().join("python.wasm");
    if is_fresh(&made, &folder) {
        return Ok(());
    }
    // It finds the module in the folder that it is started in; an absolute `-p` it does not find.
    let mut command = Command::new(setup::componentize_py()?);
    command.current_dir(&folder).arg("-d").arg(tree::root().join("wit"));
    command.args(["-w", "app", "componentize", "-s", "app", "-o"]).arg(&made);
    run_quietly("building the Python guest", &mut command)
}

fn javascript() -> Result<()> {
    let folder = tree::root().join("tests/guests/javascript");
    let made = tree::guests().join("javascript.wasm");
    if is_fresh(&made, &folder) {
        return Ok(());
    }
    let (node, jco) = setup::jco()?;
    let mut command = Command::new(node.join("node"));
    command.arg(jco).args(["componentize", "app.js", "--world-name", "app", "--backend", "quickjs"]);
    command.args(["--backend-qjs-stub-wasi", "--backend-qjs-disable-async", "--wit"]).arg(tree::root().join("wit"));
    command.arg("-o").arg(&made).current_dir(&folder);
    run_quietly("building the JavaScript guest", setup::with_path(&mut command, &node))
}

/// Whether `made` is newer than its sources and the contract.
fn is_fresh(made: &Path, sources: &Path) -> bool {
    let Some(made) = changed(made) else { return false };
    let newest = [sources, &tree::root().join("wit")].into_iter().filter_map(newest_in).max();
    newest.is_some_and(|newest| newest < made)
}

fn newest_in(folder: &Path) -> Option<SystemTime> {
    std::fs::read_dir(folder).ok()?.filter_map(|entry| changed(&entry.ok()?.path())).max()
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
