//! Workflows that take something else than a context first.

use trackway_sdk::prelude::*;

#[workflow]
async fn nothing() -> Result<(), Failure> {
    Ok(())
}

#[workflow]
async fn wrong_order(name: String, ctx: Ctx) -> Result<(), Failure> {
    Ok(())
}

#[workflow]
async fn context_of_functions(ctx: FnCtx) -> Result<(), Failure> {
    Ok(())
}

#[workflow]
async fn borrowed(ctx: &Ctx) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
