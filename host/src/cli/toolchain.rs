//! Finds or sets up what turns Rust into WebAssembly, and builds guests with it. Shared by the command
//! line and the repository's own tasks, so it uses nothing but std, and it must never print or exit:
//! whoever calls it says how progress is shown.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What guests are built for: no WASI, only the contract.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// rustup either has the target within this time, or has no way to its server.
const RUSTUP_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a child that may have to be ended is looked at.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// The oldest compiler that builds the SDK, as (major, minor).
const RUSTC_LEAST: (u32, u32) = (1, 95);

/// Debian's compiler for the web, with the sources of std.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A way to build guests on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler of the user has the target.
    Installed,
    /// Debian's compiler builds std from its sources, and a linker of rustup's links it.
    Debian { rustc: PathBuf, cargo: PathBuf, linker: PathBuf },
}

/// One guest to build.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// The folder of its `Cargo.toml`.
    pub folder: &'a Path,
    /// The folder of the SDK to build with; `wit/` stands two folders above it.
    pub sdk: &'a Path,
    /// Shared by all guests, so that std and the SDK are built once.
    pub target_folder: &'a Path,
}

#[derive(Debug)]
pub enum ToolchainError {
    /// There is no way to build guests here; the text says what to install.
    Missing { hint: String },
    /// A program could not be started.
    CannotStart { program: String, error: io::Error },
    /// A program failed; what it said is its own, or in `output`.
    Failed { program: String, output: String },
    /// The build went well but left no component of that name.
    NoArtifact { path: PathBuf },
}

impl fmt::Display for ToolchainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolchainError::Missing { hint } => write!(f, "cannot build WebAssembly here: {hint}"),
            ToolchainError::CannotStart { program, error } => write!(f, "cannot start `{program}`: {error}"),
            ToolchainError::Failed { program, output } if output.is_empty() => write!(f, "`{program}` failed"),
            ToolchainError::Failed { program, output } => write!(f, "`{program}` failed: {output}"),
            ToolchainError::NoArtifact { path } => write!(
                f,
                "the build left no {}: is `crate-type = [\"cdylib\"]` under `[lib]` in Cargo.toml?",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ToolchainError {}

impl Toolchain {
    /// What is here already, without changing anything.
    pub fn find() -> Option<Toolchain> {
        if has_target() {
            return Some(Toolchain::Installed);
        }
        find_debian()
    }

    /// What is here, or can be had: by rustup, else by apt. `progress` is told, in a sentence, what is
    /// about to take a while.
    pub fn find_or_install(progress: &mut dyn FnMut(&str)) -> Result<Toolchain, ToolchainError> {
        if let Some(found) = Toolchain::find() {
            return Ok(found);
        }
        progress(&format!("adding the compiler target {TARGET} with rustup"));
        if add_target() && has_target() {
            return Ok(Toolchain::Installed);
        }
        if let Some(linker) = find_linker().filter(|_| is_root() && exists("apt-get")) {
            progress("rustup cannot fetch it; installing Debian's compiler for WebAssembly instead (150 MB)");
            install_debian()?;
            if let Some(found) = find_debian() {
                return Ok(found);
            }
            let hint = format!("Debian's compiler is too old, or {} is not a linker", linker.display());
            return Err(ToolchainError::Missing { hint });
        }
        Err(ToolchainError::Missing { hint: what_to_install() })
    }

    /// A cargo command that builds for [`TARGET`]: the caller adds what to build.
    pub fn cargo_build(&self) -> Command {
        let mut command = match self {
            Toolchain::Installed => Command::new("cargo"),
            Toolchain::Debian { cargo, .. } => Command::new(cargo),
        };
        command.arg("build");
        // Set by the cargo that runs us: they would lead the inner one to the wrong compiler and flags.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(name);
        }
        if let Toolchain::Debian { rustc, linker, .. } = self {
            // Building std is an unstable feature; this compiler's own sources make it a safe one.
            command.args(["-Z", "build-std=std,panic_abort"]);
            command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", rustc).env_remove("RUSTDOC");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        } else {
            command.env_remove("RUSTC");
        }
        command.args(["--target", TARGET, "--release"]);
        command
    }

    /// Builds the guests in `guest.folder` (one, or the members of its workspace). Cargo's progress and
    /// the compiler's messages go to our stderr. Answers with the folder of the `.wasm` files.
    pub fn build(&self, guest: &Guest<'_>) -> Result<PathBuf, ToolchainError> {
        let mut command = self.cargo_build();
        command.current_dir(guest.folder).arg("--target-dir").arg(guest.target_folder);
        command.arg("--config").arg(patch("trackway-sdk", guest.sdk));
        command.stdin(Stdio::null());
        if io::stderr().is_terminal() {
            command.args(["--color", "always"]);
        }
        let is_debian = matches!(self, Toolchain::Debian { .. });
        command.stderr(if is_debian { Stdio::piped() } else { Stdio::inherit() });
        let mut child = command.spawn().map_err(|error| cannot_start("cargo", error))?;
        if let Some(stderr) = child.stderr.take() {
            pass_on(BufReader::new(stderr), &mut io::stderr().lock()).map_err(|error| cannot_start("cargo", error))?;
        }
        let status = child.wait().map_err(|error| cannot_start("cargo", error))?;
        if !status.success() {
            return Err(ToolchainError::Failed { program: "cargo build".to_owned(), output: String::new() });
        }
        Ok(guest.target_folder.join(TARGET).join("release"))
    }

    /// Builds one guest and answers with its core module, for a package called `package`.
    pub fn build_one(&self, guest: &Guest<'_>, package: &str) -> Result<PathBuf, ToolchainError> {
        let path = self.build(guest)?.join(format!("{}.wasm", package.replace('-', "_")));
        if path.is_file() { Ok(path) } else { Err(ToolchainError::NoArtifact { path }) }
    }
}

