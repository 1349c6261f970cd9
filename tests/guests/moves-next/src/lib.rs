//! What became of the workflows of `moves`: as far as runs of those can go on with it, and one as they cannot.

use trackway_sdk::prelude::*;

#[function]
fn charge(order: u32) -> u32 {
    order * 10
}

#[function]
fn ship(order: u32) -> u32 {
    order + 1
}

#[function]
fn check(order: u32) -> u32 {
    order * 100
}

#[function]
fn insure(order: u32) -> u32 {
    order * 1_000
}

/// Checks before it charges, and insures before it ships.
#[workflow]
pub async fn order(ctx: Ctx, order: u32) -> Result<Vec<u32>, Failure> {
    let mut told = Vec::new();
    if ctx.patched("check-first") {
        told.push(ctx.step(check, order).await?);
    }
    told.push(ctx.step(charge, order).await?);
    ctx.sleep(Duration::from_secs(60)).await?;
    if ctx.patched("insure") {
        told.push(ctx.step(insure, order).await?);
    }
    told.push(ctx.step(ship, order).await?);
    Ok(told)
}

/// Charges first, which a run that waits for its word has not done.
#[workflow]
pub async fn patient(ctx: Ctx, order: u32) -> Result<u32, Failure> {
    let charged = ctx.step(charge, order).await?;
    ctx.signal::<String>("go").await?;
    Ok(charged)
}

/// Does with its order what it did before, and ships instead of charging.
#[workflow]
pub async fn same(ctx: Ctx, order: u32) -> Result<u32, Failure> {
    ctx.sleep(Duration::from_secs(60)).await?;
    ctx.step(ship, order).await
}

/// What a person says.
#[value]
struct Decision {
    approve: bool,
}

/// Asks a person, and fails the first time if they say no.
#[function(retries = 1, backoff = "10ms")]
async fn approve(ctx: FnCtx, order: u32) -> Result<String, Failure> {
    ctx.sleep(Duration::from_millis(10)).await?;
    let decision: Decision = ctx.ask(Form::new("Really approve the order?").approval("approve")).await?;
    match decision.approve {
        true => Ok(format!("{order} as now")),
        false => Err(Failure::new("NOT_YET", "ask again")),
    }
}

/// Has an order approved by a person.
#[workflow]
pub async fn approved(ctx: Ctx, order: u32) -> Result<String, Failure> {
    ctx.step(approve, order).await
}

export!(order, patient, same, approved, approve, charge, ship, check, insure);
