//! An error type that cannot become a failure.

use trackway_sdk::prelude::*;

#[function]
fn fails() -> Result<u8, String> {
    Err("no".into())
}

fn main() {}
