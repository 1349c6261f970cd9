//! The world outside for a test: an HTTP server on a real socket of this process. It answers by a
//! script, gives every answer a nonce of its own, and remembers what it was asked. It never decides
//! whether that was right.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What runs send in tests is small.
const BODY_MAX_BYTES: usize = 1 << 20;

/// The header of an answer that no other answer has.
pub const NONCE: &str = "x-nonce";

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// From 1, in the order of arrival; its answer carries it as [`NONCE`].
    pub nonce: u64,
    pub method: String,
    /// With the query.
    pub path: String,
    /// The idempotency key.
    pub key: Option<String>,
    pub body: String,
    /// When the answer was handed to the socket.
    pub answered: Option<Instant>,
}

/// What the world answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// How long it takes.
    pub after: Duration,
}

impl Reply {
    pub fn ok(body: impl Into<String>) -> Reply {
        Reply { status: 200, headers: Vec::new(), body: body.into(), after: Duration::ZERO }
    }

    pub fn after(self, after: Duration) -> Reply {
        Reply { after, ..self }
    }
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

#[derive(Clone)]
struct Shared {
    log: Arc<watch::Sender<Vec<Asked>>>,
    script: Arc<Script>,
}

/// The server; it ends with the runtime that it was started on.
pub struct World {
    pub address: SocketAddr,
    log: watch::Receiver<Vec<Asked>>,
}

impl World {
    pub async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, log) = watch::channel(Vec::new());
        let shared = Shared { log: Arc::new(sender), script: Arc::new(script) };
        let router = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        World { address, log }
    }

    /// As a grant and as the beginning of a URL.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> Vec<Asked> {
        self.log.borrow().clone()
    }

    /// Resolves when the log is as `wanted`.
    pub async fn until(&self, wanted: impl FnMut(&Vec<Asked>) -> bool) {
        self.log.clone().wait_for(wanted).await.expect("the server lives as long as the test");
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    // A client that is killed in the middle of its body has asked nothing.
    let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else { return Response::new(Body::empty()) };
    let key = head.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let mut asked = Asked {
        nonce: 0,
        method: head.method.to_string(),
        path: head.uri.to_string(),
        key,
        body: String::from_utf8_lossy(&body).into_owned(),
        answered: None,
    };
    shared.log.send_modify(|log| {
        asked.nonce = log.len() as u64 + 1;
        log.push(asked.clone());
    });
    let reply = (shared.script)(&asked);
    if !reply.after.is_zero() {
        tokio::time::sleep(reply.after).await;
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).expect("a script gives real statuses");
    let headers = reply.headers.into_iter().chain([(NONCE, asked.nonce.to_string())]);
    for (name, value) in headers {
        response.headers_mut().append(name, value.parse().expect("a script gives real headers"));
    }
    let place = asked.nonce as usize - 1;
    shared.log.send_modify(|log| log[place].answered = Some(Instant::now()));
    response
}
