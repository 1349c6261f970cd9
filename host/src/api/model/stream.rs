//! What the guests of a run tell those who follow it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Run, Time};

/// `GET /v1/runs/{id}/stream`: the data of an event; its name says which one it is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Streamed {
    /// `end`: the run has ended or is stuck. The last one.
    End(Box<StreamEnd>),
    /// `reset`: some deltas of this attempt count no more.
    Reset(StreamReset),
    /// `delta`: something that does not stay.
    Delta(StreamDelta),
    /// `event`: something that stays. It comes once.
    Event(StreamEvent),
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamEvent {
    /// In the journal; the id of the event.
    pub position: u64,
    pub time: Time,
    pub name: String,
    /// The step whose function told it; absent where the workflow did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    #[schema(value_type = serde_json::Value)]
    pub data: Box<RawValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamDelta {
    pub name: String,
    pub step: u32,
    pub attempt: u32,
    /// Among the deltas of this attempt, from 1.
    pub number: u32,
    #[schema(value_type = serde_json::Value)]
    pub data: Box<RawValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamReset {
    pub step: u32,
    pub attempt: u32,
    /// The number of the first delta that follows. What came from there on is told anew; what is missing before
    /// it is lost.
    pub next: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamEnd {
    pub run: Run,
}
