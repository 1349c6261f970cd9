//! The work that is measured: as little as there can be besides the steps. The peers do the same.

use trackway_sdk::prelude::*;

/// How much to do, and where to send requests.
#[value]
pub struct Plan {
    /// How many steps.
    pub n: u64,
    /// Answers each POST with a number.
    #[serde(default)]
    pub url: String,
}

/// How many steps, and how much each of them answers.
#[value]
pub struct Texts {
    pub n: u64,
    /// Letters of each.
    pub bytes: u64,
}

/// One of them.
#[value]
pub struct Text {
    /// No two texts of a run are of the same number.
    pub number: u64,
    pub bytes: u64,
}

/// Steps one after the other, each a pure function; `n`.
#[workflow]
pub async fn chain_pure(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    pure_steps(&ctx, plan.n).await
}

/// Steps one after the other, each one request; `n`.
#[workflow]
pub async fn chain_http(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    http_steps(&ctx, &plan).await
}

/// Steps all at once, each a pure function; the sum of `1..=n`.
#[workflow]
pub async fn fan_pure(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let numbers = try_join_all((0..plan.n).map(|number| ctx.step(plus_one, number))).await?;
    Ok(numbers.into_iter().sum())
}

/// Steps all at once, each one request; `n`.
#[workflow]
pub async fn fan_http(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let numbers = try_join_all((0..plan.n).map(|_| ctx.step(post, plan.url.clone()))).await?;
    Ok(numbers.into_iter().sum())
}

/// Steps one after the other, then waits for a day, or for a cancel.
#[workflow]
pub async fn rests(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let number = pure_steps(&ctx, plan.n).await?;
    ctx.sleep(Duration::from_secs(86_400)).await?;
    Ok(number)
}

/// The same with steps of one request each.
#[workflow]
pub async fn rests_http(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let sum = http_steps(&ctx, &plan).await?;
    ctx.sleep(Duration::from_secs(86_400)).await?;
    Ok(sum)
}

/// Sleeps before each step for longer than a host keeps a run in hand, so that one that keeps nothing warm
/// recalls it each time.
#[workflow]
pub async fn evicted(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let mut number = 0;
    for _ in 0..plan.n {
        ctx.sleep(Duration::from_millis(10)).await?;
        number = ctx.step(plus_one, number).await?;
    }
    Ok(number)
}

/// The same with steps of one request each.
#[workflow]
pub async fn evicted_http(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let mut sum = 0;
    for _ in 0..plan.n {
        ctx.sleep(Duration::from_millis(10)).await?;
        sum += ctx.step(post, plan.url.clone()).await?;
    }
    Ok(sum)
}

/// Steps one after the other, each answered with a text; how many letters came.
#[workflow]
pub async fn large_outputs(ctx: Ctx, texts: Texts) -> Result<u64, Failure> {
    let mut letters = 0;
    for number in 0..texts.n {
        letters += ctx.step(write, Text { number, bytes: texts.bytes }).await?.len() as u64;
    }
    Ok(letters)
}

async fn pure_steps(ctx: &Ctx, n: u64) -> Result<u64, Failure> {
    let mut number = 0;
    for _ in 0..n {
        number = ctx.step(plus_one, number).await?;
    }
    Ok(number)
}

async fn http_steps(ctx: &Ctx, plan: &Plan) -> Result<u64, Failure> {
    let mut sum = 0;
    for _ in 0..plan.n {
        sum += ctx.step(post, plan.url.clone()).await?;
    }
    Ok(sum)
}

#[function]
fn plus_one(number: u64) -> u64 {
    number + 1
}

/// Letters in no order, so that no stretch of them comes a second time and has to be kept once only.
#[function]
fn write(text: Text) -> String {
    let mut state = text.number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state >> 60) as u8)
    };
    (0..text.bytes).map(letter).collect()
}

#[function(hosts = ["http://127.0.0.1"])]
async fn post(url: String) -> Result<u64, Failure> {
    http::post(url).body("1").send().await?.error_for_status()?.json()
}

export!(
    chain_pure,
    chain_http,
    fan_pure,
    fan_http,
    rests,
    rests_http,
    evicted,
    evicted_http,
    large_outputs,
    plus_one,
    write,
    post
);
