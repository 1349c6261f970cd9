//! How files look, and whether what the documents name is there.

use super::{files, is_test, none, read, root, rust_files};

/// A file that does not fit on a few screens holds more than one idea.
const LINES_MAX: usize = 500;

/// Code that only thinks reads well in one piece: a long file of it is better than two that hand
/// half a thought to each other.
const PURE: (&str, usize) = ("host/replay/src/", 700);

/// The map has to be read in one sitting, the style in five minutes.
const DOCUMENTS: &[(&str, usize)] = &[("ARCHITECTURE.md", 150), ("STYLE.md", 50), ("README.md", 80)];

#[test]
fn no_file_holds_more_than_one_idea() {
    let mut complaints = Vec::new();
    for path in rust_files().into_iter().filter(|path| !is_test(path)) {
        let lines = read(&path).lines().count();
        let lines_max = if path.starts_with(PURE.0) { PURE.1 } else { LINES_MAX };
        if lines > lines_max {
            complaints.push(format!("{path} has {lines} lines, more than {lines_max}"));
        }
    }
    none(complaints);
}

#[test]
fn every_source_file_begins_with_what_it_owns() {
    let begins = |path: &String| read(path).starts_with("//!");
    // What `name/tests.rs` owns is said by where it stands.
    let says_it_itself = |path: &String| is_test(path) && !path.starts_with("tests/it/");
    let complaints = rust_files().into_iter().filter(|path| !begins(path) && !says_it_itself(path));
    none(complaints.map(|path| format!("{path} does not begin with `//!`")).collect());
}

#[test]
fn documents_stay_short() {
    let mut complaints = Vec::new();
    for (path, lines_max) in DOCUMENTS {
        let lines = read(path).lines().count();
        if lines > *lines_max {
            complaints.push(format!("{path} has {lines} lines, more than {lines_max}"));
        }
    }
    none(complaints);
}

#[test]
fn every_path_that_the_documents_name_exists() {
    let mut complaints = Vec::new();
    let mut checked = 0;
    for document in files().into_iter().filter(|path| is_document(path)) {
        for path in paths_named(&read(&document)) {
            checked += 1;
            // A path is meant from the root, or from beside the document.
            let beside = root().join(&document).parent().expect("a file has a folder").join(&path);
            if !root().join(&path).exists() && !beside.exists() {
                complaints.push(format!("{document} names `{path}`, which does not exist"));
            }
        }
    }
    assert!(checked >= 20, "only {checked} paths found: the map names many more");
    none(complaints);
}

fn is_document(path: &str) -> bool {
    let written = !path.starts_with("examples/") && !path.contains("/templates/") && !path.starts_with("tests/guests/");
    path.ends_with(".md") && written && path != "CHANGELOG.md"
}

/// Link targets, and backquoted words that look like a path of ours: with a folder that exists at
/// the root, or one of our endings.
fn paths_named(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2).filter(|word| looks_like_path(word));
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = linked.filter(|target| !target.contains("://") && !target.starts_with('#'));
    quoted
        .chain(local)
        .map(|path| path.split('#').next().expect("split gives at least one part").trim_end_matches('/').to_owned())
        .filter(|path| !path.is_empty())
        .collect()
}

fn looks_like_path(word: &str) -> bool {
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    let folder = word.split('/').next().expect("split gives at least one part");
    plain && word.contains('/') && !folder.is_empty() && !folder.starts_with('.') && root().join(folder).is_dir()
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    // Written in pieces, so that this file does not complain about itself.
    let words = [
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
        concat!("/wo", "rk/wt"),
        concat!("/ro", "ot/"),
        concat!("clau", "de"),
        concat!("chat", "gpt"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("issue ", "#"),
    ];
    const TEXT: [&str; 9] = [".rs", ".md", ".toml", ".wit", ".py", ".js", ".ts", ".sh", ".yml"];
    let mut complaints = Vec::new();
    for path in files().into_iter().filter(|path| TEXT.iter().any(|ending| path.ends_with(ending))) {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            let found = words.iter().filter(|word| line.to_lowercase().contains(&word.to_lowercase()));
            complaints.extend(found.map(|word| format!("{path}:{}: `{word}`", number + 1)));
        }
    }
    none(complaints);
}

#[test]
fn no_test_is_ignored() {
    let attribute = concat!("#[ig", "nore");
    let complaints = rust_files().into_iter().filter(|path| read(path).contains(attribute));
    none(complaints.map(|path| format!("{path} ignores a test: mend it or delete it")).collect());
}

#[test]
fn the_readme_shows_the_example_as_it_is() {
    let example = read("examples/hello/src/lib.rs");
    let code = example.split_once("\n\n").expect("the example begins with a comment of its own").1;
    assert!(read("README.md").contains(code), "README.md shows another `hello` than examples/hello/src/lib.rs");
}
