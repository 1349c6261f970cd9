use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::*;

#[tokio::test]
async fn an_upload_is_kept_and_told_by_its_digest() {
    let server = Server::start().await;
    let uploaded = server.ask("POST", "/v1/components", &[], &echo()).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let component: Value = uploaded.json();
    assert_eq!(component["pure"], true);
    assert_eq!(component["manifest"]["workflows"][0]["name"], "echo");

    let again = server.ask("POST", "/v1/components", &[], &echo()).await;
    assert_eq!((again.status, again.json::<Value>()), (200, component.clone()));
    let digest = component["digest"].as_str().expect("a digest");
    let read = server.get(&format!("/v1/components/{digest}")).await;
    assert_eq!((read.status, read.json::<Value>()), (200, component));
}

#[tokio::test]
async fn a_component_that_is_not_there_is_not_found() {
    let server = Server::start().await;
    let digest = "ab".repeat(32);
    for path in [format!("/v1/components/{digest}"), "/v1/components/abc".to_owned()] {
        assert_eq!(server.get(&path).await.problem(), (404, "TW0209".to_owned()));
    }
}

#[tokio::test]
async fn what_is_no_component_is_refused_and_not_stored() {
    let server = Server::start().await;
    for (bytes, code) in [(&b"hello"[..], "TW0201"), (b"\x7fELF\x02\x01\x01", "TW0201"), (b"", "TW0201")] {
        assert_eq!(server.ask("POST", "/v1/components", &[], bytes).await.problem(), (422, code.to_owned()));
    }
    let echo = echo();
    let truncated = server.ask("POST", "/v1/components", &[], &echo[..echo.len() / 2]).await;
    assert_eq!(truncated.problem(), (422, "TW0202".to_owned()));
    let digest = trackway_replay::Digest::of(&echo[..echo.len() / 2]);
    assert_eq!(server.get(&format!("/v1/components/{digest}")).await.status, 404);
}

#[tokio::test]
async fn an_announced_upload_that_is_too_large_is_refused_before_it_is_sent() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("the server is there");
    let head = format!(
        "POST /v1/components HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
         content-length: 200000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    // Not a byte of the body is sent: the answer comes all the same, and nothing is waited for.
    let mut first = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_client_that_sends_200_mb_at_once_gets_to_read_the_refusal() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("the server is there");
    let head = format!(
        "POST /v1/components HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
         content-length: 200000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let chunk = vec![0; 1_000_000];
    for _ in 0..200 {
        stream.write_all(&chunk).await.expect("the body is taken");
    }
    assert_eq!(read_reply(stream).await.problem(), (413, "TW0203".to_owned()));
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_cut_off_at_the_limit() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("the server is there");
    let head = format!(
        "POST /v1/components HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut chunk = b"100000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10_0000, 0);
    chunk.extend(b"\r\n");
    for _ in 0..66 {
        stream.write_all(&chunk).await.expect("the body is taken");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("the end is taken");
    assert_eq!(read_reply(stream).await.problem(), (413, "TW0203".to_owned()));
}
