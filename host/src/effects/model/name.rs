//! Names of models, as `provider/model`, and patterns of them. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{Code, Error, Result};

pub(super) const PROVIDER_MAX_BYTES: usize = 64;
/// Routers put the names of other providers in front, and variants behind.
const MODEL_MAX_BYTES: usize = 200;

/// Which model of which provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName {
    pub provider: Arc<str>,
    /// As the provider calls it.
    pub model: Arc<str>,
}

/// Models that a deployment may use: one by its name, or those of one provider that begin alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelGrant {
    provider: Arc<str>,
    model: Arc<str>,
    /// The pattern ends in a star.
    is_prefix: bool,
}

impl ModelName {
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<ModelName, String> {
        let (provider, model) = split(text)?;
        if !(1..=MODEL_MAX_BYTES).contains(&model.len()) || !model.bytes().all(is_of_a_model) {
            return Err(format!("must have 1 to {MODEL_MAX_BYTES} printable characters behind the provider"));
        }
        Ok(ModelName { provider: provider.into(), model: model.into() })
    }
}

impl ModelGrant {
    pub fn allows(&self, name: &ModelName) -> bool {
        self.provider == name.provider
            && if self.is_prefix { name.model.starts_with(&*self.model) } else { self.model == name.model }
    }

    /// Whether it opens all that the other one opens.
    pub fn covers(&self, other: &ModelGrant) -> bool {
        self.provider == other.provider
            && if self.is_prefix { other.model.starts_with(&*self.model) } else { self == other }
    }
}

pub(super) fn is_provider(name: &str) -> bool {
    (1..=PROVIDER_MAX_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}

fn split(text: &str) -> std::result::Result<(&str, &str), String> {
    match text.split_once('/') {
        Some((provider, model)) if is_provider(provider) => Ok((provider, model)),
        _ => Err("must be a provider and its model, as `openai/gpt-4o-mini`".to_owned()),
    }
}

/// A star would be read as a pattern where the name is written into a grant.
fn is_of_a_model(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'*'
}

impl FromStr for ModelGrant {
    type Err = Error;

    fn from_str(pattern: &str) -> Result<ModelGrant> {
        let wrong = |why: String| {
            Error::new(Code::BadGrant, format!("`{}` {why}", pattern.escape_default()))
                .hint("Write a model like `openai/gpt-4o-mini`, `openai/gpt-4o*` or `anthropic/*`.")
        };
        let (provider, model) = split(pattern).map_err(wrong)?;
        let (model, is_prefix) = match model.strip_suffix('*') {
            Some(model) => (model, true),
            None => (model, false),
        };
        let least = usize::from(!is_prefix);
        if !(least..=MODEL_MAX_BYTES).contains(&model.len()) || !model.bytes().all(is_of_a_model) {
            return Err(wrong("names no model; a `*` stands at the end only".to_owned()));
        }
        Ok(ModelGrant { provider: provider.into(), model: model.into(), is_prefix })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl fmt::Display for ModelGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.provider, self.model, if self.is_prefix { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, allowed: &[&str], denied: &[&str]) {
        let grant: ModelGrant = pattern.parse().expect("a pattern");
        assert_eq!(grant.to_string(), pattern, "read back as it was written");
        for (names, expected) in [(allowed, true), (denied, false)] {
            for name in names {
                let name = ModelName::parse(name).expect("a name");
                assert_eq!(grant.allows(&name), expected, "{pattern} {name}");
            }
        }
    }

    #[test]
    fn a_grant_opens_what_it_names_and_nothing_else() {
        check("openai/gpt-4o", &["openai/gpt-4o"], &["openai/gpt-4o-mini", "groq/gpt-4o"]);
        check("openai/gpt-4o*", &["openai/gpt-4o", "openai/gpt-4o-mini"], &["openai/gpt-4", "openai-2/gpt-4o"]);
        check("anthropic/*", &["anthropic/sonnet"], &["anthropic-eu/sonnet"]);
        check("openrouter/meta/*", &["openrouter/meta/llama:free"], &["openrouter/metal/x"]);
    }

    #[test]
    fn a_pattern_covers_what_opens_no_more() {
        let covers = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|pattern| pattern.parse::<ModelGrant>().expect("a pattern"));
            one.covers(&other)
        };
        for (one, other) in
            [("openai/gpt*", "openai/gpt-4o*"), ("openai/*", "openai/gpt"), ("a/b", "a/b"), ("a/b*", "a/b*")]
        {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in
            [("openai/gpt-4o*", "openai/gpt*"), ("openai/gpt", "openai/gpt*"), ("a/*", "b/*"), ("a/b", "a/bc")]
        {
            assert!(!covers(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in
            ["", "*", "*/*", "openai", "openai/", "/gpt", "openai/*gpt", "openai/g*t*", "OpenAI/gpt", "a b/c", "a/b c"]
        {
            let refused = pattern.parse::<ModelGrant>().expect_err(pattern);
            assert_eq!(refused.code, Code::BadGrant);
        }
        for name in ["openai", "openai/", "openai/*", "openai/a b", "openai/é", "/m"] {
            ModelName::parse(name).expect_err(name);
        }
    }
}
