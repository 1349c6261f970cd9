//! A workflow that does not wait.

use trackway_sdk::prelude::*;

#[workflow]
fn hello(ctx: Ctx, name: String) -> Result<String, Failure> {
    Ok(name)
}

fn main() {}
