//! Code that goes too far: each workflow and function here has to end its run or attempt, and nothing
//! else.

use std::hint::black_box;

use trackway_sdk::prelude::*;

/// Computes for ever.
#[workflow]
pub async fn endless_loop(_ctx: Ctx) -> u64 {
    spin()
}

/// Takes memory until it is refused.
#[workflow]
pub async fn memory_bomb(_ctx: Ctx) -> usize {
    hoard()
}

/// Calls itself until the stack is full.
#[workflow]
pub async fn deep_recursion(_ctx: Ctx) -> u64 {
    dive(1)
}

/// Panics with a message.
#[workflow]
pub async fn panics(_ctx: Ctx, message: String) {
    panic!("{message}");
}

/// Panics after a step.
#[workflow]
pub async fn panics_later(ctx: Ctx) -> Result<u64, Failure> {
    let number = ctx.step(honest, 1).await?;
    let empty: [u64; 0] = [];
    Ok(black_box(&empty)[number as usize])
}

/// Traps without a panic, so that nothing is told before.
#[workflow]
pub async fn traps(_ctx: Ctx) {
    #[cfg(target_arch = "wasm32")]
    std::arch::wasm32::unreachable();
}

/// A function that panics; without retries.
#[workflow]
pub async fn panic_in_function(ctx: Ctx) -> Result<(), Failure> {
    ctx.step(panicking, ()).await
}

/// A function that computes for ever.
#[workflow]
pub async fn endless_function(ctx: Ctx) -> Result<u64, Failure> {
    ctx.step(endless, ()).await
}

/// A function that takes all memory.
#[workflow]
pub async fn greedy_function(ctx: Ctx) -> Result<usize, Failure> {
    ctx.step(greedy, ()).await
}

/// A function that recurses too deep.
#[workflow]
pub async fn diving_function(ctx: Ctx) -> Result<u64, Failure> {
    ctx.step(diving, 1).await
}

/// Once it is cancelled it computes and asks for more and more, and never waits.
#[workflow]
pub async fn never_waits(ctx: Ctx) {
    let day = Duration::from_secs(86_400);
    let _ = ctx.sleep(day).await;
    let mut open = Vec::new();
    loop {
        let mut number = 1_u64;
        for _ in 0..20_000 {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        open.push(ctx.sleep(day).start());
    }
}

/// How many operations to have open at once.
#[workflow]
pub async fn too_many(ctx: Ctx, open: u32) -> Result<usize, Failure> {
    let sleeps = (0..open).map(|_| ctx.sleep(Duration::from_millis(1)));
    Ok(try_join_all(sleeps).await?.len())
}

#[function]
fn honest(number: u64) -> u64 {
    number
}

#[function(retries = 0)]
fn panicking() {
    let nothing: Option<u8> = black_box(None);
    nothing.expect("there should have been something");
}

#[function]
fn endless() -> u64 {
    spin()
}

#[function]
fn greedy() -> usize {
    hoard()
}

#[function]
fn diving(depth: u64) -> u64 {
    dive(depth)
}

fn spin() -> u64 {
    let mut number = 1_u64;
    loop {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn hoard() -> usize {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        pieces.push(black_box(vec![1; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "the point of it")]
fn dive(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    dive(depth + 1) + frame[depth as usize % 64]
}

export!(
    endless_loop,
    memory_bomb,
    deep_recursion,
    panics,
    panics_later,
    traps,
    panic_in_function,
    endless_function,
    greedy_function,
    diving_function,
    never_waits,
    too_many,
    honest,
    panicking,
    endless,
    greedy,
    diving,
);
