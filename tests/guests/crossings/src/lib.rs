//! Crosses from guest to host and back, for measuring what that costs.

use trackway_sdk::prelude::*;

/// Asks for the time so often, and asks for nothing else.
#[workflow]
pub async fn crosses(ctx: Ctx, times: u64) -> Result<u64, Failure> {
    let mut moved = 0;
    let begin = ctx.now();
    for _ in 0..times {
        moved += u64::from(ctx.now() != begin);
    }
    Ok(moved)
}

export!(crosses);
