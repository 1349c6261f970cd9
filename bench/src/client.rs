//! As small an HTTP client as the work allows, so that what is measured is the server: one connection,
//! one request at a time, no Nagle. It understands what the measured servers answer, nothing more.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer of any work is nearly as long.
const ANSWER_MAX_BYTES: usize = 16 << 20;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    acknowledges: Acknowledges,
}

/// When the system tells the other side that something has come. A server that sends head and body apart,
/// with Nagle on, holds the body back until then: for 40 ms, where the client has the habit of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledges {
    /// As the system thinks best.
    Whenever,
    AtOnce,
}

pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// Where the head of a message ends, and how long its body is.
enum Body {
    Sized { begin: usize, end: usize },
    Chunked { begin: usize },
}

impl Connection {
    pub async fn open(address: &str) -> Result<Connection> {
        Connection::open_with(address, Acknowledges::Whenever).await
    }

    pub async fn open_with(address: &str, acknowledges: Acknowledges) -> Result<Connection> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(4 << 10), acknowledges })
    }

    /// Sends a whole request and waits for the whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            // The system falls back into its habit by itself, so it is told before each read.
            #[cfg(target_os = "linux")]
            if self.acknowledges == Acknowledges::AtOnce {
                self.stream.set_quickack(true)?;
            }
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the server closed the connection: {}", String::from_utf8_lossy(&self.buffer));
            ensure!(self.buffer.len() <= ANSWER_MAX_BYTES, "an answer is longer than {ANSWER_MAX_BYTES} bytes");
            let end = match body_of(&self.buffer)? {
                Some(Body::Sized { begin, end }) if self.buffer.len() >= end => Some((begin, end)),
                Some(Body::Chunked { begin }) if self.buffer.ends_with(b"0\r\n\r\n") => {
                    Some((begin, self.buffer.len()))
                }
                Some(Body::Sized { .. } | Body::Chunked { .. }) | None => None,
            };
            if let Some((begin, end)) = end {
                let status = std::str::from_utf8(self.buffer.get(9..12).unwrap_or_default())?;
                let status = status.parse().with_context(|| format!("`{status}` is no status"))?;
                return Ok(Answer { status, body: &self.buffer[begin..end] });
            }
        }
    }
}

/// `None` while the head is not there yet.
fn body_of(message: &[u8]) -> Result<Option<Body>> {
    let Some(head) = message.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let begin = head + 4;
    for line in std::str::from_utf8(&message[..head])?.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else { bail!("`{line}` is no header") };
        if name.eq_ignore_ascii_case("content-length") {
            let size: usize = value.trim().parse()?;
            return Ok(Some(Body::Sized { begin, end: begin + size }));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Ok(Some(Body::Chunked { begin }));
        }
    }
    Ok(Some(Body::Sized { begin, end: begin }))
}

/// The length of the whole first message in `buffer`, if it is there.
pub fn message_length(buffer: &[u8]) -> Result<Option<usize>> {
    Ok(body_of(buffer)?.and_then(|body| match body {
        Body::Sized { end, .. } => (buffer.len() >= end).then_some(end),
        Body::Chunked { begin } => {
            let rest = buffer.get(begin..)?;
            rest.windows(5).position(|window| window == b"0\r\n\r\n").map(|place| begin + place + 5)
        }
    }))
}
