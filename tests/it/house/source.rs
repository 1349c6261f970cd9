//! Rust source reduced to what counts as code: comments and the insides of strings are blanked, so
//! that a word in a message is not taken for a dependency. Line numbers stay.

/// `text` with comments, strings and characters blanked.
pub fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let skip = skipped(rest, code.chars().next_back());
        if skip > 0 {
            code.extend(rest[..skip].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
            rest = &rest[skip..];
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    code
}

/// The length of the comment, string or character that `rest` begins with; 0 if it begins with code.
fn skipped(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_word = before.is_some_and(|before| before.is_alphanumeric() || before == '_');
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = 2 + hashes;
            return rest[inside..].find(&end).map_or(rest.len(), |place| inside + place + end.len());
        }
    }
    // A character, and not a lifetime: closed after one character or an escape.
    if let Some(inside) = rest.strip_prefix('\'') {
        let mut inside = inside.chars();
        let escaped = inside.next() == Some('\\');
        if escaped || inside.next() == Some('\'') {
            return quoted(rest, '\'');
        }
    }
    0
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            end if end == quote => return place + character.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Whether `code` holds `word` as a whole path: `wasmtime` in `wasmtime::Store`, not in `my_wasmtime`.
pub fn names(code: &str, word: &str) -> bool {
    let in_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(place, _)| {
        let before = code[..place].chars().next_back();
        let after = code[place + word.len()..].chars().next();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// The modules at the root of the crate that `code` names: `worker` for `crate::worker::X` and for
/// `use crate::{error, worker::X}`.
pub fn root_modules(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let in_word = code[..place].ends_with(|character: char| character.is_alphanumeric() || character == '_');
        if in_word {
            continue;
        }
        let rest = &code[place + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => modules.push(first_word(rest)),
            Some(list) => {
                let mut depth = 0_i32;
                let mut item = String::new();
                for character in list.chars() {
                    match character {
                        '}' if depth == 0 => break,
                        ',' if depth == 0 => modules.push(first_word(&std::mem::take(&mut item))),
                        _ => item.push(character),
                    }
                    depth += i32::from(character == '{') - i32::from(character == '}');
                }
                modules.push(first_word(&item));
            }
        }
    }
    modules.retain(|module| !module.is_empty());
    modules
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn words_in_comments_and_strings_are_not_code() {
    let code = code_of("use a; // wasmtime\nlet x = \"sled\\\" sled\"; let y = r#\"reqwest\"#; let z = '\"'; b::sled");
    assert!(!names(&code, "wasmtime") && !names(&code, "reqwest"));
    assert_eq!(code.matches("sled").count(), 1);
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn lifetimes_do_not_open_a_character() {
    let code = code_of("fn f<'a>(x: &'a str) -> &'static str { wasmtime::f('x', '\\'', x) }");
    assert!(names(&code, "wasmtime"));
    assert!(!names("my_wasmtime::x wasmtimes", "wasmtime"));
}

#[test]
fn modules_are_found_in_single_and_in_grouped_paths() {
    assert_eq!(root_modules("use crate::worker::Worker; crate::error::Code"), ["worker", "error"]);
    assert_eq!(root_modules("use crate::{effects::{A, B}, Error, sandbox};"), ["effects", "Error", "sandbox"]);
    assert_eq!(root_modules("pub(crate) fn x() {} my_crate::y"), Vec::<String>::new());
}
