//! Prints orders of size: what the programs in `bench/` measure. It judges nothing.

use anyhow::Result;
use std::process::Command;

use crate::process::run;
use crate::{guests, tree};

/// In the profile of the tests, so that the engine is not built a second time.
pub fn bench() -> Result<()> {
    guests::build()?;
    let mut build = Command::new("cargo");
    run("building the measurements", build.args(["build", "--package", "trackway-bench"]).current_dir(tree::root()))?;
    // On the disk of the build, not in a temporary folder that may be memory.
    let mut measure = Command::new(tree::target().join("debug/trackway-bench"));
    run("orders of size", measure.arg(tree::guests()).arg(tree::target()))
}
