//! Waiting: timers, deadlines, and operations that are dropped or cancelled.

use trackway_sdk::prelude::*;

/// Sleeps once, and gives what passed on the workflow's own clock.
#[workflow]
pub async fn sleeps(ctx: Ctx, sleep_ms: u64) -> Result<u64, Failure> {
    let before = ctx.now();
    ctx.sleep(Duration::from_millis(sleep_ms)).label("nap").await?;
    Ok(ctx.now().duration_since(before)?.as_millis() as u64)
}

/// Sleeps for a moment, and then for long; before it waits for that it computes for a while.
#[workflow]
pub async fn computes_between(ctx: Ctx, long_ms: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_secs(2)).await?;
    let long = ctx.sleep(Duration::from_millis(long_ms)).start();
    let mut number = 1_u64;
    for _ in 0..2_000_000 {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    long.await?;
    Ok(number)
}

/// Sleeps one after the other, with a step after each; how many.
#[workflow]
pub async fn naps(ctx: Ctx, sleeps_ms: Vec<u64>) -> Result<u64, Failure> {
    let mut count = 0;
    for sleep_ms in sleeps_ms {
        ctx.sleep(Duration::from_millis(sleep_ms)).await?;
        count = ctx.step(plus_one, count).await?;
    }
    Ok(count)
}

/// Sleeps beside each other; the order in which they ended, by their place.
#[workflow]
pub async fn sleeps_at_once(ctx: Ctx, sleeps_ms: Vec<u64>) -> Result<Vec<usize>, Failure> {
    let mut sleeps = Steps::new();
    for (place, sleep_ms) in sleeps_ms.into_iter().enumerate() {
        let sleep = ctx.sleep(Duration::from_millis(sleep_ms));
        sleeps.push(async move { sleep.await.map(|()| place) });
    }
    let mut order = Vec::new();
    while let Some(place) = sleeps.next().await {
        order.push(place?);
    }
    Ok(order)
}

/// A slow step against a deadline.
#[value]
pub struct Race {
    pub step_ms: u64,
    pub deadline_ms: u64,
}

/// The step's answer, or `late`; the loser is forgotten.
#[workflow]
pub async fn deadline(ctx: Ctx, race: Race) -> Result<String, Failure> {
    select! {
        answer = ctx.step(slow, race.step_ms) => answer,
        _ = ctx.sleep(Duration::from_millis(race.deadline_ms)) => Ok("late".into()),
    }
}

/// Starts a step that takes for ever and drops it, then does something else.
#[workflow]
pub async fn forgets(ctx: Ctx) -> Result<u64, Failure> {
    let endless = ctx.step(slow, 86_000_000).start();
    let one = ctx.step(plus_one, 0).await?;
    drop(endless);
    ctx.step(plus_one, one).await
}

/// Cancels a step that takes for ever; the code with which it ends.
#[workflow]
pub async fn cancels_a_step(ctx: Ctx) -> Result<String, Failure> {
    let mut endless = ctx.step(slow, 86_000_000).start();
    ctx.step(plus_one, 0).await?;
    endless.cancel();
    match endless.await {
        Ok(answer) => Ok(answer),
        Err(failure) => Ok(failure.code),
    }
}

/// Cancels a sleep that takes for ever; the code with which it ends.
#[workflow]
pub async fn cancels_a_sleep(ctx: Ctx) -> Result<String, Failure> {
    let mut endless = ctx.sleep(Duration::from_secs(86_000)).start();
    endless.cancel();
    Ok(endless.await.map_or_else(|failure| failure.code, |()| "slept".into()))
}

#[function]
fn plus_one(number: u64) -> u64 {
    number + 1
}

#[function(timeout = "24h")]
async fn slow(ctx: FnCtx, wait_ms: u64) -> Result<String, Failure> {
    ctx.sleep(Duration::from_millis(wait_ms)).await?;
    Ok(format!("after {wait_ms} ms"))
}

export!(
    sleeps,
    naps,
    computes_between,
    sleeps_at_once,
    deadline,
    forgets,
    cancels_a_step,
    cancels_a_sleep,
    plus_one,
    slow
);
