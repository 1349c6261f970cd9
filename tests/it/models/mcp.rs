//! Tools of MCP servers, over real sockets: a server that the protocol's own SDK makes, and one that we script. The script
//! remembers what it was asked; what a host may ask twice is judged here.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use trackway::api::model;
use trackway_replay::RunId;

use super::provider::{Act, Asked, Provider, Says, json_head, stream};
use super::{Asking, trackway};
use crate::rig::guests;

/// The agent reads so many pages, one after the other.
const PAGES: usize = 3;

/// A server with the guest, which may ask the model, and reach what is at `granted`.
pub(super) async fn borrowing(provider: &Provider, granted: &[String]) -> Asking {
    let asking = Asking::new(provider, "models").await;
    let component = asking.server.upload("models").await.digest;
    let deploy = json!({ "component": component, "allow_models": ["scripted/*"], "allow_hosts": granted });
    let _: model::Deployment = asking.server.send(Method::PUT, "deployments/models", &deploy).await;
    asking
}

pub(super) async fn output(asking: &Asking, run: RunId) -> Value {
    let run = asking.server.wait(run).await;
    let output = run.output.as_ref().unwrap_or_else(|| panic!("{run:?}\n{}", asking.server.log()));
    serde_json::from_str(output.get()).expect("JSON")
}

/// What the tools have told the model so far.
fn told(asked: &Asked) -> Vec<String> {
    let messages = asked.body["messages"].as_array().expect("messages");
    let of_tools = messages.iter().filter(|message| message["role"] == "tool");
    of_tools.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
}

fn calls(asked: &Asked, name: &str, arguments: &Value) -> Vec<Act> {
    stream(asked.protocol(), &Says { calls: &[("c1", name, &arguments.to_string())], ..Says::default() })
}

fn says(asked: &Asked, text: &str) -> Vec<Act> {
    stream(asked.protocol(), &Says { pieces: &[text], ..Says::default() })
}

/// A model that reads one page after the other, and says what it has read.
fn reads(asked: &Asked) -> Vec<Act> {
    match told(asked) {
        told if told.len() < PAGES => calls(asked, "lib_read", &json!({ "page": told.len() + 1 })),
        told => says(asked, &told.join(" ")),
    }
}

/// A server of ours: every other answer is a stream.
fn serves(asked: &Asked) -> Vec<Act> {
    let id = &asked.body["id"];
    let result = match asked.body["method"].as_str() {
        Some("initialize") => json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {} } }),
        Some("tools/list") => {
            let input =
                json!({ "type": "object", "properties": { "page": { "type": "integer" } }, "required": ["page"] });
            json!({ "tools": [{ "name": "read", "inputSchema": input }] })
        }
        Some("tools/call") => {
            let page = &asked.body["params"]["arguments"]["page"];
            json!({ "content": [{ "type": "text", "text": format!("page {page}") }] })
        }
        _ => return vec![Act::Head(202, Vec::new()), Act::End],
    };
    let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let session = ("mcp-session-id", format!("s-{}", asked.number));
    let (mut headers, body) = if asked.number.is_multiple_of(2) {
        (json_head(), answer.to_string())
    } else {
        (vec![("content-type", "text/event-stream".to_owned())], format!(": here\n\ndata: {answer}\n\n"))
    };
    headers.push(session);
    super::provider::plain(200, headers, body)
}

fn origin(server: &Provider) -> String {
    format!("http://{}", server.address)
}

