//! Arms of `select!` that are not complete.

use trackway_sdk::prelude::*;

#[workflow]
async fn hello(ctx: Ctx) -> Result<(), Failure> {
    select! {
        ctx.sleep(Duration::from_secs(1)) => Ok(()),
    }
}

#[workflow]
async fn nothing(ctx: Ctx) -> Result<(), Failure> {
    select! {}
}

fn main() {}
