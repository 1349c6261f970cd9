//! The Rust package of a project: building it, and reading components from files.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::sandbox;
use crate::{Code, Error, Result};

use super::config::Project;
use super::exit::{Done, Exit};
use super::output::Output;
use super::progress::Progress;
use super::toolchain::{Guest, Toolchain, ToolchainError};
use super::{Context, cargo_config, sdk};

/// A core module with its component type.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// Of the project, and so of its deployment.
    pub name: String,
    pub file: PathBuf,
    pub size_bytes: u64,
}

#[derive(Deserialize)]
struct CargoFile {
    package: Option<CargoPackage>,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
}

/// `trackway build`
pub fn command(context: &Context) -> Done {
    let output = &context.output;
    let built = build(context.config.project()?, output)?;
    let shown = built.file.strip_prefix(&context.folder).unwrap_or(&built.file).display().to_string();
    output.one(&built, &shown, || format!("{shown} ({} KiB)\n", built.size_bytes.div_ceil(1024)))?;
    Ok(Exit::Ok)
}

/// Builds the project. Cargo's own messages go to stderr as they come.
pub fn build(project: &Project, output: &Output) -> Result<Built> {
    let package = package_name(&project.folder)?;
    let sdk = sdk::unpack(&sdk::cache_folder(|name| std::env::var(name).ok())?)?;
    if let Err(error) = cargo_config::refresh(&project.folder, &sdk) {
        output.say(&format!("editors may not find the SDK: .cargo/config.toml cannot be written: {error}"));
    }
    let progress = Progress::start(output);
    let toolchain = Toolchain::find_or_install(&mut |text| progress.say(text)).map_err(build_error)?;
    drop(progress);
    let target_folder = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target_folder = target_folder.unwrap_or_else(|| project.folder.join("target"));
    let guest = Guest { folder: &project.folder, sdk: &sdk, target_folder: &target_folder };
    let file = toolchain.build_one(&guest, &package).map_err(build_error)?;
    let size_bytes = std::fs::metadata(&file).map_err(|error| unreadable(&file, &error))?.len();
    Ok(Built { name: project.file.name.clone().unwrap_or(package), file, size_bytes })
}

/// The bytes of a file that may be uploaded; too large a file is refused before it is read.
pub fn read_component(file: &Path) -> Result<Bytes> {
    let size = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?.len();
    sandbox::check_size(size)
        .map_err(|error| Error { message: format!("{}: {}", file.display(), error.message), ..error })?;
    std::fs::read(file).map(Bytes::from).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::File, format!("cannot read {}: {error}", file.display()))
}

fn package_name(folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::new(Code::NoProject, format!("cannot read {}: {error}", path.display()))
            .hint("trackway init hello    # makes a project in a new folder")
    })?;
    let file: CargoFile = super::config::parse_toml(&text)
        .map_err(|error| Error::new(Code::BuildFailed, format!("{}:\n{error}", path.display())))?;
    file.package.map(|package| package.name).ok_or_else(|| {
        Error::new(Code::NoProject, format!("{} is of a workspace, not of a package", path.display()))
            .hint("put trackway.toml beside the Cargo.toml of the package that holds the workflows")
    })
}

fn build_error(error: ToolchainError) -> Error {
    let text = error.to_string();
    match error {
        ToolchainError::Missing { hint } => {
            Error::new(Code::NoToolchain, "there is nothing here that builds Rust for WebAssembly").hint(hint)
        }
        ToolchainError::CannotStart { .. } => Error::new(Code::NoToolchain, text),
        ToolchainError::Failed { .. } | ToolchainError::NoArtifact { .. } => Error::new(Code::BuildFailed, text),
    }
}
