//! What became of a workflow of `lasting`: runs of that begin their next round with it.

use trackway_sdk::prelude::*;

#[value]
pub struct Round {
    pub left: u32,
    pub told: Vec<u64>,
}

/// Sleeps, and tells how many rounds were left.
#[workflow]
pub async fn counts(ctx: Ctx, mut round: Round) -> Result<Vec<u64>, Failure> {
    ctx.sleep(Duration::from_secs(60)).await?;
    round.told.push(u64::from(round.left) + 1_000);
    if round.left == 0 {
        return Ok(round.told);
    }
    round.left -= 1;
    ctx.continue_with::<counts>(round)
}

export!(counts);
