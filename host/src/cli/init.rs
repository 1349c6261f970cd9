//! `trackway init`: a new project from a template. It never writes over a file.

use serde::Serialize;
use std::path::{Path, PathBuf};

use crate::{Code, Error, Result};

use super::args::{self, Template};
use super::config::PROJECT_FILE;
use super::exit::{Done, Exit};
use super::{Context, cargo_config, sdk};

const NAME_MAX_CHARS: usize = 64;

#[derive(Serialize)]
struct Made {
    folder: PathBuf,
    name: String,
    template: &'static str,
    workflow: &'static str,
}

/// What a template is made of: the example of the same name.
struct Source {
    name: &'static str,
    workflow: &'static str,
    /// What to type to see it work.
    try_it: &'static str,
    files: &'static [(&'static str, &'static str)],
}

impl Source {
    /// Cargo takes no two packages of one name, and the template's lock file names those that it needs.
    fn check_name(&self, name: &str) -> Result<()> {
        let line = format!("name = \"{name}\"");
        let is_needed = |(path, text): &(&str, &str)| *path == "Cargo.lock" && text.lines().any(|found| found == line);
        if name == self.name || !self.files.iter().any(is_needed) {
            return Ok(());
        }
        let message = format!("`{name}` is the name of a package that the project needs");
        Err(Error::new(Code::Usage, message).hint("choose another name"))
    }
}

macro_rules! files {
    ($example:literal: $($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../examples/", $example, "/", $path)))),*]
    };
}

const HELLO: Source = Source {
    name: "hello",
    workflow: "hello",
    try_it: "trackway run hello -i '\"Ada\"'",
    files: files!("hello": ".gitignore" "Cargo.toml" "Cargo.lock" "README.md" "src/lib.rs"),
};

const HEADLINES: Source = Source {
    name: "headlines",
    workflow: "headlines",
    try_it: "trackway run headlines -i '{\"urls\": [\"https://example.com\"]}' --follow",
    files: files!(
        "headlines": ".gitignore" "Cargo.toml" "Cargo.lock" "README.md" "src/lib.rs" "src/tests.rs" "src/page.rs"
        "src/page/tests.rs"
    ),
};

const RESEARCH: Source = Source {
    name: "research",
    workflow: "research",
    try_it: "trackway run research -i '{\"url\": \"https://example.com/\", \"question\": \"What is this for?\"}' --follow",
    files: files!(
        "research": ".gitignore" "Cargo.toml" "Cargo.lock" "README.md" "src/lib.rs" "src/tests.rs" "src/page.rs"
        "prompts/summarize.md"
    ),
};

pub fn init(args: &args::Init, context: &Context) -> Done {
    let source = match args.template {
        Template::Hello => HELLO,
        Template::Headlines => HEADLINES,
        Template::Research => RESEARCH,
    };
    let folder = match &args.name {
        Some(name) => context.folder.join(name),
        None => context.folder.clone(),
    };
    let name = project_name(&folder)?;
    source.check_name(&name)?;
    make(&folder, &files(&source, &name))?;
    let output = &context.output;
    if let Err(error) = lead_to_sdk(&folder) {
        // `trackway build` does not need it.
        output.say(&format!("editors will not find the SDK: {}", error.message));
    }
    // As it was typed, for `cd`; for programs without `..` in it.
    let shown = args.name.clone().unwrap_or_else(|| ".".to_owned());
    let folder = folder.canonicalize().unwrap_or(folder);
    let made = Made { folder, name, template: source.name, workflow: source.workflow };
    output.one(&made, &shown, || format!("made the project {} in {shown}\n", made.name))?;
    let enter = if shown == "." { String::new() } else { format!("  cd {shown}\n") };
    output.say(&format!("\nnext:\n{enter}  trackway dev                  # builds, serves and watches it\n  {}    # in another terminal", source.try_it));
    Ok(Exit::Ok)
}

/// Lets cargo find the SDK by itself, for editors and `cargo test`.
fn lead_to_sdk(folder: &Path) -> Result<()> {
    let sdk = sdk::unpack(&sdk::cache_folder(|name| std::env::var(name).ok())?)?;
    cargo_config::make(folder, &sdk)
        .map_err(|error| Error::new(Code::File, format!("cannot write .cargo/config.toml: {error}")))
}

/// The name of a folder, if it can be the name of a package and of a deployment too.
fn project_name(folder: &Path) -> Result<String> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts_well && name.len() <= NAME_MAX_CHARS && name.chars().all(fits) {
        return Ok(name);
    }
    let message = format!("`{name}` cannot be the name of a project: a letter, then letters, digits, - and _");
    Err(Error::new(Code::Usage, message).hint("trackway init NAME    # makes a folder of that name"))
}

