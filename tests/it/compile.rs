//! Components that cost the compiler more than it gets: the real binary compiles, and each of its
//! limits costs one upload and nothing else.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trackway::api::{self, Keys};
use trackway::host::{Host, HostOptions};
use trackway::sandbox::{CompileLimits, Compiler};
use trackway::worker;
use trackway_storage::SledOptions;

use crate::rig::guests;
use crate::server::binary;

const KEY: &str = "tw_for-tests-only";
const MEBIBYTE: u64 = 1 << 20;

/// A guest of the contract around a core module with `memory` pages and `more` in it.
fn guest(pages: usize, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
          (core module $m
            (memory (export "memory") {pages})
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
            (func (export "describe") (result i32) (unreachable))
            (func (export "run") (param i32 i32 i32 i32 i32 i32) (result i32) (unreachable))
            {more})
          (core instance $i (instantiate $m))
          (func (export "describe") (result string)
            (canon lift (core func $i "describe") (memory $i "memory") (realloc (func $i "realloc"))))
          (func (export "run")
            (param "workflow" string) (param "input" string) (param "context" string)
            (result (result string (error string)))
            (canon lift (core func $i "run") (memory $i "memory") (realloc (func $i "realloc")))))"#
    );
    wat::parse_str(text).expect("it is well-formed")
}

/// Many values that live through many branches: seconds of work for the compiler, each function.
pub fn branches(functions: usize) -> Vec<u8> {
    const LOCALS: usize = 1_000;
    const BRANCHES: usize = 2_000;
    let mut body = "(loop".to_owned();
    for nth in 0..BRANCHES {
        let (asked, to, from) = (nth * 7 % LOCALS, (nth * 13 + 5) % LOCALS, (nth * 29 + 11) % LOCALS);
        body.push_str(&format!(
            "(if (i64.eqz (local.get {asked})) (then (local.set {to} (i64.add (local.get {to}) (local.get {from})))))\n"
        ));
    }
    body.push_str("(br_if 0 (i64.eqz (local.get 0))))\n(local.get 0)");
    (1..LOCALS).for_each(|local| body.push_str(&format!("(i64.add (local.get {local}))\n")));
    let function = format!("(func (result i64) (local {})\n{body})\n", "i64 ".repeat(LOCALS));
    guest(1, &function.repeat(functions))
}

/// Data that the compiler has to carry over.
fn data(bytes: usize) -> Vec<u8> {
    guest(bytes.div_ceil(64 << 10), &format!("(data (i32.const 0) \"{}\")", "x".repeat(bytes)))
}

/// A server in this process whose compiler is the real binary.
struct Serving {
    host: Arc<Host>,
    url: String,
    client: Client,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<trackway::Result<()>>,
}

impl Serving {
    async fn start(data: &Path, limits: CompileLimits) -> Serving {
        let compiler = Compiler::Child { program: binary(), limits };
        let options = HostOptions {
            data: data.to_owned(),
            compiler,
            worker: worker::Options::default(),
            store: SledOptions::default(),
            providers: trackway::effects::Providers::default(),
            secret_keys: trackway::host::KeySource::Absent,
            seal: false,
        };
        let host = Host::open(options).await.expect("a fresh folder");
        let listener = api::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let serving = tokio::spawn(api::serve(Arc::clone(&host), listener, Keys::of([KEY]), stopped));
        // Fails where it is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().expect("a client");
        Serving { host, url, client, stop, serving }
    }

    async fn ask(&self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}/{path}", self.url)).bearer_auth(KEY);
        let response = request.header("content-type", content_type).body(body).send().await.expect("the server lives");
        let status = response.status();
        (status, serde_json::from_slice(&response.bytes().await.expect("whole")).expect("JSON"))
    }

    async fn upload(&self, component: Vec<u8>) -> (StatusCode, Value) {
        self.ask(Method::POST, "components", "application/wasm", component).await
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, "application/json", body.to_string().into_bytes()).await;
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    async fn still_works(&self) {
        let hello = std::fs::read(guests().join("hello.wasm")).expect("built by `cargo xtask guests`");
        let (status, component) = self.upload(hello).await;
        assert!(status.is_success(), "{component}");
        self.json(Method::PUT, "deployments/hello", json!({ "component": component["digest"] })).await;
        let run = self.json(Method::POST, "runs?wait=60", json!({ "workflow": "hello", "input": "Ada" })).await;
        assert_eq!(run["run"]["output"], "Hello, Ada!", "{run}");
    }

    async fn stop(self) {
        self.stop.send(()).expect("it serves");
        drop(self.client);
        self.serving.await.expect("no panic").expect("it served");
        self.host.drain(Duration::ZERO).await.expect("everything is durable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_over_a_limit_of_the_compiler_costs_one_upload() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Compiled while there was room: under the limits below it comes from the cache.
    let serving = Serving::start(folder.path(), CompileLimits::DEFAULT).await;
    serving.still_works().await;
    serving.stop().await;

    let most = CompileLimits::DEFAULT;
    for (limits, component, says) in [
        (CompileLimits { cpu_seconds: 1, ..most }, branches(20), "used more than 1 s of processor time"),
        (CompileLimits { wall_seconds: 1, ..most }, branches(20), "took longer than 1 s"),
        (
            CompileLimits { address_space_bytes: 160 * MEBIBYTE, ..most },
            data(48 << 20),
            "most likely at its memory limit of 160 MiB",
        ),
    ] {
        let serving = Serving::start(folder.path(), limits).await;
        let (status, refused) = serving.upload(component).await;
        assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("TW0207")), "{refused}");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{says}: {refused}");
        assert!(refused["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{refused}");
        serving.still_works().await;
        serving.stop().await;
    }
}
