//! What runs publish of themselves. It is read from the journal, where it is durable; whether the run is in
//! memory, asleep or over makes no difference.

use std::sync::Arc;
use trackway_replay::{Kind, Position, Published, RunId, Timestamp};
use trackway_storage::Landmark;

use super::{Host, journal};
use crate::{Code, Error, Result};

/// What a run published last under a key.
#[derive(Debug, Clone)]
pub struct State {
    pub key: Arc<str>,
    /// JSON text, as the workflow gave it.
    pub value: Arc<str>,
    pub published: Timestamp,
    pub position: Position,
}

/// Some of what a run has published.
#[derive(Debug, Clone)]
pub struct StatePage {
    pub states: Vec<State>,
    /// The key after which the next page begins, if there is one.
    pub more: Option<Arc<str>>,
}

impl Host {
    /// What the run has published, in the order of the keys after `after`, until `max_bytes` of values are passed.
    pub async fn states(&self, run: RunId, after: Option<&str>, max_bytes: usize) -> Result<StatePage> {
        self.head(run).await?;
        let mut size_bytes = 0;
        let mut states: Vec<State> = Vec::new();
        for (key, place) in self.storage.states(self.key_of(run)).await? {
            if after.is_some_and(|after| *key <= *after) {
                continue;
            }
            if size_bytes >= max_bytes {
                let more = states.last().map(|state| state.key.clone());
                return Ok(StatePage { states, more });
            }
            let state = self.state_at(run, place).await?;
            size_bytes += state.value.len();
            states.push(state);
        }
        Ok(StatePage { states, more: None })
    }

    /// What the run published last under that key.
    pub async fn state(&self, run: RunId, key: &str) -> Result<State> {
        self.head(run).await?;
        match self.storage.landmark(self.key_of(run), Landmark::State(key.into())).await? {
            Some(place) => self.state_at(run, place).await,
            None => Err(Error::new(Code::NoSuchState, format!("run {run} has published nothing under `{key}`"))),
        }
    }

    async fn state_at(&self, run: RunId, place: Position) -> Result<State> {
        let entry = journal::at(&*self.storage, self.key_of(run), place).await?;
        let Some((published, Kind::Published(Published { key, value, .. }))) = entry.map(|it| (it.time, it.kind))
        else {
            let why = format!("run {run}: entry {place} is not what was published");
            return Err(Error::new(Code::DataDamaged, why));
        };
        let value = journal::text(&*self.storage, self.key_of(run), &value).await?;
        Ok(State { key, value, published, position: place })
    }
}
