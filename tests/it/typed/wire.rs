//! The API as a program speaks it: one connection that stays open. It knows no more of HTTP than
//! the server needs.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::{KEY, PATIENCE, Server};

pub struct Wire {
    stream: BufReader<TcpStream>,
    key: String,
    /// Of the last answer, a line for each header, in small letters.
    pub head: Vec<String>,
}

impl Wire {
    pub fn to(server: &Server) -> Wire {
        Wire::with(server, KEY)
    }

    pub fn with(server: &Server, key: &str) -> Wire {
        let address = server.url.trim_start_matches("http://");
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).expect("a socket");
        Wire { stream: BufReader::new(stream), key: key.to_owned(), head: Vec::new() }
    }

    pub fn get(&mut self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, "", b"");
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Starts a run and waits for its end, up to a minute.
    pub fn run(&mut self, workflow: &str, input: &Value) -> Value {
        let start = serde_json::json!({ "workflow": workflow, "input": input }).to_string();
        let (status, answer) = self.ask("POST", "runs?wait=60", "application/json", start.as_bytes());
        assert_eq!(status, 201, "{answer}");
        answer["run"].clone()
    }

    /// All durable entries of a run.
    pub fn journal(&mut self, run: &str) -> Vec<Value> {
        let mut entries = Vec::new();
        loop {
            let page = self.get(&format!("runs/{run}/journal?from={}", entries.len()));
            match page["entries"].as_array() {
                Some(more) if !more.is_empty() => entries.extend(more.iter().cloned()),
                Some(_) | None => return entries,
            }
        }
    }

    pub fn ask(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
        self.send(method, path, content_type, body.len(), body);
        self.answer()
    }

    /// A request that says it is of `length` bytes, and what of it is sent.
    pub fn send(&mut self, method: &str, path: &str, content_type: &str, length: usize, body: &[u8]) {
        let head = format!(
            "{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n",
            key = self.key
        );
        // One write: two would wait for each other in the network's buffers.
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat()).expect("the server reads");
    }

    pub fn answer(&mut self) -> (u16, Value) {
        let mut status = None;
        let mut length = 0;
        self.head.clear();
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).expect("an answer") > 0, "the server hung up");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            self.head.push(line);
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the whole answer");
        (status.expect("a status"), serde_json::from_slice(&body).expect("JSON"))
    }
}
