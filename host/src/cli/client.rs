//! A client of `/v1`, and the one place in `cli` that knows the HTTP library. It never retries what
//! could be done twice.

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::time::Duration;
use trackway_replay::{Digest, QuestionName, RunId};

use crate::api::{TENANT_HEADER, model};
use crate::{Code, Error, Result};

use super::config::{Connection, Source};

mod events;
mod feed;
mod identity;
mod plan;
mod query;

pub use events::{Events, Next};
pub use feed::{Fed, Feed};
use feed::{RECONNECT_FOR, patiently};
pub use query::RunsQuery;

/// A server that can be reached answers a connection in a fraction of this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Text of an answer that is not ours, in an error.
const FOREIGN_TEXT_MAX_BYTES: usize = 200;
/// How long a start is tried again while the server has no room for it. Whoever waits at a terminal rather
/// hears that it is busy than waits longer.
const ROOM_FOR: Duration = Duration::from_secs(30);
const RECONNECT_EVERY: Duration = Duration::from_millis(500);

pub struct Client {
    http: reqwest::Client,
    pub connection: Connection,
    tenant: Option<String>,
}

impl Client {
    pub fn new(connection: Connection) -> Result<Client> {
        // Fails only where a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the key to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("trackway/", env!("CARGO_PKG_VERSION")));
        // A proxy cannot reach this machine's own loopback.
        let builder = if is_loopback(&connection.server.value) { builder.no_proxy() } else { builder };
        let http = builder
            .build()
            .map_err(|error| Error::new(Code::Internal, format!("cannot make an HTTP client: {}", chain(&error))))?;
        Ok(Client { http, connection, tenant: None })
    }

    pub fn for_tenant(self, tenant: Option<String>) -> Client {
        Client { tenant, ..self }
    }

    pub async fn health(&self) -> Result<model::Health> {
        self.get(&["health"]).await
    }

    pub async fn upload(&self, bytes: Bytes) -> Result<model::Component> {
        let request = self.request(Method::POST, &["components"])?;
        self.read(request.header(header::CONTENT_TYPE, "application/wasm").body(bytes)).await
    }

    pub async fn deployments(&self) -> Result<Vec<model::Deployment>> {
        let list: model::DeploymentList = self.get(&["deployments"]).await?;
        Ok(list.deployments)
    }

    pub async fn deploy(&self, name: &str, deploy: &model::Deploy) -> Result<model::Deployment> {
        self.read(json(self.request(Method::PUT, &["deployments", name])?, deploy)?).await
    }

    pub async fn promote(&self, name: &str, promote: &model::Promote) -> Result<model::Deployment> {
        self.post(&["deployments", name, "promote"], promote).await
    }

    pub async fn rollback(&self, name: &str, rollback: &model::Rollback) -> Result<model::Deployment> {
        self.post(&["deployments", name, "rollback"], rollback).await
    }

