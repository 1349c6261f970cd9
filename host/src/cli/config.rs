//! What a command is told from outside: flags, over the environment, over the project file, over
//! the user's file, over defaults. Reads files; writes none.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::api::model::NumberOrText;
use crate::api::{JwtSetting, Mask, Tokens};
use crate::effects::{ProviderSetting, Providers};
use crate::quota::Quotas;
use crate::{Code, Error, Result};

use super::args::QuotaIs;

/// Where a server listens, and where it is looked for. Loopback: the network is a decision.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8750";
pub const PROJECT_FILE: &str = "trackway.toml";
/// What `dev` keeps beside the project file.
pub const STATE_FOLDER: &str = ".trackway";

/// In a TOML file: each can take a kilobyte of the stack, of which a thread has two thousand.
const BRACKETS_MAX: usize = 1_000;

/// `trackway.toml`. It is shared with others, so it holds no keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectFile {
    /// Name of the deployment; the package's name if left out.
    pub name: Option<String>,
    pub server: Option<String>,
    pub listen: Option<String>,
    pub data: Option<PathBuf>,
    /// Granted by `deploy`, beside its flags.
    #[serde(default)]
    pub allow_hosts: Vec<String>,
    /// Likewise.
    #[serde(default)]
    pub allow_models: Vec<String>,
    /// Likewise: names and hosts, no values.
    #[serde(default)]
    pub allow_secrets: Vec<String>,
    /// Likewise: MCP servers, by their names.
    #[serde(default)]
    pub mcp: BTreeMap<String, McpSetting>,
    /// Providers of models, for a server that is started here.
    #[serde(default)]
    pub providers: Settings,
    /// What nobody gets to see of a server that is started here.
    #[serde(default)]
    pub redact: Redact,
    /// What each tenant of a server that is started here may use, by the names of quotas.
    #[serde(default)]
    pub quotas: BTreeMap<String, NumberOrText>,
}

/// The user's own file, `trackway/config.toml` under the folder for configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserFile {
    pub server: Option<String>,
    /// Sent to this file's `server` only, or to the default one.
    pub key: Option<String>,
    pub listen: Option<String>,
    pub data: Option<PathBuf>,
    #[serde(default)]
    pub providers: Settings,
    /// What nobody gets to see of a server that is started here.
    #[serde(default)]
    pub redact: Redact,
}

/// A file that names providers only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvidersFile {
    #[serde(default)]
    providers: Settings,
}

/// A file that names only what nobody gets to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactFile {
    #[serde(default)]
    redact: Redact,
}

/// `[mcp.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpSetting {
    pub url: String,
}

/// A file that names only who is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthFile {
    #[serde(default)]
    auth: Auth,
}

/// `[auth]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    jwt: Option<JwtSetting>,
}

/// The identity provider whose tokens are let in, as the file says. A relative path in it counts from the file.
pub fn tokens(file: Option<&Path>) -> Result<Option<Tokens>> {
    let Some(path) = file else { return Ok(None) };
    let missing = || Error::new(Code::File, format!("there is no {}", path.display()));
    let Some(setting) = read_toml::<AuthFile>(path)?.ok_or_else(missing)?.auth.jwt else { return Ok(None) };
    let jwks = match setting.jwks.contains("://") {
        true => setting.jwks,
        false => path.parent().unwrap_or(Path::new("")).join(setting.jwks).display().to_string(),
    };
    Tokens::new(JwtSetting { jwks, ..setting }).map(Some)
}

/// `[redact]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// Names of fields.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// Of providers, by name.
pub type Settings = BTreeMap<String, ProviderSetting>;

/// A `dev` that is running, or was.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct DevFile {
    pub server: String,
    pub key: String,
    #[serde(default)]
    pub build: Build,
}

/// How far `dev` is with what is in the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    Running,
    Failed,
    #[default]
    Deployed,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Flag(&'static str),
    Environment(&'static str),
    Project(PathBuf),
    /// Left there by `trackway dev`.
    Dev(PathBuf),
    User(PathBuf),
    Default,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub source: Source,
}

/// A project: the folder with `trackway.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub folder: PathBuf,
    pub file: ProjectFile,
}

