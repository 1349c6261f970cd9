//! What answers instead of a model where nobody has a key: a server on this machine that speaks the protocol of chat completions and
//! says what it says by fixed rules. It thinks of nothing.

use anyhow::Result;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A model takes its time, and the host is to be killed meanwhile.
const THINKS: Duration = Duration::from_millis(1_200);
/// As many as the agent may read.
const READS: usize = 3;
/// No request of a demo is larger.
const BODY_MAX_BYTES: usize = 8 << 20;

pub struct Scripted {
    address: SocketAddr,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Serves until this program ends. The pages that it wants to read are these.
    pub fn serve(pages: Vec<String>) -> Result<Scripted> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let keys = Arc::new(Mutex::new(Vec::new()));
        let seen = keys.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, pages) = (seen.clone(), pages.clone());
                // A client that is killed in the middle is what the demo is about.
                std::thread::spawn(move || answer(&stream, &seen, &pages).ok());
            }
        });
        Ok(Scripted { address, keys })
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The idempotency keys that came, in order.
    pub fn keys(&self) -> Vec<String> {
        self.keys.lock().map(|keys| keys.clone()).unwrap_or_default()
    }
}

fn answer(stream: &TcpStream, keys: &Mutex<Vec<String>>, pages: &[String]) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut key, mut size_bytes) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            // The first line has no name, the last one is empty.
            if line.trim_end().is_empty() { break } else { continue }
        };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => value.trim().clone_into(&mut key),
            "content-length" => size_bytes = value.trim().parse::<usize>()?.min(BODY_MAX_BYTES),
            _ => {}
        }
    }
    let mut body = vec![0; size_bytes];
    reader.read_exact(&mut body)?;
    if let Ok(mut keys) = keys.lock() {
        keys.push(key);
    }
    let request: Value = serde_json::from_slice(&body)?;
    std::thread::sleep(THINKS);
    let events = said(&request, pages).into_iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
    let mut stream = stream;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    write!(stream, "{events}data: [DONE]\n\n")?;
    Ok(())
}

/// Reads a page, and another one, and says what stood in the last.
fn said(request: &Value, pages: &[String]) -> Vec<Value> {
    let messages = request["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let read: Vec<&Value> = messages.iter().filter(|message| message["role"] == "tool").collect();
    let (delta, finish) = match pages.get(read.len()).filter(|_| read.len() < READS) {
        Some(url) => {
            let arguments = json!({ "url": url }).to_string();
            let call = json!({ "index": 0, "id": format!("call_{}", read.len() + 1), "type": "function",
                               "function": { "name": "read_page", "arguments": arguments } });
            (json!({ "tool_calls": [call] }), "tool_calls")
        }
        None => {
            let sentence = |page: &&Value| {
                let page: Value = serde_json::from_str(page["content"].as_str()?).ok()?;
                Some(format!("{}.", page["text"].as_str()?.split(". ").next()?.trim_end_matches('.')))
            };
            let points: Vec<String> = read.iter().filter_map(sentence).collect();
            let answer = points.last().cloned().unwrap_or_default();
            let summary =
                json!({ "answer": answer, "points": points, "sources": &pages[..read.len().min(pages.len())] });
            (json!({ "content": summary.to_string() }), "stop")
        }
    };
    let given = request.to_string().len() / 4;
    let chunk = |choices: Value, usage: Value| json!({ "id": "scripted", "model": "scripted", "choices": choices, "usage": usage });
    vec![
        chunk(json!([{ "index": 0, "delta": delta, "finish_reason": null }]), Value::Null),
        chunk(json!([{ "index": 0, "delta": {}, "finish_reason": finish }]), Value::Null),
        chunk(json!([]), json!({ "prompt_tokens": given, "completion_tokens": 40 })),
    ]
}
