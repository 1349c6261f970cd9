//! Cuts the power under a store that is being written, and looks whether everything that was
//! acknowledged is still there. Then does the same to a store without hardening, which must lose
//! something: else this test would not notice a loss either.
//!
//! The disk is an ext4 file system in a file; `EXT4_IOC_SHUTDOWN` makes it forget what it had not
//! written, like a machine that loses its power. That needs Linux, root and loop devices; without
//! them it says NOT RUN. `cargo xtask prove power` runs more rounds. The same disk, filled to the brim, shows what a full one does.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod full;
#[cfg(target_os = "linux")]
mod parent;
mod writer;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--writer", folder, hardening] => writer::write(folder.as_ref(), hardening),
        // Test runners ask so what there is.
        list if list.contains(&"--list") => {
            if !list.contains(&"--ignored") {
                println!("what_was_acknowledged_survives_a_power_cut: test");
            }
            ExitCode::SUCCESS
        }
        _ => run(),
    }
}

#[cfg(target_os = "linux")]
fn run() -> ExitCode {
    parent::run()
}

#[cfg(not(target_os = "linux"))]
fn run() -> ExitCode {
    println!("NOT RUN: power cut: it needs Linux");
    ExitCode::SUCCESS
}
