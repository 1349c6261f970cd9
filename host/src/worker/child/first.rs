//! The first frame of a run that a workflow starts: what it is given, whose it is, and its time. It writes nothing.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use trackway_replay::{
    ChildOf, DeadlineSet, Digest, Frame, FrameId, GraceSet, Kind, Position, RULES, Sequencer, Started, Timestamp, Value,
};
use trackway_storage::{Append, Landmark, Rows, RunKey, StartKey};

use super::super::Core;
use super::super::run::first_state;
use super::super::used::Counted;
use super::super::write::Outgoing;
use crate::quota::Starting;

pub(super) struct Target {
    pub input: Arc<str>,
    pub workflow: Arc<str>,
    pub deployment: Arc<str>,
    pub component: Digest,
    /// As its manifest says.
    pub timeout_ms: Option<u64>,
    pub cancel_grace_ms: Option<u64>,
}

pub(super) fn first_frame(
    core: &Core,
    child: RunKey,
    target: Target,
    starting: Starting,
    child_of: ChildOf,
    start_key: StartKey,
    now: Timestamp,
) -> (Outgoing, Counted) {
    let input = &target.input;
    let is_large = input.len() > Value::INLINE_MAX_BYTES;
    let digest = Digest::of(input.as_bytes());
    let stored = Value::Stored { digest, size_bytes: input.len() as u64 };
    let started = Started {
        run: child.run,
        workflow: target.workflow,
        deployment: target.deployment,
        component: target.component,
        input: if is_large { stored } else { Value::Inline(input.clone()) },
        seed: core.random(),
        key_seed: core.random(),
        limits: starting.limits().of_run(),
        rules: RULES,
    };
    let mut sequencer = Sequencer::new(Position::FIRST, core.storage.epoch(), now);
    let mut state = first_state(sequencer.push(now, Kind::Started(Box::new(started))));
    state.apply(sequencer.push(now, Kind::ChildOf(child_of))).expect("`ChildOf` may follow `Started`");
    if let Some(timeout_ms) = target.timeout_ms {
        let deadline = Kind::DeadlineSet(DeadlineSet { at: now + Duration::from_millis(timeout_ms) });
        state.apply(sequencer.push(now, deadline)).expect("a deadline may follow `ChildOf`");
    }
    if let Some(grace_ms) = target.cancel_grace_ms {
        let grace = Kind::GraceSet(GraceSet { message: GraceSet::FROM_THE_START, grace_ms });
        state.apply(sequencer.push(now, grace)).expect("a grace may stand anywhere");
    }
    let entries = sequencer.take_frame();
    let values = if is_large { vec![(digest, Bytes::copy_from_slice(input.as_bytes()))] } else { Vec::new() };
    let frame = Frame::encode(&entries);
    let mut counted = Counted::starting(starting);
    counted.frame(&entries, frame.len(), &[]);
    let last = Position(entries.len() as u64 - 1);
    let append = Append {
        run: child,
        position: Position::FIRST,
        entries: entries.len() as u32,
        previous: None,
        id: FrameId(u128::from_le_bytes(core.random())),
        frame: frame.into(),
        rows: Rows {
            head: Some(state.head()),
            start_key: Some(start_key),
            used: counted.bring(true),
            landmarks: vec![(Landmark::Metered, last)],
            ..Rows::default()
        },
    };
    (Outgoing { append, values, entries }, counted)
}
