//! Workflows that go on with a new input, again and again; `lasting-next` holds what became of one.

use trackway_sdk::prelude::*;

#[value]
pub struct Round {
    pub left: u32,
    pub told: Vec<u64>,
}

#[function]
fn double(n: u64) -> u64 {
    n * 2
}

#[function]
async fn nap(ctx: FnCtx) -> Result<(), Failure> {
    ctx.sleep(Duration::from_millis(1)).await
}

/// In each round a function that waits for something itself.
#[workflow]
pub async fn naps(ctx: Ctx, left: u32) -> Result<u32, Failure> {
    ctx.step(nap, ()).await?;
    if left == 0 {
        return Ok(left);
    }
    ctx.continue_with::<naps>(left - 1)
}

/// In each round a step, a number drawn, a minute of sleep.
#[workflow]
pub async fn counts(ctx: Ctx, mut round: Round) -> Result<Vec<u64>, Failure> {
    let doubled = ctx.step(double, u64::from(round.left)).await?;
    round.told.push(doubled);
    round.told.push(ctx.random_range(0..1_000_000));
    ctx.log().field("left", round.left).info("a round");
    if round.left == 0 {
        return Ok(round.told);
    }
    ctx.sleep(Duration::from_secs(60)).await?;
    round.left -= 1;
    ctx.continue_with::<counts>(round)
}

/// Takes one number in each round, and loses one in a race in between.
#[workflow]
pub async fn collects(ctx: Ctx, mut round: Round) -> Result<Vec<u64>, Failure> {
    if round.left == 0 {
        return Ok(round.told);
    }
    round.told.push(ctx.signal::<u64>("number").await?);
    // Delivered here if it is there, and given up.
    let next = ctx.signal::<u64>("number").start();
    ctx.sleep(Duration::from_secs(1)).await?;
    drop(next);
    round.left -= 1;
    ctx.continue_with::<collects>(round)
}

/// Goes on for ever, each minute; tells what it was cancelled with.
#[workflow]
pub async fn lasts(ctx: Ctx, rounds: u32) -> Result<u32, Failure> {
    ctx.sleep(Duration::from_secs(60)).await?;
    ctx.continue_with::<lasts>(rounds + 1)
}

/// Goes on in the middle of its cancel.
#[workflow]
pub async fn goes_on_cancelled(ctx: Ctx, rounds: u32) -> Result<u32, Failure> {
    match ctx.sleep(Duration::from_secs(60)).await {
        Err(failure) if failure.is_cancelled() && rounds == 0 => ctx.continue_with::<goes_on_cancelled>(1),
        Err(failure) => Err(failure),
        Ok(()) => Ok(rounds),
    }
}

#[workflow]
pub async fn waits(ctx: Ctx) -> Result<u32, Failure> {
    ctx.signal("go").await
}

/// Leaves a child, a question, a promise, a sleep and an attempt open in its first round.
#[workflow]
pub async fn leaves_open(ctx: Ctx, rounds: u32) -> Result<u32, Failure> {
    if rounds == 0 {
        let child = ctx.child::<waits>(()).start();
        let question =
            ctx.ask::<std::collections::BTreeMap<String, bool>>(Form::new("Still there?").approval("yes")).start();
        let mut promise = ctx.promise::<u32>("word");
        ctx.log().info(promise.token());
        let sleep = ctx.sleep(Duration::from_secs(3_600)).start();
        let step = ctx.step(takes_long, ()).start();
        ctx.sleep(Duration::from_secs(5)).await?;
        std::mem::forget((child, question, promise, sleep, step));
        return ctx.continue_with::<leaves_open>(1);
    }
    // Ids that it never got, and those of before: nobody answers them.
    ctx.signal::<u32>("go").await.map(|number| number + rounds)
}

#[function]
async fn takes_long(ctx: FnCtx) -> Result<(), Failure> {
    ctx.sleep(Duration::from_secs(3_600)).await
}

/// Waits for a child that goes on with new inputs.
#[workflow]
pub async fn parent(ctx: Ctx, left: u32) -> Result<usize, Failure> {
    Ok(ctx.child::<counts>(Round { left, told: Vec::new() }).await?.len())
}

/// Asks before it begins anew, and after.
#[workflow]
pub async fn asks_to_change(ctx: Ctx, rounds: u32) -> Result<bool, Failure> {
    ctx.sleep(Duration::from_secs(60)).await?;
    if rounds > 0 {
        return Ok(ctx.patched("new"));
    }
    ctx.continue_with::<asks_to_change>(1)
}

/// What it goes on with is no JSON, and then larger than any value.
#[workflow]
pub async fn goes_on_with_much(ctx: Ctx, text: String) -> Result<usize, Failure> {
    if text.is_empty() {
        return ctx.continue_with::<goes_on_with_much>("x".repeat(100_000));
    }
    Ok(text.len())
}

/// Says that it goes on, and then traps, or returns something else.
#[workflow]
pub async fn changes_its_mind(ctx: Ctx, traps: bool) -> Result<String, Failure> {
    let next = ctx.continue_with::<changes_its_mind>(traps);
    if traps {
        panic!("before it returned");
    }
    drop(next);
    Ok("done".into())
}

export!(
    counts,
    naps,
    nap,
    collects,
    lasts,
    goes_on_cancelled,
    waits,
    leaves_open,
    parent,
    asks_to_change,
    goes_on_with_much,
    changes_its_mind,
    double,
    takes_long
);
