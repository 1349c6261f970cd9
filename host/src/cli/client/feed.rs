//! Server-sent events of a run, across lost connections: each is taken up again after the last event. It never
//! knows what an event says.

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{Method, StatusCode, header};
use std::collections::VecDeque;
use std::time::Duration;
use trackway_replay::RunId;

use super::{Client, RECONNECT_EVERY};
use crate::cli::sse;
use crate::{Code, Error, Result};

/// How long a lost connection is tried again: a restart of the server takes less.
pub(super) const RECONNECT_FOR: Duration = Duration::from_secs(30);
/// The server sends a comment at least this often while nothing happens; twice that is silence.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub struct Feed<'a> {
    client: &'a Client,
    run: RunId,
    /// The last part of its path.
    what: &'static str,
    last: Option<String>,
    is_open: bool,
    stream: Option<futures_util::stream::BoxStream<'a, reqwest::Result<Bytes>>>,
    reader: sse::Reader,
    ready: VecDeque<sse::Event>,
}

pub enum Fed {
    Event(sse::Event),
    /// The connection was lost and is tried again.
    Lost(Error),
    /// There is nothing after the event that came last.
    Over,
}

impl<'a> Feed<'a> {
    pub fn new(client: &'a Client, run: RunId, what: &'static str, last: Option<String>) -> Feed<'a> {
        let (reader, ready) = (sse::Reader::default(), VecDeque::new());
        Feed { client, run, what, last, is_open: false, stream: None, reader, ready }
    }

    pub async fn next(&mut self) -> Result<Fed> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if event.name == "problem" {
                    return Err(self.client.problem(StatusCode::INTERNAL_SERVER_ERROR, event.data.as_bytes()));
                }
                if event.id.is_some() {
                    self.last.clone_from(&event.id);
                }
                return Ok(Fed::Event(event));
            }
            let Some(stream) = &mut self.stream else {
                if self.connect().await? == StatusCode::NO_CONTENT {
                    return Ok(Fed::Over);
                }
                continue;
            };
            match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
                Ok(Some(Ok(bytes))) => {
                    let events = self.reader.take(&bytes).map_err(|_| self.client.foreign("its event has no end"))?;
                    self.ready.extend(events);
                }
                Ok(Some(Err(error))) => return Ok(self.lost(self.client.unreachable(&error))),
                Ok(None) => return Ok(self.lost(Error::new(Code::Unreachable, "the server closed the connection"))),
                Err(_) => return Ok(self.lost(Error::new(Code::Unreachable, "the server is silent"))),
            }
        }
    }

    pub fn foreign(&self, error: &serde_json::Error) -> Error {
        self.client.foreign(&format!("its event cannot be read: {error}"))
    }

    fn lost(&mut self, error: Error) -> Fed {
        self.stream = None;
        self.reader = sse::Reader::default();
        Fed::Lost(error)
    }

    async fn connect(&mut self) -> Result<StatusCode> {
        // The first connection fails at once: nothing was there to come back to.
        let patience = if self.is_open { RECONNECT_FOR } else { Duration::ZERO };
        let (client, what) = (self.client, self.what);
        let (run, last) = (self.run.to_string(), self.last.clone());
        let response = patiently(patience, || async {
            let request = client.request(Method::GET, &["runs", &run, what])?;
            let request = request.header(header::ACCEPT, "text/event-stream");
            let request = match &last {
                Some(last) => request.header("last-event-id", last),
                None => request,
            };
            client.send(request).await
        });
        let response = response.await?;
        self.is_open = true;
        let status = response.status();
        self.stream = Some(response.bytes_stream().boxed());
        Ok(status)
    }
}

/// Asks again while the server cannot be reached, for as long as `patience`: it may be starting anew.
pub(super) async fn patiently<T, F: Future<Output = Result<T>>>(
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let begun = tokio::time::Instant::now();
    loop {
        match ask().await {
            Err(error) if is_passing(error.code) && begun.elapsed() < patience => {
                tokio::time::sleep(RECONNECT_EVERY).await;
            }
            answer => return answer,
        }
    }
}

fn is_passing(code: Code) -> bool {
    matches!(code, Code::Unreachable | Code::Stopping | Code::Overloaded)
}
