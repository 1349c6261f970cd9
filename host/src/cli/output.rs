//! stdout and stderr: data to the one, talk to the other. Nothing else in `cli` prints.

use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use crate::{Code, Error};

use super::exit::{Exit, Stop};
use super::json;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One JSON document a line
    Jsonl,
    /// Only ids (of a build: the path), one a line
    Id,
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colour,
}

macro_rules! paints {
    ($($name:ident $sgr:literal)*) => {
        $(pub fn $name(self, text: &str) -> String {
            match self {
                Paint::Plain => text.to_owned(),
                Paint::Colour => format!(concat!("\x1b[", $sgr, "m{}\x1b[0m"), text),
            }
        })*
    };
}

impl Paint {
    paints! { bold "1" dim "2" red "31" green "32" yellow "33" cyan "36" }

    /// Colours only where they help: on a terminal that has them and whose owner wants them.
    pub fn choose(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> Paint {
        let unwanted = env("NO_COLOR").is_some_and(|value| !value.is_empty());
        let unable = env("TERM").is_some_and(|term| term == "dumb");
        if is_terminal && !unwanted && !unable { Paint::Colour } else { Paint::Plain }
    }
}

/// Where a command prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub format: Format,
    /// Of stdout.
    pub paint: Paint,
    /// Of stderr.
    pub talk_paint: Paint,
    /// Progress that moves is drawn only where somebody sees it.
    pub talk_is_terminal: bool,
    /// Columns for tables and trees; no wish to cut where nobody reads on a screen.
    pub width: Option<usize>,
}

impl Output {
    pub fn new(wanted: Option<Format>) -> Output {
        let env = |name: &str| std::env::var(name).ok();
        let (stdout, stderr) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Output {
            format: wanted.unwrap_or(if stdout { Format::Text } else { Format::Json }),
            paint: Paint::choose(stdout, env),
            talk_paint: Paint::choose(stderr, env),
            talk_is_terminal: stderr,
            width: stdout.then(terminal_columns).flatten(),
        }
    }

    /// One thing: as text, as JSON or as its id.
    pub fn one<T: Serialize>(&self, thing: &T, id: &str, text: impl FnOnce() -> String) -> Result<(), Stop> {
        match self.format {
            Format::Text => self.raw(&text()),
            Format::Json => self.line(&json::pretty(&written(thing)?)),
            Format::Jsonl => self.line(&json::compact(&written(thing)?)),
            Format::Id => self.line(id),
        }
    }

    /// Several things of one kind. JSON is an array, so that a reader needs no case for one or none.
    pub fn many<T: Serialize>(
        &self,
        things: &[T],
        id: impl Fn(&T) -> String,
        text: impl FnOnce() -> String,
    ) -> Result<(), Stop> {
        match self.format {
            Format::Text => self.raw(&text()),
            Format::Json => self.line(&json::pretty(&written(&things)?)),
            Format::Jsonl => things.iter().try_for_each(|thing| self.line(&json::compact(&written(thing)?))),
            Format::Id => things.iter().try_for_each(|thing| self.line(&clean(&id(thing)))),
        }
    }

    /// One document on a line of its own, for streams.
    pub fn jsonl<T: Serialize>(&self, thing: &T) -> Result<(), Stop> {
        self.line(&json::compact(&written(thing)?))
    }

    pub fn line(&self, text: &str) -> Result<(), Stop> {
        self.raw(&format!("{text}\n"))
    }

    /// Data as it is. A reader that has gone away wanted no more: that is no error.
    pub fn raw(&self, text: &str) -> Result<(), Stop> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::Quietly(Exit::Ok)),
            Err(error) => Err(Error::new(Code::File, format!("cannot write to standard output: {error}")).into()),
        }
    }

    /// Talk, one line. Where stderr is gone there is nobody to tell.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Talk that is laid out already.
    pub fn say_raw(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// A narrower terminal is not worth cutting for: what would be left says nothing.
const COLUMNS_MIN: usize = 40;

fn terminal_columns() -> Option<usize> {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let measured = || terminal_size::terminal_size().map(|(columns, _)| usize::from(columns.0));
    said.or_else(measured).filter(|columns| *columns >= COLUMNS_MIN)
}

fn written<T: Serialize>(thing: &T) -> Result<String, Error> {
    serde_json::to_string(thing).map_err(|error| Error::new(Code::Internal, format!("cannot print: {error}")))
}

/// Text from a guest, a server or a file as one line without power over the terminal: control
/// characters are shown, not sent.
pub fn clean(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push(' '),
            // Bidirectional overrides let a line read differently from what it is.
            control if control.is_control() || matches!(control, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(control));
            }
            other => safe.push(other),
        }
    }
    safe
}

/// As [`clean`], for text of several lines.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// `text` in at most `columns` characters, with `…` where something is left out.
pub fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_appear_only_on_a_terminal_whose_owner_wants_them() {
        let env =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(Paint::choose(true, |_| None), Paint::Colour);
        assert_eq!(Paint::choose(false, |_| None), Paint::Plain);
        assert_eq!(Paint::choose(true, env("NO_COLOR", "1")), Paint::Plain);
        assert_eq!(Paint::choose(true, env("NO_COLOR", "")), Paint::Colour);
        assert_eq!(Paint::choose(true, env("TERM", "dumb")), Paint::Plain);
    }

    #[test]
    fn control_characters_are_shown_and_not_sent() {
        assert_eq!(clean("a\u{1b}[31mb\u{7f}\u{202e}c\nd"), "a\\u{1b}[31mb\\u{7f}\\u{202e}c\\nd");
        assert_eq!(clean_lines("a\r\nb\u{9b}"), "a\nb\\u{9b}");
    }

    #[test]
    fn text_is_cut_by_characters_and_says_so() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grüner", 4), "grü…");
    }
}
