//! JSON as text: laid out or put on one line without being decoded, so that numbers, escapes and
//! the order of keys stay as somebody wrote them. Pure.

/// Deeper ones stand on the line of what they are in: each further level would be a line as long as the level is deep.
const DEPTH_MAX: usize = 64;

/// Over several lines, two spaces for each level down to `DEPTH_MAX`.
pub fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut before = ' ';
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    walk(text, |piece| {
        let closes = piece.ends_with(['}', ']']) && piece.len() == 1;
        let is_laid_out = depth <= DEPTH_MAX;
        depth -= usize::from(closes && depth > 0);
        if matches!(before, '{' | '[') != closes && is_laid_out {
            line(&mut out, depth);
        }
        out.push_str(piece);
        match piece {
            "{" | "[" => depth += 1,
            "," if is_laid_out => line(&mut out, depth),
            "," => out.push(' '),
            ":" => out.push(' '),
            _ => {}
        }
        before = if piece.len() == 1 { piece.chars().next().unwrap_or(' ') } else { ' ' };
    });
    out.trim_start_matches('\n').to_owned()
}

/// On one line.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    walk(text, |piece| out.push_str(piece));
    out
}

/// Gives the pieces of `text` without the space between them: a string, a mark, a number, a word.
fn walk(text: &str, mut each: impl FnMut(&str)) {
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest
                .find(|c: char| c.is_ascii_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ',' | ':' | '"'))
                .unwrap_or(rest.len()),
        };
        each(&rest[..length]);
        rest = rest[length..].trim_start();
    }
}

/// Of the string that `text` begins with, both quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"b":1.10,"a":[],"c":[1,{"x":"a\"{,: ü"}],"d":{},"e":123456789012345678901234567890}"#;

    #[test]
    fn json_is_laid_out_without_being_changed() {
        let expected = "{\n  \"b\": 1.10,\n  \"a\": [],\n  \"c\": [\n    1,\n    {\n      \"x\": \"a\\\"{,: ü\"\n    \
                        }\n  ],\n  \"d\": {},\n  \"e\": 123456789012345678901234567890\n}";
        assert_eq!(pretty(TEXT), expected);
    }

    #[test]
    fn laying_out_and_putting_on_one_line_are_inverse() {
        for text in [TEXT, "[[1,2],[3]]", "[{}]", "7", "-1e5", "null", "\"a\\\\\"", "[[[]]]", "[true,\"\"]"] {
            assert_eq!(compact(&pretty(text)), text);
            assert_eq!(compact(text), text);
        }
    }

    #[test]
    fn the_deepest_nesting_is_laid_out_in_little_more_room_than_it_takes() {
        for (open, inner, close) in [("[", "", "]"), ("{\"a\":", "7", "}"), ("[1,", "2", "]")] {
            let text = format!("{}{inner}{}", open.repeat(40_000), close.repeat(40_000));
            let laid_out = pretty(&text);
            assert!(laid_out.len() < 3 * text.len() + 100_000, "{} of {}", laid_out.len(), text.len());
            assert_eq!(compact(&laid_out), text);
        }
    }

    #[test]
    fn text_that_is_not_json_does_no_harm() {
        for text in ["", "\"", "]]]", "{\"a", "ä", "\u{2028}"] {
            pretty(text);
            compact(text);
        }
    }
}
