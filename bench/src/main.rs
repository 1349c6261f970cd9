//! Orders of size, measured in the host itself and printed beside what they should stay under. A
//! machine that does other things meanwhile gives larger numbers; the best of several rounds counts.
//! It judges nothing.

mod host;
mod parked;
mod sandbox;
mod steps;

use anyhow::Result;
use std::path::PathBuf;

/// `trackway-bench GUESTS FOLDER`: where the built guests are, and on which disk to work.
#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let guests = arguments.next().unwrap_or_else(|| "target/guests".into());
    let folder = arguments.next().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(folder)?;
    println!("{:<44} {:>16}   should be", "", "measured");
    sandbox::measure(&guests, folder.path()).await?;
    steps::measure(&guests, folder.path()).await?;
    parked::measure(&guests, folder.path()).await?;
    Ok(())
}

fn row(what: &str, measured: String, should_be: &str) {
    println!("{what:<44} {measured:>16}   {should_be}");
}
