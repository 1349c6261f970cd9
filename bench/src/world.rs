//! What an effect reaches: a server that answers every request with the number 1, at once, or after
//! the milliseconds that the path names (`/after/500`). It keeps count of nothing.

use anyhow::{Context, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::message_length;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n1";

/// Serves on a thread of its own until the process ends.
pub fn serve(address: &str) -> Result<()> {
    let listener = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("world".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(accept_all(listener)) {
            eprintln!("the world ended: {error:#}");
        }
    })?;
    Ok(())
}

async fn accept_all(listener: std::net::TcpListener) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // Whoever closes the connection is done with it.
        tokio::spawn(async move { drop(answer_all(stream).await) });
    }
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4 << 10);
    loop {
        while let Some(length) = message_length(&buffer)? {
            if let Some(wait) = wait_of(&buffer) {
                tokio::time::sleep(wait).await;
            }
            buffer.drain(..length);
            stream.write_all(ANSWER).await?;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

fn wait_of(message: &[u8]) -> Option<Duration> {
    let line = message.split(|byte| *byte == b'\r').next()?;
    let path = std::str::from_utf8(line).ok()?.split(' ').nth(1)?;
    path.strip_prefix("/after/")?.parse().ok().map(Duration::from_millis)
}
