//! Following a run: what is new in each event, across lost connections, until it ends, gets stuck,
//! or Ctrl-C. It never stops the run.

use std::collections::BTreeMap;
use trackway_replay::trace::{Row, RowStatus};
use trackway_replay::{RunId, Status};

use crate::api::model;
use crate::{Code, Error};

use super::client::{Client, Events, Next};
use super::exit::{Exit, Stop};
use super::output::{Output, clean};

pub struct Follower<'a> {
    events: Events<'a>,
    /// What was shown of each row last.
    shown: BTreeMap<String, RowStatus>,
    ended: bool,
    lost: bool,
}

impl<'a> Follower<'a> {
    pub fn new(client: &'a Client, run: RunId) -> Follower<'a> {
        Follower { events: client.events(run), shown: BTreeMap::new(), ended: false, lost: false }
    }

    /// The next event; `None` after the last one. A stuck run is an error: it will not go on by itself.
    pub async fn next(&mut self, output: &Output) -> Result<Option<model::RunEvent>, Stop> {
        while !self.ended {
            match self.events.next().await? {
                Next::Lost(error) => {
                    if !std::mem::replace(&mut self.lost, true) {
                        let text = format!("connection lost ({}); trying again", clean(&error.message));
                        output.say(&output.talk_paint.yellow(&text));
                    }
                }
                Next::Over => self.ended = true,
                Next::Event(event) if event.run.status == Status::Stuck => return Err(stuck(&event.run).into()),
                Next::Event(event) => {
                    self.lost = false;
                    return Ok(Some(*event));
                }
                Next::End(event) => {
                    self.ended = true;
                    return match event.run.status {
                        Status::Stuck => Err(stuck(&event.run).into()),
                        _ => Ok(Some(*event)),
                    };
                }
            }
        }
        Ok(None)
    }

    /// Rows that look different from what was shown of them.
    pub fn news<'r>(&mut self, rows: &'r [Row]) -> Vec<&'r Row> {
        let mut news = Vec::new();
        for row in rows {
            if self.shown.insert(row.id.clone(), row.status) != Some(row.status) {
                news.push(row);
            }
        }
        news
    }
}

/// Waits for `work`, or for Ctrl-C: then says how to come back.
pub async fn until_interrupted<T>(
    run: &str,
    output: &Output,
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    tokio::select! {
        done = work => done,
        // Without a handler for the signal the process ends by it, which is as good.
        Ok(()) = tokio::signal::ctrl_c() => {
            output.say(&format!("\nrun {run} goes on; to come back: trackway trace {run} --follow"));
            Err(Stop::Quietly(Exit::Interrupted))
        }
    }
}

fn ways(run: &model::Run) -> String {
    if run.next.is_empty() { format!("trackway runs describe {}", run.id) } else { run.next.join("\n") }
}

/// What a stuck run is stuck on, under its own code.
pub fn stuck(run: &model::Run) -> Error {
    let code = run.code.as_deref().and_then(|text| Code::ALL.iter().copied().find(|code| code.text() == text));
    let why = run.message.as_deref().unwrap_or("the server does not say why");
    let message = format!("run {} is stuck: {why}", run.id);
    Error::new(code.unwrap_or(Code::Internal), message).hint(ways(run))
}
