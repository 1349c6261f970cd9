//! The real binary as a server of its own, to be asked and to be killed. It never looks into the
//! process: all it knows comes over the API.

use reqwest::{Client, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use trackway::api::model;
use trackway_replay::RunId;

use crate::rig::guests;

pub const KEY: &str = "tw_for-tests-only";

/// For whatever a server does at once: longer means that it hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// Looks at everything in a data folder that no server uses, as `trackway doctor --deep` does; an error
/// is what it found.
pub async fn check_store(data: &Path) -> Result<(), String> {
    let mut command = Command::new(binary());
    command.args(["doctor", "--deep", "-o", "text", "--data"]).arg(data).env("HOME", "/nonexistent");
    let output = command.stdin(Stdio::null()).output().await.expect("the binary starts");
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("the store is not sound: {}", String::from_utf8_lossy(&text)))
}

/// Variables under which the process starts, beside its own.
pub type Environment<'a> = &'a [(&'a str, &'a str)];

pub struct Server {
    pub url: String,
    /// Of the process that runs now: another one after each start.
    pub epoch: u64,
    folder: PathBuf,
    child: Child,
    client: Client,
    /// Kept, or the process could not write to it any more.
    _stdout: BufReader<ChildStdout>,
}

/// The program that users run, as `cargo build` leaves it.
pub fn binary() -> PathBuf {
    let binary = guests().with_file_name("debug").join("trackway");
    assert!(binary.is_file(), "{} is missing; run `cargo build`", binary.display());
    binary
}

impl Server {
    /// Starts a server with all that it keeps in `folder`, and waits until it answers.
    pub async fn start(folder: &Path, environment: Environment<'_>) -> Server {
        let started = Server::try_start(folder, &folder.join("data"), environment).await;
        started.unwrap_or_else(|why| panic!("the server did not come up: {why}"))
    }

    /// The same with its data elsewhere than its log, which is in `folder`. An error is what the server
    /// said instead of coming up.
    pub async fn try_start(folder: &Path, data: &Path, environment: Environment<'_>) -> Result<Server, String> {
        Server::try_start_with(folder, data, environment, &[]).await
    }

    /// The same with more on its command line.
    pub async fn try_start_with(
        folder: &Path,
        data: &Path,
        environment: Environment<'_>,
        flags: &[&str],
    ) -> Result<Server, String> {
        let log =
            std::fs::File::options().create(true).append(true).open(folder.join("server.log")).expect("a log file");
        let mut child = Command::new(binary())
            .args(["server", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(["-o", "id"])
            .args(flags)
            .current_dir(folder)
            .envs([("TRACKWAY_KEY", KEY), ("HOME", "/nonexistent")])
            // Nobody listens there: whatever minded the variable would not get anywhere.
            .envs([("HTTP_PROXY", "http://127.0.0.1:1"), ("http_proxy", "http://127.0.0.1:1")])
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut url = String::new();
        let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        match tokio::time::timeout(PATIENCE, stdout.read_line(&mut url)).await {
            Ok(read) => drop(read.expect("its first line")),
            Err(_) => return Err(format!("it says nothing for {PATIENCE:?}\n{}", log())),
        }
        if !url.starts_with("http://") {
            return Err(log());
        }
        // Fails where it is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().read_timeout(PATIENCE).build().expect("a client");
        let url = url.trim().to_owned();
        let mut server = Server { url, epoch: 0, folder: folder.to_owned(), child, client, _stdout: stdout };
        server.epoch = server.get::<model::Health>("health").await.epoch;
        Ok(server)
    }

    /// Waits until the process has ended by itself, and says how.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        self.child.wait().await.expect("a child can be waited for")
    }

    /// SIGKILL, also where it is dead already.
    pub async fn bury(mut self) {
        // Fails where it has been waited for.
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }

    /// SIGKILL; returns when the process is gone.
    pub async fn kill(mut self) {
        self.child.start_kill().expect("a process that has not been waited for can be killed");
        let status = self.child.wait().await.expect("a child can be waited for");
        assert!(!status.success(), "the server ended by itself before it was killed: {status}\n{}", self.log());
    }

    /// That it has of the machine's memory, as the system counts.
    pub fn memory_bytes(&self) -> u64 {
        self.status_of("VmRSS").trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// What the system says of the process under that name.
    pub fn status_of(&self, name: &str) -> String {
        let status = self.proc("status");
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("the system tells");
        line.trim().to_owned()
    }

    /// A file of the process in `/proc`.
    pub fn proc(&self, file: &str) -> String {
        let id = self.child.id().expect("it runs");
        std::fs::read_to_string(format!("/proc/{id}/{file}")).expect("it runs")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }

    pub async fn upload(&self, guest: &str) -> model::Component {
        let path = guests().join(format!("{guest}.wasm"));
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()));
        let request = self.client.post(format!("{}/v1/components", self.url)).bearer_auth(KEY);
        self.answer(request.header("content-type", "application/wasm").body(bytes)).await
    }