impl Project {
    pub fn state_folder(&self) -> PathBuf {
        self.folder.join(STATE_FOLDER)
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(PROJECT_FILE)
    }

    /// The MCP servers that it grants, as `NAME=URL`, but for those that flags say otherwise.
    pub fn mcp(&self, flags: &[String]) -> Vec<String> {
        let name_of = |pair: &str| pair.split_once('=').map(|(name, _)| name.to_owned());
        let said: Vec<_> = flags.iter().filter_map(|pair| name_of(pair)).collect();
        let own = self.file.mcp.iter().filter(|(name, _)| !said.contains(name));
        own.map(|(name, setting)| format!("{name}={}", setting.url)).collect()
    }
}

/// Everything that settings are taken from, flags apart.
#[derive(Debug, Clone, Default)]
pub struct Config {
    env_server: Option<String>,
    env_key: Option<String>,
    env_tenant: Option<String>,
    env_data: Option<PathBuf>,
    pub project: Option<Project>,
    dev: Option<(PathBuf, DevFile)>,
    user: Option<(PathBuf, UserFile)>,
}

/// Where to connect to, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub server: Setting<String>,
    pub key: Option<Setting<String>>,
}

impl Config {
    /// Reads everything for a command that was started in `folder`.
    pub fn read(folder: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Config> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let project = find_project(folder)?;
        let dev = project.as_ref().and_then(|project| read_dev_file(&project.state_folder().join("dev.json")));
        let user_path = user_file_path(&env);
        let user = match user_path.map(|path| read_toml::<UserFile>(&path).map(|file| (path, file))) {
            Some(Ok((path, Some(file)))) => Some((path, file)),
            Some(Ok((_, None))) | None => None,
            Some(Err(error)) => return Err(error),
        };
        Ok(Config {
            env_server: env("TRACKWAY_SERVER"),
            env_key: env("TRACKWAY_KEY"),
            env_tenant: env("TRACKWAY_TENANT"),
            env_data: env("TRACKWAY_DATA").map(PathBuf::from),
            project,
            dev,
            user,
        })
    }

    /// The server and the key for it. A key that was left for one server is never sent to another.
    pub fn connection(&self, server: Option<String>, key: Option<String>) -> Result<Connection> {
        let server = self.server(server);
        let server = Setting { value: tidy_address(&server.value, &server.source)?, source: server.source };
        Ok(Connection { key: self.key(key, &server), server })
    }

    fn server(&self, flag: Option<String>) -> Setting<String> {
        let project = self.project.as_ref().and_then(|project| Some((project.file.server.clone()?, project.path())));
        let dev = self.dev.as_ref().map(|(path, dev)| (dev.server.clone(), path.clone()));
        let user = self.user.as_ref().and_then(|(path, file)| Some((file.server.clone()?, path.clone())));
        first([
            flag.map(|value| (value, Source::Flag("--server"))),
            self.env_server.clone().map(|value| (value, Source::Environment("TRACKWAY_SERVER"))),
            project.map(|(value, path)| (value, Source::Project(path))),
            dev.map(|(value, path)| (value, Source::Dev(path))),
            user.map(|(value, path)| (value, Source::User(path))),
        ])
        .unwrap_or_else(|| Setting { value: format!("http://{LISTEN_DEFAULT}"), source: Source::Default })
    }

    fn key(&self, flag: Option<String>, server: &Setting<String>) -> Option<Setting<String>> {
        let same = |other: &str| tidy_address(other, &Source::Default).is_ok_and(|other| other == server.value);
        let dev = self.dev.as_ref().filter(|(_, dev)| same(&dev.server));
        let user = self.user.as_ref().and_then(|(path, file)| {
            let its_own = file.server.as_deref().map_or(server.source == Source::Default, same);
            Some((file.key.clone().filter(|_| its_own)?, path.clone()))
        });
        first([
            flag.map(|value| (value, Source::Flag("--key"))),
            self.env_key.clone().map(|value| (value, Source::Environment("TRACKWAY_KEY"))),
            dev.map(|(path, dev)| (dev.key.clone(), Source::Dev(path.clone()))),
            user.map(|(value, path)| (value, Source::User(path))),
        ])
    }

