//! `https` against a server of this process, with certificates of our own.

use reqwest::Certificate;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

const AUTHORITY: &[u8] = include_bytes!("certificates/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("certificates/server.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key.pem");

/// Answers one request for each connection, in a thread that ends with the process.
fn serve() -> u16 {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map(Arc::new)
        .expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = StreamOwned::new(connection, socket);
            // A client that does not trust us leaves in the middle.
            if stream.read(&mut [0; 4096]).is_ok() {
                drop(stream.write_all(scripted::answer(200, "connection: close\r\n", "secret").as_bytes()));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    port
}

async fn ask(roots: &[Certificate], host: &str) -> Result<Value, Failure> {
    let url = format!("https://{host}:{}", serve());
    let clock = Arc::new(JumpingClock::default());
    let egress = Egress::with(clock, (system_lookup(), roots), Providers::default(), no_secrets()).expect("a client");
    let answer = egress.http(call(std::slice::from_ref(&url), &json!({"url": url}), "")).await?;
    Ok(serde_json::from_str(&answer).expect("JSON"))
}

#[tokio::test]
async fn https_works_with_a_server_that_is_trusted() {
    let authority = Certificate::from_pem(AUTHORITY).expect("a certificate");
    for host in ["localhost", "127.0.0.1"] {
        let answer = ask(std::slice::from_ref(&authority), host).await.expect("an answer");
        assert_eq!(answer["body"], json!("secret"), "{host}");
    }
}

#[tokio::test]
async fn https_fails_with_a_server_that_is_not_trusted() {
    check_failure(ask(&[], "localhost").await, code::HTTP_CONNECT, true, &["certificate"]);
}
