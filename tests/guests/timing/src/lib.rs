//! Functions that take their time, and say how far they are or do not.

use trackway_sdk::prelude::*;

/// Pages to read, one after the other.
#[value]
#[derive(Clone)]
pub struct Job {
    /// A base URL.
    pub url: String,
    pub pages: u32,
    /// Attempts before this one fail at the last page.
    #[serde(default)]
    pub until: u32,
}

/// One step that tells of each page; the attempt that came to the end, and the page at which it began.
#[workflow]
pub async fn imports(ctx: Ctx, job: Job) -> Result<(u32, u32), Failure> {
    ctx.step(import, job).heartbeat_timeout(Duration::from_secs(5)).await
}

/// The same, where the function is in no hurry by itself.
#[workflow]
pub async fn imports_resuming(ctx: Ctx, job: Job) -> Result<(u32, u32), Failure> {
    let retry = Retry::new().resume();
    ctx.step(import, job).heartbeat_timeout(Duration::from_secs(5)).retry(retry).await
}

/// A step that says the same thing again and again.
#[workflow]
pub async fn chatters(ctx: Ctx, times: u32) -> Result<u32, Failure> {
    ctx.step(chatter, times).await
}

/// A step that sleeps for longer than it may be silent.
#[workflow]
pub async fn dozes(ctx: Ctx, seconds: u64) -> Result<u32, Failure> {
    ctx.step(doze, seconds).await
}

/// A page that has to be there in time.
#[value]
#[derive(Clone)]
pub struct Hurry {
    pub url: String,
    #[serde(default)]
    pub start_s: Option<u64>,
    #[serde(default)]
    pub close_s: Option<u64>,
    /// Waits for a person after the second attempt.
    #[serde(default)]
    pub park: bool,
}

/// The attempt that got the page, or the code of the failure.
#[workflow]
pub async fn hurries(ctx: Ctx, hurry: Hurry) -> Result<String, Failure> {
    let mut step = ctx.step(fetch, hurry.url);
    if let Some(seconds) = hurry.start_s {
        step = step.schedule_to_start(Duration::from_secs(seconds));
    }
    if let Some(seconds) = hurry.close_s {
        step = step.schedule_to_close(Duration::from_secs(seconds));
    }
    if hurry.park {
        step = step.retry(Retry::new().attempts(2).park());
    }
    Ok(step.await.map_or_else(|failure| failure.code, |attempt| attempt.to_string()))
}

/// A step whose function says by itself how long it may take, and a long sleep after it.
#[workflow]
pub async fn tarries(ctx: Ctx, seconds: u64) -> Result<String, Failure> {
    let told = ctx.step(tarry, seconds).await.map_or_else(|failure| failure.code, |attempt| attempt.to_string());
    ctx.sleep(Duration::from_secs(600)).await?;
    Ok(told)
}

#[function(retries = 19, backoff = "1s", growth = "fixed", jitter = 0.0, hosts = ["http://127.0.0.1"])]
async fn fetch(ctx: FnCtx, url: String) -> Result<u32, Failure> {
    http::post(format!("{url}/page")).send().await?.error_for_status()?;
    Ok(ctx.attempt())
}

#[function(retries = 0, schedule_to_start = "24h", schedule_to_close = "10s")]
async fn tarry(ctx: FnCtx, seconds: u64) -> Result<u32, Failure> {
    ctx.sleep(Duration::from_secs(seconds)).await?;
    Ok(ctx.attempt())
}

#[function(retries = 3, backoff = "1s", hosts = ["http://127.0.0.1"])]
async fn import(ctx: FnCtx, job: Job) -> Result<(u32, u32), Failure> {
    let first = ctx.last_progress().unwrap_or(0);
    for page in first..job.pages {
        http::post(format!("{}/page/{page}", job.url)).send().await?.error_for_status()?;
        if page + 1 == job.pages && ctx.attempt() < job.until {
            return Err(Failure::new("NOT_YET", format!("attempt {}", ctx.attempt())));
        }
        ctx.progress(&(page + 1));
    }
    Ok((ctx.attempt(), first))
}

/// Tells so often, at last of more than it may.
#[function(retries = 0)]
fn chatter(ctx: FnCtx, times: u32) -> u32 {
    for number in 0..times {
        ctx.progress(&number);
    }
    if times == 0 {
        ctx.progress(&"much".repeat(2_000));
    }
    times
}

#[function(retries = 0, heartbeat_timeout = "5s")]
async fn doze(ctx: FnCtx, seconds: u64) -> Result<u32, Failure> {
    ctx.sleep(Duration::from_secs(seconds)).await?;
    Ok(ctx.attempt())
}

export!(imports, imports_resuming, chatters, dozes, hurries, tarries, import, chatter, doze, fetch, tarry);
