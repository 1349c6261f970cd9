//! A provider of models on a real socket: it speaks all three protocols by a script, streams in chunks, and can
//! misbehave in every way that a network or a program can. It remembers what it was asked, and never judges.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// From 1, in the order of arrival.
    pub number: usize,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    /// When its last piece was handed to the socket.
    pub answered: Option<Instant>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub fn key(&self) -> &str {
        self.header("idempotency-key")
    }

    pub fn protocol(&self) -> Protocol {
        match self.path.rsplit('/').next() {
            Some("responses") => Protocol::Responses,
            Some("messages") => Protocol::Messages,
            _ => Protocol::Chat,
        }
    }

    /// How often the user has spoken.
    pub fn turns(&self) -> usize {
        let said = self.body.get("messages").or(self.body.get("input")).and_then(Value::as_array);
        said.into_iter().flatten().filter(|message| message["role"] == "user").count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Chat,
    Responses,
    Messages,
}

/// What is done to whoever asks.
#[derive(Debug, Clone)]
pub enum Act {
    /// Status line and headers; the body comes in chunks.
    Head(u16, Vec<(&'static str, String)>),
    Send(String),
    Wait(Duration),
    /// For as long as the other side is there.
    Hold,
    /// The end of a body.
    End,
    /// The connection is closed as it is.
    Cut,
}

/// As an operator sets a server up, once for each protocol.
pub fn settings(address: SocketAddr) -> String {
    let table = |name: &str, protocol: &str| {
        format!(
            "[providers.{name}]\nprotocol = \"{protocol}\"\nurl = \"http://{address}/v1\"\nkey_env = \"SCRIPTED_KEY\"\n\
             [providers.{name}.prices]\n\"m\" = {{ input = 1, output = 10, cached = 0.5 }}\n"
        )
    };
    [("scripted", "openai-chat"), ("scripted-r", "openai-responses"), ("scripted-a", "anthropic")]
        .map(|(name, protocol)| table(name, protocol))
        .concat()
}

type Script = dyn Fn(&Asked) -> Vec<Act> + Send + Sync;

pub struct Provider {
    pub address: SocketAddr,
    log: watch::Receiver<Vec<Asked>>,
}

#[derive(Clone)]
struct Shared {
    log: Arc<watch::Sender<Vec<Asked>>>,
    script: Arc<Script>,
}

impl Provider {
    pub async fn start(script: impl Fn(&Asked) -> Vec<Act> + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, log) = watch::channel(Vec::new());
        let shared = Shared { log: Arc::new(sender), script: Arc::new(script) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who was asking may be dead by now.
                let shared = shared.clone();
                tokio::spawn(async move { shared.serve(stream).await.ok() });
            }
        });
        Provider { address, log }
    }

    pub fn settings(&self) -> String {
        settings(self.address)
    }

    pub fn log(&self) -> Vec<Asked> {
        self.log.borrow().clone()
    }

    /// Resolves when the log is as `wanted`.
    pub async fn until(&self, wanted: impl FnMut(&Vec<Asked>) -> bool) {
        self.log.clone().wait_for(wanted).await.expect("the server lives as long as the test");
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some(asked) = self.read(&mut stream).await? {
            if !self.play(&mut stream, &asked).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn read(&self, stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let pairs = head.iter().skip(1).filter_map(|line| line.split_once(':'));
        let headers: Vec<_> = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut asked = Asked { number: 0, path, headers, body: Value::Null, answered: None };
        let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
        stream.read_exact(&mut body).await?;
        asked.body = serde_json::from_slice(&body).unwrap_or_default();
        self.log.send_modify(|log| {
            asked.number = log.len() + 1;
            log.push(asked.clone());
        });
        Ok(Some(asked))
    }

    /// Whether the connection goes on.
    async fn play(&self, stream: &mut BufReader<TcpStream>, asked: &Asked) -> std::io::Result<bool> {
        for act in (self.script)(asked) {
            let stream = stream.get_mut();
            match act {
                Act::Head(status, headers) => {
                    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                    let head = format!("HTTP/1.1 {status} Scripted\r\n{headers}transfer-encoding: chunked\r\n\r\n");
                    stream.write_all(head.as_bytes()).await?;
                }
                Act::Send(text) => {
                    // Before it is on its way, so that nobody is told of it earlier.
                    self.log.send_modify(|log| log[asked.number - 1].answered = Some(Instant::now()));
                    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await?;
                }
                Act::Wait(time) => tokio::time::sleep(time).await,
                Act::Hold => drop(stream.read(&mut [0]).await?),
                Act::End => stream.write_all(b"0\r\n\r\n").await?,
                Act::Cut => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// A whole answer in one piece that is no stream.
pub fn plain(status: u16, headers: Vec<(&'static str, String)>, body: impl Into<String>) -> Vec<Act> {
    vec![Act::Head(status, headers), Act::Send(body.into()), Act::End]
}

pub fn json_head() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/json".to_owned())]
}

pub fn events_head() -> Act {
    Act::Head(200, vec![("content-type", "text/event-stream; charset=utf-8".to_owned())])
}

/// What is said to somebody who is answered in this protocol.
pub struct Says<'a> {
    pub pieces: &'a [&'a str],
    /// Tool calls: id, name, arguments.
    pub calls: &'a [(&'a str, &'a str, &'a str)],
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cached_tokens: u64,
}

impl Default for Says<'_> {
    fn default() -> Self {
        Says { pieces: &[], calls: &[], input_tokens: 100, output_tokens: 10, cached_tokens: 20 }
    }
}

