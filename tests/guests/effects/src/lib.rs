//! Functions with effects: requests that a server can count, waits, failures and timeouts.

use trackway_sdk::prelude::*;
use trackway_sdk::serde_json;

/// Where to send requests, and how many.
#[value]
#[derive(Clone)]
pub struct Plan {
    /// A base URL, as `http://127.0.0.1:8080`. Request `i` of step `s` goes to `/step/s/i`.
    pub url: String,
    /// Steps one after the other.
    #[serde(default = "one")]
    pub steps: u32,
    /// Requests in each step.
    #[serde(default = "one")]
    pub requests: u32,
    /// Wait as long after each step.
    #[serde(default)]
    pub pause_ms: u64,
}

fn one() -> u32 {
    1
}

/// One step of a plan.
#[value]
pub struct Work {
    pub url: String,
    pub step: u32,
    pub requests: u32,
}

/// Steps that POST, one after the other. The sum of what the requests answered.
#[workflow]
pub async fn posts(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let mut sum = 0;
    for step in 0..plan.steps {
        sum += ctx.step(post_in_turn, work(&plan, step)).label(format!("step {step}")).await?;
        if plan.pause_ms > 0 {
            ctx.sleep(Duration::from_millis(plan.pause_ms)).await?;
        }
    }
    Ok(sum)
}

/// Steps that POST, all at once, each with all its requests at once.
#[workflow]
pub async fn posts_at_once(ctx: Ctx, plan: Plan) -> Result<u64, Failure> {
    let steps = (0..plan.steps).map(|step| ctx.step(post_at_once, work(&plan, step)));
    Ok(try_join_all(steps).await?.into_iter().sum())
}

/// GETs the URL and gives status, headers and body as they came.
#[workflow]
pub async fn fetches(ctx: Ctx, url: String) -> Result<Fetched, Failure> {
    ctx.step(fetch, url).await
}

/// A function that fails in its first attempts; the number of the one that succeeded.
#[workflow]
pub async fn succeeds_at(ctx: Ctx, attempt: u32) -> Result<u32, Failure> {
    ctx.step(fail_before, attempt).await
}

/// A function that fails for good.
#[workflow]
pub async fn fails_for_good(ctx: Ctx) -> Result<(), Failure> {
    ctx.step(fail_for_good, ()).await
}

/// A function whose first attempt takes longer than its timeout, given a URL that does not answer.
#[workflow]
pub async fn times_out_once(ctx: Ctx, url: String) -> Result<u32, Failure> {
    ctx.step(slow_at_first, url).await
}

/// A function that waits inside its attempt; the milliseconds that passed on its own clock.
#[workflow]
pub async fn waits_inside(ctx: Ctx, wait_ms: u64) -> Result<u64, Failure> {
    ctx.step(wait, wait_ms).await
}

/// The first of two requests that answers; the other one is forgotten.
#[workflow]
pub async fn races(ctx: Ctx, urls: (String, String)) -> Result<String, Failure> {
    ctx.step(race, urls).await
}

fn work(plan: &Plan, step: u32) -> Work {
    Work { url: plan.url.clone(), step, requests: plan.requests }
}

fn request(work: &Work, number: u32) -> http::RequestBuilder {
    let url = format!("{}/step/{}/{number}", work.url, work.step);
    http::post(url).json(&serde_json::json!({ "step": work.step, "number": number }))
}

/// One request after the other; each has to answer with a number.
#[function(retries = 10, backoff = "50ms", hosts = ["http://127.0.0.1"])]
async fn post_in_turn(ctx: FnCtx, work: Work) -> Result<u64, Failure> {
    let mut sum = 0;
    for number in 0..work.requests {
        ctx.log().field("number", number).debug("posting");
        sum += request(&work, number).send().await?.error_for_status()?.json::<u64>()?;
    }
    Ok(sum)
}

/// All requests at once.
#[function(retries = 10, backoff = "50ms", hosts = ["http://127.0.0.1"])]
async fn post_at_once(work: Work) -> Result<u64, Failure> {
    let answers = try_join_all((0..work.requests).map(|number| request(&work, number).send())).await?;
    answers.into_iter().map(|answer| answer.error_for_status()?.json::<u64>()).sum()
}

/// What came.
#[value]
pub struct Fetched {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub size_bytes: usize,
    pub text: Option<String>,
}

#[function(retries = 0, hosts = ["http://127.0.0.1"])]
async fn fetch(url: String) -> Result<Fetched, Failure> {
    let answer = http::get(url).timeout(Duration::from_secs(10)).send().await?;
    let (status, headers) = (answer.status(), answer.headers().to_vec());
    let bytes = answer.bytes()?;
    Ok(Fetched { status, headers, size_bytes: bytes.len(), text: String::from_utf8(bytes).ok() })
}

#[function(retries = 19, backoff = "10ms")]
fn fail_before(ctx: FnCtx, attempt: u32) -> Result<u32, Failure> {
    if ctx.attempt() < attempt {
        return Err(Failure::new("NOT_YET", format!("attempt {}", ctx.attempt())));
    }
    Ok(ctx.attempt())
}

#[function(retries = 19, backoff = "10ms")]
fn fail_for_good() -> Result<(), Failure> {
    Err(Failure::permanent("NO_WAY", "it cannot work").with_details(serde_json::json!({ "reason": 7 })))
}

#[function(retries = 3, backoff = "10ms", timeout = "200ms", hosts = ["http://127.0.0.1"])]
async fn slow_at_first(ctx: FnCtx, url: String) -> Result<u32, Failure> {
    if ctx.attempt() == 1 {
        http::get(url).send().await?;
    }
    Ok(ctx.attempt())
}

#[function]
async fn wait(ctx: FnCtx, wait_ms: u64) -> Result<u64, Failure> {
    let before = ctx.now();
    ctx.sleep(Duration::from_millis(wait_ms)).await?;
    Ok(ctx.now().duration_since(before)?.as_millis() as u64)
}

#[function(hosts = ["http://127.0.0.1"])]
async fn race(urls: (String, String)) -> Result<String, Failure> {
    select! {
        first = http::get(urls.0).send() => first?.text(),
        second = http::get(urls.1).send() => second?.text(),
    }
}

export!(
    posts,
    posts_at_once,
    fetches,
    succeeds_at,
    fails_for_good,
    times_out_once,
    waits_inside,
    races,
    post_in_turn,
    post_at_once,
    fetch,
    fail_before,
    fail_for_good,
    slow_at_first,
    wait,
    race,
);
