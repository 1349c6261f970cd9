//! A server on a free port, a client that speaks plain HTTP/1.1, and guests to upload.

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trackway_storage::SledOptions;

use crate::Result;
use crate::api::{Door, Keys, bind, serve};
use crate::host::{Host, HostOptions};
use crate::sandbox::Compiler;
use crate::sandbox::tests::support::{NO_AT, TextGuest, Texts};
use crate::worker::Options;

pub const KEY: &str = "tw_test";

pub struct Server {
    pub address: SocketAddr,
    pub host: Arc<Host>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<()>>,
    pub folder: tempfile::TempDir,
}

pub fn options_of(folder: &tempfile::TempDir) -> HostOptions {
    let data = folder.path().join("data");
    let (worker, store) = (Options::default(), SledOptions::default());
    let providers = crate::effects::Providers::default();
    let secret_keys = crate::host::KeySource::Text("5e".repeat(32).into());
    HostOptions { data, compiler: Compiler::InProcess, worker, store, providers, secret_keys, seal: false }
}

/// What came back.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Server {
    pub async fn start() -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Server::start_in(folder).await
    }

    /// On a data folder that may have been used before.
    pub async fn start_in(folder: tempfile::TempDir) -> Server {
        let host = Host::open(options_of(&folder)).await.expect("the host opens");
        Server::serving(folder, host, Keys::of([KEY]).into()).await
    }

    /// That host, behind that door.
    pub async fn serving(folder: tempfile::TempDir, host: Arc<Host>, door: Door) -> Server {
        let listener = bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let served = tokio::spawn(serve(host.clone(), listener, door, shutdown));
        Server { address, host, stop, served, folder }
    }

    /// Tells the server to stop, waits until it has, and closes the host. The next one can have the folder.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.send(()).expect("the server is there");
        self.served.await.expect("serving does not panic").expect("a clean stop");
        self.host.drain(Duration::ZERO).await.expect("everything is durable");
        drop(self.host);
        let lock = self.folder.path().join("data/store/lock");
        let lock = std::fs::File::open(lock).expect("the lock of the folder is there");
        // Tasks that were told to stop hold the host for a moment yet.
        for _ in 0..3_000 {
            if lock.try_lock().is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.folder
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, &[], body.as_bytes()).await
    }

    pub async fn put(&self, path: &str, body: &str) -> Reply {
        self.ask("PUT", path, &[], body.as_bytes()).await
    }

    /// With the key, and these headers beside it.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let authorization = format!("Bearer {KEY}");
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend(headers);
        self.raw(method, path, &all, body).await
    }

    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.expect("the server is there");
        let length = body.len();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        stream.write_all(body).await.expect("the body is sent");
        read_reply(stream).await
    }

    /// Uploads a guest and points a deployment to it; gives the digest.
    pub async fn deploy(&self, name: &str, component: Vec<u8>) -> String {
        let uploaded = self.ask("POST", "/v1/components", &[], &component).await;
        assert!(uploaded.status == 201 || uploaded.status == 200, "{}", uploaded.text());
        let digest = uploaded.json::<Value>()["digest"].as_str().expect("a digest").to_owned();
        let deployed = self.put(&format!("/v1/deployments/{name}"), &format!(r#"{{"component":"{digest}"}}"#)).await;
        assert_eq!(deployed.status, 200, "{}", deployed.text());
        digest
    }

    /// Starts a run, waits for its end, and gives its id.
    pub async fn finish(&self, body: &str) -> String {
        let started = self.post("/v1/runs?wait=60", body).await;
        assert_eq!(started.status, 201, "{}", started.text());
        let run = &started.json::<Value>()["run"];
        assert_eq!(run["status"], "succeeded", "{run}");
        run["id"].as_str().expect("an id").to_owned()
    }

    /// Starts a run and gives its id.
    pub async fn begin(&self, body: &str) -> String {
        let started = self.post("/v1/runs", body).await;
        assert_eq!(started.status, 201, "{}", started.text());
        started.json::<Value>()["run"]["id"].as_str().expect("an id").to_owned()
    }

    /// Follows a run; HTTP/1.0, so that the stream comes as it is.
    pub async fn events(&self, run: &str, last: Option<&str>) -> Events {
        self.followed(run, "events", last).await
    }

    pub async fn stream(&self, run: &str, last: Option<&str>) -> Events {
        self.followed(run, "stream", last).await
    }

    async fn followed(&self, run: &str, what: &str, last: Option<&str>) -> Events {
        let mut stream = TcpStream::connect(self.address).await.expect("the server is there");
        let last = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
        let head = format!("GET /v1/runs/{run}/{what} HTTP/1.0\r\nauthorization: Bearer {KEY}\r\n{last}\r\n");
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).await.expect("a status line");
        let mut line = String::new();
        while reader.read_line(&mut line).await.expect("a header") > 2 {
            line.clear();
        }
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Events { status, reader }
    }
}

pub async fn read_reply(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("an answer");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("a head is ASCII").to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    assert!(!head.contains("transfer-encoding"), "{head}");
    Reply { status, head, body: bytes[end + 4..].to_vec() }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|known| known == line)
    }

    /// Status and code of a problem, which is checked to be a whole one.
    pub fn problem(&self) -> (u16, String) {
        assert!(self.has_header("content-type: application/problem+json"), "{}\n{}", self.head, self.text());
        let problem: crate::api::model::Problem = self.json();
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.kind, format!("urn:trackway:error:{}", problem.code));
        assert!(!problem.title.is_empty() && !problem.detail.is_empty(), "{problem:?}");
        (self.status, problem.code)
    }
}

