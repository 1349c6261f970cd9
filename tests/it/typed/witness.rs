//! A server outside Trackway that counts what it is asked, and answers when the test lets it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::PATIENCE;

/// A path, and the idempotency key that came with it.
pub type Asked = (String, String);

pub struct Witness {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Requests under this path are not answered.
    held: Option<String>,
}

impl Witness {
    /// Answers each request with `7`, but not those for `held` before it is released.
    pub fn holding(held: &str) -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = State { asked: Vec::new(), held: Some(held.to_owned()) };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let answering = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&answering);
                // Who was asking may be dead by now.
                thread::spawn(move || shared.answer(stream).ok());
            }
        });
        Witness { url, shared }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// How often each of these paths was asked for.
    pub fn counts<const N: usize>(&self, paths: [&str; N]) -> [usize; N] {
        let asked = self.asked();
        paths.map(|wanted| asked.iter().filter(|(path, _)| path == wanted).count())
    }

    /// Until the path was asked for as often.
    pub fn wait_for(&self, wanted: &str, times: usize) {
        let is_missing = |state: &mut State| state.asked.iter().filter(|(path, _)| path == wanted).count() < times;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), PATIENCE, is_missing);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "nobody asks for {wanted}: {:?}", state.asked);
    }

    pub fn release(&self) {
        self.shared.lock().held = None;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let header = |name: &str| {
            let found = head.iter().skip(1).filter_map(|line| line.split_once(':'));
            let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
        stream.read_exact(&mut body)?;
        let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
        let mut state = self.lock();
        state.asked.push((path.clone(), header("idempotency-key")));
        self.changed.notify_all();
        let is_held = |state: &mut State| state.held.as_ref() == Some(&path);
        drop(self.changed.wait_while(state, is_held).unwrap_or_else(PoisonError::into_inner));
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n7")
    }
}