fn files(source: &Source, name: &str) -> Vec<(&'static str, String)> {
    let mut files = vec![(PROJECT_FILE, project_file(name))];
    for (path, text) in source.files {
        let text = match *path {
            "Cargo.toml" | "Cargo.lock" => {
                text.replacen(&format!("name = \"{}\"", source.name), &format!("name = \"{name}\""), 1)
            }
            _ => (*text).to_owned(),
        };
        files.push((path, text));
    }
    files
}

fn project_file(name: &str) -> String {
    format!(
        "# Settings of this project; every field may be left out. Keys do not belong here: set TRACKWAY_KEY.\n\n\
         # Name of the deployment.\nname = \"{name}\"\n\n\
         # What `trackway deploy` lets the functions reach, beside --allow-host.\n\
         # allow_hosts = [\"example.com\", \"*.example.org\"]\n\
         # allow_models = [\"openai/gpt-4o-mini\", \"anthropic/*\"]\n\
         # allow_secrets = [\"API_KEY=example.com\"]\n\
         # mcp.library.url = \"https://mcp.example.com/mcp\"\n\n\
         # Where `trackway deploy` and `trackway run` go when no `trackway dev` is meant.\n\
         # server = \"https://trackway.example.com\"\n"
    )
}

/// Looks at all files before it writes one.
fn make(folder: &Path, files: &[(&'static str, String)]) -> Result<()> {
    if let Some((path, _)) = files.iter().find(|(path, _)| folder.join(path).exists()) {
        let message = format!("{} is there already; nothing was written", folder.join(path).display());
        return Err(Error::new(Code::File, message).hint("choose another name, or an empty folder"));
    }
    for (path, text) in files {
        let path = folder.join(path);
        let written =
            std::fs::create_dir_all(path.parent().unwrap_or(folder)).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| Error::new(Code::File, format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_a_project_with_its_own_name() {
        let folder = tempfile::tempdir().expect("writable");
        let folder = folder.path().join("my-news");
        make(&folder, &files(&HEADLINES, "my-news")).expect("an empty folder");
        for path in ["Cargo.toml", "Cargo.lock"] {
            let text = std::fs::read_to_string(folder.join(path)).expect("written");
            assert!(text.contains("name = \"my-news\"") && !text.contains("name = \"headlines\""), "{path}");
        }
        let config = std::fs::read_to_string(folder.join(PROJECT_FILE)).expect("written");
        toml::from_str::<super::super::config::ProjectFile>(&config).expect("a project file that is read");
        assert!(folder.join("src/lib.rs").is_file() && folder.join(".gitignore").is_file());
    }

    #[test]
    fn a_project_cannot_have_the_name_of_what_it_needs() {
        for source in [HELLO, HEADLINES, RESEARCH] {
            for name in ["trackway-sdk", "serde", "serde_json"] {
                let error = source.check_name(name).expect_err("cargo would refuse it");
                assert_eq!(error.code, Code::Usage);
            }
            source.check_name(source.name).expect("its own name");
            source.check_name("mine").expect("any other name");
        }
    }

    #[test]
    fn nothing_is_written_where_a_file_would_be_lost() {
        let folder = tempfile::tempdir().expect("writable");
        std::fs::write(folder.path().join("Cargo.toml"), "mine").expect("writable");
        let error = make(folder.path(), &files(&HELLO, "x")).expect_err("a file is there");
        assert_eq!(error.code, Code::File);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    #[test]
    fn names_that_cargo_would_refuse_are_refused_here() {
        for name in ["7up", "a b", "-x", "ü", "", "a.b"] {
            assert!(project_name(&Path::new("/tmp").join(name)).is_err() || name.is_empty(), "{name}");
        }
        assert_eq!(project_name(Path::new("/tmp/my-news_2")).expect("fine"), "my-news_2");
    }
}
