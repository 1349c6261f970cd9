//! What happens to a run, one event after the other.

use super::feed::{Fed, Feed};
use crate::api::model;
use crate::{Error, Result};

pub struct Events<'a> {
    feed: Feed<'a>,
}

pub enum Next {
    Event(Box<model::RunEvent>),
    /// The last one: the run with its output or failure.
    End(Box<model::RunEvent>),
    /// The connection was lost and is tried again.
    Lost(Error),
    /// There is nothing after the event that came last: the run has ended.
    Over,
}

impl<'a> Events<'a> {
    pub(super) fn new(feed: Feed<'a>) -> Events<'a> {
        Events { feed }
    }

    pub async fn next(&mut self) -> Result<Next> {
        Ok(match self.feed.next().await? {
            Fed::Lost(error) => Next::Lost(error),
            Fed::Over => Next::Over,
            Fed::Event(event) => {
                let read = serde_json::from_str(&event.data).map_err(|error| self.feed.foreign(&error))?;
                if event.name == "end" { Next::End(read) } else { Next::Event(read) }
            }
        })
    }
}
