//! Functions that talk with models: one call after the other, each with all that was said before.

mod jobs;

use jobs::{consult, pay, read, stumble, work, works, works_twice};
use trackway_sdk::Usd;
use trackway_sdk::prelude::*;

/// How long a conversation is, and with whom.
#[value]
#[derive(Clone)]
pub struct Talk {
    pub model: String,
    pub calls: u32,
    /// The event under which the text is told as it comes.
    #[serde(default)]
    pub deltas: Option<String>,
}

/// What a conversation came to.
#[value]
pub struct Said {
    pub texts: Vec<String>,
    pub tokens: u64,
    pub cost_nanousd: u64,
}

/// A conversation within one step.
#[workflow]
pub async fn talks(ctx: Ctx, talk: Talk) -> Result<Said, Failure> {
    ctx.step(converse, talk).await
}

/// The same in as many steps as there are calls, and the run goes on with what is left after each.
#[workflow]
pub async fn goes_on(ctx: Ctx, talk: Talk) -> Result<u32, Failure> {
    if talk.calls == 0 {
        return Ok(0);
    }
    ctx.step(converse, Talk { calls: 1, ..talk.clone() }).await?;
    ctx.continue_with::<goes_on>(Talk { calls: talk.calls - 1, ..talk })
}

/// Fails once after its last call, and then goes on with what it had done.
#[workflow]
pub async fn tries_again(ctx: Ctx, talk: Talk) -> Result<Said, Failure> {
    ctx.step(stumbles, talk).await
}

#[function(retries = 0, timeout = "10m", models = ["scripted/*"])]
async fn converse(ctx: FnCtx, talk: Talk) -> Result<Said, Failure> {
    conversation(&ctx, &talk).await
}

#[function(retries = 2, backoff = "10ms", resume = true, models = ["scripted/*"])]
async fn stumbles(ctx: FnCtx, talk: Talk) -> Result<Said, Failure> {
    let said = conversation(&ctx, &talk).await?;
    if ctx.attempt() == 1 {
        return Err(Failure::new("STUMBLED", "once"));
    }
    Ok(said)
}

async fn conversation(ctx: &FnCtx, talk: &Talk) -> Result<Said, Failure> {
    let mut said = Said { texts: Vec::new(), tokens: 0, cost_nanousd: 0 };
    for number in 1..=talk.calls {
        let mut call = ctx.model(&talk.model).system("Count.").label(format!("call {number}"));
        for (place, text) in said.texts.iter().enumerate() {
            call = call.user(format!("number {}", place + 1)).message(Message::assistant(text));
        }
        call = call.user(format!("number {number}"));
        if let Some(event) = &talk.deltas {
            call = call.stream_to(event);
        }
        let answer = call.await?;
        said.tokens += answer.usage.total_tokens();
        said.cost_nanousd += answer.cost.map_or(0, Usd::as_nanos);
        said.texts.push(answer.text().to_owned());
    }
    Ok(said)
}

/// An agent with the tools of the MCP server at a URL.
#[workflow]
pub async fn borrows(ctx: Ctx, url: String) -> Result<String, Failure> {
    ctx.step(borrow, url).await
}

/// The same with the server that the deployment calls `lib`.
#[workflow]
pub async fn borrows_by_name(ctx: Ctx) -> Result<String, Failure> {
    ctx.step(borrow_by_name, "scripted/m".into()).await
}

/// The same with a model.
#[workflow]
pub async fn borrows_by_name_of(ctx: Ctx, model: String) -> Result<String, Failure> {
    ctx.step(borrow_by_name, model).await
}

#[agent(retries = 0, models = ["scripted/*"])]
async fn borrow(ctx: FnCtx, url: String) -> Result<String, Failure> {
    borrow_of(&ctx, "scripted/m", McpServer::new("lib", url)).await
}

#[agent(retries = 0, models = ["scripted/*"], mcp = ["lib"])]
async fn borrow_by_name(ctx: FnCtx, model: String) -> Result<String, Failure> {
    borrow_of(&ctx, &model, McpServer::named("lib")).await
}

async fn borrow_of(ctx: &FnCtx, model: &str, server: McpServer) -> Result<String, Failure> {
    let agent = Agent::new("borrower").model(model).tools(server.tools(ctx).await?);
    let answer = agent.run(ctx, "Read.").await?.output;
    server.close().await;
    Ok(answer)
}

export!(
    talks,
    goes_on,
    tries_again,
    converse,
    stumbles,
    borrows,
    borrows_by_name,
    borrows_by_name_of,
    borrow,
    borrow_by_name,
    works,
    works_twice,
    work,
    read,
    pay,
    stumble,
    consult
);
