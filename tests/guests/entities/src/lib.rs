//! Workflows that keep values beyond their runs.

use trackway_sdk::prelude::*;
use trackway_sdk::{Operation, join_all};

/// What is counted, and how often.
#[value]
pub struct Count {
    pub key: String,
    pub times: u32,
}

/// Adds one so often, and tells each sum.
#[workflow]
pub async fn counts(ctx: Ctx, count: Count) -> Result<Vec<u64>, Failure> {
    let mut sums = Vec::new();
    for _ in 0..count.times {
        let sum = ctx.entity("count", &count.key).update(|sum: Option<u64>| Ok(sum.unwrap_or(0) + 1)).await?;
        sums.push(ctx.step(same, sum).await?);
    }
    Ok(sums)
}

/// Every way to read and write, and what came of it.
#[workflow]
pub async fn moves(ctx: Ctx, key: String) -> Result<Vec<String>, Failure> {
    let entity = ctx.entity("moves", key);
    let mut told = vec![format!("{:?}", entity.get::<u32>().await?)];
    let first = entity.set_if(1, 0).label("first").await?;
    told.push(first.to_string());
    told.push(code_of(entity.set_if(2, 0)).await);
    let second = entity.set(2).await?;
    told.push(second.to_string());
    told.push(format!("{:?}", entity.get::<u32>().await?));
    told.push(code_of(entity.get::<String>()).await);
    told.push(code_of(entity.delete_if(first)).await);
    entity.delete_if(second).await?;
    told.push(format!("{:?}", entity.get::<u32>().await?));
    entity.delete().await?;
    told.push(code_of(entity.delete_if(second)).await);
    told.push(entity.set_if(3, 0).await?.to_string());
    Ok(told)
}

/// Writes so often at once: the first one wins, in the order of the calls.
#[workflow]
pub async fn at_once(ctx: Ctx, n: u32) -> Result<Vec<u32>, Failure> {
    let entity = ctx.entity("at-once", "only");
    let writes: Vec<Operation<u64>> = (1..=n).map(|number| entity.set_if(number, 0).start()).collect();
    let read = entity.get::<u32>().start();
    let done = join_all(writes).await.into_iter().zip(1..).filter_map(|(done, number)| done.ok().map(|_| number));
    Ok(done.chain(read.await?.map(|it| it.value)).collect())
}

/// Drops one write and cancels another before they are answered.
#[workflow]
pub async fn gives_up(ctx: Ctx, key: String) -> Result<Vec<Option<u32>>, Failure> {
    let entity = ctx.entity("given-up", key);
    drop(entity.set(7).start());
    let dropped = entity.get().await?.map(|it| it.value);
    let mut cancelled = entity.set(8).start();
    cancelled.cancel();
    // Its answer may have come first.
    _ = cancelled.await;
    let cancelled = entity.get().await?.map(|it| it.value);
    Ok(vec![dropped, cancelled])
}

/// Reads, waits for `go`, and writes what it would have written then.
#[workflow]
pub async fn waits(ctx: Ctx, key: String) -> Result<String, Failure> {
    let entity = ctx.entity("count", key);
    let stands = entity.get::<u64>().await?;
    ctx.signal::<()>("go").await?;
    let (value, version) = stands.map_or((0, 0), |it| (it.value, it.version));
    Ok(code_of(entity.set_if(value + 100, version)).await)
}

/// Writes and then does nothing for long.
#[workflow]
pub async fn writes_and_sleeps(ctx: Ctx, key: String) -> Result<(), Failure> {
    ctx.entity("count", &key).update(|sum: Option<u64>| Ok(sum.unwrap_or(0) + 1)).await?;
    ctx.sleep(Duration::from_secs(3_600)).await
}

/// What no entity can be.
#[workflow]
pub async fn bad(ctx: Ctx) -> Result<Vec<String>, Failure> {
    let large = "x".repeat(40_000);
    let long = "k".repeat(257);
    Ok(vec![
        code_of(ctx.entity("no name", "k").get::<u32>()).await,
        code_of(ctx.entity("n", "").get::<u32>()).await,
        code_of(ctx.entity("n", "a\nb").set(1)).await,
        code_of(ctx.entity("n", long).delete()).await,
        code_of(ctx.entity("n", "k").set(large)).await,
        code_of(ctx.entity("n", "k").set("x".repeat(32 * 1_024 - 2))).await,
        code_of(ctx.entity("n", "k").delete_if(1_000_000)).await,
    ])
}

async fn code_of<T>(operation: Operation<T>) -> String {
    operation.await.err().map_or("done".to_owned(), |failure| failure.code)
}

#[function]
fn same(number: u64) -> u64 {
    number
}

export!(counts, moves, at_once, gives_up, waits, writes_and_sleeps, bad, same);
