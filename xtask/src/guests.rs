//! Builds the guests and examples that are written in Rust.

use anyhow::Result;

pub fn build() -> Result<()> {
    Ok(())
}
