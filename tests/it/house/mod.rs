//! Promises about the tree itself: who may name whom, how long a file is, what the map says. They
//! read files and nothing else.

mod files;
mod layers;
mod source;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate stands in a folder of the repository").to_owned()
}

/// Folders that hold what was built, downloaded or run, not what was written.
const NOT_OURS: [&str; 6] = ["target", ".git", ".trackway", "node_modules", ".venv", "__pycache__"];

/// Every file of ours, as a path from the root with `/`, in order.
fn files() -> Vec<String> {
    let root = root();
    let ours = |entry: &walkdir::DirEntry| !NOT_OURS.iter().any(|name| entry.file_name() == *name);
    let mut files: Vec<String> = walkdir::WalkDir::new(&root)
        .into_iter()
        .filter_entry(ours)
        .map(|entry| entry.expect("the repository can be read"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(&root).expect("below the root").to_string_lossy().into_owned())
        .collect();
    files.sort();
    files
}

fn rust_files() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".rs")).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Tests stand apart from what they test, and other rules hold for them.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/benches/")
        || path.ends_with("_tests.rs")
}

/// Fails with all complaints at once.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
