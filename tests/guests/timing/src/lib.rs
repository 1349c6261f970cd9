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

export!(imports, imports_resuming, chatters, dozes, import, chatter, doze);
