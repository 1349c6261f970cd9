//! Holds the guide's page of limits and the constants of the code together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/guide/limits.md";
/// From here to the end the page is made from the code.
const GENERATED: &str = "## Every limit in the code\n";
const SOURCES: [&str; 3] = ["host/src", "host/replay/src", "host/storage/src"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the project").to_owned()
}

/// A named limit as the code has it.
struct Constant {
    path: String,
    name: String,
    expression: String,
    /// The first sentence of what is written above it.
    why: String,
}

fn constants() -> Vec<Constant> {
    let mut constants = Vec::new();
    for source in SOURCES {
        let folder = walkdir::WalkDir::new(root().join(source)).sort_by_file_name();
        for file in folder.into_iter().filter_map(Result::ok) {
            let path = file.path().strip_prefix(root()).expect("it is below").display().to_string();
            if path.ends_with(".rs") && !path.contains("/tests") {
                constants.extend(constants_in(&path, &std::fs::read_to_string(file.path()).expect("readable")));
            }
        }
    }
    constants
}

fn constants_in(path: &str, text: &str) -> Vec<Constant> {
    let mut found = Vec::new();
    let mut comment = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            let _ = write!(comment, " {}", words.trim());
            continue;
        }
        let public =
            line.strip_prefix("pub(super) ").or(line.strip_prefix("pub(crate) ")).or(line.strip_prefix("pub "));
        let declared = public.unwrap_or(line).strip_prefix("const ").and_then(|rest| rest.split_once(": "));
        if let Some((name, rest)) = declared
            && name.contains("MAX")
            && let Some((_, expression)) = rest.strip_suffix(';').and_then(|rest| rest.split_once(" = "))
        {
            let why = comment.trim().split_inclusive(". ").next().unwrap_or_default().trim().to_owned();
            let (path, name, expression) = (path.to_owned(), name.to_owned(), expression.to_owned());
            found.push(Constant { path, name, expression, why });
        }
        if !line.starts_with("#[") {
            comment.clear();
        }
    }
    found
}

/// The part of the page that is made from the code.
fn generated() -> String {
    let mut text = format!(
        "{GENERATED}\nMade from the code; most of these are met by the host alone.\n\n| constant | value | why | where |\n|---|---|---|---|\n"
    );
    for Constant { path, name, expression, why } in constants() {
        let why = why.replace('|', "\\|").replace("[`", "`").replace("`]", "`");
        let _ = writeln!(text, "| `{name}` | `{expression}` | {why} | `{path}` |");
    }
    text
}

#[test]
fn the_list_of_every_limit_is_as_checked_in() {
    let path = root().join(PAGE);
    let page = std::fs::read_to_string(&path).expect("the page is checked in");
    let (by_hand, _) = page.split_once(GENERATED).expect("the page has a part that is made from the code");
    let fresh = format!("{by_hand}{}", generated());
    if std::env::var_os("TRACKWAY_BLESS").is_some() {
        std::fs::write(&path, &fresh).expect("it can be written");
    }
    let page = std::fs::read_to_string(&path).expect("the page is checked in");
    assert!(page == fresh, "{PAGE} is out of date: `cargo xtask bless` writes it anew");
}

#[test]
fn every_limit_that_a_user_meets_is_stated_as_the_code_has_it() {
    let page = std::fs::read_to_string(root().join(PAGE)).expect("the page is checked in");
    let (by_hand, _) = page.split_once(GENERATED).expect("the page has a part that is made from the code");
    let mut checked = 0;
    for line in by_hand.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, stated, over, place] = cells[..] else { panic!("{line}") };
        let spans: Vec<&str> = place.split('`').skip(1).step_by(2).collect();
        let [path, name] = spans[..] else { panic!("{line}: a file and a name") };
        let source = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value = value_of(&source, name).unwrap_or_else(|| panic!("{path} has no {name} that can be read"));
        assert_eq!(read(stated), Some(value), "{what}: the page says {stated}, {path} has {name}");
        assert!(!over.is_empty(), "{what}: what happens over it?");
        checked += 1;
    }
    assert!(checked > 30, "only {checked} limits were found on the page");
}

/// Of a constant, or of a field that is given by name.
fn value_of(source: &str, name: &str) -> Option<u128> {
    let constant = source.lines().find_map(|line| {
        let (_, rest) = line.split_once(&format!("const {name}: "))?;
        rest.split_once(" = ")?.1.strip_suffix(';')
    });
    let field = || source.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: "))?.strip_suffix(','));
    let fields = || {
        // The type of a field is no value.
        let lines = source.lines().filter_map(|line| line.trim().strip_prefix(&format!("{name}: "))?.strip_suffix(','));
        lines.filter_map(|text| evaluate(source, text)).next()
    };
    match constant {
        Some(text) => evaluate(source, text),
        None => field().and_then(|_| fields()),
    }
}

/// Numbers, shifts, products, durations (in microseconds), and names of constants beside it.
fn evaluate(source: &str, text: &str) -> Option<u128> {
    let text = text.trim();
    for (call, micros) in [("Duration::from_secs(", 1_000_000), ("Duration::from_millis(", 1_000)] {
        if let Some(inner) = text.strip_prefix(call) {
            return Some(evaluate(source, inner.strip_suffix(')')?)? * micros);
        }
    }
    if let Some((left, right)) = text.split_once(" + ") {
        return Some(evaluate(source, left)? + evaluate(source, right)?);
    }
    if let Some((left, right)) = text.split_once(" << ") {
        return Some(evaluate(source, left)? << evaluate(source, right)?);
    }
    if let Some((left, right)) = text.split_once(" * ") {
        return Some(evaluate(source, left)? * evaluate(source, right)?);
    }
    let text = text.trim_matches(['(', ')']);
    text.replace('_', "").parse().ok().or_else(|| {
        let is_name = text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
        is_name.then(|| value_of(source, text)).flatten()
    })
}

/// `16 MiB`, `1,000`, `30 s`: bytes, counts, microseconds.
fn read(stated: &str) -> Option<u128> {
    let units = BTreeMap::from([
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("h", 3_600_000_000),
    ]);
    let (number, unit) = stated.split_once(' ').unwrap_or((stated, ""));
    let number: u128 = number.replace(',', "").parse().ok()?;
    let factor = if unit.is_empty() { 1 } else { *units.get(unit)? };
    Some(number * factor)
}

#[test]
fn stated_values_and_constants_are_read_alike() {
    for (stated, written) in [
        ("16 MiB", "16 << 20"),
        ("10,000", "10_000"),
        ("30 s", "Duration::from_secs(30)"),
        ("24 h", "Duration::from_secs(24 * 3_600)"),
        ("64 KiB", "SMALL"),
        ("80 KiB", "(16 << 10) + SMALL"),
    ] {
        let source = format!("const SMALL: usize = 64 << 10;\nconst IT: X = {written};\n");
        assert_eq!(read(stated), value_of(&source, "IT"), "{stated}");
    }
}
