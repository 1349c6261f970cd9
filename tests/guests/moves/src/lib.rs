//! Workflows as they were at first: `moves-next` holds what became of them.

use trackway_sdk::prelude::*;

#[function]
fn charge(order: u32) -> u32 {
    order * 10
}

#[function]
fn ship(order: u32) -> u32 {
    order + 1
}

/// Charges, waits a minute, ships.
#[workflow]
pub async fn order(ctx: Ctx, order: u32) -> Result<Vec<u32>, Failure> {
    let charged = ctx.step(charge, order).await?;
    ctx.sleep(Duration::from_secs(60)).await?;
    let shipped = ctx.step(ship, order).await?;
    Ok(vec![charged, shipped])
}

/// Waits for a word, then charges.
#[workflow]
pub async fn patient(ctx: Ctx, order: u32) -> Result<u32, Failure> {
    ctx.signal::<String>("go").await?;
    ctx.step(charge, order).await
}

/// Sleeps, then charges.
#[workflow]
pub async fn same(ctx: Ctx, order: u32) -> Result<u32, Failure> {
    ctx.sleep(Duration::from_secs(60)).await?;
    ctx.step(charge, order).await
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
    let decision: Decision = ctx.ask(Form::new("Approve the order?").approval("approve")).await?;
    match decision.approve {
        true => Ok(format!("{order} as before")),
        false => Err(Failure::new("NOT_YET", "ask again")),
    }
}

/// Has an order approved by a person.
#[workflow]
pub async fn approved(ctx: Ctx, order: u32) -> Result<String, Failure> {
    ctx.step(approve, order).await
}

export!(order, patient, same, approved, approve, charge, ship);
