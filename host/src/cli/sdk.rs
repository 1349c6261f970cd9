//! The Rust SDK and the templates, inside the binary, so that a project builds anywhere. Writes the
//! SDK into the user's cache; never anywhere else.

use include_dir::{Dir, include_dir};
use std::path::{Path, PathBuf};
use trackway_replay::Digest;

use crate::{Code, Error, Result};

static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../wit");
static SOURCE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/rust/src");
static MACROS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/rust/macros/src");
const MANIFEST: &str = include_str!("../../../guest-sdk/rust/Cargo.toml");
const MACROS_MANIFEST: &str = include_str!("../../../guest-sdk/rust/macros/Cargo.toml");

/// As in the repository, since the SDK finds the contract by its place.
const FOLDER: &str = "guest-sdk/rust";
/// Of the digest in the folder's name: another version of the SDK is another folder.
const DIGEST_CHARS: usize = 16;

/// Puts the SDK into `cache` where it is not there as it should be, and answers with its folder.
pub fn unpack(cache: &Path) -> Result<PathBuf> {
    let files = files();
    let parts: Vec<&[u8]> = files.iter().flat_map(|(path, bytes)| [path.as_bytes(), *bytes]).collect();
    let root = cache.join("sdk").join(format!("{:.*}", DIGEST_CHARS, Digest::of_parts(&parts)));
    for (path, bytes) in &files {
        // What is right is not written again: cargo would build it again for its new date.
        let path = root.join(path);
        if std::fs::read(&path).is_ok_and(|there| there == *bytes) {
            continue;
        }
        write(&path, bytes).map_err(|error| {
            let message = format!("cannot write the SDK to {}: {error}", path.display());
            Error::new(Code::File, message).hint("XDG_CACHE_HOME names another folder for caches")
        })?;
    }
    Ok(root.join(FOLDER))
}

/// Whole or not at all: another build may be reading it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Each file with its path, in one order.
fn files() -> Vec<(String, &'static [u8])> {
    let mut files = vec![
        (format!("{FOLDER}/Cargo.toml"), MANIFEST.as_bytes()),
        (format!("{FOLDER}/macros/Cargo.toml"), MACROS_MANIFEST.as_bytes()),
    ];
    collect(&WIT, "wit", &mut files);
    collect(&SOURCE, &format!("{FOLDER}/src"), &mut files);
    collect(&MACROS, &format!("{FOLDER}/macros/src"), &mut files);
    files.sort();
    files
}

fn collect(folder: &Dir<'static>, under: &str, files: &mut Vec<(String, &'static [u8])>) {
    for file in folder.files() {
        files.push((format!("{under}/{}", file.path().display()), file.contents()));
    }
    for inner in folder.dirs() {
        collect(inner, under, files);
    }
}

/// The user's folder for what can be made again.
pub fn cache_folder(env: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    folder.map(|folder| folder.join("trackway")).ok_or_else(|| {
        Error::new(Code::BadConfig, "there is no place for caches: neither XDG_CACHE_HOME nor HOME is set")
            .hint("set XDG_CACHE_HOME to a folder that you may write to")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_unpacked_once_and_mended_where_it_was_damaged() {
        let cache = tempfile::tempdir().expect("writable");
        let folder = unpack(cache.path()).expect("unpacked");
        let manifest = folder.join("Cargo.toml");
        assert!(folder.join("src/lib.rs").is_file() && folder.join("../../wit/worlds.wit").is_file());
        let untouched = std::fs::metadata(folder.join("src/lib.rs")).and_then(|file| file.modified()).expect("there");
        std::fs::write(&manifest, "damaged").expect("writable");
        assert_eq!(unpack(cache.path()).expect("again"), folder);
        assert_eq!(std::fs::read_to_string(&manifest).expect("mended"), MANIFEST);
        let after = std::fs::metadata(folder.join("src/lib.rs")).and_then(|file| file.modified()).expect("there");
        assert_eq!(after, untouched);
    }

    #[test]
    fn the_embedded_sdk_needs_nothing_beside_it_but_the_contract() {
        for manifest in [MANIFEST, MACROS_MANIFEST] {
            assert!(!manifest.contains("workspace = true"), "the SDK is built outside of the repository");
        }
    }

    #[test]
    fn caches_go_where_the_user_wants_them() {
        let env =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(cache_folder(env("XDG_CACHE_HOME", "/c")).expect("set"), PathBuf::from("/c/trackway"));
        assert_eq!(cache_folder(env("HOME", "/h")).expect("set"), PathBuf::from("/h/.cache/trackway"));
        assert_eq!(cache_folder(|_| None).expect_err("nothing set").code, Code::BadConfig);
    }
}
