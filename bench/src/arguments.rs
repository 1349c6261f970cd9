//! `--name value` pairs of the command line. It knows no names.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut pairs = BTreeMap::new();
        let mut words = words;
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else { bail!("`{word}` is no option") };
            let value = words.next().with_context(|| format!("--{name} needs a value"))?;
            pairs.insert(name.to_owned(), value);
        }
        Ok(Arguments(pairs))
    }

    pub fn text(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| format!("--{name} is missing"))
    }

    pub fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T> {
        self.text(name)?.parse().map_err(|error| anyhow::anyhow!("--{name}: {error}"))
    }

    pub fn get_or<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T> {
        if self.0.contains_key(name) { self.get(name) } else { Ok(default) }
    }

    /// Words with commas between them.
    pub fn list(&self, name: &str) -> Result<Vec<&str>> {
        Ok(self.text(name)?.split(',').filter(|word| !word.is_empty()).collect())
    }
}
