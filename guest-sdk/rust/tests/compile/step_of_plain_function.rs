//! A step of a function without the attribute.

use trackway_sdk::prelude::*;

fn greet(name: String) -> String {
    name
}

#[workflow]
async fn hello(ctx: Ctx) -> Result<String, Failure> {
    ctx.step(greet, "you".to_owned()).await
}

fn main() {}