/// The events of it, in order: one for each piece among them.
pub fn events(protocol: Protocol, says: &Says<'_>) -> Vec<String> {
    match protocol {
        Protocol::Chat => chat(says),
        Protocol::Responses => responses(says),
        Protocol::Messages => messages(says),
    }
}

/// As a stream that goes well.
pub fn stream(protocol: Protocol, says: &Says<'_>) -> Vec<Act> {
    let events = events(protocol, says).into_iter().map(Act::Send);
    [events_head()].into_iter().chain(events).chain([Act::End]).collect()
}

fn chat(says: &Says<'_>) -> Vec<String> {
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({ "id": "chat-1", "object": "chat.completion.chunk", "model": "m-2026-01-01",
                            "choices": [choice] });
        format!("data: {chunk}\n\n")
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(says.pieces.iter().map(|piece| chunk(json!({ "content": piece }), Value::Null)));
    for (place, (id, name, arguments)) in says.calls.iter().enumerate() {
        let call = json!({ "index": place, "id": id, "type": "function",
                           "function": { "name": name, "arguments": arguments } });
        events.push(chunk(json!({ "tool_calls": [call] }), Value::Null));
    }
    let finish = if says.calls.is_empty() { "stop" } else { "tool_calls" };
    events.push(chunk(json!({}), json!(finish)));
    let usage = json!({ "prompt_tokens": says.input_tokens, "completion_tokens": says.output_tokens,
                        "prompt_tokens_details": { "cached_tokens": says.cached_tokens } });
    events.push(format!("data: {}\n\n", json!({ "id": "chat-1", "choices": [], "usage": usage })));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn named(event: Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("events have a type"))
}

fn responses(says: &Says<'_>) -> Vec<String> {
    let mut events = vec![named(json!({ "type": "response.created",
                                        "response": { "id": "resp-1", "model": "m-2026-01-01" } }))];
    for piece in says.pieces {
        events.push(named(json!({ "type": "response.output_text.delta", "output_index": 0, "delta": piece })));
    }
    for (place, (id, name, arguments)) in says.calls.iter().enumerate() {
        let place = place + 1;
        let item_id = format!("fc-{place}");
        let item = |arguments: &str| json!({ "type": "function_call", "id": item_id, "call_id": id, "name": name, "arguments": arguments });
        let at = |event: &str, field: &str, value: Value| {
            let mut event = json!({ "type": event, "output_index": place, "item_id": item_id });
            event[field] = value;
            named(event)
        };
        events.push(at("response.output_item.added", "item", item("")));
        events.push(at("response.function_call_arguments.delta", "delta", json!(arguments)));
        events.push(at("response.function_call_arguments.done", "arguments", json!(arguments)));
        events.push(at("response.output_item.done", "item", item(arguments)));
    }
    let usage = json!({ "input_tokens": says.input_tokens, "output_tokens": says.output_tokens,
                        "input_tokens_details": { "cached_tokens": says.cached_tokens } });
    let response = json!({ "id": "resp-1", "model": "m-2026-01-01", "status": "completed", "output": [],
                           "usage": usage });
    events.push(named(json!({ "type": "response.completed", "response": response })));
    events
}

fn messages(says: &Says<'_>) -> Vec<String> {
    // Apart from what came out of the cache.
    let usage = json!({ "input_tokens": says.input_tokens - says.cached_tokens,
                        "cache_read_input_tokens": says.cached_tokens, "output_tokens": 1 });
    let message = json!({ "id": "msg-1", "model": "m-2026-01-01", "usage": usage });
    let mut events = vec![named(json!({ "type": "message_start", "message": message }))];
    let text = json!({ "type": "text", "text": "" });
    events.push(named(json!({ "type": "content_block_start", "index": 0, "content_block": text })));
    for piece in says.pieces {
        let delta = json!({ "type": "text_delta", "text": piece });
        events.push(named(json!({ "type": "content_block_delta", "index": 0, "delta": delta })));
    }
    for (place, (id, name, arguments)) in says.calls.iter().enumerate() {
        let place = place + 1;
        let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
        events.push(named(json!({ "type": "content_block_start", "index": place, "content_block": block })));
        let delta = json!({ "type": "input_json_delta", "partial_json": arguments });
        events.push(named(json!({ "type": "content_block_delta", "index": place, "delta": delta })));
    }
    let reason = if says.calls.is_empty() { "end_turn" } else { "tool_use" };
    events.push(named(json!({ "type": "message_delta", "delta": { "stop_reason": reason },
                              "usage": { "output_tokens": says.output_tokens } })));
    events.push(named(json!({ "type": "message_stop" })));
    events
}
