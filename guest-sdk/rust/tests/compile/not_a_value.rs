//! A type that cannot cross, as input and as output.

use trackway_sdk::prelude::*;

pub struct Article {
    title: String,
}

#[function]
fn read(article: Article) -> usize {
    article.title.len()
}

#[function]
fn write() -> Result<Article, Failure> {
    Ok(Article { title: String::new() })
}

#[workflow]
async fn publish(ctx: Ctx, article: Article) -> Result<(), Failure> {
    Ok(())
}

fn main() {}
