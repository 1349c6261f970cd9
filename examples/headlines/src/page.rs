//! What is in a page of HTML: title, words, links and terms. It reads text and nothing else.

use std::collections::BTreeMap;

use crate::Page;

/// Rarer terms of a page do not reach the report anyway.
const TERMS_MAX: usize = 50;

/// Shorter words say little.
const TERM_MIN_CHARS: usize = 4;

/// Words that stand in every text.
const COMMON: &str = "about after also been before could does down every first from have here into just like more most much \
    only other over same some such than that their them then there these they this those through time under very well \
    were what when where which while will with would your";

/// Counts what is in `html`.
pub fn read(url: String, html: &str) -> Page {
    let text = text_of(html);
    let words: Vec<String> = text
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let links = html.to_ascii_lowercase().matches("<a ").count() as u64;
    Page {
        title: title_of(html).unwrap_or_else(|| url.clone()),
        url,
        words: words.len() as u64,
        links,
        terms: terms_of(&words),
    }
}

/// The text between the tags, without scripts, styles and the head of the page.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let hidden = ["head", "script", "style"].into_iter().find(|name| is_tag(after, name));
        let end = hidden.map_or(">".to_owned(), |name| format!("</{name}>"));
        let Some(place) = after.to_ascii_lowercase().find(&end) else { return text };
        rest = &after[place + end.len()..];
    }
    text + rest
}

/// Whether `tag`, which stands after a `<`, opens an element of that name.
fn is_tag(tag: &str, name: &str) -> bool {
    let (start, after) = tag.split_at_checked(name.len()).unwrap_or((tag, ""));
    start.eq_ignore_ascii_case(name) && !after.starts_with(char::is_alphanumeric)
}

fn title_of(html: &str) -> Option<String> {
    let (_, after) = html.split_once("<title>")?;
    let (title, _) = after.split_once("</title>")?;
    Some(title.trim().to_owned()).filter(|title| !title.is_empty())
}

fn terms_of(words: &[String]) -> BTreeMap<String, u64> {
    let common: Vec<&str> = COMMON.split_whitespace().collect();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for word in words.iter().filter(|word| word.chars().count() >= TERM_MIN_CHARS && !common.contains(&word.as_str())) {
        *counts.entry(word).or_default() += 1;
    }
    let mut terms: Vec<(&str, u64)> = counts.into_iter().collect();
    terms.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    terms.truncate(TERMS_MAX);
    terms.into_iter().map(|(term, count)| (term.to_owned(), count)).collect()
}

#[cfg(test)]
mod tests;
