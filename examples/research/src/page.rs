//! What people read of a page of HTML. It looks at text and nothing else.

use crate::Article;

/// More of a page than this is rarely read, and costs with every call of the model.
const TEXT_MAX_CHARS: usize = 20_000;

/// Takes title and text out of `html`; links keep their addresses, in brackets.
pub fn read(url: String, html: &str) -> Article {
    let title = between(html, "<title>", "</title>").map_or_else(|| url.clone(), |title| title.trim().to_owned());
    let text = text_of(html, origin(&url)).split_whitespace().collect::<Vec<_>>().join(" ");
    Article { title, text: text.chars().take(TEXT_MAX_CHARS).collect(), url }
}

/// `https://example.com` of `https://example.com/tides`.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    url[host..].find('/').map_or(url, |path| &url[..host + path])
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(from)?;
    after.split_once(to).map(|(inside, _)| inside)
}

/// The text between the tags, without scripts, styles and the head of the page.
fn text_of(html: &str, origin: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let hidden = ["head", "script", "style"].into_iter().find(|name| is_tag(after, name));
        if is_tag(after, "a") {
            let address = after.split('>').next().and_then(|tag| between(tag, "href=\"", "\""));
            let base = if address.is_some_and(|address| address.starts_with('/')) { origin } else { "" };
            text.extend(address.map(|address| format!("[{base}{address}] ")));
        }
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
