//! Rewrites the files that are made from the code and checked in: each has a test that fails when
//! it is behind, and that writes it anew when told to; its name says `as_checked_in`.

use anyhow::Result;
use std::process::Command;

use crate::process::run;
use crate::tree;

/// Tests that compare such a file rewrite it where this variable is set.
const BLESS: &str = "TRACKWAY_BLESS";

pub fn bless() -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--", "as_checked_in"]).env(BLESS, "1").current_dir(tree::root());
    run("writing checked-in files anew", &mut command)?;
    run("what changed", Command::new("git").args(["diff", "--stat"]).current_dir(tree::root()))
}
