//! Prints orders of size, one program after the other. It judges nothing.

use anyhow::Result;
use std::process::Command;

use crate::process::run;
use crate::tree;

/// Package and example that each measure one thing and print it.
const PROGRAMS: &[(&str, &str)] = &[];

pub fn bench() -> Result<()> {
    for (package, example) in PROGRAMS {
        let mut command = Command::new("cargo");
        command.args(["run", "--release", "--quiet", "--package", package, "--example", example]);
        run(example, command.current_dir(tree::root()))?;
    }
    Ok(())
}
