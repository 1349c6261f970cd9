//! The providers that the operator set up: those that come with the program, as far as they are not said otherwise,
//! and the operator's own. Keys are read from the environment once, and kept where nothing prints them.

use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

use super::name::is_provider;
use super::prices::{self, Price, Prices};
use crate::{Code, Error, Result};

/// A list that a person can still review.
const PROVIDERS_MAX: usize = 100;

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    #[serde(rename = "openai-chat")]
    OpenAiChat,
    #[serde(rename = "openai-responses")]
    OpenAiResponses,
    #[serde(rename = "anthropic")]
    Anthropic,
}

/// Where providers of one protocol differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    #[default]
    Plain,
    OpenAi,
    Mistral,
    OpenRouter,
}

/// One of those that come with the program.
pub struct BuiltIn {
    pub name: &'static str,
    pub url: &'static str,
    pub protocol: Protocol,
    /// The variable that holds the key; those that run on the operator's own machine need none.
    pub key_env: Option<&'static str>,
}

/// Names, addresses and variables as their makers document them.
pub const BUILT_IN: [BuiltIn; 13] = [
    built_in("openai", "https://api.openai.com/v1", Some("OPENAI_API_KEY")),
    BuiltIn {
        name: "anthropic",
        url: "https://api.anthropic.com/v1",
        protocol: Protocol::Anthropic,
        key_env: Some("ANTHROPIC_API_KEY"),
    },
    built_in("groq", "https://api.groq.com/openai/v1", Some("GROQ_API_KEY")),
    built_in("mistral", "https://api.mistral.ai/v1", Some("MISTRAL_API_KEY")),
    built_in("openrouter", "https://openrouter.ai/api/v1", Some("OPENROUTER_API_KEY")),
    built_in("deepseek", "https://api.deepseek.com/v1", Some("DEEPSEEK_API_KEY")),
    built_in("together", "https://api.together.xyz/v1", Some("TOGETHER_API_KEY")),
    built_in("fireworks", "https://api.fireworks.ai/inference/v1", Some("FIREWORKS_API_KEY")),
    built_in("xai", "https://api.x.ai/v1", Some("XAI_API_KEY")),
    built_in("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", Some("GEMINI_API_KEY")),
    built_in("ollama", "http://127.0.0.1:11434/v1", None),
    built_in("llamacpp", "http://127.0.0.1:8080/v1", None),
    built_in("vllm", "http://127.0.0.1:8000/v1", None),
];

const fn built_in(name: &'static str, url: &'static str, key_env: Option<&'static str>) -> BuiltIn {
    BuiltIn { name, url, protocol: Protocol::OpenAiChat, key_env }
}

/// What an operator says of one: a table `[providers.NAME]`. Of one that comes with the program the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSetting {
    pub protocol: Option<Protocol>,
    pub url: Option<String>,
    /// The variable of the environment that holds the key.
    pub key_env: Option<String>,
    /// The header in which the key goes as it is, instead of how its protocol says.
    pub key_header: Option<String>,
    #[serde(default)]
    pub prices: BTreeMap<String, Price>,
}

/// All of them, by name.
#[derive(Debug, Clone, Default)]
pub struct Providers(BTreeMap<String, Provider>);

#[derive(Debug, Clone)]
pub(super) struct Provider {
    pub name: String,
    pub protocol: Protocol,
    pub dialect: Dialect,
    /// Behind which the path of the protocol goes.
    url: Url,
    pub reach: Reach,
    pub key: KeyState,
    pub key_header: Option<String>,
    prices: Prices,
}

/// Which addresses its name may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Its URL came with the program.
    Public,
    /// The operator said where it is.
    Anywhere,
}

#[derive(Debug, Clone)]
pub(super) enum KeyState {
    NotNeeded,
    Missing { variable: String },
    There(Key),
}