    /// The tenant that is meant, where one was named.
    pub fn tenant(&self, flag: Option<String>) -> Option<String> {
        flag.or_else(|| self.env_tenant.clone())
    }

    pub fn env_key(&self) -> Option<&str> {
        self.env_key.as_deref()
    }

    pub fn listen(&self, flag: Option<String>) -> Setting<String> {
        let project = self.project.as_ref().and_then(|project| Some((project.file.listen.clone()?, project.path())));
        let user = self.user.as_ref().and_then(|(path, file)| Some((file.listen.clone()?, path.clone())));
        first([
            flag.map(|value| (value, Source::Flag("--listen"))),
            project.map(|(value, path)| (value, Source::Project(path))),
            user.map(|(value, path)| (value, Source::User(path))),
        ])
        .unwrap_or_else(|| Setting { value: LISTEN_DEFAULT.to_owned(), source: Source::Default })
    }

    /// The data folder, where one was named. A relative path in a file counts from that file.
    pub fn data(&self, flag: Option<PathBuf>) -> Option<Setting<PathBuf>> {
        let project = self
            .project
            .as_ref()
            .and_then(|project| Some((project.folder.join(project.file.data.as_ref()?), project.path())));
        let user = self.user.as_ref().and_then(|(path, file)| {
            let folder = path.parent().unwrap_or(Path::new("/"));
            Some((folder.join(file.data.as_ref()?), path.clone()))
        });
        first([
            flag.map(|value| (value, Source::Flag("--data"))),
            self.env_data.clone().map(|value| (value, Source::Environment("TRACKWAY_DATA"))),
            project.map(|(value, path)| (value, Source::Project(path))),
            user.map(|(value, path)| (value, Source::User(path))),
        ])
    }

