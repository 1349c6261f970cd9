//! A server on a real socket that answers each request by the next reply of a script, and a clock that
//! jumps. It speaks raw bytes, so that it can misbehave as no HTTP library would.

use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use trackway_replay::Timestamp;

use crate::effects::Clock;

const DEADLINE_MIN: Duration = Duration::from_secs(30);
/// Between two bytes of a server that takes its time.
const DRIP: Duration = Duration::from_millis(5);

pub(super) enum Reply {
    /// And the connection stays open for the next request.
    Send(String),
    SendThenClose(String),
    SendThenReset(String),
    /// Nothing more is sent, and nothing is closed.
    SendThenHold(String),
    /// Filler until the other side has enough.
    SendThenFlood(String),
    /// This over and over, until the other side has enough.
    SendThenRepeat(String, String),
    /// A byte, and then another one, for ever.
    Drip(String),
    /// Bytes that are no text.
    SendBytes(Vec<u8>),
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub(super) struct Server {
    pub address: SocketAddr,
    seen: watch::Receiver<Vec<Seen>>,
}

type Script = Arc<Mutex<std::vec::IntoIter<Reply>>>;

impl Server {
    pub(super) async fn start(script: Vec<Reply>) -> Server {
        Server::start_at("127.0.0.1:0", script).await.expect("a free port")
    }

    pub(super) async fn start_at(address: &str, script: Vec<Reply>) -> std::io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (noted, seen) = watch::channel(Vec::new());
        let noted = Arc::new(noted);
        let script = Arc::new(Mutex::new(script.into_iter()));
        tokio::spawn(async move {
            for connection in 1.. {
                let Ok((socket, _)) = listener.accept().await else { return };
                tokio::spawn(serve(socket, connection, script.clone(), noted.clone()));
            }
        });
        Ok(Server { address, seen })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn grant(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    pub(super) async fn has_seen(&self, requests: usize) {
        let mut seen = self.seen.clone();
        seen.wait_for(|seen| seen.len() >= requests).await.expect("the server lives as long as the test");
    }
}

async fn serve(mut socket: TcpStream, connection: usize, script: Script, noted: Arc<watch::Sender<Vec<Seen>>>) {
    let mut input = Vec::new();
    while let Some((head, body)) = request(&mut socket, &mut input).await {
        noted.send_modify(|noted| noted.push(Seen { connection, head, body }));
        let reply = script.lock().expect("no test thread panicked").next();
        match reply.expect("a reply for every request") {
            Reply::Send(text) => drop(socket.write_all(text.as_bytes()).await),
            Reply::SendBytes(bytes) => drop(socket.write_all(&bytes).await),
            Reply::SendThenRepeat(text, more) => {
                drop(socket.write_all(text.as_bytes()).await);
                while socket.write_all(more.as_bytes()).await.is_ok() {}
                return;
            }
            Reply::Drip(text) => {
                for byte in text.bytes().chain(std::iter::repeat(b'x')) {
                    if socket.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(DRIP).await;
                }
            }
            Reply::SendThenClose(text) => return drop(socket.write_all(text.as_bytes()).await),
            Reply::SendThenReset(text) => {
                drop(socket.write_all(text.as_bytes()).await);
                // Closing with no time to linger sends a reset.
                return drop(socket.set_zero_linger());
            }
            Reply::SendThenHold(text) => {
                drop(socket.write_all(text.as_bytes()).await);
                return std::future::pending().await;
            }
            Reply::SendThenFlood(text) => {
                let mut filler = text.into_bytes();
                while socket.write_all(&filler).await.is_ok() {
                    // A chunk of 64 KiB; where no chunks were announced it is as good as any bytes.
                    filler = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
                }
                return;
            }
        }
    }
}

async fn request(socket: &mut TcpStream, input: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let head_end = loop {
        if let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(input).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(input.drain(..head_end).collect()).expect("ASCII");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a number"));
    while input.len() < length {
        socket.read_buf(input).await.ok()?;
    }
    Some((head, input.drain(..length).collect()))
}

pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Some\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

pub(super) fn redirect(status: u16, to: &str) -> Reply {
    Reply::Send(answer(status, &format!("location: {to}\r\n"), "moved"))
}

/// Jumps over waits under 30 s, as those between tries are, and notes them. Longer ones, as the
/// deadlines of these tests are, never end.
#[derive(Default)]
pub(super) struct JumpingClock {
    now_and_waits: Arc<Mutex<(u64, Vec<Duration>)>>,
}

impl JumpingClock {
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.now_and_waits.lock().expect("no test thread panicked").1.clone()
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_and_waits.lock().expect("no test thread panicked").0)
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let shared = self.now_and_waits.clone();
        Box::pin(async move {
            let wait = {
                let mut shared = shared.lock().expect("no test thread panicked");
                let wait = until.since(Timestamp(shared.0));
                if wait < DEADLINE_MIN {
                    shared.0 = until.0;
                    shared.1.push(wait);
                }
                wait
            };
            if wait >= DEADLINE_MIN {
                std::future::pending::<()>().await;
            }
        })
    }

    fn elapsed(&self) -> Duration {
        self.now().since(Timestamp(0))
    }

    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + time)
    }
}
