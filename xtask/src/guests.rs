//! Builds the guests and examples that are written in Rust. How a compiler is found it never knows:
//! the command line's own `toolchain.rs` does, and both share it.

#[allow(dead_code, reason = "the command line uses the rest")]
#[path = "../../host/src/cli/toolchain.rs"]
mod toolchain;

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{flush, run, say};
use crate::tree;
use toolchain::{Guest, Toolchain};

/// Each a workspace of its own.
const WORKSPACES: [&str; 7] = [
    "tests/guests",
    "examples/hello",
    "examples/headlines",
    "examples/checkout",
    "examples/approval",
    "examples/research",
    "examples/agent",
];

/// Builds all of them, and leaves each module as `NAME.wasm` in the folder of the guests.
pub fn build() -> Result<()> {
    let toolchain = toolchain()?;
    // One folder for all, so that std and the SDK are built once.
    let target_folder = tree::target().join("guests-cargo");
    let sdk = tree::root().join("guest-sdk/rust");
    for workspace in WORKSPACES {
        say(&format!("building the guests in {workspace}"));
        let folder = tree::root().join(workspace);
        let made = toolchain.build(&Guest { folder: &folder, sdk: &sdk, target_folder: &target_folder })?;
        copy_modules(&made)?;
    }
    Ok(())
}

/// Builds what knows nothing of the SDK, apart from the guests so that nobody takes it for one; answers with
/// the folder of the modules.
pub fn build_foreign(folder: &Path, target_folder: &Path) -> Result<PathBuf> {
    let mut command = toolchain()?.cargo_build();
    run("building for WebAssembly", command.current_dir(folder).arg("--target-dir").arg(target_folder))?;
    Ok(target_folder.join(toolchain::TARGET).join("release"))
}

fn toolchain() -> Result<Toolchain> {
    let found = Toolchain::find_or_install(&mut |doing| {
        println!("    {doing} ...");
        flush();
    });
    Ok(found?)
}

/// A cargo command in each of their workspaces, for this machine: they are tested and checked here too.
pub fn native(task: &str) -> Vec<(&'static str, Command)> {
    let command = |workspace: &'static str| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg(task).current_dir(tree::root().join(workspace));
        if task != "fmt" {
            command.arg("--config").arg(toolchain::patch("trackway-sdk", &tree::root().join("guest-sdk/rust")));
            command.arg("--target-dir").arg(tree::target().join("guests-native"));
        }
        (workspace, command)
    };
    WORKSPACES.into_iter().map(command).collect()
}

fn copy_modules(from: &Path) -> Result<()> {
    std::fs::create_dir_all(tree::guests())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let module = entry?.path();
        if let (Some("wasm"), Some(name)) = (module.extension().and_then(|ending| ending.to_str()), module.file_name())
        {
            std::fs::copy(&module, tree::guests().join(name)).with_context(|| module.display().to_string())?;
        }
    }
    Ok(())
}
