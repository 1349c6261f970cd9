//! Steps beside each other and one after the other. All functions are pure, so nothing but the
//! journal has to survive a crash.

use trackway_sdk::prelude::*;

#[value]
pub struct Fan {
    /// How many steps.
    pub n: u64,
}

/// Three steps at once: `(a + 1) + (a * 2) + a²`.
#[workflow]
pub async fn parallel(ctx: Ctx, a: u64) -> Result<u64, Failure> {
    let (next, double, square) = try_join!(ctx.step(plus_one, a), ctx.step(twice, a), ctx.step(squared, a))?;
    Ok(next + double + square)
}

/// Three steps one after the other: `((a + 1) * 2)²`.
#[workflow]
pub async fn sequential(ctx: Ctx, a: u64) -> Result<u64, Failure> {
    let a = ctx.step(plus_one, a).await?;
    let a = ctx.step(twice, a).label("double it").await?;
    ctx.step(squared, a).await
}

/// `n` steps at once; the sum of the squares of `0..n`.
#[workflow]
pub async fn fan_out(ctx: Ctx, input: Fan) -> Result<u64, Failure> {
    let squares = try_join_all((0..input.n).map(|number| ctx.step(squared, number))).await?;
    Ok(squares.into_iter().sum())
}

/// `n` steps one after the other; `n`.
#[workflow]
pub async fn chain(ctx: Ctx, input: Fan) -> Result<u64, Failure> {
    let mut number = 0;
    for _ in 0..input.n {
        number = ctx.step(plus_one, number).await?;
    }
    Ok(number)
}

/// Takes the answers of `n` steps as they come, and asks for one more for each of the first `n`: what
/// comes back is the order in which they came.
#[workflow]
pub async fn as_they_come(ctx: Ctx, input: Fan) -> Result<Vec<u64>, Failure> {
    let mut steps = Steps::new();
    for number in 0..input.n {
        steps.push(ctx.step(plus_one, number * 10));
    }
    let mut order = Vec::new();
    while let Some(number) = steps.next().await {
        let number = number?;
        if number % 10 == 1 {
            steps.push(ctx.step(plus_one, number));
        }
        order.push(number);
    }
    Ok(order)
}

#[function]
fn plus_one(number: u64) -> u64 {
    number + 1
}

#[function]
fn twice(number: u64) -> u64 {
    number * 2
}

#[function]
fn squared(number: u64) -> Result<u64, Failure> {
    number.checked_mul(number).ok_or_else(|| Failure::permanent("TOO_LARGE_A_NUMBER", number))
}

export!(parallel, sequential, fan_out, chain, as_they_come, plus_one, twice, squared);
