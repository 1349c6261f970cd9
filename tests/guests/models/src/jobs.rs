//! An agent with tools of all kinds, as tests set it up: some read, some need a person, some fail, some ask models.

use trackway_sdk::prelude::*;
use trackway_sdk::{Usage, Usd};

/// What it may use, and where its tools reach.
#[value]
#[derive(Clone)]
pub struct Job {
    pub site: String,
    #[serde(default)]
    pub tokens: Option<u64>,
    #[serde(default)]
    pub cost_nanousd: Option<u64>,
    /// The event under which it tells what it says.
    #[serde(default)]
    pub deltas: Option<String>,
}

/// What it came to.
#[value]
pub struct Done {
    pub output: String,
    pub usage: Usage,
    pub cost: Option<Usd>,
}

/// A job within one step.
#[workflow]
pub async fn works(ctx: Ctx, job: Job) -> Result<Done, Failure> {
    ctx.step(work, job).await
}

/// The same job in two steps, one after the other.
#[workflow]
pub async fn works_twice(ctx: Ctx, job: Job) -> Result<Done, Failure> {
    ctx.step(work, job.clone()).await?;
    ctx.step(work, job).await
}

struct Site(String);

#[agent(retries = 2, backoff = "10ms", models = ["scripted/*"])]
pub async fn work(ctx: FnCtx, job: Job) -> Result<Done, Failure> {
    let mut budget = Budget::new();
    if let Some(tokens) = job.tokens {
        budget = budget.tokens(tokens);
    }
    if let Some(cost) = job.cost_nanousd {
        budget = budget.cost(Usd::from_nanos(cost));
    }
    let mut agent = Agent::new("worker")
        .model("scripted/m")
        .instructions("Work.")
        .tool(read)
        .tool(pay)
        .tool(stumble.fatal())
        .tool(consult)
        .budget(budget);
    if let Some(event) = job.deltas {
        agent = agent.stream_to(event);
    }
    let answer = agent.run(&ctx.with(Site(job.site)), "Go.").await?;
    Ok(Done { output: answer.output, usage: answer.usage, cost: answer.cost })
}

/// Reads a page.
#[tool]
pub async fn read(ctx: FnCtx, page: u32) -> Result<String, Failure> {
    http::get(format!("{}/{page}", ctx.handed::<Site>()?.0)).send().await?.error_for_status()?.text()
}

/// How much, and what opens the till.
#[value]
pub struct Payment {
    pub cents: u32,
    #[serde(default)]
    pub password: Option<String>,
}

/// Pays so many cents.
#[tool(needs_approval)]
pub async fn pay(ctx: FnCtx, payment: Payment) -> Result<String, Failure> {
    http::post(format!("{}/pay/{}", ctx.handed::<Site>()?.0, payment.cents)).send().await?.error_for_status()?.text()
}

/// Does what may fail, and ends the attempt then.
#[tool]
pub async fn stumble(ctx: FnCtx) -> Result<String, Failure> {
    http::post(format!("{}/stumble", ctx.handed::<Site>()?.0)).send().await?.error_for_status()?.text()
}

/// Asks another model.
#[tool]
pub async fn consult(ctx: FnCtx, question: String) -> Result<String, Failure> {
    Ok(ctx.model("scripted/n").user(question).await?.text().to_owned())
}