    /// Starting twice under one key starts once, so a broken connection is tried once more, and a server
    /// that has no room for a while; `waits` is told each time that it has none.
    pub async fn start(&self, start: &model::Start, key: &str, waits: impl Fn(&Error)) -> Result<model::Started> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.start_once(start, key).await {
                Err(error) if error.code == Code::NoRoom && begun.elapsed() < ROOM_FOR => {
                    waits(&error);
                    tokio::time::sleep(RECONNECT_EVERY).await;
                }
                answer => return answer,
            }
        }
    }

    async fn start_once(&self, start: &model::Start, key: &str) -> Result<model::Started> {
        let request =
            || Ok::<_, Error>(json(self.request(Method::POST, &["runs"])?, start)?.header("idempotency-key", key));
        match self.read(request()?).await {
            Err(error) if error.code == Code::Unreachable => self.read(request()?).await,
            answer => answer,
        }
    }

    /// `run` is an id, the beginning of one, or `@last`: the server finds it.
    pub async fn run(&self, run: &str) -> Result<model::Run> {
        self.get(&["runs", run]).await
    }

    /// Waits until the run has ended or is stuck, across lost connections.
    pub async fn wait(&self, run: RunId) -> Result<model::Run> {
        loop {
            let run = patiently(RECONNECT_FOR, || async {
                self.get::<model::Run>(&["runs", &run.to_string(), "wait"]).await
            })
            .await;
            match run {
                Ok(run) if run.status.has_ended() || run.status == trackway_replay::Status::Stuck => return Ok(run),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub async fn runs(&self, query: &RunsQuery) -> Result<model::RunPage> {
        self.read(self.request_with(Method::GET, &["runs"], &query.pairs())?).await
    }

    pub async fn cancel(&self, run: RunId, cancel: &model::Cancel) -> Result<model::Run> {
        self.post(&["runs", &run.to_string(), "cancel"], cancel).await
    }

    pub async fn terminate(&self, run: RunId, terminate: &model::Terminate) -> Result<model::Run> {
        self.post(&["runs", &run.to_string(), "terminate"], terminate).await
    }

    pub async fn pause(&self, run: RunId, pause: &model::Pause) -> Result<model::Run> {
        self.post(&["runs", &run.to_string(), "pause"], pause).await
    }

    pub async fn remove(&self, run: RunId) -> Result<()> {
        self.send(self.request(Method::DELETE, &["runs", &run.to_string()])?).await.map(drop)
    }

    pub async fn resume(&self, run: RunId) -> Result<model::Run> {
        self.post(&["runs", &run.to_string(), "resume"], &model::Resume {}).await
    }

    /// As [`Client::start`].
    pub async fn restart(&self, run: RunId, restart: &model::Restart, key: &str) -> Result<model::Started> {
        let path = &["runs", &run.to_string(), "restart"];
        let request =
            || Ok::<_, Error>(json(self.request(Method::POST, path)?, restart)?.header("idempotency-key", key));
        match self.read(request()?).await {
            Err(error) if error.code == Code::Unreachable => self.read(request()?).await,
            answer => answer,
        }
    }

    pub async fn move_run(&self, run: RunId, asked: &model::Move) -> Result<model::Run> {
        self.post(&["runs", &run.to_string(), "move"], asked).await
    }

    pub async fn retry(&self, run: RunId, retry: &model::Retry) -> Result<model::Retried> {
        self.post(&["runs", &run.to_string(), "retry"], retry).await
    }

    /// Sending twice under one key sends once, so a broken connection is tried once more.
    pub async fn signal(&self, run: RunId, name: &str, payload: Option<&RawValue>, key: &str) -> Result<model::Sent> {
        let path = ["runs", &run.to_string(), "signals", name];
        self.post_once(&path, payload, key).await
    }

    pub async fn questions(&self, limit: usize, cursor: Option<&str>) -> Result<model::Questions> {
        let pairs = [("limit", Some(limit.to_string())), ("cursor", cursor.map(str::to_owned))];
        let query: Vec<_> = pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.read(self.request_with(Method::GET, &["questions"], &query)?).await
    }

    pub async fn entities(&self, name: Option<&str>, after: Option<&str>, limit: usize) -> Result<model::EntityPage> {
        let limit = limit.to_string();
        let pairs = [("name", name), ("after", after), ("limit", Some(limit.as_str()))];
        let pairs: Vec<_> = pairs.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect();
        self.read(self.request_with(Method::GET, &["entities"], &pairs)?).await
    }

    pub async fn entity(&self, name: &str, key: &str) -> Result<model::Entity> {
        self.get(&["entities", name, key]).await
    }

    pub async fn set_entity(
        &self,
        name: &str,
        key: &str,
        value: &RawValue,
        if_version: Option<u64>,
    ) -> Result<model::Entity> {
        let request = self.request(Method::PUT, &["entities", name, key])?;
        self.read(json(at_version(request, if_version), &value)?).await
    }

    pub async fn delete_entity(&self, name: &str, key: &str, if_version: Option<u64>) -> Result<()> {
        let request = self.request(Method::DELETE, &["entities", name, key])?;
        self.send(at_version(request, if_version)).await.map(drop)
    }

    pub async fn secrets(&self) -> Result<Vec<model::Secret>> {
        let list: model::SecretList = self.get(&["secrets"]).await?;
        Ok(list.secrets)
    }

    pub async fn set_secret(&self, name: &str, value: &str) -> Result<model::Secret> {
        let asked = model::SetSecret { value: value.to_owned() };
        self.read(json(self.request(Method::PUT, &["secrets", name])?, &asked)?).await
    }

    pub async fn remove_secret(&self, name: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, &["secrets", name])?).await.map(drop)
    }

    pub async fn rotate_secrets(&self) -> Result<model::RotatedSecrets> {
        self.post(&["store", "rotate-secrets"], &()).await
    }

    pub async fn question(&self, run: RunId, question: QuestionName) -> Result<model::Question> {
        self.get(&["questions", &run.to_string(), &question.to_string()]).await
    }

    pub async fn answer(
        &self,
        run: RunId,
        question: QuestionName,
        answer: &model::Answer,
        key: &str,
    ) -> Result<model::Question> {
        let path = ["questions", &run.to_string(), &question.to_string(), "answer"];
        let answer = serde_json::value::to_raw_value(answer)
            .map_err(|error| Error::new(Code::Internal, format!("cannot write a request: {error}")))?;
        self.post_once(&path, Some(&answer), key).await
    }

    /// Waits until the workflow has answered, also where the server is away for a while.
    pub async fn update(
        &self,
        run: RunId,
        name: &str,
        payload: Option<&RawValue>,
        key: &str,
        expires_in: Option<Duration>,
    ) -> Result<model::Update> {
        let run = run.to_string();
        let path = ["runs", run.as_str(), "updates", name];
        let query: Vec<_> = expires_in.map(|time| ("expires_in", time.as_secs_f64().to_string())).into_iter().collect();
        loop {
            let update: model::Update =
                patiently(RECONNECT_FOR, || async { self.post_once_with(&path, &query, payload, key).await }).await?;
            if update.outcome != "open" {
                return Ok(update);
            }
        }
    }

    pub async fn children(&self, run: RunId, cursor: Option<&str>) -> Result<model::Children> {
        let query: Vec<_> = cursor.map(|cursor| ("cursor", cursor.to_owned())).into_iter().collect();
        self.read(self.request_with(Method::GET, &["runs", &run.to_string(), "children"], &query)?).await
    }

    pub async fn states(&self, run: RunId, cursor: Option<&str>) -> Result<model::States> {
        let query: Vec<_> = cursor.map(|cursor| ("cursor", cursor.to_owned())).into_iter().collect();
        self.read(self.request_with(Method::GET, &["runs", &run.to_string(), "state"], &query)?).await
    }

    pub async fn state(&self, run: RunId, key: &str) -> Result<model::State> {
        self.get(&["runs", &run.to_string(), "state", key]).await
    }

    pub async fn promise(&self, token: &str) -> Result<model::Promise> {
        self.get(&["promises", token]).await
    }

    pub async fn resolve_promise(&self, token: &str, value: Option<&RawValue>, key: &str) -> Result<model::Promise> {
        self.post_once(&["promises", token, "resolve"], value, key).await
    }

    pub async fn reject_promise(&self, token: &str, rejection: &model::Rejection, key: &str) -> Result<model::Promise> {
        let rejection = serde_json::value::to_raw_value(rejection)
            .map_err(|error| Error::new(Code::Internal, format!("cannot write a request: {error}")))?;
        self.post_once(&["promises", token, "reject"], Some(&rejection), key).await
    }

    pub async fn trace(&self, run: RunId) -> Result<model::Trace> {
        self.get(&["runs", &run.to_string(), "trace"]).await
    }

    /// A value that stands beside the journal.
    pub async fn value(&self, run: RunId, digest: Digest) -> Result<model::StoredValue> {
        self.get(&["runs", &run.to_string(), "values", &digest.to_string()]).await
    }

    pub async fn logs(&self, run: RunId, cursor: Option<&str>) -> Result<model::LogPage> {
        let query: Vec<_> = cursor.map(|cursor| ("cursor", cursor.to_owned())).into_iter().collect();
        self.read(self.request_with(Method::GET, &["runs", &run.to_string(), "logs"], &query)?).await
    }

    pub async fn replay(&self, run: RunId, component: Option<Digest>) -> Result<model::ReplayReport> {
        self.post(&["runs", &run.to_string(), "replay"], &model::Replay { component }).await
    }

    pub async fn check_store(&self) -> Result<model::StoreReport> {
        self.post(&["store", "check"], &()).await
    }

    /// The pieces of a backup. An error within means that there is none.
    pub async fn backup(&self) -> Result<impl futures_util::Stream<Item = Result<Bytes>>> {
        let response = self.send(self.request(Method::GET, &["store", "backup"])?).await?;
        Ok(response.bytes_stream().map(|piece| piece.map_err(|error| self.unreachable(&error))))
    }

    /// The data keys that the backup opens with, wrapped.
    pub async fn data_keys(&self) -> Result<model::DataKeys> {
        self.get(&["store", "data-keys"]).await
    }

    /// What happens to a run, from its beginning, across lost connections, to its end.
    pub fn events(&self, run: RunId) -> Events<'_> {
        Events::new(Feed::new(self, run, "events", None))
    }

    /// What the guests of a run tell, after the event of the id `after`.
    pub fn stream(&self, run: RunId, after: Option<String>) -> Feed<'_> {
        Feed::new(self, run, "stream", after)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.read(self.request(Method::GET, path)?).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        self.read(json(self.request(Method::POST, path)?, body)?).await
    }

    /// Under an idempotency key.
    async fn post_once<T: DeserializeOwned>(&self, path: &[&str], body: Option<&RawValue>, key: &str) -> Result<T> {
        self.post_once_with(path, &[], body, key).await
    }

    async fn post_once_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&RawValue>,
        key: &str,
    ) -> Result<T> {
        let request = || {
            let request = self.request_with(Method::POST, path, query)?.header("idempotency-key", key);
            Ok::<_, Error>(match body {
                Some(body) => json(request, &body)?,
                None => request,
            })
        };
        match self.read(request()?).await {
            Err(error) if error.code == Code::Unreachable => self.read(request()?).await,
            answer => answer,
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder> {
        self.request_with(method, path, &[])
    }

    fn request_with(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> Result<RequestBuilder> {
        let server = &self.connection.server;
        let mut url = url::Url::parse(&server.value)
            .map_err(|error| Error::new(Code::BadConfig, format!("`{}`: {error}", server.value)))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        let request = match &self.tenant {
            Some(tenant) => request.header(TENANT_HEADER, tenant),
            None => request,
        };
        Ok(match &self.connection.key {
            Some(key) => request.bearer_auth(&key.value),
            None => request,
        })
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(&format!("its answer cannot be read: {error}")))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(self.problem(status, &bytes))
    }

    /// The server's own words, with its code.
    fn problem(&self, status: StatusCode, body: &[u8]) -> Error {
        let Ok(problem) = serde_json::from_slice::<model::Problem>(body) else {
            let text = String::from_utf8_lossy(&body[..body.len().min(FOREIGN_TEXT_MAX_BYTES)]).into_owned();
            return self.foreign(&format!("it answered {status}: {text}"));
        };
        let Some(code) = Code::ALL.iter().copied().find(|code| code.text() == problem.code) else {
            let message = format!("{} {}: {}", problem.code, problem.title, problem.detail);
            return Error::new(Code::Internal, message).hint("the server is newer than this program: update it");
        };
        let error = Error { code, message: problem.detail, hint: problem.hint, retry_after: None, quota: None };
        // Only this side knows where the key came from.
        if code == Code::Unauthorized { error.hint(self.about_key()) } else { error }
    }

    fn about_key(&self) -> String {
        let server = &self.connection.server.value;
        match &self.connection.key {
            None => format!("set TRACKWAY_KEY to a key of {server}: none was found to send"),
            Some(key) => format!("set TRACKWAY_KEY to a key of {server}: the one that was sent is from {}", key.source),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let server = &self.connection.server;
        let message = format!("{}: {}", server.value, chain(error));
        let hint = match &server.source {
            Source::Default => "trackway dev    # in the folder of a project; or: trackway server".to_owned(),
            Source::Dev(_) => "trackway dev    # it does not run any more".to_owned(),
            source => format!("the address comes from {source}: start that server, or set TRACKWAY_SERVER"),
        };
        Error::new(Code::Unreachable, message).hint(hint)
    }

    fn foreign(&self, what: &str) -> Error {
        let server = &self.connection.server;
        let message = format!("what answers at {} is no Trackway server: {what}", server.value);
        Error::new(Code::Unreachable, message).hint(format!("check the address; it comes from {}", server.source))
    }
}

fn at_version(request: RequestBuilder, if_version: Option<u64>) -> RequestBuilder {
    match if_version {
        Some(0) => request.header(header::IF_NONE_MATCH, "*"),
        Some(version) => request.header(header::IF_MATCH, format!("\"{version}\"")),
        None => request,
    }
}

fn json(request: RequestBuilder, body: &impl Serialize) -> Result<RequestBuilder> {
    let text = serde_json::to_vec(body)
        .map_err(|error| Error::new(Code::Internal, format!("cannot write a request: {error}")))?;
    Ok(request.header(header::CONTENT_TYPE, "application/json").body(text))
}

fn is_loopback(address: &str) -> bool {
    match url::Url::parse(address).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The deepest reason is the one that says something: the rest repeats the address.
fn chain(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
