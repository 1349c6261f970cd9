//! Tokens: each execution of a function or an effect answers with one that nobody else ever gave. It
//! must never know who holds one.

/// What a token is replaced by where only the rest matters.
pub const MARK: &str = "~";

/// The tokens in a text, however deep they are quoted.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let parts: Vec<&str> = text.split('~').collect();
    parts.into_iter().filter(|part| is_token(part))
}

/// The text without the tokens in it, and without what the world heard from others.
pub fn without(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut in_token = false;
    for part in text.split('~') {
        if is_token(part) {
            in_token = true;
        } else {
            if in_token {
                kept.push_str(MARK);
            }
            in_token = false;
            kept.push_str(part);
        }
    }
    kept.replace(&format!("{MARK} heard {MARK}"), MARK)
}

fn is_token(part: &str) -> bool {
    let kind = part.as_bytes().first().is_some_and(|kind| matches!(kind, b'e' | b'p'));
    kind && part.len() > 1 && part[1..].bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'.')
}

#[test]
fn tokens_are_found_and_replaced() {
    let text = r#"[["~pab.12~","~e1f~ heard ~e2~"],"slept ~ here"]"#;
    assert_eq!(tokens(text).collect::<Vec<_>>(), ["pab.12", "e1f", "e2"]);
    assert_eq!(without(r#"[["~pab.12~","~e1f~ heard ~e2~"],"slept"]"#), r#"[["~","~"],"slept"]"#);
}
