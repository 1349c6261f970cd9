//! Bytes on a socket of the real server: requests as nobody should send them. The server answers or
//! closes, and serves whoever comes next.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::mutate;
use super::target::{Target, gist};
use crate::server::KEY;
use crate::simulate::dice::Dice;

/// A client that has said all and is still waiting closes its side.
const SILENCE: Duration = Duration::from_millis(150);
/// More than the server gives a client that says nothing.
const PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const LOOK_EVERY: u64 = 50;
/// Stands for the digest of a component that is there.
const DIGEST: &str = "DIGEST";

const REQUESTS: [(&str, &str); 29] = [
    // A guest that does to the imports what it is told to.
    (
        "POST /v1/runs?wait=1",
        r#"{"workflow":"raw/script","input":{"ops":[["sleep",1,"{\"label\":\"l\"}"],["next"],["now"],["random",8]]}}"#,
    ),
    (
        "POST /v1/runs?wait=1",
        r#"{"workflow":"raw/script","input":{"ops":[["call","script",{"ops":[["get","http://world.test/"],["next"],
            ["log","info","m","{}"],["return","1"]]},"{\"label\":\"l\"}","src/lib.rs:1"],["next"],["return","2"]]}}"#,
    ),
    (
        "POST /v1/runs?wait=1",
        r#"{"workflow":"raw/script","input":{"ops":[["sleep",9999,""],["sleep",1,""],["cancel",1],["forget",2],["next"]]}}"#,
    ),
    (
        "POST /v1/runs?wait=1",
        r#"{"workflow":"raw/script","input":{"ops":[["repeat",3,[["sleep",0,""]]],["next"],["panicked","x"],["call","no",1,""],["next"]]}}"#,
    ),
    ("GET /v1/health", ""),
    ("GET /v1/openapi.json", ""),
    ("POST /v1/runs", r#"{"workflow":"sleeper/sleeps","input":1}"#),
    ("POST /v1/runs?wait=1", r#"{"workflow":"values/several","input":[1,2]}"#),
    ("GET /v1/runs?status=succeeded&limit=2&workflow=sleeps&deployment=sleeper", ""),
    ("GET /v1/runs?cursor=01k&status=running,sleeping", ""),
    ("GET /v1/runs/@last", ""),
    ("GET /v1/runs/01", ""),
    ("GET /v1/runs/@last/children?limit=2&cursor=0", ""),
    ("GET /v1/runs/@last/wait?timeout=0", ""),
    ("POST /v1/runs/@last/cancel", r#"{"reason":"enough"}"#),
    ("GET /v1/runs/@last/trace", ""),
    ("GET /v1/runs/@last/logs?limit=5", ""),
    ("GET /v1/runs/@last/events", ""),
    ("GET /v1/runs/@last/journal?from=0&limit=3", ""),
    ("POST /v1/runs/@last/replay", r#"{}"#),
    ("POST /v1/components", "\0asm\u{1}\0\0\0"),
    ("GET /v1/components/DIGEST", ""),
    ("GET /v1/deployments", ""),
    ("GET /v1/deployments/sleeper", ""),
    ("PUT /v1/deployments/other", r#"{"component":"DIGEST","allow_hosts":["https://a.example"],"if_revision":null}"#),
    ("POST /v1/deployments/sleeper/promote", r#"{"version":1}"#),
    ("POST /v1/deployments/sleeper/rollback", r#"{}"#),
    ("POST /v1/store/check", ""),
    ("GET /v1/store/backup", ""),
];

/// Of a request before its body.
const HEAD_WORDS: [&str; 36] = [
    "GET ",
    "POST ",
    "PUT ",
    "HEAD ",
    "OPTIONS ",
    "CONNECT ",
    "TRACE ",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "Connection: upgrade\r\n",
    "Connection: keep-alive\r\n",
    "Idempotency-Key: a\r\n",
    "Idempotency-Key: \u{e9}\r\n",
    "Last-Event-ID: 99999999999999999999\r\n",
    "Last-Event-ID: -1\r\n",
    "Host: evil.example\r\n",
    "Authorization: Basic x\r\n",
    "Authorization: Bearer \r\n",
    "Accept: text/event-stream\r\n",
    "Content-Encoding: gzip\r\n",
    "Range: bytes=0-\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "5;a=b\r\nhello\r\n",
];

/// Of paths and queries.
const PATH_WORDS: [&str; 15] = [
    "%00",
    "%ff%fe",
    "%2e%2e/",
    "//",
    "?",
    "&",
    "=",
    "limit=18446744073709551616",
    "limit=0",
    "from=18446744073709551615",
    "timeout=1e999",
    "cursor=%00",
    "status=",
    "wait=-1",
    "@last",
];

/// Of bodies: fields of the API, and what the guest `raw` knows.
const BODY_WORDS: [&str; 22] = [
    "DIGEST",
    "sleeper",
    "\"workflow\"",
    "\"input\"",
    "\"component\"",
    "\"if_revision\"",
    "\"version\"",
    "http://a/",
    "*",
    "sleep",
    "next",
    "call",
    "get",
    "random",
    "log",
    "cancel",
    "forget",
    "repeat",
    "script",
    "{}",
    "{\"label\":1}",
    "[",
];

/// Says what is wrong with the server, if anything.
type Look = Box<dyn FnMut() -> Result<(), String>>;

pub struct Api {
    address: SocketAddr,
    digest: String,
    look: Look,
    fed: u64,
}

impl Api {
    pub fn new(address: SocketAddr, digest: String, look: Look) -> Api {
        Api { address, digest, look, fed: 0 }
    }

    fn exchange(&self, input: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(SILENCE))?;
        // A server that has heard enough closes before the end.
        if let Err(error) = stream.write_all(input) {
            assert!(error.kind() != ErrorKind::WouldBlock, "the server does not read and does not close");
        }
        let mut answer = Vec::new();
        let mut closed = false;
        let mut buffer = [0; 16 << 10];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(answer),
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && !closed => {
                    closed = true;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    if stream.shutdown(Shutdown::Write).is_err() {
                        return Ok(answer);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the server neither answers nor closes");
                }
                Err(_) => return Ok(answer),
            }
            if answer.len() > ANSWER_BYTES_MAX {
                return Ok(answer);
            }
        }
    }
}

impl Target for Api {
    fn seeds(&mut self) -> Vec<Vec<u8>> {
        REQUESTS.iter().map(|(line, body)| request(line, body.as_bytes())).collect()
    }

    fn mutate(&mut self, dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
        let (head, body) = parts(input);
        match dice.within(0..=9) {
            0..=1 => mutate::bytes(dice, input, other, &HEAD_WORDS),
            2..=5 if !body.is_empty() => {
                let mut body = body.to_vec();
                if !mutate::json(dice, &mut body, &BODY_WORDS) {
                    mutate::bytes(dice, &mut body, parts(other).1, &BODY_WORDS);
                }
                *input = if dice.chance(20) { chunked(dice, head, &body) } else { settled(head, &body) };
            }
            6 => {
                // One after the other on one connection.
                let both = [&input[..], other].concat();
                *input = String::from_utf8_lossy(&both)
                    .replacen("Connection: close", "Connection: keep-alive", 1)
                    .into_bytes();
            }
            _ => {
                let end = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
                let (mut line, rest) = (head[..end].to_vec(), head[end..].to_vec());
                mutate::bytes(dice, &mut line, parts(other).0, &PATH_WORDS);
                *input = [&line, &rest, b"\r\n\r\n" as &[u8], body].concat();
            }
        }
    }

    fn feed(&mut self, input: &[u8]) -> String {
        let input = replaced(input, DIGEST.as_bytes(), self.digest.as_bytes());
        let answer = match self.exchange(&input) {
            Ok(answer) => answer,
            Err(error) => panic!("{error}: {:?}", (self.look)()),
        };
        self.fed += 1;
        if self.fed.is_multiple_of(LOOK_EVERY)
            && let Err(why) = (self.look)()
        {
            panic!("one of the last {LOOK_EVERY} requests: {why}");
        }
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("TW0001"), "an internal error: {text}");
        assert!(!text.contains("\"status\":\"stuck\""), "a run is stuck: {text}");
        let status: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("HTTP/1."))
            .map(|line| &line[..line.len().min(5)])
            .collect();
        assert!(!status.iter().any(|status| status.ends_with(" 50") || status.contains(" 500")), "{text}");
        let code = text.find("\"code\":\"TW").map_or("", |place| text.get(place + 8..place + 14).unwrap_or_default());
        let detail =
            text.split_once("\"detail\":\"").map_or("", |(_, rest)| rest.split('"').next().unwrap_or_default());
        format!("{:?} {code} {}", status.iter().take(2).collect::<Vec<_>>(), gist(detail))
    }

    fn rare(&self) -> &'static str {
        "408"
    }
}

fn request(line: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\
         Content-Type: application/json"
    );
    settled(head.as_bytes(), body)
}

