//! Where things are. It creates nothing.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in a folder of the repository").to_owned()
}

/// The folder that cargo builds into: this program stands in `debug` there.
pub fn target() -> PathBuf {
    let folder = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.parent()?.to_owned()));
    folder.unwrap_or_else(|| root().join("target"))
}

/// What was installed for this repository alone.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// Components that tests and the demo use, one `NAME.wasm` each.
pub fn guests() -> PathBuf {
    target().join("guests")
}

/// The program that users run, as the tests and the demo build it.
pub fn trackway() -> PathBuf {
    target().join("debug/trackway")
}
