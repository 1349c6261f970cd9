//! The input of a step is of another type than the function takes.

use trackway_sdk::prelude::*;

#[function]
fn greet(name: String) -> String {
    name
}

#[workflow]
async fn hello(ctx: Ctx) -> Result<String, Failure> {
    ctx.step(greet, 7).await
}

fn main() {}