/// A secret: it prints as nothing.
#[derive(Clone)]
pub(super) struct Key(String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Providers {
    /// From what the operator says, and the environment of this process.
    ///
    /// # Errors
    /// `BadConfig`, naming the provider and the field.
    pub fn new(
        settings: &BTreeMap<String, ProviderSetting>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Providers> {
        let mut known = prices::known()?;
        let mut providers = BTreeMap::new();
        for built_in in &BUILT_IN {
            let setting = settings.get(built_in.name).cloned().unwrap_or_default();
            let prices = known.remove(built_in.name).unwrap_or_default();
            let provider = Provider::new(built_in.name, setting, Some(built_in), prices, &env)?;
            providers.insert(built_in.name.to_owned(), provider);
        }
        for (name, setting) in settings {
            if !providers.contains_key(name) {
                let provider = Provider::new(name, setting.clone(), None, Prices::new(), &env)?;
                providers.insert(name.clone(), provider);
            }
        }
        if providers.len() > PROVIDERS_MAX {
            let message = format!("{} providers; at most {PROVIDERS_MAX} can be set up", providers.len());
            return Err(Error::new(Code::BadConfig, message));
        }
        Ok(Providers(providers))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Provider> {
        self.0.get(name)
    }

    /// Those that the operator has a key for.
    pub fn with_keys(&self) -> impl Iterator<Item = &str> {
        let has_key = |provider: &&Provider| matches!(provider.key, KeyState::There(_));
        self.0.values().filter(has_key).map(|provider| provider.name.as_str())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Provider {
    fn new(
        name: &str,
        setting: ProviderSetting,
        built_in: Option<&BuiltIn>,
        mut prices: Prices,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Provider> {
        let wrong = |what: &str| {
            let hint = format!("[providers.{name}]\nprotocol = \"openai-chat\"\nurl = \"https://api.example.com/v1\"");
            Error::new(Code::BadConfig, format!("`providers.{}` {what}", name.escape_default())).hint(hint)
        };
        if !is_provider(name) {
            return Err(wrong("has a name that is not 1 to 64 of a-z 0-9 _ - ."));
        }
        let protocol = setting.protocol.or(built_in.map(|built_in| built_in.protocol));
        let protocol = protocol.ok_or_else(|| wrong("has no `protocol`"))?;
        let reach = if setting.url.is_some() { Reach::Anywhere } else { Reach::Public };
        let url = setting.url.as_deref().or(built_in.map(|built_in| built_in.url));
        let url = url.ok_or_else(|| wrong("has no `url`"))?;
        let url = base(url).map_err(|why| wrong(&format!("has a `url` that {why}")))?;
        let variable = setting.key_env.or(built_in.and_then(|built_in| built_in.key_env.map(str::to_owned)));
        let key = match variable {
            None => KeyState::NotNeeded,
            Some(variable) => match env(&variable).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()) {
                None => KeyState::Missing { variable },
                // Only now, so that nobody learns of it from a failure of a call.
                Some(key) if HeaderValue::from_str(&key).is_err() => {
                    return Err(wrong(&format!("has a key in `{variable}` that cannot stand in a header")));
                }
                Some(key) => KeyState::There(Key(key)),
            },
        };
        if let Some(header) = &setting.key_header {
            reqwest::header::HeaderName::from_bytes(header.as_bytes())
                .map_err(|_| wrong("has a `key_header` that is no name of a header"))?;
        }
        prices.extend(setting.prices);
        let dialect = dialect(&url);
        let (name, key_header) = (name.to_owned(), setting.key_header);
        Ok(Provider { name, protocol, dialect, url, reach, key, key_header, prices })
    }

    /// Where requests go.
    pub fn address(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    pub fn price(&self, answered: &str, asked: &str) -> Option<&Price> {
        prices::price_of(&self.prices, answered, asked)
    }
}

fn base(text: &str) -> std::result::Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("is not an absolute URL: {error}"))?;
    crate::effects::request::check_url(url)
}

fn dialect(url: &Url) -> Dialect {
    let host = url.host_str().unwrap_or_default();
    let is_of = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    match () {
        () if is_of("openai.com") || is_of("azure.com") => Dialect::OpenAi,
        () if is_of("mistral.ai") => Dialect::Mistral,
        () if is_of("openrouter.ai") => Dialect::OpenRouter,
        () => Dialect::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers(toml: &str) -> Result<Providers> {
        let settings: BTreeMap<String, ProviderSetting> = toml::from_str(toml).expect("it is TOML");
        Providers::new(&settings, |name| (name == "OPENAI_API_KEY").then(|| " sk-secret\n".to_owned()))
    }

    #[test]
    fn what_comes_with_the_program_is_there_and_can_be_changed_in_part() {
        let plain = providers("").expect("nothing is wrong");
        assert_eq!(plain.names().count(), BUILT_IN.len());
        let openai = plain.get("openai").expect("it comes along");
        assert_eq!(openai.address("chat/completions").as_str(), "https://api.openai.com/v1/chat/completions");
        assert_eq!((openai.dialect, openai.reach), (Dialect::OpenAi, Reach::Public));
        assert!(matches!(&openai.key, KeyState::There(key) if key.expose() == "sk-secret"));
        let missing = &plain.get("groq").expect("it comes along").key;
        assert!(matches!(missing, KeyState::Missing { variable } if variable == "GROQ_API_KEY"), "{missing:?}");
        let toml = "[openai]\nprotocol = \"openai-responses\"\n[openai.prices]\n\"gpt-4o\" = { input = 9, output = 9 }\n\
            [mine]\nprotocol = \"anthropic\"\nurl = \"http://10.0.0.7:8080/api/?v=1\"\nkey_header = \"api-key\"";
        let changed = providers(toml).expect("nothing is wrong");
        let openai = changed.get("openai").expect("it is still there");
        assert_eq!((openai.protocol, openai.reach), (Protocol::OpenAiResponses, Reach::Public));
        assert!(openai.price("gpt-4o", "gpt-4o") != plain.0["openai"].price("gpt-4o", "gpt-4o"));
        assert_eq!(openai.price("gpt-5", "gpt-5"), plain.0["openai"].price("gpt-5", "gpt-5"), "the others stay");
        let mine = changed.get("mine").expect("it was set up");
        assert_eq!(mine.address("messages").as_str(), "http://10.0.0.7:8080/api/messages?v=1");
        assert_eq!(mine.reach, Reach::Anywhere);
        assert!(mine.price("m", "m").is_none());
    }

    #[test]
    fn a_key_is_never_printed() {
        let shown = format!("{:?}", providers("").expect("nothing is wrong"));
        assert!(shown.contains("Key(..)") && !shown.contains("sk-secret"), "{shown}");
    }

    #[test]
    fn what_is_wrong_names_the_provider() {
        for (toml, named) in [
            ("[mine]\nurl = \"http://a\"", "has no `protocol`"),
            ("[mine]\nprotocol = \"openai-chat\"", "has no `url`"),
            ("[mine]\nprotocol = \"openai-chat\"\nurl = \"ftp://a\"", "has a `url` that has the scheme"),
            ("[mine]\nprotocol = \"openai-chat\"\nurl = \"http://u:p@a\"", "user name or password"),
            ("[MINE]\nprotocol = \"openai-chat\"\nurl = \"http://a\"", "has a name that is not"),
            ("[openai]\nkey_header = \"a b\"", "is no name of a header"),
        ] {
            let error = providers(toml).expect_err(toml);
            assert_eq!(error.code, Code::BadConfig);
            assert!(error.to_string().contains(named), "{toml}: {error}");
        }
    }
}
