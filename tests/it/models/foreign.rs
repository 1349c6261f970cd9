//! Models behind a server that others wrote, over real sockets: litellm's proxy, which speaks all three protocols to us,
//! streams them itself, and asks the scripted provider. What its own words say is not judged here, but that we understand them.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::provider::{Act, Asked, Provider, Says, events, events_head, plain, settings, stream};
use super::streaming::Reader;
use super::{Asking, SECRET, request, trackway};
use crate::rig::guests;

const PROVIDERS: [&str; 3] = ["scripted", "scripted-r", "scripted-a"];

/// The process of the proxy.
struct Proxy {
    _child: Child,
    address: SocketAddr,
}

impl Proxy {
    /// None where it is not installed, which is said.
    async fn start(upstream: &Provider) -> Option<Proxy> {
        let python = guests().with_file_name("tools").join("litellm/bin/python");
        if !python.with_file_name("litellm").is_file() {
            println!(
                "NOT RUN: a model server that others wrote: it is not installed (`cargo xtask check` installs it)"
            );
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/models/litellm_server.py");
        let mut command = Command::new(&python);
        command.arg(script).arg(format!("http://{}/v1", upstream.address)).arg(SECRET);
        // It tells of each refusal at length.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("python starts");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let port: u16 = said.next_line().await.expect("readable").expect("it says its port").parse().expect("a port");
        // What else it says is of no interest, but it must be able to say it.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        Some(Proxy { _child: child, address: ([127, 0, 0, 1], port).into() })
    }

    async fn asking(&self, guest: &str) -> Asking {
        Asking::with(&settings(self.address), guest).await
    }
}

/// The answers of tools in a request, whatever its protocol.
fn tools_told(asked: &Asked) -> usize {
    let text = asked.body.to_string();
    let words = ["\"role\":\"tool\"", "\"function_call_output\"", "\"tool_result\""];
    words.iter().map(|word| text.matches(word).count()).sum()
}

/// Behind the proxy: one model wants tools to be called, the other one its peace.
fn calls_or_refuses(asked: &Asked) -> Vec<Act> {
    if asked.body["model"] == "busy" {
        return plain(429, vec![("retry-after", "40".to_owned())], "{\"error\":{\"message\":\"slow down\"}}");
    }
    let calls = [("call_1", "weather", "{\"city\":\"Bern\"}"), ("call_2", "weather", "{\"city\":\"Rom\"}")];
    stream(asked.protocol(), &Says { calls: &calls, ..Says::default() })
}

/// A model that reads two pages where it has a tool for it, and else talks slowly.
fn reads_or_talks(asked: &Asked) -> Vec<Act> {
    let has_tools = asked.body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    match tools_told(asked) {
        told if has_tools && told < 2 => {
            let (id, arguments) = (format!("call_{told}"), json!({ "page": told + 1 }).to_string());
            stream(asked.protocol(), &Says { calls: &[(&id, "lib_read", &arguments)], ..Says::default() })
        }
        _ if has_tools => {
            let text = asked.body.to_string();
            let both = text.contains("page 1") && text.contains("page 2");
            let words = if both { "It read both." } else { "It read something else." };
            stream(asked.protocol(), &Says { pieces: &[words], ..Says::default() })
        }
        _ => {
            let mut acts = vec![events_head()];
            let pieces = ["This ", "is ", &format!("{}.", asked.turns())];
            for event in events(asked.protocol(), &Says { pieces: &pieces, ..Says::default() }) {
                acts.extend([Act::Send(event), Act::Wait(Duration::from_millis(100))]);
            }
            acts.push(Act::End);
            acts
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_a_server_that_others_wrote_are_understood_in_all_protocols() {
    let upstream = Provider::start(calls_or_refuses).await;
    let Some(proxy) = Proxy::start(&upstream).await else { return };
    let asking = proxy.asking("raw").await;
    // Of responses it streams none by itself.
    for provider in ["scripted", "scripted-a"] {
        let said = asking.answer(&request(&format!("{provider}/said"))).await;
        assert_eq!(said["content"], "It is raining in Bern.", "{provider}: {said}");
        assert_eq!((&said["finish_reason"], &said["tool_calls"]), (&json!("stop"), &json!([])), "{provider}: {said}");
        let used = |which: &str| said["usage"][which].as_u64().expect("a number");
        assert!(used("input_tokens") > 0 && used("output_tokens") > 0, "{provider}: {said}");
    }
    let asked = upstream.log();
    assert!(asked.iter().all(|asked| asked.path == "/v1/models"), "it answers so much by itself: {asked:?}");
    for provider in PROVIDERS {
        let mut asked = request(&format!("{provider}/m"));
        let input = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
        asked["tools"] = json!([{ "name": "weather", "description": "Looks out of the window.", "input": input }]);
        let said = asking.answer(&asked).await;
        assert_eq!(said["finish_reason"], "tool_calls", "{provider}: {said}");
        let calls = said["tool_calls"].as_array().expect("calls");
        let arguments = calls.iter().map(|call| {
            assert_eq!(call["name"], "weather", "{provider}: {said}");
            assert!(call["id"].as_str().is_some_and(|id| !id.is_empty()), "{provider}: {said}");
            serde_json::from_str::<Value>(call["arguments"].as_str().expect("text")).expect("JSON")
        });
        let arguments: Vec<Value> = arguments.collect();
        assert_eq!(arguments, [json!({ "city": "Bern" }), json!({ "city": "Rom" })], "{provider}: {said}");
        let used = (&said["usage"]["input_tokens"], &said["usage"]["output_tokens"]);
        assert_eq!(used, (&json!(100), &json!(10)), "{provider}: {said}");

        let limited = asking.failure(&request(&format!("{provider}/busy")), &json!({})).await;
        let told = (&limited["code"], &limited["retryable"]);
        assert_eq!(told, (&json!("MODEL_RATE_LIMITED"), &json!(true)), "{provider}: {limited}");
        let unknown = asking.failure(&request(&format!("{provider}/nobody")), &json!({})).await;
        assert_eq!(unknown["retryable"], json!(false), "{provider}: {unknown}");
    }
    asking.told_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_work_behind_a_server_that_others_wrote_and_its_words_come_in_pieces() {
    let library = super::mcp::scripted().await;
    let upstream = Provider::start(reads_or_talks).await;
    let Some(proxy) = Proxy::start(&upstream).await else { return };
    let asking = proxy.asking("models").await;
    super::mcp::deploy(&asking, &[format!("lib=http://{}/mcp", library.address)]).await;
    for provider in PROVIDERS {
        let talk = json!({ "model": format!("{provider}/m"), "calls": 2, "deltas": "token" });
        let run = asking.server.run("models/talks", &talk).await;
        let mut reader = Reader::of(&asking.server, run).await;
        let mut pieces = Vec::new();
        while let Some((name, data)) = reader.next().await {
            match name.as_str() {
                "delta" => pieces.push(data["data"]["text"].as_str().expect("text").to_owned()),
                "end" => break,
                _ => {}
            }
        }
        let run = asking.server.wait(run).await;
        assert_eq!(pieces.concat(), "This is 1.This is 2.", "{provider}: {run:?}");
        assert!(pieces.len() > 2, "{provider}: as it comes: {pieces:?}");
        let spent = run.spending.as_ref().expect("it asked models");
        assert_eq!((spent.calls, spent.input_tokens, spent.output_tokens), (2, 200, 20), "{provider}: {spent:?}");
        let run = asking.server.run("models/borrows_by_name_of", &format!("{provider}/m")).await;
        assert_eq!(super::mcp::output(&asking, run).await, "It read both.", "{provider}");
        assert!(asking.server.replay(run).await.identical, "{provider}");
        let shown = trackway(&asking.server, &format!("trace {run} -o text")).expect(0).stdout;
        assert!(shown.contains(&format!("model {provider}/m")) && shown.contains("tool lib_read"), "{shown}");
    }
}