    /// The status of the answer.
    pub async fn try_upload(&self, component: Vec<u8>) -> u16 {
        let request = self.client.post(format!("{}/v1/components", self.url)).bearer_auth(KEY);
        let response = request.header("content-type", "application/wasm").body(component).send().await;
        response.unwrap_or_else(|error| panic!("{error:?}\n{}", self.log())).status().as_u16()
    }

    /// Uploads a guest and points a deployment of its name to it.
    pub async fn deploy(&self, guest: &str, allow_hosts: &[String]) {
        let component = self.upload(guest).await.digest;
        let (allow_hosts, allow_models, allow_secrets) = (allow_hosts.to_vec(), Vec::new(), Vec::new());
        let (allow_mcp, if_revision, signature) = (Vec::new(), None, None);
        let deploy =
            model::Deploy { component, allow_hosts, allow_models, allow_secrets, allow_mcp, if_revision, signature };
        let _: model::Deployment = self.send(Method::PUT, &format!("deployments/{guest}"), &deploy).await;
    }

    /// Starts a run; when it returns, the run is acknowledged.
    pub async fn run(&self, workflow: &str, input: &impl Serialize) -> RunId {
        let start = serde_json::json!({ "workflow": workflow, "input": input });
        self.send::<model::Started>(Method::POST, "runs", &start).await.run.id
    }

    pub async fn wait(&self, run: RunId) -> model::Run {
        self.get(&format!("runs/{run}/wait")).await
    }

    /// A run as it is now, if the server knows it.
    pub async fn find(&self, run: RunId) -> Option<model::Run> {
        let response = self.client.get(format!("{}/v1/runs/{run}", self.url)).bearer_auth(KEY).send().await;
        let is_unknown = response.is_ok_and(|response| response.status() == reqwest::StatusCode::NOT_FOUND);
        if is_unknown { None } else { Some(self.get(&format!("runs/{run}")).await) }
    }

    /// All durable entries.
    pub async fn journal(&self, run: RunId) -> Vec<model::Entry> {
        let mut entries = Vec::new();
        loop {
            let page: model::JournalPage = self.get(&format!("runs/{run}/journal?from={}", entries.len())).await;
            if page.entries.is_empty() {
                return entries;
            }
            entries.extend(page.entries);
        }
    }

    pub async fn replay(&self, run: RunId) -> model::ReplayReport {
        self.send(Method::POST, &format!("runs/{run}/replay"), &model::Replay::default()).await
    }

    /// As [`Server::get`] from a server that may be dying: nothing, if it did not answer.
    pub async fn try_get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let request = self.client.get(format!("{}/v1/{path}", self.url)).bearer_auth(KEY);
        self.try_answer(request).await
    }

    /// As [`Server::send`] with POST to a server that may be dying.
    pub async fn try_post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Option<T> {
        let body = serde_json::to_string(body).expect("what is sent is JSON");
        let request = self.client.post(format!("{}/v1/{path}", self.url)).bearer_auth(KEY);
        self.try_answer(request.header("content-type", "application/json").body(body)).await
    }

    /// DELETE from a server that may be dying: the status of the answer, or nothing, if it did not answer.
    pub async fn try_delete(&self, path: &str) -> Option<reqwest::StatusCode> {
        let request = self.client.delete(format!("{}/v1/{path}", self.url)).bearer_auth(KEY);
        Some(request.send().await.ok()?.status())
    }

    async fn try_answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Option<T> {
        let response = request.send().await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        serde_json::from_str(&response.text().await.ok()?).ok()
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.answer(self.client.get(format!("{}/v1/{path}", self.url)).bearer_auth(KEY)).await
    }

    pub async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: &impl Serialize) -> T {
        let body = serde_json::to_string(body).expect("what is sent is JSON");
        let request = self.client.request(method, format!("{}/v1/{path}", self.url)).bearer_auth(KEY);
        self.answer(request.header("content-type", "application/json").body(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> T {
        let response = request.send().await.unwrap_or_else(|error| panic!("{error:?}\n{}", self.log()));
        let (url, status) = (response.url().clone(), response.status());
        let text = response.text().await.unwrap_or_else(|error| panic!("{url}: {error:?}\n{}", self.log()));
        assert!(status.is_success(), "{url} answers {status}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
    }
}
