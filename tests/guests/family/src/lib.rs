//! Workflows that start runs: parents that wait, that do not, and children of every kind.

use trackway_sdk::prelude::*;

const VERY_LONG: Duration = Duration::from_secs(86_000);

/// Two children at once, then one more on what they gave: `(n + 1) + (n + 2)`, and one more.
#[workflow]
pub async fn parent(ctx: Ctx, n: u64) -> Result<u64, Failure> {
    let (one, two) = try_join!(ctx.child::<add>(n).label("first"), ctx.child::<add>(n + 1))?;
    ctx.child::<add>(one + two).await
}

/// `n + 1`, after a nap and a step.
#[workflow]
pub async fn add(ctx: Ctx, n: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_millis(10 * (n % 3) + 10)).await?;
    ctx.step(plus_one, n).await
}

/// A child of a child of a child, so deep; how deep it was.
#[workflow]
pub async fn deep(ctx: Ctx, depth: u64) -> Result<u64, Failure> {
    if depth == 0 { Ok(0) } else { Ok(1 + ctx.child::<deep>(depth - 1).await?) }
}

/// The code with which a child fails that is named by deployment and workflow.
#[workflow]
pub async fn fails(ctx: Ctx, workflow: String) -> Result<String, Failure> {
    Ok(ctx.child_of::<u64, u64>(&workflow, 7).await.map_or_else(|failure| failure.code, |output| output.to_string()))
}

/// Fails for good.
#[workflow]
pub async fn no_luck(ctx: Ctx, n: u64) -> Result<u64, Failure> {
    ctx.sleep(Duration::from_millis(n)).await?;
    Err(Failure::permanent("NO_LUCK", "not today"))
}

/// Starts a run and has nothing to do with it: its id.
#[workflow]
pub async fn detaches(ctx: Ctx, sleep_ms: u64) -> Result<String, Failure> {
    ctx.child::<nap>(sleep_ms).detach().await
}

/// The same under a key: its id.
#[workflow]
pub async fn detaches_once(ctx: Ctx, sleep_ms: u64) -> Result<String, Failure> {
    ctx.child::<nap>(sleep_ms).detach_once("the one").await
}

/// Starts a run, asks for it to go on alone, and ends first.
#[workflow]
pub async fn abandons(ctx: Ctx, sleep_ms: u64) -> Result<(), Failure> {
    let _child = ctx.child::<nap>(sleep_ms).abandon().start();
    Ok(())
}

/// Starts a run and ends first.
#[workflow]
pub async fn ends_first(ctx: Ctx) -> Result<(), Failure> {
    let _child = ctx.child::<cleans_up>(()).start();
    ctx.sleep(Duration::from_millis(50)).await
}

/// Starts a run that takes for ever, waits for a moment, and wants it no more.
#[workflow]
pub async fn drops(ctx: Ctx) -> Result<(), Failure> {
    select! {
        ended = ctx.child::<cleans_up>(()) => ended,
        _ = ctx.sleep(Duration::from_secs(1)) => Ok(()),
    }?;
    ctx.sleep(Duration::from_millis(50)).await
}

/// Waits for a run that takes for ever.
#[workflow]
pub async fn waits(ctx: Ctx) -> Result<(), Failure> {
    ctx.child::<cleans_up>(()).await
}

/// Takes for ever; when cancelled, cleans up.
#[workflow]
pub async fn cleans_up(ctx: Ctx) -> Result<(), Failure> {
    let ended = ctx.sleep(VERY_LONG).await;
    ctx.step(plus_one, 1).label("clean up").await?;
    ended
}

#[workflow]
pub async fn nap(ctx: Ctx, sleep_ms: u64) -> Result<String, Failure> {
    ctx.sleep(Duration::from_millis(sleep_ms)).await?;
    Ok("slept".to_owned())
}

/// The length of what a child gives that gets and gives much.
#[workflow]
pub async fn large(ctx: Ctx, size_bytes: usize) -> Result<usize, Failure> {
    Ok(ctx.child::<echo>("x".repeat(size_bytes)).await?.len())
}

#[workflow]
pub async fn echo(ctx: Ctx, text: String) -> Result<String, Failure> {
    ctx.step(plus_one, 1).await?;
    Ok(text)
}

/// What is drawn before, between and after steps.
#[workflow]
pub async fn draws(ctx: Ctx) -> Result<Vec<u64>, Failure> {
    let mut drawn = vec![ctx.random()];
    for n in 0..3 {
        ctx.step(plus_one, n).await?;
        drawn.push(ctx.random());
    }
    Ok(drawn)
}

#[function]
fn plus_one(n: u64) -> u64 {
    n + 1
}

export!(
    parent,
    add,
    deep,
    fails,
    no_luck,
    detaches,
    detaches_once,
    abandons,
    ends_first,
    drops,
    waits,
    cleans_up,
    nap,
    large,
    echo,
    draws,
    plus_one,
);