    /// The providers of models: those of the file, over those of the project, over those of the user, over those that
    /// come with the program. Of one that several name, the first counts as a whole.
    pub fn providers(&self, flag: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Result<Providers> {
        let mut settings = Settings::new();
        if let Some((_, user)) = &self.user {
            settings.extend(user.providers.clone());
        }
        if let Some(project) = &self.project {
            settings.extend(project.file.providers.clone());
        }
        if let Some(path) = flag {
            let missing = || Error::new(Code::File, format!("there is no {}", path.display()));
            settings.extend(read_toml::<ProvidersFile>(path)?.ok_or_else(missing)?.providers);
        }
        Providers::new(&settings, env)
    }

    /// The fields that nobody gets to see: those of the file, of the project and of the user together, so that none
    /// takes back what another hides.
    pub fn mask(&self, flag: Option<&Path>) -> Result<Mask> {
        let mut fields = Vec::new();
        if let Some((_, user)) = &self.user {
            fields.extend(user.redact.fields.clone());
        }
        if let Some(project) = &self.project {
            fields.extend(project.file.redact.fields.clone());
        }
        if let Some(path) = flag {
            let missing = || Error::new(Code::File, format!("there is no {}", path.display()));
            fields.extend(read_toml::<RedactFile>(path)?.ok_or_else(missing)?.redact.fields);
        }
        Mask::new(fields.iter().map(String::as_str))
    }

    /// What a tenant may use of which nothing else is said: as the flags say, over the project.
    pub fn quotas(&self, flags: &[QuotaIs]) -> Result<Quotas> {
        let mut quotas = Quotas::default();
        if let Some(project) = &self.project {
            for (name, limit) in &project.file.quotas {
                quotas.set_text(name, &limit.to_string()).map_err(|error| {
                    let place = format!("{}: [quotas]: {}", project.path().display(), error.message);
                    Error { code: Code::BadConfig, message: place, ..error }
                })?;
            }
        }
        for QuotaIs { name, limit } in flags {
            quotas.set_text(name, limit).map_err(|error| Error { code: Code::Usage, ..error })?;
        }
        Ok(quotas)
    }

    /// The project here, or an error that says how to make one.
    pub fn project(&self) -> Result<&Project> {
        self.project.as_ref().ok_or_else(|| {
            let hint = "trackway init hello    # makes one in a new folder\nor go to the folder of your project";
            Error::new(Code::NoProject, format!("no {PROJECT_FILE} here or in a folder above")).hint(hint)
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(name) => f.write_str(name),
            Source::Environment(name) => write!(f, "{name} in the environment"),
            Source::Project(path) | Source::User(path) => write!(f, "{}", path.display()),
            Source::Dev(path) => write!(f, "{}, written by trackway dev", path.display()),
            Source::Default => f.write_str("the default"),
        }
    }
}

fn first<T, const N: usize>(candidates: [Option<(T, Source)>; N]) -> Option<Setting<T>> {
    candidates.into_iter().flatten().next().map(|(value, source)| Setting { value, source })
}

/// `host:port` becomes `http://host:port`; what is no address is refused with its source.
fn tidy_address(text: &str, source: &Source) -> Result<String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |why: String| {
        Error::new(Code::BadConfig, format!("`{text}` (from {source}) is not the address of a server: {why}"))
            .hint(format!("write it as http://{LISTEN_DEFAULT}"))
    };
    let address = url::Url::parse(&full).map_err(|error| wrong(error.to_string()))?;
    if !matches!(address.scheme(), "http" | "https") || !address.has_host() {
        return Err(wrong("only http and https are known".to_owned()));
    }
    Ok(address.as_str().trim_end_matches('/').to_owned())
}

fn find_project(folder: &Path) -> Result<Option<Project>> {
    for folder in folder.ancestors() {
        if let Some(file) = read_toml(&folder.join(PROJECT_FILE))? {
            return Ok(Some(Project { folder: folder.to_owned(), file }));
        }
    }
    Ok(None)
}

/// The file that `dev` left, if it is whole. A torn one is of a `dev` that was killed: no error.
pub fn read_dev_file(path: &Path) -> Option<(PathBuf, DevFile)> {
    let text = std::fs::read_to_string(path).ok()?;
    Some((path.to_owned(), serde_json::from_str(&text).ok()?))
}

fn user_file_path(env: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = env("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = folder.or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".config")))?;
    Some(folder.join("trackway").join("config.toml"))
}

/// Where a server keeps its data when nobody says where.
pub fn data_folder_default(env: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    folder.map(|folder| folder.join("trackway")).ok_or_else(|| {
        Error::new(Code::BadConfig, "there is no place for data: HOME is not set").hint("--data DIR names one")
    })
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::new(Code::File, format!("cannot read {}: {error}", path.display()))),
    };
    parse_toml(&text).map(Some).map_err(|error_text| {
        let wrong = Error::new(Code::BadConfig, format!("{}:\n{}", path.display(), error_text.trim_end()));
        let holds_key = error_text.contains("unknown field `key`");
        match path.file_name().is_some_and(|name| name == PROJECT_FILE) && holds_key {
            // Of a provider.
            _ if holds_key && error_text.contains("`key_env`") => {
                wrong.hint("name the variable that holds the key instead: key_env = \"EXAMPLE_API_KEY\"")
            }
            true => wrong.hint("keys belong in TRACKWAY_KEY or in the user's file, not in a file that others get"),
            false => wrong,
        }
    })
}

/// Reads TOML that a stranger may have written: the parser goes down a level for each bracket, and where these are never
/// closed it does not count them. Which are closed only a parser can say, so all that are opened are counted.
pub(super) fn parse_toml<T: serde::de::DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
    let opened = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opened > BRACKETS_MAX {
        return Err(format!("{opened} brackets are opened in it, {BRACKETS_MAX} at most may be"));
    }
    toml::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
