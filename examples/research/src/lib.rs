//! Reads an article and has an agent answer a question from it: one step fetches, the next one thinks.

mod page;

use trackway_sdk::prelude::*;
use trackway_sdk::{Usage, Usd};

/// Any that the operator has granted; `openai/gpt-4o-mini` is quick and cheap.
const MODEL: &str = "openai/gpt-4o-mini";

/// How many pages beside the article the agent may read.
const PAGES_MAX: u32 = 3;

prompt!(Summarize = "prompts/summarize.md");

/// What to find out, and from where.
#[value]
pub struct Request {
    /// The article, as `https://example.com/tides`.
    pub url: String,
    pub question: String,
}

/// A page, as text.
#[value]
pub struct Article {
    pub url: String,
    pub title: String,
    pub text: String,
}

/// What the agent is asked for.
#[value]
pub struct Summary {
    /// The answer, in one sentence.
    pub answer: String,
    /// What else is worth knowing, at most five points.
    pub points: Vec<String>,
    /// The addresses of what it was taken from.
    pub sources: Vec<String>,
}

/// The summary, and what it took.
#[value]
pub struct Report {
    pub title: String,
    pub summary: Summary,
    /// How often the model was asked.
    pub calls: u32,
    pub usage: Usage,
    /// In billionths of a dollar; none where the price of the model is not known.
    pub cost: Option<Usd>,
}

/// Fetches an article, and answers a question from it.
#[workflow]
pub async fn research(ctx: Ctx, request: Request) -> Result<Report, Failure> {
    let article = ctx.step(fetch_article, request.url).await?;
    ctx.step(summarize, Task { question: request.question, article }).await
}

/// Fetches a page and takes the text out of it.
#[function(retries = 5, backoff = "200ms", timeout = "1m", hosts = ["example.com"])]
pub async fn fetch_article(url: String) -> Result<Article, Failure> {
    let html = http::get(&url).send().await?.error_for_status()?.text()?;
    Ok(page::read(url, &html))
}

/// What the agent works on.
#[value]
pub struct Task {
    pub question: String,
    pub article: Article,
}

/// Answers a question from an article. If the host dies, it goes on with the next call of the model.
#[agent(retries = 5, models = ["openai/gpt-4o-mini"], hosts = ["example.com"])]
pub async fn summarize(ctx: FnCtx, task: Task) -> Result<Report, Failure> {
    let Task { question, article } = task;
    let agent = Agent::new("researcher")
        .model(MODEL)
        .instructions(Summarize { question: &question, pages: &PAGES_MAX })
        .tool(read_page)
        .max_iterations(2 * PAGES_MAX + 6)
        .budget(Budget::new().tokens(200_000).cost_usd(0.10).time(Duration::from_secs(600)))
        .stream_to("summary")
        .output::<Summary>();
    let answer = agent.run(&ctx, format!("{}\n{}\n\n{}", article.title, article.url, article.text)).await?;
    let (calls, usage, cost) = (answer.iterations, answer.usage, answer.cost);
    Ok(Report { title: article.title, summary: answer.output, calls, usage, cost })
}

/// The address of a page.
#[value]
pub struct Address {
    /// As it stands in the article.
    pub url: String,
}

/// Reads another page that the article points to. Pages outside of what the operator granted cannot be read.
#[tool]
pub async fn read_page(address: Address) -> Result<Article, Failure> {
    fetch_article(address.url).await
}

export!(research, fetch_article, summarize, read_page, Summarize);

#[cfg(test)]
mod tests;
