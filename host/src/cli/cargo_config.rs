//! `.cargo/config.toml` of a project, which tells cargo itself, and through it editors, where the SDK
//! is on this machine. It never touches such a file that somebody else wrote.

use std::io;
use std::path::Path;

/// Whoever removes the first line keeps the file.
const HEAD: &str = "# Written by trackway for this machine: editors and plain cargo find the SDK by it. Not for git.\n";

/// For a project that was just made.
pub fn make(project: &Path, sdk: &Path) -> io::Result<()> {
    let path = path(project);
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().unwrap_or(project))?;
    std::fs::write(&path, text(sdk))
}

/// Names this SDK where an older one was named.
pub fn refresh(project: &Path, sdk: &Path) -> io::Result<()> {
    let path = path(project);
    match std::fs::read_to_string(&path) {
        Ok(found) if found.starts_with(HEAD) && found != text(sdk) => std::fs::write(&path, text(sdk)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn path(project: &Path) -> std::path::PathBuf {
    project.join(".cargo").join("config.toml")
}

fn text(sdk: &Path) -> String {
    let sdk = toml::Value::String(sdk.to_string_lossy().into_owned());
    format!("{HEAD}[patch.crates-io]\ntrackway-sdk = {{ path = {sdk} }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ours_follows_the_sdk_and_one_of_the_users_stays() {
        let project = tempfile::tempdir().expect("writable");
        let read = || std::fs::read_to_string(path(project.path())).expect("there");
        refresh(project.path(), Path::new("/one")).expect("nothing to do");
        assert!(!path(project.path()).exists());
        make(project.path(), Path::new("/a \"b\"")).expect("writable");
        let config: toml::Table = toml::from_str(&read()).expect("TOML");
        assert_eq!(config["patch"]["crates-io"]["trackway-sdk"]["path"].as_str(), Some("/a \"b\""));
        refresh(project.path(), Path::new("/two")).expect("writable");
        assert_eq!(read(), text(Path::new("/two")));
        std::fs::write(path(project.path()), "[build]\n").expect("writable");
        refresh(project.path(), Path::new("/three")).expect("nothing to do");
        make(project.path(), Path::new("/three")).expect("nothing to do");
        assert_eq!(read(), "[build]\n");
    }
}
