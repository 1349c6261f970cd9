//! What workflows do when their run is cancelled.

use trackway_sdk::prelude::*;

/// Long enough for any test.
const VERY_LONG: Duration = Duration::from_secs(86_000);

/// Waits; when cancelled, cleans up by a step and a sleep, and fails as cancelled.
#[workflow]
pub async fn cleans_up(ctx: Ctx) -> Result<(), Failure> {
    let ended = ctx.sleep(VERY_LONG).await;
    if let Err(failure) = &ended {
        ctx.step(undo, failure.message.clone()).label("clean up").await?;
        ctx.sleep(Duration::from_millis(10)).await?;
    }
    ended
}

/// Waits for a step and a sleep at once; when cancelled, the codes with which both ended.
#[workflow]
pub async fn tells(ctx: Ctx) -> Result<Vec<String>, Failure> {
    let (step, sleep) = join!(ctx.step(endless, ()), ctx.sleep(VERY_LONG));
    let codes = [step.err(), sleep.err()].into_iter().flatten().map(|failure| failure.code);
    Ok(codes.collect())
}

/// Knows nothing of cancelling: the failure ends it.
#[workflow]
pub async fn gives_up(ctx: Ctx) -> Result<(), Failure> {
    ctx.step(endless, ()).await
}

/// Goes on as if nothing had been said, for ever.
#[workflow]
pub async fn ignores(ctx: Ctx) -> Result<(), Failure> {
    loop {
        // What was told is lost on purpose.
        let _ = ctx.sleep(VERY_LONG).await;
    }
}

/// The same, and asks for more time to end.
#[workflow(cancel_grace = "5m")]
pub async fn ignores_longer(ctx: Ctx) -> Result<(), Failure> {
    loop {
        let _ = ctx.sleep(VERY_LONG).await;
    }
}

/// Waits for a run that ignores its cancel, and is given another time to end.
#[workflow]
pub async fn starts_one_that_ignores(ctx: Ctx) -> Result<(), Failure> {
    ctx.child::<ignores_longer>(()).cancel_grace(Duration::from_secs(120)).await
}

/// Sells nothing: what it did is undone, slowly.
#[workflow]
pub async fn undoes(ctx: Ctx) -> Result<(), Failure> {
    ctx.saga(async |saga| {
        for part in ["first", "second"] {
            saga.step(make, part.to_owned()).undo(unmake, Clone::clone).await?;
        }
        Err(Failure::permanent("NO_SALE", "as planned"))
    })
    .await
}

#[function]
fn make(part: String) -> String {
    part
}

#[function]
async fn unmake(ctx: FnCtx, part: String) -> Result<String, Failure> {
    ctx.sleep(Duration::from_secs(8)).await?;
    Ok(part)
}

/// Finishes with a result all the same.
#[workflow]
pub async fn succeeds_anyway(ctx: Ctx) -> Result<String, Failure> {
    let told = ctx.sleep(VERY_LONG).await.is_err();
    Ok(format!("told: {told}"))
}

/// Computes for a while after one step, and never asks for anything again.
#[workflow]
pub async fn never_asks(ctx: Ctx) -> Result<u64, Failure> {
    ctx.step(undo, "nothing".into()).await?;
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

#[function]
fn undo(reason: String) -> String {
    format!("undone: {reason}")
}

#[function(timeout = "24h")]
async fn endless(ctx: FnCtx) -> Result<(), Failure> {
    ctx.sleep(VERY_LONG).await
}

export!(
    cleans_up,
    tells,
    gives_up,
    ignores,
    ignores_longer,
    starts_one_that_ignores,
    succeeds_anyway,
    never_asks,
    undoes,
    undo,
    endless,
    make,
    unmake
);
