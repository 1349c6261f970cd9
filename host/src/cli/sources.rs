//! The files that go into a build, and whether they changed. What editors leave beside them does not
//! count. Only looks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A tree with more is no project of one crate; what is over the limit is not watched.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 20;

/// Where the code is, and the texts that it is built with.
pub const FOLDERS: [&str; 2] = ["src", "prompts"];

/// Each file as it was: its size, and when it was written.
pub type Sources = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

pub fn of(folder: &Path) -> Sources {
    let mut found = Sources::new();
    collect(folder, folder, 0, &mut found);
    found
}

/// A file that is new, gone or another one.
pub fn first_change<'a>(before: &'a Sources, after: &'a Sources) -> Option<&'a PathBuf> {
    let changed = after.iter().find(|(path, file)| before.get(*path) != Some(file));
    let gone = || before.iter().find(|(path, _)| !after.contains_key(*path));
    changed.or_else(gone).map(|(path, _)| path)
}

fn collect(project: &Path, folder: &Path, depth: usize, found: &mut Sources) {
    // What cannot be read is not there for cargo either, which says so.
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            let is_inside = folder != project || FOLDERS.iter().any(|inside| path == project.join(inside));
            if is_inside && depth < DEPTH_MAX {
                collect(project, &path, depth + 1, found);
            }
        } else if is_source(project, &path) && found.len() < FILES_MAX {
            found.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }
}

/// What goes into a build: below one of the folders, or one of the files beside them.
pub fn is_source(folder: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(folder) else { return false };
    let is_beside = ["Cargo.toml", "build.rs"].iter().any(|name| inside == Path::new(name));
    let name = inside.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    !is_left_by_an_editor(&name) && (FOLDERS.iter().any(|folder| inside.starts_with(folder)) || is_beside)
}

/// Swap and backup files, and what is written first to be renamed: names of Vim, Emacs, JetBrains,
/// sed and others.
fn is_left_by_an_editor(name: &str) -> bool {
    let is_vims_probe = name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_digit());
    let is_seds = name.strip_prefix("sed").is_some_and(|rest| rest.len() == 6 && !rest.contains('.'));
    name.is_empty()
        || name.starts_with(['.', '#'])
        || name.ends_with('~')
        || [".swp", ".swx", ".swo", ".tmp", ".bak", ".orig", ".rej"].iter().any(|ending| name.ends_with(ending))
        || name.contains("___jb_")
        || is_vims_probe
        || is_seds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_goes_into_a_build_starts_one() {
        let folder = Path::new("/p");
        for path in
            ["src/lib.rs", "src/deep/a.rs", "src/text.txt", "src/sedan.rs", "prompts/a.md", "Cargo.toml", "build.rs"]
        {
            assert!(is_source(folder, &folder.join(path)), "{path}");
        }
        for path in ["target/x", ".trackway/data/db", "Cargo.lock", "../q/src/lib.rs"] {
            assert!(!is_source(folder, &folder.join(path)), "{path}");
        }
    }

    #[test]
    fn what_editors_leave_starts_no_build() {
        for name in [
            ".lib.rs.swp",
            "lib.rs~",
            "4913",
            "#lib.rs#",
            ".#lib.rs",
            "lib.rs.tmp",
            "lib.rs.bak",
            "lib.rs___jb_tmp___",
            "lib.rs___jb_old___",
            "sedA1b2C3",
            ".goutputstream-X1Y2Z3",
        ] {
            assert!(!is_source(Path::new("/p"), &Path::new("/p/src").join(name)), "{name}");
        }
    }

    #[test]
    fn a_change_is_a_file_that_is_new_gone_or_another() {
        let folder = tempfile::tempdir().expect("writable");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).expect("writable");
        fs::create_dir_all(path("src/deep")).and_then(|()| fs::create_dir(path("target"))).expect("writable");
        write("src/lib.rs", "one");
        let first = of(folder.path());
        write("target/out", "");
        write("src/passing.rs", "");
        fs::remove_file(path("src/passing.rs")).expect("just made");
        assert_eq!(first_change(&first, &of(folder.path())), None);
        write("src/deep/more.rs", "");
        let second = of(folder.path());
        assert_eq!(first_change(&first, &second), Some(&path("src/deep/more.rs")));
        write("src/lib.rs", "three");
        let third = of(folder.path());
        assert_eq!(first_change(&second, &third), Some(&path("src/lib.rs")));
        fs::remove_file(path("src/deep/more.rs")).expect("there");
        assert_eq!(first_change(&third, &of(folder.path())), Some(&path("src/deep/more.rs")));
    }
}