pub struct Events {
    pub status: u16,
    reader: BufReader<TcpStream>,
}

#[derive(Debug)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Events {
    /// The next event; none where the server ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: String::new(), name: String::new(), data: Value::Null };
        let mut data = String::new();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).await.expect("the stream is whole") == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(':') {
                Some(("id", id)) => event.id = id.trim().to_owned(),
                Some(("event", name)) => event.name = name.trim().to_owned(),
                Some(("data", text)) => data.push_str(text),
                Some(_) => {}
                None if data.is_empty() => {}
                None => {
                    event.data = serde_json::from_str(&data).expect("the data is JSON");
                    return Some(event);
                }
            }
        }
    }
}

fn guest(manifest: &str, run: impl FnOnce(&mut Texts) -> String) -> Vec<u8> {
    let mut guest = TextGuest { manifest: Some(manifest.to_owned()), ..TextGuest::default() };
    guest.run = run(&mut guest.texts);
    guest.build("workflow")
}

/// `echo` gives back its input, which must be an object with text under `name`.
pub fn echo() -> Vec<u8> {
    let manifest = r#"{"contract":"0.1","workflows":[{"name":"echo","input":{"type":"object","required":["name"],
        "properties":{"name":{"type":"string"}}}}]}"#;
    guest(manifest, |texts| {
        let log = format!("(call $log {} {} {})", texts.put("info"), texts.put("hello"), texts.put(r#"{"n":1.0}"#));
        format!("{log} (call $return (local.get $b) (local.get $bl))")
    })
}

/// `nap` sleeps for this long, then returns the text.
pub fn nap(sleep_ms: u64, output: &str) -> Vec<u8> {
    guest(r#"{"contract":"0.1","workflows":[{"name":"nap"}]}"#, |texts| {
        let sleep = format!("(drop (call $sleep (i64.const {sleep_ms}) (i32.const 0) (i32.const 0) {NO_AT}))");
        format!("{sleep} (call $next (i32.const 64)) (call $return {})", texts.put(output))
    })
}

/// `nap`, which sleeps for an hour and is given so long.
pub fn naps_within(run_timeout_ms: u64) -> Vec<u8> {
    let manifest = format!(r#"{{"contract":"0.1","workflows":[{{"name":"nap","run_timeout_ms":{run_timeout_ms}}}]}}"#);
    guest(&manifest, |texts| {
        let sleep = format!("(drop (call $sleep (i64.const 3600000) (i32.const 0) (i32.const 0) {NO_AT}))");
        format!("{sleep} (call $next (i32.const 64)) (call $return {})", texts.put("1"))
    })
}

/// `starts` starts `nap` of a deployment and returns what comes of that, whatever it is.
pub fn starts(deployment: &str, detach: bool) -> Vec<u8> {
    guest(r#"{"contract":"0.1","workflows":[{"name":"starts"}]}"#, |texts| {
        let (nap, input) = (texts.put("nap"), texts.put("null"));
        let options = texts.put(&format!(r#"{{"deployment":"{deployment}","detach":{detach}}}"#));
        let start = format!("(drop (call $start {nap} {input} {options} {NO_AT}))");
        let body = "(i32.load (i32.const 76)) (i32.load (i32.const 80))";
        format!("{start} (call $next (i32.const 64)) (call $return {body})")
    })
}

/// `takes` waits for the signal `go` and returns what it brings; it declares these signals.
pub fn takes(signals: &[&str]) -> Vec<u8> {
    let signals: Vec<_> = signals.iter().map(|name| serde_json::json!({ "name": name })).collect();
    let workflow = serde_json::json!({ "name": "takes", "signals": signals, "updates": signals });
    let manifest = serde_json::json!({ "contract": "0.1", "workflows": [workflow] }).to_string();
    guest(&manifest, |texts| {
        let receive = format!("(drop (call $receive {} (i32.const 0) (i32.const 0) {NO_AT}))", texts.put("go"));
        let body = "(i32.load (i32.const 76)) (i32.load (i32.const 80))";
        format!("{receive} (call $next (i32.const 64)) (call $return {body})")
    })
}

/// `fail` fails for good.
pub fn fail() -> Vec<u8> {
    guest(r#"{"contract":"0.1","workflows":[{"name":"fail"}]}"#, |texts| {
        let failure = r#"{"code":"NO_LUCK","message":"not today","retryable":false,"details":{"z":1.50,"a":2}}"#;
        format!("(call $fail {})", texts.put(failure))
    })
}

/// `wait` gives back what signal `go` brings, which must be a number.
pub fn wait() -> Vec<u8> {
    let manifest =
        r#"{"contract":"0.1","workflows":[{"name":"wait","signals":[{"name":"go","schema":{"type":"integer"}}]}]}"#;
    guest(manifest, |texts| {
        let receive = format!("(drop (call $receive {} (i32.const 0) (i32.const 0) {NO_AT}))", texts.put("go"));
        let body = "(i32.load (i32.const 76)) (i32.load (i32.const 80))";
        format!("{receive} (call $next (i32.const 64)) (call $return {body})")
    })
}

/// Makes a promise and returns what it is settled with, whatever that is.
pub fn promises() -> Vec<u8> {
    let manifest = r#"{"contract":"0.1","workflows":[{"name":"promises"}]}"#;
    guest(manifest, |texts| {
        let promise = format!("(drop (call $promise {} (i32.const 0) (i32.const 0) {NO_AT}))", texts.put("paid"));
        let body = "(i32.load (i32.const 76)) (i32.load (i32.const 80))";
        format!("{promise} (call $next (i32.const 64)) (call $return {body})")
    })
}