fn parts(input: &[u8]) -> (&[u8], &[u8]) {
    let place = input.windows(4).position(|four| four == b"\r\n\r\n");
    place.map_or((input, &[]), |place| (&input[..place], &input[place + 4..]))
}

/// With the length that the body has.
fn settled(head: &[u8], body: &[u8]) -> Vec<u8> {
    let head = without_length(head);
    [&head, format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

fn chunked(dice: &mut Dice, head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = [&without_length(head), b"\r\nTransfer-Encoding: chunked\r\n\r\n" as &[u8]].concat();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(dice.within(1..=rest.len() as u64) as usize);
        let size = if dice.chance(90) { chunk.len() as u64 } else { dice.next() };
        bytes.extend(format!("{size:x}\r\n").bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
        rest = after;
    }
    if dice.chance(90) {
        bytes.extend(b"0\r\n\r\n");
    }
    bytes
}

fn without_length(head: &[u8]) -> Vec<u8> {
    let is_length = |line: &[u8]| {
        let line = line.to_ascii_lowercase();
        line.starts_with(b"content-length:") || line.starts_with(b"transfer-encoding:")
    };
    let lines: Vec<&[u8]> =
        head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    lines.into_iter().filter(|line| !is_length(line)).collect::<Vec<_>>().join(&b"\r\n"[..])
}

fn replaced(input: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len());
    let mut rest = input;
    while let Some(place) = rest.windows(from.len()).position(|found| found == from) {
        bytes.extend_from_slice(&rest[..place]);
        bytes.extend_from_slice(to);
        rest = &rest[place + from.len()..];
    }
    bytes.extend_from_slice(rest);
    bytes
}
