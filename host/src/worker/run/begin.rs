//! What a run has when a worker takes it in hand. Holds it; does nothing.

use std::sync::Arc;
use trackway_replay::{FrameId, Head, Machine, Position, RunState, Sequencer};
use trackway_storage::{RunKey, StartKey};

use crate::effects::Grants;
use crate::sandbox::Code as GuestCode;
use crate::worker::Core;
use crate::worker::used::Counted;

/// What a run begins an activation with.
pub(in crate::worker) struct Loaded {
    pub machine: Machine,
    pub state: RunState,
    pub sequencer: Sequencer,
    pub previous: Option<FrameId>,
    pub start_key: Option<StartKey>,
    pub head_written: Option<Head>,
    pub recall_counted: bool,
    pub durable: Position,
    pub counted: Counted,
}

pub(in crate::worker) struct Given {
    pub key: RunKey,
    pub core: Arc<Core>,
    pub code: Arc<GuestCode>,
    pub grants: Arc<Grants>,
}
