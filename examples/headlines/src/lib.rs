//! What do these pages talk about? Reads them all at once and reports the terms that come up most.

mod page;

use std::collections::BTreeMap;

use trackway_sdk::prelude::*;

/// What to read, and how much to report.
#[value]
pub struct Request {
    /// The pages, as `https://example.com/news`.
    pub urls: Vec<String>,
    /// How many terms to report.
    #[serde(default = "ten")]
    pub top: usize,
    /// How long to rest between reading and reporting.
    #[serde(default = "half_a_second")]
    pub pause_ms: u64,
}

fn ten() -> usize {
    10
}

fn half_a_second() -> u64 {
    500
}

/// What one page holds.
#[value]
pub struct Page {
    pub url: String,
    pub title: String,
    pub words: u64,
    pub links: u64,
    /// How often each of its commonest terms stands in it.
    pub terms: BTreeMap<String, u64>,
}

/// A page that could not be read, and why.
#[value]
pub struct Unread {
    pub url: String,
    pub reason: String,
}

/// A term and how often it stands in all pages together.
#[value]
pub struct Term {
    pub term: String,
    pub count: u64,
}

/// What the pages talk about.
#[value]
pub struct Report {
    pub pages: u64,
    pub words: u64,
    pub links: u64,
    pub terms: Vec<Term>,
    pub unread: Vec<Unread>,
}

/// Reads all pages at once, rests a moment, and reports the terms that come up most.
#[workflow]
pub async fn headlines(ctx: Ctx, request: Request) -> Result<Report, Failure> {
    let steps = request.urls.iter().map(|url| ctx.step(read_page, url.clone()).label(url));
    let answers = join_all(steps).await;

    // One page that cannot be read does not spoil the others.
    let (mut pages, mut unread) = (Vec::new(), Vec::new());
    for (url, answer) in request.urls.into_iter().zip(answers) {
        match answer {
            Ok(page) => pages.push(page),
            Err(failure) if failure.is_cancelled() => return Err(failure),
            Err(failure) => unread.push(Unread { url, reason: failure.to_string() }),
        }
    }
    ctx.log().field("pages", pages.len()).field("unread", unread.len()).info("read");

    ctx.sleep(Duration::from_millis(request.pause_ms)).label("rest").await?;

    let (words, links) = (pages.iter().map(|page| page.words).sum(), pages.iter().map(|page| page.links).sum());
    Ok(Report { pages: pages.len() as u64, words, links, terms: top_terms(&pages, request.top), unread })
}

/// Fetches a page over HTTP and counts what is in it.
#[function(retries = 5, backoff = "200ms", timeout = "1m", hosts = ["example.com"])]
pub async fn read_page(url: String) -> Result<Page, Failure> {
    let html = http::get(&url).send().await?.error_for_status()?.text()?;
    Ok(page::read(url, &html))
}

/// The commonest terms of all pages; those that are as common as each other stand in alphabetical order.
fn top_terms(pages: &[Page], top: usize) -> Vec<Term> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (term, count) in pages.iter().flat_map(|page| &page.terms) {
        *counts.entry(term).or_default() += count;
    }
    let mut terms: Vec<Term> = counts.into_iter().map(|(term, count)| Term { term: term.into(), count }).collect();
    terms.sort_by_key(|term| std::cmp::Reverse(term.count));
    terms.truncate(top);
    terms
}

export!(headlines, read_page);

#[cfg(test)]
mod tests;
