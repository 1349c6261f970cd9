//! A step that nobody waits for never starts.
#![deny(unused_must_use)]

use trackway_sdk::prelude::*;

#[function]
fn greet(name: String) -> String {
    name
}

#[workflow]
async fn hello(ctx: Ctx) -> Result<(), Failure> {
    ctx.step(greet, "you".to_owned());
    Ok(())
}

fn main() {}