/// Passes on what cargo says, without its warning that the patch is not used: it is not used for std,
/// which is built beside the guest, and a user can do nothing about it.
fn pass_on(from: impl BufRead, to: &mut impl Write) -> io::Result<()> {
    let mut skipping = false;
    for line in from.split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        let plain = without_colors(&text);
        let continues = plain.starts_with("help:") || plain.starts_with(' ');
        skipping = plain.starts_with("warning: patch `trackway-sdk ") || (skipping && continues);
        // Steps of the build are indented too.
        let is_step = ["Compiling", "Finished", "Building"].iter().any(|word| plain.trim_start().starts_with(word));
        if !skipping || is_step {
            skipping = false;
            to.write_all(&line)?;
            to.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// `text` without the escapes by which a terminal is told colors.
fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    for (place, part) in text.split("\u{1b}[").enumerate() {
        plain.push_str(if place == 0 { part } else { part.split_once('m').map_or("", |(_, after)| after) });
    }
    plain
}

/// The argument of cargo's `--config` by which a crate is taken from a folder instead of the registry.
pub fn patch(krate: &str, folder: &Path) -> OsString {
    let escaped = folder.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("patch.crates-io.{krate}.path=\"{escaped}\"").into()
}

fn cannot_start(program: &str, error: io::Error) -> ToolchainError {
    ToolchainError::CannotStart { program: program.to_owned(), error }
}

/// What a program prints, if it runs and succeeds.
fn output_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn exists(program: &str) -> bool {
    output_of(program, &["--version"]).is_some()
}

fn is_root() -> bool {
    output_of("id", &["-u"]).as_deref() == Some("0")
}

/// Whether the user's own compiler can build for the target: std for it is there.
fn has_target() -> bool {
    output_of("rustc", &["--print", "target-libdir", "--target", TARGET])
        .is_some_and(|folder| Path::new(&folder).is_dir())
}

/// Whether rustup added the target; it is ended when it takes too long.
fn add_target() -> bool {
    let child = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let begun = Instant::now();
    while begun.elapsed() < RUSTUP_WAIT_MAX {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) => thread::sleep(POLL_EVERY),
            Err(_) => break,
        }
    }
    // It may have ended by itself meanwhile; then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
    false
}

fn find_debian() -> Option<Toolchain> {
    let rustc = file_of_package("rustc-web", "/bin/rustc")?;
    let cargo = file_of_package("cargo-web", "/bin/cargo")?;
    let has_sources = Path::new(&output_of(&rustc, &["--print", "sysroot"])?)
        .join("lib/rustlib/src/rust/library/Cargo.lock")
        .exists();
    let is_new_enough = version_of(&rustc).is_some_and(|version| version >= RUSTC_LEAST);
    let linker = find_linker()?;
    (has_sources && is_new_enough).then_some(Toolchain::Debian { rustc, cargo, linker })
}

fn version_of(rustc: &Path) -> Option<(u32, u32)> {
    let text = output_of(rustc, &["--version"])?;
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn file_of_package(package: &str, suffix: &str) -> Option<PathBuf> {
    output_of("dpkg", &["-L", package])?.lines().find(|line| line.ends_with(suffix)).map(PathBuf::from)
}

/// Debian's compiler brings no linker for the target; every toolchain of rustup does.
fn find_linker() -> Option<PathBuf> {
    let sysroot = PathBuf::from(output_of("rustc", &["--print", "sysroot"])?);
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    hosts
        .filter_map(Result::ok)
        .map(|host| host.path().join("bin/rust-lld"))
        .chain(["/usr/bin/wasm-ld", "/usr/bin/lld"].map(PathBuf::from))
        .find(|linker| linker.is_file())
}

fn install_debian() -> Result<(), ToolchainError> {
    // Old package lists name an older compiler, or files that are gone.
    apt_get(&["update"])?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(DEBIAN_PACKAGES);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> Result<(), ToolchainError> {
    let mut command = Command::new("apt-get");
    // Another apt may be at work; it is waited for, but not for ever.
    command.args(["-o", "DPkg::Lock::Timeout=120", "-qq"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output = command.output().map_err(|error| cannot_start("apt-get", error))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ToolchainError::Failed { program: format!("apt-get {}", arguments.join(" ")), output: told })
}

fn what_to_install() -> String {
    let debian = format!("apt-get install {}", DEBIAN_PACKAGES.join(" "));
    if exists("rustup") {
        format!(
            "run `rustup target add {TARGET}`; without a way to its server, on Debian 12 and newer, as root, \
             `apt-get update && {debian}`"
        )
    } else if exists("rustc") {
        format!("the installed rustc has no target {TARGET}: install Rust with rustup from https://rustup.rs")
    } else {
        "there is no rustc: install Rust with rustup from https://rustup.rs".to_owned()
    }
}

#[cfg(test)]
#[path = "toolchain/tests.rs"]
mod tests;
