//! The project's file and the user's, as an editor or a stranger may leave them.

use std::fs;
use trackway::cli::config::Config;

use super::mutate;
use super::target::{Target, gist};
use crate::simulate::dice::Dice;

const WORDS: [&str; 24] = [
    "name",
    "server",
    "listen",
    "data",
    "allow_hosts",
    "key",
    " = ",
    "\"",
    "'''",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "\n",
    "#",
    "\\u0000",
    "\\UFFFFFFFF",
    "0x",
    "1979-05-27",
    "http://[::1",
    "inf",
    ".",
];

const SEEDS: [&str; 4] = [
    "",
    "name = \"hello\"\nserver = \"http://127.0.0.1:8750\"\nlisten = \"127.0.0.1:0\"\ndata = \"../data\"\n",
    "name = 'hello'\nallow_hosts = [\"https://api.example.com\", \"*.example.com\"]\n",
    "server = \"localhost:1\"\nkey = \"tw_x\"\n",
];

pub struct Configs {
    folder: tempfile::TempDir,
}

impl Configs {
    pub fn new() -> Configs {
        let folder = tempfile::Builder::new().prefix("trackway-fuzz-").tempdir().expect("a temporary folder");
        for inner in ["project", "user/trackway"] {
            fs::create_dir_all(folder.path().join(inner)).expect("a fresh folder");
        }
        Configs { folder }
    }
}

impl Target for Configs {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        mutate::bytes(dice, input, other, &WORDS);
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let (project, user) = (self.folder.path().join("project"), self.folder.path().join("user"));
        let answer = |config: trackway::Result<Config>| match config {
            Ok(config) => {
                let connection = config.connection(None, None);
                config.listen(None);
                config.data(None);
                connection.map_or_else(|error| last_words(&error), |_| "connects".to_owned())
            }
            Err(error) => last_words(&error),
        };
        fs::write(project.join("trackway.toml"), input).expect("a writable folder");
        let of_project = answer(Config::read(&project, |_| None));
        fs::write(user.join("trackway/config.toml"), input).expect("a writable folder");
        // Files that are written over are synced by some file systems.
        fs::remove_file(project.join("trackway.toml")).expect("it was written");
        let home = user.display().to_string();
        let of_user = answer(Config::read(&project, |name| (name == "XDG_CONFIG_HOME").then(|| home.clone())));
        fs::remove_file(user.join("trackway/config.toml")).expect("it was written");
        // What is typed is read by the same words.
        let typed = String::from_utf8_lossy(input).into_owned();
        let connection = Config::read(&user, |_| None).and_then(|config| config.connection(Some(typed), None));
        let connection = connection.map_or_else(|error| last_words(&error), |_| "typed".to_owned());
        format!("{of_project} {of_user} {connection}")
    }

    fn rare(&self) -> &'static str {
        "invalid"
    }
}

/// What is wrong stands at the end; before it, where.
fn last_words(error: &trackway::Error) -> String {
    const WORDS_CHARS_MAX: usize = 40;
    let text = error.to_string();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let words = line.rsplit_once("of a server: ").map_or(line, |(_, words)| words);
    gist(words).chars().take(WORDS_CHARS_MAX).collect()
}
