//! Workflows and functions that tell those who follow the run what they do.

use trackway_sdk::prelude::*;

/// A story in several chapters.
#[value]
#[derive(Clone)]
pub struct Story {
    /// A base URL. Page `p` of chapter `c` is asked for at `/chapter/c/p`.
    pub url: String,
    pub chapters: u32,
    pub pages: u32,
    /// Attempts before this one fail after their last page.
    #[serde(default)]
    pub until: u32,
}

/// One chapter of it.
#[value]
pub struct Chapter {
    pub story: Story,
    pub number: u32,
}

/// Chapter by chapter; gives all that was told of them as deltas.
#[workflow]
pub async fn stories(ctx: Ctx, story: Story) -> Result<String, Failure> {
    let mut told = String::new();
    for number in 0..story.chapters {
        ctx.emit("chapter", &number);
        told.push_str(&ctx.step(tell, Chapter { story: story.clone(), number }).await?);
        ctx.emit("told", &told);
    }
    Ok(told)
}

/// The same, where an attempt goes on with what a failed one had done.
#[workflow]
pub async fn stories_resuming(ctx: Ctx, story: Story) -> Result<String, Failure> {
    let mut told = String::new();
    for number in 0..story.chapters {
        let chapter = Chapter { story: story.clone(), number };
        told.push_str(&ctx.step(tell, chapter).retry(Retry::new().resume()).await?);
        ctx.emit("told", &told);
    }
    Ok(told)
}

/// Emits so often without waiting for anything.
#[workflow]
pub async fn floods(ctx: Ctx, times: u32) -> Result<u32, Failure> {
    for number in 0..times {
        ctx.emit("drop", &number);
    }
    ctx.sleep(Duration::from_millis(1)).await?;
    Ok(times)
}

/// Lets a function tell so many pieces.
#[workflow]
pub async fn chatters(ctx: Ctx, times: u32) -> Result<u32, Failure> {
    ctx.step(chatter, times).await
}

/// Lets a function emit so often.
#[workflow]
pub async fn pours(ctx: Ctx, times: u32) -> Result<u32, Failure> {
    ctx.step(pour, times).await
}

/// Emits what is no event.
#[workflow]
pub async fn bad(ctx: Ctx, what: String) -> Result<(), Failure> {
    match what.as_str() {
        "name" => ctx.emit("no name", &1),
        "large" => ctx.emit("large", &"x".repeat(40_000)),
        "delta" => ctx.step(bad_delta, ()).await?,
        _ => ctx.emit("fine", &"x".repeat(32 * 1_024 - 2)),
    }
    Ok(())
}

#[function(retries = 3, backoff = "1s", hosts = ["http://127.0.0.1", "http://world.test"])]
async fn tell(ctx: FnCtx, chapter: Chapter) -> Result<String, Failure> {
    let Chapter { story, number } = chapter;
    let mut told = String::new();
    for page in 0..story.pages {
        let piece = format!("[{number}.{page}");
        ctx.delta("piece", &piece);
        told.push_str(&piece);
        http::post(format!("{}/chapter/{number}/{page}", story.url)).send().await?.error_for_status()?;
        ctx.emit("page", &page);
        ctx.delta("piece", "]");
        told.push(']');
    }
    if ctx.attempt() < story.until {
        return Err(Failure::new("NOT_YET", format!("attempt {}", ctx.attempt())));
    }
    Ok(told)
}

#[function(retries = 0)]
fn chatter(ctx: FnCtx, times: u32) -> u32 {
    for number in 0..times {
        ctx.delta("word", &number);
    }
    times
}

#[function(retries = 0)]
fn pour(ctx: FnCtx, times: u32) -> u32 {
    for number in 0..times {
        ctx.emit("drop", &number);
    }
    times
}

#[function(retries = 0)]
fn bad_delta(ctx: FnCtx) {
    ctx.delta("large", &"x".repeat(20_000));
}

export!(stories, stories_resuming, floods, chatters, pours, bad, tell, chatter, pour, bad_delta);
