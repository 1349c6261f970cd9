//! Starts runs. The first frame is the acknowledgement.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use trackway_replay::{
    DeadlineSet, Digest, GraceSet, Kind, Machine, Position, RULES, RunId, Sequencer, Started, TenantId, Timestamp,
    Value,
};
use trackway_storage::{RunKey, StartKey};

use super::claim;
use super::code::code_of;
use super::drive::{self, Active, StartTrouble};
use super::load::grants_of;
use super::run::{Given, Loaded, Run, first_state};
use super::used::{Counted, limits_of};
use super::{Core, Worker};
use crate::quota::{Starting, TenantLimits};
use crate::{Code, Error, Result};

/// A start waits so long for room among the runs in hand. Most stop for a moment within it; whoever waits
/// longer for an answer cannot tell a busy server from a dead one.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// A run to be started. Workflow and input have been checked.
#[derive(Debug, Clone)]
pub struct Start {
    pub workflow: Arc<str>,
    pub deployment: Arc<str>,
    pub component: Digest,
    pub input: Arc<str>,
    pub key: Option<StartKeyRequest>,
    /// The host ends the run after so many milliseconds; what the workflow's manifest says if absent.
    pub timeout_ms: Option<u64>,
    /// How long it has after a cancel; what the workflow's manifest says if absent.
    pub cancel_grace_ms: Option<u64>,
}

/// By what a start under a key is told from another one. `reference`: the workflow as it was asked for.
pub fn digest_of_start(reference: &str, input: &str, timeout_ms: Option<u64>, cancel_grace_ms: Option<u64>) -> Digest {
    let (timeout, grace) = (timeout_ms.map(u64::to_le_bytes), cancel_grace_ms.map(u64::to_le_bytes));
    let mut parts: Vec<&[u8]> = vec![b"start", reference.as_bytes(), input.as_bytes()];
    parts.extend(timeout.as_ref().map(<[u8; 8]>::as_slice));
    if let Some(grace) = &grace {
        parts.extend([b"cancel grace".as_slice(), grace.as_slice()]);
    }
    Digest::of_parts(&parts)
}

#[derive(Debug, Clone)]
pub struct StartKeyRequest {
    pub key: Arc<str>,
    /// Of all that makes the request what it is.
    pub request: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAnswer {
    pub run: RunId,
    /// The key had started this run before.
    pub existing: bool,
}

impl Worker {
    /// Starts a run and answers when its first frame is durable.
    pub async fn start(&self, tenant: TenantId, start: Start) -> Result<StartAnswer> {
        let core = &self.core;
        let stopping = || Error::new(Code::Stopping, "the server is stopping and starts no more runs");
        if core.is_draining() {
            return Err(stopping());
        }
        if let Some(wanted) = &start.key
            && let Some(known) = core.storage.start_key(tenant, &wanted.key).await?
        {
            return existing(wanted, known);
        }
        let limits = limits_of(core, tenant).await?;
        let starting = limits.admit_start(core.clock.now()).map_err(|crossing| crossing.error())?;
        let room = tokio::select! {
            biased;
            room = claim::room(core, tenant) => room,
            () = core.clock.sleep_until(core.clock.now() + ROOM_WAIT_MAX) => {
                return Err(no_room(core, &limits));
            }
        };
        let code = code_of(core, tenant, start.component).await?;
        let now = core.clock.now();
        let key = RunKey { tenant, run: core.next_run(now) };
        let grants = grants_of(core, key, &start.deployment, start.component).await?;
        let wanted = start.key.clone();
        let (ack, acknowledged) = oneshot::channel();
        let run = {
            let given = Given { key, core: core.clone(), code, grants };
            first_frame(given, starting, start, now)
        };
        let active = Box::new(Active::new(run, room, Some(ack)));
        active.claimed();
        // Nobody can have sent anything to a run that is not in the store yet.
        active.run.lock().knocked = false;
        core.registry.reserve(key);
        core.spawn(tenant, Box::pin(drive::drive(active)));
        match acknowledged.await {
            Ok(Ok(())) => Ok(StartAnswer { run: key.run, existing: false }),
            Ok(Err(StartTrouble::Failed(error))) => Err(error),
            Ok(Err(StartTrouble::KeyTaken(known))) => match wanted {
                Some(wanted) => existing(&wanted, known),
                None => Err(Error::new(Code::Internal, "the store knows a key that was not given")),
            },
            Err(_) => Err(stopping()),
        }
    }
}

fn no_room(core: &Core, limits: &TenantLimits) -> Error {
    if core.runs.is_capped(limits.tenant()) {
        return limits.full_of_runs(core.runs.held(limits.tenant())).error();
    }
    let message = format!(
        "as many runs are active as may be ({}), and none made room within {} s; nothing was started",
        core.options.runs_max,
        ROOM_WAIT_MAX.as_secs()
    );
    Error::new(Code::NoRoom, message).hint("try again; or let the server have more at once: --runs-max N")
}

pub(super) fn existing(wanted: &StartKeyRequest, known: StartKey) -> Result<StartAnswer> {
    if known.request == wanted.request {
        return Ok(StartAnswer { run: known.run, existing: true });
    }
    let message = format!("the key `{}` started run {} with another workflow or input", wanted.key, known.run);
    Err(Error::new(Code::KeyConflict, message).hint("use a new key for a new run"))
}

/// A run whose first entry is sequenced and not yet written.
fn first_frame(given: Given, starting: Starting, start: Start, now: Timestamp) -> Arc<Run> {
    let core = given.core.clone();
    let key = given.key;
    let is_large = start.input.len() > Value::INLINE_MAX_BYTES;
    let input = if is_large {
        Value::Stored { digest: Digest::of(start.input.as_bytes()), size_bytes: start.input.len() as u64 }
    } else {
        Value::Inline(start.input.clone())
    };
    let started = Started {
        run: key.run,
        workflow: start.workflow,
        deployment: start.deployment,
        component: start.component,
        input,
        seed: core.random(),
        key_seed: core.random(),
        limits: starting.limits().of_run(),
        rules: RULES,
    };
    let timeout_ms = start.timeout_ms.or_else(|| given.code.manifest().workflow(&started.workflow)?.run_timeout_ms);
    let mut sequencer = Sequencer::new(Position::FIRST, core.storage.epoch(), now);
    let machine = Machine::new(now, started.limits.fuel);
    let mut state = first_state(sequencer.push(now, Kind::Started(Box::new(started))));
    if let Some(timeout_ms) = timeout_ms {
        let deadline = Kind::DeadlineSet(DeadlineSet { at: now + Duration::from_millis(timeout_ms) });
        state.apply(sequencer.push(now, deadline)).expect("a deadline stands right behind the start");
    }
    if let Some(grace_ms) = start.cancel_grace_ms {
        let grace = Kind::GraceSet(GraceSet { message: GraceSet::FROM_THE_START, grace_ms });
        state.apply(sequencer.push(now, grace)).expect("a grace may stand anywhere");
    }
    let start_key = start.key.map(|wanted| StartKey { key: wanted.key, run: key.run, request: wanted.request });
    let loaded = Loaded {
        machine,
        state,
        sequencer,
        previous: None,
        start_key,
        head_written: None,
        recall_counted: false,
        durable: Position::FIRST,
        counted: Counted::starting(starting),
    };
    let run = Run::new(given, loaded);
    {
        let mut inner = run.lock();
        inner.pending_since = now;
        if is_large {
            inner.value(&start.input, Value::INLINE_MAX_BYTES);
        }
    }
    run
}
