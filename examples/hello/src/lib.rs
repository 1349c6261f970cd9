//! The smallest workflow: one step.

use trackway_sdk::prelude::*;

/// Greets somebody, or the world.
#[workflow]
pub async fn hello(ctx: Ctx, name: Option<String>) -> Result<String, Failure> {
    ctx.step(greet, name.unwrap_or_else(|| "world".into())).await
}

/// Makes a greeting.
#[function]
pub fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

export!(hello, greet);
