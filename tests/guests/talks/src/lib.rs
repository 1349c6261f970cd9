//! Workflows that others talk to while they run.

use trackway_sdk::prelude::*;

/// Hands out the token of a promise, waits a while, and tells how the promise was settled.
#[workflow]
pub async fn sells(ctx: Ctx, after_ms: u64) -> Result<String, Failure> {
    let mut paid = ctx.promise::<u32>("paid").timeout(Duration::from_secs(60)).label("the money");
    ctx.step(invoice, paid.token()).await?;
    ctx.sleep(Duration::from_millis(after_ms)).await?;
    told(paid.await)
}

fn told(paid: Result<u32, Failure>) -> Result<String, Failure> {
    match paid {
        Ok(amount) => Ok(format!("paid {amount}")),
        Err(failure) if failure.is_cancelled() => Err(failure),
        Err(failure) => Ok(format!("{}: {}", failure.code, failure.message)),
    }
}

/// Two promises of one name; drops one and cancels the other.
#[workflow]
pub async fn gives_up(ctx: Ctx) -> Result<Vec<String>, Failure> {
    let (mut dropped, mut cancelled) = (ctx.promise::<u32>("a"), ctx.promise::<u32>("a"));
    let tokens = vec![dropped.token(), cancelled.token()];
    drop(dropped);
    cancelled.cancel();
    let failure = cancelled.await.err().map(|failure| failure.code);
    let refused = ctx.promise::<u32>("no name").await.err().map(|failure| failure.code);
    ctx.sleep(Duration::from_secs(3_600)).await?;
    Ok(tokens.into_iter().chain(failure).chain(refused).collect())
}

/// How many bytes it is resolved with.
#[workflow]
pub async fn weighs(ctx: Ctx) -> Result<usize, Failure> {
    Ok(ctx.promise::<String>("text").await?.len())
}

/// Shows how high it is, a minute after the other.
#[workflow]
pub async fn climbs(ctx: Ctx, steps: u32) -> Result<u32, Failure> {
    ctx.publish("from", &"here".to_owned());
    for height in 1..=steps {
        ctx.publish("height", &height);
        ctx.sleep(Duration::from_secs(60)).await?;
    }
    ctx.publish("view", &"x".repeat(200_000));
    Ok(steps)
}

/// Adds up what it is asked to add, until it is asked to finish.
#[workflow(updates(add: u32 -> u32, finish: ()))]
pub async fn adds(ctx: Ctx) -> Result<Vec<u32>, Failure> {
    let (adds, finishes) = (ctx.updates::<u32, u32>("add"), ctx.updates::<(), String>("finish"));
    let (mut total, mut all) = (0, Vec::new());
    loop {
        select! {
            update = adds.next() => {
                let update = update?;
                if *update.request() > 100 {
                    update.refuse(Failure::permanent("TOO_MUCH", "100 at most"));
                    continue;
                }
                total += ctx.step(twice, *update.request()).await?;
                all.push(total);
                ctx.publish("total", &total);
                update.answer(&total);
            },
            update = finishes.next() => {
                update?.answer(&"x".repeat(total as usize));
                return Ok(all);
            },
        }
    }
}

/// Does something else first, so long; then takes two updates, one after the other.
#[workflow]
pub async fn adds_late(ctx: Ctx, after_ms: u64) -> Result<u32, Failure> {
    ctx.sleep(Duration::from_millis(after_ms)).await?;
    let adds = ctx.updates::<u32, u32>("add");
    let mut total = 0;
    for _ in 0..2 {
        let update = adds.next().await?;
        total += update.request();
        ctx.sleep(Duration::from_secs(60)).await?;
        update.answer(&total);
    }
    Ok(total)
}

/// The same in a round for each: a round takes two and gives up the second one.
#[workflow(updates(add: u32))]
pub async fn adds_in_rounds(ctx: Ctx, total: u32) -> Result<u32, Failure> {
    let adds = ctx.updates::<u32, u32>("add");
    let update = adds.next().await?;
    let total = total + update.request();
    update.answer(&total);
    if total >= 10 {
        return Ok(total);
    }
    let next = adds.next().start();
    ctx.sleep(Duration::from_secs(1)).await?;
    drop(next);
    ctx.continue_with::<adds_in_rounds>(total)
}

/// Takes an update of any name and drops it, takes another one and keeps it to its end.
#[workflow]
pub async fn forgets(ctx: Ctx, name: String) -> Result<u32, Failure> {
    let updates = ctx.updates::<u32, u32>(name);
    drop(updates.next().await?);
    ctx.sleep(Duration::from_secs(600)).await?;
    Ok(1)
}

#[function]
fn twice(number: u32) -> u32 {
    number * 2
}

/// Shows how high it is, step after step.
#[workflow]
pub async fn hurries(ctx: Ctx, steps: u32) -> Result<u32, Failure> {
    for height in 1..=steps {
        ctx.publish("height", &height);
        ctx.sleep(Duration::from_millis(1)).await?;
    }
    Ok(steps)
}

/// More than is shown at once.
#[workflow]
pub async fn boasts_much(ctx: Ctx) -> Result<(), Failure> {
    (10..20_u32).for_each(|key| ctx.publish(&format!("key-{key}"), &"x".repeat(200_000)));
    Ok(())
}

/// Publishes more than there is room for, in one way or another.
#[workflow]
pub async fn boasts(ctx: Ctx, how: String) -> Result<(), Failure> {
    match how.as_str() {
        "name" => ctx.publish("no name", &1_u32),
        "size" => ctx.publish("size", &"x".repeat(256 << 10)),
        "keys" => (0..300_u32).for_each(|key| ctx.publish(&format!("key-{key}"), &key)),
        _ => (0..300_u32).for_each(|value| ctx.publish("one", &value)),
    }
    ctx.sleep(Duration::from_millis(1)).await
}

#[function]
fn invoice(pay_with: String) -> usize {
    pay_with.len()
}

export!(
    sells,
    gives_up,
    weighs,
    climbs,
    hurries,
    boasts_much,
    boasts,
    adds,
    adds_late,
    adds_in_rounds,
    forgets,
    twice,
    invoice
);