/// The requests of that method, each by its key.
fn keys(log: &[Asked], method: &str) -> Vec<String> {
    log.iter().filter(|asked| asked.body["method"] == method).map(|asked| asked.key().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_has_answered_is_not_called_again_whatever_is_killed() {
    // Our server holds the call of page 2; later the provider holds the model that has read all pages.
    let server = Provider::start(|asked| match asked.number {
        5 => vec![Act::Hold],
        _ => serves(asked),
    })
    .await;
    let provider = Provider::start(|asked| match asked.number {
        4 => vec![Act::Hold],
        _ => reads(asked),
    })
    .await;
    let asking = borrowing(&provider, &[origin(&server)]).await;
    let run = asking.server.run("models/borrows", &format!("{}/mcp", origin(&server))).await;
    server.until(|log| log.len() == 5).await;
    let asking = asking.killed().await;
    provider.until(|log| log.len() == 4).await;
    let asking = asking.killed().await;
    assert_eq!(output(&asking, run).await, "page 1 page 2 page 3");

    let log = server.log();
    assert_eq!(keys(&log, "initialize").len(), 1, "the session is the recorded one");
    assert_eq!(keys(&log, "tools/list").len(), 1);
    let called = keys(&log, "tools/call");
    assert_eq!((called.len(), called.iter().collect::<BTreeSet<_>>().len()), (PAGES + 1, PAGES));
    assert_eq!(
        (&called[1], &log[4].body),
        (&called[2], &log[5].body),
        "the call that was held was sent again as it was"
    );
    assert!(log[1..].iter().all(|asked| asked.header("mcp-session-id") == "s-1"));
    assert!(asking.server.replay(run).await.identical);
    let shown = trackway(&asking.server, &format!("trace {run} -o text")).expect(0).stdout;
    for word in ["agent borrower", "tool lib_read", "mcp lib tools/call read"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_breaks_off_is_sent_again_only_where_its_server_says_that_it_may_come_twice() {
    for (annotations, sent) in [
        (json!(null), PAGES),
        (json!({ "readOnlyHint": false, "idempotentHint": "yes" }), PAGES),
        (json!({ "idempotentHint": true }), PAGES + 1),
        (json!({ "readOnlyHint": true }), PAGES + 1),
    ] {
        let told_of_it = annotations.clone();
        let server = Provider::start(move |asked| match asked.body["method"].as_str() {
            Some("tools/list") => {
                let input = json!({ "type": "object", "properties": { "page": { "type": "integer" } } });
                let tool = json!({ "name": "read", "inputSchema": input, "annotations": annotations });
                let answer = json!({ "jsonrpc": "2.0", "id": asked.body["id"], "result": { "tools": [tool] } });
                super::provider::plain(200, json_head(), answer.to_string())
            }
            // The first call.
            Some("tools/call") if asked.number == 4 => vec![Act::Cut],
            _ => serves(asked),
        })
        .await;
        let provider = Provider::start(reads).await;
        let asking = borrowing(&provider, &[origin(&server)]).await;
        let run = asking.server.run("models/borrows", &format!("{}/mcp", origin(&server))).await;
        let said = output(&asking, run).await;
        let said = said.as_str().expect("text");
        assert_eq!(said.starts_with("HTTP_BROKEN"), sent == PAGES, "{told_of_it}: {said}");
        assert!(said.ends_with("page 2 page 3"), "{told_of_it}: {said}");
        let called = keys(&server.log(), "tools/call");
        assert_eq!((called.len(), called.iter().collect::<BTreeSet<_>>().len()), (sent, PAGES), "{told_of_it}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_forgot_meanwhile_is_begun_anew() {
    // It holds the call of page 1 until the host is dead, and knows only sessions that began later.
    let server = Provider::start(|asked| match asked.number {
        4 => vec![Act::Hold],
        _ if asked.number > 4 && asked.header("mcp-session-id") == "s-1" => {
            super::provider::plain(404, Vec::new(), "no such session")
        }
        _ => serves(asked),
    })
    .await;
    let provider = Provider::start(reads).await;
    let asking = borrowing(&provider, &[origin(&server)]).await;
    let run = asking.server.run("models/borrows", &format!("{}/mcp", origin(&server))).await;
    server.until(|log| log.len() == 4).await;
    let asking = asking.killed().await;
    assert_eq!(output(&asking, run).await, "page 1 page 2 page 3");
    let log = server.log();
    assert_eq!((keys(&log, "initialize").len(), keys(&log, "tools/list").len()), (2, 1));
    assert!(asking.server.replay(run).await.identical);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_outside_of_the_grant_is_never_reached() {
    let server = Provider::start(serves).await;
    let provider = Provider::start(reads).await;
    let asking = borrowing(&provider, &["https://mcp.example.com".to_owned()]).await;
    let run = asking.server.run("models/borrows", &format!("{}/mcp", origin(&server))).await;
    let run = asking.server.wait(run).await;
    assert!(run.failure.as_ref().is_some_and(|failure| failure.get().contains("EGRESS_DENIED")), "{run:?}");
    assert!(server.log().is_empty() && provider.log().is_empty());
}

/// The server of ours.
pub(super) async fn scripted() -> Provider {
    Provider::start(serves).await
}

/// The deployment of the guest, as an operator points it to something.
pub(super) async fn deploy(asking: &Asking, mcp: &[String]) -> model::Deployment {
    let component = asking.server.upload("models").await.digest;
    let models = ["scripted/*", "scripted-r/*", "scripted-a/*"];
    let deploy = json!({ "component": component, "allow_models": models, "allow_mcp": mcp });
    asking.server.send(Method::PUT, "deployments/models", &deploy).await
}

fn current(deployment: &model::Deployment) -> &[String] {
    let mut versions = deployment.versions.iter();
    &versions.find(|version| version.version == deployment.current).expect("it is there").allow_mcp
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_asked_by_its_name_where_the_deployment_says_it_is() {
    let (server, moved) = (Provider::start(serves).await, Provider::start(serves).await);
    let provider = Provider::start(reads).await;
    let asking = Asking::new(&provider, "models").await;
    let [here, there] = [&server, &moved].map(|server| format!("lib={}/mcp", origin(server)));
    // No host is granted: what the name leads to is enough, and opens nothing else.
    deploy(&asking, std::slice::from_ref(&here)).await;
    let ask = async || output(&asking, asking.server.run("models/borrows_by_name", &()).await).await;
    assert_eq!(ask().await, "page 1 page 2 page 3");
    let asked = server.log();
    assert!(asked.iter().all(|asked| asked.path == "/mcp"), "{asked:?}");
    let run = asking.server.run("models/borrows", &format!("{}/mcp", origin(&server))).await;
    let run = asking.server.wait(run).await;
    assert!(run.failure.as_ref().is_some_and(|failure| failure.get().contains("EGRESS_DENIED")), "{run:?}");
    assert_eq!(server.log().len(), asked.len(), "by its URL it is a host as any");

    // A server that moves is another version of the deployment, which a promotion keeps and a rollback takes back.
    trackway(&asking.server, &format!("deploy models.wasm --allow-model scripted/* --mcp {there}")).expect(0);
    assert_eq!(ask().await, "page 1 page 2 page 3");
    assert_eq!((server.log().len(), moved.log().len()), (asked.len(), asked.len()));
    let promoted = trackway(&asking.server, "deployments promote models --from models -o json").expect(0);
    let promoted: model::Deployment = serde_json::from_str(&promoted.stdout).expect("JSON");
    assert_eq!(current(&promoted), std::slice::from_ref(&there));
    let listed = trackway(&asking.server, "deployments ls -o text").expect(0).stdout;
    assert!(listed.contains(&there), "{listed}");
    let back = trackway(&asking.server, "deployments rollback models -o json").expect(0);
    assert_eq!(current(&serde_json::from_str(&back.stdout).expect("JSON")), [here]);
    let run = asking.server.run("models/borrows_by_name", &()).await;
    assert_eq!(output(&asking, run).await, "page 1 page 2 page 3");
    assert_eq!(server.log().len(), 2 * asked.len());
    // Journal and trace have the name, wherever it leads to.
    assert!(asking.server.replay(run).await.identical);
    let shown = trackway(&asking.server, &format!("trace {run} --step 1 -o text")).expect(0).stdout;
    assert!(shown.contains("mcp://lib") && !shown.contains(&origin(&server)), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_the_deployment_does_not_have_or_that_leads_on_reaches_nobody() {
    let elsewhere = Provider::start(serves).await;
    let to = format!("{}/mcp", origin(&elsewhere));
    let server = Provider::start(move |_| super::provider::plain(307, vec![("location", to.clone())], "")).await;
    let provider = Provider::start(reads).await;
    let asking = Asking::new(&provider, "models").await;
    for (mcp, hint) in [
        (vec![], "--mcp lib=URL".to_owned()),
        (vec![format!("other={}/mcp", origin(&elsewhere))], "--mcp lib=URL".to_owned()),
        (vec![format!("lib={}/mcp", origin(&server))], format!("--allow-host {}", origin(&elsewhere))),
    ] {
        deploy(&asking, &mcp).await;
        let run = asking.server.wait(asking.server.run("models/borrows_by_name", &()).await).await;
        let failure = run.failure.as_ref().expect("it failed").get().to_owned();
        assert!(failure.contains("EGRESS_DENIED") && failure.contains(&hint), "{mcp:?}: {failure}");
    }
    assert!(elsewhere.log().is_empty() && provider.log().is_empty());
    let told = trackway(&asking.server, "deploy models.wasm --allow-model scripted/*").expect(0).stderr;
    assert!(told.contains("--mcp 'lib=URL'"), "{told}");
    let told = trackway(&asking.server, "deploy models.wasm --mcp lib=https://u:p@example.com").expect(2).stderr;
    assert!(told.contains("TW0313") && told.contains("user name or password"), "{told}");
}

/// A process with a server that others wrote.
struct Foreign {
    _child: Child,
    said: Lines<BufReader<ChildStdout>>,
    origin: String,
}

impl Foreign {
    /// None where it is not installed.
    async fn start(mode: &str) -> Option<Foreign> {
        let python = guests().with_file_name("tools").join("python/bin/python");
        let has_it = Command::new(&python).args(["-c", "import mcp.server.mcpserver"]).stderr(Stdio::null()).status();
        if !has_it.await.is_ok_and(|status| status.success()) {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/models/mcp_server.py");
        let mut command = Command::new(&python);
        command.arg(script).arg(mode).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("python starts");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let port = said.next_line().await.expect("readable").expect("it says its port");
        Some(Foreign { _child: child, said, origin: format!("http://127.0.0.1:{port}") })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_uses_the_tools_of_a_server_that_others_wrote() {
    for mode in ["json", "events"] {
        let Some(mut server) = Foreign::start(mode).await else {
            println!("NOT RUN: an MCP server that others wrote: it is not installed (`cargo xtask check` installs it)");
            return;
        };
        let provider = Provider::start(|asked| match told(asked).len() {
            0 => calls(asked, "lib_read", &json!({ "page": 7 })),
            1 => calls(asked, "lib_read", &json!({ "page": "seven" })),
            2 => calls(asked, "lib_read", &json!({ "page": 0 })),
            3 => calls(asked, "lib_find", &json!({ "word": "tide" })),
            _ => says(asked, &json!(told(asked)).to_string()),
        })
        .await;
        let asking = borrowing(&provider, std::slice::from_ref(&server.origin)).await;
        let run = asking.server.run("models/borrows", &format!("{}/mcp", server.origin)).await;
        let said = output(&asking, run).await;
        let said: Vec<String> = serde_json::from_str(said.as_str().expect("text")).expect("a list");
        assert_eq!(said[0], "This is page 7.", "{mode}");
        assert!(said[1].contains("arguments.page: expected integer, not string"), "{mode}: {said:?}");
        assert!(said[2].contains("MCP_ERROR") && said[2].contains("there is no such page"), "{mode}: {said:?}");
        assert_eq!(serde_json::from_str::<Value>(&said[3]).expect("JSON"), json!({ "pages": [4] }), "{mode}");
        let first = &provider.log()[0].body["tools"];
        assert_eq!(first[0]["function"]["name"], "lib_read");
        assert_eq!(first[0]["function"]["description"], "Reads a page.");
        for call in ["read 7", "read 0", "find tide"] {
            assert_eq!(server.said.next_line().await.expect("readable").as_deref(), Some(call), "{mode}");
        }
        assert!(asking.server.replay(run).await.identical, "{mode}");
    }
}
